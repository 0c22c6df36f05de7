package actors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/stages"
)

// request is the actor of one connection: it gets the request together, sends the call to the first door, writes the one
// answer that comes back, closes, and ends. It holds its own mailbox and call, so that a connection is one allocation.
type request struct {
	d       *Daemon
	socket  *socket
	mailbox mailbox
	conn    connection
	call    call
	uid     uint32
	over    bool // answered; whatever else comes is too late

	started, answered time.Time
	frame             []byte
	exception         *exception.Exception // that was sent; nil for an OK
}

// arrived is what the goroutine reports that waited for the rest of a request; written, for a client to take a reply.
type (
	arrived struct{ err error }
	written struct{ err error }
)

// IgnoreDeadLetterLogging keeps the library from logging what is for a request that is over.
func (*arrived) IgnoreDeadLetterLogging() {}
func (*written) IgnoreDeadLetterLogging() {}

// requests starts the request actors of one listener. One goroutine uses it.
type requests struct {
	d      *Daemon
	socket *socket
	root   *actor.RootContext
	props  *actor.Props
	next   *request // being started
}

// requestQueue is more messages than a request actor is ever sent.
const requestQueue = 16

func newRequests(d *Daemon, s *socket) *requests {
	rs := &requests{d: d, socket: s, root: d.system.Root.Copy().WithGuardian(endRequests{d})}
	rs.props = actor.PropsFromProducer(func() actor.Actor { return rs.next },
		actor.WithMailbox(func() actor.Mailbox { return &rs.next.mailbox }), actor.WithDispatcher(d.workers))
	return rs
}

// start takes over a connection that was accepted.
func (rs *requests) start(fd int) {
	d := rs.d
	d.stats.accepted.Add(1)
	r := &request{d: d, socket: rs.socket, conn: connection{fd: fd}, started: d.now()}
	if !d.open.begin(d.settings.MaxConnections) {
		d.stats.refused.Add(1)
		d.shed("too many connections")
		_, _ = r.conn.write(errFull.AppendFrame(nil))
		r.conn.close()
		return
	}
	r.mailbox.limit, r.mailbox.refuse = requestQueue, d.refuse
	r.call.socket, r.call.conn = rs.socket.kind, &r.conn
	rs.next = r
	rs.root.Spawn(rs.props)
}

var errFull = exception.New(exception.QubesException, "the daemon has too many connections; try again")

// Receive is guarded: what panics here has nobody else who could answer the client.
func (r *request) Receive(ctx actor.Context) {
	defer func() {
		if reason := recover(); reason != nil {
			panic(r.crashed(newCrash(reason), ctx.Message()))
		}
	}()
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.call.request = ctx.Self()
		r.begin(ctx)
	case *arrived:
		if r.d.open.leave(r) && errors.Is(m.err, messages.ErrSlow) {
			m.err = errStopping
		}
		r.arrive(ctx, m.err)
	case *call:
		r.finish(ctx, m.reply, m.err)
	case *answer:
		r.finish(ctx, messages.Reply{}, m.err)
	case *written:
		r.d.open.leave(r)
		r.end(ctx, m.err)
	}
}

// begin asks the kernel who calls, and takes what has arrived already, which is most often all.
func (r *request) begin(ctx actor.Context) {
	cred, err := r.conn.credentials()
	if err != nil {
		r.finish(ctx, messages.Reply{}, err)
		return
	}
	r.uid = cred.UID
	r.call.peer = r.d.settings.Peers(cred)
	r.arrive(ctx, r.conn.read())
}

