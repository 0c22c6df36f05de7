// Package report writes what a load test found, for people and for programs.
//
//	measure.Result ─Of→ Document ─┬→ summary, HTML      for people; rounded
//	                              └→ JSON, CSV, HLog    for programs; exact
//	                    JSON ─ReadJSON→ Document          with the distributions, so that runs can be compared
//
// It judges nothing, and reaches no network, nor does what it writes.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// Document is a result as it is written, in JSON with these names:
//
//	overall               figures of all calls, with their histogram
//	groups                the same of the calls that have something in common; a call is in one group of each "by"
//	  by, name            method, source, outcome or exception, and which; those of methods have a histogram
//	windows               what ended in one span of time after another, all of one width
//	  from_seconds        since began; below zero: in the warm-up, which counts nowhere else
//	  seconds             the width
//	  lag_max_us          the longest time that the tool was late
//	  outcomes            calls by outcome
//	  exceptions          calls by the type of an exception
//	beside                how often clients that misbehave got what; they count nowhere else
//	format                1; a program that reads another number may not know what the names mean
//	scenario, target      a name; a path or HOST:PORT
//	load                  model: open or closed; arrivals, when open: constant, poisson or recorded; stages
//	mix                   what arrives: name, weight, calls; of a recording, one for each name
//	began                 of what was measured, which is the end of the warm-up
//	seconds               of it
//	offered_per_second    calls that were due
//	reached_per_second    calls that ended as expected, until the last of all had ended
//	lag                   how late the tool itself began calls
//	events                that subscribers read
//	machine               that the tool ran on: cpus, kernel, go; with agents, that of their coordinator
//	agents                that made the load together; left out: one machine did
//	  name, due           its address, and calls that were due there
//	  lag                 how late it began them
//	  began_within_us     the longest time that may have passed between the word to all to begin and its beginning
//	  lost                why what it measured is not known; left out: it is
//	notes                 what else is to be known, such as what was left out
//	server                what the daemon itself told, if it was asked; see Server
//	  source              log or metrics
//	  calls, measured     how many calls that is of, and how many there were
//	  stages, methods     how long they were at each stage, of all calls and by method: stage, count, mean_us, p50_us … max_us
//	  notes               what is to be known of that; with others, dropped, unread: calls and lines that are not in it
//	verdicts              of each threshold: what was measured, whether it held, and why not
//	invalid               why all this says nothing about the server; left out: it does
//
// Figures, of which windows have the first eight:
//
//	count                 calls
//	errors                those of them that did not end as expected
//	p50_us … max_us       p50, p90, p99, p999, p9999 and max of the time they took
//	connect, first_byte   the same of the time to when the connection stood, and to when the reply began
//	histogram             HdrHistogram V2, compressed, base64; of nanoseconds
//
// All _us are microseconds from when a call was due, not from when it was begun. They are those of calls that were
// answered, or waited for in vain: a refusal in a microsecond makes no server fast. They are the histogram's own, which
// knows three digits; windows, connect and first_byte know two.
type Document struct {
	Overall  Figures   `json:"overall"`
	Groups   []Group   `json:"groups"`
	Windows  []Window  `json:"windows"`
	Beside   []Beside  `json:"beside,omitempty"`
	Format   int       `json:"format"`
	Scenario string    `json:"scenario"`
	Target   string    `json:"target"`
	Load     Load      `json:"load"`
	Mix      []Item    `json:"mix"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
	Offered  float64   `json:"offered_per_second"`
	Reached  float64   `json:"reached_per_second"`
	Lag      Times     `json:"lag"`
	Events   uint64    `json:"events,omitempty"`
	Machine  Machine   `json:"machine"`
	Agents   []Agent   `json:"agents,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
	Server   []Server  `json:"server,omitempty"`
	Verdicts []Verdict `json:"verdicts,omitempty"`
	Invalid  []string  `json:"invalid,omitempty"`
}

// Times are a distribution's percentiles, in microseconds. Zero: it is empty.
type Times struct {
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	P9999 float64 `json:"p9999_us"`
	Max   float64 `json:"max_us"`
}

