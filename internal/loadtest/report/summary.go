package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteSummary writes d for people: one table of all groups, and what is to be known of the run. It writes once, so that
// all of it is written, or an error says that it is not.
func (d Document) WriteSummary(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s calls/s offered, %s as expected, for %.1f s, at %s\n", d.Scenario, perSecond(d.Offered), perSecond(d.Reached), d.Seconds, d.Target)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tcalls\terrors\tp50\tp90\tp99\tp99.9\tmax\t")
	line := func(name string, f Figures) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", name, f.Count, f.Errors, Span(f.P50), Span(f.P90), Span(f.P99), Span(f.P999), Span(f.Max))
	}
	line("all", d.Overall)
	for _, g := range d.Groups {
		line(string(g.By)+" "+g.Name, g.Figures)
	}
	_ = t.Flush() // a strings.Builder takes everything
	for _, x := range d.Beside {
		fmt.Fprintf(&b, "beside: %s: %s: %d times\n", x.Misdeed, strings.TrimSpace(string(x.Outcome)+" "+x.Exception), x.Count)
	}
	if d.Events > 0 {
		fmt.Fprintf(&b, "events read: %d\n", d.Events)
	}
	fmt.Fprintf(&b, "times count from when a call was due; the tool began calls late by %s at most, 99.9 %% by less than %s\n", Span(d.Lag.Max), Span(d.Lag.P999))
	if d.Load.Model == "closed" {
		fmt.Fprintln(&b, "workers wait for each reply: how long others would have waited who came meanwhile is not known")
	}
	for _, note := range d.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	for _, s := range d.Server {
		s.summarize(&b, d.Overall.Times)
	}
	apart := 0.0
	for _, a := range d.Agents {
		if a.Lost != "" {
			fmt.Fprintf(&b, "agent %s: LOST: %s\n", a.Name, a.Lost)
			continue
		}
		fmt.Fprintf(&b, "agent %s: %d calls were due; late by %s at most, 99.9 %% by less than %s\n", a.Name, a.Due, Span(a.Lag.Max), Span(a.Lag.P999))
		apart = max(apart, a.Within)
	}
	if len(d.Agents) > 1 {
		fmt.Fprintf(&b, "agents began within %s of each other\n", Span(apart))
	}
	for _, v := range d.Verdicts {
		fmt.Fprintf(&b, "%s: %s\n", v.word(), v.text())
	}
	for _, why := range d.Invalid {
		fmt.Fprintf(&b, "INVALID: %s\n", why)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// perSecond is a rate for people: without a fraction, unless it is low.
func perSecond(rate float64) string {
	if rate > 0 && rate < 10 {
		return fmt.Sprintf("%.2g", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

func (v Verdict) word() string {
	if v.Held {
		return "held"
	}
	return "FAILED"
}

// text is the threshold, and what is to be said of it.
func (v Verdict) text() string {
	switch {
	case v.Why != "":
		return v.Threshold + ": " + v.Why
	case v.Value != "":
		return v.Threshold + ": it is " + v.Value
	}
	return v.Threshold
}

// units of time, each a thousand of the one before, the first in microseconds.
var units = []string{"µs", "ms", "s"}

// Span is a time in microseconds for people, to three digits. Zero is none.
func Span(micros float64) string {
	if micros == 0 {
		return "-"
	}
	unit := 0
	for ; micros >= 999.5 && unit < len(units)-1; unit++ {
		micros /= 1000
	}
	places := 0
	switch {
	case micros < 9.995:
		places = 2
	case micros < 99.95:
		places = 1
	}
	return fmt.Sprintf("%.*f %s", places, micros, units[unit])
}
