package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// row is one line of the report.
type row struct {
	Measure string             `json:"measure"`
	Unit    unit               `json:"shown_in"`
	Values  map[string]float64 `json:"values"` // medians, by server: calls/s, nanoseconds, bytes or a count
	Ratios  map[string]ratio   `json:"ratios"` // to the baseline, by server
	Goals   map[string]goal    `json:"goals"`
	Met     map[string]bool    `json:"met"`
}

// goal bounds a ratio, or the value itself.
type goal struct {
	AtLeast bool    `json:"at_least"` // or at most
	Bound   float64 `json:"bound"`
	OfValue bool    `json:"of_value"`
}

func (g goal) met(value float64, r ratio) bool {
	x := r.Median
	if g.OfValue {
		x = value
	}
	if g.AtLeast {
		return x >= g.Bound
	}
	return x <= g.Bound
}

type unit string

const (
	perSecond unit = "calls/s"
	micros    unit = "µs"
	millis    unit = "ms"
	kilobytes unit = "kB" // of 1000 bytes
	number    unit = ""
)

// show is v, which is in calls/s, nanoseconds, bytes or a count.
func (u unit) show(v float64) string {
	switch u {
	case perSecond:
		return thousands(v)
	case micros:
		return fmt.Sprintf("%.1f", v/1000)
	case millis:
		return fmt.Sprintf("%.1f", v/1e6)
	case kilobytes:
		return fmt.Sprintf("%.2f", v/1000)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}

// thousands is v without a fraction, its digits in threes.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func atLeast(bound float64) goal { return goal{AtLeast: true, Bound: bound} }
func atMost(bound float64) goal  { return goal{Bound: bound} }

func warnInfo(warn, info goal) map[string]goal { return map[string]goal{"warn": warn, "info": info} }

// rows are the measures of the issues "One call through three doors" and "The core Admin API, complete", sections
// "Numbers", and a few without a goal that help to read them. A row that nothing was measured for is left out.
func (b *bench) rows() []row {
	throughput := func(p point) float64 { return p.Load.PerSecond }
	p50 := func(p point) float64 { return float64(p.Load.P50) }
	p99 := func(p point) float64 { return float64(p.Load.P99) }
	cpu := func(p point) float64 { return p.CPU }
	mallocs := func(p point) float64 { return p.Mallocs }
	asking := func(p point) float64 { return float64(p.Load.CPU) }

	gets := func(measure string, u unit, workers int, of func(point) float64, goals map[string]goal) row {
		return b.row(measure, u, goals, func(server string) []float64 { return b.series(getPart(workers), server, of) })
	}
	rows := []row{
		gets("throughput, 1 worker", perSecond, 1, throughput, nil),
		gets("throughput, 64 workers", perSecond, 64, throughput, warnInfo(atLeast(0.75), atLeast(0.68))),
		gets("throughput, 1024 workers", perSecond, 1024, throughput, warnInfo(atLeast(0.72), atLeast(0.65))),
		gets("p50, 1 worker", micros, 1, p50, warnInfo(atMost(1.25), atMost(1.35))),
		gets("p99, 1 worker", micros, 1, p99, nil),
		gets("p99, 64 workers", micros, 64, p99, nil),
		gets("server CPU per call, 64 workers", micros, 64, cpu, warnInfo(atMost(1.7), atMost(2.0))),
		gets("load generator CPU per call, 64 workers", micros, 64, asking, nil),
		gets("allocations per call, 64 workers", number, 64, mallocs, nil),
	}

	fiveKB := goal{Bound: 5000, OfValue: true}
	rows = append(rows,
		b.row("idle memory per connection (resident)", kilobytes, warnInfo(fiveKB, fiveKB), func(server string) []float64 {
			return b.idleSeries(server, func(p idlePoint) float64 { return p.RSS })
		}),
		b.row("idle memory per connection (Go heap and stacks)", kilobytes, nil, func(server string) []float64 {
			return b.idleSeries(server, func(p idlePoint) float64 { return p.Go })
		}))

	for _, qubes := range setQubes {
		rows = append(rows, b.row(fmt.Sprintf("durable feature.Set, %d workers, %s qubes", setWorkers, thousands(float64(qubes))), perSecond,
			map[string]goal{"warn": {AtLeast: true, Bound: 15000, OfValue: true}},
			func(server string) []float64 { return b.series(setPart(qubes), server, throughput) }))
	}
	return slices.DeleteFunc(append(rows, b.coreRows()...), func(r row) bool { return len(r.Values) == 0 })
}

// coreRows are those of the second issue.
func (b *bench) coreRows() []row {
	of := func(measure string, u unit, part string, of func(point) float64, goals map[string]goal) row {
		return b.row(measure, u, goals, func(server string) []float64 { return b.series(part, server, of) })
	}
	throughput := func(p point) float64 { return p.Load.PerSecond }
	p50 := func(p point) float64 { return float64(p.Load.P50) }
	p99 := func(p point) float64 { return float64(p.Load.P99) }
	within := func(limit time.Duration) goal { return goal{Bound: float64(limit), OfValue: true} }

	var rows []row
	for _, qubes := range lsQubes {
		var goals map[string]goal
		if qubes == lsGoalQubes {
			goals = warnInfo(within(40*time.Millisecond), within(40*time.Millisecond))
		}
		rows = append(rows, of(fmt.Sprintf("calls of a full qvm-ls, %d qubes", qubes), millis, lsPart(qubes), p50, goals))
	}
	rows = append(rows, of(fmt.Sprintf("admin.vm.List, %s qubes, %d workers", thousands(listQubes), listWorkers), perSecond, listPart, throughput,
		warnInfo(atLeast(0.5), atLeast(0.5))))
	for _, workers := range startWorkers {
		rows = append(rows,
			of("p99 without starts, "+workersText(workers), micros, startsPart(false, workers), p99, nil),
			of(fmt.Sprintf("p99 beside %d blocked starts, %s", b.BlockedStarts, workersText(workers)), micros, startsPart(true, workers), p99, nil))
	}
	warn := func(g goal) map[string]goal { return map[string]goal{"warn": g} }
	all := thousands(float64(b.Subscribers))
	// A quarter more than the backlog, for what keeps it; and resident twice that, since Go collects garbage when the heap
	// has doubled.
	const full = (1 << 20) * 5 / 4
	return append(rows,
		of(fmt.Sprintf("one change until the last of %s subscribers has read it", all), millis, eventsPart, p50, warn(within(50*time.Millisecond))),
		of("the same of 1 KiB", millis, fillPart, p50, warn(within(50*time.Millisecond))),
		of(fmt.Sprintf("the same, beside %d subscribers that do not read", silentSubscribers), millis, silentPart, p50, warn(within(50*time.Millisecond))),
		b.row("memory per subscriber that does not read (resident)", kilobytes, warn(goal{Bound: 2 * full, OfValue: true}),
			func(server string) []float64 {
				return b.silentSeries(server, func(p silentPoint) []float64 { return p.RSS })
			}),
		b.row("memory per subscriber that does not read (Go heap and stacks)", kilobytes, warn(goal{Bound: full, OfValue: true}),
			func(server string) []float64 {
				return b.silentSeries(server, func(p silentPoint) []float64 { return p.Go })
			}))
}

func workersText(n int) string {
	if n == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}

// row makes one of the values of each server.
func (b *bench) row(measure string, u unit, goals map[string]goal, values func(server string) []float64) row {
	r := row{Measure: measure, Unit: u, Values: map[string]float64{}, Ratios: map[string]ratio{}, Goals: goals, Met: map[string]bool{}}
	baseline := values(b.Servers[0].Name)
	for i, k := range b.Servers {
		xs := values(k.Name)
		if len(xs) == 0 {
			continue
		}
		r.Values[k.Name] = median(xs)
		q := ratios(xs, baseline)
		if i > 0 && !math.IsNaN(q.Median) {
			r.Ratios[k.Name] = q
		}
		if g, ok := goals[k.Name]; ok && (g.OfValue || !math.IsNaN(q.Median)) {
			r.Met[k.Name] = g.met(r.Values[k.Name], q)
		}
	}
	return r
}

const none = "–"

// markdown is the report as it goes into the README.
func markdown(servers []kind, rows []row, notes []string) string {
	var b strings.Builder
	names := make([]string, len(servers))
	for i, k := range servers {
		names[i] = k.Name
	}
	line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	others := names[1:]
	line(slices.Concat([]string{"measure"}, names, []string{"ratio to " + names[0], "middle half", "goal", "met"})...)
	b.WriteString("|---|" + strings.Repeat("---:|", len(names)) + "---|---|---|---|\n")
	for _, r := range rows {
		cells := []string{r.Measure}
		if r.Unit != number {
			cells[0] += ", " + string(r.Unit)
		}
		for _, n := range names {
			cells = append(cells, perServer([]string{n}, func(n string) (string, bool) {
				v, ok := r.Values[n]
				return r.Unit.show(v), ok
			}))
		}
		cells = append(cells,
			perServer(others, func(n string) (string, bool) {
				q, ok := r.Ratios[n]
				return fmt.Sprintf("%.2f", q.Median), ok
			}),
			perServer(others, func(n string) (string, bool) {
				q, ok := r.Ratios[n]
				return fmt.Sprintf("%.2f–%.2f", q.Low, q.High), ok
			}),
			r.goalText(others),
			perServer(others, func(n string) (string, bool) {
				met, ok := r.Met[n]
				return map[bool]string{true: "yes", false: "**no**"}[met], ok
			}))
		line(cells...)
	}
	if len(notes) > 0 {
		b.WriteString("\n- " + strings.Join(notes, "\n- ") + "\n")
	}
	return b.String()
}

// perServer joins what there is of each server, or says that there is nothing.
func perServer(names []string, of func(name string) (string, bool)) string {
	var cells []string
	found := false
	for _, n := range names {
		s, ok := of(n)
		if !ok {
			s = none
		}
		found = found || ok
		cells = append(cells, s)
	}
	if !found {
		return none
	}
	return strings.Join(cells, " / ")
}

func (r row) goalText(names []string) string {
	sign := ""
	text := perServer(names, func(n string) (string, bool) {
		g, ok := r.Goals[n]
		if !ok {
			return "", false
		}
		sign = map[bool]string{true: "≥ ", false: "≤ "}[g.AtLeast]
		if g.OfValue {
			return r.Unit.show(g.Bound), true
		}
		return fmt.Sprintf("%.2f", g.Bound), true
	})
	return sign + text
}

// notes say where and how the table was measured, and what does not fit into it.
func (b *bench) notes(m machine) []string {
	notes := []string{fmt.Sprintf("Measured on %s.", m)}
	var others []float64
	for _, p := range b.points {
		if !strings.HasPrefix(p.Part, eventsPart) { // of which only the time is known
			others = append(others, p.Others)
		}
	}
	if len(b.levels()) > 0 {
		notes = append(notes, fmt.Sprintf("Reads: admin.vm.feature.Get over %d qubes, one connection a call, medians of %d repetitions of %v (servers started "+
			"%d times), the servers one after the other in each; the load generator is a process of its own on the same cores.",
			b.Qubes, b.Starts*b.Rounds, b.Duration, b.Starts))
	}
	for _, k := range b.Servers {
		if asked, logged := b.asked[k.Name], b.logged[k.Name]; logged > 0 {
			verdict := map[bool]string{true: "every call has its line", false: "**calls without a line**"}[logged >= asked]
			notes = append(notes, fmt.Sprintf("Log of %s: %s lines of %s calls, %s.", k.Name, thousands(float64(logged)), thousands(float64(asked)), verdict))
		}
	}
	if len(others) > 0 {
		notes = append(notes, fmt.Sprintf("Other processes used %.0f %% of the machine meanwhile (median; at most %.0f %%).",
			100*median(others), 100*slices.Max(others)))
	}
	if len(b.idles) > 0 {
		notes = append(notes, fmt.Sprintf("Idle: %s connections that send nothing; difference of steady memory after a collection, medians of %d.",
			thousands(float64(b.IdleConnections)), b.IdleRepetitions))
	}
	if len(b.fsyncs) > 0 {
		notes = append(notes, fmt.Sprintf("Writes: appending 4 KiB and fdatasync takes %.2f ms here (%s, median of %d).",
			median(b.fsyncs)/1e6, m.FsyncAt, len(b.fsyncs)))
	}
	if q := b.setRatio(); !math.IsNaN(q.Median) {
		within := metText(math.Abs(q.Median-1) <= setTolerance)
		notes = append(notes, fmt.Sprintf("Writes at %s qubes over writes at %s: %.2f (%.2f–%.2f); goal: within %.0f %%, %s.",
			thousands(float64(setQubes[1])), thousands(float64(setQubes[0])), q.Median, q.Low, q.High, 100*setTolerance, within))
	}
	if len(b.silent) > 0 {
		notes = append(notes, fmt.Sprintf("Events: %s subscribers of all; admin.vm.feature.Set, one after the other; then %d times %d changes of 1 KiB, which more than fill "+
			"the backlogs of subscribers that do not read; memory is the most after any of the %d that there was more with them than without, medians of %d.",
			thousands(float64(b.Subscribers)), b.Fills, fillChanges, b.Fills, b.EventRepetitions))
	}
	var perQube []string
	for _, qubes := range lsQubes {
		if xs := b.series(lsPart(qubes), "warn", func(p point) float64 { return float64(p.Load.P50) / 1e6 / float64(qubes) }); len(xs) > 0 {
			perQube = append(perQube, fmt.Sprintf("%.3f ms at %d", median(xs), qubes))
		}
	}
	if len(perQube) > 0 {
		notes = append(notes, fmt.Sprintf("qvm-ls: one admin.vm.List and admin.vm.property.GetAll of each qube, one connection each, in sequence; per qube %s; "+
			"plain sends what warn answered.", strings.Join(perQube, ", ")))
	}
	for _, c := range b.comparisons() {
		notes = append(notes, c.String())
	}
	return append(append(notes, b.decisionNotes()...), b.loadNotes()...)
}

const setTolerance = 0.20

// setRatio compares writes at the two sizes.
func (b *bench) setRatio() ratio {
	throughput := func(p point) float64 { return p.Load.PerSecond }
	return ratios(b.series(setPart(setQubes[1]), "warn", throughput), b.series(setPart(setQubes[0]), "warn", throughput))
}
