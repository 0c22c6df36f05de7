package live

import (
	"cmp"
	"fmt"
	"math"
	"sync"
	"time"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
)

// run is what is known of a run so far. Safe for concurrent use.
type run struct {
	name, target, model string
	load                scenario.Load
	warmup, maxLag      time.Duration

	mu    sync.Mutex
	now   drive.Progress
	span  time.Duration   // that now.Recent is of
	soFar *measure.Window // what ended since the warm-up, or in it until it is over
	warm  bool            // soFar is of the warm-up
	rates []float64       // calls per second that ended as expected, of the last mostPoints looks
	slow  []float64       // p99 in microseconds at the same time; not a number: nothing was timed
}

// mostPoints is how many columns a sparkline has at most.
const mostPoints = 300

func newRun(s *scenario.Scenario) *run {
	r := &run{
		name: report.Printable(s.Name), target: report.Printable(cmp.Or(s.Target.Socket, s.Target.Addr)), load: s.Load, warmup: s.Warmup, maxLag: s.MaxLag,
		model: "open model, constant arrivals",
	}
	switch {
	case s.Load.Closed:
		r.model = "closed model"
	case len(s.Load.Recorded) > 0:
		r.model = "calls of a recording"
	case s.Load.Poisson:
		r.model = "open model, Poisson arrivals"
	}
	r.now = drive.Progress{Of: s.Load.Duration(), Recent: measure.NewWindow(0, 0)}
	r.soFar, r.warm = measure.NewWindow(0, 0), s.Warmup > 0
	return r
}

// add takes a look at the run.
func (r *run) add(p drive.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.warm && r.now.At >= r.warmup {
		r.soFar, r.warm = measure.NewWindow(0, 0), false
	}
	r.span, r.now = p.At-r.now.At, p
	r.soFar.Merge(p.Recent)
	all, wrong := p.Recent.Count()
	r.rates = append(r.rates, r.perSecond(all-wrong))
	slow := math.NaN()
	if p.Recent.Total.TotalCount() > 0 {
		slow = micros(p.Recent.Total.ValueAtPercentile(99))
	}
	r.slow = append(r.slow, slow)
	if len(r.rates) > mostPoints {
		r.rates, r.slow = r.rates[1:], r.slow[1:]
	}
}

// perSecond is the rate at which there were n in the last look.
func (r *run) perSecond(n uint64) float64 {
	if r.span <= 0 {
		return 0
	}
	return float64(n) / r.span.Seconds()
}

func micros(nanos int64) float64 { return float64(nanos) / 1000 }

// stage gives the number of the stage under way, from 1, and the stage.
func (r *run) stage() (int, scenario.Stage) {
	at, last := r.now.At, len(r.load.Stages)-1
	for i, s := range r.load.Stages[:last] {
		if at < s.For {
			return i + 1, s
		}
		at -= s.For
	}
	return last + 1, r.load.Stages[last]
}

// methods are the calls of each since the warm-up, the most frequent first.
func (r *run) methods() (all []tally) {
	calls, wrong := map[string]uint64{}, map[string]uint64{}
	for k, n := range r.now.Counts {
		name := report.Printable(k.Method)
		if calls[name] += n; k.Outcome != measure.OK {
			wrong[name] += n
		}
	}
	for name, n := range calls {
		t := tally{name: name, count: n}
		if wrong[name] > 0 {
			t.note = fmt.Sprintf("%d errors", wrong[name])
		}
		all = append(all, t)
	}
	return ordered(all)
}
