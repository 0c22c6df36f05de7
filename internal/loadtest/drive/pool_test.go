package drive

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/testcert"
)

// TestClientsBesideWaitForAFullBacklog, too: it is the server's doing, and no want of this machine.
func TestClientsBesideWaitForAFullBacklog(t *testing.T) {
	path := socket(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0))
	first, err := net.Dial("unix", path) // there is room for no other
	require.NoError(t, err)
	defer first.Close()

	s := plain(scenario.Target{Socket: path}, scenario.Load{})
	s.Subscribers = []scenario.Subscribers{{Count: 3, Call: call("admin.Events"), For: time.Hour}}
	s.Timeout = 50 * time.Millisecond
	r, err := Run(t.Context(), s, Options{Threads: 1})
	require.NoError(t, err)
	assert.Equal(t, map[measure.Key]uint64{{Method: "admin.Events", Source: "dom0", Outcome: measure.Timeout}: 3}, counts(r))
	assert.Empty(t, r.Invalid)

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	came := make(chan error)
	go func() {
		conn, err := dialUnix(ctx, path)
		if err == nil {
			err = conn.Close()
		}
		came <- err
	}()
	conn, _, err := unix.Accept(fd)
	require.NoError(t, err)
	require.NoError(t, unix.Close(conn))
	assert.NoError(t, <-came, "there is room")
}

// overTLS serves connections over TLS as serve does, until the test ends.
func overTLS(t *testing.T, serve func(*tls.Conn, *endpoint.Wire)) scenario.Target {
	a := testcert.NewAuthority()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{a.Server("localhost")}, MinVersion: tls.VersionTLS13}
	var conns sync.WaitGroup
	accepting(l, &conns, func(conn net.Conn) {
		wire := &endpoint.Wire{TCPConn: conn.(*net.TCPConn)}
		defer wire.Close()
		serve(tls.Server(wire, config), wire)
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return scenario.Target{Addr: l.Addr().String(), TLS: &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}}
}

// TestAReplyThatIsCutIsNone: whoever cuts a connection cannot have half a reply taken for the whole. The end of a plain one
// is the close alone.
func TestAReplyThatIsCutIsNone(t *testing.T) {
	cut := overTLS(t, func(conn *tls.Conn, wire *endpoint.Wire) {
		_, _ = io.ReadAll(conn)
		_, _ = io.WriteString(conn, "0\x00half")
		_ = wire.CloseWrite()
	})
	whole := overTLS(t, func(conn *tls.Conn, _ *endpoint.Wire) {
		_, _ = io.ReadAll(conn)
		_, _ = io.WriteString(conn, "0\x00whole")
		_ = conn.CloseWrite()
	})
	of := func(target scenario.Target) measure.Outcome {
		return only(t, made(t, target, rate(100, 50*time.Millisecond), item(call("x")))).Outcome
	}
	assert.Equal(t, measure.Reset, of(cut))
	assert.Equal(t, measure.OK, of(whole))
	cut.Plain = true
	assert.Equal(t, measure.OK, of(cut))
}

// TestNoCallIsLongerThanItsTimeout: what it takes to let go of a connection whose server reads nothing is no part of the
// call, and holds nobody up.
func TestNoCallIsLongerThanItsTimeout(t *testing.T) {
	over := make(chan struct{})
	target := overTLS(t, func(conn *tls.Conn, _ *endpoint.Wire) {
		_ = conn.Handshake()
		<-over
	})
	defer close(over)
	big := call("x")
	big.Payload = scenario.Text(long + long + long + long)
	for _, target.Plain = range []bool{false, true} {
		big.Request = big.Payload
		s := plain(target, rate(100, 10*time.Millisecond), item(big))
		s.Timeout = 200 * time.Millisecond
		began := time.Now()
		r, err := Run(t.Context(), s, Options{Threads: 1})
		require.NoError(t, err)
		assert.Less(t, time.Since(began), sayingGoodbye)
		g, _ := r.Of(func(k measure.Key) bool { return k.Outcome == measure.Timeout })
		require.EqualValues(t, 1, g.Count, "%v", counts(r))
		assert.Less(t, time.Duration(g.Total.Max()), sayingGoodbye)
	}
}

// sayingGoodbye is how long Close of crypto/tls tries to send an alert.
const sayingGoodbye = 5 * time.Second