// Figures are of some of the calls.
type Figures struct {
	Count  uint64 `json:"count"`
	Errors uint64 `json:"errors"`
	Times
	Connect   Times     `json:"connect"`
	FirstByte Times     `json:"first_byte"`
	Histogram Histogram `json:"histogram,omitzero"`
}

// Group is the calls that have something in common.
type Group struct {
	By   By     `json:"by"`
	Name string `json:"name"`
	Figures
}

// By is what calls are grouped by.
type By string

// What calls are grouped by. Not all have a source or an exception.
const (
	Method    By = "method"
	Source    By = "source"
	Outcome   By = "outcome"
	Exception By = "exception"
)

// Bys are all of them.
var Bys = []By{Method, Source, Outcome, Exception}

// of is a call's name in the groups; empty: it is in none.
func (by By) of(k measure.Key) string {
	switch by {
	case Method:
		return Printable(k.Method)
	case Source:
		return Printable(k.Source)
	case Outcome:
		return string(k.Outcome)
	}
	return Printable(k.Type)
}

// Window is what ended in one span of time.
type Window struct {
	From   float64 `json:"from_seconds"`
	Width  float64 `json:"seconds"`
	Count  uint64  `json:"count"`
	Errors uint64  `json:"errors"`
	Times
	LagMax     float64                    `json:"lag_max_us"`
	Outcomes   map[measure.Outcome]uint64 `json:"outcomes,omitempty"`
	Exceptions map[string]uint64          `json:"exceptions,omitempty"`
	Histogram  Packed                     `json:"histogram"`
}

// Beside is how often a misdeed ended in that way.
type Beside struct {
	Misdeed   string          `json:"misdeed"`
	Outcome   measure.Outcome `json:"outcome"`
	Exception string          `json:"exception,omitempty"`
	Count     uint64          `json:"count"`
}

// Load is how calls arrived.
type Load struct {
	Model    string  `json:"model"`
	Arrivals string  `json:"arrivals,omitempty"`
	Stages   []Stage `json:"stages"`
}

