package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

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
}

// virtually runs test in a hall of its own. The time there is virtual, and nothing of the hall may be left after it.
func virtually(t *testing.T, change func(*Settings), test func(h *hall)) {
	synctest.Test(t, func(t *testing.T) {
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
		test(h)
		assert.NoError(t, d.Close(context.Background()))
		discreet(t, h.log)
	})
}

func plainly(*Settings) {}

// caller is who made a call, in place of a request actor.
type caller struct {
	h       *hall
	call    call
	answers []messages.Answer
}

// caller makes one that has not called yet.
func (h *hall) caller() *caller {
	c := &caller{h: h}
	c.call.peer, c.call.conn = &anySource, &connection{fd: -1}
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
	if errors.Is(err, errGone) {
		frame = []byte("2\x00gone\x00\x00\x00")
	} else if err != nil {
		frame = c.h.translate(err, "request", &c.call).AppendFrame(nil)
	}
	c.answers = append(c.answers, must(messages.ParseAnswer(frame)))
}

// answer is the one that c got once nothing moves any more; empty if there is none yet. A second one fails the test.
func (c *caller) answer() messages.Answer {
	synctest.Wait()
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
