package preload

import (
	"context"
	"slices"
	"time"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/registry"
)

// refill makes disposables until as many wait as shall, and removes those that are too many. Others are handed out
// meanwhile: what is on the lists is for the ledger to say.
func (w work) refill(ctx context.Context) (messages.Reply, error) {
	err := w.change(ctx, func(tx qube.Tx, template qube.Qube) error {
		_, asked := w.order.Args["by"] // and is told, too, if it makes no sense
		if asked {
			if err := w.sound(tx, template); err != nil {
				return err
			}
		}
		if err := action.CanPreload(tx, template); err != nil && (asked || Wanted(tx, template) > 0) {
			return err
		}
		return tell(tx, template, "domain-preload-dispvm-start", qube.EventArg{Key: "reason", Value: w.order.Args["reason"]})
	})
	w.desk.Leave()
	for more := true; more && err == nil; {
		var made, surplus qube.Qube
		made, surplus, more, err = w.next(ctx)
		switch {
		case err != nil:
		case surplus != nil:
			err = w.have(ctx, messages.QubeKill, surplus.ID())
		case made != nil:
			err = w.prepare(ctx, made)
		}
	}
	return messages.Empty, err
}

// next registers one disposable more in the list of those that are in progress, or finds one that is too many, newest
// first: surplus if it has to be killed yet, which removes it, from the lists too. Until then it is in progress, so that
// nobody is given it, and a daemon that is killed meanwhile finds it. There is more to do if it did anything.
func (w work) next(ctx context.Context) (made, surplus qube.Qube, more bool, err error) {
	err = w.change(ctx, func(tx qube.Tx, template qube.Qube) (err error) {
		waiting, wanted := action.Listed(template, action.PreloadWaiting), Wanted(tx, template)
		switch {
		case len(waiting) > wanted:
			more = true
			name := waiting[len(waiting)-1]
			q, there := tx.Qube(name)
			switch {
			case !there:
				return unlist(tx, template, name)
			case q.State() == qube.Halted:
				return registry.Unregister(tx, q)
			}
			surplus = q
			if err := action.Unlist(tx, template, action.PreloadCompleted, name); err != nil {
				return err
			}
			if slices.Contains(action.Listed(template, action.PreloadInProgress), name) {
				return nil
			}
			return action.List(tx, template, action.PreloadInProgress, name)
		case len(waiting) == wanted || !spare(tx):
			return nil
		}
		more = true
		if made, err = registry.Unclaimed(tx, template); err != nil {
			return err
		}
		if err := action.List(tx, template, action.PreloadWaiting, made.Name()); err != nil {
			return err
		}
		return action.List(tx, template, action.PreloadInProgress, made.Name())
	})
	return made, surplus, more, err
}

// prepare starts and pauses a disposable. One that cannot be is discarded, and the refill is over.
func (w work) prepare(ctx context.Context, q qube.Qube) error {
	err := w.have(ctx, messages.QubeStart, q.ID())
	if err == nil {
		err = w.have(ctx, messages.QubePause, q.ID())
	}
	if err != nil {
		w.discard(ctx, q.ID())
		return err
	}
	return w.change(ctx, func(tx qube.Tx, template qube.Qube) error {
		if err := action.Unlist(tx, template, action.PreloadInProgress, q.Name()); err != nil {
			return err
		}
		return action.List(tx, template, action.PreloadCompleted, q.Name())
	})
}

// discard kills a disposable that nobody is to have, which removes it; it may be halted, or gone already.
func (w work) discard(ctx context.Context, id qube.UUID) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), tidyUp)
	defer stop()
	_ = w.have(ctx, messages.QubeKill, id)
	_ = w.change(ctx, func(tx qube.Tx, template qube.Qube) error {
		left, there := tx.QubeByID(id)
		switch {
		case !there:
			return nil // and is on no list any more
		case left.State() != qube.Halted:
			return unlist(tx, template, left.Name())
		}
		return registry.Unregister(tx, left)
	})
}

// tidyUp is how long the end of work that failed may take, also when it failed because it was told to end.
const tidyUp = 10 * time.Second

func unlist(tx qube.Tx, template qube.Qube, name qube.Name) error {
	for _, list := range action.PreloadLists {
		if err := action.Unlist(tx, template, list, name); err != nil {
			return err
		}
	}
	return nil
}

// spare reports whether the host has more memory free than dom0 wants it to keep.
func spare(v qube.View) bool {
	dom0, ok := v.Qube(qube.Dom0)
	if !ok {
		return true
	}
	threshold, set := dom0.Feature(action.PreloadThreshold)
	if !set {
		return true
	}
	used := uint64(0)
	for q := range v.Qubes() {
		used += v.Usage(q).MemoryKiB >> 10
	}
	return v.Host().MemoryMiB >= used+uint64(number(threshold))
}
