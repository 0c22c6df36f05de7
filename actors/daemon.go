// Package actors runs the calls: who does what, when. It knows no API rule and holds no policy; what a call means is in
// the states of package stages, and every means to change anything is handed in.
//
//	socket ─bytes→ listener → request ─→ sanitizer ─→ permission ─→ action ─→ (read) | ledger | qube
//	   ↑                         │ one per connection                                  │
//	   └────────── frame ────────┴─────────────── reply, exception or crash ───────────┘
//
// Messages run one way, forward; whoever finishes a call tells its request actor. No actor waits for another. Every
// actor is supervised by a strategy of ours: see unit.
package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// Settings are what a Daemon is made of. Catalogue, Gate and Book are needed; the rest has defaults.
type Settings struct {
	Catalogue *stages.Catalogue
	Gate      *stages.Gate
	Book      qube.Book
	Worker    Worker // carries out Works calls; nil refuses them

	Attendants map[string]Attendant // by name, for the log

	Sockets map[stages.Socket]string         // where to listen; a socket without a path is not served
	Peers   func(Credentials) *messages.Peer // nil: root and the daemon's own user may claim any source

	Remote *Remote // clients on other machines; nil: none

	Log   *zap.Logger   // nil: none. Its encoder decides the names of time, level and event.
	Timed func(Timing)  // told of each call when it is over; nil: nobody wants to know. Safe for concurrent use, and never blocks
	Clock Clock         // nil: the system's
	IDs   func() string // makes incident ids, not all digits; nil: random

	MaxConnections int           // at once; 0: 16384
	HeaderLimit    int           // bytes; 0: 4096, which is also the most
	ReadTimeout    time.Duration // for a whole request, and for a client to take a whole reply; 0: 30 s
	CallBudget     time.Duration // for the work of one call; 0: 60 s
	QubeQueue      int           // orders that wait for one qube; 0: 1024
	StageQueue     int           // messages that wait for one actor; 0: 65536
	Backlog        int           // bytes of events that wait for one subscriber; 0: 1 MiB
	CrashLimit     int           // crashes of one actor with no success between them; 0: 100
	IdleQube       time.Duration // after which a qube's actor ends; 0: 1 min
}

// Timing is how long a call was where, queues included. What it did not come to is zero.
type Timing struct {
	Method                       string        // empty: the call named none that there is
	Read                         time.Duration // from the accepted connection to the whole request
	Sanitize, Permission, Action time.Duration // at the doors
	Reply                        time.Duration // from the answer to its last byte
	Total                        time.Duration // from the accepted connection to the last byte of the reply
}

// Clock is the time. Tests hand in a virtual one. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	// AfterFunc calls fn on a goroutine of its own after d. stop is like time.Timer's Stop.
	AfterFunc(d time.Duration, fn func()) (stop func() bool)
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }
func (systemClock) AfterFunc(d time.Duration, fn func()) func() bool {
	return time.AfterFunc(d, fn).Stop
}

