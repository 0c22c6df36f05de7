package lifecycle

import (
	"context"
	"errors"
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Worker carries out the orders of this package with a Driver. It is for the actors (actors.Worker, actors.Attendant).
type Worker struct{ driver Driver }

// NewWorker makes one. Safe for concurrent use.
func NewWorker(d Driver) *Worker { return &Worker{d} }

// works is the contents of this package: what is done for each kind of order.
var works = map[messages.OrderKind]func(*work, context.Context) error{
	messages.QubeStart:    (*work).start,
	messages.QubeShutdown: (*work).shutdown,
	messages.QubeKill:     (*work).kill,
	messages.QubePause:    (*work).pause,
	messages.QubeUnpause:  (*work).unpause,
	messages.QubeSuspend:  (*work).suspend,
	messages.QubeResume:   (*work).resume,
	messages.QubeLook:     (*work).look,
}

// Begin takes an order in. The function that it returns does the work, and returns soon after its context ends.
func (w *Worker) Begin(o messages.Order, desk messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	do, known := works[o.Kind]
	if !known {
		return nil, exception.New(exception.QubesNotImplementedError, "there is no hypervisor to do that")
	}
	return func(ctx context.Context) (messages.Reply, error) {
		return messages.Empty, do(&work{w.driver, desk, o}, ctx)
	}, nil
}

// work is one order that is being carried out.
type work struct {
	driver Driver
	desk   messages.Desk
	order  messages.Order
}

// change has the ledger change something about the qube, as it is then. If the qube was removed meanwhile, that is
// QubesVMNotFoundError.
func (w *work) change(ctx context.Context, change func(qube.Tx, qube.Qube) error) error {
	return w.desk.Change(ctx, func(tx qube.Tx) error {
		q, there := tx.QubeByID(w.order.Qube)
		if !there {
			return exception.New(exception.QubesVMNotFoundError, "no such qube: %s", qube.ByID(w.order.Qube))
		}
		return change(tx, q)
	})
}

// tidyUp is how long the end of work that failed may take, also when it failed because it was told to end.
const tidyUp = 10 * time.Second

// tidying is a context in which work that was told to end leaves all in order.
func tidying(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), tidyUp)
}

// reason is what subscribers are told of an error.
func reason(err error) qube.EventArg {
	text := "internal error"
	var e *exception.Exception
	if errors.As(err, &e) {
		text = e.Error()
	}
	return qube.EventArg{Key: "reason", Value: text}
}

// tell and announce fire an event about q; an announcement is heard of even if what it announces fails.
func tell(tx qube.Tx, q qube.Qube, name string, args ...qube.EventArg) error {
	return tx.Fire(qube.Event{Subject: q.Name(), Name: name, Args: args})
}

func announce(tx qube.Tx, q qube.Qube, name string, args ...qube.EventArg) error {
	return tx.Fire(qube.Event{Subject: q.Name(), Name: name, Args: args, Pre: true})
}

// tellReset says that what the hypervisor calls the qube has changed (spec: events.md 5).
func tellReset(tx qube.Tx, q qube.Qube) error {
	for _, p := range []string{"xid", "stubdom_xid", "start_time"} {
		if err := tell(tx, q, "property-reset:"+p, qube.EventArg{Key: "name", Value: p}); err != nil {
			return err
		}
	}
	return nil
}

// turn says that a qube is in another state of the same domain.
func turn(tx qube.Tx, q qube.Qube, state qube.PowerState) error {
	now := q.Runtime()
	now.State = state
	return tx.SetRuntime(q.ID(), now)
}

// The intents of this package.
var (
	starting = qube.Intent{Kind: "lifecycle.start"}
	removing = qube.Intent{Kind: "lifecycle.remove"}
	none     = qube.Intent{}
)