// arrive sends a whole request to the first door, or waits for the rest of it elsewhere.
func (r *request) arrive(ctx actor.Context, err error) {
	c := &r.call
	switch {
	case errors.Is(err, errLater):
		r.waitFor(ctx, func() any { return &arrived{r.conn.readOn(r.d.settings.ReadTimeout)} })
	case errors.Is(err, messages.ErrTooLarge):
		r.waitFor(ctx, func() any { r.conn.drain(r.d.settings.ReadTimeout); return &arrived{errDrained} })
	case errors.Is(err, errDrained):
		r.finish(ctx, messages.Reply{}, messages.ErrTooLarge)
	case err != nil:
		r.finish(ctx, messages.Reply{}, err)
	default:
		c.arrived = r.d.now()
		if c.raw, err = messages.ParseRequestWithin(r.conn.take(), r.d.settings.HeaderLimit); err != nil {
			r.finish(ctx, messages.Reply{}, err)
			return
		}
		ctx.Send(r.d.sanitizer, c)
	}
}

// errDrained says that a request that was too large has been read to its end.
var errDrained = errors.New("drained")

// waitFor has wait called on a goroutine of its own, which tells what it reports.
func (r *request) waitFor(ctx actor.Context, wait func() any) {
	r.conn.poll()
	if !r.d.open.enter(r) {
		r.finish(ctx, messages.Reply{}, errStopping)
		return
	}
	self := ctx.Self()
	go func() { r.d.send(self, wait()) }()
}

// finish writes the answer, the first one that comes.
func (r *request) finish(ctx actor.Context, reply messages.Reply, err error) {
	if r.over {
		return
	}
	r.over, r.answered = true, r.d.now()
	if errors.Is(err, errGone) {
		r.end(ctx, errGone)
		return
	}
	if err != nil {
		r.exception = r.d.translate(err, "request", &r.call)
		r.frame = r.exception.AppendFrame(nil)
	} else {
		r.frame = reply.AppendFrame(make([]byte, 0, len(reply.Body)+2))
	}
	rest, err := r.conn.write(r.frame)
	if len(rest) == 0 {
		r.end(ctx, err)
		return
	}
	r.waitFor(ctx, func() any { return &written{r.conn.writeOn(rest, r.d.settings.ReadTimeout)} })
}

// end closes the connection, tells the log, and ends the actor. err says that the client did not take the answer.
func (r *request) end(ctx actor.Context, err error) {
	r.close()
	r.tell(err)
	ctx.Stop(ctx.Self())
}

func (r *request) close() {
	if r.conn.fd >= 0 {
		r.conn.close()
		r.d.open.end()
	}
}

// crashed answers the client after a panic of this actor, and gives what to panic with on the way to the supervisor.
func (r *request) crashed(c *crash, message any) *crash {
	if r.conn.fd < 0 {
		return c
	}
	id := r.d.tellCrash("request", "request", 1, c, message)
	if !r.over {
		r.over, r.exception = true, exception.Internal(id)
		_, _ = r.conn.write(r.exception.AppendFrame(nil))
	}
	r.close()
	return c
}

// endRequests is the strategy of request actors: one that crashed has answered and closed, and so is over.
type endRequests struct{ d *Daemon }

// HandleFailure is part of actor.SupervisorStrategy.
func (endRequests) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	supervisor.StopChildren(child)
}

// tell counts the call and writes its line.
func (r *request) tell(err error) {
	c := &r.call
	line := telemetry.Call{Event: telemetry.RequestDone, Outcome: telemetry.OK}
	switch {
	case err != nil:
		line.Outcome = telemetry.Gone
		r.d.stats.gone.Add(1)
	case r.exception == nil:
		r.d.stats.ok.Add(1)
	case r.exception.Type() == exception.PermissionDenied:
		line.Event, line.Outcome = telemetry.RequestDenied, telemetry.Denied
		r.d.stats.denied.Add(1)
	case r.exception.Incident() != "":
		line.Outcome = telemetry.InIncident
		r.d.stats.exceptions.Add(1)
	case c.sanitized.Entry() == nil:
		line.Outcome = telemetry.Malformed
		r.d.stats.malformed.Add(1)
	default:
		line.Outcome = telemetry.Exception
		r.d.stats.exceptions.Add(1)
	}
	if !r.d.timed {
		return
	}
	line.Socket, line.PeerUID, line.ReplyLen = r.socket.name, r.uid, len(r.frame)
	r.nameAll(&line)
	if r.exception != nil {
		line.ErrorType, line.Incident = string(r.exception.Type()), r.exception.Incident()
	}
	now := r.d.now()
	line.Read = since(r.started, c.arrived)
	line.Sanitize = since(c.arrived, c.sanitizedAt)
	line.Permission = since(c.sanitizedAt, c.permittedAt)
	line.Action = since(c.permittedAt, c.actedAt)
	line.Reply = since(r.answered, now)
	line.Total = since(r.started, now)
	r.d.log.Call(&line)
}

