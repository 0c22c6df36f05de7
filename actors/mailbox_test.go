package actors

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// byHand is a dispatcher that runs what was scheduled when a test says so.
type byHand struct {
	throughput int
	scheduled  []func()
}

func (d *byHand) Throughput() int    { return d.throughput }
func (d *byHand) Schedule(fn func()) { d.scheduled = append(d.scheduled, fn) }

// run runs the oldest, on a goroutine of its own, which may be gone after it.
func (d *byHand) run() {
	fn := d.scheduled[0]
	d.scheduled = d.scheduled[1:]
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fn()
	}()
	<-ended
}

func (d *byHand) runAll() {
	for len(d.scheduled) > 0 {
		d.run()
	}
}

// witness is an actor that tells what it was given, in a trace that it shares with those who are refused.
type witness struct {
	trace []string
	do    func(message any) // nil: nothing
}

func (w *witness) tell(what string, message any) {
	w.trace = append(w.trace, fmt.Sprint(what, " ", message))
}

func (w *witness) InvokeUserMessage(message any) {
	w.tell("user", message)
	if w.do != nil {
		w.do(message)
	}
}
func (w *witness) InvokeSystemMessage(message any) { w.tell("system", message) }
func (w *witness) EscalateFailure(reason, message any) {
	w.tell("crash of "+reason.(*crash).panicType+" by", message)
}

// Messages of the tests: reports get through where calls are refused.
type report int

func isNoReport(message any) bool { _, ok := message.(report); return !ok }

func witnessed(limit int, d actor.Dispatcher) (*witness, *mailbox) {
	w := &witness{}
	m := &mailbox{limit: limit, sheds: isNoReport, refuse: func(message any) { w.tell("refused", message) }}
	m.RegisterHandlers(w, d)
	return w, m
}

// mailboxModel says what a mailbox has to do.
type mailboxModel struct {
	user, system                          []any
	suspended, closed, backedOff, running bool
	trace                                 []string
}

func (m *mailboxModel) tell(what string, message any) {
	m.trace = append(m.trace, fmt.Sprint(what, " ", message))
}

func (m *mailboxModel) post(message any, limit int) {
	if m.closed || isNoReport(message) && (m.backedOff || len(m.user) >= limit) {
		m.tell("refused", message)
		return
	}
	m.user = append(m.user, message)
	m.running = m.running || !m.suspended
}

func (m *mailboxModel) refuse(those func(any) bool) {
	var kept []any
	for _, message := range m.user {
		if those(message) {
			m.tell("refused", message)
		} else {
			kept = append(kept, message)
		}
	}
	m.user = kept
}

// run handles up to n messages: the library's first, and no others while suspended.
func (m *mailboxModel) run(n int) {
	for range n {
		switch {
		case len(m.system) > 0:
			message := m.system[0]
			m.system = m.system[1:]
			switch message.(type) {
			case *actor.SuspendMailbox:
				m.suspended = true
			case *actor.ResumeMailbox:
				m.suspended = false
			case *actor.Stop:
				m.tell("system", message)
				m.closed = true
				m.refuse(func(any) bool { return true })
			default:
				m.tell("system", message)
			}
		case !m.suspended && len(m.user) > 0:
			m.tell("user", m.user[0])
			m.user = m.user[1:]
		default:
			m.running = false
			return
		}
	}
}

// TestMailbox: whatever comes in whatever order, each message is handled or refused, once, in order; the library's first.
func TestMailbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		d := &byHand{throughput: rapid.IntRange(1, 4).Draw(t, "throughput")}
		w, box := witnessed(limit, d)
		model, posted := &mailboxModel{}, 0
		next := func() int { posted++; return posted }
		system := func(message any) {
			model.system, model.running = append(model.system, message), true
			box.PostSystemMessage(message)
		}
		run := func() {
			model.run(d.throughput)
			d.run()
		}
		first := func(message any) {
			model.user = slices.Insert(model.user, 0, message)
		}
		t.Repeat(map[string]func(*rapid.T){
			"call":    func(*rapid.T) { n := next(); model.post(n, limit); box.PostUserMessage(n) },
			"report":  func(*rapid.T) { n := report(next()); model.post(n, limit); box.PostUserMessage(n) },
			"system":  func(*rapid.T) { system(next()) },
			"suspend": func(*rapid.T) { system(&actor.SuspendMailbox{}) },
			"resume":  func(*rapid.T) { system(&actor.ResumeMailbox{}) },
			"stop": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "seldom") > 0 {
					t.Skip()
				}
				system(&actor.Stop{})
			},
			"first": func(t *rapid.T) {
				if !model.suspended {
					t.Skip()
				}
				n := report(next())
				first(n)
				box.putFirst(n)
			},
			"back off": func(t *rapid.T) {
				if !model.suspended {
					t.Skip()
				}
				model.backedOff = true
				model.refuse(isNoReport)
				box.backOff()
			},
			"come back": func(t *rapid.T) {
				if !model.backedOff {
					t.Skip()
				}
				n := report(next())
				if !model.closed {
					model.backedOff = false
					first(n)
				}
				assert.Equal(t, !model.closed, box.resume(n))
				system(&actor.ResumeMailbox{})
			},
			"run": func(t *rapid.T) {
				if !model.running {
					t.Skip()
				}
				run()
			},
			"": func(t *rapid.T) {
				assert.Equal(t, model.trace, w.trace)
				assert.Len(t, d.scheduled, map[bool]int{true: 1}[model.running], "one goroutine works, if there is work")
				assert.Equal(t, len(model.user), box.UserMessageCount())
			},
		})
		for system(&actor.ResumeMailbox{}); model.running; {
			run()
		}
		assert.Equal(t, model.trace, w.trace)
		assert.Empty(t, model.user, "nothing is left")
	})
}

