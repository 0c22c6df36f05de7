package twoworlds

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/actors"
	"sallyport/internal/daemontest"
	"sallyport/internal/hypervisor"
	"sallyport/internal/hypervisor/simulated"
	"sallyport/internal/inventory"
	"sallyport/internal/judge"
	"sallyport/internal/policy"
	"sallyport/internal/policyfiles"
	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/permission"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the source may do, as policies say it. Both hide the same from it: what is called ghost, and what belongs to the
// system and does not come with every one.
const (
	// byName denies what it names, so that policy would allow what is absent.
	byName = hidesSystem + hidesGhost + allowsRest
	// byTag names nobody that is hidden, and allows what has a tag.
	byTag = hidesSystem + `
* * mgmt @adminvm            allow target=dom0
* * mgmt @tag:shown          allow target=dom0
* * mgmt @tag:created-by-mgmt allow target=dom0
`
	hidesSystem = `
admin.label.List       *             mgmt @adminvm deny
admin.pool.List        *             mgmt @adminvm deny
admin.pool.volume.List +linux-kernel mgmt @adminvm deny
`
	hidesGhost = "* * mgmt ghost deny\n"
	allowsRest = "* * mgmt @adminvm allow target=dom0\n* * mgmt @anyvm allow target=dom0\n"
)

// obeying is the daemon's own judge, with that policy.
func obeying(rules string) *judge.Judge {
	j := judge.New()
	j.Use(must(policy.Parse("the policy", rules)))
	return j
}

// memory is a store that forgets, and that writes only while it is open.
type memory struct {
	revision qube.Revision
	open     sync.RWMutex
	writing  atomic.Int32
}

// waits reports whether something is to be written.
func (m *memory) waits() bool { return m.writing.Load() > 0 }

func (m *memory) Load() (qube.Revision, iter.Seq2[inventory.Record, error], error) {
	return m.revision, func(func(inventory.Record, error) bool) {}, nil
}
func (m *memory) Commit(_, next qube.Revision, _ []inventory.Record) error {
	m.writing.Add(1)
	defer m.writing.Add(-1)
	m.open.RLock()
	defer m.open.RUnlock()
	m.revision = next
	return nil
}
func (m *memory) Close() error { return nil }

// wall is a clock that always shows the same, so that what began at some time began at the same time in all worlds.
type wall struct{}

func (wall) Now() time.Time { return time.Unix(1e9, 0) }
func (wall) AfterFunc(d time.Duration, fn func()) func() bool {
	return time.AfterFunc(d, fn).Stop
}

// world is a whole daemon, but for its process.
type world struct {
	t     testing.TB
	dir   string
	store memory
	book  *inventory.Inventory
	log   lines
	stop  func()
}

// lines is a log, kept.
type lines struct {
	mu   sync.Mutex
	kept []map[string]any
}

func (l *lines) Write(line []byte) (int, error) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, fields)
	return len(line), nil
}

func (l *lines) Sync() error { return nil }

// told are the lines so far that are about calls of a source, or of nobody that is known, without ids, times and
// fingerprints.
func (l *lines) told(source string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, fields := range l.kept {
		event, who := fields[telemetry.KeyEvent], fields[telemetry.KeySource]
		if event != string(telemetry.RequestDone) && event != string(telemetry.RequestDenied) || who != nil && who != source {
			continue
		}
		var kept []string
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			if key != telemetry.KeyTime && key != telemetry.KeyIncident && !strings.HasSuffix(key, "_us") && !strings.HasSuffix(key, ".fingerprint") {
				kept = append(kept, fmt.Sprintf("%s=%v", key, fields[key]))
			}
		}
		all = append(all, strings.Join(kept, " "))
	}
	return all
}

type options struct {
	inventory string        // YAML
	reaction  qube.Reaction // beside those of a system
	judge     stages.Judge
	quiet     bool // no log
	forgets   bool // a log that nobody keeps
}

