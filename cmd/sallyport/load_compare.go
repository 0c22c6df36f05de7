package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/verdict"
)

func newLoadCompare(stdout *os.File) *cobra.Command {
	var c comparing
	var effect string
	cmd := &cobra.Command{
		Use:   "compare [flags] A B...",
		Short: "Tell whether a server became slower, or errs more, from runs before and after",
		Long: `Tell whether each B is slower, or has more errors, than A, or whether it is chance. Each is a file that load run --json
wrote, or a directory of such files (*.json), which are several runs of the same.

Make several runs of each, five or more, and let them take turns: A, B, A, B, and so on. Runs differ from each other by
more than the parts of one do: the machine, its caches and its neighbours change, and so do runs of one server. From one
run a side, the tool sees how much its parts differ, and no more; what it calls slower may then be another hour of the
day. By method, a single run is not judged at all, nor is one that lasted for less than ten seconds.

An interval is where the true change is, with a confidence of 99 %, all intervals together. "Slower" and "faster" are
changes that are no chance, and are as large as --min-effect; of errors, any change that is no chance counts.

Exit codes: 0 no B is worse than A; 2 usage, or a file that is no result; 98 not enough data, or a run that is invalid;
99 some B is worse.`,
		Example: `  mkdir old new
  for i in 1 2 3 4 5; do
    sallyport load run --socket old.sock --json old/$i.json mine.yaml
    sallyport load run --socket new.sock --json new/$i.json mine.yaml
  done
  sallyport load compare old new`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) (err error) {
			if c.MinEffect, err = share(effect); err != nil {
				return fmt.Errorf("--min-effect: %w", err)
			}
			sides := make([]*loadSide, len(args))
			for i, path := range args {
				if sides[i], err = readSide(path); err != nil {
					return fail(exitUsage, "%v", err)
				}
			}
			return c.tell(sides, stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&effect, "min-effect", "1%", "the least `CHANGE` of a time that counts as one, such as 2%")
	f.BoolVar(&c.allowInvalid, "allow-invalid", false, "compare runs that are invalid, too, which say nothing about the server")
	jsonFlag(cmd, &c.json)
	return cmd
}

// share is a share of 1, above 0 and below 1, as operators write it: 2%, or 0.02.
func share(text string) (float64, error) {
	digits, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n > 0 && n < 1) {
		return 0, errors.New("expected a share above 0 and below 100%, such as 2%")
	}
	return n, nil
}

// What keeps a comparison small.
const (
	mostRuns      = 100       // of a side
	mostRunLength = 256 << 20 // of a file, in bytes
)

// loadSide is one side of a comparison.
type loadSide struct {
	path string
	runs []loadRun
}

// loadRun is a run as it is compared. Its document has no distribution any more, nor windows.
type loadRun struct {
	path    string
	doc     report.Document
	all     verdict.Sample
	methods map[string]verdict.Sample
}

// readSide reads the run, or all runs, at a path. Its errors name the file, and what was expected.
func readSide(path string) (*loadSide, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filesIn(path); err != nil {
			return nil, err
		}
	}
	s := &loadSide{path: path}
	for _, file := range files {
		r, err := readRun(file)
		if err != nil {
			return nil, unreadable(file, err)
		}
		s.runs = append(s.runs, r)
	}
	return s, nil
}

// filesIn are the runs in a directory.
func filesIn(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 || len(files) > mostRuns {
		return nil, fmt.Errorf("%s: expected from 1 to %d files *.json that load run --json wrote, found %d", dir, mostRuns, len(files))
	}
	return files, nil
}

// unreadable says why there is no run at a path, and what was expected there.
func unreadable(path string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("%s: expected a file that load run --json wrote, or a directory of them: %w", path, err)
}

func readRun(path string) (loadRun, error) {
	f, err := os.Open(path)
	if err != nil {
		return loadRun{}, err
	}
	defer f.Close()
	r := loadRun{path: path, methods: map[string]verdict.Sample{}}
	if r.doc, err = report.ReadJSON(io.LimitReader(f, mostRunLength)); err != nil {
		return loadRun{}, err
	}
	r.all = verdict.SampleOf(r.doc.Overall, r.doc.Windows)
	for _, g := range r.doc.Groups {
		if g.By == report.Method {
			r.methods[g.Name] = verdict.SampleOf(g.Figures, nil)
		}
	}
	r.doc.Overall, r.doc.Groups, r.doc.Windows = report.Figures{}, nil, nil
	return r, nil
}

func (s *loadSide) all() (samples []verdict.Sample) {
	for _, r := range s.runs {
		samples = append(samples, r.all)
	}
	return samples
}

func (s *loadSide) method(name string) (samples []verdict.Sample) {
	for _, r := range s.runs {
		if sample, ok := r.methods[name]; ok {
			samples = append(samples, sample)
		}
	}
	return samples
}