// Stage is a part of a run. From and To are calls per second; of the closed model, workers.
type Stage struct {
	Name    string  `json:"name,omitempty"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Seconds float64 `json:"seconds"`
}

// Item is what one arrival brings.
type Item struct {
	Name   string   `json:"name"`
	Weight float64  `json:"weight"`
	Calls  []string `json:"calls"` // their methods
}

// Machine is where the tool ran.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Agent is one of the machines that made a load together.
type Agent struct {
	Name   string  `json:"name"`
	Due    uint64  `json:"due"`
	Lag    Times   `json:"lag"`
	Within float64 `json:"began_within_us"`
	Lost   string  `json:"lost,omitempty"`
}

// Verdict is what became of a threshold.
type Verdict struct {
	Threshold string `json:"threshold"`
	Value     string `json:"value"` // what was measured, for people; empty: nothing was
	Held      bool   `json:"held"`
	Why       string `json:"why,omitempty"` // it did not hold
}

const format = 1

// Of makes the document of a run of s on this machine, without verdicts. It shares nothing with r that changes.
func Of(s *scenario.Scenario, r *measure.Result) Document {
	all, errors := r.Of(func(measure.Key) bool { return true })
	d := Document{
		Overall: figures(all, errors), Groups: []Group{}, Windows: []Window{}, Format: format,
		Scenario: Printable(s.Name), Target: cmp.Or(s.Target.Socket, s.Target.Addr), Load: loadOf(s.Load), Mix: []Item{},
		Began: r.Began.UTC().Round(0), Seconds: r.Took.Seconds(), Lag: times(r.Lag), Events: r.Messages,
		Machine: thisMachine(), Notes: slices.Concat(s.Notes, r.Notes), Invalid: r.Invalid,
	}
	d.Overall.Histogram = Histogram{Histogram: all.Total}
	if d.Seconds > 0 {
		d.Offered, d.Reached = float64(r.Due)/d.Seconds, r.PerSecond(d.Overall.Count-d.Overall.Errors)
	}
	if slices.ContainsFunc(r.Keys(), func(k measure.Key) bool { return k.Source == measure.Other || k.Type == measure.Other }) {
		d.Notes = append(d.Notes, fmt.Sprintf("more sources, methods or types of exceptions than %d together are not told apart: they are %s", measure.MostGroups, measure.Other))
	}
	for _, by := range Bys {
		d.Groups = append(d.Groups, groups(by, r)...)
	}
	for _, w := range r.Windows {
		d.Windows = append(d.Windows, windowOf(w, s.Warmup))
	}
	named := map[string]int{} // of a recording, whose items are one for each call that differs
	for _, item := range s.Mix {
		i := Item{Name: Printable(item.Name), Weight: item.Weight}
		if at, again := named[i.Name]; again {
			d.Mix[at].Weight += i.Weight
			continue
		}
		if len(s.Load.Recorded) > 0 {
			named[i.Name] = len(d.Mix)
		}
		for _, call := range item.Steps {
			i.Calls = append(i.Calls, Printable(call.Method))
		}
		d.Mix = append(d.Mix, i)
	}
	for _, a := range r.Agents {
		d.Agents = append(d.Agents, Agent{a.Name, a.Due, times(a.Lag), micros(int64(a.Within)), a.Lost})
	}
	for k, n := range r.Beside {
		d.Beside = append(d.Beside, Beside{Printable(k.Method), k.Outcome, Printable(k.Type), n})
	}
	slices.SortFunc(d.Beside, func(a, b Beside) int {
		return cmp.Or(cmp.Compare(a.Misdeed, b.Misdeed), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Exception, b.Exception))
	})
	return d
}

// groups are those of one kind, by name.
func groups(by By, r *measure.Result) (all []Group) {
	names := map[string]bool{}
	for k := range r.Groups {
		names[by.of(k)] = true
	}
	delete(names, "")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, errors := r.Of(func(k measure.Key) bool { return by.of(k) == name })
		group := Group{by, name, figures(g, errors)}
		if by == Method {
			group.Histogram = Histogram{Histogram: g.Total}
		}
		all = append(all, group)
	}
	return all
}

func figures(g *measure.Group, errors uint64) Figures {
	return Figures{Count: g.Count, Errors: errors, Times: times(g.Total), Connect: times(g.Connected), FirstByte: times(g.First)}
}

// distribution is what both kinds of histograms are.
type distribution interface {
	TotalCount() int64
	ValueAtPercentile(float64) int64
	Max() int64
}

func times(h distribution) Times {
	if h.TotalCount() == 0 {
		return Times{} // whose Max would be that of the lowest bucket
	}
	at := func(p float64) float64 { return micros(h.ValueAtPercentile(p)) }
	return Times{at(50), at(90), at(99), at(99.9), at(99.99), micros(h.Max())}
}

func micros(nanos int64) float64 { return float64(nanos) / 1000 }

func windowOf(w *measure.Window, warmup time.Duration) Window {
	all, errors := w.Count()
	window := Window{
		From: (w.From - warmup).Seconds(), Width: w.Width.Seconds(), Count: all, Errors: errors, Times: times(w.Total),
		LagMax: micros(int64(w.Lag)), Outcomes: maps.Clone(w.Counts), Exceptions: map[string]uint64{}, Histogram: Packed{PackedHistogram: w.Total.Clone()},
	}
	for kind, n := range w.Types {
		window.Exceptions[Printable(kind)] += n
	}
	return window
}

func loadOf(l scenario.Load) Load {
	load := Load{Model: "open", Arrivals: "constant", Stages: []Stage{}}
	switch {
	case l.Closed:
		load.Model, load.Arrivals = "closed", ""
	case len(l.Recorded) > 0:
		load.Arrivals = "recorded"
	case l.Poisson:
		load.Arrivals = "poisson"
	}
	for _, s := range l.Stages {
		load.Stages = append(load.Stages, Stage{Printable(s.Name), s.From, s.To, s.For.Seconds()})
	}
	return load
}

func thisMachine() Machine {
	var u unix.Utsname
	_ = unix.Uname(&u) // which fails for a bad address alone
	return Machine{runtime.NumCPU(), unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]), runtime.Version()}
}

// mostName is how long a name may be.
const mostName = 256

// Printable is a name as it may be shown. Types of exceptions come from the server, which is not trusted; sources may come
// from any file.
func Printable(name string) string {
	if len(name) > mostName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("(a name that is longer than %d bytes or cannot be printed)", mostName)
	}
	return name
}
