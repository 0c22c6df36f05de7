package actors

import (
	"cmp"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// ledger applies changes in order, in memory, and has each group of them written with one fsync while it fills the next.
// Nobody is answered before his change is on disk and published.
//
// What is open outlives the actor: a crash undoes only the change that caused it (a group keeps a change only when it
// returns), and the restarted actor goes on with the same page.
type ledger struct {
	d *Daemon
	*page
}

// page is what the ledger has open. Only the ledger's actor touches it.
type page struct {
	group   qube.Group // being filled; nil: none
	waiting []settled  // what it holds, answered when it is committed
	since   stamp      // its first change

	committing bool        // another group is being written
	patience   func() bool // stops the timer of that
	stuck      bool        // writing takes too long, so that nothing more is taken in
}

// entry is a change that somebody waits for.
type entry interface {
	// change makes it, inside Book.Group.Try.
	change(qube.Tx) error
	// settle tells whoever waits that it is durable and told to subscribers, or why it is not.
	settle(d *Daemon, err error)
	// method is what the log calls it.
	method() string
}

// settled is an entry whose outcome is known as soon as its group is written: err, if it failed by itself. Such a one
// waits all the same if subscribers are told of its announcements, which have their place among all others.
type settled struct {
	entry
	err error
}

// committed is what the goroutine that writes a group reports.
type committed struct {
	entries []settled
	since   stamp
	err     error
}

func (c *call) change(tx qube.Tx) (err error) {
	c.reply, err = c.authorized.Change(tx)
	return err
}

func (c *call) settle(d *Daemon, err error) {
	c.actedAt, c.err = d.now(), err
	d.send(c.request, c)
}

// writesTooLong is what the ledger tells itself when a commit has used up its budget. Who waits for it goes on waiting,
// since nobody knows whether it will be on disk; nobody else begins to.
type writesTooLong struct{}

var errStuckDisk = exception.New(exception.QubesException, "the inventory is not being written; try again")

func newLedger(d *Daemon) func() actor.Actor {
	p := &page{}
	return func() actor.Actor { return &ledger{d, p} }
}

func (l *ledger) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		l.commit(ctx) // what a crash left open
	case entry:
		l.change(ctx, m)
	case *committed:
		l.answer(ctx, m)
	case *writesTooLong:
		l.stuck = l.committing
		if l.stuck {
			l.d.health.failing("disk", "a commit does not end")
		}
	case prove:
		_ = l.d.settings.Book.Begin().Try(func(qube.Tx) error { return errStuckDisk }) // which undoes nothing
	case *actor.Stopping:
		for _, e := range l.waiting { // never to be written
			e.settle(l.d, errStopping)
		}
		l.waiting = nil
	}
}

// change tries one change. It is answered at once if it failed, since then nothing has happened, unless it has announced
// something.
func (l *ledger) change(ctx actor.Context, e entry) {
	if l.stuck {
		l.d.shed("the inventory is not being written")
		e.settle(l.d, errStuckDisk)
		return
	}
	if l.group == nil {
		l.group = l.d.settings.Book.Begin()
	}
	told := len(l.group.Events())
	err := l.group.Try(e.change)
	if err != nil && len(l.group.Events()) == told {
		e.settle(l.d, err)
		return
	}
	if len(l.waiting) == 0 {
		l.since = l.d.now()
	}
	l.waiting = append(l.waiting, settled{e, err})
	l.commit(ctx)
}

// commit has the open group written, unless another is: then this one grows until that is done.
func (l *ledger) commit(ctx actor.Context) {
	if l.committing || len(l.waiting) == 0 {
		return
	}
	group, done := l.group, &committed{entries: l.waiting, since: l.since}
	l.group, l.waiting, l.committing = nil, nil, true
	self := ctx.Self()
	l.patience = l.d.settings.Clock.AfterFunc(l.d.settings.CallBudget, func() { l.d.send(self, &writesTooLong{}) })
	l.d.commits.Add(1)
	l.d.workers.Schedule(func() {
		defer l.d.commits.Done()
		guarded(func() error {
			if err := group.Commit(); err != nil {
				return err
			}
			l.d.feeds.deliver(group.Events())
			return nil
		}, func(err error) {
			done.err = err
			l.d.send(self, done)
		})
	})
}

// answer tells the callers of a group that it is on disk, or that nobody knows. What could fail comes after that.
func (l *ledger) answer(ctx actor.Context, m *committed) {
	l.patience()
	if l.committing = false; l.stuck {
		l.stuck = false
		l.d.health.recovered("disk")
	}
	l.commit(ctx)
	var crashed *crash
	switch { // the log tells once, for all of them
	case errors.As(m.err, &crashed):
		m.err = exception.Internal(l.d.tellCrash("ledger", "ledger", 1, crashed, m))
	case m.err != nil:
		m.err = l.d.translate(m.err, "ledger", error.Error, m.entries[0].method())
	}
	for _, e := range m.entries {
		e.settle(l.d, cmp.Or(e.err, m.err))
	}
	if m.err != nil {
		l.d.health.failing("inventory", "the inventory cannot be written")
		return
	}
	l.d.stats.commits.Add(1)
	l.d.stats.changes.Add(uint64(len(m.entries)))
	l.d.log.Committed(len(m.entries), uint64(l.d.settings.Book.View().Revision()), l.d.now().since(m.since))
}
