package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sallyport/internal/bench/terms"
)

// memory is a server that answers feature.Get and feature.Set from a map, as a right one would.
type memory struct {
	mu     sync.Mutex
	values map[string]string
}

func newMemory(qubes int) *memory {
	m := &memory{values: map[string]string{}}
	for i := range qubes {
		m.values[terms.Qube(i)+"/"+terms.Feature] = terms.Value(i)
	}
	return m
}

func (m *memory) answer(request []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	header, payload, _ := bytes.Cut(request, []byte{0})
	f := strings.Fields(string(header))
	if len(f) != 4 {
		return []byte("2\x00ProtocolError\x00\x00fields\x00")
	}
	method, feature, _ := strings.Cut(f[0], "+")
	key := f[3] + "/" + feature
	switch method {
	case "admin.vm.feature.Get":
		if v, ok := m.values[key]; ok {
			return []byte("0\x00" + v)
		}
	case "admin.vm.feature.Set":
		m.values[key] = string(payload)
		return []byte("0\x00")
	}
	return []byte("2\x00ProtocolError\x00\x00method\x00")
}

// serve answers on a new socket until the test ends; a nil answer closes without one.
func serve(t *testing.T, answer func(request []byte) []byte) (socket string) {
	t.Helper()
	socket, l := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				request, err := io.ReadAll(conn)
				if err == nil && len(request) > 0 {
					_, _ = conn.Write(answer(request))
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return socket
}

// listen makes a new socket.
func listen(t *testing.T) (socket string, l net.Listener) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	return socket, l
}

func testOptions(socket string) options {
	return options{
		socket: socket, workers: 8, threads: 2, qubes: 10,
		duration: 10 * time.Second, maxCalls: 2000, callTimeout: 10 * time.Second,
	}
}

func TestGetsAreCountedAndTimed(t *testing.T) {
	r, err := run(testOptions(serve(t, newMemory(10).answer)), newGets("dom0", 10))
	require.NoError(t, err)
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Equal(t, uint64(2000), r.Total)
	assert.Equal(t, uint64(2000), r.Calls, "no warm-up, so all are measured")
	assert.Positive(t, r.P50)
	assert.LessOrEqual(t, r.P50, r.P99)
	assert.LessOrEqual(t, r.P99, r.P999)
	assert.LessOrEqual(t, r.P999, r.Max)
	assert.Positive(t, r.CPU)
}

func TestTimeEndsARun(t *testing.T) {
	o := testOptions(serve(t, newMemory(10).answer))
	o.maxCalls, o.warmup, o.duration = 1<<40, 20*time.Millisecond, 50*time.Millisecond
	r, err := run(o, newGets("dom0", 10))
	require.NoError(t, err)
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Positive(t, r.Calls)
	assert.Less(t, r.Calls, r.Total, "warm-up is not measured")
}

// Every way of not answering rightly is noticed, and the run ends.
func TestWrongAnswersAreNoticed(t *testing.T) {
	right := newMemory(10)
	var calls atomic.Uint64
	for name, answer := range map[string]func([]byte) []byte{
		"another value": func([]byte) []byte { return []byte("0\x00value") },
		"an exception":  func([]byte) []byte { return []byte("2\x00PermissionDenied\x00\x00no\x00") },
		"nothing":       func([]byte) []byte { return nil },
		"a byte more":   func(r []byte) []byte { return append(right.answer(r), 0) },
		"a byte less":   func(r []byte) []byte { a := right.answer(r); return a[:len(a)-1] },
		"far too much":  func([]byte) []byte { return make([]byte, 5000) },
		"one in hundred": func(r []byte) []byte {
			if calls.Add(1)%100 == 0 {
				return nil
			}
			return right.answer(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := run(testOptions(serve(t, answer)), newGets("dom0", 10))
			require.NoError(t, err)
			assert.Positive(t, r.Wrong)
			assert.NotEmpty(t, r.FirstWrong)
			assert.LessOrEqual(t, r.Wrong, uint64(2*(maxWrong+8)), "a run of wrong answers ends early")
			assert.LessOrEqual(t, r.Calls+r.Wrong, r.Total)
		})
	}
}

