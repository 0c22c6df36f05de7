package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/verdict"
)

// usualThresholds hold where nobody said what is to hold. A server that is offered more than it can do keeps its callers
// waiting for longer and longer, so that one of them fails soon.
var usualThresholds = []string{"errors < 1%", "p99 < 100ms"}

func newLoadCapacity(env func(string) string, stdout *os.File) *cobra.Command {
	var l loadFlags
	var c capacity
	var precision, file string
	cmd := &cobra.Command{
		Use:   "find-capacity [flags] FILE | METHOD[+ARG] [DEST]",
		Short: "Search the highest rate of calls at which thresholds hold",
		Long: `Search the highest rate of calls at which all thresholds hold: those of --threshold and of the scenario in FILE, or, if
there are none, ` + strings.Join(usualThresholds, " and ") + `.

Each probe makes the calls of the scenario's mix, or the one call, at one rate of arrivals for --duration; an item
with steps is one arrival. What FILE says of stages, warm-up and model is not used. The rate is doubled from --from until a threshold does not hold, and then narrowed down; what
decides is probed more than once, since one run may have bad luck. So a search takes some thirty probes.

A probe in which the tool was the bottleneck says nothing, and is made again. The search ends if that is so three times in
a row: the capacity is then at least what held before. Calls that were not begun, since --max-in-flight were under way
already, are errors.
` + aboutTargets + `
Exit codes: 0 found, or all rates up to --to hold; 2 usage, or a scenario that is none; 4 a result that cannot be written;
98 not found; 99 the thresholds do not even hold at --from. Ctrl-C ends the search, and what was found is told.`,
		Example: `  sallyport load find-capacity --threshold 'p99 < 5ms' admin.vm.feature.Get+service.cups work
  sallyport load find-capacity --from 500 --to 20000 --duration 30s --json capacity.json mine.yaml`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.Precision, err = share(precision); err != nil {
				return fmt.Errorf("--precision: %w", err)
			}
			if err := report.Try(file); err != nil {
				return fail(exitNoReply, "load: %v", err)
			}
			if !(0 < c.From && c.From <= c.To && c.To <= scenario.MostRate) {
				return fmt.Errorf("--from, --to: expected numbers above 0, up to %.0f, the first not above the second", scenario.MostRate)
			}
			if !cmd.Flags().Changed("warmup") {
				c.warmup = c.duration / 10
			}
			if !l.isFile(args) {
				l.Rate, l.Duration = c.From, c.duration // of the first probe
			}
			if c.s, err = l.scenario(cmd, args, env); err != nil {
				return err
			}
			if _, err = c.s.At(c.From, c.duration, c.warmup); err != nil {
				return err
			}
			raiseDescriptors()
			ctx, stop := untilTold()
			defer stop()
			c.stdout = stdout
			c.run = func(ctx context.Context, s *scenario.Scenario) (*measure.Result, error) {
				return drive.Run(ctx, s, drive.Options{})
			}
			return c.search(ctx, file)
		},
	}
	l.flags(cmd)
	f := cmd.Flags()
	f.Float64Var(&c.From, "from", 100, "`N` calls per second, at which the search begins")
	f.Float64Var(&c.To, "to", 100_000, "`N` calls per second, at most")
	f.StringVar(&precision, "precision", "2%", "how near the rate is to the highest, as a `SHARE` of it")
	f.DurationVar(&c.duration, "duration", 10*time.Second, "of each probe")
	f.DurationVar(&c.warmup, "warmup", 0, "how much of that is not measured (default a tenth)")
	f.StringVar(&file, "json", "", "write the search to `FILE`, too, for programs")
	return cmd
}

// capacity is a search.
type capacity struct {
	verdict.Range
	s                *scenario.Scenario
	duration, warmup time.Duration // of a probe
	run              func(context.Context, *scenario.Scenario) (*measure.Result, error)
	stdout           io.Writer

	doc    capacityJSON
	untold error // what kept it from telling
}

