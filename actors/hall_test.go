package actors

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"

	"sallyport/messages"
)

// hall is the doors of a daemon, without sockets: nothing in it waits for the kernel, so it runs on virtual time. Callers
// stand in for connections.
type hall struct {
	*Daemon
	t    testing.TB
	log  *journal
	book *book

	callers []*caller
}

// virtually runs test in a hall of its own. The time there is virtual. At the end, every caller has got one answer, and
// nothing of the hall is left.
func virtually(t *testing.T, change func(*Settings), test func(h *hall)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, change)
		test(h)
		h.end()
	})
}

// newHall is for a bubble of virtual time; end is its end.
func newHall(t testing.TB, change func(*Settings)) *hall {
	h := &hall{t: t, log: &journal{}, book: newBook()}
	settings := base(h.log)
	settings.Book = bookView{h.book}
	change(&settings)
	settings, err := settings.withDefaults()
	assert.NoError(t, err)
	d := newDaemon(settings)
	d.watched = &watched{clock: settings.Clock}
	d.startDoors()
	h.Daemon = d
	return h
}

func (h *hall) end() {
	assert.NoError(h.t, h.Close(context.Background()))
	time.Sleep(time.Second) // in which the library stops throttling dead letters
	for _, c := range h.callers {
		assert.NotEqual(h.t, unanswered, c.answer())
	}
	discreet(h.t, h.log)
}

func plainly(*Settings) {}

// caller is who made a call, in place of a request actor.
type caller struct {
	h       *hall
	call    call
	mu      sync.Mutex
	answers []messages.Answer
}

// caller makes one that has not called yet.
func (h *hall) caller() *caller {
	c := &caller{h: h}
	h.callers = append(h.callers, c)
	c.call.peer = &anySource
	c.call.request = h.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return c }, actor.WithDispatcher(h.workers)))
	return c
}

// call sends a call to the first door.
func (h *hall) call(method, dest, payload string) *caller {
	c := h.caller()
	c.call.raw = must(messages.ParseRequest(messages.FormatRequest(method, "dom0", dest, []byte(payload))))
	h.send(h.sanitizer, &c.call)
	return c
}

func (c *caller) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call:
		c.take(m.reply, m.err)
	case *answer:
		c.take(messages.Reply{}, m.err)
	}
}

func (c *caller) take(reply messages.Reply, err error) {
	frame := reply.AppendFrame(nil)
	if err != nil {
		frame = c.h.translate(err, "request", typesOf, c.call.method()).AppendFrame(nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, must(messages.ParseAnswer(frame)))
}

// answer is the one that c got once nothing moves any more; empty if there is none yet. A second one fails the test.
func (c *caller) answer() messages.Answer {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if assert.LessOrEqual(c.h.t, len(c.answers), 1, "a call is answered once") && len(c.answers) == 1 {
		return c.answers[0]
	}
	return messages.Answer{}
}

var unanswered = messages.Answer{}

// spawn starts a supervised actor that does what receive says.
func (h *hall) spawn(name string, receive actor.ReceiveFunc) *actor.PID {
	return h.Daemon.spawn(name, "test", h.workers, 8, func() actor.Actor { return receive })
}
