package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// warm is a dispatcher whose goroutines outlive the work they are given. Starting a goroutine for every wake-up of a
// mailbox, as the library does, spends a third of the time on growing new stacks; these have grown already. The last to
// fall idle is the first to be used again, and there are as many as are needed at once.
type warm struct {
	mu     sync.Mutex
	idle   []*worker
	closed bool
}

type worker struct{ next chan func() }

// maxIdleWorkers bounds how many goroutines wait for work; more than that end when they have none.
const maxIdleWorkers = 64

// throughput is how many messages an actor handles before others get their turn.
const throughput = 64

var _ actor.Dispatcher = (*warm)(nil)

// Throughput is part of actor.Dispatcher.
func (d *warm) Throughput() int { return throughput }

// Schedule runs fn soon, on another goroutine.
func (d *warm) Schedule(fn func()) {
	d.mu.Lock()
	if n := len(d.idle); n > 0 {
		w := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		w.next <- fn
		return
	}
	d.mu.Unlock()
	w := &worker{make(chan func(), 1)}
	go d.work(w, fn)
}

func (d *warm) work(w *worker, fn func()) {
	for ; fn != nil; fn = <-w.next {
		fn()
		if !d.rest(w) {
			return
		}
	}
}

// rest puts w among the idle, if it is still needed.
func (d *warm) rest(w *worker) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.idle) >= maxIdleWorkers {
		return false
	}
	d.idle = append(d.idle, w)
	return true
}

// close ends the idle goroutines now and the busy ones when they are done.
func (d *warm) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, w := range d.idle {
		close(w.next)
	}
	d.idle = nil
}

// inline runs an actor on the goroutine that sends to it, while its mailbox is idle: a stage is then as cheap as a call.
// It is still an actor: one message at a time, restarted alone, its panics its own. A mailbox that finds more than a few
// messages waiting hands them to next, so that no sender works for all others.
type inline struct{ next actor.Dispatcher }

// Throughput is how many messages a sender handles for others.
func (inline) Throughput() int { return 4 }

// Schedule runs fn now.
func (inline) Schedule(fn func()) { fn() }
