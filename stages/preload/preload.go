// Package preload keeps disposables in advance: started and paused, so that one can be handed out at once
// (spec: model.md 6, CreateDisposable and Preload features). The lists of them are features of their template, and all of
// it is work of the template's actor; the disposables are started and paused by their own.
package preload

import (
	"context"
	"iter"
	"strconv"
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/properties"
	"sallyport/stages/registry"
)

// Take is the order to hand a disposable of template out to by. Of dom0 it is the order to do that with by's own
// default_dispvm, whichever that is when its turn comes.
func Take(v qube.View, template, by qube.Qube, asUUID bool) messages.Order {
	o := messages.Order{Kind: messages.DisposableTake, Qube: template.ID(), Patience: patience(v, template),
		Args: map[string]string{"by": by.ID().Shown()}}
	if asUUID {
		o.Args["uuid"] = "uuid"
	}
	return o
}

// Ask is the order to refill the template of by's disposables, as Take finds it.
func Ask(v qube.View, template, by qube.Qube) messages.Order {
	o := Refill(v, template, "api")
	o.Args["by"] = by.ID().Shown()
	return o
}

// Refill is the order to make as many disposables of template in advance as there shall be.
func Refill(v qube.View, template qube.Qube, reason string) messages.Order {
	each := patience(v, template)
	return messages.Order{Kind: messages.DisposablePreload, Qube: template.ID(),
		Patience: each * time.Duration(max(1, Wanted(v, template))), Args: map[string]string{"reason": reason}}
}

// Due are the orders for all templates that lack disposables, or have too many.
func Due(v qube.View) iter.Seq[messages.Order] {
	return func(yield func(messages.Order) bool) {
		for q := range v.Qubes() {
			waiting := len(action.Listed(q, action.PreloadWaiting))
			if wanted := Wanted(v, q); waiting < wanted && action.CanPreload(v, q) == nil || waiting > wanted {
				if !yield(Refill(v, q, "autostart")) {
					return
				}
			}
		}
	}
}

// Wanted is how many disposables of q shall wait. dom0's wish goes before that of the system's default_dispvm.
func Wanted(v qube.View, q qube.Qube) int {
	if q.Class() == qube.AdminVM || q.Class() == qube.RemoteVM || !properties.Flag(v, q, properties.TemplateForDispvms) {
		return 0
	}
	if properties.Global(v, properties.DefaultDispvm).Shown() == q.Shown() {
		if dom0, ok := v.Qube(qube.Dom0); ok {
			if wish, set := dom0.Feature(action.PreloadMax); set {
				return number(wish)
			}
		}
	}
	wish, _ := q.Feature(action.PreloadMax)
	return number(wish)
}

func number(v qube.FeatureValue) int {
	n, _ := strconv.Atoi(v.Shown())
	return max(0, n)
}

// patience is how long a disposable may take until it can be used (spec: model.md 6: 1.2 times the qrexec timeout). For
// dom0, which has none, it is the system's default.
func patience(v qube.View, template qube.Qube) time.Duration {
	seconds := properties.Int(v, template, properties.QrexecTimeout)
	if template.Class() == qube.AdminVM {
		seconds = properties.Int(v, qube.Nobody, properties.DefaultQrexecTimeout)
	}
	return time.Duration(seconds) * 1200 * time.Millisecond
}

// Worker carries out the orders of this package, and sees to it that disposables wait. It is for the actors (actors.Worker,
// actors.Attendant). Safe for concurrent use.
type Worker struct{}

// Attend puts in order what an earlier daemon was in the middle of, and then keeps disposables until ctx ends. Calls have
// to wait until it is known what that is, since they may begin refills of their own, and for nothing else.
func (Worker) Attend(ctx context.Context, desk messages.Desk, ready func()) error {
	k := keeper{desk: desk, since: map[qube.UUID]*shortage{}}
	defer k.refills.Wait() // ctx has ended then, and so do they
	if err := k.takeUp(ctx); err != nil {
		return err
	}
	ready()
	return k.keep(ctx)
}

// Begin takes an order in. The function that it returns does the work, and returns soon after its context ends.
func (Worker) Begin(o messages.Order, desk messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	w := work{desk: desk, order: o}
	switch o.Kind {
	case messages.DisposableTake:
		return w.byTemplate(w.take), nil
	case messages.DisposablePreload:
		return w.byTemplate(w.refill), nil
	}
	return nil, exception.New(exception.QubesNotImplementedError, "this is no work on disposables")
}

// byTemplate has the actor of the template do what the order for dom0 is about (spec: model.md 6, CreateDisposable).
func (w work) byTemplate(do func(context.Context) (messages.Reply, error)) func(context.Context) (messages.Reply, error) {
	if w.order.Qube != qube.Dom0UUID {
		return do
	}
	return func(ctx context.Context) (messages.Reply, error) {
		inner := w.order
		if err := w.change(ctx, func(tx qube.Tx, dom0 qube.Qube) error {
			by, err := w.caller(tx)
			if err != nil {
				return err
			}
			template, err := registry.DisposableTemplate(tx, by, dom0)
			if err != nil {
				return err
			}
			inner.Qube, inner.Patience = template.ID(), patience(tx, template)
			return nil
		}); err != nil {
			return messages.Empty, err
		}
		w.desk.Leave()
		return w.desk.Order(ctx, inner)
	}
}

// work is one order that is being carried out.
type work struct {
	desk  messages.Desk
	order messages.Order
}

// change has the ledger change something about the template, as it is then.
func (w work) change(ctx context.Context, change func(tx qube.Tx, template qube.Qube) error) error {
	return w.desk.Change(ctx, func(tx qube.Tx) error {
		template, there := tx.System().QubeByID(w.order.Qube)
		if !there {
			return exception.New(exception.QubesVMNotFoundError, "no such qube: %s", qube.ByID(w.order.Qube))
		}
		return change(tx.System(), template)
	})
}

// tell fires an event about the template.
func tell(tx qube.Tx, template qube.Qube, name string, args ...qube.EventArg) error {
	return tx.Fire(qube.Event{Subject: template.Name(), Name: name, Args: args})
}

// have has the actor of a disposable do something. What it says of the netvms of disposables is not for whoever has some
// made.
func (w work) have(ctx context.Context, kind messages.OrderKind, id qube.UUID) error {
	_, err := w.desk.Order(ctx, messages.Order{Kind: kind, Qube: id, Patience: w.order.Patience, Args: map[string]string{messages.Discreet: ""}})
	return err
}
