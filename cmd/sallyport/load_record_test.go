package main

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/trace"
	"sallyport/messages"
)

// tape is a recording of what clients say to a daemon.
type tape struct {
	*far
	file string
}

// recording begins one, of the daemon at socket.
func recording(t *testing.T, daemon string, payloads bool) *tape {
	file := filepath.Join(t.TempDir(), "trace")
	f, err := createTrace(file)
	require.NoError(t, err)
	return &tape{recordingTo(t, daemon, f, payloads), file}
}

func recordingTo(t *testing.T, daemon string, file *os.File, payloads bool) *far {
	f := &far{t: t, socket: filepath.Join(shortDir(t), "socket"), said: &lockedBuffer{}, ended: make(chan error, 1)}
	l, err := listenAt(f.socket)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	f.stop = stop
	go func() { f.ended <- record(ctx, l, daemon, file, payloads, f.said) }()
	return f
}

// shortDir is a directory in which sockets can be.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "record")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// calls ends the recording, and gives what it has, by when it began.
func (p *tape) calls() (all []trace.Call) {
	p.stop()
	require.NoError(p.t, <-p.ended)
	f, err := os.Open(p.file)
	require.NoError(p.t, err)
	defer f.Close()
	r, err := trace.NewReader(f, p.file)
	require.NoError(p.t, err)
	for {
		c, err := r.Next()
		if err == io.EOF {
			slices.SortFunc(all, func(a, b trace.Call) int { return cmp.Compare(a.AtUS, b.AtUS) })
			return all
		}
		require.NoError(p.t, err)
		all = append(all, c)
	}
}

// outcomes ends the recording, and gives how its calls ended, in any order.
func (p *tape) outcomes() (all []string) {
	for _, c := range p.calls() {
		all = append(all, strings.TrimSpace(string(c.Outcome)+" "+c.Exception))
	}
	slices.Sort(all)
	return all
}

// near is a daemon that treats each connection as serve does, and its socket.
func near(t *testing.T, serve func(*net.UnixConn)) (socket string) {
	others := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, others) }) // last of all
	socket = filepath.Join(shortDir(t), "daemon")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return socket
}

// echo answers with the request.
func echo(c *net.UnixConn) {
	request, _ := io.ReadAll(c)
	_, _ = io.WriteString(c, "0\x00"+string(request))
}

