package actors

import (
	"sync"
	"sync/atomic"
	"time"

	"sallyport/messages"
	"sallyport/messages/qube"
)

// feeds is who is sent events. What a commit brought about is queued here for each subscriber, and each subscriber's own
// request actor filters it, and writes it to its client: so a subscriber that is slow, or crashes, is alone with that.
// Safe for concurrent use.
type feeds struct {
	book    qube.Book
	backlog int // bytes
	clock   Clock
	tell    func(*request, any)

	mu        sync.Mutex
	delivered qube.Revision // of the last event that was queued
	streams   map[*request]struct{}
	stopping  bool
}

// inbox is what is queued for one subscriber. It belongs to feeds.
type inbox struct {
	follows bool // it wants to know of changes
	queue   []*delivery
	bytes   int
	overrun bool // more was queued than its backlog holds
	woken   bool // its actor is told already
}

// delivery is what the changes of one group brought about, on its way to all subscribers. It is shared: only left changes.
type delivery struct {
	events []happened
	bytes  int           // of all frames
	left   atomic.Int64  // subscribers whose turn has not come
	done   chan struct{} // closed when there are none
}

// happened is one event of a change.
type happened struct {
	qube.Event
	revision        qube.Revision // zero: an announcement of a change that failed
	view            qube.View     // on which a subscriber's right to it is judged
	plain, numbered []byte        // its frame
}

// told is what wakes a request actor: there is something in its inbox.
type told struct{}

// IgnoreDeadLetterLogging keeps the library from logging what is for a client that has left.
func (told) IgnoreDeadLetterLogging() {}

func newFeeds(d *Daemon) *feeds {
	return &feeds{
		book: d.settings.Book, backlog: d.settings.Backlog, clock: d.settings.Clock, streams: map[*request]struct{}{},
		tell:      func(r *request, message any) { d.send(r.call.request, message) },
		delivered: d.settings.Book.View().Revision(),
	}
}

// turnWithin is how long a commit waits for subscribers to have had their turn. They need the processor for it, and
// nothing else; one that does not get it in so long is told later.
const turnWithin = time.Second

// deliver queues what happened for every subscriber, in order, and returns when each has written it to its client, as far
// as the client takes it: so an event is there before the reply to the call that caused it. One goroutine calls it at a
// time. It runs nobody else's code, and does not fail.
func (f *feeds) deliver(batches []qube.Batch) {
	if f.unheard(batches) {
		return
	}
	d := newDelivery(batches)
	if !f.queue(d, batches) {
		return
	}
	late := make(chan struct{})
	stop := f.clock.AfterFunc(turnWithin, func() { close(late) })
	defer stop()
	select {
	case <-d.done:
	case <-late:
	}
}

// unheard reports whether nobody is there to be told.
func (f *feeds) unheard(batches []qube.Batch) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.streams) > 0 {
		return false
	}
	f.advance(batches)
	return true
}

// advance notes that batches are queued.
func (f *feeds) advance(batches []qube.Batch) {
	for _, b := range batches {
		f.delivered = max(f.delivered, b.Revision)
	}
}

func newDelivery(batches []qube.Batch) *delivery {
	d := &delivery{done: make(chan struct{})}
	for _, b := range batches {
		for i, e := range b.Events {
			view := b.ViewOf(i)
			if view == nil {
				continue
			}
			h := happened{Event: e, revision: b.RevisionOf(i), view: view, plain: messages.EventOf(e, 0).AppendFrame(nil)}
			h.numbered = h.plain
			if h.revision > 0 {
				h.numbered = messages.EventOf(e, h.revision).AppendFrame(nil)
			}
			d.events, d.bytes = append(d.events, h), d.bytes+len(h.numbered)
		}
	}
	return d
}

// queue gives d to every subscriber, and reports whether there is any.
func (f *feeds) queue(d *delivery, batches []qube.Batch) bool {
	f.mu.Lock()
	f.advance(batches)
	var wake []*request
	for r := range f.streams {
		in := &r.stream.inbox
		if !in.follows || in.overrun {
			continue
		}
		if in.bytes > f.backlog { // its actor does not get its turn, or does not end it
			in.overrun = true
			in.empty()
		} else {
			d.left.Add(1)
			in.queue, in.bytes = append(in.queue, d), in.bytes+d.bytes
		}
		if !in.woken {
			in.woken = true
			wake = append(wake, r)
		}
	}
	any := d.left.Load() > 0
	f.mu.Unlock()
	for _, r := range wake {
		f.tell(r, told{})
	}
	return any
}

// turned notes that a subscriber has had its turn.
func (d *delivery) turned() {
	if d.left.Add(-1) == 0 {
		close(d.done)
	}
}

// empty throws away what is queued.
func (in *inbox) empty() {
	for _, d := range in.queue {
		d.turned()
	}
	in.queue, in.bytes = nil, 0
}

// join has r told of what happens from now on, and gives the revision after which that begins.
func (f *feeds) join(r *request, follows bool) (qube.Revision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		return 0, errStopping
	}
	r.stream.inbox.follows = follows
	f.streams[r] = struct{}{}
	return f.delivered, nil
}

// leave ends that. Whoever waits for r's turn waits no longer.
func (f *feeds) leave(r *request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams, r)
	r.stream.inbox.empty()
}

// take gives r what is queued for it; r says of each when its turn is over. overrun says that something was lost.
func (f *feeds) take(r *request) (queue []*delivery, overrun bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := &r.stream.inbox
	queue, in.queue, in.bytes, in.woken = in.queue, nil, 0, false
	return queue, in.overrun
}

// caughtUp reports whether r, which reads the history, has had all that was queued for others: it goes on with its inbox
// then, whose content so far it had from the history. If not, until is how far it can read.
func (f *feeds) caughtUp(r *request, after qube.Revision) (ok bool, until qube.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after < f.delivered {
		return false, f.delivered
	}
	r.stream.inbox.empty()
	return true, f.delivered
}

func (f *feeds) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

// halt ends all streams. None may begin after it.
func (f *feeds) halt() {
	f.mu.Lock()
	f.stopping = true
	var all []*request
	for r := range f.streams {
		all = append(all, r)
	}
	f.mu.Unlock()
	for _, r := range all {
		f.tell(r, halted{})
	}
}
