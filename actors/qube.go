package actors

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Worker carries out orders: whatever takes long or reaches outside the daemon. Its methods are called for many qubes at
// once, and for one qube one order at a time. One that is an Attendant too is told of the daemon's life.
type Worker interface {
	// Begin takes an order in, on the qube's actor: it returns at once, and neither waits nor reaches outside. What it
	// returns does the work, on a goroutine of its own, which alone may use the desk; it returns soon after ctx ends.
	Begin(messages.Order, messages.Desk) (func(ctx context.Context) (messages.Reply, error), error)
}

// noWork is the Worker of a daemon that was given none.
type noWork struct{}

func (noWork) Begin(messages.Order, messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	return nil, exception.New(exception.QubesNotImplementedError, "this daemon does no work of that kind")
}

// qubes gives each order to the actor of its qube, which it starts on demand and ends when it has been idle for a while.
type qubes struct {
	d *Daemon
	*roster
}

// roster is the actors of qubes. Only the qubes actor touches it, and it outlives a crash of that.
type roster struct{ byID map[qube.UUID]*atWork }

type atWork struct {
	*unit
	sent int // orders
}

// idle is what a qube's actor tells when it has had nothing to do for a while, after so many orders.
type idle struct {
	id   qube.UUID
	done int
}

func newQubes(d *Daemon) func() actor.Actor {
	r := &roster{map[qube.UUID]*atWork{}}
	return func() actor.Actor { return &qubes{d, r} }
}

func (a *qubes) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call:
		q := a.byID[m.order.Qube]
		if q == nil {
			q = &atWork{unit: a.d.family.spawn(m.order.Qube)}
			a.byID[m.order.Qube] = q
		}
		q.sent++
		ctx.Send(q.pid, m)
	case *idle:
		if q := a.byID[m.id]; q != nil && q.sent == m.done+int(q.refused.Load()) { // no order is on its way to it
			delete(a.byID, m.id)
			ctx.Stop(q.pid)
		}
	}
}

// family is the strategy that all actors of qubes share: each has a unit of its own.
type family struct {
	d     *Daemon
	mu    sync.Mutex
	units map[string]*unit // by id of the actor
}

// spawn starts the actor of a qube.
func (f *family) spawn(id qube.UUID) *unit {
	u := &unit{daemon: f.d, kind: "qube", parent: "qubes"}
	u.mailbox = newMailbox(u, f.d.settings.QubeQueue)
	u.name = "qube-" + id.Shown() + f.d.system.ProcessRegistry.NextId() // a name cannot be used twice
	f.mu.Lock()
	f.units[u.name] = u
	f.mu.Unlock()
	bench := &bench{aside: map[*job]bool{}}
	props := actor.PropsFromProducer(func() actor.Actor { return &qubeActor{d: f.d, id: id, unit: u, bench: bench} },
		actor.WithMailbox(func() actor.Mailbox { return u.mailbox }), actor.WithDispatcher(f.d.workers))
	pid, err := f.d.system.Root.Copy().WithGuardian(f).SpawnNamed(props, u.name)
	if err != nil {
		panic("actors: a fresh id was taken")
	}
	u.pid = pid
	f.d.log.Actor(telemetry.ActorStarted, u.name, u.kind, u.parent)
	return u
}

// HandleFailure is part of actor.SupervisorStrategy.
func (f *family) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, stats *actor.RestartStatistics, reason, message any) {
	f.mu.Lock()
	u := f.units[child.Id]
	f.mu.Unlock()
	u.HandleFailure(system, supervisor, child, stats, reason, message)
}

func (f *family) left(u *unit) {
	f.mu.Lock()
	delete(f.units, u.name)
	f.mu.Unlock()
	f.d.health.recovered(u.name)
	f.d.log.Actor(telemetry.ActorStopped, u.name, u.kind, u.parent)
}

func (f *family) all() []*unit {
	f.mu.Lock()
	defer f.mu.Unlock()
	var units []*unit
	for _, u := range f.units {
		units = append(units, u)
	}
	return units
}

