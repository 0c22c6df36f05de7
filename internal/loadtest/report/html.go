package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
)

// assets are the page, and uPlot (see assets/README.md), which is written into it with its licence.
//
//go:embed assets
var assets embed.FS

var page = template.Must(template.New("report.html").Funcs(template.FuncMap{
	"span":   Span,
	"number": func(index int) int { return index + 1 },
	"share":  func(part, of uint64) string { return fmt.Sprintf("%.3g %%", 100*float64(part)/float64(max(of, 1))) },
}).ParseFS(assets, "assets/report.html"))

func asset(name string) string {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it was there when this was built
	}
	return string(b)
}

// WriteHTML writes one page that needs no other file and no network, nor would it be let: plots, and a table of what each
// shows, for those who print it, cannot see plots, or let no script run.
func (d Document) WriteHTML(w io.Writer) error {
	most := mostCalled(d.Groups)
	return page.Execute(w, map[string]any{
		"D":          d,
		"Style":      template.CSS(asset("uPlot.min.css") + asset("report.css")),
		"Script":     template.JS("/*\n" + asset("uPlot.LICENSE") + "\n*/\n" + asset("uPlot.iife.min.js") + asset("report.js")),
		"Windows":    fewer(d.Windows),
		"Sections":   sections(d.Groups),
		"Ranks":      ranks(d.Overall),
		"Histograms": histograms(most),
		"Servers":    d.serverTables(),
		"Left":       countOf(d.Groups, Method) - len(most),
		"Plots": map[string]any{
			"time":       overTime(d.Windows),
			"ranks":      percentiles(d.Overall, most),
			"histograms": histograms(most),
		},
	})
}

// mostPlotted is how many methods are plotted: those with the most calls. Tables have all.
const mostPlotted = 12

func mostCalled(groups []Group) (most []Group) {
	for _, g := range groups {
		if g.By == Method && g.Histogram.TotalCount() > 0 {
			most = append(most, g)
		}
	}
	slices.SortStableFunc(most, func(a, b Group) int { return int(min(max(int64(b.Count)-int64(a.Count), -1), 1)) })
	return most[:min(len(most), mostPlotted)]
}

func countOf(groups []Group, by By) (n int) {
	for _, g := range groups {
		if g.By == by {
			n++
		}
	}
	return n
}

// section is the groups of one kind.
type section struct {
	Title  string
	By     By
	Groups []Group
}

func sections(groups []Group) (all []section) {
	titles := map[By]string{Method: "By method", Source: "By source", Outcome: "By outcome", Exception: "By exception"}
	for _, by := range Bys {
		s := section{Title: titles[by], By: by}
		for _, g := range groups {
			if g.By == by {
				s.Groups = append(s.Groups, g)
			}
		}
		all = append(all, s)
	}
	return all
}

// series are columns of numbers that uPlot takes, the first its x. Nil is none.
type series struct {
	Names   []string     `json:"names"`
	Columns [][]*float64 `json:"columns"`
}

func number(f float64) *float64 {
	if f == 0 {
		return nil
	}
	return &f
}

// overTime has rates per second, and times in microseconds.
func overTime(windows []Window) series {
	s := series{[]string{"seconds", "calls/s", "errors/s", "p50", "p99", "max"}, make([][]*float64, 6)}
	for _, w := range windows {
		calls, errors := float64(w.Count)/w.Width, float64(w.Errors)/w.Width
		for i, f := range []*float64{&w.From, &calls, &errors, number(w.P50), number(w.P99), number(w.Max)} {
			s.Columns[i] = append(s.Columns[i], f)
		}
	}
	return s
}

// mostWindows is how many lines a table over time has.
const mostWindows = 30

// fewer joins neighbours, exactly, until a table of them can be read.
func fewer(windows []Window) (joined []Window) {
	each := (len(windows) + mostWindows - 1) / mostWindows
	for i, w := range windows {
		if i%each == 0 {
			w.Histogram = Packed{PackedHistogram: w.Histogram.Clone()}
			joined = append(joined, w)
			continue
		}
		last := &joined[len(joined)-1]
		last.Width, last.Count, last.Errors, last.LagMax = last.Width+w.Width, last.Count+w.Count, last.Errors+w.Errors, max(last.LagMax, w.LagMax)
		last.Histogram.Merge(w.Histogram.PackedHistogram)
		last.Times = times(last.Histogram)
	}
	return joined
}

// The grid of a percentile plot: x is 1/(1-p), on a logarithmic scale, so that each power of ten is one nine more.
const (
	pointsPerNine = 12
	mostNines     = 6
)

// percentiles are times by rank, of all calls and of the methods with the most.
func percentiles(all Figures, methods []Group) series {
	s := series{[]string{"rank", "all"}, [][]*float64{nil, nil}}
	of := []Figures{all}
	for _, m := range methods[:min(len(methods), 4)] { // more lines could not be told apart
		s.Names, s.Columns, of = append(s.Names, m.Name), append(s.Columns, nil), append(of, m.Figures)
	}
	for i := range pointsPerNine*mostNines + 1 {
		x := math.Pow(10, float64(i)/pointsPerNine)
		if x > float64(all.Histogram.TotalCount()) && i > 0 {
			break
		}
		s.Columns[0] = append(s.Columns[0], &x)
		for j, f := range of {
			var y *float64
			if x <= float64(f.Histogram.TotalCount()) {
				y = number(micros(f.Histogram.ValueAtPercentile(100 - 100/x)))
			}
			s.Columns[j+1] = append(s.Columns[j+1], y)
		}
	}
	return s
}

// rank is a line of the table of percentiles.
type rank struct {
	Percent float64
	Micros  float64
	Beyond  int64 // calls
}

// ranks are those percentiles that have calls beyond them.
func ranks(f Figures) (all []rank) {
	n := f.Histogram.TotalCount()
	for _, p := range []float64{50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999} {
		if beyond := int64(float64(n) * (100 - p) / 100); beyond > 0 {
			all = append(all, rank{p, micros(f.Histogram.ValueAtPercentile(p)), beyond})
		}
	}
	return all
}

// histogram is how many calls of a method took how long.
type histogram struct {
	Name string `json:"name"`
	Bins []bin  `json:"bins"`
}

// bin is the calls that took from From to To, in microseconds.
type bin struct {
	From  float64 `json:"from"`
	To    float64 `json:"to"`
	Count int64   `json:"count"`
}

// binsPerDecade is how many bins a power of ten has.
const binsPerDecade = 10

// histograms have the same bins, so that methods can be compared by looking.
func histograms(methods []Group) (all []histogram) {
	lowest, highest := math.MaxInt, math.MinInt
	counts := make([]map[int]int64, len(methods))
	for i, m := range methods {
		counts[i] = map[int]int64{}
		for _, bar := range m.Histogram.Distribution() {
			if bar.Count > 0 {
				n := int(math.Floor(binsPerDecade * math.Log10(micros(bar.To))))
				counts[i][n] += bar.Count
				lowest, highest = min(lowest, n), max(highest, n)
			}
		}
	}
	edge := func(n int) float64 { return math.Pow(10, float64(n)/binsPerDecade) }
	for i, m := range methods {
		h := histogram{Name: m.Name}
		for n := lowest; n <= highest; n++ {
			h.Bins = append(h.Bins, bin{edge(n), edge(n + 1), counts[i][n]})
		}
		all = append(all, h)
	}
	return all
}
