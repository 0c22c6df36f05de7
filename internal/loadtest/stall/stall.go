// Package stall is a server that stalls on schedule, and the distribution of latencies that an honest load tester has to
// find there: what a tester hides that waits for the server, it gets wrong by orders of magnitude.
package stall

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Schedule is when a server stalls: in the first For of each Every. The zero For is never. Between two replies there is at
// least Gap, so that it is known how fast those are answered that a stall has kept.
type Schedule struct{ Every, For, Gap time.Duration }

// Server answers every request at once, but not while it stalls. Replies that are due then come when that is over.
//
// It is one thread that takes one connection after the other, the cheapest server there can be: whoever does not send his
// whole request keeps all others waiting.
type Server struct {
	Schedule
	Takes time.Duration // what it needs for each request, after which it takes the next
	Reply []byte

	base   time.Time
	last   time.Duration // when it was to reply the last time, since base
	fd     int
	closed atomic.Bool
	served sync.WaitGroup
}

// backlog is how many connections may wait; Linux allows no more than net.core.somaxconn.
const backlog = 4096

// Listen begins to serve at a unix socket.
func (s *Server) Listen(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("%s: %w", path, err)
	}
	s.fd, s.base = fd, time.Now()
	s.served.Go(s.serve)
	return nil
}

// Close ends it, when those that wait are answered. It is called once.
func (s *Server) Close() error {
	s.closed.Store(true)
	err := unix.Shutdown(s.fd, unix.SHUT_RDWR)
	s.served.Wait()
	return err
}

func (s *Server) serve() {
	runtime.LockOSThread() // which ends with it, and what follows with the thread
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer unix.Close(s.fd)
	buffer := make([]byte, 64<<10)
	for {
		idle := time.Since(s.base)
		conn, _, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			s.answer(conn, buffer, time.Since(s.base)-idle < accepting)
		case s.closed.Load():
			return
		}
	}
}

// accepting is more than it takes to accept a connection that has waited.
const accepting = 100 * time.Microsecond

// answer answers a request. One that has waited for the server is answered a gap after the one before, though the server may
// be late, as on a busy machine: so it catches up.
func (s *Server) answer(conn int, buffer []byte, waited bool) {
	defer unix.Close(conn)
	for {
		n, err := unix.Read(conn, buffer)
		if err != nil {
			return
		}
		if n == 0 {
			break
		}
	}
	now := time.Since(s.base)
	held := s.held(now)
	if held == 0 && waited && s.Gap > 0 {
		now = 0
	}
	s.last = max(now+held, s.last+s.Gap) + s.Takes
	s.pause(s.last)
	_ = unix.Send(conn, s.Reply, unix.MSG_NOSIGNAL)
}

// waking is more than what a sleep takes too long, mostly.
const waking = 300 * time.Microsecond

// pause waits until a time since base, the last of it awake.
func (s *Server) pause(until time.Duration) {
	for d := until - time.Since(s.base); d > 0; d = until - time.Since(s.base) { // again if a signal ended it
		if d > waking {
			ts := unix.NsecToTimespec(int64(d - waking))
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		}
	}
}

// held is how long a request waits that comes at a time.
func (s Schedule) held(at time.Duration) time.Duration {
	if s.For == 0 {
		return 0
	}
	return max(0, s.For-at%s.Every)
}

// Quantile is the latency that a share q of requests stays below, if they come evenly, at a rate per second, over whole
// periods, and the server needs no time but for its stalls and gaps. A request that comes within a stall waits for the rest
// of it, and for those that came before; and so do those that come until all of them are answered.
func (s Schedule) Quantile(q, rate float64) time.Duration {
	if s.For == 0 {
		return 0
	}
	stalled := float64(s.For) / float64(s.Every) / (1 - rate*s.Gap.Seconds())
	if q <= 1-stalled {
		return 0
	}
	return time.Duration(float64(s.For) * (1 - (1-q)/stalled))
}
