package drive

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// pool is a maker of calls over TLS: each on a goroutine, since a handshake costs more than that.
type pool struct {
	d     *driver
	rec   *measure.Recorder
	most  int
	under atomic.Int64
	woken chan struct{} // the plan has other things to do

	mu      sync.Mutex // of what follows
	plan    *plan
	calls   int // that were cut
	longest time.Duration
}

func (p *pool) cut() (calls int, longest time.Duration) { return p.calls, p.longest }

func newPool(d *driver, thread int) *pool {
	return &pool{
		d: d, plan: d.newPlan(thread), rec: measure.NewRecorder(d.s.Warmup),
		most: d.most(thread), woken: make(chan struct{}, 1),
	}
}

func (p *pool) recorder() *measure.Recorder { return p.rec }
func (p *pool) inFlight() int               { return int(p.under.Load()) }
func (p *pool) close()                      {} // run has waited for all

func (p *pool) run(ctx context.Context) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	for ctx.Err() == nil {
		b, sleep := p.next()
		switch {
		case b.job != nil:
			calls.Go(func() { p.call(ctx, b) })
		case sleep < 0:
			return nil
		default:
			select {
			case <-time.After(sleep):
			case <-p.woken:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// next gives what is due, counted as begun, or how long nothing will be; less than zero: all is over.
func (p *pool) next() (begin, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.d.now()
	if b, ok := p.plan.begin(now, p.rec, p.under.Load() < int64(p.most)); ok {
		p.under.Add(1)
		return b, 0
	}
	switch due, more := p.plan.next(); {
	case more:
		return begin{}, max(0, due-now)
	case p.under.Load() == 0:
		return begin{}, -1
	default:
		return begin{}, longestSleep
	}
}

// call makes a call, and counts it.
func (p *pool) call(ctx context.Context, b begin) {
	defer p.d.crashed()
	c, k, s := b.call(), measure.Key{Method: b.call().Method}, measure.Sample{Intended: b.due}
	p.mu.Lock() // which draws belong to
	request, source := requestOf(p.d.s, c, b.job.draw)
	p.mu.Unlock()
	k.Source = source
	conn, err := p.d.dial(ctx)
	done := func() {}
	if err == nil {
		s.Connected = p.d.now()
		done = closing(ctx, conn)
		k.Outcome, k.Type, s.First, err = p.d.ask(conn, c, b.job.draw, request)
	}
	s.Done = p.d.now()
	done()                // which is no part of the call
	if ctx.Err() != nil { // the run is over, and the call was cut
		p.under.Add(-1)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.calls, p.longest = p.calls+1, max(p.longest, p.d.now()-b.due)
		return
	}
	if err != nil {
		k.Outcome = p.d.why.of(err)
	}
	p.rec.Add(k, s)
	p.mu.Lock()
	p.plan.ended(b.job, s.Done)
	p.under.Add(-1)
	p.mu.Unlock()
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// half is a connection that can be closed for writing.
type half interface {
	net.Conn
	CloseWrite() error
}

// sealed is a connection over TLS whose end is io.EOF only if the server said that it is, with close_notify: a reply that
// was cut is none. The end of a plain reply is the close alone.
type sealed struct {
	*tls.Conn
	wire  *endpoint.Wire
	plain bool
}

func (s sealed) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err == io.EOF && !s.plain && !s.wire.Ended(err) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close tells the server nothing, for which tls.Conn would wait up to 5 s if it does not read: CloseWrite has.
func (s sealed) Close() error { return s.wire.Close() }

// dial connects to the target. The deadline of what comes is set.
func (d *driver) dial(ctx context.Context) (half, error) {
	deadline := time.Now().Add(d.s.Timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var conn half
	var err error
	if d.s.Target.Socket != "" {
		conn, err = dialUnix(ctx, d.s.Target.Socket)
	} else {
		conn, err = dialTLS(ctx, d.s.Target)
	}
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}

// dialTLS connects over TLS.
func dialTLS(ctx context.Context, t scenario.Target) (half, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return nil, err
	}
	wire := &endpoint.Wire{TCPConn: raw.(*net.TCPConn)}
	conn := tls.Client(wire, t.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = wire.Close()
		return nil, err
	}
	return sealed{conn, wire, t.Plain}, nil
}

// dialUnix connects to a socket, and waits until there is room in its backlog, as loop does.
func dialUnix(ctx context.Context, path string) (half, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		switch {
		case err == nil:
			return conn.(*net.UnixConn), nil
		case !errors.Is(err, syscall.EAGAIN):
			return nil, err
		}
		pause(ctx, knocking)
	}
}

// ask sends a request and reads the whole reply.
func (d *driver) ask(conn half, c *scenario.Call, draw *scenario.Draw, request []byte) (o measure.Outcome, kind string, first time.Duration, err error) {
	_, unsent := conn.Write(request)
	if unsent == nil {
		unsent = conn.CloseWrite()
	}
	o, kind, first, err = d.read(conn, c, draw)
	if unsent != nil && (err != nil || o == measure.Empty) { // nothing was said that would explain it
		return "", "", first, unsent
	}
	return o, kind, first, err
}

// read reads a whole reply, of which it keeps no more than mostKept.
func (d *driver) read(conn io.Reader, c *scenario.Call, draw *scenario.Draw) (o measure.Outcome, kind string, first time.Duration, err error) {
	var reply []byte
	buffer := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buffer)
		if n > 0 && first == 0 {
			first = d.now()
		}
		reply = append(reply, buffer[:min(n, max(0, mostKept-len(reply)))]...)
		if err == io.EOF {
			o, kind = (&words{}).judge(c, draw, d.s.Target.Plain, reply)
			return o, kind, first, nil
		}
		if err != nil {
			return "", "", first, err
		}
	}
}

// requestOf makes the request of a call, and gives its source.
func requestOf(s *scenario.Scenario, c *scenario.Call, draw *scenario.Draw) (request []byte, source string) {
	defer c.Forget(draw)
	if s.Target.Plain {
		return c.Request.Append(nil, draw), ""
	}
	source, request = appendRequest(nil, &words{}, c, draw)
	return request, source
}
