package trace

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sallyport/internal/loadtest/scenario"
	"sallyport/messages"
)

// Replay is how the calls of a trace are made again.
type Replay struct {
	Speed float64 // how many times as fast as they were recorded, from Slowest to Fastest
	Rate  float64 // calls per second instead, evenly spaced, in the same order, up to scenario.MostRate; 0: at Speed
	Fill  bool    // payloads that the trace leaves out are as many bytes; otherwise such calls are skipped
	Check bool    // OKs and exceptions are to be what they were; otherwise all replies are right
}

// What a Replay can be.
const (
	Slowest = 0.001
	Fastest = 1000
)

// What a trace may hold for a Replay, which keeps all of it in memory: 16 bytes for each call, beside the calls that differ.
const (
	mostCalls    = 1 << 24
	mostStreams  = 100000
	mostDistinct = 256 << 20 // bytes of calls that differ
	perDistinct  = 1 << 10   // bytes, about, that one takes beside its texts
)

// Into has s make all calls that r has to give: it sets the load, the mix, the subscribers, and notes of what is not as it
// was. The first call is due at once. Streams become subscribers, who stay as long as they were recorded to.
func (o Replay) Into(s *scenario.Scenario, r *Reader) error {
	p := replaying{Replay: o, r: r, items: map[distinct]int{}}
	for {
		c, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = p.add(c)
		}
		if err != nil {
			return err
		}
	}
	s.Notes = append(s.Notes, p.notes()...)
	if len(p.arrivals) == 0 && len(p.streams) == 0 {
		return errors.New(strings.Join(append([]string{r.name + ": nothing to replay"}, p.notes()...), "; "))
	}
	if o.Rate > 0 && float64(len(p.arrivals))/o.Rate > longest.Seconds() {
		return fmt.Errorf("%s: expected a rate at which its %d calls take at most %v", r.name, len(p.arrivals), longest)
	}
	p.begin()
	s.Mix, s.Subscribers = p.mix, p.streams
	s.Load = scenario.Load{Recorded: p.arrivals}
	lasts := max(p.retime(), time.Millisecond) // what was over at once, too, is a stage
	mean := float64(len(p.arrivals)) / lasts.Seconds()
	s.Load.Stages = []scenario.Stage{{Name: "as recorded", From: mean, To: mean, For: lasts}}
	return nil
}

// replaying is a trace that is being read.
type replaying struct {
	Replay
	r        *Reader
	mix      []scenario.Item
	items    map[distinct]int // by what they do, their place in the mix
	size     int              // of them, in bytes
	arrivals []scenario.Arrival
	streams  []scenario.Subscribers
	last     time.Duration // end of any

	unreadable, withoutPayload int
}

// distinct is what a call is told apart by.
type distinct struct {
	method, arg, source, dest, payload string
	filler                             int64
	expect                             scenario.Expect
}

func (p *replaying) add(c Call) error {
	d := distinct{method: c.Method, arg: c.Arg, source: c.Source, dest: c.Dest, payload: string(c.Payload), expect: p.expect(c)}
	switch left := c.Bytes > int64(len(c.Payload)); {
	case c.Unreadable:
		p.unreadable++
		return nil
	case left && !p.Fill:
		p.withoutPayload++
		return nil
	case left:
		d.filler = c.Bytes
	}
	at, took := time.Duration(c.AtUS)*time.Microsecond, time.Duration(c.TookUS)*time.Microsecond
	p.last = max(p.last, at+took)
	if c.Outcome == Events {
		if len(p.streams) == mostStreams {
			return p.r.expected("at most %d streams of events", mostStreams)
		}
		p.streams = append(p.streams, scenario.Subscribers{Count: 1, Call: d.call(), At: at, For: max(took, time.Microsecond)})
		return nil
	}
	if len(p.arrivals) == mostCalls {
		return p.r.expected("at most %d calls", mostCalls)
	}
	item, known := p.items[d]
	if !known {
		if p.size += perDistinct + len(d.method+d.arg+d.source+d.dest+d.payload); p.size > mostDistinct {
			return p.r.expected("calls that differ to be at most %d MiB", mostDistinct>>20)
		}
		item = len(p.mix)
		p.items[d] = item
		p.mix = append(p.mix, scenario.Item{Name: c.Method, Steps: []scenario.Call{d.call()}})
	}
	p.mix[item].Weight++
	p.arrivals = append(p.arrivals, scenario.Arrival{At: at, Item: item})
	return nil
}

// expect is which replies are right to a call like c.
func (p *replaying) expect(c Call) scenario.Expect {
	switch {
	case p.Check && (c.Outcome == OK || c.Outcome == Events): // of which no reply but a stream is right
		return scenario.Expect{}
	case p.Check && c.Outcome == Exception:
		return scenario.Expect{Type: c.Exception}
	}
	return scenario.Expect{Any: true}
}

// filler is what payloads are filled with. It is the memory of all of them.
var filler = strings.Repeat("x", messages.MaxRequest)

func (d distinct) call() scenario.Call {
	return scenario.Call{
		Method: d.method, Arg: scenario.Text(d.arg), Source: scenario.Text(d.source), Dest: scenario.Text(d.dest),
		Payload: scenario.Text(d.payload + filler[:d.filler]), Expect: d.expect,
	}
}

// begin orders all by when they began, which the trace does by when they ended, and has the first begin at once.
func (p *replaying) begin() {
	slices.SortStableFunc(p.arrivals, func(a, b scenario.Arrival) int { return cmp.Compare(a.At, b.At) })
	slices.SortStableFunc(p.streams, func(a, b scenario.Subscribers) int { return cmp.Compare(a.At, b.At) })
	first := p.last
	if len(p.arrivals) > 0 {
		first = p.arrivals[0].At
	}
	if len(p.streams) > 0 {
		first = min(first, p.streams[0].At)
	}
	p.last -= first
	for i := range p.arrivals {
		p.arrivals[i].At -= first
	}
	for i := range p.streams {
		p.streams[i].At -= first
	}
}

// retime gives all its pace, and says how long that lasts.
func (p *replaying) retime() time.Duration {
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) / p.Speed) }
	if p.Rate == 0 {
		for i := range p.arrivals {
			p.arrivals[i].At = scaled(p.arrivals[i].At)
		}
		for i := range p.streams {
			p.streams[i].At, p.streams[i].For = scaled(p.streams[i].At), scaled(p.streams[i].For)
		}
		return scaled(p.last)
	}
	nth := func(n int) time.Duration { return time.Duration(float64(n) / p.Rate * float64(time.Second)) }
	for i := range p.streams { // each as the call that came next
		next, _ := slices.BinarySearchFunc(p.arrivals, p.streams[i].At, func(a scenario.Arrival, at time.Duration) int { return cmp.Compare(a.At, at) })
		p.streams[i].At = nth(next)
	}
	for i := range p.arrivals {
		p.arrivals[i].At = nth(i)
	}
	return nth(len(p.arrivals))
}

// notes are what whoever reads the result has to know.
func (p *replaying) notes() (all []string) {
	note := func(what string, n int) {
		if n > 0 {
			all = append(all, fmt.Sprintf("skipped, %s: %d", what, n))
		}
	}
	note("since the trace leaves their payloads out", p.withoutPayload)
	note("since they are no calls", p.unreadable)
	if p.r.Cut() {
		all = append(all, fmt.Sprintf("the trace's last line, %d, has no end, and was left out", p.r.line+1))
	}
	return all
}
