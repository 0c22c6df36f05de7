package telemetry

import (
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// Sink takes lines from many goroutines and writes them from one, so that nobody who logs waits for the disk or for
// whoever reads the pipe. Lines wait in memory up to a limit; beyond it they are dropped, counted, and the count is
// written as a line of its own. It is a zapcore.WriteSyncer.
type Sink struct {
	out     io.Writer
	limit   int
	every   time.Duration
	mu      sync.Mutex
	written sync.Cond
	full    []byte // waiting
	spare   []byte // to be reused
	taken   uint64 // bytes that came in
	done    uint64 // bytes that went out
	dropped uint64
	stuck   bool // the output did not take what a Sync waited for, and has taken nothing since
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}
}

// NewSink starts a sink that holds up to limit bytes and writes them at least every so often. Close ends it.
func NewSink(out io.Writer, limit int, every time.Duration) *Sink {
	s := &Sink{out: out, limit: limit, every: every,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	s.written.L = &s.mu
	go s.run()
	return s
}

// flushAt is how many waiting bytes are written without waiting for the time.
const flushAt = 64 << 10

// Write never blocks on the output.
func (s *Sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.full)+len(line) > s.limit {
		s.dropped++
		return len(line), nil
	}
	before := len(s.full)
	s.full = append(s.full, line...)
	s.taken += uint64(len(line))
	if before < flushAt && len(s.full) >= flushAt {
		s.kick()
	}
	return len(line), nil
}

func (s *Sink) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// syncFor is how long an output that does not take the lines is waited for.
const syncFor = time.Second

// Sync returns when all that was written before is out, or after a second. An output that is stuck is waited for once,
// and not again by each who syncs.
func (s *Sink) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	target := s.taken
	s.kick()
	if s.done >= target || s.stuck {
		return nil
	}
	timer := time.AfterFunc(syncFor, func() {
		s.mu.Lock()
		s.stuck = s.done < target
		s.mu.Unlock()
		s.written.Broadcast()
	})
	defer timer.Stop()
	for s.done < target && !s.stuck {
		s.written.Wait()
	}
	return nil
}

// Drop counts a line that somebody else left out.
func (s *Sink) Drop() {
	s.mu.Lock()
	s.dropped++
	s.mu.Unlock()
}

// Dropped is how many lines were left out so far.
func (s *Sink) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close writes what waits and ends the sink, or gives up after a second. Nothing may be written after it.
func (s *Sink) Close() {
	close(s.stop)
	select {
	case <-s.ended:
	case <-time.After(syncFor):
	}
}

func (s *Sink) run() {
	defer close(s.ended)
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	var told uint64
	for stopping := false; !stopping; {
		select {
		case <-s.wake:
		case <-tick.C:
		case <-s.stop:
			stopping = true
		}
		s.mu.Lock()
		batch, lost := s.full, s.dropped-told
		s.full, s.spare = s.spare[:0], nil
		told = s.dropped
		s.mu.Unlock()
		if lost > 0 {
			batch = append(batch, droppedLine(lost)...)
		}
		if len(batch) > 0 {
			_, _ = s.out.Write(batch) // a log that cannot be written cannot say so
		}
		s.mu.Lock()
		s.spare, s.stuck = batch, false
		s.done = s.taken - uint64(len(s.full))
		s.mu.Unlock()
		s.written.Broadcast()
	}
}

func droppedLine(n uint64) string {
	return fmt.Sprintf(`{%q:%q,%q:"WARN",%q:%q,%q:%d}`+"\n", KeyTime, time.Now().UTC().Format(time.RFC3339Nano),
		KeySeverity, KeyEvent, string(LogDropped), KeyCount, n)
}

var _ zapcore.WriteSyncer = (*Sink)(nil)
