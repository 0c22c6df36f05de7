package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/internal/endpoint"
	"sallyport/internal/testcert"
)

// far is a daemon behind a socket that passes on, such as one on another machine: what a test makes of it.
type far struct {
	t        *testing.T
	listener net.Listener
	socket   string
	said     *lockedBuffer // by the proxy, to standard error
	stop     func()
	ended    chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// proxied starts a proxy to a daemon that treats each connection as serve does. It must have told nothing but want.
func proxied(t *testing.T, want string, serve func(*tls.Conn, *endpoint.Wire)) *far {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // last of all
	dir, err := os.MkdirTemp("", "proxy")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	a := testcert.NewAuthority()
	require.NoError(t, errors.Join(a.Write(dir, "ca"), testcert.Write(dir, "me", a.Client("me"))))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{a.Server("daemon")}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				w := &endpoint.Wire{TCPConn: c.(*net.TCPConn)}
				serve(tls.Server(w, config), w)
			})
		}
	})

	f := &far{t: t, listener: l, socket: filepath.Join(dir, "socket"), said: &lockedBuffer{}, ended: make(chan error, 1)}
	r, err := newRelay(proxyOptions{
		connect: l.Addr().String(), socket: f.socket,
		tlsFlags: tlsFlags{cert: filepath.Join(dir, "me.pem"), key: filepath.Join(dir, "me.key"), ca: filepath.Join(dir, "ca.pem"), server: "daemon"},
	}, f.said)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	socket, err := listenAt(f.socket)
	require.NoError(t, err)
	go func() { f.ended <- serveClients(ctx, socket, relayClients, r.serve) }()
	t.Cleanup(func() {
		f.stop()
		assert.NoError(t, <-f.ended)
		_ = l.Close()
		serving.Wait()
		if want == "" {
			assert.Empty(t, f.said.String())
		} else {
			assert.Regexp(t, want, f.said.String())
		}
	})
	return f
}

// dial connects to the proxy.
func (f *far) dial() *net.UnixConn {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: f.socket})
	require.NoError(f.t, err)
	require.NoError(f.t, c.SetDeadline(time.Now().Add(patience)))
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a request, and gives all that comes back.
func (f *far) ask(request string) string {
	c := f.dial()
	_, _ = io.WriteString(c, request)
	_ = c.CloseWrite()
	b, err := io.ReadAll(c)
	assert.NoError(f.t, err)
	return string(b)
}

// reads has events come, and reads each before the next.
func (f *far) reads(c net.Conn, next chan string) {
	for range 3 {
		next <- "1\x00\x00event\x00\x00"
		b := make([]byte, 10)
		_, err := io.ReadFull(c, b)
		assert.NoError(f.t, err)
		assert.Equal(f.t, "1\x00\x00event\x00\x00", string(b))
	}
}

// stops stops what passes on. Its daemon answers one call, which has arrived, with done when it is to answer, and follows
// one stream, of which it tells when the client has left.
func (f *far) stops(arrived, answer chan bool, next chan string, left chan bool) {
	call := f.dial()
	_ = call.CloseWrite()
	<-arrived
	stream := f.dial()
	_ = stream.CloseWrite()
	f.reads(stream, next)

	f.stop()
	b, err := io.ReadAll(stream)
	assert.NoError(f.t, err)
	assert.Empty(f.t, b)
	assert.True(f.t, <-left)
	assert.NoFileExists(f.t, f.socket)
	answer <- true
	b, err = io.ReadAll(call)
	assert.NoError(f.t, err)
	assert.Equal(f.t, "0\x00done", string(b))
}

func TestProxyIsForItsUserAlone(t *testing.T) {
	f := proxied(t, "", func(*tls.Conn, *endpoint.Wire) {})
	info, err := os.Stat(f.socket)
	require.NoError(t, err)
	assert.Equal(t, os.ModeSocket|0o600, info.Mode())
}

// What goes either way arrives as it is, large or small, and so does the end of a request.
func TestProxyPassesOnRequestsAndReplies(t *testing.T) {
	large := strings.Repeat("large ", 1<<18)
	f := proxied(t, "", func(c *tls.Conn, w *endpoint.Wire) {
		request, err := io.ReadAll(c)
		assert.NoError(t, err)
		assert.True(t, w.Ended(io.EOF), "a request ends with close_notify")
		_, _ = io.WriteString(c, "0\x00"+string(request))
		_ = c.CloseWrite()
	})
	for _, request := range []string{"", "x", "method dom0 name work\x00payload", large} {
		assert.Equal(t, "0\x00"+request, f.ask(request))
	}
}

