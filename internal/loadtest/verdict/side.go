package verdict

import (
	"math"
	"sort"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
)

// Sample is one run, as it is compared: all its calls, or those of one method.
type Sample struct {
	Total   *hdrhistogram.Histogram         // the times of its calls; nil: none
	Windows []*hdrhistogram.PackedHistogram // the same, by time, in spans of one width; none: not known
	Calls   Tally
	Tallies []Tally // the same, of each window
}

// Tally is how many calls there were, and how many of them ended in error.
type Tally struct{ Count, Errors uint64 }

// SampleOf is what a report has, as it is compared: the figures of all its calls, with its windows; or those of a method,
// of which there are no windows. The windows of the warm-up are left out, and so is one that began in it.
func SampleOf(f report.Figures, windows []report.Window) Sample {
	s := Sample{Total: f.Histogram.Histogram, Calls: Tally{f.Count, f.Errors}}
	for _, w := range windows {
		if w.From >= 0 {
			s.Windows = append(s.Windows, w.Histogram.PackedHistogram)
			s.Tallies = append(s.Tallies, Tally{w.Count, w.Errors})
		}
	}
	return s
}

// The number of blocks that the windows of a run are joined to. Fewer say too little about how much blocks differ; more are
// shorter, and what slows one slows the next.
const (
	leastBlocks = 10
	mostBlocks  = 12
)

// side is all runs of one side, with what says how sure its figures are:
//
//   - several runs: their figures scatter, and the mean of the figures' logarithms has Student's interval;
//   - one run with windows: the share of calls below a quantile scatters between blocks of windows, and the quantiles of the
//     ends of the share's interval are the interval of the quantile (Woodruff, Confidence intervals for medians and other
//     position measures, 1952);
//   - one run without: the same, with the scatter of a share of independent calls.
type side struct {
	runs   []*bars // with calls
	blocks []*bars // of the only run; of one that has too few windows: none
	joined *bars   // the blocks together
}

func newSide(samples []Sample) *side {
	s := &side{}
	var windows []*hdrhistogram.PackedHistogram
	for _, sample := range samples {
		if sample.Total != nil && sample.Total.TotalCount() > 0 {
			s.runs = append(s.runs, newBars(pack(sample.Total), sample.Total))
			windows = sample.Windows
		}
	}
	if len(s.runs) != 1 || len(windows) < leastBlocks {
		return s
	}
	like := newPlain()
	all := pack(like)
	blocks := min(len(windows), mostBlocks)
	for i := range blocks {
		block := pack(like)
		for _, w := range windows[i*len(windows)/blocks : (i+1)*len(windows)/blocks] {
			block.Merge(w)
		}
		all.Merge(block)
		s.blocks = append(s.blocks, newBars(block, like))
	}
	if s.joined = newBars(all, like); s.joined.count == 0 {
		s.blocks = nil
	}
	return s
}

// newPlain is like the histogram of a window, but for its memory.
func newPlain() *hdrhistogram.Histogram { return hdrhistogram.New(100, int64(measure.Highest), 2) }

// pack is h without its empty bars.
func pack(h *hdrhistogram.Histogram) *hdrhistogram.PackedHistogram {
	p := hdrhistogram.NewPacked(h.LowestTrackableValue(), h.HighestTrackableValue(), int(h.SignificantFigures()))
	p.MergeFrom(h)
	return p
}

func (s *side) units() Units {
	switch {
	case len(s.runs) > 1:
		return Runs
	case len(s.blocks) > 0:
		return Windows
	}
	return Calls
}

// estimate is a figure of a side, and how sure it is.
type estimate struct {
	value   float64                                              // a logarithm, or a share
	freedom float64                                              // degrees of
	within  func(errors float64) (low, high float64, known bool) // that many standard errors off
}

// variance is about that of the estimate.
func (e estimate) variance() (v float64, known bool) {
	low, high, known := e.within(1)
	return (high - low) * (high - low) / 4, known
}

// even is an estimate whose interval is as far to both sides.
func even(log, standardError, freedom float64) estimate {
	return estimate{log, freedom, func(errors float64) (float64, float64, bool) {
		return log - errors*standardError, log + errors*standardError, freedom > 0
	}}
}