// capacityJSON is a search as it is written, in JSON with these names.
type capacityJSON struct {
	Format     int            `json:"format"`
	Found      verdict.Found  `json:"found"`                      // edge, none held, all held, unfinished
	Rate       float64        `json:"rate_per_second"`            // of arrivals, as all rates but reached_per_second
	Beyond     float64        `json:"fails_per_second,omitempty"` // the lowest rate above it that did not hold
	Why        string         `json:"why,omitempty"`              // it is unfinished
	From       float64        `json:"from_per_second"`            // the least rate that was to be tried
	Precision  float64        `json:"precision"`
	Thresholds []string       `json:"thresholds"`
	Scenario   string         `json:"scenario"`
	Target     string         `json:"target"`
	Mix        []report.Item  `json:"mix"`
	Machine    report.Machine `json:"machine"`
	Probes     []probeJSON    `json:"probes"` // in the order in which they were made
}

// probeJSON is a probe. One that is invalid did not count.
type probeJSON struct {
	Rate     float64          `json:"rate_per_second"`
	Held     bool             `json:"held"`
	Began    time.Time        `json:"began"`
	Seconds  float64          `json:"seconds"`
	Reached  float64          `json:"reached_per_second"`
	Overall  report.Figures   `json:"overall"` // without its histogram
	Lag      report.Times     `json:"lag"`
	Verdicts []report.Verdict `json:"verdicts"`
	Why      []string         `json:"why,omitempty"` // it did not hold
	Invalid  []string         `json:"invalid,omitempty"`
}

// errBottleneck ends a search that the tool cannot go on with.
var errBottleneck = errors.New("the tool was the bottleneck")

// search searches, and tells of it. What is written comes last, and a file that cannot be written does not keep what was
// found from whoever waits.
func (c *capacity) search(ctx context.Context, file string) error {
	note := ""
	if len(c.s.Thresholds) == 0 {
		c.s.Thresholds, note = usualThresholds, ", since no --threshold says otherwise"
	}
	of := report.Of(c.s, measure.NewResult())
	c.doc = capacityJSON{
		Format: 1, From: c.From, Precision: c.Precision, Thresholds: c.s.Thresholds, Scenario: of.Scenario, Target: of.Target, Mix: of.Mix, Machine: of.Machine,
		Probes: []probeJSON{},
	}
	c.say("%s: what is to hold: %s%s", of.Scenario, strings.Join(c.s.Thresholds, ", "), note)
	c.say("each probe: calls of the mix at one rate, whatever stages there are, for %v, of which %v are not measured", c.duration, c.warmup)
	found, err := verdict.Search(ctx, c.Range, c.probe)
	c.doc.Found, c.doc.Rate, c.doc.Beyond = found.Found, found.Rate, found.Beyond()
	switch {
	case found.Found != verdict.Unfinished:
	case ctx.Err() != nil:
		c.doc.Why = "the search was ended"
	case err != nil && len(c.doc.Probes) == 0:
		return fail(exitUsage, "load: %v", err)
	case err != nil:
		c.doc.Why = err.Error()
	default:
		c.doc.Why = fmt.Sprintf("%d probes were not enough", len(found.Probes))
	}
	c.say("%s", c.doc.text())
	if file != "" {
		c.untold = errors.Join(c.untold, report.Save(file, c.doc.write))
	}
	switch {
	case c.untold != nil:
		return fail(exitNoReply, "load: %v", c.untold)
	case found.Found == verdict.Unfinished:
		return fail(exitInvalid, "")
	case found.Found == verdict.NoneHeld:
		return fail(exitMissed, "")
	}
	return nil
}

func (c *capacity) say(format string, args ...any) {
	_, err := c.stdout.Write(append(escape(fmt.Appendf(nil, format, args...), ""), '\n'))
	c.untold = cmp.Or(c.untold, err)
}

// mostInvalid is how many probes in a row may say nothing about the server.
const mostInvalid = 3

