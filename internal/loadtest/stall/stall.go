// Package stall is a server that stalls on schedule, and the distribution of latencies that an honest load tester has to
// find there: what a tester hides that waits for the server, it gets wrong by orders of magnitude.
package stall

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Server answers every request at once, but for the first For of each Every, in which it answers nobody. Replies that are
// due then come when that is over. The zero For never stalls.
type Server struct {
	Every, For time.Duration
	Reply      []byte

	base  time.Time
	l     net.Listener
	conns sync.WaitGroup
}

// Listen begins to serve at a unix socket.
func (s *Server) Listen(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s.l, s.base = l, time.Now()
	s.conns.Go(s.serve)
	return nil
}

// Close ends it, when those that are held are answered.
func (s *Server) Close() error {
	err := s.l.Close()
	s.conns.Wait()
	return err
}

func (s *Server) serve() {
	for {
		conn, err := s.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		s.conns.Go(func() {
			defer conn.Close()
			if _, err := io.Copy(io.Discard, conn); err != nil {
				return
			}
			time.Sleep(s.held(time.Since(s.base)))
			_, _ = conn.Write(s.Reply)
		})
	}
}

// held is how long a request waits that comes at a time.
func (s *Server) held(at time.Duration) time.Duration {
	if s.For == 0 {
		return 0
	}
	return max(0, s.For-at%s.Every)
}

// Quantile is the latency that a share q of requests stays below, if they come evenly over whole periods, and the server
// needs no time but for its stalls: a request that comes within a stall waits for the rest of it.
func (s *Server) Quantile(q float64) time.Duration {
	if s.For == 0 {
		return 0
	}
	stalled := float64(s.For) / float64(s.Every)
	if q <= 1-stalled {
		return 0
	}
	return time.Duration(float64(s.For) * (1 - (1-q)/stalled))
}
