package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/stages"
)

// listen makes a socket, and has serve handle its one connection.
func listen(t *testing.T, serve func(net.Conn)) (path string) {
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err == nil {
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return path
}

// TestEventsAreShownAsTheyCome: the daemon sends the second event only once the first one was shown, and never ends.
// TestTrusted: a socket in a directory that others can write to is not looked for.
func TestTrusted(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	assert.NoError(t, trusted(dir))
	assert.NoError(t, trusted(filepath.Join(dir, "nosuch")))
	require.NoError(t, os.Chmod(dir, 0o777))
	assert.Error(t, trusted(dir))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chmod(dir, 0o755))
		require.NoError(t, os.Chown(dir, 65534, 65534))
		assert.Error(t, trusted(dir))
	}
}

func TestEventsAreShownAsTheyCome(t *testing.T) {
	shown := make(chan struct{})
	socket := listen(t, func(c net.Conn) {
		_, _ = c.Write([]byte("1\x00\x00connection-established\x00\x00"))
		<-shown
		_, _ = c.Write([]byte("1\x00work\x00domain-start\x00\x00"))
		<-shown
	})
	r, w, err := os.Pipe()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- follow(ctx, callOptions{socket: socket}, nil, w) }()

	lines := bufio.NewScanner(r)
	for _, want := range []string{"- connection-established", "work domain-start"} {
		require.True(t, lines.Scan())
		assert.Equal(t, want, lines.Text())
		if want != "work domain-start" {
			shown <- struct{}{}
		}
	}
	cancel()
	assert.NoError(t, <-ended, "what came until the time was over is no failure")
	close(shown)
}

// TestADaemonThatDoesNotReadOn: its refusal counts, not that the request could not be sent to its end.
func TestADaemonThatDoesNotReadOn(t *testing.T) {
	const refusal = "2\x00ProtocolError\x00\x00too large\x00"
	socket := listen(t, func(c net.Conn) { _, _ = c.Write([]byte(refusal)) })
	reply, err := Call(t.Context(), socket, make([]byte, 16<<20))
	require.NoError(t, err)
	assert.Equal(t, refusal, string(reply))
}

// TestAPayloadIsReadOnlyAsFarAsItCounts: one byte more than fits lets the daemon say that it is too much.
func TestAPayloadIsReadOnlyAsFarAsItCounts(t *testing.T) {
	got := make(chan int, 1)
	socket := listen(t, func(c net.Conn) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(c)
		got <- b.Len()
		_, _ = c.Write([]byte("0\x00"))
	})
	endless, err := os.Open("/dev/zero")
	require.NoError(t, err)
	defer func() { _ = endless.Close() }()
	require.NoError(t, call(callOptions{socket: socket, source: "dom0"}, []string{"m", "dom0"}, endless, os.Stdout))
	assert.Equal(t, len("m+ dom0 name dom0\x00")+messages.MaxRequest+1, <-got)
}

func TestALongEvent(t *testing.T) {
	socket := listen(t, func(c net.Conn) {
		_, _ = c.Write([]byte("1\x00\x00" + strings.Repeat("x", maxToken+1)))
	})
	err := follow(t.Context(), callOptions{socket: socket}, nil, os.Stdout)
	assert.EqualError(t, err, socket+": not a reply: an event has a part longer than 1048576 bytes")
}

// TestRenderedLikeExceptionsAre: what this tool makes of a frame is what the exception says of itself.
func TestRenderedLikeExceptionsAre(t *testing.T) {
	for _, e := range []*exception.Exception{
		exception.Denied,
		messages.ErrUnframed,
		exception.New(exception.QubesVMNotFoundError, "no such qube: %s", shown("work")),
		exception.New(exception.QubesException, "%s of %s", shown("0070"), shown("a%sb")),
	} {
		a, err := messages.ParseAnswer(e.AppendFrame(nil))
		require.NoError(t, err)
		assert.Equal(t, e.Error(), rendered(a))
	}
}

type shown string

func (s shown) Shown() string { return string(s) }

func TestMethodsTable(t *testing.T) {
	entries := []stages.Entry{
		{Name: "admin.x", Dest: stages.AnyQube, Access: stages.Read, Help: "look"},
		{
			Name: "internal.y+z", Socket: stages.Internal, Dest: stages.OnlyAdminVM, Access: stages.Read | stages.Write | stages.Execute,
			Scope: stages.Global, Help: "do",
		},
		{
			Name: "qubes.Z", Socket: stages.Misc, Dest: stages.NotAdminVM, Access: stages.Write, Arg: stages.Required, ArgDoc: "a tag",
			Payload: stages.Optional, PayloadDoc: "text", Help: "tell",
		},
	}
	assert.Equal(t, `METHOD        SOCKET    DESTINATION  ARGUMENT  PAYLOAD  ACCESS      HELP
admin.x                 any          -         -        r local     look
internal.y+z  internal  dom0         -         -        rwx global  do
qubes.Z       misc      not dom0     a tag     [text]   w local     tell
`, string(methodsTable(entries)))
	assert.JSONEq(t, `[
{"name":"admin.x","socket":"admin","destination":"any","argument":{"want":"forbidden","grammar":""},"payload":{"want":"forbidden","grammar":""},"access":"r","scope":"local","help":"look","gives":""},
{"name":"internal.y+z","socket":"internal","destination":"dom0","argument":{"want":"forbidden","grammar":""},"payload":{"want":"forbidden","grammar":""},"access":"rwx","scope":"global","help":"do","gives":""},
{"name":"qubes.Z","socket":"misc","destination":"not dom0","argument":{"want":"required","grammar":"a tag"},"payload":{"want":"optional","grammar":"text"},"access":"w","scope":"local","help":"tell","gives":""}
]`, string(methodsJSON(entries)))
}

// FuzzReply: whatever a daemon sends, escaped or rendered, is one line without control characters.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"0\x00x", "2\x00QubesException\x00\x00%s %% %d\x0007\x00x\x00", "2\x00T\x00\x00%", "\x1b[2J\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		a, err := messages.ParseAnswer(reply)
		if err != nil {
			return
		}
		line := escape([]byte(a.Type+": "+rendered(a)), "")
		assert.NotRegexp(t, `[\x00-\x1f\x7f]`, string(line))
		for _, object := range [][]byte{exceptionJSON(a), contentJSON(a.Content)} {
			assert.NotRegexp(t, `[\x00-\x09\x0b-\x1f\x7f]`, string(object))
			assert.Equal(t, 1, bytes.Count(object, []byte("\n")))
		}
	})
}
