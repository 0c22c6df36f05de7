package actors

import (
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox is what an actor has to do. Unlike the library's, it never drops a message without a word: what it will not
// pass on (because the actor has stopped, is being backed off, or has too much waiting) goes to refuse. It is also the
// guard of its actor: a panic is turned into a crash here, where the stack still exists.
type mailbox struct {
	limit  int                    // of waiting messages
	sheds  func(message any) bool // whether message may be refused while the actor lives
	refuse func(message any)      // answers whoever waits for the message
	unit   *unit                  // counts successes; nil for actors that are not restarted

	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	handover   actor.Dispatcher // takes over from an inline dispatcher
	wakeUp     func()           // process, made once

	mu        sync.Mutex
	user      fifo
	system    fifo
	running   bool // a goroutine is in process, or about to be
	suspended bool // by the library, between a crash and the restart
	closed    bool // no more user messages: stopped for good
	backedOff bool // no user messages for a while
}

// newMailbox is for a supervised actor.
func newMailbox(u *unit, limit int) *mailbox {
	return &mailbox{limit: limit, sheds: isCall, unit: u, refuse: func(message any) {
		u.refused.Add(1)
		u.daemon.refuse(message)
	}}
}

// fifo is a queue that reuses its room.
type fifo struct {
	items []any
	head  int
}

func (q *fifo) len() int   { return len(q.items) - q.head }
func (q *fifo) push(m any) { q.items = append(q.items, m) }

func (q *fifo) pushFirst(m any) { q.items = slices.Insert(q.items, q.head, m) }

func (q *fifo) pop() any {
	m := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head >= 1024 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return m
}

var _ actor.Mailbox = (*mailbox)(nil)

// RegisterHandlers is part of actor.Mailbox.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher, m.handover, m.wakeUp = invoker, dispatcher, dispatcher, m.process
	if d, ok := dispatcher.(inline); ok {
		m.handover = d.next
	}
}

// Start is part of actor.Mailbox.
func (m *mailbox) Start() {}

// UserMessageCount is part of actor.Mailbox.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

// PostUserMessage queues message, or refuses it. Only what clients cause is refused while the actor lives: it waits for
// what its own goroutines report, however much else there is.
func (m *mailbox) PostUserMessage(message any) {
	m.mu.Lock()
	if m.closed || (m.backedOff || m.user.len() >= m.limit) && m.sheds(message) {
		m.mu.Unlock()
		m.refuse(message)
		return
	}
	m.user.push(message)
	m.unlockAndWake(!m.suspended)
}

// PostSystemMessage queues a message of the library's, which is never refused.
func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system.push(message)
	m.unlockAndWake(true)
}

func (m *mailbox) unlockAndWake(wake bool) {
	wake = wake && !m.running
	m.running = m.running || wake
	m.mu.Unlock()
	if wake {
		m.dispatcher.Schedule(m.wakeUp)
	}
}

// close refuses what is waiting, and whatever comes.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.refuseWaiting(func(any) bool { return true })
}

// backOff refuses what is waiting, and whatever comes until resume.
func (m *mailbox) backOff() {
	m.mu.Lock()
	m.backedOff = true
	m.refuseWaiting(m.sheds)
}

// resume ends a backOff, unless the actor has stopped meanwhile; first is what it gets to handle first.
func (m *mailbox) resume(first any) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.backedOff = false
	m.user.pushFirst(first)
	return true
}

// putFirst queues message before all others. The actor is suspended; its restart will wake it.
func (m *mailbox) putFirst(message any) {
	m.mu.Lock()
	m.user.pushFirst(message)
	m.mu.Unlock()
}

// refuseWaiting refuses those of the waiting messages, and unlocks m.
func (m *mailbox) refuseWaiting(those func(any) bool) {
	var refused []any
	for range m.user.len() {
		if message := m.user.pop(); those(message) {
			refused = append(refused, message)
		} else {
			m.user.push(message)
		}
	}
	m.mu.Unlock()
	for _, message := range refused {
		m.refuse(message)
	}
}

// process handles messages until there are none; one goroutine at a time is in it.
func (m *mailbox) process() {
	for m.some() {
	}
}

// some handles some messages, and reports whether the same goroutine shall go on. It returns early when one panics.
func (m *mailbox) some() (more bool) {
	var message any
	returned := false
	defer func() {
		if reason := recover(); reason != nil {
			m.escalate(newCrash(reason), message)
			more = true
		} else if !returned { // runtime.Goexit: this goroutine ends, and the actor shall not end with it
			m.escalate(newCrash(goexit{}), message)
			m.handover.Schedule(m.wakeUp)
		}
	}()
	for range m.dispatcher.Throughput() {
		var system, any bool
		if message, system, any = m.next(); !any {
			returned = true
			return false
		}
		if system {
			m.handleSystem(message)
		} else {
			m.invoker.InvokeUserMessage(message)
			if m.unit != nil {
				m.unit.succeeded()
			}
		}
		message = nil
	}
	returned = true
	m.handover.Schedule(m.wakeUp)
	return false
}

// escalate hands a crash to the supervisor. If that panics too, the actor is restarted all the same: it would stay
// suspended otherwise.
func (m *mailbox) escalate(c *crash, message any) {
	defer func() {
		if recover() != nil {
			m.PostSystemMessage(&actor.Restart{})
		}
	}()
	m.invoker.EscalateFailure(c, message)
}

// next takes a message: the library's first, and no other while suspended. If there is none, the mailbox is idle.
func (m *mailbox) next() (message any, system, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.system.len() > 0:
		return m.system.pop(), true, true
	case !m.suspended && m.user.len() > 0:
		return m.user.pop(), false, true
	}
	m.running = false
	return nil, false, false
}

func (m *mailbox) handleSystem(message any) {
	switch message.(type) {
	case *actor.SuspendMailbox:
		m.setSuspended(true)
	case *actor.ResumeMailbox:
		m.setSuspended(false)
	case *actor.Stop:
		m.invoker.InvokeSystemMessage(message)
		m.close()
	default:
		m.invoker.InvokeSystemMessage(message)
	}
}

func (m *mailbox) setSuspended(suspended bool) {
	m.mu.Lock()
	m.suspended = suspended
	m.mu.Unlock()
}