// methods are those that are worth a comparison of their own: all that both sides have, if that is more than one.
func (s *loadSide) methods(other *loadSide) (names []string) {
	known := map[string]bool{}
	for _, r := range s.runs {
		for name := range r.methods {
			if !known[name] && len(other.method(name)) > 0 {
				names = append(names, name)
			}
			known[name] = true
		}
	}
	if len(known) == 1 {
		return nil
	}
	slices.Sort(names)
	return names
}

// comparing is what a comparison is told, and tells. In JSON, which is its form for programs:
//
//	base, others          path and runs; of others, whether they are worse, and comparisons
//	  verdict             worse, not worse, not enough data
//	  comparisons         of all calls (by is all), and of those of each method (by is method)
//	    change, units     of times: same, slower, faster, not enough data; and what they were computed from
//	    metrics           a_us and b_us, ratio and where it is: from low to high; both are zero where nothing is known
//	    errors            shares of 1: of a, of b, and where their difference is
//	confidence            of all intervals together
//	warnings, invalid     what makes it worth less, and which runs say nothing
type comparing struct {
	verdict.Options
	allowInvalid, json bool
}

type comparisonJSON struct {
	Format     int         `json:"format"`
	Base       sideJSON    `json:"base"`
	Others     []otherJSON `json:"others"`
	MinEffect  float64     `json:"min_effect"`
	Confidence float64     `json:"confidence"`
	Warnings   []string    `json:"warnings,omitempty"`
	Invalid    []string    `json:"invalid,omitempty"`
}

type sideJSON struct {
	Path string `json:"path"`
	Runs int    `json:"runs"`
}

type otherJSON struct {
	sideJSON
	Verdict     string         `json:"verdict"`
	Comparisons []comparedJSON `json:"comparisons"`
}

type comparedJSON struct {
	By      string         `json:"by"`
	Name    string         `json:"name,omitempty"`
	Change  verdict.Change `json:"change"`
	Units   verdict.Units  `json:"units"`
	Metrics []metricJSON   `json:"metrics"`
	Errors  sharesJSON     `json:"errors"`
}

type metricJSON struct {
	Name   string         `json:"name"`
	A      float64        `json:"a_us"`
	B      float64        `json:"b_us"`
	Ratio  float64        `json:"ratio"`
	Low    float64        `json:"low"`
	High   float64        `json:"high"`
	Change verdict.Change `json:"change"`
}

type sharesJSON struct {
	A      float64        `json:"a"`
	B      float64        `json:"b"`
	Low    float64        `json:"low"`
	High   float64        `json:"high"`
	Units  verdict.Units  `json:"units"`
	Change verdict.Change `json:"change"`
}

// What is found of a side.
const (
	worse    = "worse"
	notWorse = "not worse"
	unknown  = string(verdict.NotEnough)
)

// tell compares the first side with all others, and tells of it.
func (c comparing) tell(sides []*loadSide, stdout io.Writer) error {
	d := c.compare(sides)
	var text []byte
	if c.json {
		text = toJSON(d)
	} else {
		text = d.text()
	}
	if _, err := stdout.Write(text); err != nil {
		return fail(exitNoReply, "load: %v", err)
	}
	is := func(found string) bool {
		return slices.ContainsFunc(d.Others, func(o otherJSON) bool { return o.Verdict == found })
	}
	switch {
	case len(d.Invalid) > 0 && !c.allowInvalid:
		return fail(exitInvalid, "")
	case is(worse):
		return fail(exitMissed, "")
	case is(unknown):
		return fail(exitInvalid, "")
	}
	return nil
}

func (c comparing) compare(sides []*loadSide) comparisonJSON {
	a, others := sides[0], sides[1:]
	d := comparisonJSON{Format: 1, Base: sideJSON{a.path, len(a.runs)}, MinEffect: c.MinEffect, Confidence: verdict.Confidence}
	c.Least = verdict.Windows // calls of one run are anything but independent
	c.Family = 0
	for _, b := range others {
		c.Family += 1 + len(a.methods(b))
	}
	for _, b := range others {
		o := otherJSON{sideJSON: sideJSON{b.path, len(b.runs)}}
		all := verdict.Compare(a.all(), b.all(), c.Options)
		o.Comparisons, o.Verdict = append(o.Comparisons, comparedOf("all", "", all)), notWorse
		if all.Change == verdict.NotEnough {
			o.Verdict = unknown
		}
		found := all.Worse()
		for _, name := range a.methods(b) {
			of := verdict.Compare(a.method(name), b.method(name), c.Options)
			o.Comparisons = append(o.Comparisons, comparedOf("method", name, of))
			found = found || of.Worse()
		}
		if found {
			o.Verdict = worse
		}
		d.Others = append(d.Others, o)
	}
	d.Warnings = warnings(sides)
	for _, o := range d.Others {
		if o.Comparisons[0].Units == verdict.Calls {
			d.Warnings = append(d.Warnings, fmt.Sprintf("%s, %s: a single run that is too short to be judged by its parts: make several, or one of ten seconds", a.path, o.Path))
		}
	}
	for _, s := range sides {
		for _, r := range s.runs {
			for _, why := range r.doc.Invalid {
				d.Invalid = append(d.Invalid, r.path+": "+why)
			}
		}
	}
	return d
}

