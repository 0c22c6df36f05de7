package preload

import (
	"context"
	"strconv"
	"sync"
	"time"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// How often the templates are looked at, and how long one is left alone at most whose disposables cannot be made.
const (
	every   = time.Second
	longest = 5 * time.Minute
)

// keep has every template refilled that lacks disposables or has too many, until ctx ends. It looks rather than listens,
// so that it does not matter why: one was used, a wish changed, a disposable died, or the daemon was not there.
func (k *keeper) keep(ctx context.Context) error {
	for {
		if err := k.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// takeUp begins to discard the disposables that are in progress. Nobody is at work on them any more: how far they have got
// is not known, and while they are listed, no others are made in their place.
func (k *keeper) takeUp(ctx context.Context) error {
	left := map[qube.UUID]work{} // by disposable
	err := k.desk.Change(ctx, func(tx qube.Tx) error {
		for template := range tx.Qubes() {
			for _, name := range action.Listed(template, action.PreloadInProgress) {
				if q, there := tx.Qube(name); there {
					left[q.ID()] = work{desk: k.desk, order: messages.Order{Qube: template.ID()}}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, w := range left {
		k.refills.Go(func() { w.discard(ctx, id) })
	}
	return nil
}

// keeper is what Attend knows. Its own goroutine has it, but for what refills report.
type keeper struct {
	desk    messages.Desk
	since   map[qube.UUID]*shortage // of templates that are due
	refills sync.WaitGroup
}

// shortage is one template's.
type shortage struct {
	next time.Time     // when it is refilled
	wait time.Duration // after that, if it is due still
	busy chan struct{} // closed when the refill is over; nil: none
}

// look begins the refills that are due, each after the delay that its template wants, and again only after ever longer
// pauses if they come to nothing.
func (k *keeper) look(ctx context.Context) error {
	var due []messages.Order
	delays := map[qube.UUID]time.Duration{}
	if err := k.desk.Change(ctx, func(tx qube.Tx) error {
		due = nil
		for o := range Due(tx) {
			due = append(due, o)
			template, _ := tx.QubeByID(o.Qube)
			delays[o.Qube] = pause(template)
		}
		return nil
	}); err != nil {
		return err
	}
	for id, s := range k.since {
		if _, still := delays[id]; !still && !s.isBusy() {
			delete(k.since, id)
		}
	}
	now := time.Now()
	for _, o := range due {
		s := k.since[o.Qube]
		if s == nil {
			s = &shortage{next: now.Add(delays[o.Qube]), wait: max(delays[o.Qube], every)}
			k.since[o.Qube] = s
		}
		if s.isBusy() || now.Before(s.next) {
			continue
		}
		s.wait = min(2*s.wait, longest)
		s.next, s.busy = now.Add(s.wait), make(chan struct{})
		k.refills.Go(func() {
			defer close(s.busy)
			// Why it came to nothing is told by the disposable's domain-start-failed; it will be tried again.
			_, _ = k.desk.Order(ctx, o)
		})
	}
	return nil
}

func (s *shortage) isBusy() bool {
	if s.busy == nil {
		return false
	}
	select {
	case <-s.busy:
		return false
	default:
		return true
	}
}

// pause is how long after a disposable was used the next is made.
func pause(template qube.Qube) time.Duration {
	seconds, err := strconv.ParseFloat(delay(template), 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(max(seconds, 0), longest.Seconds()) * float64(time.Second))
}
