package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// mostMisses is how many near misses are shown as text.
const mostMisses = 10

func newPolicyWhy(env func(string) string, stdout *os.File) *cobra.Command {
	var files ruleFiles
	var system systemSource
	var relayed string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why SOURCE METHOD[+ARG] TARGET",
		Short: "Explain what the policy says to one request",
		Long: `Explain what the policy says to one request: the verdict; the rule that decides; whether the Admin API accepts the call,
which takes a rule that leads it to dom0; the rules before it that would decide, were it not for one field; and one line that
changes the verdict, with the place to put it.

TARGET is the qube to be managed, and dom0 for methods that concern the whole system. Without --system and --socket, the
daemon of this machine is asked for its qubes.` + fmt.Sprintf(exitsDaemon, "the policy does not load"),
		Example: `  sallyport policy why mgmt admin.vm.Start work
  sallyport policy why --system system.json --policy-dir ./policy.d mgmt admin.vm.feature.Get+internal work`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 3 {
				return errors.New("expected SOURCE METHOD[+ARG] TARGET")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := files.loadable()
			if err != nil {
				return err
			}
			sys, err := system.read(env)
			if err != nil {
				return err
			}
			service, argument := policy.Call(args[1])
			w := &why{rules: p, request: policy.Request{Service: service, Argument: argument, Source: args[0], Target: args[2], RequestedSource: relayed}}
			w.Explanation = policy.Explain(p.Policy, w.request, sys)
			w.admin = acceptance(w.request, w.Decision, sys)
			if asJSON {
				return show(stdout, w.json(), "\n")
			}
			return show(stdout, w.text(), "\n")
		},
	}
	files.flags(cmd)
	system.flags(cmd)
	cmd.Flags().StringVar(&relayed, "requested-source", "", "`NAME` of the RemoteVM that SOURCE relays for")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// why is an explanation, and what it is of.
type why struct {
	policy.Explanation
	rules   *loaded
	request policy.Request
	admin   accepted
}

func (w *why) text() []byte {
	t := newTable()
	t.row("verdict", told(w.Decision))
	if absent(w.request, w.Decision) {
		t.row("", fmt.Sprintf("there is no qube %s: the target counts as @default", w.request.Target))
	}
	if w.Rule != nil {
		t.row("decided by", w.rules.place(w.Rule), says(w.Rule))
	}
	t.row("Admin API", w.admin.String())
	for i, m := range byUse(w.Misses) {
		if i == mostMisses {
			t.row("", fmt.Sprintf("... and %d more, which --json shows", len(w.Misses)-i))
			break
		}
		t.row(first(i, "near misses"), w.rules.place(m.Rule), "but for "+m.Field, says(m.Rule))
	}
	if c := w.Change; c != nil {
		t.row("to change it", "put this line "+w.rules.before(c.Before)+":")
		t.row("", c.Line)
		t.row("", "then: "+told(c.Then))
	}
	return t.bytes()
}

// before says where a line goes that is to be asked before r, which is the first that matches: so any place before it does. A
// file that is included may be in the short format, in which the line would mean something else.
func (p *loaded) before(r *policy.Rule) string {
	if r == nil {
		return "behind all rules"
	}
	for _, d := range p.dirs {
		if path.Dir(r.At.File) == d.abs && !r.Implied && strings.HasSuffix(r.At.File, ".policy") {
			return "before " + p.place(r)
		}
	}
	return "before what includes " + p.file(r.At.File)
}

// first is label in the first of some rows.
func first(row int, label string) string {
	if row == 0 {
		return label
	}
	return ""
}

// byUse puts the misses of other services, of which there are often many, behind all others.
func byUse(misses []policy.Miss) (all []policy.Miss) {
	var others []policy.Miss
	for _, m := range misses {
		if m.Field == "service" {
			others = append(others, m)
		} else {
			all = append(all, m)
		}
	}
	return append(all, others...)
}

// reasons are why a request is denied, for people.
var reasons = map[policy.Why]string{
	policy.Malformed:         "the service, the argument or the source is none",
	policy.NotCallable:       "the target is a keyword that callers cannot name",
	policy.NotDisposable:     "the target is a disposable of a qube that is no template for disposables",
	policy.SourceNotRemote:   "the requested source is no RemoteVM",
	policy.WrongRelay:        "the source does not relay for the requested source",
	policy.NoRuleMatches:     "no rule matches",
	policy.DenyRule:          "a rule denies",
	policy.NoTarget:          "a rule allows, but its target does not exist",
	policy.NoDefaultDispVM:   "a rule allows a new disposable, but the source has no default for them",
	policy.AutostartRefused:  "a rule allows if the target runs, and it does not",
	policy.AskWithoutTargets: "a rule asks, but there is nothing to choose from",
	policy.Loopback:          "a rule allows, but the target is the source",
	policy.NoRelay:           "a rule allows, but the target is a RemoteVM without a relay or transport",
}

