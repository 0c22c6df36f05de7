package actors

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/stages"
)

// request is the actor of one connection: it gets the request together, sends the call to the first door, writes the one
// answer that comes back, closes, and ends. A call that streams comes back to be carried out here: see stream. It never blocks, and holds its own mailbox and call, so that a connection is
// one allocation and no goroutine.
type request struct {
	d       *Daemon
	socket  *socket
	mailbox mailbox
	conn    connection
	line    inLine // among those whose clients are waited for
	call    call
	uid     uint32
	via     *bridge // of a client over TLS; nil: the kernel says who calls
	phase   phase
	full    bool    // one connection too many, to be refused once it has been heard
	stream  *stream // of a Streams call, once it has begun

	started, answered stamp
	rest              []byte               // of the reply, that the client has not taken yet
	replied           int                  // bytes of the reply
	exception         *exception.Exception // that was sent; nil for an OK
}

// phase is how far a request is.
type phase uint8

const (
	reading   phase = iota
	working         // the call is on its way
	streaming       // events are sent as they come, until the client leaves
	replying        // the answer is there; whatever else comes is too late
)

// requests starts the request actors of one listener. One goroutine uses it.
type requests struct {
	d      *Daemon
	socket *socket
	root   *actor.RootContext
	props  *actor.Props
	next   *request // being started
}

// requestQueue is how much may wait for a request actor before it is not told again that its client is ready.
const requestQueue = 16

func isReady(message any) bool { return message == ready{} }

func newRequests(d *Daemon, s *socket) *requests {
	rs := &requests{d: d, socket: s, root: d.system.Root.Copy().WithGuardian(endRequests{d})}
	rs.props = actor.PropsFromProducer(func() actor.Actor { return rs.next },
		actor.WithMailbox(func() actor.Mailbox { return &rs.next.mailbox }), actor.WithDispatcher(d.workers))
	return rs
}

// start takes over a connection that was accepted, or that via, unless it is nil, bridges to a client. It gives the actor;
// nil if there are so many connections that this one has been answered already.
func (rs *requests) start(fd int, via *bridge) *actor.PID {
	d := rs.d
	d.stats.accepted.Add(1)
	r := &request{d: d, socket: rs.socket, conn: connection{fd: fd}, via: via, started: d.now()}
	switch n := d.open.begin(); {
	case n > d.settings.MaxConnections+courtesy:
		d.tooMany()
		_, _ = r.conn.write(errFull.AppendFrame(nil))
		via.answered()
		r.conn.close()
		d.open.end()
		return nil
	case n > d.settings.MaxConnections:
		d.tooMany()
		r.full = true
	}
	r.mailbox.limit, r.mailbox.sheds, r.mailbox.refuse = requestQueue, isReady, d.refuse
	r.call.socket = rs.socket.kind
	rs.next = r
	return rs.root.Spawn(rs.props)
}

// courtesy is how many connections beyond the limit are read before they are refused: who is interrupted while he still
// sends often does not read why.
const courtesy = 128

func (d *Daemon) tooMany() {
	d.stats.refused.Add(1)
	d.shed("too many connections")
}

var errFull = exception.New(exception.QubesException, "the daemon has too many connections; try again")

// Receive is guarded: what panics here has nobody else who could answer the client.
func (r *request) Receive(ctx actor.Context) {
	returned := false
	defer func() {
		if reason := recover(); reason != nil {
			panic(r.crashed(newCrash(reason), ctx.Message()))
		} else if !returned { // runtime.Goexit, here or in a door that runs inline
			r.crashed(newCrash(goexit{}), ctx.Message())
		}
	}()
	r.receive(ctx)
	returned = true
}

func (r *request) receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.begin(ctx)
	case ready:
		r.proceed(ctx)
	case expired:
		r.giveUp(ctx, messages.ErrSlow)
	case halted:
		r.giveUp(ctx, errStopping)
	case told:
		if r.phase == streaming {
			r.flow(ctx)
		}
	case due:
		if r.phase == streaming {
			r.tick(ctx)
		}
	case *call:
		if m.err == nil && m.authorized.Kind() == stages.Streams {
			r.beginStream(ctx)
			return
		}
		r.finish(ctx, m.reply, m.err)
	case *answer:
		r.finish(ctx, messages.Reply{}, m.err)
	}
}

// begin asks the kernel who calls, and takes what has arrived already, which is most often all.
func (r *request) begin(ctx actor.Context) {
	r.call.request = ctx.Self()
	if r.via != nil {
		r.call.peer = r.via.peer
		r.arrive(ctx)
		return
	}
	cred, err := r.conn.credentials()
	if err != nil {
		r.finish(ctx, messages.Reply{}, err)
		return
	}
	r.uid = cred.UID
	r.call.peer = r.d.settings.Peers(cred)
	r.arrive(ctx)
}

// proceed goes on with what was waited for.
func (r *request) proceed(ctx actor.Context) {
	switch {
	case r.phase == reading:
		r.arrive(ctx)
	case r.phase == streaming:
		r.proceedStream(ctx)
	case r.phase == replying && len(r.rest) > 0:
		r.write(ctx)
	}
}

// giveUp ends the waiting for the client.
func (r *request) giveUp(ctx actor.Context, err error) {
	switch {
	case r.phase == reading:
		r.finish(ctx, messages.Reply{}, err)
	case r.phase == streaming && err == errStopping:
		r.endStream(ctx, nil, r.stream.drop())
	case r.phase == replying && err != errStopping && len(r.rest) > 0:
		r.end(ctx, err)
	}
}

