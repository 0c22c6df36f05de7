// Package serverside finds out what the daemon itself says about the calls of a load test: how long they were at each of
// its stages, from a line of its log for each, or from the histograms in its metrics.
//
//	Log:     the end of the file ─(load)→ read on from there ─by method, source, time─┐
//	Metrics: scrape ─(load)→ scrape, the difference ─by method────────────────────────┴→ report.Server
//
// Nothing tells which call of the tool a line belongs to, so what is joined are distributions. How many calls they are of
// is told beside how many the tool measured. What a file or a server says is not trusted: sizes and times are bounded.
package serverside

import (
	"fmt"
	"maps"
	"slices"
	"unicode"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
)

// method is what the tool measured of one method, for comparison.
type method struct {
	measured uint64
	sources  map[string]bool
}

// measuredOf are the methods of a result. Calls that cannot have reached a daemon do not count.
func measuredOf(r *measure.Result) map[string]*method {
	all := map[string]*method{}
	for k, g := range r.Groups {
		switch k.Outcome {
		case measure.Missing, measure.Refused, measure.Failed, measure.Shed:
			continue
		}
		m := all[k.Method]
		if m == nil {
			m = &method{sources: map[string]bool{}}
			all[k.Method] = m
		}
		m.measured += g.Count
		m.sources[k.Source] = true
	}
	return all
}

// distribution is how long calls were at a stage.
type distribution[D any] interface {
	stage(name string) report.ServerStage
	plus(D) D // both, and changes neither
}

// serverOf puts together what was found: of each method, a distribution for each of report.ServerStages.
func serverOf[D distribution[D]](source report.ServerSource, measured map[string]*method, found map[string][]D) report.Server {
	s := report.Server{Source: source}
	var all []D
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		m := report.ServerMethod{Name: name, Measured: measured[name].measured}
		for i, d := range found[name] {
			if i == len(all) {
				all = append(all, d)
			} else {
				all[i] = all[i].plus(d)
			}
			m.Stages = append(m.Stages, d.stage(report.ServerStages[i]))
			m.Calls = m.Stages[i].Count // which is the same for each
		}
		s.Calls, s.Measured, s.Methods = s.Calls+m.Calls, s.Measured+m.Measured, append(s.Methods, m)
	}
	for i, d := range all {
		s.Stages = append(s.Stages, d.stage(report.ServerStages[i]))
	}
	switch {
	case s.Calls == 0: // why, its source knows
	case s.Calls < s.Measured:
		s.Notes = append(s.Notes, fmt.Sprintf("%d of the calls are not in the %s: the stages are of the others alone", s.Measured-s.Calls, source))
	case s.Calls > s.Measured:
		s.Notes = append(s.Notes, fmt.Sprintf("%d calls in the %s were not measured: others made them in the same name, or they came before the warm-up was over", s.Calls-s.Measured, source))
	}
	return s
}

// mostNote is how many runes a note has that may quote a server.
const mostNote = 500

// nothing is a Server of which nothing can be said but why: what, and err, which may quote a server.
func nothing(source report.ServerSource, measured map[string]*method, what string, err error) report.Server {
	why := []rune(err.Error())
	for i, r := range why {
		if !unicode.IsPrint(r) {
			why[i] = '?'
		}
	}
	s := serverOf[histogram](source, measured, nil)
	s.Notes = []string{what + ": " + string(why[:min(len(why), mostNote)]) + ": nothing is joined"}
	return s
}

// histogram is exact below 2 ms, and to three digits above.
type histogram struct{ *hdrhistogram.PackedHistogram }

func newHistogram() histogram {
	return histogram{hdrhistogram.NewPacked(1, measure.Highest.Microseconds(), 3)}
}

func (h histogram) add(micros int64) {
	_ = h.RecordValue(min(micros, measure.Highest.Microseconds())) // which is in range
}

func (h histogram) plus(other histogram) histogram {
	both := histogram{h.Clone()}
	both.Merge(other.PackedHistogram)
	return both
}

func (h histogram) stage(name string) report.ServerStage {
	at := func(p float64) float64 { return float64(h.ValueAtPercentile(p)) }
	return report.ServerStage{Stage: name, Count: uint64(h.TotalCount()), Mean: h.Mean(), Times: report.Times{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99), Max: at(100)}}
}
