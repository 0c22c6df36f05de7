package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/bench/terms"
)

// listOf is a right list of dom0 and so many qubes.
func listOf(qubes int) []byte {
	b := []byte("0\x00dom0 class=AdminVM state=Running uuid=00000000-0000-0000-0000-000000000000\n")
	for i := range qubes {
		b = fmt.Appendf(b, "%s class=StandaloneVM state=Halted uuid=00000000-0000-4000-8000-%012d\n", terms.Qube(i), i)
	}
	return b
}

// An answer that does not fit the socket's buffer comes in pieces.
func TestLongListsAreReadWhole(t *testing.T) {
	const qubes = 5000
	list := listOf(qubes)
	require.Greater(t, len(list), 400_000)
	o := testOptions(serve(t, func([]byte) []byte { return list }))
	o.qubes, o.maxCalls = qubes, 50
	l, err := newLists(o)
	require.NoError(t, err)
	r, err := run(o, l)
	require.NoError(t, err)
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Equal(t, uint64(50), r.Calls)
}

func TestWrongListsAreNoticed(t *testing.T) {
	const qubes = 1000
	for name, spoil := range map[string]func([]byte) []byte{
		"a byte less":  func(b []byte) []byte { return b[:len(b)-1] },
		"a byte more":  func(b []byte) []byte { return append(b, 'x') },
		"another byte": func(b []byte) []byte { b[50_000] ^= 1; return b },
		"twice":        func(b []byte) []byte { return append(b, b...) },
		"nothing":      func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			first := true
			var mu sync.Mutex
			o := testOptions(serve(t, func([]byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				if first {
					first = false
					return listOf(qubes)
				}
				return spoil(listOf(qubes))
			}))
			o.qubes = qubes
			l, err := newLists(o)
			require.NoError(t, err)
			r, err := run(o, l)
			require.NoError(t, err)
			assert.Zero(t, r.Calls)
			assert.Positive(t, r.Wrong)
		})
	}
}

func TestCheckList(t *testing.T) {
	assert.NoError(t, checkList(listOf(3), 3))
	for _, bad := range []string{"", "2\x00PermissionDenied\x00\x00\x00", "0\x00", string(listOf(2)), string(listOf(4)), string(listOf(3)) + "x",
		strings.Replace(string(listOf(3)), " uuid=", " ", 1), strings.Replace(string(listOf(3)), "qube-00001", "qube-00002", 1)} {
		assert.Error(t, checkList([]byte(bad), 3), "%q", bad)
	}
}

func TestCheckAll(t *testing.T) {
	const right = "0\x00label default=False type=label red\nname default=False type=str qube-00007\nnetvm default=True type=vm \n"
	assert.NoError(t, checkAll([]byte(right), 7))
	for _, bad := range []string{"", "2\x00PermissionDenied\x00\x00\x00", "0\x00", right + "x", strings.Replace(right, "type=vm ", "type=vm", 1),
		strings.Replace(right, "00007", "00008", 1)} {
		assert.Error(t, checkAll([]byte(bad), 7), "%q", bad)
	}
}

// inventory answers what qvm-ls asks; from the call number wrong on, with another value.
func inventory(qubes, wrong int) func([]byte) []byte {
	var mu sync.Mutex
	calls := 0
	return func(request []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		calls++
		label := "red"
		if calls >= wrong {
			label = "blue"
		}
		if bytes.Equal(request, terms.List) {
			return listOf(qubes)
		}
		_, name, _ := bytes.Cut(bytes.TrimSuffix(request, []byte{0}), []byte(" name "))
		return fmt.Appendf(nil, "0\x00label default=False type=label %s\nname default=False type=str %s\n", label, name)
	}
}

func TestRoundsOfLsAreCounted(t *testing.T) {
	o := testOptions(serve(t, inventory(10, 1<<30)))
	o.maxCalls = 101
	r, err := ls(o)
	require.NoError(t, err)
	assert.Zero(t, r.Wrong, r.FirstWrong)
	assert.Equal(t, uint64(9), r.Calls, "the first round is checked by its form")
	assert.Equal(t, uint64(110), r.Total)
	assert.Positive(t, r.P50)
	assert.LessOrEqual(t, r.P50, r.Max)
	assert.Positive(t, r.PerSecond)
}

func TestWrongRoundsOfLsAreNoticed(t *testing.T) {
	o := testOptions(serve(t, inventory(10, 30)))
	r, err := ls(o)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), r.Wrong)
	assert.Equal(t, uint64(1), r.Calls)
	assert.Contains(t, r.FirstWrong, "blue")

	o.qubes = 11
	r, err = ls(o)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), r.Wrong)
	assert.Contains(t, r.FirstWrong, "qube-00010 is not in the answer")
}

// crier is a server of admin.Events and feature.Set. It has written every event before it answers, but to whoever does not
// read: after enough of them, that one is cut off.
type crier struct {
	tell func(i int, frames []byte) [][]byte // what subscriber i is written; nil: it is cut off

	mu    sync.Mutex
	value string
	heard []net.Conn
	made  int
}

// readingOnes is how many subscribers read.
const readingOnes = 20

// serveEvents serves on a new socket until the test ends.
func serveEvents(t *testing.T, c *crier) options {
	t.Helper()
	o := testOptions("")
	o.workers = readingOnes
	socket, l := listen(t)
	o.socket = socket
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				request, _ := io.ReadAll(conn)
				if bytes.Equal(request, terms.Events) {
					c.follow(conn)
					return
				}
				_, value, _ := bytes.Cut(request, []byte{0})
				c.set(string(value))
				_, _ = conn.Write([]byte("0\x00"))
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
		for _, conn := range c.heard {
			conn.Close()
		}
	})
	return o
}

