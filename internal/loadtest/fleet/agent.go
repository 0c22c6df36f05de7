package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// Agent makes shares of loads for coordinators, one at a time. Its fields do not change while it serves.
type Agent struct {
	TLS      *tls.Config       // of a server that requires and verifies a coordinator's certificate
	Checks   scenario.Checks   // of what it is to do
	Identity scenario.Identity // towards targets over TLS
	Tell     func(text string) // of what goes on, in one line; one goroutine calls it, and nobody waits until it returns

	running sync.Mutex  // while there is a load
	lines   chan string // to be told
}

const (
	mostStrangers = 512             // connections of whoever has not proved yet who it is; more have to wait
	mostKnown     = 64              // and of coordinators; more are refused
	handshake     = 3 * time.Second // for a coordinator to prove who it is
	mostLines     = 64              // that are to be told; more are not
	lastLines     = time.Second     // for what is to be told when nobody is served any more
)

// Serve serves coordinators until ctx ends, which ends a load, too, or the listener fails. It closes the listener, and
// returns when all connections have ended, even if Tell does not return. It is to be called once.
func (a *Agent) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer l.Close()
	a.lines = make(chan string, mostLines)
	defer a.telling()()
	serving, end := context.WithCancel(ctx)
	strangers, known := make(chan struct{}, mostStrangers), make(chan struct{}, mostKnown)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM):
			time.Sleep(10 * time.Millisecond) // somebody will leave
			continue
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		strangers <- struct{}{}
		met := sync.OnceFunc(func() { <-strangers })
		all.Go(func() {
			defer met()
			if err := a.serve(serving, conn, known, met); err != nil {
				a.tell(fmt.Sprintf("%s: %s", conn.RemoteAddr(), measure.Shown(err.Error())))
			}
		})
	}
}

// telling tells what is to be told, until what it returns is called.
func (a *Agent) telling() (end func()) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		for text := range a.lines {
			a.Tell(text)
		}
	}()
	return func() {
		close(a.lines)
		select {
		case <-told:
		case <-time.After(lastLines):
		}
	}
}

// tell has a text told, unless many are already waiting for that.
func (a *Agent) tell(text string) {
	select {
	case a.lines <- text:
	default:
	}
}

// serve is the life of a connection. It calls met when whoever made it has proved to be a coordinator, and has become one of
// those that are known. Its error says why no share of a load was made, or not to its end.
func (a *Agent) serve(ctx context.Context, conn net.Conn, known chan struct{}, met func()) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	l, err := a.meet(ctx, conn)
	if err != nil {
		return fmt.Errorf("no coordinator: %w", err)
	}
	select {
	case known <- struct{}{}:
		defer func() { <-known }()
		met()
	default:
		err := fmt.Errorf("it has %d coordinators already", cap(known))
		return errors.Join(err, l.say(message{Kind: refused, Why: err.Error()}))
	}
	err = a.work(ctx, l)
	_ = l.CloseWrite() // and not all of it: what the coordinator may still be saying would take our last words along
	gone := time.AfterFunc(patience, func() { _ = conn.Close() })
	defer gone.Stop()
	_, _ = io.Copy(io.Discard, l)
	return err
}

// meet has a coordinator prove who it is.
func (a *Agent) meet(ctx context.Context, conn net.Conn) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	l := &link{Conn: tls.Server(conn, a.TLS)}
	return l, l.HandshakeContext(ctx)
}

// work makes a share of a load, and says what came of it.
func (a *Agent) work(ctx context.Context, l *link) error {
	var hearing sync.WaitGroup
	defer hearing.Wait()
	answer, err := a.run(ctx, l, &hearing)
	if answer.Kind == "" { // the coordinator has gone
		_ = l.Close()
		return err
	}
	said := l.say(answer)
	gone := time.AfterFunc(patience, func() { _ = l.Close() })
	hearing.Wait()
	gone.Stop()
	return errors.Join(err, said)
}

// run makes a share of a load. Then the next may come, before the answer is given: whoever has it may come back at once.
func (a *Agent) run(ctx context.Context, l *link, hearing *sync.WaitGroup) (answer message, err error) {
	no := func(kind kind, err error) (message, error) { return message{Kind: kind, Why: err.Error()}, err }
	if !a.running.TryLock() {
		return no(refused, errors.New("it makes another load"))
	}
	defer a.running.Unlock()
	if err := l.say(message{Kind: hello, Version: version}); err != nil {
		return message{}, err
	}
	m, err := l.hear(mostLong, assign)
	if err != nil {
		return no(refused, err)
	}
	s, err := m.Job.Scenario.Unpack(a.Checks, a.Identity)
	if err != nil {
		return no(refused, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	told := make(chan struct{})
	hearing.Go(func() { cancel(orders(l, told, cancel)) })
	prepared := false
	r, err := drive.Run(ctx, s, drive.Options{
		Part: m.Job.Part, Of: m.Job.Of,
		Ready: func() error {
			prepared = true
			if err := l.say(message{Kind: ready}); err != nil {
				return err
			}
			select {
			case <-told:
			case <-ctx.Done():
				select {
				case <-told: // and to stop, at once
				default:
					return context.Cause(ctx)
				}
			}
			err := l.say(message{Kind: begun})
			a.tell(fmt.Sprintf("%s: share %d of %d of %s", l.RemoteAddr(), m.Job.Part+1, m.Job.Of, measure.Shown(s.Name)))
			return err
		},
		Progress: func(p drive.Progress) {
			if err := l.say(message{Kind: under, Progress: &progress{p.InFlight, p.Recent, p.Counts, p.Invalid}}); err != nil {
				cancel(err)
			}
		},
	})
	switch cause := context.Cause(ctx); {
	case cause != nil && !errors.Is(cause, errStopped):
		return message{}, fmt.Errorf("the load was ended: %w", cause)
	case err != nil && !prepared:
		return no(refused, err)
	case err != nil:
		return no(failed, err)
	}
	a.tell(fmt.Sprintf("%s: %d calls were due in %.1f s", l.RemoteAddr(), r.Due, r.Took.Seconds()))
	return message{Kind: measured, Result: r}, nil
}

// errStopped says that the coordinator wants to know what ran.
var errStopped = errors.New("it was told to stop")

// orders does what a coordinator says while a load is prepared and made, until it has gone, and why.
func orders(l *link, told chan<- struct{}, cancel context.CancelCauseFunc) error {
	for once := true; ; {
		m, err := l.hear(mostShort, proceed, heard, stop)
		switch {
		case err != nil:
			return fmt.Errorf("the coordinator has gone: %w", err)
		case m.Kind == stop:
			cancel(errStopped)
		case m.Kind == proceed && once:
			close(told)
			once = false
		}
	}
}
