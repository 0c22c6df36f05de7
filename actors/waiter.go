package actors

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"
)

// waiter is the actor that has a goroutine wait for the kernel, which no actor may do itself: for connections, or for what
// becomes of them. A panic of the goroutine is the actor's, and it begins anew; what it waits on outlives both.
type waiter struct {
	d      *Daemon
	what   string       // is waited on, as health knows it
	failed string       // what it means when that comes to nothing
	wait   func() error // until there is nothing more to wait for, which is no error
}

// waited is what the goroutine reports when it ends.
type waited struct{ err error }

func (w *waiter) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		self := ctx.Self()
		go guarded(w.wait, func(err error) { w.d.send(self, &waited{err}) })
	case *waited:
		var c *crash
		if errors.As(m.err, &c) {
			panic(c)
		}
		if m.err != nil {
			w.d.health.failing(w.what, w.failed+": "+m.err.Error())
		}
	}
}

// startPoller has the clients of request actors waited for.
func (d *Daemon) startPoller() {
	d.spawn("poller", "poller", d.workers, d.settings.StageQueue, func() actor.Actor {
		return &waiter{d, "poller", "nobody waits for slow clients", d.watched.poll}
	})
}

// startListener has the connections of a socket accepted.
func (d *Daemon) startListener(s *socket, accept func() error) {
	d.spawn("listener-"+s.name, "listener", d.workers, d.settings.StageQueue, func() actor.Actor {
		return &waiter{d, "socket " + s.name, "a socket accepts no more connections", accept}
	})
}
