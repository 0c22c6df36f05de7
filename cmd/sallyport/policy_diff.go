package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
)

func newPolicyDiff(stdout *os.File) *cobra.Command {
	var legacy ruleFiles
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show the decisions that change from one policy to another",
		Long: `Show the decisions that change from one policy to another, whatever qubes there are: each pair of a rule that decided and a
rule that decides now, with a witness, which is a request and the qubes that there have to be for it. Rules that only moved, or
are written otherwise, are not shown.

OLD and NEW are each a directory of policy files, or several with ":" between them, the one whose files count first before the
others. What changes only in the targets that a person is offered is not shown.` +
			fmt.Sprintf(exitsFiles, "decisions change, or a policy does not load"),
		Example: `  sallyport policy diff /etc/qubes/policy.d ./policy.d
  sallyport policy diff /run/qubes/policy.d:/etc/qubes/policy.d /run/qubes/policy.d:./policy.d`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("expected OLD NEW")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var sides [2]*loaded
			for i, arg := range args {
				files := ruleFiles{dirs: filepath.SplitList(arg), legacy: legacy.legacy}
				var err error
				if sides[i], err = files.loadable(); err != nil {
					return err
				}
			}
			d := changes{old: sides[0], new: sides[1]}
			d.all, d.complete = policy.Diff(d.old.Policy, d.new.Policy)
			report := d.text
			if asJSON {
				report = d.json
			}
			if err := show(stdout, report(), "\n"); err != nil {
				return err
			}
			if len(d.all) > 0 || !d.complete {
				return fail(exitFound, "")
			}
			return nil
		},
	}
	legacy.legacyFlag(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// changes are the decisions that change.
type changes struct {
	old, new *loaded
	all      []policy.Difference
	complete bool
}

func (d *changes) text() []byte {
	t := newTable()
	for _, one := range d.all {
		r := one.Witness.Request
		t.row("request", fmt.Sprintf("%s calls %s%s of %s", r.Source, r.Service, strings.TrimSuffix(r.Argument, "+"), r.Target))
		t.row("was", told(one.Was))
		t.row("", strings.TrimSpace(d.old.place(one.Old)+"  "+says(one.Old)))
		t.row("is", told(one.Is))
		t.row("", strings.TrimSpace(d.new.place(one.New)+"  "+says(one.New)))
		for i := range one.Witness.Qubes {
			t.row(first(i, "qubes"), described(&one.Witness.Qubes[i]))
		}
		t.row("")
	}
	if !d.complete {
		t.row(fmt.Sprintf("there may be more: after %d tries it was given up", policy.MaxWorlds))
	}
	t.row(counted(len(d.all), "change"))
	return t.bytes()
}

// described is a qube in some words.
func described(f *policy.Facts) string {
	s := fmt.Sprintf("%s: %s, uuid %s", f.Name, f.Class, f.UUID)
	if len(f.Tags) > 0 {
		s += ", tags " + strings.Join(f.Tags, " ")
	}
	if f.DisposableTemplate {
		s += ", a template for disposables"
	}
	if f.DefaultDispVM != "" {
		s += ", its disposables are of " + f.DefaultDispVM
	}
	return s
}

func (d *changes) json() []byte {
	type system struct {
		Domains map[string]policy.Facts `json:"domains"`
	}
	type changeJSON struct {
		Request requestJSON `json:"request"`
		System  system      `json:"system"`
		Was     any         `json:"was"`
		Old     *ruleJSON   `json:"old_rule"`
		Is      any         `json:"is"`
		New     *ruleJSON   `json:"new_rule"`
	}
	report := struct {
		Complete bool         `json:"complete"`
		Changes  []changeJSON `json:"changes"`
	}{d.complete, []changeJSON{}}
	for _, one := range d.all {
		r := one.Witness.Request
		sys := system{map[string]policy.Facts{}}
		for _, f := range one.Witness.Qubes {
			sys.Domains[f.Name] = f
		}
		report.Changes = append(report.Changes, changeJSON{
			requestJSON{r.Service, &r.Argument, r.Source, r.Target, r.RequestedSource}, sys,
			d.old.decision(one.Was), d.old.toRuleJSON(one.Old), d.new.decision(one.Is), d.new.toRuleJSON(one.New),
		})
	}
	return toJSON(report)
}