// TestRecordingChangesNothing: of a daemon that is a process of its own, a recorded client gets what others get; what it
// asked is in the trace, and a replay asks it again.
func TestRecordingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	system := filepath.Join(dir, "system.yaml")
	require.NoError(t, os.WriteFile(system, []byte("version: 1\nqubes: [{name: tpl, class: TemplateVM, label: black}, {name: work, class: StandaloneVM, label: blue, tags: [office]}]\n"), 0o600))
	d, err := startDaemon(buildDaemon(t), dir, system)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.stop()) })
	p := recording(t, d.socket, true)

	var requests []string
	for _, c := range [][3]string{ // of qvm-ls, qvm-tags, qvm-features, qvm-prefs, and of nobody
		{"admin.vm.List+", "dom0"}, {"admin.vm.CurrentState+", "work"}, {"admin.vm.property.GetAll+", "work"},
		{"admin.vm.tag.List+", "work"}, {"admin.vm.tag.Get+home", "work"},
		{"admin.vm.feature.Get+gui", "work"}, {"admin.vm.property.Get+label", "work"}, {"admin.vm.property.Get+none", "work"},
		{"admin.vm.Start+", "nosuch"}, {"admin.nosuch+", "dom0"}, {"admin.vm.feature.Set+gui", "work", "1"}, {"admin.vm.feature.Get+gui", "work"},
	} {
		request := string(messages.FormatRequest(c[0], "dom0", c[1], []byte(c[2])))
		requests = append(requests, request)
		recorded := p.ask(request)
		direct, err := Call(t.Context(), d.socket, []byte(request))
		require.NoError(t, err)
		assert.Equal(t, string(direct), recorded, "%q", request)
	}
	large := strings.Repeat("x", messages.MaxRequest+1)
	assert.Equal(t, p.ask(large), (&far{t: t, socket: d.socket}).ask(large))
	broken := p.dial()
	_, _ = io.WriteString(broken, "admin.vm.Li")
	_ = broken.Close()
	events, err := followEvents(p.socket, "work")
	require.NoError(t, err)
	require.NoError(t, events.wait("- connection-established"))
	events.stop()
	requests = append(requests, "admin.Events+ dom0 name work\x00")

	var kinds []string
	for _, c := range p.calls() {
		kinds = append(kinds, strings.TrimSpace(c.Method+"+"+c.Arg+" "+string(c.Outcome)+" "+c.Exception))
	}
	assert.Contains(t, kinds, "admin.vm.property.Get+none exception QubesNoSuchPropertyError")
	assert.Contains(t, kinds, "admin.Events+ events")
	assert.Len(t, kinds, len(requests)+2)
	for i := range requests {
		requests[i] = strings.Replace(requests[i], "+ ", " ", 1) // which is the same (spec: wire.md 2)
	}
	slices.Sort(requests)

	// The replay's daemon keeps what it is asked, and ends no stream.
	asked := make(chan string, 100)
	again := near(t, func(c *net.UnixConn) {
		request, _ := io.ReadAll(c)
		asked <- string(request)
		if bytes.HasPrefix(request, []byte("admin.Events")) {
			_ = endpoint.Left(c)
			return
		}
		_, _ = io.WriteString(c, "0\x00")
	})
	stdout, code := replay(t, "--socket", again, "--speed", "2", p.file)
	assert.Zero(t, code, stdout)
	var got []string
	for range requests {
		got = append(got, <-asked)
	}
	slices.Sort(got)
	assert.Equal(t, requests, got)
	assert.Contains(t, stdout, "note: skipped, since they are no calls: 2\n")
	assert.Regexp(t, `(?m)^ *all +12 +0 `, stdout)

	// What the recording got is not what this daemon says.
	stdout, code = replay(t, "--socket", again, "--speed", "1000", "--check", "--threshold", "errors < 1%", p.file)
	assert.Equal(t, exitMissed, code, stdout)
	assert.Regexp(t, `(?m)^ *outcome unexpected +4 +4 `, stdout)
}

// replay does "sallyport load replay", however late the tool is.
func replay(t *testing.T, args ...string) (stdout string, code int) {
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	defer out.Close()
	code = run(append([]string{"load", "replay", "--max-lag", "5m"}, args...), os.Getenv, os.Stdin, out, out)
	b, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	return string(b), code
}

// A trace is for its user alone, has no byte of a payload or of what is no call, and replaces no other.
func TestRecordKeepsPayloadsOut(t *testing.T) {
	const marker = "c2VjcmV0 marker"
	for _, payloads := range []bool{false, true} {
		p := recording(t, near(t, echo), payloads)
		for _, request := range []string{"m dom0 name work\x00" + marker, "m dom0 keyword " + marker + "\x00", marker} {
			assert.Equal(t, "0\x00"+request, p.ask(request))
		}
		c := p.dial() // in pieces
		for _, piece := range []string{"m dom0 name wo", "rk\x00" + marker, strings.Repeat(marker, 1000)} {
			_, _ = io.WriteString(c, piece)
		}
		_ = c.CloseWrite()
		_, _ = io.ReadAll(c)
		assert.Len(t, p.calls(), 4)
		b, err := os.ReadFile(p.file)
		require.NoError(t, err)
		for _, form := range []string{marker, "marker", "c2VjcmV0"} {
			assert.NotContains(t, string(b), form)
		}
		assert.Equal(t, payloads, bytes.Contains(b, []byte(`"payload":`)))
		info, err := os.Stat(p.file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode())
		_, err = createTrace(p.file)
		assert.ErrorIs(t, err, os.ErrExist)
	}
}

