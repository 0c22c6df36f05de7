package live

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
)

// writeLine writes how it goes as one line. What cannot be written is not missed: the summary comes in the end.
func writeLine(w io.Writer, p drive.Progress) {
	all, wrong := p.Recent.Count()
	at := func(rank float64) string {
		if p.Recent.Total.TotalCount() == 0 {
			return "-"
		}
		return report.Span(micros(p.Recent.Total.ValueAtPercentile(rank)))
	}
	line := fmt.Sprintf("%3.0f of %.0f s: %d calls/s, %d errors, p50 %s, p99 %s, %d under way", p.At.Seconds(), p.Of.Seconds(), all, wrong, at(50), at(99), p.InFlight)
	if wrong > 0 {
		line += "; " + list(outcomes(p.Recent))
		if types := exceptions(p.Recent); len(types) > 0 {
			line += "; exceptions: " + list(types)
		}
	}
	if len(p.Invalid) > 0 {
		line += "; INVALID so far"
	}
	_, _ = io.WriteString(w, line+"\n")
}

// tally is how often there was something.
type tally struct {
	name  string // which may be shown
	count uint64
	note  string
}

// outcomes are the errors of a window, the most frequent first.
func outcomes(w *measure.Window) []tally {
	wrong := maps.Clone(w.Counts)
	delete(wrong, measure.OK)
	return tallies(wrong)
}

// exceptions are those of a window, whether they were expected or not, the most frequent first.
func exceptions(w *measure.Window) []tally { return tallies(w.Types) }

func tallies[K ~string](counts map[K]uint64) (all []tally) {
	shown := map[string]uint64{} // names that cannot be shown have one in common
	for name, n := range counts {
		shown[report.Printable(string(name))] += n
	}
	for name, n := range shown {
		all = append(all, tally{name: name, count: n})
	}
	return ordered(all)
}

// ordered are the most frequent first.
func ordered(all []tally) []tally {
	slices.SortFunc(all, func(a, b tally) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name)) })
	return all
}

// fewest leaves n at most, the last of which is all that are left out.
func fewest(all []tally, n int) []tally {
	if len(all) <= n || n <= 0 {
		return all[:min(len(all), max(n, 0))]
	}
	rest := tally{name: fmt.Sprintf("(%d more)", len(all)-n+1)}
	for _, t := range all[n-1:] {
		rest.count += t.count
	}
	return append(slices.Clone(all[:n-1]), rest)
}

// mostListed is how many a line has.
const mostListed = 5

func list(all []tally) string {
	var words []string
	for _, t := range fewest(all, mostListed) {
		words = append(words, fmt.Sprintf("%s %d", t.name, t.count))
	}
	return strings.Join(words, ", ")
}
