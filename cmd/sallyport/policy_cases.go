package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
	"sallyport/internal/yamlfile"
)

// exampleCases is a table that passes with the policy in its comment.
//
//go:embed policy_cases.yaml
var exampleCases []byte

func newPolicyTest(env func(string) string, stdout *os.File) *cobra.Command {
	var files ruleFiles
	var system systemSource
	var asJSON, example bool
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Test a policy with a table of expected verdicts",
		Long: `Test a policy with a table of expected verdicts, and show the rules that decided no case of it.

The table is a YAML file: cases, and optionally system, the qubes that it is about. Those of --system or --socket count before
them; if it has none, the daemon of this machine is asked. With --example, such a table is written to standard output, with
every key explained.` +
			fmt.Sprintf(exitsDaemon, "a case fails, or the policy does not load"),
		Example: `  sallyport policy test --example >cases.yaml
  sallyport policy test --policy-dir ./policy.d cases.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && !(example && len(args) == 0) {
				return errors.New("expected FILE, or --example")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if example {
				return show(stdout, exampleCases, "\n")
			}
			t, err := readCases(args[0])
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			p, err := files.loadable()
			if err != nil {
				return err
			}
			if system.given() || t.system == nil {
				if t.system, err = system.read(env); err != nil {
					return err
				}
			}
			r := t.try(p)
			report := r.text
			if asJSON {
				report = r.json
			}
			if err := show(stdout, report(), "\n"); err != nil {
				return err
			}
			if len(r.failed) > 0 {
				return fail(exitFound, "")
			}
			return nil
		},
	}
	files.flags(cmd)
	system.flags(cmd)
	cmd.Flags().BoolVar(&example, "example", false, "write a table that explains itself")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// casesFile is a table of expected verdicts.
type casesFile struct {
	cases  []yamlfile.At[verdictCase]
	system *policy.Table // nil: the file has none
}

// verdictCase is a request, and what is expected of it. What is nil is not compared.
type verdictCase struct {
	note, source, method, requestedSource string
	target                                string
	verdict                               string

	stage, reason, rule, leadsTo, user, defaultTarget *string
	notify, autostart, adminAPI                       *bool
	targets                                           *[]string
}

func (c *verdictCase) fields() []yamlfile.Field {
	text := yamlfile.Reader[string](yamlfile.String)
	return []yamlfile.Field{
		yamlfile.Optional("note", &c.note, text),
		yamlfile.Required("source", &c.source, text),
		yamlfile.Required("method", &c.method, text),
		yamlfile.Required("target", &c.target, text),
		yamlfile.Optional("requested_source", &c.requestedSource, text),
		yamlfile.Required("verdict", &c.verdict, yamlfile.OneOf("allow", "deny", "ask")),
		yamlfile.Optional("admin_api", &c.adminAPI, expected(yamlfile.Bool)),
		yamlfile.Optional("rule", &c.rule, expected(text)),
		yamlfile.Optional("stage", &c.stage, expected(yamlfile.OneOf("request", "no-rule", "rule", "execute"))),
		yamlfile.Optional("reason", &c.reason, expected(yamlfile.OneOf(allReasons()...))),
		yamlfile.Optional("leads_to", &c.leadsTo, expected(text)),
		yamlfile.Optional("targets", &c.targets, expected(yamlfile.List(text))),
		yamlfile.Optional("default_target", &c.defaultTarget, expected(yamlfile.OrNull(text))),
		yamlfile.Optional("user", &c.user, expected(yamlfile.OrNull(text))),
		yamlfile.Optional("notify", &c.notify, expected(yamlfile.Bool)),
		yamlfile.Optional("autostart", &c.autostart, expected(yamlfile.Bool)),
	}
}

// expected reads what is compared if it is there.
func expected[T any](read yamlfile.Reader[T]) yamlfile.Reader[*T] {
	return func(n *yamlfile.Node) (*T, error) {
		t, err := read(n)
		return &t, err
	}
}

func allReasons() (all []string) {
	for r := range reasons {
		all = append(all, string(r))
	}
	slices.Sort(all)
	return all
}

// readCases reads the table in file. Its errors say in one line what was expected where.
func readCases(file string) (*casesFile, error) {
	root, err := yamlfile.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t := &casesFile{}
	return t, root.Fields(
		yamlfile.Required("cases", &t.cases, yamlfile.List(yamlfile.Placed(yamlfile.Struct((*verdictCase).fields)))),
		yamlfile.Optional("system", &t.system, readDomains),
	)
}

// readDomains reads the system information, with the keys of the reference (spec: policy.md).
func readDomains(n *yamlfile.Node) (*policy.Table, error) {
	name := yamlfile.Reader[string](yamlfile.String)
	var domains []yamlfile.Pair[string, policy.Facts]
	if err := n.Fields(yamlfile.Required("domains", &domains, yamlfile.Pairs(name, yamlfile.Struct(domainFields)))); err != nil {
		return nil, err
	}
	var all []policy.Facts
	uuids := map[string]bool{}
	for _, d := range domains {
		if strings.HasPrefix(d.Key, "uuid:") {
			continue // another view of one that is here by its name
		}
		f := d.Value
		f.Name, f.UUID = d.Key, strings.TrimPrefix(f.UUID, "uuid:")
		if f.UUID != "" && uuids[f.UUID] {
			return nil, d.Node.Expected("a uuid of its own")
		}
		uuids[f.UUID] = true
		all = append(all, f)
	}
	return policy.NewTable(all...), nil
}

func domainFields(f *policy.Facts) []yamlfile.Field {
	text := yamlfile.OrNull(yamlfile.String)
	var ignored string
	return []yamlfile.Field{
		yamlfile.Required("type", &f.Class, yamlfile.OneOf(policy.Classes...)),
		yamlfile.Optional("tags", &f.Tags, yamlfile.List(yamlfile.String)),
		yamlfile.Optional("uuid", &f.UUID, text),
		yamlfile.Optional("power_state", &f.PowerState, text),
		yamlfile.Optional("template_for_dispvms", &f.DisposableTemplate, yamlfile.Bool),
		yamlfile.Optional("default_dispvm", &f.DefaultDispVM, text),
		yamlfile.Optional("internal", &f.Internal, text),
		yamlfile.Optional("relayvm", &f.Relay, text),
		yamlfile.Optional("transport_rpc", &f.Transport, text),
		// What the system information has, and policy does not ask for.
		yamlfile.Optional("icon", &ignored, text),
		yamlfile.Optional("label", &ignored, text),
		yamlfile.Optional("guivm", &ignored, text),
	}
}

// results are what came of a table.
type results struct {
	rules     *loaded
	cases     int
	failed    []failedCase
	lines     int
	undecided []line // that decided no case
}

type failedCase struct {
	at       string
	request  string
	note     string
	differs  []mismatch
	decision policy.Decision
}

// mismatch is a key of a case whose value is another one.
type mismatch struct {
	Key      string `json:"key"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// try decides all cases.
func (t *casesFile) try(p *loaded) *results {
	r := &results{rules: p, cases: len(t.cases)}
	decided := map[policy.Position]bool{}
	for _, c := range t.cases {
		service, argument := policy.Call(c.Value.method)
		request := policy.Request{Service: service, Argument: argument, Source: c.Value.source, Target: c.Value.target, RequestedSource: c.Value.requestedSource}
		d := p.Decide(request, t.system)
		if d.Rule != nil {
			decided[d.Rule.At] = true
		}
		if differs := c.Value.compare(p, d, acceptance(request, d, t.system)); len(differs) > 0 {
			r.failed = append(r.failed, failedCase{
				c.Node.Place(), fmt.Sprintf("%s calls %s of %s", c.Value.source, c.Value.method, c.Value.target), c.Value.note, differs, d,
			})
		}
	}
	for _, l := range p.lines() {
		r.lines++
		if !decided[l[0].At] {
			r.undecided = append(r.undecided, l)
		}
	}
	return r
}

// compare gives the keys of c that are expected otherwise than they are.
func (c *verdictCase) compare(p *loaded, d policy.Decision, admin accepted) (differs []mismatch) {
	is := func(key string, want *string, got string) {
		if want != nil && *want != got {
			differs = append(differs, mismatch{key, *want, got})
		}
	}
	isFlag := func(key string, want *bool, got bool) {
		if want != nil && *want != got {
			differs = append(differs, mismatch{key, strconv.FormatBool(*want), strconv.FormatBool(got)})
		}
	}
	leadsTo := ""
	if d.Verdict == policy.Allow {
		leadsTo = d.Target.String()
	}
	is("verdict", &c.verdict, d.Verdict.String())
	isFlag("admin_api", c.adminAPI, admin.Accepts)
	if place := p.place(d.Rule); c.rule == nil || !strings.HasSuffix("/"+place, "/"+*c.rule) { // as much of the path as they like
		is("rule", c.rule, place)
	}
	is("stage", c.stage, d.Stage.String())
	is("reason", c.reason, string(d.Why))
	is("leads_to", c.leadsTo, leadsTo)
	if c.targets != nil {
		want := slices.Sorted(slices.Values(*c.targets))
		if !slices.Equal(want, d.Targets) {
			differs = append(differs, mismatch{"targets", strings.Join(want, " "), strings.Join(d.Targets, " ")})
		}
	}
	is("default_target", c.defaultTarget, d.DefaultTarget)
	is("user", c.user, d.User)
	isFlag("notify", c.notify, d.Notify)
	isFlag("autostart", c.autostart, d.Autostart)
	return differs
}

func (r *results) text() []byte {
	t := newTable()
	for _, f := range r.failed {
		what := f.request
		if f.note != "" {
			what += " (" + f.note + ")"
		}
		t.row(f.at, "FAIL", what)
		for _, m := range f.differs {
			t.row("", "", fmt.Sprintf("%s: expected %s, got %s", m.Key, orNothing(m.Expected), orNothing(m.Got)))
		}
		t.row("", "", strings.TrimSpace(told(f.decision)+"; "+r.rules.place(f.decision.Rule)+" "+says(f.decision.Rule)))
	}
	for _, l := range r.undecided {
		t.row(r.rules.place(l[0]), "not tested", l.says())
	}
	t.row(fmt.Sprintf("%s, %d failed; %d of %s decided a case", counted(r.cases, "case"), len(r.failed),
		r.lines-len(r.undecided), counted(r.lines, "rule")))
	return t.bytes()
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func (r *results) json() []byte {
	type failedJSON struct {
		At       string     `json:"at"`
		Note     string     `json:"note,omitempty"`
		Differs  []mismatch `json:"differs"`
		Decision any        `json:"decision"`
	}
	report := struct {
		Cases    int          `json:"cases"`
		Failed   []failedJSON `json:"failed"`
		Rules    int          `json:"rules"`
		Untested []ruleJSON   `json:"untested"`
	}{r.cases, []failedJSON{}, r.lines, []ruleJSON{}}
	for _, f := range r.failed {
		report.Failed = append(report.Failed, failedJSON{f.at, f.note, f.differs, r.rules.decision(f.decision)})
	}
	for _, l := range r.undecided {
		report.Untested = append(report.Untested, ruleJSON{r.rules.place(l[0]), l.says()})
	}
	return toJSON(report)
}