func (c *crier) follow(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, conn)
	_, _ = conn.Write([]byte("1\x00\x00connection-established\x00\x00"))
}

func (c *crier) set(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	args := "feature\x00bench-events\x00value\x00" + value + "\x00oldvalue\x00" + c.value + "\x00\x00"
	frames := "1\x00qube-00000\x00domain-feature-pre-set:bench-events\x00" + args + "1\x00qube-00000\x00domain-feature-set:bench-events\x00" + args
	c.value = value
	c.made++
	for i, conn := range c.heard {
		told := [][]byte{[]byte(frames)}
		if c.tell != nil {
			told = c.tell(i, []byte(frames))
		}
		for _, piece := range told {
			_, _ = conn.Write(piece)
		}
		if told == nil {
			conn.Close()
		}
	}
}

// tellOf runs mode events with some changes, and gives its reports.
func tellOf(t *testing.T, o options, changes ...terms.Changes) (opened terms.Load, reports []terms.Load, last terms.Load) {
	t.Helper()
	var in, out bytes.Buffer
	for _, c := range changes {
		require.NoError(t, json.NewEncoder(&in).Encode(c))
	}
	last, err := events(o, &in, &out)
	require.NoError(t, err)
	d := json.NewDecoder(&out)
	require.NoError(t, d.Decode(&opened))
	for {
		var r terms.Load
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return opened, reports, last
		} else {
			require.NoError(t, err)
		}
		reports = append(reports, r)
	}
}

func TestEventsAreAwaitedByAll(t *testing.T) {
	c := &crier{tell: func(i int, frames []byte) [][]byte { return [][]byte{frames[:i+1], frames[i+1:]} }}
	o := serveEvents(t, c)
	opened, reports, last := tellOf(t, o, terms.Changes{Count: 5}, terms.Changes{Count: 3, Size: 1000})
	assert.Equal(t, 20, opened.Open)
	require.Len(t, reports, 2)
	assert.Equal(t, uint64(5), reports[0].Calls)
	assert.Equal(t, uint64(3), reports[1].Calls)
	assert.Positive(t, reports[0].P50)
	assert.Zero(t, last.Wrong, last.FirstWrong)
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.Equal(t, 9, c.made, "one before anybody subscribes, so that every event has an old value")
	assert.Len(t, c.value, 1000)
}

func TestWrongEventsAreNoticed(t *testing.T) {
	for name, tell := range map[string]func([]byte) [][]byte{
		"missing":   func([]byte) [][]byte { return [][]byte{} },
		"half":      func(b []byte) [][]byte { return [][]byte{b[:len(b)/2]} },
		"twice":     func(b []byte) [][]byte { return [][]byte{b, b} },
		"another":   func(b []byte) [][]byte { return [][]byte{bytes.Replace(b, []byte("set"), []byte("get"), 1)} },
		"cut off":   func([]byte) [][]byte { return nil },
		"exception": func([]byte) [][]byte { return [][]byte{[]byte("2\x00QubesException\x00\x00late\x00")} },
	} {
		t.Run(name, func(t *testing.T) {
			o := serveEvents(t, &crier{tell: func(i int, frames []byte) [][]byte {
				if i == 7 {
					return tell(frames)
				}
				return [][]byte{frames}
			}})
			o.callTimeout /= 50
			_, reports, last := tellOf(t, o, terms.Changes{Count: 2})
			assert.Equal(t, uint64(1), reports[0].Wrong, reports[0].FirstWrong)
			assert.Contains(t, reports[0].FirstWrong, "subscriber ")
			assert.Equal(t, uint64(1), last.Wrong)
		})
	}
}

// What becomes of subscribers that do not read is seen at the end: those that were cut off had a part of what all had.
func TestSilentSubscribers(t *testing.T) {
	for name, c := range map[string]struct {
		told  func(made int, frames []byte) [][]byte
		cut   int
		wrong uint64
	}{
		"all of it":      {func(_ int, b []byte) [][]byte { return [][]byte{b} }, 0, 0},
		"cut off":        {func(made int, b []byte) [][]byte { return upTo(made, b, nil) }, 3, 0},
		"told so":        {func(made int, b []byte) [][]byte { return upTo(made, b, []byte("2\x00QubesException\x00\x00late\x00")) }, 3, 0},
		"cut in a frame": {func(made int, b []byte) [][]byte { return upTo(made, b, b[:30]) }, 3, 0},
		"a gap":          {func(made int, b []byte) [][]byte { return map[bool][][]byte{true: {}, false: {b}}[made == 3] }, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			crier := &crier{}
			crier.tell = func(i int, frames []byte) [][]byte { // with crier.mu held
				if i < readingOnes {
					return [][]byte{frames}
				}
				return c.told(crier.made, frames)
			}
			o := serveEvents(t, crier)
			o.silent = 3
			_, reports, last := tellOf(t, o, terms.Changes{Count: 5})
			assert.Zero(t, reports[0].Wrong, reports[0].FirstWrong)
			assert.Equal(t, c.cut, last.Cut)
			assert.Equal(t, c.wrong, last.Wrong, last.FirstWrong)
		})
	}
}

// upTo tells of two changes, then says last words if there are any, and cuts off.
func upTo(made int, frames, words []byte) [][]byte {
	switch {
	case made <= 3: // the first was before all
		return [][]byte{frames}
	case made == 4 && words != nil:
		return [][]byte{words}
	default:
		return nil
	}
}
