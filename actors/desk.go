package actors

import (
	"context"
	"errors"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
)

// desk is where work meets the actors: what it asks becomes messages, and only its own goroutine waits for the answers.
// The desk of an Attendant has no job, and no qube.
//
// Orders cannot wait for one another for ever. An order to the qube whose desk it comes from would wait for its own end,
// and is refused. A longer circle, of which each waits for the next, ends as soon as the budget of one is used up; how
// not to begin it again is for whoever gives such orders (see the order to start a qube, which names those that wait).
type desk struct {
	d    *Daemon
	qube *actor.PID
	id   qube.UUID
	job  *job
	away bool // the work has left; only its goroutine touches this

	mu     sync.Mutex
	judged bool // the call was judged again, or there is none to judge
	closed bool // the caller was answered already: nothing is done in his name any more
}

var _ messages.Desk = (*desk)(nil)

var errSelf = errors.New("actors: an order to a qube from its own desk, which could never begin")

// Change is part of messages.Desk.
func (k *desk) Change(ctx context.Context, change func(qube.Tx) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	e := &wanted{desk: k, ctx: ctx, make: change, done: make(chan error, 1)}
	k.d.send(k.d.ledger, e)
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Order is part of messages.Desk.
func (k *desk) Order(ctx context.Context, o messages.Order) (messages.Reply, error) {
	if k.job != nil && o.Qube == k.id && !k.away {
		return messages.Empty, errSelf
	}
	e := &errand{d: k.d, done: make(chan outcome, 1)}
	props := actor.PropsFromProducer(func() actor.Actor { return e }, actor.WithDispatcher(k.d.workers))
	pid := k.d.system.Root.Copy().WithGuardian(endRequests{k.d}).Spawn(props)
	k.d.send(k.d.qubes, &call{request: pid, order: o})
	select {
	case out := <-e.done:
		return out.reply, out.err
	case <-ctx.Done():
		return messages.Empty, context.Cause(ctx)
	}
}

// Leave is part of messages.Desk.
func (k *desk) Leave() {
	if k.job != nil && !k.away {
		k.away = true
		k.d.send(k.qube, &left{k.job})
	}
}

// close keeps the work from changing anything in the name of its caller, who is about to be answered.
func (k *desk) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
}

// again judges the call again, before the first change that is made in its name.
func (k *desk) again(tx qube.Tx) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.judged || k.job == nil || k.job.call.authorized.Kind() != stages.Works {
		return nil
	}
	if k.closed {
		return errOverdue
	}
	k.judged = true
	return k.job.call.authorized.Again(tx)
}

// wanted is a change that work asks for.
type wanted struct {
	desk *desk
	ctx  context.Context
	make func(qube.Tx) error
	done chan error
}

func (w *wanted) change(tx qube.Tx) error {
	if err := context.Cause(w.ctx); err != nil {
		return err // the work has gone on without it
	}
	if err := w.desk.again(tx); err != nil {
		return err
	}
	return w.make(tx)
}

func (w *wanted) settle(_ *Daemon, err error) { w.done <- err }

func (w *wanted) method() string {
	if w.desk.job == nil {
		return ""
	}
	return w.desk.job.call.method()
}

// IgnoreDeadLetterLogging keeps the library from logging what is for a ledger that has ended.
func (*wanted) IgnoreDeadLetterLogging() {}

// errand waits for the end of an order that work gave, in place of a request actor, and tells the work.
type errand struct {
	d    *Daemon
	done chan outcome
}

type outcome struct {
	reply messages.Reply
	err   error
}

func (e *errand) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call:
		e.finish(ctx, m.reply, m.err)
	case *answer:
		e.finish(ctx, messages.Reply{}, m.err)
	}
}

// finish passes on an exception: what is none is told to the log here, where it is known what it was an error of.
func (e *errand) finish(ctx actor.Context, reply messages.Reply, err error) {
	ctx.Stop(ctx.Self())
	var known *exception.Exception
	if err != nil && !errors.As(err, &known) {
		err = e.d.translate(err, "qube", error.Error, "")
	}
	select {
	case e.done <- outcome{reply, err}:
	default: // it was answered already
	}
}