// nameAll says who called what of whom, as far as the call got: what no door has accepted is a length and a fingerprint.
func (r *request) nameAll(line *telemetry.Call) {
	c := &r.call
	_, arg, _ := c.raw.Call.Cut('+')
	if line.Method = c.method(); line.Method == "" {
		if line.Method = r.d.settings.Catalogue.Named(c.socket, c.raw); line.Method == "" {
			arg = c.raw.Call
		}
	}
	if arg.Len() > 0 {
		line.ArgLen, line.ArgPrint = arg.Len(), r.d.prints.Fingerprint(arg)
	}
	if c.raw.Payload.Len() > 0 {
		line.PayLen, line.PayPrint = c.raw.Payload.Len(), r.d.prints.Fingerprint(c.raw.Payload)
	}
	line.Source, line.Dest = c.authorized.Source().Shown(), c.authorized.Dest().Shown()
	var refused *stages.Refusal
	if errors.As(c.err, &refused) {
		line.Source = refused.Source.Shown()
	}
	if line.Dest == "" && c.raw.Dest.Len() > 0 {
		line.DestLen, line.DestPrint = c.raw.Dest.Len(), r.d.prints.Fingerprint(c.raw.Dest)
	}
}

// since is the time from a to b, if both are known.
func since(a, b time.Time) time.Duration {
	if a.IsZero() || b.IsZero() {
		return 0
	}
	return b.Sub(a)
}

// openCalls is the connections that are open, and which of them somebody waits for. Safe for concurrent use.
type openCalls struct {
	count    atomic.Int64
	mu       sync.Mutex
	slow     map[*request]struct{}
	stopping bool
	none     chan struct{} // closed when none is left, once stopping
}

// begin counts a connection in, unless there are limit already.
func (o *openCalls) begin(limit int) bool {
	if o.count.Add(1) <= int64(limit) {
		return true
	}
	o.end()
	return false
}

func (o *openCalls) end() {
	if o.count.Add(-1) > 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.signal()
}

// signal is called with mu held.
func (o *openCalls) signal() {
	if !o.stopping || o.count.Load() > 0 {
		return
	}
	select {
	case <-o.none:
	default:
		close(o.none)
	}
}

// enter notes that somebody is going to wait for r's client; leave, that he is back. Nobody may begin to wait for a
// request once the daemon is stopping.
func (o *openCalls) enter(r *request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopping && !r.over {
		return false
	}
	if o.slow == nil {
		o.slow = map[*request]struct{}{}
	}
	o.slow[r] = struct{}{}
	return true
}

func (o *openCalls) leave(r *request) (stopping bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.slow, r)
	return o.stopping
}

// stop interrupts the waiting for requests that have not arrived.
func (o *openCalls) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopping, o.none = true, make(chan struct{})
	for r := range o.slow {
		if !r.over {
			r.conn.interrupt()
		}
	}
	o.signal()
}

// wait returns when no connection is open, or ctx ends; then it interrupts what is left.
func (o *openCalls) wait(ctx context.Context) error {
	select {
	case <-o.none:
		return nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for r := range o.slow {
		r.conn.interrupt()
	}
	return ctx.Err()
}