func TestSilenceIsMissing(t *testing.T) {
	release := make(chan struct{})
	socket := serve(t, func([]byte) []byte { <-release; return nil })
	t.Cleanup(func() { close(release) }) // before serve's own cleanup waits
	o := testOptions(socket)
	o.callTimeout, o.duration = 10*time.Millisecond, 200*time.Millisecond
	r, err := run(o, newGets("dom0", 10))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, r.Wrong, uint64(8))
	assert.Contains(t, r.FirstWrong, "no answer in")
}

func TestNobodyThere(t *testing.T) {
	o := testOptions(filepath.Join(t.TempDir(), "absent"))
	o.duration = 200 * time.Millisecond
	r, err := run(o, newGets("dom0", 10))
	require.NoError(t, err)
	assert.Positive(t, r.Wrong)
	assert.Contains(t, r.FirstWrong, "connect:")
}

func TestSetsAreReadBack(t *testing.T) {
	m := newMemory(10)
	r, err := run(testOptions(serve(t, m.answer)), newSets(10))
	require.NoError(t, err)
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Equal(t, uint64(2008), r.Total, "each worker's last write is read back")
	assert.Greater(t, len(m.values), 10+8, "writes go to several qubes")
}

// A server that acknowledges and forgets answers each write rightly: only reading back shows it.
func TestForgottenWritesAreNoticed(t *testing.T) {
	r, err := run(testOptions(serve(t, func(request []byte) []byte {
		if bytes.HasPrefix(request, []byte("admin.vm.feature.Set+")) {
			return []byte("0\x00")
		}
		return []byte("2\x00QubesFeatureNotFoundError\x00\x00none\x00")
	})), newSets(10))
	require.NoError(t, err)
	assert.Equal(t, uint64(8), r.Wrong)
	assert.Contains(t, r.FirstWrong, "reading back")
}

func TestSetsAreNeverAlike(t *testing.T) {
	s := newSets(3)
	seen := map[string]bool{}
	for id := range 4 {
		w := &worker{id: id, of: 4}
		for range 50 {
			s.next(w)
			require.False(t, seen[string(w.request)], "%q", w.request)
			seen[string(w.request)] = true
			w.calls++
		}
	}
}

// lastBegins closes begun when the last worker begins its first call: all others have then tried to connect.
type lastBegins struct {
	*gets
	begun chan struct{}
}

func (s lastBegins) next(w *worker) {
	if w.id == w.of-1 && w.calls == 0 {
		close(s.begun)
	}
	s.gets.next(w)
}

func TestAFullBacklogIsWaitedFor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	require.NoError(t, unix.Listen(fd, 1))
	file := os.NewFile(uintptr(fd), socket)
	l, err := net.FileListener(file)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, file.Close())

	o := testOptions(socket)
	o.workers, o.threads, o.maxCalls = 64, 1, 500
	s := lastBegins{newGets("dom0", 10), make(chan struct{})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		<-s.begun
		right := newMemory(10)
		for range o.maxCalls {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request, _ := io.ReadAll(conn)
			_, _ = conn.Write(right.answer(request))
			conn.Close()
		}
	}()
	r, err := run(o, s)
	require.NoError(t, err)
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Equal(t, uint64(500), r.Calls)
	assert.Positive(t, r.Retries)
	<-served
}

func TestIdleHoldsAndThenAsks(t *testing.T) {
	o := testOptions(serve(t, newMemory(10).answer))
	o.workers = 50
	hold, release := io.Pipe()
	out, in := io.Pipe()
	result := make(chan terms.Load, 1)
	go func() {
		r, err := idle(o, hold, in)
		assert.NoError(t, err)
		result <- r
	}()
	var first terms.Load
	require.NoError(t, json.NewDecoder(out).Decode(&first))
	assert.Equal(t, 50, first.Open)
	assert.Empty(t, result, "it holds until told")
	release.Close()
	r := <-result
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Equal(t, uint64(50), r.Calls)
}

func TestDroppedIdleConnectionsAreNoticed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		for range 5 {
			if conn, err := l.Accept(); err == nil {
				conn.Close()
			}
		}
		l.Close()
	}()
	hold, release := io.Pipe()
	go func() {
		<-dropped
		release.Close()
	}()
	o := testOptions(socket)
	o.workers = 5
	r, err := idle(o, hold, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, uint64(5), r.Wrong)
}

func TestALongPathIsRefused(t *testing.T) {
	_, err := run(testOptions(strings.Repeat("x", 108)), newGets("dom0", 1))
	assert.ErrorContains(t, err, "107 bytes")
}
