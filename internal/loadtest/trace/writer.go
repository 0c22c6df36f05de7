package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Writer writes a trace. Whoever adds calls never waits for the disk: lines are kept until they are written, at the latest
// about a second later. If that fails, or as many are kept as may be, the trace ends with the lines that were written.
// Safe for concurrent use.
type Writer struct {
	out      io.Writer
	began    time.Time
	payloads bool

	mu      sync.Mutex
	pending []byte // lines that are to be written
	spare   []byte // room for lines
	calls   int    // that were added
	err     error  // that ended the trace

	full   chan struct{} // there is much to write
	failed chan struct{} // closed: err is set
	closed chan struct{} // nothing more will be added
	done   chan struct{} // and all is written
}

const (
	flushEvery  = time.Second
	flushAt     = 64 << 10 // bytes
	mostPending = 16 << 20 // bytes
)

// NewWriter begins a trace in out, which one goroutine writes to until Close. It has the header when NewWriter returns
// without an error.
func NewWriter(out io.Writer, payloads bool) (*Writer, error) {
	w := &Writer{
		out: out, began: time.Now(), payloads: payloads,
		full: make(chan struct{}, 1), failed: make(chan struct{}), closed: make(chan struct{}), done: make(chan struct{}),
	}
	if _, err := out.Write(line(Header{version, w.began.UTC().Round(0), payloads})); err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

// line is one line of a trace.
func line(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of texts and numbers it makes JSON
	}
	return append(b, '\n')
}

// Failed is closed when the trace has ended early, of which Close gives the reason.
func (w *Writer) Failed() <-chan struct{} { return w.failed }

// Close writes what is left, and gives how many calls were added. It is called once, after the last of them.
func (w *Writer) Close() (calls int, err error) {
	close(w.closed)
	<-w.done
	return w.calls, w.err
}

func (w *Writer) add(c Call) {
	b := line(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if len(w.pending)+len(b) > mostPending {
		w.fail(fmt.Errorf("%d MiB wait to be written", mostPending>>20))
		return
	}
	w.calls++
	if w.pending = append(w.pending, b...); len(w.pending) >= flushAt {
		select {
		case w.full <- struct{}{}:
		default: // it is known
		}
	}
}

// fail ends the trace. w.mu is held.
func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
		close(w.failed)
	}
}

func (w *Writer) run() {
	defer close(w.done)
	every := time.NewTicker(flushEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-w.full:
		case <-w.closed:
			w.flush()
			return
		}
		w.flush()
	}
}

// flush writes what is pending.
func (w *Writer) flush() {
	w.mu.Lock()
	lines, err := w.pending, w.err
	w.pending, w.spare = w.spare[:0], nil
	w.mu.Unlock()
	if len(lines) > 0 && err == nil {
		_, err = w.out.Write(lines)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spare = lines; err != nil {
		w.fail(err)
	}
}