// qubeActor does the work of one qube, in order. It never blocks: the work runs on a goroutine that reports back.
type qubeActor struct {
	d    *Daemon
	id   qube.UUID
	unit *unit
	*bench
}

// bench is what a qube's actor has before it. It outlives a crash.
type bench struct {
	queue   []*call
	current *job          // being worked at
	aside   map[*job]bool // that left the desk, and go on beside whatever is next
	stuck   bool          // current has not ended though it was told to: nobody can be served
	resting func() bool   // stops the timer until the actor is idle; nil: not set
	done    int           // orders, whatever became of them
}

// job is an order that was begun. The actor has it; the goroutine that does it meets it as its desk.
type job struct {
	call   *call
	ctx    context.Context
	cancel context.CancelCauseFunc
	budget func() bool // stops the timer of its budget, or of its grace
	told   bool        // it took too long: it was told to end, and its caller was told so
	desk   *desk
}

// worked is what the goroutine that did a job reports.
type worked struct {
	job   *job
	reply messages.Reply
	err   error
}

// left is what the goroutine that does a job tells when it needs the desk no more.
type left struct{ job *job }

// overdue is what a job's budget tells when it is used up.
type overdue struct{ job *job }

// carries gives the call that a message is about, for the supervisor to answer; nil if there is none, or none any more.
func (w *worked) carries() *call {
	if w.job.told {
		return nil
	}
	return w.job.call
}
func (c *call) carries() *call { return c }

// IgnoreDeadLetterLogging keeps the library from logging what is for an actor that has ended.
func (*worked) IgnoreDeadLetterLogging()  {}
func (*left) IgnoreDeadLetterLogging()    {}
func (*overdue) IgnoreDeadLetterLogging() {}

var (
	errOverdue  = exception.New(exception.QubesException, "the call did not finish within its time")
	errCut      = exception.New(exception.QubesException, "the call was cut short by one that is more urgent")
	errStopping = exception.New(exception.QubesException, "the daemon is stopping")
	errQueue    = exception.New(exception.QubesException, "too many calls wait for this qube; try again")
	errStuck    = exception.New(exception.QubesException, "this qube is busy with work that does not end; try again")
)

func (a *qubeActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.next(ctx)
	case *call:
		a.take(ctx, m)
	case *left:
		a.setAside(ctx, m.job)
	case *worked:
		a.finish(ctx, m)
	case *overdue:
		a.giveUp(ctx, m.job)
	case *actor.Stopping:
		a.stop(ctx)
	}
}

// take queues an order, or begins it.
func (a *qubeActor) take(ctx actor.Context, c *call) {
	a.wake()
	switch {
	case a.stuck:
		a.turnAway(ctx, c, errStuck)
	case len(a.queue)+len(a.aside) >= a.d.settings.QubeQueue:
		a.turnAway(ctx, c, errQueue)
	case a.current != nil:
		a.line(ctx, c)
	case !a.begin(ctx, c):
		a.next(ctx)
	}
}

// line queues an order. An urgent one goes before all that are not, and cuts short what is being done, unless that is
// urgent too.
func (a *qubeActor) line(ctx actor.Context, c *call) {
	at := len(a.queue)
	if c.order.Urgent {
		if at = slices.IndexFunc(a.queue, func(c *call) bool { return !c.order.Urgent }); at < 0 {
			at = len(a.queue)
		}
		if j := a.current; !j.call.order.Urgent && j.ctx.Err() == nil {
			j.cancel(errCut)
			a.allow(ctx, j, grace) // to leave all in order, and to answer its caller
		}
	}
	a.queue = slices.Insert(a.queue, at, c)
}

// turnAway refuses an order that is not begun.
func (a *qubeActor) turnAway(ctx actor.Context, c *call, why error) {
	a.done++
	a.d.shed("a qube is too busy")
	c.done(ctx, c.reply, why)
}

