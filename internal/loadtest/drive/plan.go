package drive

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"sallyport/internal/loadtest/arrival"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// plan says what one thread is to begin, and when. It is for that thread alone.
type plan struct {
	s       *scenario.Scenario
	end     time.Duration
	draw    *scenario.Draw
	weights float64 // of all items

	arrivals arrivals      // nil: a closed model
	arrives  time.Duration // the next of them
	brings   *scenario.Item
	more     bool

	waiting later  // what goes on after a pause
	spare   []*job // arrivals that are over, to be used again
}

// arrivals gives the next arrival of an open model: when it is due, and what it brings, which is any item if it is nil.
type arrivals func() (due time.Duration, brings *scenario.Item, ok bool)

// begin is what is to be begun.
type begin struct {
	due time.Duration
	job *job
}

func (b begin) call() *scenario.Call { return &b.job.item.Steps[b.job.step] }

// job is one item under way: an arrival of the open model, or what a worker of the closed one is at.
type job struct {
	item   *scenario.Item // nil: a worker that has none
	step   int
	draw   *scenario.Draw
	worker int // of all workers; -1: an arrival
}

// newPlan makes the plan of a thread of this machine.
func (d *driver) newPlan(thread int) *plan {
	part, of := d.share(thread)
	s := d.s
	p := &plan{s: s, end: d.end, draw: d.newDraw(part)}
	for i := range s.Mix {
		p.weights += s.Mix[i].Weight
	}
	if s.Load.Closed {
		most := 0.0
		for _, stage := range s.Load.Stages {
			most = max(most, stage.From, stage.To)
		}
		for worker := part; worker < int(math.Ceil(most)); worker += of {
			p.later(0, &job{draw: p.draw.Fork(), worker: worker})
		}
		return p
	}
	if len(s.Load.Recorded) > 0 {
		p.arrivals = recorded(s, part, of)
	} else {
		p.arrivals = scheduled(s, part, of)
	}
	p.arrives, p.brings, p.more = p.arrivals()
	return p
}

// scheduled gives that part of the arrivals at the rate of s.
func scheduled(s *scenario.Scenario, part, of int) arrivals {
	stages := make([]arrival.Stage, len(s.Load.Stages))
	for i, stage := range s.Load.Stages {
		stages[i] = arrival.Stage{From: stage.From, To: stage.To, For: stage.For}
	}
	var random *rand.Rand
	if s.Load.Poisson {
		random = rand.New(rand.NewPCG(s.Seed, poisson)) // the same for all threads, which share its arrivals
	}
	schedule := arrival.New(stages, random).Share(part, of)
	return func() (time.Duration, *scenario.Item, bool) {
		due, ok := schedule.Next()
		return due, nil, ok
	}
}

// What chance is of, apart from threads, which count from zero over all machines.
const (
	poisson     = 1 << 63
	subscribing = 1 << 62 // and on, for each subscriber
)

// newDraw makes the Draw of a thread or subscriber, of which no other has the number, on any machine.
func (d *driver) newDraw(number int) *scenario.Draw {
	return d.s.NewDraw(number).Share(d.o.Part, d.o.Of)
}

// recorded gives that part of the arrivals that s has one by one.
func recorded(s *scenario.Scenario, part, of int) arrivals {
	next := part
	return func() (time.Duration, *scenario.Item, bool) {
		if next >= len(s.Load.Recorded) {
			return 0, nil, false
		}
		a := s.Load.Recorded[next]
		next += of
		return a.At, &s.Mix[a.Item], true
	}
}

// next is when something is to be begun; false: nothing will be, unless a job goes on.
func (p *plan) next() (time.Duration, bool) {
	switch {
	case len(p.waiting) > 0 && (!p.more || p.waiting[0].due < p.arrives):
		return p.waiting[0].due, true
	default:
		return p.arrives, p.more
	}
}

// begin gives a call that is due by now, and counts it as begun. What there is no room for is shed. It is false if nothing
// else is due, or much was shed.
func (p *plan) begin(now time.Duration, rec *measure.Recorder, room bool) (begin, bool) {
	for range shedAtOnce {
		if due, more := p.next(); !more || due > now {
			return begin{}, false
		}
		b := p.take()
		if !p.ready(b.job, now) {
			continue
		}
		rec.Begun(b.due, now-b.due)
		if room && (b.job.worker >= 0 || b.job.step > 0 || len(p.waiting) < mostWaiting) {
			return b, true
		}
		rec.Add(measure.Key{Method: b.call().Method, Outcome: measure.Shed}, measure.Sample{Intended: b.due, Done: now})
		p.ended(b.job, now)
	}
	return begin{}, false
}

const (
	shedAtOnce  = 1000    // before anybody looks whether there are replies
	mostWaiting = 1 << 20 // arrivals in a pause between their calls
)

// take gives what is due first. It is called only if there is something.
func (p *plan) take() begin {
	if len(p.waiting) > 0 && (!p.more || p.waiting[0].due < p.arrives) {
		return heap.Pop(&p.waiting).(begin)
	}
	due, item := p.arrives, p.brings
	if item == nil {
		item = p.pick()
	}
	p.arrives, p.brings, p.more = p.arrivals()
	return begin{due, p.arrival(item)}
}

// arrival makes the job of an arrival.
func (p *plan) arrival(item *scenario.Item) *job {
	n := len(p.spare)
	if n == 0 {
		return &job{item: item, draw: p.draw.Fork(), worker: -1}
	}
	j := p.spare[n-1]
	p.spare = p.spare[:n-1]
	j.item, j.step = item, 0
	j.draw.Next()
	return j
}

// later has a job go on at a time.
func (p *plan) later(due time.Duration, j *job) { heap.Push(&p.waiting, begin{due, j}) }

// between is how often a worker that has nothing to do looks whether it has.
const between = 10 * time.Millisecond

// ready gives a worker without an item its next, if it is to have one at that time; it comes again if not.
func (p *plan) ready(j *job, now time.Duration) bool {
	switch {
	case j.item != nil:
		return true
	case now >= p.end:
		return false
	case float64(j.worker) >= p.s.Load.At(now):
		p.later(now+between, j)
		return false
	}
	j.item, j.step = p.pick(), 0
	j.draw.Next()
	return true
}

// ended says that the call of a job has ended: its next step is due, or its worker's next item. The job of an arrival that
// is over is another's then.
func (p *plan) ended(j *job, now time.Duration) {
	think := j.item.Steps[j.step].Think
	if j.step++; j.step == len(j.item.Steps) {
		if j.worker < 0 {
			p.spare = append(p.spare, j)
			return
		}
		if j.item = nil; now+think >= p.end {
			return // its next would never begin
		}
	}
	p.later(now+think, j)
}

// pick chooses an item by weight.
func (p *plan) pick() *scenario.Item {
	items := p.s.Mix
	at := p.draw.Random().Float64() * p.weights
	for i := range items {
		if at -= items[i].Weight; at < 0 {
			return &items[i]
		}
	}
	return &items[len(items)-1]
}

// later is a heap of what is to begin, the next on top.
type later []begin

func (l later) Len() int           { return len(l) }
func (l later) Less(i, j int) bool { return l[i].due < l[j].due }
func (l later) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *later) Push(x any)        { *l = append(*l, x.(begin)) }
func (l *later) Pop() any {
	old := *l
	last := old[len(old)-1]
	*l = old[:len(old)-1]
	return last
}
