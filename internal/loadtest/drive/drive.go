// Package drive makes the load that a scenario asks for, and measures it from outside.
//
//	arrival ─due→ begin ─connect, request, half-close→ server ─reply→ judged ─→ measure.Recorder
//
// A call counts from when it was due, whether or not anything was ready for it then. So a server that stalls is as slow as
// those would find it who do not wait for each other; nothing is left out because the tool was busy waiting
// (coordinated omission). How late the tool itself was, is measured for every call.
//
// Calls over a unix socket are made by a few threads that each drive thousands from one epoll, with raw system calls and
// without allocation, since the tool mostly shares the machine with the server. All else runs on goroutines: TLS,
// subscribers, clients that misbehave.
package drive

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// Options are what does not belong to the scenario.
type Options struct {
	Threads  int            // of the tool; 0: one for each core, but for one
	Part, Of int            // which share of the load is made here, of how many; Of 0: all of it
	Ready    func() error   // called when all is prepared: the run begins when it returns, unless with an error; nil: at once
	Progress func(Progress) // called about each second, by one goroutine; nil: nobody looks
	Crashed  func()         // called when a goroutine of the load panics, before that ends the process; nil: nobody minds
}

// Progress is a look at a run.
type Progress struct {
	At       time.Duration // since it began
	Of       time.Duration // all of it
	InFlight int
	Recent   *measure.Window // since the last look
	Counts   measure.Counts  // of calls since the warm-up's end
	Invalid  []string        // why the result would say nothing about the server if it ended now
}

// driver is one run.
type driver struct {
	s      *scenario.Scenario
	o      Options
	base   time.Time
	end    time.Duration // nothing is due from then on
	makers []maker
	why    reasons
	beside sync.WaitGroup          // subscribers, adversaries, and who looks
	stay   sync.WaitGroup          // subscribers who leave on their own, for which the run waits
	lag    *hdrhistogram.Histogram // of the tool, as far as was looked
}

// maker is a thread that makes calls.
type maker interface {
	// run makes them until the load is over, or ctx is.
	run(ctx context.Context) error
	recorder() *measure.Recorder
	inFlight() int
	// cut is how many calls were under way when ctx ended the run, and how long the one was that had been due first. They
	// count nowhere.
	cut() (calls int, longest time.Duration)
	close() // lets go of what is under way, once run has returned, or instead of it
}

// Run makes the load and gives what it measured. If ctx ends early, that is what was measured until then. An error is only
// that nothing could be begun at all: whatever a server does, or does not, is a result. One goroutine calls it at a time.
func Run(ctx context.Context, s *scenario.Scenario, o Options) (*measure.Result, error) {
	o.Of = max(o.Of, 1)
	if o.Threads == 0 {
		o.Threads = max(1, runtime.NumCPU()-1)
	}
	if !s.Load.Closed {
		o.Threads = min(o.Threads, portion(s.MaxInFlight, o.Part, o.Of))
	}
	d := &driver{s: s, o: o, end: s.Load.Duration(), lag: measure.NewHistogram()}
	defer func() {
		for _, m := range d.makers {
			m.close()
		}
	}()
	if err := d.prepare(); err != nil {
		return nil, err
	}
	if o.Ready != nil {
		if err := o.Ready(); err != nil {
			return nil, err
		}
	}
	procs := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(procs)
	runtime.GOMAXPROCS(max(procs, o.Threads+2)) // a thread that wakes finds a processor of Go's free

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	beside := measure.NewRecorder(s.Warmup)
	d.base = time.Now()
	d.accompany(ctx, beside)
	errs := make([]error, len(d.makers))
	var threads sync.WaitGroup
	for i, m := range d.makers {
		threads.Go(func() {
			defer d.crashed()
			errs[i] = m.run(ctx)
		})
	}
	if o.Progress != nil {
		d.beside.Go(func() { d.look(ctx, beside) })
	}
	threads.Wait()
	d.stay.Wait()
	pause(ctx, d.end-d.now()) // for what is beside the load, and may last longer
	took := d.end
	if ctx.Err() != nil { // somebody ended it
		took = min(d.now(), d.end)
	}
	ended := ctx.Err() != nil
	stop()
	d.beside.Wait()

	all := beside.Result()
	for _, m := range d.makers {
		all.Merge(m.recorder().Result())
	}
	all.Began, all.Took = d.base.Add(s.Warmup), max(0, took-s.Warmup)
	all.Notes = append(all.Notes, d.why.notes()...)
	if ended {
		d.wasEnded(all, took)
	}
	all.Invalid = append(all.Invalid, d.invalid(all.Lag, all.Counts())...)
	return all, cmp.Or(errs...)
}