// begin hands the order to the worker, and reports whether it is at work. If that panics, this call is over, and the
// restarted actor goes on with the next.
func (a *qubeActor) begin(ctx actor.Context, c *call) bool {
	a.done++            // before anything can fail
	a.unit.handling = c // which may have waited, so that the message is about another
	j := &job{call: c}
	j.desk = &desk{d: a.d, qube: ctx.Self(), id: a.id, job: j}
	work, err := a.d.settings.Worker.Begin(c.order, j.desk)
	a.unit.handling = nil
	if err != nil {
		c.actedAt = a.d.now()
		c.done(ctx, c.reply, err)
		return false
	}
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	a.current = j
	a.allow(ctx, j, a.d.settings.CallBudget+c.order.Patience)
	go func() {
		report := &worked{job: j}
		guarded(func() (err error) {
			if report.reply, err = work(j.ctx); err != nil && context.Cause(j.ctx) != nil {
				err = context.Cause(j.ctx)
			}
			return err
		}, func(err error) {
			report.err = err
			a.d.send(j.desk.qube, report)
		})
	}()
	return true
}

// allow gives a job that much more time from now on.
func (a *qubeActor) allow(ctx actor.Context, j *job, much time.Duration) {
	if j.budget != nil {
		j.budget()
	}
	self := ctx.Self()
	j.budget = a.d.settings.Clock.AfterFunc(much, func() { a.d.send(self, &overdue{j}) })
}

// setAside lets a job go on beside the next.
func (a *qubeActor) setAside(ctx actor.Context, j *job) {
	if a.current != j {
		return // it was told to end, and has ended
	}
	a.aside[j] = true
	a.current, a.stuck = nil, false
	a.next(ctx)
}

// finish answers a job's call, and begins the next if the desk is free.
func (a *qubeActor) finish(ctx actor.Context, m *worked) {
	j := m.job
	if j != a.current && !a.aside[j] {
		return // the actor was told to stop
	}
	j.budget()
	j.cancel(nil)
	delete(a.aside, j)
	if j == a.current {
		a.current, a.stuck = nil, false
	}
	var c *crash
	if errors.As(m.err, &c) {
		panic(c) // the work's crash is the actor's: one supervisor, one answer, one log line
	}
	if !j.told {
		j.call.actedAt = a.d.now()
		j.call.done(ctx, m.reply, m.err)
	}
	a.next(ctx)
}

// grace is how long work may take to end once it is told to.
const grace = time.Second

// giveUp tells the work to end, and answers its caller at once. If it does not end all the same, nobody knows when it
// will: then all who wait behind it are answered, too.
func (a *qubeActor) giveUp(ctx actor.Context, j *job) {
	switch {
	case j != a.current && !a.aside[j]:
	case !j.told:
		j.told = true
		j.cancel(errOverdue)
		a.allow(ctx, j, grace)
		j.desk.close()
		j.call.done(ctx, j.call.reply, context.Cause(j.ctx))
	case j == a.current:
		a.stuck = true
		for _, waiting := range a.queue {
			a.turnAway(ctx, waiting, errStuck)
		}
		a.queue = nil
	}
}

// next begins the next order, whether or not its client is still there (spec: wire.md 5), or waits to be idle.
func (a *qubeActor) next(ctx actor.Context) {
	for a.current == nil && len(a.queue) > 0 {
		c := a.queue[0]
		a.queue = a.queue[1:]
		if a.begin(ctx, c) {
			return
		}
	}
	if a.current == nil && len(a.aside) == 0 {
		a.wake()
		report := &idle{a.id, a.done}
		a.resting = a.d.settings.Clock.AfterFunc(a.d.settings.IdleQube, func() { a.d.send(a.d.qubes, report) })
	}
}

// wake keeps the actor from being idle soon.
func (a *qubeActor) wake() {
	if a.resting != nil {
		a.resting()
		a.resting = nil
	}
}

// stop ends the actor: what it still has is answered.
func (a *qubeActor) stop(ctx actor.Context) {
	a.wake()
	if a.current != nil {
		a.aside[a.current] = true
	}
	for j := range a.aside {
		j.budget()
		j.cancel(errStopping)
		j.desk.close()
		if !j.told {
			a.queue = append(a.queue, j.call)
		}
	}
	for _, c := range a.queue {
		c.done(ctx, c.reply, errStopping)
	}
	a.current, a.queue = nil, nil
	clear(a.aside)
	a.d.family.left(a.unit)
}
