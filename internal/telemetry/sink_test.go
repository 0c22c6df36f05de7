package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// pipe is an output that takes what is written when its reader lets it.
type pipe struct {
	open chan struct{} // closed: takes everything
	mu   sync.Mutex
	buf  bytes.Buffer
	n    int
}

func (p *pipe) Write(b []byte) (int, error) {
	<-p.open
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return p.buf.Write(b)
}

func (p *pipe) text() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// piped runs test on virtual time, with a sink that writes every 500 ms into a pipe that is open or not.
func piped(t *testing.T, open bool, limit int, test func(*Sink, *pipe)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{open: make(chan struct{})}
		if open {
			close(p.open)
		}
		test(NewSink(p, limit, 500*time.Millisecond), p)
	})
}

func write(s *Sink, line string) { _, _ = s.Write([]byte(line + "\n")) }

// dropped is what the log says of lines that were left out.
func dropped(t *testing.T, text string) (n int) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var l map[string]any
		assert.NoError(t, json.Unmarshal([]byte(line), &l))
		assert.Equal(t, []any{string(LogDropped), "WARN"}, []any{l[KeyEvent], l[KeySeverity]})
		assert.Len(t, l, 4)
		n += int(l[KeyCount].(float64))
	}
	return n
}

// TestSinkWritesInTime: a line is out within the time, and many in one piece.
func TestSinkWritesInTime(t *testing.T) {
	piped(t, true, 1<<20, func(s *Sink, p *pipe) {
		write(s, "a")
		write(s, "b")
		assert.Empty(t, p.text())
		time.Sleep(500 * time.Millisecond)
		assert.Equal(t, "a\nb\n", p.text())
		assert.Equal(t, 1, p.n)
		write(s, strings.Repeat("c", flushAt))
		assert.Len(t, p.text(), flushAt+5, "much is not kept waiting")
		s.Close()
	})
}

// TestSinkSync: all that was written before is out when it returns.
func TestSinkSync(t *testing.T) {
	piped(t, true, 1<<20, func(s *Sink, p *pipe) {
		began := time.Now()
		for n := range 3 {
			write(s, fmt.Sprint(n))
			assert.NoError(t, s.Sync())
			assert.Equal(t, "0\n1\n2\n"[:2*(n+1)], p.buf.String())
		}
		assert.Zero(t, time.Since(began))
		s.Close()
	})
}

// TestSinkClose writes what waits, and tells what was dropped, lines or not.
func TestSinkClose(t *testing.T) {
	piped(t, true, 10, func(s *Sink, p *pipe) {
		write(s, "a")
		write(s, "too long to be kept")
		s.Close()
		assert.True(t, strings.HasPrefix(p.text(), "a\n"))
		assert.Equal(t, 1, dropped(t, p.text()))
	})
	for range 20 { // what wakes the sink first is up to the runtime
		piped(t, true, 10, func(s *Sink, p *pipe) {
			s.Drop()
			s.Close()
			assert.Equal(t, 1, dropped(t, p.text()))
		})
	}
}

// TestSinkNeverBlocks those who write, although its output does; they learn later what was lost.
func TestSinkNeverBlocks(t *testing.T) {
	piped(t, false, 100, func(s *Sink, p *pipe) {
		began := time.Now()
		first := strings.Repeat("first ", 10) // whose room must not be reused before it is out
		write(s, first)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait() // now the sink is stuck in the output
		var kept []string
		for n := range 1000 {
			if line := fmt.Sprintf("line %04d", n); n < 10 {
				kept = append(kept, line)
			}
			write(s, fmt.Sprintf("line %04d", n))
		}
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
		assert.EqualValues(t, 990, s.Dropped())
		close(p.open)
		time.Sleep(5 * time.Second)
		s.Close()
		lines := strings.Split(p.text(), "\n")
		assert.Equal(t, append([]string{first}, kept...), lines[:11])
		assert.Equal(t, 990, dropped(t, p.text()))
		assert.Len(t, lines, 13, "one line tells of all that is missing")
	})
}

// TestSinkThatIsStuck holds up a crash for a second, once, and the end of the daemon for one more.
func TestSinkThatIsStuck(t *testing.T) {
	piped(t, false, 1<<20, func(s *Sink, p *pipe) {
		took := func(fn func()) time.Duration {
			began := time.Now()
			fn()
			return time.Since(began)
		}
		write(s, "a")
		assert.Equal(t, syncFor, took(func() { _ = s.Sync() }))
		assert.Zero(t, took(func() {
			for range 100 {
				write(s, "b")
				_ = s.Sync()
			}
		}))
		p.open <- struct{}{}
		synctest.Wait()
		write(s, "c")
		assert.Equal(t, syncFor, took(func() { _ = s.Sync() }), "it moved since")
		assert.Equal(t, syncFor, took(s.Close))
		close(p.open)
	})
}

// TestSinkConcurrently: many write, each one's lines stay whole and in order, and written and dropped are all.
func TestSinkConcurrently(t *testing.T) {
	p := &pipe{open: make(chan struct{})}
	close(p.open)
	s := NewSink(p, 4096, time.Millisecond)
	const writers, each = 8, 2000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				if write(s, fmt.Sprint(w, " ", n)); n%100 == 0 {
					_ = s.Sync()
				}
			}
		})
	}
	all.Wait()
	s.Close()
	text, last, written := p.buf.String(), map[int]int{}, 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			continue
		}
		var w, n int
		_, err := fmt.Sscanf(line, "%d %d\n", &w, &n)
		assert.NoError(t, err, line)
		assert.LessOrEqual(t, last[w], n)
		last[w] = n
		written++
	}
	assert.EqualValues(t, s.Dropped(), dropped(t, text))
	assert.Equal(t, writers*each, written+dropped(t, text))
}

// TestLimited: so many lines a second, and all that an operator must see.
func TestLimited(t *testing.T) {
	piped(t, true, 1<<20, func(s *Sink, p *pipe) {
		z := zap.New(Limited(zapcore.NewCore(Encoder(false), s, zap.InfoLevel), 10, s))
		for second := range 3 {
			for range 100 {
				z.Info("info")
				z.With(zap.Int(KeyCount, 1)).Info("with") // of the same budget
				z.Debug("debug")                          // which is no line at all
			}
			for range 50 {
				z.Warn("warn")
			}
			z.Error("error")
			_ = z.Sync()
			text := p.text()
			assert.Equal(t, 10*(second+1), strings.Count(text, `"info"`)+strings.Count(text, `"with"`))
			assert.Equal(t, 50*(second+1), strings.Count(text, `"warn"`))
			assert.Equal(t, second+1, strings.Count(text, `"error"`))
			assert.EqualValues(t, 190*(second+1), s.Dropped())
			time.Sleep(time.Second)
		}
		s.Close()
	})
}
