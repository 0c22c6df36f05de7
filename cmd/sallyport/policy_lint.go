package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
	"sallyport/stages/methods"
)

func newPolicyLint(env func(string) string, stdout *os.File) *cobra.Command {
	var files ruleFiles
	var system systemSource
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Find rules that can decide nothing, and names that mean nothing",
		Long: `Find what is wrong with a policy that loads. What it finds is so: there are no false alarms.

  hidden           the rule decides nothing, whatever qubes there are: the rules shown decide in its place
  impossible       no request at all matches the rule
  unknown-service  a service admin.*, the Admin API's own, that this version of the daemon does not serve
  unknown-class    no qube can be of that class
  unknown-name     there is no such qube
  unknown-tag      no qube has that tag
  not-a-template   the qube after @dispvm: is no template for disposables

The last three are looked for if the qubes are known: give --system or --socket. A line in a file that is included for
several services is hidden or impossible if it is for all of them.` + fmt.Sprintf(exitsDaemon, "there are findings, or the policy does not load"),
		Example: `  sallyport policy lint
  sallyport policy lint --policy-dir ./policy.d --system system.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := files.loadable()
			if err != nil {
				return err
			}
			k := policy.Knowledge{Service: offered()}
			if system.given() {
				if k.System, err = system.read(env); err != nil {
					return err
				}
			}
			all := p.findings(policy.Lint(p.Policy, k))
			report := p.lintText
			if asJSON {
				report = p.lintJSON
			}
			if err := show(stdout, report(all), "\n"); err != nil {
				return err
			}
			if len(all) > 0 {
				return fail(exitFound, "")
			}
			return nil
		},
	}
	files.flags(cmd)
	system.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// offered says of a service whether somebody may offer it: those of the Admin API only the daemon does, others any qube.
func offered() func(service string) bool {
	served := map[string]bool{}
	for _, e := range methods.All() {
		name, _, _ := strings.Cut(e.Name, "+")
		served[name] = true
	}
	return func(service string) bool { return served[service] || !strings.HasPrefix(service, "admin.") }
}

// finding is one defect of one line.
type finding struct {
	policy.Finding
	says string // what is the matter with the line, or with one of its rules
}

// findings sorts those of rules by the lines that made them. Nobody can mend what no line says, nor does a line have to go
// that decides for one service and is hidden for another.
func (p *loaded) findings(of []policy.Finding) (all []finding) {
	byPlace := map[policy.Position][]policy.Finding{}
	for _, f := range of {
		if !f.Rule.Implied {
			byPlace[f.Rule.At] = append(byPlace[f.Rule.At], f)
		}
	}
	for _, l := range p.lines() {
		dead := finding{says: l.says()}
		deaths := 0
		var others []finding
		for _, f := range byPlace[l[0].At] {
			switch {
			case f.Defect == policy.Hidden || f.Defect == policy.Impossible:
				if deaths++; dead.Defect != policy.Hidden {
					dead.Defect = f.Defect
				}
				dead.Rule, dead.Offers = f.Rule, dead.Offers || f.Offers
				for _, by := range f.By {
					if !slices.ContainsFunc(dead.By, func(other *policy.Rule) bool { return other.At == by.At }) {
						dead.By = append(dead.By, by)
					}
				}
			case f.Defect == policy.UnknownService:
				others = append(others, finding{f, says(f.Rule)})
			case !slices.ContainsFunc(others, func(o finding) bool { return o.Defect == f.Defect && o.Word == f.Word }):
				others = append(others, finding{f, l.says()})
			}
		}
		if deaths == len(l) {
			all = append(all, dead)
		}
		all = append(all, others...)
	}
	return all
}

func (p *loaded) lintText(all []finding) []byte {
	t := newTable()
	for _, f := range all {
		t.row(p.place(f.Rule), strings.TrimSpace(string(f.Defect)+" "+f.Word), f.says)
		for _, by := range f.By {
			t.row("", "", "decided by "+p.place(by)+": "+says(by))
		}
		if f.Offers {
			t.row("", "", "it may still change what a person is offered by a rule that asks")
		}
	}
	t.row(counted(len(all), "finding") + " in " + counted(len(p.Rules()), "rule"))
	return t.bytes()
}

func (p *loaded) lintJSON(all []finding) []byte {
	type findingJSON struct {
		ruleJSON
		Defect string     `json:"defect"`
		Word   string     `json:"word,omitempty"`
		By     []ruleJSON `json:"by,omitempty"`
		Offers bool       `json:"may_change_what_is_offered,omitempty"`
	}
	report := struct {
		Rules    int           `json:"rules"`
		Findings []findingJSON `json:"findings"`
	}{len(p.Rules()), []findingJSON{}}
	for _, f := range all {
		one := findingJSON{ruleJSON{p.place(f.Rule), f.says}, string(f.Defect), f.Word, nil, f.Offers}
		for _, by := range f.By {
			one.By = append(one.By, *p.toRuleJSON(by))
		}
		report.Findings = append(report.Findings, one)
	}
	return toJSON(report)
}