// told is a decision for people.
func told(d policy.Decision) string {
	var parts []string
	switch d.Verdict {
	case policy.Allow:
		parts = append(parts, "allow: it runs in "+d.Target.String())
		if !d.Autostart {
			parts = append(parts, "which is not started for it")
		}
	case policy.Ask:
		parts = append(parts, "ask: a person chooses from "+strings.Join(d.Targets, " "))
		if d.DefaultTarget != "" {
			parts = append(parts, d.DefaultTarget+" first")
		}
	default:
		parts = append(parts, "deny: "+reasons[d.Why])
	}
	if d.User != "" {
		parts = append(parts, "as user "+d.User)
	}
	if d.Notify {
		parts = append(parts, "and the user is notified")
	}
	return strings.Join(parts, ", ")
}

// accepted is whether the Admin API accepts a call, as far as policy goes, and why.
type accepted struct {
	Accepts bool   `json:"accepts"`
	Because string `json:"because"`
}

func (a accepted) String() string {
	if a.Accepts {
		return "accepts it: " + a.Because
	}
	return "refuses it: " + a.Because
}

// acceptance is what the daemon makes of a decision about a call of the Admin API: the policy must allow it and lead it to
// dom0, and the target that was asked for must be a qube that the method is for (spec: policy.md 5).
func acceptance(r policy.Request, d policy.Decision, sys policy.System) accepted {
	refuse := func(format string, args ...any) accepted { return accepted{false, fmt.Sprintf(format, args...)} }
	method, served := served(r)
	requested := d.RequestedTarget()
	dom0 := isDom0(requested.String())
	switch {
	case !served:
		return refuse("this version has no method %s", r.Service)
	case method.Arg == stages.Required && r.Argument == "+":
		return refuse("the method needs an argument")
	case method.Arg == stages.Forbidden && r.Argument != "+" && !strings.Contains(method.Name, "+"):
		return refuse("the method takes no argument")
	case method.Dest == stages.OnlyAdminVM && !dom0:
		return refuse("the method's target is dom0")
	case method.Dest == stages.NotAdminVM && dom0:
		return refuse("the method's target is not dom0")
	case absent(r, d):
		return refuse("there is no qube %s", r.Target)
	case requested.Kind != policy.Name && requested.Kind != policy.UUID && !dom0:
		return refuse("the target is a qube, not %s", requested)
	case isDom0(r.Source) && r.RequestedSource == "":
		return accepted{true, "calls from dom0 are not judged by policy"}
	case !exists(r.Source, sys):
		return refuse("there is no qube %s to call it", r.Source)
	case d.Verdict == policy.Deny:
		return refuse("the policy denies")
	case d.Verdict == policy.Ask:
		return refuse("nobody is asked, unless the peer has decided itself")
	case !isDom0(d.Target.String()):
		return refuse("the rule would run it in %s; it needs target=dom0", d.Target)
	}
	return accepted{true, "the policy allows it, and leads it to dom0"}
}

// served is the method that r calls, if this version serves it.
func served(r policy.Request) (stages.Entry, bool) {
	for _, e := range methods.All() {
		if e.Name == r.Service || e.Name == r.Service+r.Argument {
			return e, true
		}
	}
	return stages.Entry{}, false
}

// absent says whether r asks for a qube that is not, so that its target counts as @default (spec: policy.md 4.2).
func absent(r policy.Request, d policy.Decision) bool {
	return d.Stage != policy.AtRequest && d.RequestedTarget().Kind == policy.Default && r.Target != "" && r.Target != "@default"
}

// isDom0 says whether word is one of those for dom0.
func isDom0(word string) bool {
	switch word {
	case "dom0", "@adminvm", "uuid:00000000-0000-0000-0000-000000000000":
		return true
	}
	return false
}

// exists says whether source is a qube of sys.
func exists(source string, sys policy.System) bool {
	uuid, byUUID := strings.CutPrefix(source, "uuid:")
	if byUUID {
		_, there := sys.Identified(uuid)
		return there
	}
	_, there := sys.Named(source)
	return there
}

// ruleJSON is a rule, and where it stands.
type ruleJSON struct {
	At   string `json:"at"`
	Text string `json:"text"`
}

// toRuleJSON is nil for no rule.
func (p *loaded) toRuleJSON(r *policy.Rule) *ruleJSON {
	if r == nil {
		return nil
	}
	return &ruleJSON{p.place(r), says(r)}
}

func (w *why) json() []byte {
	type miss struct {
		ruleJSON
		Field string `json:"field"`
	}
	type change struct {
		Line string `json:"line"`
		Put  string `json:"put"`
		Then string `json:"then"`
	}
	report := struct {
		Decision any       `json:"decision"`
		Rule     *ruleJSON `json:"rule"`
		Admin    accepted  `json:"admin_api"`
		Misses   []miss    `json:"near_misses"`
		Change   *change   `json:"change"`
	}{w.rules.decision(w.Decision), w.rules.toRuleJSON(w.Rule), w.admin, []miss{}, nil}
	for _, m := range w.Misses {
		report.Misses = append(report.Misses, miss{*w.rules.toRuleJSON(m.Rule), m.Field})
	}
	if c := w.Change; c != nil {
		report.Change = &change{c.Line, w.rules.before(c.Before), c.Then.Verdict.String()}
	}
	return toJSON(report)
}