// probe makes a run at a rate, and says whether all held.
func (c *capacity) probe(ctx context.Context, rate float64) (held bool, err error) {
	for range mostInvalid {
		p, err := c.once(ctx, rate)
		if err != nil || ctx.Err() != nil { // what was cut short says nothing
			return false, err
		}
		c.doc.Probes = append(c.doc.Probes, p)
		c.say("%s", p.text(c.doc.unit()))
		if len(p.Invalid) == 0 {
			return p.Held, nil
		}
	}
	return false, fmt.Errorf("at %s, %w", rounded(rate), errBottleneck)
}

func (c *capacity) once(ctx context.Context, rate float64) (probeJSON, error) {
	s, err := c.s.At(rate, c.duration, c.warmup)
	if err != nil {
		return probeJSON{}, err
	}
	r, err := c.run(ctx, s)
	if err != nil {
		return probeJSON{}, err
	}
	d := report.Of(s, r)
	p := probeJSON{Rate: rate, Began: d.Began, Seconds: d.Seconds, Reached: d.Reached, Overall: d.Overall, Lag: d.Lag, Invalid: d.Invalid}
	p.Overall.Histogram = report.Histogram{}
	p.Verdicts, p.Held = judged(s.Thresholds, r)
	for _, v := range p.Verdicts {
		switch {
		case !v.Held && v.Value != "":
			p.Why = append(p.Why, v.Threshold+": it is "+v.Value)
		case !v.Held:
			p.Why = append(p.Why, v.Threshold+": "+v.Why)
		}
	}
	// A server that lets so many calls pile up that no more can be begun has told enough. If nothing else makes the run
	// invalid, the tool was in time, and it is not for the tool that they did.
	if _, shed := r.Of(func(k measure.Key) bool { return k.Outcome == measure.Shed }); shed > 0 && len(p.Invalid) == 1 {
		p.Held, p.Why, p.Invalid = false, append(p.Why, p.Invalid...), nil
	}
	return p, nil
}

// text is a probe for people: a line.
func (p probeJSON) text(unit string) string {
	word, why := "held", p.Why
	switch {
	case len(p.Invalid) > 0:
		word, why = "INVALID", p.Invalid
	case !p.Held:
		word = "FAILED"
	}
	line := fmt.Sprintf("%9s %s  %-7s  p50 %s, p99 %s, the tool late by %s, errors %.3g %%", rounded(p.Rate), unit, word,
		report.Span(p.Overall.P50), report.Span(p.Overall.P99), report.Span(p.Lag.P999), 100*float64(p.Overall.Errors)/math.Max(1, float64(p.Overall.Count)))
	return strings.Join(append([]string{line}, why...), "; ")
}

// text is what was found, for people: a line.
func (d capacityJSON) text() string {
	switch {
	case d.Found == verdict.TheEdge:
		return fmt.Sprintf("capacity: %s %s hold, %s do not", rounded(d.Rate), d.unit(), rounded(d.Beyond))
	case d.Found == verdict.AllHeld:
		return fmt.Sprintf("capacity: at least %s %s: more were not to be tried", rounded(d.Rate), d.unit())
	case d.Found == verdict.NoneHeld:
		return fmt.Sprintf("capacity: less than %s %s, the least that was to be tried", rounded(d.From), d.unit())
	case d.Rate > 0:
		return fmt.Sprintf("capacity: at least %s %s: %s", rounded(d.Rate), d.unit(), d.Why)
	}
	return "capacity: unknown: " + d.Why
}

// unit is what a rate is of: an arrival may bring several calls.
func (d capacityJSON) unit() string {
	if slices.ContainsFunc(d.Mix, func(i report.Item) bool { return len(i.Calls) > 1 }) {
		return "arrivals/s"
	}
	return "calls/s"
}

// rounded is a rate for people, to three digits or more.
func rounded(rate float64) string {
	if rate < 100 {
		return fmt.Sprintf("%.3g", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

func (d capacityJSON) write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
