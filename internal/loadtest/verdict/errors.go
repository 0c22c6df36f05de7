package verdict

import "math"

// Shares are how many calls of both sides ended in error, as shares of 1. The true difference B-A is between Low and High,
// with the confidence of a Metric; both are zero where the data bound nothing.
type Shares struct {
	A, B      float64
	Low, High float64
	Units     Units // that the interval is computed from, of the side that has the lesser
	Change    Change
}

// compareErrors judges the difference of the shares of errors. In each of its tails lies what chance does with a
// probability of tail.
func compareErrors(a, b []Sample, tail float64, least Units) Shares {
	before, units := shareOf(a)
	after, other := shareOf(b)
	s := Shares{A: before.value, B: after.value, Units: units, Change: NotEnough}
	if other.less(units) {
		s.Units = other
	}
	if before.freedom <= 0 || after.freedom <= 0 || s.Units.less(least) {
		return s
	}
	s.Low, s.High, _ = interval(before, after, tail) // which is always known
	switch {
	case s.Low > 0:
		s.Change = More
	case s.High < 0:
		s.Change = Fewer
	case s.Low > -VisibleErrors && s.High < VisibleErrors:
		s.Change = Same
	}
	return s
}

// shareOf estimates the share of errors of a side, and says which units scatter. Errors come in flocks: calls that err
// together say no more than one. So the scatter between units says how many calls that are independent of each other would
// tell as much, and their number gives the share's interval of Wilson (Korn and Graubard, Confidence intervals for
// proportions with small expected number of positive counts estimated from survey data, 1998), which bounds a share of
// zero, too.
func shareOf(samples []Sample) (estimate, Units) {
	var runs []Tally
	var windows []Tally
	for _, s := range samples {
		if s.Calls.Count > 0 {
			runs, windows = append(runs, s.Calls), s.Tallies
		}
	}
	tallies, units := runs, Runs
	if len(runs) == 1 {
		tallies, units = blocksOf(windows), Windows
	}
	if len(tallies) < 2 {
		tallies, units = runs, Calls
	}
	var count, errors, squares float64
	for _, t := range tallies {
		count += float64(t.Count)
		errors += float64(t.Errors)
	}
	if count == 0 {
		return estimate{}, Calls
	}
	share := errors / count
	for _, t := range tallies {
		off := float64(t.Errors) - share*float64(t.Count)
		squares += off * off
	}
	independent, freedom := count, count-1
	if n := float64(len(tallies)); n > 1 {
		freedom = n - 1
		if variance := squares * n / (n - 1) / (count * count); variance > 0 {
			independent = min(count, share*(1-share)/variance)
		}
	}
	return estimate{share, freedom, func(errors float64) (low, high float64, known bool) {
		low, high = wilson(share, independent, errors)
		return low, high, true
	}}, units
}

// blocksOf joins the windows of a run to a few blocks, as newSide does; there are none of too few.
func blocksOf(windows []Tally) (blocks []Tally) {
	if len(windows) < leastBlocks {
		return nil
	}
	n := min(len(windows), mostBlocks)
	for i := range n {
		var block Tally
		for _, w := range windows[i*len(windows)/n : (i+1)*len(windows)/n] {
			block.Count += w.Count
			block.Errors += w.Errors
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// wilson is the interval of a share of n calls, that many standard errors wide to each side.
func wilson(share, n, errors float64) (low, high float64) {
	square := errors * errors / n
	middle := (share + square/2) / (1 + square)
	off := math.Sqrt(share*(1-share)*square+square*square/4) / (1 + square)
	return max(0, min(share, middle-off)), min(1, max(share, middle+off)) // without what rounding does
}
