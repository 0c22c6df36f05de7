package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
)

// What the help of a command says of exit codes: of one that reads files, and of one that may ask a daemon too.
const (
	exitsFiles  = "\n\nExit codes: 0 done; 1 %s; 2 usage, or a file that cannot be read."
	exitsDaemon = "\n\nExit codes: 0 done; 1 %s; 2 usage, or a file that cannot be read; 3 no daemon; 4 no reply."
)

func newPolicy(env func(string) string, stdin, stdout *os.File) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check, explain and compare policies",
		Long: `Check, explain and compare policies of qrexec, as they govern the Admin API.

The policy is read from files, as the daemon reads them: --policy-dir names their directories, the one whose files count
first before the others. What the qubes are is read from --system FILE, or asked of a running daemon at --socket PATH. No
command changes anything.`,
		Example: `  sallyport policy check
  sallyport policy why mgmt admin.vm.Start work`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("no command given") },
	}
	cmd.AddCommand(
		newPolicyCheck(stdout), newPolicyWhy(env, stdout), newPolicyLint(env, stdout), newPolicyDiff(stdout),
		newPolicyTest(env, stdout), newPolicyDecide(env, stdin, stdout),
	)
	return cmd
}

// ruleFiles are where a policy is, as the operator names it.
type ruleFiles struct {
	dirs   []string // none: the usual ones
	legacy string
}

// flags adds those that name a policy.
func (f *ruleFiles) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.dirs, "policy-dir", nil,
		"`DIR` of policy files; repeatable, the one whose files count first before the others (default those that exist of "+
			strings.Join(policy.DefaultSources.Dirs, ", ")+")")
	f.legacyFlag(cmd)
}

func (f *ruleFiles) legacyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.legacy, "legacy-dir", policy.DefaultSources.Legacy, "`DIR` of the files that !compat-4.0 means")
}

// load reads the policy. The error is policy.LoadErrors, whose positions are as the operator names them, or a failure.
func (f *ruleFiles) load() (*loaded, error) {
	dirs := f.dirs
	if len(dirs) == 0 {
		dirs = existing(policy.DefaultSources.Dirs)
	}
	p, sources := &loaded{}, policy.Sources{}
	for _, dir := range append(slices.Clone(dirs), f.legacy) {
		if dir == "" {
			continue
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fail(exitUsage, "%s: %v", dir, err)
		}
		p.dirs = append(p.dirs, directory{dir, abs})
		sources.Dirs = append(sources.Dirs, abs)
	}
	if f.legacy != "" {
		sources.Legacy = sources.Dirs[len(sources.Dirs)-1]
		sources.Dirs = sources.Dirs[:len(sources.Dirs)-1]
	}
	var err error
	p.Policy, err = policy.Load(os.DirFS("/"), sources)
	var all policy.LoadErrors
	if errors.As(err, &all) {
		for _, one := range all {
			one.At.File = p.file(one.At.File)
		}
	}
	return p, err
}

// loadable is load for who can do nothing with a policy that does not load.
func (f *ruleFiles) loadable() (*loaded, error) {
	p, err := f.load()
	var all policy.LoadErrors
	if errors.As(err, &all) {
		more := ""
		if len(all) > 1 {
			more = ", and " + counted(len(all)-1, "more error")
		}
		return nil, fail(exitFound, "the policy does not load: %v%s (see sallyport policy check)", all[0], more)
	}
	return p, err
}

// existing are those of dirs that exist; all if none does, for an error that names them.
func existing(dirs []string) (all []string) {
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			all = append(all, dir)
		}
	}
	if len(all) == 0 {
		return dirs
	}
	return all
}

// loaded is a policy, and the directories that it was loaded from.
type loaded struct {
	*policy.Policy
	dirs []directory
}

type directory struct{ named, abs string }

// file is how a file is named: beneath the directory that the operator named.
func (p *loaded) file(file string) string {
	var in directory
	named := file
	for _, d := range p.dirs {
		rest, ok := strings.CutPrefix(file, d.abs)
		if ok && (rest == "" || rest[0] == '/') && len(d.abs) > len(in.abs) {
			in, named = d, path.Join(d.named, rest)
		}
	}
	return named
}

// place is where r stands, FILE:LINE; empty if it is none.
func (p *loaded) place(r *policy.Rule) string {
	if r == nil {
		return ""
	}
	at := r.At
	at.File = p.file(at.File)
	return at.String()
}

// says is what r says; also of one that nobody wrote.
func says(r *policy.Rule) string {
	switch {
	case r == nil:
		return "no rule: denied"
	case r.Implied:
		return r.String() + " (implied by the file)"
	}
	return r.String()
}

// line is a line of a policy file, and the rules that it makes: one for each service that its file is included for.
type line []*policy.Rule

// lines are those of the policy's files that are rules, in the order in which they are asked first.
func (p *loaded) lines() (all []line) {
	rules := p.Rules()
	number := map[policy.Position]int{}
	for i := range rules {
		r := &rules[i]
		if r.Implied {
			continue
		}
		n, there := number[r.At]
		if !there {
			n = len(all)
			number[r.At] = n
			all = append(all, nil)
		}
		all[n] = append(all[n], r)
	}
	return all
}

// says is what the line says. Of one that is for several services it leaves them out, as the file does.
func (l line) says() string {
	text := says(l[0])
	if len(l) == 1 {
		return text
	}
	return fmt.Sprintf("%s (for %d services)", strings.SplitN(text, " ", 3)[2], len(l))
}

// table is text in columns.
type table struct {
	text bytes.Buffer
	w    *tabwriter.Writer
}

func newTable() *table {
	t := &table{}
	t.w = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	return t
}

// row adds one; what is empty at its end leaves no spaces.
func (t *table) row(columns ...string) {
	for len(columns) > 1 && columns[len(columns)-1] == "" {
		columns = columns[:len(columns)-1]
	}
	fmt.Fprintln(t.w, strings.Join(columns, "\t"))
}

func (t *table) bytes() []byte {
	_ = t.w.Flush() // to memory
	return t.text.Bytes()
}

// counted is a number of things: "1 rule", "2 rules".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "show one JSON object")
}
