package modeltest

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"sallyport/internal/daemontest"
	"sallyport/internal/hypervisor/simulated"
	"sallyport/internal/inventory"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages/lifecycle"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// memory is a store that survives the daemon, though not this process.
type memory struct {
	revision qube.Revision
	records  map[string][]byte
}

func (m *memory) Load() (qube.Revision, iter.Seq2[inventory.Record, error], error) {
	return m.revision, func(yield func(inventory.Record, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(m.records)) {
			if !yield(inventory.Record{Key: key, Value: m.records[key]}, nil) {
				return
			}
		}
	}, nil
}

func (m *memory) Commit(base, next qube.Revision, records []inventory.Record) error {
	if base != m.revision {
		return inventory.ErrConflict
	}
	m.revision = next
	for _, r := range records {
		if r.Deleted {
			delete(m.records, r.Key)
		} else {
			m.records[r.Key] = r.Value
		}
	}
	return nil
}

func (m *memory) Close() error { return nil }

// wall is the time that everybody has. No delay is set in this test, so nobody waits for it.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }
func (wall) AfterFunc(d time.Duration, fn func()) func() bool {
	return time.AfterFunc(d, fn).Stop
}

// daemon is a whole one, but for its process: it can be stopped and started again on what it stored.
type daemon struct {
	t     require.TestingT
	store *memory
	dir   string // of its socket
	stop  func()
}

func newDaemon(t require.TestingT) *daemon {
	d := &daemon{t: t, store: &memory{records: map[string][]byte{}}, dir: daemontest.Dir(t)}
	d.start()
	return d
}

func (d *daemon) socket() string { return filepath.Join(d.dir, "s") }

// start starts it: everybody may call everything, and sees everything.
func (d *daemon) start() {
	host := simulated.New(wall{})
	book, _, err := inventory.Open(d.store, func() (*inventory.Snapshot, error) {
		return inventory.FromFile("testdata/fixture.yaml", properties.Schema{})
	},
		inventory.Options{Reactions: reactions.All(), Meter: host})
	require.NoError(d.t, err)
	host.Begin(book.View, simulated.Settings{MemoryMiB: hostMiB, CPUs: 4})
	running := daemontest.Start(d.t, d.socket(), book, lifecycle.NewWorker(host))
	d.stop = func() {
		require.NoError(d.t, running.Close(context.Background()))
	}
}

func (d *daemon) close() {
	d.stop()
	require.NoError(d.t, os.RemoveAll(d.dir))
}

// patience is how long an event is waited for.
const patience = daemontest.Patience

func (c call) request() []byte {
	return messages.FormatRequest(c.method+"+"+c.arg, c.source, c.dest, []byte(c.payload))
}

// call gives OK and the content, or an exception's type.
func (d *daemon) call(c call) string {
	frame := daemontest.Frame(d.t, d.socket(), c.request())
	if content, is := strings.CutPrefix(string(frame), "0\x00"); is {
		return ok + content
	}
	parts := strings.Split(string(frame), "\x00")
	require.GreaterOrEqual(d.t, len(parts), 5, "%v: %q", c, frame)
	require.Equal(d.t, []string{"2", ""}, []string{parts[0], parts[2]}, "%v: %q", c, frame)
	return parts[1]
}

// subscriber follows all events, and notes how far it has come if they are numbered.
type subscriber struct {
	daemon   *daemon
	numbered bool
	revision uint64 // of the last event; 0 if none had any
	conn     *net.UnixConn
	came     chan event
	ended    chan error
}

func (d *daemon) subscribe(numbered bool) *subscriber {
	s := &subscriber{daemon: d, numbered: numbered}
	s.connect()
	return s
}

// connect goes on where s was.
func (s *subscriber) connect() {
	c := call{source: "dom0", method: "admin.Events", dest: "dom0"}
	if s.numbered {
		c.arg = "from-now"
		if s.revision > 0 {
			c.arg = "from-" + strconv.FormatUint(s.revision, 10)
		}
	}
	s.conn, s.came, s.ended = daemontest.Dial(s.daemon.t, s.daemon.socket(), c.request()), make(chan event, 1<<14), make(chan error, 1)
	require.NoError(s.daemon.t, s.conn.SetDeadline(time.Time{}))
	go func(conn io.Reader, came chan<- event, ended chan<- error) {
		words := bufio.NewReader(conn)
		for {
			e, err := readEvent(words)
			if err != nil {
				ended <- err
				close(came)
				return
			}
			came <- e
		}
	}(s.conn, s.came, s.ended)
	first := s.next()
	require.Equal(s.daemon.t, "connection-established", first.name)
	require.Empty(s.daemon.t, first.subject)
}

// readEvent reads a frame (spec: wire.md 4).
func readEvent(words *bufio.Reader) (e event, err error) {
	next := func() string {
		word, failed := words.ReadString(0)
		err = cmp.Or(err, failed)
		return strings.TrimSuffix(word, "\x00")
	}
	tag := next()
	e.subject, e.name = next(), next()
	for key := next(); err == nil && key != ""; key = next() {
		e.args = append(e.args, key+"="+next())
	}
	if err == nil && tag != "1" {
		err = errors.New("no event: " + tag + " " + e.subject)
	}
	return e, err
}

// next waits for an event. The number of a numbered one is checked and taken off.
func (s *subscriber) next() event {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case e, open := <-s.came:
		if !open {
			require.NoError(s.daemon.t, <-s.ended, "the stream of events ended")
		}
		if n := len(e.args) - 1; s.numbered && n >= 0 && strings.HasPrefix(e.args[n], "revision=") {
			revision, err := strconv.ParseUint(strings.TrimPrefix(e.args[n], "revision="), 10, 64)
			require.NoError(s.daemon.t, err)
			require.True(s.daemon.t, revision > s.revision || e.name == "connection-established" && revision == s.revision,
				"%v comes after revision %d", e, s.revision)
			s.revision, e.args = revision, e.args[:n]
		}
		return e
	case <-timeout.C:
		require.Fail(s.daemon.t, "no event came")
		return event{}
	}
}

// until gives what comes before an event such as last.
func (s *subscriber) until(last event) (events []event) {
	for {
		e := s.next()
		if last.matches(e) {
			return events
		}
		events = append(events, e)
	}
}

// including gives what comes up to an event such as last.
func (s *subscriber) including(last event) (events []event) {
	for {
		e := s.next()
		events = append(events, e)
		if last.matches(e) {
			return events
		}
	}
}

func (s *subscriber) disconnect() {
	require.NoError(s.daemon.t, s.conn.Close())
	<-s.ended
}
