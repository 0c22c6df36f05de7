package lifecycle

import (
	"context"
	"errors"
	"sync"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Attend looks at every qube that runs, or that the inventory says runs, or whose work is open, and then calls ready. From
// then on it looks at each that the driver tells of. All looking is done by the qube's own actor, in order with everything
// else that is done to the qube.
func (w *Worker) Attend(ctx context.Context, desk messages.Desk, ready func()) error {
	listed, err := w.driver.List(ctx)
	if err != nil {
		return err
	}
	var looks looking
	defer looks.wait() // ctx has ended then, and so do they
	err = desk.Change(ctx, func(tx qube.Tx) error {
		for q := range tx.Qubes() {
			if !alwaysRuns(q) && (IsActive(q) || intentOf(q) != "") {
				listed = append(listed, q.ID())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range listed {
		looks.at(ctx, desk, id)
	}
	looks.wait()
	ready()
	for {
		changed, err := w.driver.Changed(ctx)
		if err != nil {
			return err
		}
		for _, id := range changed {
			looks.at(ctx, desk, id)
		}
	}
}

// looking is the looks that are being taken: at most one at a qube, and one to come, since a look sees all that has
// happened before it.
type looking struct {
	mu     sync.Mutex
	again  map[qube.UUID]bool // by qube that is being looked at: whether once more
	taking sync.WaitGroup
}

func (l *looking) at(ctx context.Context, desk messages.Desk, id qube.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, busy := l.again[id]; busy {
		l.again[id] = true
		return
	}
	if l.again == nil {
		l.again = map[qube.UUID]bool{}
	}
	l.again[id] = false
	l.taking.Go(func() {
		for more := true; more; more = l.once(id) {
			// An error was told to the log where it happened. The qube is as the inventory last said until it is looked at again.
			_, _ = desk.Order(ctx, messages.Order{Kind: messages.QubeLook, Qube: id})
		}
	})
}

// once reports whether there is another look to take.
func (l *looking) once(id qube.UUID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.again[id] {
		l.again[id] = false
		return true
	}
	delete(l.again, id)
	return false
}

func (l *looking) wait() { l.taking.Wait() }

// look has the inventory say of a qube what the hypervisor says, with the events that subscribers need to know it too.
// Nobody else is at work on the qube, so whatever is half done has been cut off.
func (w *work) look(ctx context.Context) error {
	now, err := w.driver.State(ctx, w.order.Qube)
	if err != nil {
		return err
	}
	cutOff := false
	err = w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		switch was := q.Runtime(); {
		case now.State == qube.Halted: // see stopped
			return nil
		case now.State == qube.Transient: // its guest cannot be used yet, and nobody waits until it can
			cutOff = true
			return nil
		case was.State == qube.Halted || was.State == qube.Transient || was.XID != now.XID:
			return noticed(tx, q, now)
		default:
			return moved(tx, q, now)
		}
	})
	var gone *exception.Exception
	switch {
	case errors.As(err, &gone) && gone.Type() == exception.QubesVMNotFoundError:
		return nil // it was removed, or never was one of ours: then it is nobody's business here
	case err != nil:
		return err
	case cutOff:
		_ = w.giveUpStart(ctx, true, errCutOff) // which is no fault of this order
		return nil
	case now.State == qube.Halted:
		return w.notThere(ctx)
	}
	return nil
}

var errCutOff = exception.New(exception.QubesException, "the start was cut off when the daemon stopped")

// notThere finishes what has begun to stop, and tells of a start that came to nothing.
func (w *work) notThere(ctx context.Context) error {
	cutOff := false
	err := w.change(ctx, func(_ qube.Tx, q qube.Qube) error {
		cutOff = q.State() == qube.Transient || intentOf(q) == starting.Kind // of what is volatile, some may be lost
		return nil
	})
	if err != nil {
		return err
	}
	if cutOff {
		_ = w.giveUpStart(ctx, false, errCutOff)
		return nil
	}
	return w.stopped(ctx)
}

// noticed says that a qube runs of which that was not known. Subscribers are told what they would have been told of its
// start: what it is called now, that it runs, and where it has got to since.
func noticed(tx qube.Tx, q qube.Qube, now qube.Runtime) error {
	running := now
	running.State = qube.Running
	if err := tx.SetRuntime(q.ID(), running); err != nil {
		return err
	}
	if err := tellReset(tx, q); err != nil {
		return err
	}
	q, _ = tx.QubeByID(q.ID())
	if err := started(tx, q); err != nil {
		return err
	}
	q, _ = tx.QubeByID(q.ID())
	return moved(tx, q, now)
}

// moved says that a qube is in another state than it was.
func moved(tx qube.Tx, q qube.Qube, now qube.Runtime) error {
	was := q.State()
	switch {
	case was == now.State:
	case now.State == qube.Paused:
		return paused(tx, q)
	case now.State == qube.Running && was == qube.Paused:
		return unpaused(tx, q)
	case now.State == qube.Running && was == qube.Suspended:
		return resumed(tx, q)
	default:
		return turn(tx, q, now.State)
	}
	return nil
}
