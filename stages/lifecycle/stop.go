package lifecycle

import (
	"context"
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
	"sallyport/stages/registry"
)

// ShutdownPatience is how long a shutdown that waits may take by its nature.
func ShutdownPatience(v qube.View, q qube.Qube) time.Duration {
	return seconds(v, q, properties.ShutdownTimeout)
}

// shutdown asks the guest to shut down, and, if it is to wait, waits for that beside whatever else is done with the qube
// (spec: methods.yaml admin.vm.Shutdown).
func (w *work) shutdown(ctx context.Context) error {
	_, force := w.order.Args["force"]
	_, wait := w.order.Args["wait"]
	announced, destroy := false, false
	var timeout time.Duration
	err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		if err := MayShutdown(q); err != nil {
			return err
		}
		announced = true
		if err := announce(tx, q, "domain-pre-shutdown", qube.EventArg{Key: "force", Value: truth(force)}); err != nil {
			return err
		}
		if !force {
			if err := needed(tx, q); err != nil {
				return err
			}
		}
		destroy = q.State() == qube.Paused
		if destroy && !force && !properties.Flag(tx, q, properties.IsPreload) {
			return exception.New(exception.QubesVMNotRunningError, "qube %s is paused", q)
		}
		timeout = ShutdownPatience(tx, q)
		return nil
	})
	switch {
	case err != nil:
	case destroy:
		err = w.destroy(ctx)
	default:
		err = w.driver.RequestShutdown(ctx, w.order.Qube)
	}
	if err == nil && wait && !destroy {
		err = w.waitForStop(ctx, timeout)
	}
	if err != nil && announced {
		w.tellShutdownFailed(ctx, err)
	}
	return err
}

func truth(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// waitForStop returns when the guest has shut down and all that follows from that is done. It has left the desk: whatever
// else the qube is asked to do, such as a Kill, is done meanwhile.
func (w *work) waitForStop(ctx context.Context, timeout time.Duration) error {
	w.desk.Leave()
	late := exception.New(exception.QubesVMShutdownTimeoutError, "the qube has not shut down within its shutdown_timeout")
	waiting, cancel := within(ctx, timeout, late)
	defer cancel()
	if err := w.driver.Gone(waiting, w.order.Qube); err != nil {
		if context.Cause(waiting) == late {
			return late
		}
		return err
	}
	_, err := w.desk.Order(ctx, messages.Order{Kind: messages.QubeLook, Qube: w.order.Qube}) // if nobody else did already
	return err
}

func (w *work) tellShutdownFailed(ctx context.Context, why error) {
	ctx, cancel := tidying(ctx)
	defer cancel()
	_ = w.change(ctx, func(tx qube.Tx, q qube.Qube) error { // if it cannot be told, there is nobody to tell
		return tell(tx, q, "domain-shutdown-failed", reason(why))
	})
}

// kill ends the qube at once. What was being done with it has been cut short, and may have halted it by now: then that is
// what was asked for (spec: methods.yaml admin.vm.Kill).
func (w *work) kill(ctx context.Context) error {
	err := w.change(ctx, func(_ qube.Tx, q qube.Qube) error {
		if alwaysRuns(q) {
			return errAlwaysRuns
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.destroy(ctx)
}

// destroy ends the qube, and returns when all that follows from that is done.
func (w *work) destroy(ctx context.Context) error {
	if err := w.driver.Destroy(ctx, w.order.Qube); err != nil {
		return err
	}
	return w.stopped(ctx)
}

// stopped is what follows when the hypervisor has the qube no more (spec: events.md 5). It does what of it is left to do:
// nothing, if all is done. A qube that was never spawned has not stopped; its failed start was told of.
func (w *work) stopped(ctx context.Context) error {
	remove := false
	err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		was, intent := q.Runtime(), intentOf(q)
		remove = intent == removing.Kind
		if was.State == qube.Halted && intent != starting.Kind {
			return nil
		}
		if err := tx.SetRuntime(q.ID(), qube.Runtime{State: qube.Halted}); err != nil {
			return err
		}
		next := none
		if remove = q.Class() == qube.DispVM && properties.Flag(tx, q, properties.AutoCleanup); remove {
			next = removing
		}
		if intent != next.Kind {
			if err := tx.SetIntent(q.ID(), next); err != nil {
				return err
			}
		}
		if was.XID == 0 {
			return nil
		}
		if err := tell(tx, q, "domain-stopped"); err != nil {
			return err
		}
		if err := tellReset(tx, q); err != nil {
			return err
		}
		return tell(tx, q, "domain-shutdown")
	})
	if err != nil || !remove {
		return err
	}
	return w.remove(ctx)
}

// remove forgets a disposable that is not needed any more (spec: model.md 5, auto_cleanup). One that is in use stays, as
// it would if a client removed it.
func (w *work) remove(ctx context.Context) error {
	err := w.change(ctx, registry.Unregister)
	if err == nil {
		return nil
	}
	return w.change(ctx, func(tx qube.Tx, q qube.Qube) error { return tx.SetIntent(q.ID(), none) })
}

func intentOf(q qube.Qube) string {
	intent, _ := q.Intent()
	return intent.Kind
}