// What goes either way arrives as it is, large or small, and so does the end of a request.
func TestRecordPassesOnRequestsAndReplies(t *testing.T) {
	large := strings.Repeat("large ", 1<<18)
	p := recording(t, near(t, echo), false)
	for _, request := range []string{"", "x", "method dom0 name work\x00payload", large} {
		assert.Equal(t, "0\x00"+request, p.ask(request))
	}
	calls := p.calls()
	assert.Equal(t, []int64{0, 1, 7, int64(len(large))}, []int64{calls[0].Bytes, calls[1].Bytes, calls[2].Bytes, calls[3].Bytes})
	assert.Equal(t, "method", calls[2].Method)
	assert.True(t, calls[3].Unreadable)
}

// A daemon may answer before it has read all of a request: the client gets to read the answer.
func TestRecordPassesOnEarlyAnswers(t *testing.T) {
	p := recording(t, near(t, func(c *net.UnixConn) {
		_, _ = io.ReadFull(c, make([]byte, 10))
		_, _ = io.WriteString(c, "2\x00ProtocolError\x00\x00too large\x00")
	}), false)
	want := []string(nil)
	for _, size := range slices.Repeat([]int{100 << 10, 1 << 20}, 20) { // one fits into the sockets, the other does not
		c := p.dial()
		_, _ = c.Write(bytes.Repeat([]byte("x"), size))
		b, err := io.ReadAll(c)
		assert.NoError(t, err)
		assert.Equal(t, "2\x00ProtocolError\x00\x00too large\x00", string(b))
		want = append(want, "exception ProtocolError")
		for err == nil { // until it is told that nobody listens
			_, err = c.Write([]byte("x"))
		}
		assert.ErrorIs(t, err, syscall.EPIPE)
	}
	assert.Equal(t, want, p.outcomes())
}

// A daemon that has said all, and no more than that, is still told what the client says.
func TestRecordKeepsHalfCloses(t *testing.T) {
	rest := make(chan string, 1)
	p := recording(t, near(t, func(c *net.UnixConn) {
		_, _ = io.WriteString(c, "0\x00first")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		rest <- string(b)
	}), false)
	c := p.dial()
	b, err := io.ReadAll(c)
	assert.NoError(t, err)
	assert.Equal(t, "0\x00first", string(b))
	_, err = io.WriteString(c, "m dom0 name work\x00then")
	assert.NoError(t, err)
	assert.NoError(t, c.CloseWrite())
	assert.Equal(t, "m dom0 name work\x00then", <-rest)
	assert.Equal(t, []string{"ok"}, p.outcomes())
}

// streams sends what comes on next until the client leaves; then it tells left.
func streams(next chan string, left chan bool) func(*net.UnixConn) {
	return func(c *net.UnixConn) {
		_, _ = io.ReadAll(c)
		gone := make(chan bool)
		go func() { gone <- endpoint.Left(c) == nil }()
		for {
			select {
			case event := <-next:
				_, _ = io.WriteString(c, event)
			case is := <-gone:
				left <- is
				return
			}
		}
	}
}

// Each event is there when it happens. A client that leaves its stream, or does not wait for its reply, leaves the daemon.
func TestRecordPassesOnEventsAndLeaves(t *testing.T) {
	next, left := make(chan string), make(chan bool)
	p := recording(t, near(t, streams(next, left)), false)
	c := p.dial()
	_, _ = io.WriteString(c, "admin.Events dom0 name dom0\x00")
	_ = c.CloseWrite()
	p.reads(c, next)
	assert.NoError(t, c.Close())
	assert.True(t, <-left)

	c = p.dial()
	_, _ = io.WriteString(c, "admin.vm.Start dom0 name work\x00")
	assert.NoError(t, c.Close())
	assert.True(t, <-left)
	assert.Equal(t, []string{"events", "left"}, p.outcomes())
}