func begin(t testing.TB, o options) *world {
	dir := daemontest.Dir(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "inventory.yaml")
	require.NoError(t, os.WriteFile(file, []byte(o.inventory), 0o600))
	w := &world{t: t, dir: dir}

	host, made := simulated.New(wall{}), 0
	var err error
	w.book, _, err = inventory.Open(&w.store, func() (*inventory.Snapshot, error) { return inventory.FromFile(file, properties.Schema{}) },
		inventory.Options{
			Reactions: append(reactions.All(), o.reaction), Meter: host,
			NewUUID: func() qube.UUID {
				made++
				return must(qube.ParseUUID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", made)))
			},
			Random: func(int) int { made++; return made },
		})
	require.NoError(t, err)
	as := w.book.Snapshot().Simulation()
	host.Begin(w.book.View, simulated.Settings{MemoryMiB: int(as.MemoryMiB), CPUs: as.CPUs, StartOrder: as.StartOrder})
	logger := zap.New(zapcore.NewCore(telemetry.Encoder(false), &w.log, zapcore.InfoLevel))
	switch {
	case o.quiet:
		logger = nil
	case o.forgets:
		logger = zap.New(zapcore.NewCore(telemetry.Encoder(false), zapcore.AddSync(io.Discard), zapcore.InfoLevel))
	}
	power := lifecycle.NewWorker(host)
	running := daemontest.Start(t, w.socket(), w.book, power, func(s *actors.Settings) {
		s.Gate = stages.NewGate(o.judge, permission.AdminExtension...)
		s.Worker = hypervisor.Crew{Power: power, Policy: policyfiles.New(policy.Sources{Dirs: []string{policyDir(t)}})}
		s.Log = logger
	})
	var once sync.Once
	w.stop = func() { once.Do(func() { require.NoError(t, running.Close(context.Background())) }) }
	t.Cleanup(w.stop)
	return w
}

// policyDir is a directory of policy files for the calls that are about them.
func policyDir(t testing.TB) string {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "include"), 0o755))
	for _, name := range []string{"30-user.policy", "include/mine"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("# empty\n"), 0o644))
	}
	return dir
}

func (w *world) socket() string { return filepath.Join(w.dir, "s") }

// patience is far more than anything here takes.
const patience = daemontest.Patience

// request is one call.
type request struct{ source, method, dest, payload string }

func (w *world) dial(r request) *net.UnixConn {
	return daemontest.Dial(w.t, w.socket(), messages.FormatRequest(r.method, r.source, r.dest, []byte(r.payload)))
}

// call gives the frame of the reply; of a stream, only how it begins.
func (w *world) call(r request) string {
	conn := w.dial(r)
	defer conn.Close()
	words, whole := bufio.NewReader(conn), ""
	for {
		word, err := words.ReadString(0)
		whole += word
		switch {
		case strings.HasPrefix(whole, "1\x00") && strings.Count(whole, "\x00") >= 4:
			return whole
		case err == io.EOF:
			return whole
		}
		require.NoError(w.t, err, "%+v", r)
	}
}

// dom0 has to succeed.
func (w *world) dom0(method, dest, payload string) string {
	frame := w.call(request{"dom0", method, dest, payload})
	require.True(w.t, strings.HasPrefix(frame, "0\x00"), "%s of %s with %q: %q", method, dest, payload, frame)
	return strings.TrimPrefix(frame, "0\x00")
}

// logged waits until so many calls of the source have their lines, and gives them.
func (w *world) logged(source string, calls int) []string {
	told := w.log.told(source)
	if len(told) < calls {
		require.Eventually(w.t, func() bool { told = w.log.told(source); return len(told) >= calls }, patience, time.Millisecond)
	}
	return told
}

// subscriber follows the events that a source may see.
type subscriber struct {
	w     *world
	conn  *net.UnixConn
	words *bufio.Reader
	marks int
}

func (w *world) subscribe(source string) *subscriber {
	s := &subscriber{w: w, conn: w.dial(request{source, "admin.Events", "dom0", ""})}
	s.words = bufio.NewReader(s.conn)
	require.Contains(w.t, s.frame(), "connection-established")
	w.t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// frame reads one event (spec: wire.md 4).
func (s *subscriber) frame() string {
	require.NoError(s.w.t, s.conn.SetDeadline(time.Now().Add(patience)))
	var err error
	next := func() string {
		word, failed := s.words.ReadString(0)
		err = cmp.Or(err, failed)
		return strings.TrimSuffix(word, "\x00")
	}
	frame := next() + " " + next() + " " + next()
	for key := next(); err == nil && key != ""; key = next() {
		frame += " " + key + "=" + next()
	}
	require.NoError(s.w.t, err, "the stream of events ended: %s", frame)
	return frame
}

// sinceLast are the events since it was asked the last time. marked is a qube that the source sees.
func (s *subscriber) sinceLast(marked string) (events []string) {
	s.marks++
	mark := fmt.Sprintf("mark%d", s.marks)
	s.w.dom0("admin.vm.tag.Set+"+mark, marked, "")
	for {
		e := s.frame()
		if strings.Contains(e, " domain-tag-add:"+mark+" ") {
			return events
		}
		events = append(events, e)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
