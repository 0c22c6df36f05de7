package actors

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/messages"
)

// Attendant does something about qubes unasked: it finds out what has become of them while no daemon ran, passes on what
// happens to them, or keeps things ready.
type Attendant interface {
	// Attend is called before calls are accepted; they are once it calls ready. It goes on until ctx ends, and returns soon
	// after. If it fails or panics before ready, the daemon does not start; later, it is called again after a pause.
	Attend(ctx context.Context, desk messages.Desk, ready func()) error
}

// attendance is the actor that has the Attendant at work, on a goroutine that reports back.
type attendance struct {
	d *Daemon
	*vigil
}

// vigil is how the attendance is doing. It outlives a crash.
type vigil struct {
	attendant Attendant
	unit      *actor.PID
	began     time.Time // the last time
	running   bool
	dismissed bool
	cancel    context.CancelFunc // of what is running
	failures  int32              // in a row
	ready     chan error         // told whether the daemon may start; room for one
	ended     chan struct{}      // closed when it is dismissed and nothing runs
}

// attended is what the goroutine reports, again is what the actor tells itself after a pause, and dismissal is what it is
// told when the daemon stops.
type (
	attended  struct{ err error }
	again     struct{}
	dismissal struct{}
)

// attend starts the attendance, one after the other by their names, and returns when calls may be accepted.
func (d *Daemon) attend() error {
	for _, name := range slices.Sorted(maps.Keys(d.settings.Attendants)) {
		v := &vigil{attendant: d.settings.Attendants[name], ready: make(chan error, 1), ended: make(chan struct{})}
		v.unit = d.spawn("attendant-"+name, "attendant", d.workers, d.settings.StageQueue, func() actor.Actor { return &attendance{d, v} })
		d.vigils = append(d.vigils, v)
		if err := <-v.ready; err != nil {
			return err
		}
	}
	return nil
}

// dismiss ends the attendance, and returns when nothing of it runs any more, or ctx ends.
func (d *Daemon) dismiss(ctx context.Context) error {
	for _, v := range d.vigils {
		d.send(v.unit, dismissal{})
	}
	for _, v := range d.vigils {
		select {
		case <-v.ended:
		case <-ctx.Done():
			return errors.New("actors: an attendant does not end")
		}
	}
	return nil
}

func (a *attendance) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		if a.failures == 0 {
			a.begin(ctx)
		} else {
			a.later(ctx)
		}
	case again:
		a.begin(ctx)
	case *attended:
		a.finish(ctx, m.err)
	case dismissal:
		a.dismissed = true
		if !a.running {
			close(a.ended)
			return
		}
		a.cancel()
	}
}

func (a *attendance) begin(ctx actor.Context) {
	if a.running || a.dismissed {
		return
	}
	attending, cancel := context.WithCancel(context.Background())
	a.running, a.cancel, a.began = true, cancel, a.d.settings.Clock.Now()
	self, k := ctx.Self(), &desk{d: a.d}
	go guarded(func() error {
		return a.attendant.Attend(attending, k, func() { a.tell(nil) })
	}, func(err error) { a.d.send(self, &attended{err}) })
}

// tell says whether the daemon may start, once.
func (v *vigil) tell(err error) {
	select {
	case v.ready <- err:
	default: // it was told before
	}
}

func (a *attendance) finish(ctx actor.Context, err error) {
	a.cancel()
	a.running = false
	if a.dismissed {
		close(a.ended)
		return
	}
	if a.failures++; a.d.settings.Clock.Now().Sub(a.began) > lastPause {
		a.failures = 1
	}
	if err == nil {
		err = errors.New("actors: the attendant has left")
	}
	a.tell(err)
	var c *crash
	if errors.As(err, &c) {
		panic(c) // its crash is the actor's: one supervisor, one log line
	}
	a.d.translate(err, "attendant", error.Error, "")
	a.later(ctx)
}

// later attends again, after a pause.
func (a *attendance) later(ctx actor.Context) {
	self := ctx.Self()
	a.d.settings.Clock.AfterFunc(pause(a.failures-1), func() { a.d.send(self, again{}) })
}