// TestMailboxGuard: what a message does to its actor is told, and costs no other message anything.
func TestMailboxGuard(t *testing.T) {
	for name, do := range map[string]func(){
		"panic":          func() { panic("a client's words") },
		"runtime.Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			d := &byHand{throughput: 10}
			w, m := witnessed(10, d)
			w.do = func(message any) {
				if message == 2 {
					do()
				}
			}
			for n := range 5 {
				m.PostUserMessage(n)
			}
			d.runAll()
			kind := map[string]string{"panic": "string", "runtime.Goexit": "actors.goexit"}[name]
			assert.Equal(t, []string{"user 0", "user 1", "user 2", "crash of " + kind + " by 2", "user 3", "user 4"}, w.trace)
		})
	}
}

// TestMailboxInline: a sender works for an idle actor itself, but not for long.
func TestMailboxInline(t *testing.T) {
	next := &byHand{throughput: 100}
	w, m := witnessed(100, inline{next})
	w.do = func(message any) {
		if message == 0 {
			for n := range 9 {
				m.PostUserMessage(n + 1)
			}
		}
	}
	m.PostUserMessage(0)
	assert.Equal(t, []string{"user 0", "user 1", "user 2", "user 3"}, w.trace, "the sender's part")
	assert.Len(t, next.scheduled, 1, "the rest is handed over")
	m.PostUserMessage(10)
	assert.Len(t, w.trace, 4, "a sender that finds the actor at work goes on")
	next.runAll()
	assert.Len(t, w.trace, 11)
	m.PostUserMessage(11)
	assert.Len(t, w.trace, 12, "it is idle again")
}

// TestMailboxInlineExit: an actor that runs inline survives the end of its sender's goroutine.
func TestMailboxInlineExit(t *testing.T) {
	next := &byHand{throughput: 100}
	w, m := witnessed(100, inline{next})
	w.do = func(message any) {
		if message == 0 {
			m.PostUserMessage(1)
			runtime.Goexit()
		}
	}
	sender := &byHand{}
	sender.Schedule(func() { m.PostUserMessage(0) })
	sender.run()
	assert.Len(t, next.scheduled, 1, "the rest is for another goroutine")
	next.runAll()
	assert.Equal(t, []string{"user 0", "crash of actors.goexit by 0", "user 1"}, w.trace)
}

// TestMailboxConcurrently: with many senders, and a stop among them, each message is handled or refused, once; one at a
// time, and each sender's in order.
func TestMailboxConcurrently(t *testing.T) {
	workers := &warm{}
	defer workers.close()
	for name, d := range map[string]actor.Dispatcher{"warm": workers, "inline": inline{workers}} {
		t.Run(name, func(t *testing.T) {
			const senders, each = 8, 2000
			var handled, refused [senders][]int
			var mu sync.Mutex
			var inside atomic.Int32
			var all sync.WaitGroup
			all.Add(senders * each)
			type numbered struct{ sender, n int }
			m := &mailbox{limit: senders * each, sheds: isNoReport, refuse: func(message any) {
				mu.Lock()
				defer mu.Unlock()
				defer all.Done()
				refused[message.(numbered).sender] = append(refused[message.(numbered).sender], message.(numbered).n)
			}}
			ended := false
			m.RegisterHandlers(invoker(func(message any) {
				assert.EqualValues(t, 1, inside.Add(1), "one at a time")
				defer inside.Add(-1)
				if _, ok := message.(*actor.Stop); ok {
					ended = true
					return
				}
				assert.False(t, ended, "an actor that has stopped loses what it is given")
				handled[message.(numbered).sender] = append(handled[message.(numbered).sender], message.(numbered).n)
				all.Done()
			}), d)
			for sender := range senders {
				go func() {
					for n := range each {
						if sender == 0 && n == each*3/4 {
							m.PostSystemMessage(&actor.Stop{})
						}
						m.PostUserMessage(numbered{sender, n})
					}
				}()
			}
			all.Wait()
			for sender := range senders {
				assert.True(t, slices.IsSorted(handled[sender]))
				slices.Sort(refused[sender]) // close and late senders refuse at the same time
				for n, got := range append(handled[sender], refused[sender]...) {
					assert.Equal(t, n, got)
				}
			}
		})
	}
}

// invoker is given all messages, the library's too.
type invoker func(message any)

func (fn invoker) InvokeUserMessage(message any)    { fn(message) }
func (fn invoker) InvokeSystemMessage(message any)  { fn(message) }
func (invoker) EscalateFailure(reason, message any) { panic(fmt.Sprint(reason, message)) }

// TestFifo: a queue keeps order, and neither what it gave away nor room that it does not need.
func TestFifo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q fifo
		var model []any
		for i, op := range rapid.SliceOfN(rapid.IntRange(0, 4), 0, 5000).Draw(t, "operations") {
			switch {
			case op == 0:
				q.pushFirst(i)
				model = slices.Insert(model, 0, any(i))
			case op > 2 && len(model) > 0:
				assert.Equal(t, model[0], q.pop())
				model = model[1:]
			default:
				q.push(i)
				model = append(model, i)
			}
			assert.Equal(t, len(model), q.len())
		}
	})
	var q fifo
	for i := range 100_000 {
		q.push(i)
		if i >= 10 {
			assert.Equal(t, i-10, q.pop())
		}
	}
	assert.LessOrEqual(t, cap(q.items), 4096, "ten wait")
	held := 0
	for _, m := range q.items[:cap(q.items)] {
		if m != nil {
			held++
		}
	}
	assert.Equal(t, 10, held)
}
