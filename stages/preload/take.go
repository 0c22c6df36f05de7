package preload

import (
	"context"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/registry"
)

// take hands out the oldest disposable that waits, or, if there is none or it does not wake up in time, a new one that is
// not started.
func (w work) take(ctx context.Context) (messages.Reply, error) {
	given, waited, err := w.claim(ctx)
	w.desk.Leave() // it is this caller's: one that wakes slowly keeps nobody else from his
	if err == nil && waited {
		if err = w.wake(ctx, given); err != nil {
			w.discard(ctx, given.ID()) // also if the call has no time left for another
			given, err = w.create(ctx)
		}
	}
	if err != nil {
		return messages.Empty, err
	}
	if w.order.Args["uuid"] != "" {
		return messages.Text(qube.ByID(given.ID()).Shown()), nil
	}
	return messages.Text(given.Shown()), nil
}

// claim takes a disposable from the list for the caller, or makes one. waited says which.
func (w work) claim(ctx context.Context) (given qube.Qube, waited bool, err error) {
	err = w.change(ctx, func(tx qube.Tx, template qube.Qube) error {
		by, err := w.caller(tx)
		if err != nil {
			return err
		}
		if err := w.sound(tx, template); err != nil {
			return err
		}
		if given, waited = ready(tx, template); !waited {
			given, err = registry.Disposable(tx, by, template)
			return err
		}
		if err := registry.TagUser(tx, given, by); err != nil {
			return err
		}
		if err := unlist(tx, template, given.Name()); err != nil {
			return err
		}
		return tx.Fire(qube.Event{
			Subject: template.Name(), Name: "domain-preload-dispvm-used", Other: given.Name(),
			Args: []qube.EventArg{{Key: "dispvm", Value: given.Shown()}, {Key: "delay", Value: delay(template)}},
		})
	})
	return given, waited, err
}

// create makes a new disposable for the caller.
func (w work) create(ctx context.Context) (made qube.Qube, err error) {
	err = w.change(ctx, func(tx qube.Tx, template qube.Qube) error {
		by, err := w.caller(tx)
		if err != nil {
			return err
		}
		made, err = registry.Disposable(tx, by, template)
		return err
	})
	return made, err
}

// wake unpauses a disposable in time.
func (w work) wake(ctx context.Context, q qube.Qube) error {
	if w.order.Patience > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, w.order.Patience)
		defer stop()
	}
	return w.have(ctx, messages.QubeUnpause, q.ID())
}

// caller is for whom the disposable is.
func (w work) caller(v qube.View) (qube.Qube, error) {
	id, err := qube.ParseUUID(w.order.Args["by"])
	by, there := v.QubeByID(id)
	if err != nil || !there {
		return nil, exception.New(exception.QubesVMNotFoundError, "the qube that asked for a disposable is gone")
	}
	return by, nil
}

// sound fails if template is none for disposables, or none any more.
func (w work) sound(v qube.View, template qube.Qube) error {
	by, err := w.caller(v)
	if err == nil {
		_, err = registry.DisposableTemplate(v, by, template)
	}
	return err
}

// ready is the first in the list that was made completely and is still paused.
func ready(v qube.View, template qube.Qube) (qube.Qube, bool) {
	for _, name := range action.Listed(template, action.PreloadCompleted) {
		if q, there := v.Qube(name); there && q.State() == qube.Paused {
			return q, true
		}
	}
	return nil, false
}

// delay is how many seconds after one was used the next disposable is made (spec: model.md 6: 3 by default).
func delay(template qube.Qube) string {
	if value, set := template.Feature(action.PreloadDelay); set && value != (qube.FeatureValue{}) {
		return value.Shown()
	}
	return "3"
}