// prepare makes the makers.
func (d *driver) prepare() error {
	for thread := range d.o.Threads {
		var m maker
		var err error
		if d.s.Target.Socket != "" {
			m, err = newLoop(d, thread)
		} else {
			m = newPool(d, thread)
		}
		if err != nil {
			return err
		}
		d.makers = append(d.makers, m)
	}
	return nil
}

// crashed is deferred by each goroutine, and passes a panic on when Options.Crashed was called.
func (d *driver) crashed() {
	if r := recover(); r != nil {
		if d.o.Crashed != nil {
			d.o.Crashed()
		}
		panic(r)
	}
}

// now is the time since the run began.
func (d *driver) now() time.Duration { return time.Since(d.base) }

// most is how many calls a thread may have under way: of a closed model, as many as there are workers.
func (d *driver) most(thread int) int {
	if d.s.Load.Closed {
		return math.MaxInt
	}
	return portion(portion(d.s.MaxInFlight, d.o.Part, d.o.Of), thread, d.o.Threads)
}

// portion is how many of n a part has, of so many parts: one at least.
func portion(n, part, of int) int { return max(1, places(n, part, of)) }

// places is how many of n a part has, of so many parts; none, maybe.
func places(n, part, of int) int { return (n - part + of - 1) / of }

// share is which part of all arrivals, workers or the like a thread of this machine has, and of how many. Together, the
// threads have each Of'th, from Part on, however many they are: other machines may have more.
func (d *driver) share(thread int) (part, of int) {
	return d.o.Part + d.o.Of*thread, d.o.Of * d.o.Threads
}

// look shows how it goes, until the load is over.
func (d *driver) look(ctx context.Context, beside *measure.Recorder) {
	defer d.crashed()
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			d.o.Progress(d.progress(beside))
		}
	}
}

func (d *driver) progress(beside *measure.Recorder) Progress {
	p := Progress{At: d.now(), Of: d.end, Recent: measure.NewWindow(0, 0), Counts: measure.Counts{}}
	look := func(r *measure.Recorder) {
		p.Recent.Merge(r.Recent())
		r.Lags().MergeInto(d.lag)
		p.Counts.Merge(r.Counts())
	}
	look(beside)
	for _, m := range d.makers {
		look(m.recorder())
		p.InFlight += m.inFlight()
	}
	p.Invalid = d.invalid(d.lag, p.Counts)
	return p
}

// noticed is what whoever ends a run because the server has stalled has waited for, at least.
const noticed = 100 * time.Millisecond

// wasEnded has a result say what it lacks since somebody ended the run. If calls under way, a hundredth of all or more, had
// waited for longer than any that was measured, the distribution would be another with them.
func (d *driver) wasEnded(r *measure.Result, took time.Duration) {
	calls, longest := 0, time.Duration(0)
	for _, m := range d.makers {
		n, waited := m.cut()
		calls, longest = calls+n, max(longest, waited)
	}
	note := fmt.Sprintf("the run was ended after %v of %v", took.Round(time.Millisecond), d.end)
	if calls > 0 {
		note += fmt.Sprintf("; %d calls under way then count nowhere, the longest of which had waited for %v", calls, longest.Round(time.Millisecond))
	}
	r.Notes = append(r.Notes, note)
	if g, _ := r.Of(func(measure.Key) bool { return true }); uint64(calls)*100 > g.Count && longest > max(noticed, time.Duration(g.Total.Max())) {
		r.Invalid = append(r.Invalid, "calls that had waited for longer than any that was measured were under way when the run was ended")
	}
}

// lagRank is the percentile of the tool's own delay that counts.
const lagRank = 99.9

// invalid gives why the result says nothing about the server, of how late the tool began calls and how these ended.
func (d *driver) invalid(lag *hdrhistogram.Histogram, counts measure.Counts) (why []string) {
	if late := time.Duration(lag.ValueAtPercentile(lagRank)); late > d.s.MaxLag && lag.TotalCount() > 0 {
		why = append(why, fmt.Sprintf("the tool was the bottleneck: %.1f %% of calls began up to %v late, and max_lag is %v; other programs may have kept the processors busy", lagRank, late.Round(time.Microsecond), d.s.MaxLag))
	}
	ended := map[measure.Outcome]uint64{}
	for k, n := range counts {
		ended[k.Outcome] += n
	}
	if shed := ended[measure.Shed]; shed > 0 {
		why = append(why, fmt.Sprintf("%d calls were never begun, since max_in_flight is %d", shed, d.s.MaxInFlight))
	}
	if failed := ended[measure.Failed]; failed > 0 {
		why = append(why, fmt.Sprintf("%d calls failed for want of something on this machine, such as descriptors", failed))
	}
	return why
}
