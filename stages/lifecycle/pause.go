package lifecycle

import (
	"context"

	"sallyport/messages/qube"
)

// These act, and then say what came of it. They keep no intent: if they are cut off between the two, the next look at the
// qube says what it sees.

// pause stops a qube where it is (spec: methods.yaml admin.vm.Pause).
func (w *work) pause(ctx context.Context) error {
	err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		if err := MayPause(q); err != nil {
			return err
		}
		return announce(tx, q, "domain-pre-paused")
	})
	if err == nil {
		err = w.driver.Pause(ctx, w.order.Qube)
	}
	if err != nil {
		return err
	}
	return w.change(ctx, paused)
}

// paused says that a qube is; of one that was already, nothing is to be told.
func paused(tx qube.Tx, q qube.Qube) error {
	if !IsActive(q) || q.State() == qube.Paused {
		return nil
	}
	if err := turn(tx, q, qube.Paused); err != nil {
		return err
	}
	return tell(tx, q, "domain-paused")
}

// unpause lets a paused qube run on (spec: methods.yaml admin.vm.Unpause).
func (w *work) unpause(ctx context.Context) error {
	err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		if err := MayUnpause(q); err != nil {
			return err
		}
		return announce(tx, q, "domain-pre-unpaused")
	})
	if err == nil {
		err = w.driver.Unpause(ctx, w.order.Qube)
	}
	if err != nil {
		return err
	}
	return w.change(ctx, unpaused)
}

// unpaused says that a qube runs on.
func unpaused(tx qube.Tx, q qube.Qube) error {
	if q.State() != qube.Paused {
		return nil
	}
	if err := turn(tx, q, qube.Running); err != nil {
		return err
	}
	return tell(tx, q, "domain-unpaused")
}

// suspend puts a guest to sleep, or pauses one that cannot (spec: methods.yaml admin.vm.Suspend).
func (w *work) suspend(ctx context.Context) error {
	err := w.change(ctx, func(_ qube.Tx, q qube.Qube) error { return MaySuspend(q) })
	if err != nil {
		return err
	}
	supported, err := w.driver.Suspend(ctx, w.order.Qube)
	if err != nil {
		return err
	}
	if !supported {
		return w.pause(ctx)
	}
	return w.change(ctx, func(tx qube.Tx, q qube.Qube) error { // of which no event tells
		if !IsActive(q) || q.State() == qube.Suspended {
			return nil
		}
		return turn(tx, q, qube.Suspended)
	})
}

// resume wakes a guest, or lets a paused one run on (spec: methods.yaml admin.vm.Resume).
func (w *work) resume(ctx context.Context) error {
	sleeps := false
	err := w.change(ctx, func(_ qube.Tx, q qube.Qube) error {
		sleeps = q.State() == qube.Suspended
		return MayResume(q)
	})
	if err != nil {
		return err
	}
	if !sleeps {
		return w.unpause(ctx)
	}
	if err := w.driver.Resume(ctx, w.order.Qube); err != nil {
		return err
	}
	return w.change(ctx, resumed)
}

// resumed says that a guest has woken.
func resumed(tx qube.Tx, q qube.Qube) error {
	if q.State() != qube.Suspended {
		return nil
	}
	if err := turn(tx, q, qube.Running); err != nil {
		return err
	}
	return tell(tx, q, "domain-resumed")
}