// A daemon may answer before it has read all of a request: the client gets to read the answer.
func TestProxyPassesOnEarlyAnswers(t *testing.T) {
	f := proxied(t, "", func(c *tls.Conn, w *endpoint.Wire) {
		_, _ = io.ReadFull(c, make([]byte, 10))
		_, _ = io.WriteString(c, "2\x00ProtocolError\x00\x00too large\x00")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, w)
	})
	c := f.dial()
	_, _ = c.Write(bytes.Repeat([]byte("x"), 1<<20))
	b, err := io.ReadAll(&connection{c, nil, false})
	assert.NoError(t, err)
	assert.Equal(t, "2\x00ProtocolError\x00\x00too large\x00", string(b))
}

// Whoever can cut the connection cannot have a client take half a reply for the whole.
func TestProxyPassesOnNoHalfReply(t *testing.T) {
	f := proxied(t, "(?s)^(sallyport: .*: not a reply: the connection was cut\n){2}$", func(c *tls.Conn, w *endpoint.Wire) {
		_, _ = io.ReadAll(c)
		_, _ = io.WriteString(c, "0\x00half of")
		_ = w.CloseWrite()
	})
	assert.Empty(t, f.ask("request"))
	assert.Empty(t, f.ask(""))
}

func TestProxyTellsOfDaemonsWithoutReply(t *testing.T) {
	f := proxied(t, "^sallyport: .*: not a reply: the daemon closed the connection without one\n$", func(c *tls.Conn, w *endpoint.Wire) {
		_, _ = io.ReadAll(c)
		_ = c.CloseWrite()
	})
	assert.Empty(t, f.ask("request"))
}

// streamer sends an event for each message on next, until the client leaves; then it tells left. As to a daemon, a client
// that has closed its connection for writing has left.
func streamer(next chan string, left chan bool) func(*tls.Conn, *endpoint.Wire) {
	return func(c *tls.Conn, w *endpoint.Wire) {
		_, _ = io.ReadAll(c)
		gone := make(chan bool)
		go func() {
			gone <- endpoint.Finished(w) == nil
		}()
		for {
			select {
			case e, more := <-next:
				if !more {
					_ = c.CloseWrite()
					_ = w.SetReadDeadline(time.Unix(1, 0))
					<-gone
					return
				}
				_, _ = io.WriteString(c, e)
			case is := <-gone:
				left <- is
				return
			}
		}
	}
}

// Each event is there when it happens, and not when there are more.
func TestProxyPassesOnEventsAtOnce(t *testing.T) {
	next := make(chan string)
	f := proxied(t, "", streamer(next, nil))
	c := f.dial()
	_ = c.CloseWrite()
	f.reads(c, next)
	next <- "2\x00Exception\x00\x00end\x00"
	close(next)
	b, err := io.ReadAll(c)
	assert.NoError(t, err)
	assert.Equal(t, "2\x00Exception\x00\x00end\x00", string(b))
}

// A client that leaves its stream leaves the daemon, at once.
func TestProxyLeavesWithItsClient(t *testing.T) {
	next, left := make(chan string), make(chan bool)
	f := proxied(t, "", streamer(next, left))
	c := f.dial()
	_ = c.CloseWrite()
	next <- "1\x00\x00event\x00\x00"
	_, _ = io.ReadFull(c, make([]byte, 10))
	assert.NoError(t, c.Close())
	assert.True(t, <-left)
}

// A client that vanishes without waiting for its reply harms nobody.
func TestProxyOutlivesItsClients(t *testing.T) {
	f := proxied(t, "", func(c *tls.Conn, _ *endpoint.Wire) {
		request, _ := io.ReadAll(c)
		_, _ = io.WriteString(c, "0\x00"+string(request))
		_ = c.CloseWrite()
	})
	for range 10 {
		c := f.dial()
		_, _ = io.WriteString(c, "request")
		_ = c.Close()
	}
	assert.Equal(t, "0\x00request", f.ask("request"))
}

// A proxy that is told to stop ends streams, and has calls finish, of which it takes no more.
func TestProxyStops(t *testing.T) {
	arrived, answer := make(chan bool), make(chan bool)
	next, left := make(chan string), make(chan bool, 1)
	follow := streamer(next, left)
	var calls sync.Once
	f := proxied(t, "", func(c *tls.Conn, w *endpoint.Wire) {
		call := false
		calls.Do(func() { call = true })
		if !call {
			follow(c, w)
			return
		}
		_, _ = io.ReadAll(c)
		arrived <- true
		<-answer
		_, _ = io.WriteString(c, "0\x00done")
		_ = c.CloseWrite()
	})
	f.stops(arrived, answer, next, left)
}
