package actors

import (
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/internal/telemetry"
)

// unit is one supervised actor over all its restarts: its name, its mailbox, and how it is doing. It is the actor's
// supervision strategy. After a crash it answers the caller with an incident id, logs once, and restarts at once.
//
// The limit counts crashes with no success between them, never crashes as such, so that a client that provokes crashes
// cannot switch a door off. At the limit the actor is asked to prove itself by a message of ours; only if it fails at
// that too does it make no progress. Then its queue is refused, with an exception, for a while that doubles, and it is
// asked again.
type unit struct {
	daemon  *Daemon
	name    string
	kind    string
	parent  string
	mailbox *mailbox
	pid     *actor.PID // set once spawned

	streak    atomic.Int32 // crashes since the last success
	backedOff atomic.Int32 // times in a row
	refused   atomic.Int64 // messages

	handling *call // by the actor, where its message does not say so; only its goroutine touches this
}

// prove is a message to an actor that crashed again and again: whoever handles it without a panic makes progress.
type prove struct{}

// The pauses of an actor that makes no progress.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 30 * time.Second
)

// pause is how long to wait the nth time in a row, counting from 0.
func pause(n int32) time.Duration { return min(firstPause<<min(n, 20), lastPause) }

// succeeded notes that the actor handled a message.
func (u *unit) succeeded() {
	if u.streak.Load() == 0 {
		return
	}
	u.streak.Store(0)
	if u.backedOff.Swap(0) > 0 {
		u.daemon.health.recovered(u.name)
	}
}

// HandleFailure is part of actor.SupervisorStrategy. The library calls it on the goroutine of the crashed actor.
func (u *unit) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, message any) {
	d := u.daemon
	if u.handling != nil {
		message, u.handling = u.handling, nil
	}
	streak := int(u.streak.Add(1))
	d.answerCrash(u, streak, reason, message)
	if streak < d.settings.CrashLimit {
		u.restart(supervisor, child)
		return
	}
	_, proving := message.(prove)
	_, library := message.(actor.SystemMessage) // it crashed while it was started
	if !proving && !library {
		u.mailbox.putFirst(prove{})
		u.restart(supervisor, child)
		return
	}
	wait := pause(u.backedOff.Add(1) - 1)
	d.health.failing(u.name, "actor "+u.name+" makes no progress")
	d.log.Escalated(u.name, u.kind, streak, wait)
	u.mailbox.backOff()
	d.settings.Clock.AfterFunc(wait, func() {
		if u.mailbox.resume(prove{}) {
			u.restart(supervisor, child)
		}
	})
}

func (u *unit) restart(supervisor actor.Supervisor, child *actor.PID) {
	u.daemon.stats.restarts.Add(1)
	u.daemon.log.Actor(telemetry.ActorRestarted, u.name, u.kind, u.parent)
	supervisor.RestartChildren(child)
}