func (s Settings) withDefaults() (Settings, error) {
	if s.Catalogue == nil || s.Gate == nil || s.Book == nil {
		return s, errors.New("actors: a daemon needs a Catalogue, a Gate and a Book")
	}
	if s.Worker == nil {
		s.Worker = noWork{}
	}
	if s.Peers == nil {
		s.Peers = OwnUser
	}
	if s.Clock == nil {
		s.Clock = systemClock{}
	}
	if s.IDs == nil {
		s.IDs = newID
	}
	s.MaxConnections = orDefault(s.MaxConnections, 16384)
	s.HeaderLimit = min(orDefault(s.HeaderLimit, messages.MaxHeader), messages.MaxHeader)
	s.ReadTimeout = orDefault(s.ReadTimeout, 30*time.Second)
	s.CallBudget = orDefault(s.CallBudget, time.Minute)
	s.QubeQueue = orDefault(s.QubeQueue, 1024)
	s.StageQueue = orDefault(s.StageQueue, 65536)
	s.Backlog = orDefault(s.Backlog, 1<<20)
	s.CrashLimit = orDefault(s.CrashLimit, 100)
	s.IdleQube = orDefault(s.IdleQube, time.Minute)
	return s, nil
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Daemon is a running system of actors. Its methods may be called by many goroutines.
type Daemon struct {
	settings Settings
	log      telemetry.Log
	prints   *untrusted.Key
	system   *actor.ActorSystem
	workers  *warm
	inlined  inline
	stats    counters
	health   health
	sheds    tally
	logged   bool // log lines of calls are written
	timed    bool // somebody wants to know how long calls take
	open     openCalls
	watched  *watched
	feeds    *feeds
	began    time.Time
	family   *family
	vigils   []*vigil // of the attendants

	sanitizer, permission, action, ledger, qubes *actor.PID
	listeners                                    []*socket
	remote                                       *remote // nil: none
	units                                        []*unit

	commits     sync.WaitGroup // being written
	closingDown atomic.Bool
	closing     sync.Once
	closed      error
}

// Start opens the sockets and serves calls until Close. It returns an error, and has changed nothing, if a socket cannot
// be opened.
func Start(settings Settings) (*Daemon, error) {
	settings, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	d := newDaemon(settings)
	if d.watched, err = newWatched(d); err != nil {
		return nil, err
	}
	if d.listeners, err = openSockets(settings.Sockets); err != nil {
		d.watched.close()
		return nil, err
	}
	if d.remote, err = openRemote(d, settings.Remote); err != nil {
		for _, s := range d.listeners {
			s.close()
		}
		d.watched.close()
		return nil, err
	}
	d.startDoors()
	if err = d.attend(); err != nil {
		return nil, errors.Join(err, d.abandon())
	}
	d.startPoller()
	for _, s := range d.listeners {
		d.startListener(s, func() error { return s.accept(d) })
	}
	if t := d.remote; t != nil {
		t.requests = newRequests(d, t.socket)
		d.startListener(t.socket, t.accept)
	}
	return d, nil
}

func newDaemon(settings Settings) *Daemon {
	d := &Daemon{
		settings: settings, log: telemetry.NewLog(settings.Log), prints: untrusted.NewKey(), workers: &warm{},
	}
	d.inlined = inline{d.workers}
	d.logged = d.log.Enabled(zap.InfoLevel)
	d.timed = d.logged || settings.Timed != nil
	d.health.log = d.log
	d.family = &family{d: d, units: map[string]*unit{}}
	d.feeds = newFeeds(d)
	d.began = settings.Clock.Now().Add(-1) // so that no stamp is zero
	d.open.none = make(chan struct{}, 1)
	return d
}

// startDoors starts the actors that every call passes.
func (d *Daemon) startDoors() {
	settings := d.settings
	d.system = newSystem(d)
	d.qubes = d.spawn("qubes", "qubes", d.workers, settings.StageQueue, newQubes(d))
	d.ledger = d.spawn("ledger", "ledger", d.workers, settings.StageQueue, newLedger(d))
	d.action = d.spawn("action", "action", d.inlined, settings.StageQueue, func() actor.Actor { return &action{d} })
	d.permission = d.spawn("permission", "permission", d.inlined, settings.StageQueue, func() actor.Actor { return &permission{d} })
	d.sanitizer = d.spawn("sanitizer", "sanitizer", d.inlined, settings.StageQueue, func() actor.Actor { return &sanitizer{d} })
}

// Close stops accepting, lets the calls that have arrived finish until ctx ends, and stops all actors. Connections on
// which no whole request has arrived are told and closed at once; streams of events are closed at once.
func (d *Daemon) Close(ctx context.Context) error {
	d.closing.Do(func() { d.closed = d.close(ctx) })
	return d.closed
}

// lastWords is how long the answers of calls that could not finish may take to be written.
const lastWords = time.Second

func (d *Daemon) close(ctx context.Context) error {
	d.closingDown.Store(true)
	for _, s := range d.listeners {
		s.shut()
	}
	for _, s := range d.listeners {
		select {
		case <-s.drained:
		case <-ctx.Done():
		}
		s.close()
	}
	if d.remote != nil {
		d.remote.shut()
	}
	d.watched.halt()
	d.feeds.halt()
	err := d.open.wait(ctx)
	if d.remote != nil {
		d.remote.wait(ctx)
	}
	err = errors.Join(err, d.dismiss(ctx))  // while there is all that it needs
	err = errors.Join(err, d.stop(d.units)) // after which nobody starts another actor of a qube
	err = errors.Join(err, d.stop(d.family.all()))
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	_ = d.open.wait(ctx) // whoever did not take his answer by now is the reason of the error that there is
	err = errors.Join(err, d.commitsDone(ctx))
	if d.remote != nil {
		d.remote.close()
	}
	d.watched.close()
	d.system.Shutdown()
	d.workers.close()
	return err
}

// commitsDone returns when the book is not being written to, so that it may be closed.
func (d *Daemon) commitsDone(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		d.commits.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("actors: a commit does not end")
	}
}

// abandon ends a daemon that could not start: nobody has been served.
func (d *Daemon) abandon() error {
	d.closingDown.Store(true)
	for _, s := range d.listeners {
		s.close()
	}
	if d.remote != nil {
		_ = d.remote.listener.Close()
	}
	err := errors.Join(d.stop(d.units), d.stop(d.family.all()))
	d.watched.close()
	d.system.Shutdown()
	d.workers.close()
	return err
}

// stop ends actors, and returns when they have ended.
func (d *Daemon) stop(units []*unit) (err error) {
	stopped := make([]*actor.Future, len(units))
	for i, u := range units {
		stopped[i] = d.system.Root.StopFuture(u.pid)
	}
	for i, f := range stopped {
		err = errors.Join(err, f.Wait())
		if u := units[i]; u.kind != "qube" { // whose end the family tells
			d.log.Actor(telemetry.ActorStopped, u.name, u.kind, u.parent)
		}
	}
	return err
}