// What neither side takes is not kept: whoever sends it has to wait.
func TestRecordHoldsLittle(t *testing.T) {
	const most = 1 << 20 // what the kernel and we keep together
	flood := func(c *net.UnixConn) (n int) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		for {
			m, err := c.Write(make([]byte, 4<<10))
			if n += m; err != nil {
				return n
			}
		}
	}
	sent, done := make(chan int), make(chan bool)
	p := recording(t, near(t, func(c *net.UnixConn) {
		sent <- flood(c)
		<-done
	}), false)
	c := p.dial()
	assert.Less(t, flood(c), most, "from a client")
	assert.Less(t, <-sent, most, "from a daemon")
	_ = c.Close()
	close(done)
	assert.Equal(t, []string{"left"}, p.outcomes())
}

// A recording that is told to stop ends streams, and has calls finish, of which it takes no more.
func TestRecordStops(t *testing.T) {
	arrived, answer := make(chan bool), make(chan bool)
	next, left := make(chan string), make(chan bool)
	var calls sync.Once
	p := recording(t, near(t, func(c *net.UnixConn) {
		call := false
		calls.Do(func() { call = true })
		if !call {
			streams(next, left)(c)
			return
		}
		_, _ = io.ReadAll(c)
		arrived <- true
		<-answer
		_, _ = io.WriteString(c, "0\x00done")
	}), false)
	p.stops(arrived, answer, next, left)
	assert.Equal(t, []string{"events", "ok"}, p.outcomes())
}

// A recording whose disk is full ends, and says why; who has asked before that gets his reply.
func TestRecordEndsWithItsDisk(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	arrived, answer := make(chan bool), make(chan bool)
	p := recordingTo(t, near(t, func(c *net.UnixConn) {
		if request, _ := io.ReadAll(c); len(request) > 0 {
			arrived <- true
			<-answer
		}
		_, _ = io.WriteString(c, "0\x00done")
	}), w, false)
	call := p.dial()
	_, _ = io.WriteString(call, "request")
	_ = call.CloseWrite()
	<-arrived
	_ = r.Close() // nothing can be written any more
	assert.Equal(t, "0\x00done", p.ask(""))
	for { // until there is no more of it
		c, err := net.Dial("unix", p.socket)
		if err != nil {
			break
		}
		_ = c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	answer <- true
	b, err := io.ReadAll(call)
	assert.NoError(t, err)
	assert.Equal(t, "0\x00done", string(b))
	err = <-p.ended
	assert.ErrorContains(t, err, "the recording has ended: write |1: broken pipe")
	var f *failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, exitNoReply, f.code)
}

// Nobody there is no reply, of which the recording knows, too, and what the daemon breaks off is no whole one.
func TestRecordWithoutReply(t *testing.T) {
	p := recording(t, filepath.Join(t.TempDir(), "none"), false)
	assert.Empty(t, p.ask("m dom0 name work\x00"))
	assert.Equal(t, []string{"missing"}, p.outcomes())
	assert.Regexp(t, "^sallyport: .*/none: no daemon there: no such file or directory\n.*/trace: 1 connections\n$", p.said.String())

	p = recording(t, near(t, func(c *net.UnixConn) {
		first := make([]byte, 1)
		if _, _ = io.ReadFull(c, first); first[0] == 'g' {
			_, _ = io.ReadAll(c)
			_, _ = io.WriteString(c, "what?")
		} else if first[0] == 'e' {
			_, _ = io.ReadAll(c)
		} // else the rest is not read, which resets the connection
	}), false)
	assert.Equal(t, "what?", p.ask("garbage dom0 name work\x00"))
	assert.Empty(t, p.ask("empty dom0 name work\x00"))
	assert.Empty(t, p.ask("reset dom0 name work\x00"))
	assert.Equal(t, []string{"cut", "empty", "garbage"}, p.outcomes())
}