// ofRuns is the estimate from a figure of each run.
func (s *side) ofRuns(figure func(*bars) float64) estimate {
	n := float64(len(s.runs))
	var sum, squares float64
	for _, r := range s.runs {
		sum += math.Log(figure(r))
	}
	for _, r := range s.runs {
		off := math.Log(figure(r)) - sum/n
		squares += off * off
	}
	return even(sum/n, math.Sqrt(squares/(n-1)/n), n-1)
}

// betweenBlocks is the standard error of a mean, or of a share, over all calls, when each block has a sum of values.
func (s *side) betweenBlocks(mean float64, sum func(*bars) float64) (standardError, freedom float64) {
	n := float64(len(s.blocks))
	var squares float64
	for _, b := range s.blocks {
		off := sum(b) - mean*b.count
		squares += off * off
	}
	return math.Sqrt(squares*n/(n-1)) / s.joined.count, n - 1
}

func (s *side) quantile(q float64) estimate {
	if s.units() == Runs {
		return s.ofRuns(func(r *bars) float64 { return r.quantile(q) })
	}
	run := s.runs[0]
	e := estimate{value: math.Log(run.quantile(q)), freedom: run.count - 1}
	share := math.Sqrt(q * (1 - q) / run.count)
	if s.units() == Windows {
		value := s.joined.quantile(q)
		share, e.freedom = s.betweenBlocks(q, func(b *bars) float64 { return b.below(value) })
	}
	e.within = func(errors float64) (float64, float64, bool) {
		from, to := q-errors*share, q+errors*share
		if e.freedom <= 0 || from*run.count < 1 || (1-to)*run.count < 1 { // there is no call out there
			return 0, 0, false
		}
		return math.Log(run.quantile(from)), math.Log(run.quantile(to)), true
	}
	return e
}

func (s *side) mean() estimate {
	if s.units() == Runs {
		return s.ofRuns((*bars).mean)
	}
	run := s.runs[0]
	mean := run.mean()
	if s.units() == Windows {
		of := s.joined.mean()
		standardError, freedom := s.betweenBlocks(of, func(b *bars) float64 { return b.sum })
		return even(math.Log(mean), standardError/of, freedom)
	}
	return even(math.Log(mean), run.deviation()/math.Sqrt(run.count)/mean, run.count-1)
}

// bars are a histogram of times in nanoseconds. Within a bar, times are taken to be spread evenly.
type bars struct {
	bars       []bar
	count, sum float64
}

type bar struct {
	from, to float64
	before   float64 // how many are in the bars below it
	count    float64
}

func (b bar) middle() float64 { return (b.from + b.to) / 2 }

// newBars are those of p, whose bounds are those of like.
func newBars(p *hdrhistogram.PackedHistogram, like *hdrhistogram.Histogram) *bars {
	all := &bars{}
	for from, count := range p.ForEachBucket {
		width := int64(1)
		for like.ValuesAreEquivalent(from, from+width) { // all widths are powers of two
			width *= 2
		}
		b := bar{float64(from), float64(from + width), all.count, float64(count)}
		all.bars = append(all.bars, b)
		all.count += b.count
		all.sum += b.count * b.middle()
	}
	return all
}

// quantile is the time that a share q is below, which is above zero and at most one.
func (b *bars) quantile(q float64) float64 {
	rank := q * b.count
	i := sort.Search(len(b.bars)-1, func(i int) bool { return b.bars[i].before+b.bars[i].count >= rank })
	at := b.bars[i]
	return at.from + (at.to-at.from)*(rank-at.before)/at.count
}

// below is how many are below a time.
func (b *bars) below(value float64) float64 {
	i := sort.Search(len(b.bars), func(i int) bool { return b.bars[i].to > value })
	if i == len(b.bars) {
		return b.count
	}
	at := b.bars[i]
	return at.before + at.count*max(0, value-at.from)/(at.to-at.from)
}

func (b *bars) mean() float64 { return b.sum / b.count }

func (b *bars) deviation() float64 {
	var squares float64
	for _, at := range b.bars {
		off := at.middle() - b.mean()
		squares += off * off * at.count
	}
	return math.Sqrt(squares / max(1, b.count-1))
}