// Sockets are the paths where the daemon listens.
func (d *Daemon) Sockets() map[stages.Socket]string { return d.settings.Sockets }

// Healthy reports whether every actor makes progress and the inventory can be written; if not, reason says what does not.
func (d *Daemon) Healthy() (ok bool, reason string) { return d.health.now() }

// spawn starts a supervised actor at the top. produce makes it, anew after each crash.
func (d *Daemon) spawn(name, kind string, dispatcher actor.Dispatcher, queue int, produce func() actor.Actor) *actor.PID {
	u := &unit{daemon: d, name: name, kind: kind}
	u.mailbox = newMailbox(u, queue)
	props := actor.PropsFromProducer(produce,
		actor.WithMailbox(func() actor.Mailbox { return u.mailbox }), actor.WithDispatcher(dispatcher))
	pid, err := d.system.Root.Copy().WithGuardian(u).SpawnNamed(props, name)
	if err != nil {
		panic(fmt.Sprintf("actors: two actors are named %s", name)) // at start-up, by us
	}
	u.pid = pid
	d.units = append(d.units, u)
	d.log.Actor(telemetry.ActorStarted, name, kind, "")
	return pid
}

// now is the time, if anybody wants to know it: only log lines tell how long things took.
func (d *Daemon) now() stamp {
	if !d.timed {
		return 0
	}
	return stamp(d.settings.Clock.Now().Sub(d.began))
}

// shed counts refused work, and tells the log, at most once a second for each reason.
func (d *Daemon) shed(what string) {
	d.stats.shed.Add(1)
	if n, tell := d.sheds.count(what, d.settings.Clock.Now()); tell {
		d.log.Shed(what, n)
	}
}

// send tells pid message.
func (d *Daemon) send(pid *actor.PID, message any) { d.system.Root.Send(pid, message) }

// refuse answers whoever waits for a message that no actor will handle.
func (d *Daemon) refuse(message any) {
	switch m := message.(type) { // anything else is for a request that is over, or asks for nothing
	case *call:
		if d.closingDown.Load() {
			d.send(m.request, &answer{err: errStopping})
			return
		}
		d.shed("an actor's queue is full or closed")
		d.send(m.request, &answer{err: errBusy})
	case *wanted:
		m.settle(d, errStopping)
	case *committed: // the ledger was stopped meanwhile, but what has become of the changes is known
		for _, e := range m.entries {
			e.settle(d, cmp.Or(e.err, m.err))
		}
	}
}

// isCall reports whether a message came from a client: what a door may refuse.
func isCall(message any) bool {
	_, ok := message.(*call)
	return ok
}

var errBusy = exception.New(exception.QubesException, "the daemon is too busy with this kind of call; try again")

// answerCrash tells the log of a crash, once, and then the caller of the call that was being handled.
func (d *Daemon) answerCrash(u *unit, streak int, reason, message any) {
	c, ok := reason.(*crash)
	if !ok {
		c = newCrash(reason)
	}
	id := incident("i-unknown")
	switch m := message.(type) { // deferred, whatever the log does
	case *wanted:
		defer func() { m.settle(d, exception.Internal(id)) }()
	case carrier:
		if c := m.carries(); c != nil {
			defer func() { d.send(c.request, &answer{err: exception.Internal(id)}) }()
		}
	}
	id = d.tellCrash(u.name, u.kind, streak, c, message)
}

// carrier is a message about a call.
type carrier interface{ carries() *call }

// tellCrash writes the one line that a crash gets, under a new incident id.
func (d *Daemon) tellCrash(name, kind string, streak int, c *crash, message any) incident {
	d.stats.crashes.Add(1)
	id := incident(d.settings.IDs())
	line := telemetry.Crash{
		Incident: id.Shown(), Actor: name, Kind: kind, Handling: fmt.Sprintf("%T", message), PanicType: c.panicType,
		Fingerprint: c.fingerprint(), Stack: c.stack(), Streak: streak,
	}
	switch m := message.(type) {
	case *wanted:
		line.Method = m.method()
	case carrier:
		if c := m.carries(); c != nil {
			line.Method = c.method()
		}
	}
	d.log.Crash(line)
	return id
}

// translate is the one translation of a call's error to the wire. What is not an exception gets an incident, of which the
// log is told what tell makes of the error.
func (d *Daemon) translate(err error, kind string, tell func(error) string, method string) *exception.Exception {
	return exception.Of(err, func(err error) exception.Field {
		id := incident(d.settings.IDs())
		d.stats.incidents.Add(1)
		d.log.Incident(id.Shown(), kind, kind, method, tell(err))
		return id
	})
}

// typesOf tells of an error what it is, and not what it says: a method's may quote its argument (design: 9).
func typesOf(err error) string {
	types := fmt.Sprintf("%T", err)
	for err = errors.Unwrap(err); err != nil; err = errors.Unwrap(err) {
		types += fmt.Sprintf(": %T", err)
	}
	return "an error that is no exception: " + types
}

// incident joins an exception and a line of the log.
type incident string

// Shown is the id.
func (i incident) Shown() string { return string(i) }