// arrive sends a whole request to the first door, or waits for the rest of it.
func (r *request) arrive(ctx actor.Context) {
	err := r.conn.read()
	if err == errLater {
		if err = r.d.watched.watch(r, unix.EPOLLIN|unix.EPOLLRDHUP); err == nil {
			return
		}
	}
	r.d.watched.leave(r)
	c := &r.call
	if err == nil && r.via.wasCut() {
		err = errTruncated
	}
	if err == nil {
		c.raw, err = messages.ParseRequestWithin(r.conn.take(), r.d.settings.HeaderLimit)
	}
	if err == nil && r.full {
		err = errFull
	}
	if err != nil {
		r.finish(ctx, messages.Reply{}, err)
		return
	}
	r.phase, c.arrived = working, r.d.now()
	ctx.Send(r.d.sanitizer, c)
}

// finish writes the answer, the first one that comes.
func (r *request) finish(ctx actor.Context, reply messages.Reply, err error) {
	if r.phase >= streaming {
		return
	}
	// An exception's parts may be somebody else's, and panic: till all is made, nothing has been replied.
	var e *exception.Exception
	var frame []byte
	if err != nil {
		e = r.d.translate(err, "request", typesOf, r.call.method())
		frame = e.AppendFrame(nil)
	} else {
		frame = reply.Frame()
	}
	r.reply(e, frame)
	r.write(ctx)
}

// reply settles what the client gets.
func (r *request) reply(e *exception.Exception, frame []byte) {
	r.phase, r.answered, r.exception, r.rest, r.replied = replying, r.d.now(), e, frame, len(frame)
}

// write gives the client what it takes of the reply, and ends when that is all.
func (r *request) write(ctx actor.Context) {
	var err error
	if r.rest, err = r.conn.write(r.rest); len(r.rest) > 0 && err == nil {
		if err = r.d.watched.watch(r, unix.EPOLLOUT); err == nil {
			return
		}
	}
	r.end(ctx, err)
}

// end closes the connection, tells the log, and ends the actor. err says that the client did not take the answer.
func (r *request) end(ctx actor.Context, err error) {
	r.close(err)
	ctx.Stop(ctx.Self())
}

func (r *request) close(err error) {
	r.rest = nil
	r.leaveStream()
	if r.conn.fd >= 0 {
		r.d.watched.forget(r)
		r.via.answered()
		r.conn.close()
		defer r.d.open.end() // last: who waits for the calls waits for their lines too
		r.tell(err)
	}
}

// crashed answers the client after a panic of this actor, and gives what to panic with on the way to the supervisor.
func (r *request) crashed(c *crash, message any) *crash {
	id := r.d.tellCrash("request", "request", 1, c, message)
	if r.conn.fd < 0 { // all has been said
		return c
	}
	err := error(c)
	if r.phase != replying {
		e := exception.Internal(id)
		var begun []byte // of an event
		if r.phase == streaming {
			begun = r.stream.drop()
			r.leaveStream()
		}
		r.reply(e, e.AppendFrame(begun[:len(begun):len(begun)]))
		_, err = r.conn.write(r.rest)
	}
	r.close(err)
	return c
}

// refusals are what a caller reads whose call was well but could not be served.
var refusals = map[*exception.Exception]bool{
	errBehind: true, errBusy: true, errFull: true, errQueue: true, errStuck: true, errStuckDisk: true, errStopping: true,
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
	case refusals[r.exception]:
		line.Outcome = telemetry.Refused
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
	now := r.d.now()
	t := Timing{
		Method: r.method(), Read: c.arrived.since(r.started), Sanitize: c.sanitizedAt.since(c.arrived), Permission: c.permittedAt.since(c.sanitizedAt),
		Action: c.actedAt.since(c.permittedAt), Reply: now.since(r.answered), Total: now.since(r.started),
	}
	if r.d.settings.Timed != nil {
		r.d.settings.Timed(t)
	}
	if !r.d.logged {
		return
	}
	line.Method, line.Read, line.Sanitize, line.Permission, line.Action, line.Reply, line.Total = t.Method, t.Read, t.Sanitize, t.Permission, t.Action, t.Reply, t.Total
	line.Socket, line.ReplyLen = r.socket.name, r.replied
	if r.via != nil {
		line.PeerName = r.via.name
	} else {
		line.PeerUID = &r.uid
	}
	if s := r.stream; s != nil {
		line.Events, line.ReplyLen = s.sent, line.ReplyLen+s.taken
	}
	r.nameAll(&line)
	if r.exception != nil {
		line.ErrorType, line.Incident = string(r.exception.Type()), r.exception.Incident()
	}
	r.d.log.Call(&line)
}

// method is what was called, if there is such a method.
func (r *request) method() string {
	if m := r.call.method(); m != "" {
		return m
	}
	return r.d.settings.Catalogue.Named(r.call.socket, r.call.raw)
}

// nameAll says who called what of whom, as far as the call got: what no door has accepted is a length and a fingerprint.
func (r *request) nameAll(line *telemetry.Call) {
	c := &r.call
	_, arg, _ := c.raw.Call.Cut('+')
	if line.Method == "" {
		arg = c.raw.Call
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

// openCalls counts the connections that are open. Safe for concurrent use.
type openCalls struct {
	count    atomic.Int64
	stopping atomic.Bool
	none     chan struct{} // told when none is left, once stopping
}

// begin counts a connection in, and gives how many there are then.
func (o *openCalls) begin() int { return int(o.count.Add(1)) }

func (o *openCalls) end() {
	if o.count.Add(-1) == 0 && o.stopping.Load() {
		o.signal()
	}
}

func (o *openCalls) signal() {
	select {
	case o.none <- struct{}{}:
	default:
	}
}

// wait returns when no connection is open, or ctx ends. No connection may be begun any more.
func (o *openCalls) wait(ctx context.Context) error {
	if o.stopping.Store(true); o.count.Load() == 0 {
		return nil
	}
	select {
	case <-o.none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
