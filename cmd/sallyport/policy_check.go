package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
)

func newPolicyCheck(stdout *os.File) *cobra.Command {
	var files ruleFiles
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check whether a policy loads, and show all that keeps it from it",
		Long: `Check whether a policy loads, and show all that keeps it from it, a line each:

  FILE:LINE:COLUMN: what it was read as, and its text: what was expected

A policy that does not load never replaces one that did. A daemon that has none denies everything but dom0's calls.` +
			fmt.Sprintf(exitsFiles, "the policy does not load"),
		Example: `  sallyport policy check
  sallyport policy check --policy-dir ./policy.d --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := files.load()
			var all policy.LoadErrors
			if err != nil && !errors.As(err, &all) {
				return err
			}
			report := checkText
			if asJSON {
				report = checkJSON
			}
			if err := show(stdout, report(p, all), "\n"); err != nil {
				return err
			}
			if len(all) > 0 {
				return fail(exitFound, "")
			}
			return nil
		},
	}
	files.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func checkText(p *loaded, all policy.LoadErrors) []byte {
	if len(all) > 0 {
		return fmt.Appendf(nil, "%v\n%s: the policy does not load\n", all, counted(len(all), "error"))
	}
	var text []byte
	for _, at := range p.Legacy() {
		at.File = p.file(at.File)
		text = fmt.Appendf(text, "%v: warning: !compat-4.0 inserts legacy files; their rules belong into files of this format\n", at)
	}
	return fmt.Appendf(text, "the policy loads: %s\n", counted(len(p.Rules()), "rule"))
}

// loadErrorJSON is a policy.LoadError.
type loadErrorJSON struct {
	At       string `json:"at"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Kind     string `json:"kind"`
	Reason   string `json:"reason"`
	ReadAs   string `json:"read_as"`
	Text     string `json:"text,omitempty"`
	Expected string `json:"expected"`
}

func checkJSON(p *loaded, all policy.LoadErrors) []byte {
	report := struct {
		OK     bool            `json:"ok"`
		Rules  int             `json:"rules"`
		Errors []loadErrorJSON `json:"errors"`
		Legacy []string        `json:"legacy"`
	}{OK: len(all) == 0, Errors: []loadErrorJSON{}, Legacy: []string{}}
	for _, e := range all {
		report.Errors = append(report.Errors, loadErrorJSON{
			e.At.String(), e.At.File, e.At.Line, e.At.Column, e.Reason.Kind(), string(e.Reason), e.Read, e.Text, e.Expected,
		})
	}
	if report.OK {
		report.Rules = len(p.Rules())
		for _, at := range p.Legacy() {
			at.File = p.file(at.File)
			report.Legacy = append(report.Legacy, at.String())
		}
	}
	return toJSON(report)
}