func comparedOf(by, name string, c verdict.Comparison) comparedJSON {
	of := comparedJSON{By: by, Name: name, Change: c.Change, Units: c.Units, Errors: sharesJSON(c.Errors)}
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	for _, m := range c.Metrics {
		of.Metrics = append(of.Metrics, metricJSON{m.Name, micros(m.A), micros(m.B), m.Ratio, m.Low, m.High, m.Change})
	}
	return of
}

// warnings are what keeps sides from being comparable, or runs from being of one kind.
func warnings(sides []*loadSide) (all []string) {
	a := sides[0]
	for i, s := range sides {
		for _, r := range s.runs[1:] {
			if differ := s.runs[0].differ(r); differ != "" {
				all = append(all, fmt.Sprintf("%s: another %s than %s has", r.path, differ, s.runs[0].path))
			}
		}
		if differ := a.runs[0].differ(s.runs[0]); differ != "" {
			all = append(all, fmt.Sprintf("%s: another %s than %s has", s.path, differ, a.path))
		}
		switch {
		case i == 0:
		case len(a.runs) == 1 || len(s.runs) == 1:
			all = append(all, fmt.Sprintf("%s, %s: a side with a single run: how much runs differ from each other, of one server even, cannot be seen, and a change may be of that kind; make several runs a side, that take turns", a.path, s.path))
		case a.before(s) || s.before(a):
			all = append(all, fmt.Sprintf("%s, %s: all runs of one side came before those of the other: what else changed meanwhile cannot be told apart; let them take turns", a.path, s.path))
		}
	}
	return all
}

// differ names what two runs do not have in common.
func (r loadRun) differ(other loadRun) string {
	var names []string
	for _, of := range []struct {
		name string
		a, b any
	}{
		{"scenario", r.doc.Scenario, other.doc.Scenario}, {"target", r.doc.Target, other.doc.Target}, {"load", r.doc.Load, other.doc.Load},
		{"mix", r.doc.Mix, other.doc.Mix}, {"machine", r.doc.Machine, other.doc.Machine},
	} {
		if !reflect.DeepEqual(of.a, of.b) {
			names = append(names, of.name)
		}
	}
	return strings.Join(names, ", ")
}

// before reports whether all runs of s began before all of other.
func (s *loadSide) before(other *loadSide) bool {
	began := func(a, b loadRun) int { return a.doc.Began.Compare(b.doc.Began) }
	return slices.MaxFunc(s.runs, began).doc.Began.Before(slices.MinFunc(other.runs, began).doc.Began)
}

// text is d for people.
func (d comparisonJSON) text() []byte {
	var b strings.Builder
	for _, o := range d.Others {
		fmt.Fprintf(&b, "A: %s, %s; B: %s, %s\n", d.Base.Path, counted(d.Base.Runs, "run"), o.Path, counted(o.Runs, "run"))
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\t\tA\tB\tchange\tfrom\tto")
		for _, c := range o.Comparisons {
			name := cmp.Or(c.Name, c.By)
			for _, m := range c.Metrics {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", name, m.Name, report.Span(m.A), report.Span(m.B), m.change(), changeWord(m.Change, max(verdict.Visible, d.MinEffect), "%"))
			}
			e := c.Errors
			fmt.Fprintf(t, "%s\terrors\t%.3g %%\t%.3g %%\t%s\t%s\n", name, 100*e.A, 100*e.B, e.change(), changeWord(e.Change, verdict.VisibleErrors, "pp"))
		}
		_ = t.Flush() // a strings.Builder takes everything
		fmt.Fprintf(&b, "%s: %s\n", o.Path, o.Verdict)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for _, why := range d.Invalid {
		fmt.Fprintf(&b, "INVALID: %s\n", why)
	}
	return escape([]byte(b.String()), "\n")
}

// change is the change of a time, and where it is, as cells of a table.
func (m metricJSON) change() string {
	percent := func(ratio float64) string {
		if ratio > 10 { // little is known, and no digit of it matters
			return "> ×10"
		}
		return fmt.Sprintf("%+.1f %%", 100*(ratio-1))
	}
	switch {
	case m.Ratio == 0:
		return "-\t-\t-"
	case m.High == 0:
		return percent(m.Ratio) + "\t-\t-"
	}
	return percent(m.Ratio) + "\t" + percent(m.Low) + "\t" + percent(m.High)
}

// change is the same of a share, in percentage points.
func (s sharesJSON) change() string {
	points := func(share float64) string { return fmt.Sprintf("%+.2f pp", 100*share) }
	if s.Low == 0 && s.High == 0 {
		return points(s.B-s.A) + "\t-\t-"
	}
	return points(s.B-s.A) + "\t" + points(s.Low) + "\t" + points(s.High)
}

// changeWord is a change for people. Where there is none, one that is larger than the visible one would have been seen.
func changeWord(c verdict.Change, visible float64, unit string) string {
	if c == verdict.Same {
		return fmt.Sprintf("same, within %.3g %s", 100*visible, unit)
	}
	return string(c)
}
