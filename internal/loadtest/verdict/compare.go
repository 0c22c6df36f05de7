package verdict

import (
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/mathext"
)

// Comparison is how side B differs from side A.
type Comparison struct {
	Change  Change // of times
	Units   Units  // that the intervals of times are computed from, of the side that has the lesser
	Metrics []Metric
	Errors  Shares
}

// Worse reports whether B is slower, or has more errors, than A.
func (c Comparison) Worse() bool { return c.Change == Slower || c.Errors.Change == More }

// Metric is one figure of both sides. Its change is B/A. The true change is between Low and High, of all metrics of all
// comparisons of a family at the same time, with that Confidence or more; both are zero where the data bound nothing.
type Metric struct {
	Name      string // p50, p90, p99, mean
	A, B      time.Duration
	Ratio     float64
	Low, High float64
	Change    Change
}

// Change is what a comparison found.
type Change string

// The changes. Same and NotEnough are no alarms. More and Fewer are of errors, Slower and Faster of times.
const (
	Same      Change = "same" // a change of Visible, or of MinEffect if that is more, would have been seen
	Slower    Change = "slower"
	Faster    Change = "faster"
	More      Change = "more errors"
	Fewer     Change = "fewer errors"
	NotEnough Change = "not enough data"
)

// Units are what is taken to be independent of each other.
type Units string

// The units, from the best to the least. One run cannot tell how much runs differ that have nothing between them but
// time, so that a comparison of single runs finds changes of the machine, too.
const (
	Runs    Units = "runs"    // a side has several
	Windows Units = "windows" // of its only run, which are not independent in truth, but nearly so
	Calls   Units = "calls"   // its only run has too few windows; what slows one call slows its neighbours, too
)

// units are all of them, the best last.
var units = []Units{Calls, Windows, Runs}

func (u Units) less(than Units) bool { return slices.Index(units, u) < slices.Index(units, than) }

// Options are what a comparison may be told.
type Options struct {
	MinEffect float64 // the least change that is an alarm; zero: 1 %
	Family    int     // how many comparisons are looked at together, such as one of each method; zero: this one
	Least     Units   // what both sides have to have, or else it is NotEnough, whatever they look like; empty: Calls
}

// What a comparison promises.
const (
	Visible          = 0.05  // the change of times that is not missed where the sides are said to be the same
	VisibleErrors    = 0.01  // the same of the share of errors, in which any change is an alarm that is no chance
	Confidence       = 0.99  // that the intervals of a family are right, all of them
	defaultMinEffect = 0.01  // what no one would call a change
	alarms           = 0.005 // the share of families of equal sides with an alarm: half of the promise, since windows are not quite independent
)

// metrics are what is compared.
var metrics = []struct {
	name string
	of   func(*side) estimate
}{
	{"p50", func(s *side) estimate { return s.quantile(0.5) }},
	{"p90", func(s *side) estimate { return s.quantile(0.9) }},
	{"p99", func(s *side) estimate { return s.quantile(0.99) }},
	{"mean", func(s *side) estimate { return s.mean() }},
}

// Compare says whether side b is slower than side a, or has more errors. A side is one run, or, better, several that took
// turns with those of the other. It knows no chance: the same samples always give the same.
//
// Each side gives an interval of its own for each metric (see side), on a logarithmic scale, since a change is a ratio; and
// one for its share of errors (see errors.go). The interval of their difference follows from both by MOVER (Zou and Donner,
// Construction of confidence limits about effect measures, 2008), which keeps lopsided ones lopsided. How wide it is follows
// from Student's t, with Welch's degrees of freedom, and from the number of all metrics of the family (Bonferroni).
func Compare(a, b []Sample, o Options) Comparison {
	if o.MinEffect == 0 {
		o.MinEffect = defaultMinEffect
	}
	before, after := newSide(a), newSide(b)
	c := Comparison{Change: NotEnough, Units: before.units()}
	if other := after.units(); other.less(c.Units) {
		c.Units = other
	}
	tail := alarms / float64(2*(len(metrics)+1)*max(1, o.Family))
	found := map[Change]bool{}
	for _, m := range metrics {
		of := Metric{Name: m.name, Change: NotEnough}
		if len(before.runs) > 0 && len(after.runs) > 0 {
			of.compare(m.of(before), m.of(after), tail, o.MinEffect, !c.Units.less(o.Least))
		}
		c.Metrics = append(c.Metrics, of)
		found[of.Change] = true
	}
	for _, change := range []Change{Slower, Faster, Same} { // the first counts
		if found[change] {
			c.Change = change
			break
		}
	}
	c.Errors = compareErrors(a, b, tail, o.Least)
	return c
}

// compare judges a difference, unless it is not to; in each of its tails lies what chance does with a probability of tail.
func (m *Metric) compare(a, b estimate, tail, least float64, judge bool) {
	difference := b.value - a.value
	m.A, m.B, m.Ratio = time.Duration(math.Exp(a.value)), time.Duration(math.Exp(b.value)), math.Exp(difference)
	low, high, known := interval(a, b, tail)
	from, to := math.Exp(low), math.Exp(high)
	if !known || !judge || from == 0 || math.IsInf(to, 1) {
		return
	}
	m.Low, m.High = from, to
	effect, visible := math.Log1p(least), math.Log1p(max(least, Visible))
	switch {
	case low > 0 && difference >= effect:
		m.Change = Slower
	case high < 0 && difference <= -effect:
		m.Change = Faster
	case low > -visible && high < visible:
		m.Change = Same
	}
}

// interval is that of the difference of b from a.
func interval(a, b estimate, tail float64) (low, high float64, known bool) {
	errA, knownA := a.variance()
	errB, knownB := b.variance()
	if !knownA || !knownB {
		return 0, 0, false
	}
	freedom := a.freedom + b.freedom
	if both := errA + errB; both > 0 {
		freedom = both * both / (errA*errA/a.freedom + errB*errB/b.freedom)
	}
	t := student(tail, freedom)
	lowA, highA, knownA := a.within(t)
	lowB, highB, knownB := b.within(t)
	difference := b.value - a.value
	return difference - math.Hypot(b.value-lowB, highA-a.value), difference + math.Hypot(highB-b.value, a.value-lowA), knownA && knownB
}

// student is what Student's t is above with a probability of tail.
func student(tail, freedom float64) float64 {
	return math.Sqrt(freedom * (1/mathext.InvRegIncBeta(freedom/2, 0.5, 2*tail) - 1))
}
