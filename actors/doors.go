package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
)

// The three doors. Each is one actor that does one step and sends the call on. They run on the sender's goroutine while
// they are idle: see inline.

// sanitizer is the first door. It holds the catalogue, which is no state, and reads bytes.
type sanitizer struct{ d *Daemon }

func (a *sanitizer) Receive(ctx actor.Context) {
	c, ok := ctx.Message().(*call)
	if !ok {
		if _, ok := ctx.Message().(prove); ok {
			_, _ = a.d.settings.Catalogue.Sanitize(stages.Admin, aRequest) // which has to do no more than return
		}
		return
	}
	sanitized, err := a.d.settings.Catalogue.Sanitize(c.socket, c.raw)
	c.sanitized, c.sanitizedAt = sanitized, a.d.now()
	if err != nil {
		c.done(ctx, c.reply, err)
		return
	}
	ctx.Send(a.d.permission, c)
}

// aRequest is one that every catalogue can look at: it is about dom0, and calls what nobody declares.
var aRequest = func() messages.Request {
	r, err := messages.ParseRequest(messages.FormatRequest("proof", qube.Dom0.Shown(), qube.Dom0.Shown(), nil))
	if err != nil {
		panic(err) // a constant of ours
	}
	return r
}()

// permission is the second door. It judges on the newest snapshot.
type permission struct{ d *Daemon }

func (a *permission) Receive(ctx actor.Context) {
	c, ok := ctx.Message().(*call)
	if !ok {
		if _, ok := ctx.Message().(prove); ok {
			a.d.settings.Gate.Prove(a.d.settings.Book.View())
		}
		return
	}
	authorized, err := a.d.settings.Gate.Judge(c.sanitized, c.peer, a.d.settings.Book.View())
	c.authorized, c.permittedAt = authorized, a.d.now()
	if err != nil {
		c.done(ctx, c.reply, err)
		return
	}
	ctx.Send(a.d.action, c)
}

// action is the third door. It answers reads, from the snapshot that they were judged on, and routes the rest: streams back
// to their request actors.
type action struct{ d *Daemon }

func (a *action) Receive(ctx actor.Context) {
	c, ok := ctx.Message().(*call)
	if !ok {
		return
	}
	switch c.authorized.Kind() {
	case stages.Changes:
		ctx.Send(a.d.ledger, c)
	case stages.Works:
		var err error
		if c.order, err = c.authorized.Work(); err != nil {
			c.done(ctx, c.reply, err)
			return
		}
		ctx.Send(a.d.qubes, c)
	case stages.Streams:
		c.actedAt = a.d.now()
		ctx.Send(c.request, c) // which carries it out, for as long as it lives
	default:
		reply, err := c.authorized.Read()
		c.actedAt = a.d.now()
		c.done(ctx, reply, err)
	}
}
