// Package report writes what a load test found, for people and for programs.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// Document is a result in JSON. All times are in microseconds, and count from the intended start of a call; percentiles
// are of calls that were answered, or whose answer did not come in time.
type Document struct {
	Overall  Figures            `json:"overall"`
	Groups   []Group            `json:"groups"`
	Beside   []Beside           `json:"beside,omitempty"` // clients that misbehaved, which count in nothing else
	Scenario string             `json:"scenario"`
	Began    time.Time          `json:"began"`   // of what was measured
	Seconds  float64            `json:"seconds"` // of it
	Offered  float64            `json:"offered_per_second"`
	Reached  float64            `json:"reached_per_second"` // calls that ended as expected
	Lag      map[string]float64 `json:"lag"`                // how late the tool itself began calls: p50_us, p99_us, p999_us, max_us
	Events   uint64             `json:"events,omitempty"`   // that subscribers read
	Invalid  []string           `json:"invalid,omitempty"`  // why all this says nothing about the server
}

// Figures are of some of the calls.
type Figures struct {
	Count  uint64  `json:"count"`
	Errors uint64  `json:"errors"`
	P50    float64 `json:"p50_us"`
	P90    float64 `json:"p90_us"`
	P99    float64 `json:"p99_us"`
	P999   float64 `json:"p999_us"`
	P9999  float64 `json:"p9999_us"`
	Max    float64 `json:"max_us"`
}

// Group is the calls that have something in common.
type Group struct {
	By   string `json:"by"` // method, source, outcome or exception
	Name string `json:"name"`
	Figures
}

// Beside is how often a misdeed ended in that way.
type Beside struct {
	Misdeed   string          `json:"misdeed"`
	Outcome   measure.Outcome `json:"outcome"`
	Exception string          `json:"exception,omitempty"`
	Count     uint64          `json:"count"`
}

// by is what calls are grouped by. An empty name is no group.
var by = []struct {
	what string
	of   func(measure.Key) string
}{
	{"method", func(k measure.Key) string { return k.Method }},
	{"source", func(k measure.Key) string { return k.Source }},
	{"outcome", func(k measure.Key) string { return string(k.Outcome) }},
	{"exception", func(k measure.Key) string { return k.Type }},
}

// Of makes the document of a run of s.
func Of(s *scenario.Scenario, r *measure.Result) Document {
	d := Document{
		Overall: figures(r.Of(func(measure.Key) bool { return true })), Groups: []Group{}, Scenario: s.Name,
		Began: r.Began, Seconds: r.Took.Seconds(), Events: r.Messages, Invalid: r.Invalid, Lag: map[string]float64{
			"p50_us": micros(r.Lag.ValueAtPercentile(50)), "p99_us": micros(r.Lag.ValueAtPercentile(99)),
			"p999_us": micros(r.Lag.ValueAtPercentile(99.9)), "max_us": micros(r.Lag.Max()),
		},
	}
	if d.Seconds > 0 {
		d.Offered, d.Reached = float64(r.Due)/d.Seconds, float64(d.Overall.Count-d.Overall.Errors)/d.Seconds
	}
	for _, group := range by {
		var names []string
		for _, k := range r.Keys() {
			if name := group.of(k); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		for _, name := range names {
			d.Groups = append(d.Groups, Group{group.what, name, figures(r.Of(func(k measure.Key) bool { return group.of(k) == name }))})
		}
	}
	for k, n := range r.Beside {
		d.Beside = append(d.Beside, Beside{k.Method, k.Outcome, k.Type, n})
	}
	slices.SortFunc(d.Beside, func(a, b Beside) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return d
}

func figures(g *measure.Group, errors uint64) Figures {
	at := func(p float64) float64 { return micros(g.Total.ValueAtPercentile(p)) }
	return Figures{g.Count, errors, at(50), at(90), at(99), at(99.9), at(99.99), micros(highest(g.Total))}
}

func highest(h *hdrhistogram.Histogram) int64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return h.Max()
}

func micros(nanos int64) float64 { return float64(nanos) / 1000 }

// WriteJSON writes d.
func (d Document) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// WriteSummary writes d as a table.
func (d Document) WriteSummary(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s: %.0f calls/s offered, %.0f as expected, for %.1f s\n", d.Scenario, d.Offered, d.Reached, d.Seconds)
	line := func(name string, f Figures) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", name, f.Count, f.Errors, span(f.P50), span(f.P90), span(f.P99), span(f.P999), span(f.Max))
	}
	fmt.Fprintln(t, "\tcalls\terrors\tp50\tp90\tp99\tp99.9\tmax\t")
	line("all", d.Overall)
	for _, g := range d.Groups {
		line(g.By+" "+g.Name, g.Figures)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, b := range d.Beside {
		fmt.Fprintf(w, "beside: %s: %s %s: %d times\n", b.Misdeed, b.Outcome, b.Exception, b.Count)
	}
	if d.Events > 0 {
		fmt.Fprintf(w, "events read: %d\n", d.Events)
	}
	_, err := fmt.Fprintf(w, "times count from when a call was due; the tool began calls late by %s at most, 99.9 %% by less than %s\n", span(d.Lag["max_us"]), span(d.Lag["p999_us"]))
	for _, why := range d.Invalid {
		_, err = fmt.Fprintf(w, "INVALID: %s\n", why)
	}
	return err
}

// span is a time for people, to three digits.
func span(micros float64) string {
	d := time.Duration(micros * 1000)
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", micros)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", micros/1000)
	}
	return fmt.Sprintf("%.3g s", micros/1e6)
}
