package actors

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/endpoint"
	"sallyport/internal/telemetry"
	"sallyport/internal/testcert"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	judges "sallyport/stages/permission"
)

// ours and theirs are authorities of which the daemon knows one.
var (
	ours, theirs = sync.OnceValue(testcert.NewAuthority), sync.OnceValue(testcert.NewAuthority)
	server       = sync.OnceValue(func() tls.Certificate { return ours().Server("daemon") })
)

// overTLS has a daemon serve clients on other machines: certificates with these names are known.
func overTLS(more ...func(*Settings)) func(*Settings) {
	return func(s *Settings) {
		name := func(n string) qube.Name { return must(qube.ParseName(n)) }
		s.Remote = &Remote{
			Address: "127.0.0.1:0", Certificate: server(), ClientCAs: ours().Pool(),
			Peers: []Certified{
				{DNS: "work.example", Peer: &messages.Peer{Sources: []qube.Name{name("work")}}},
				{URI: "spiffe://example/admin", Peer: &messages.Peer{Sources: []qube.Name{qube.Dom0}}},
				{DNS: "guests.example", Peer: &messages.Peer{Guests: true}},
			},
		}
		for _, change := range more {
			change(s)
		}
	}
}

// longerText is more than the kernel buffers for a client on another machine that does not read.
var longerText = strings.Repeat("a longer reply! ", 1<<20)

// atLength serves test.Longer.
func atLength(s *Settings) {
	s.Catalogue = stages.NewCatalogue(declare("test.Longer", func(m *method) {
		m.Read = func(qube.View, grant) (messages.Reply, error) { return messages.Text(longerText), nil }
	}))
}

// atTheGate has work tell that it has begun, and not end before the gate opens.
func atTheGate() (change func(*Settings), begun <-chan bool, gate chan<- bool) {
	began, opens := make(chan bool), make(chan bool)
	return func(s *Settings) {
		s.Worker = doer(func(messages.Order) (func(context.Context) (messages.Reply, error), error) {
			return func(context.Context) (messages.Reply, error) {
				began <- true
				<-opens
				return messages.Text("done"), nil
			}, nil
		})
	}, began, opens
}

// remoteClient is a connection over TLS.
type remoteClient struct {
	*tls.Conn
	raw  *net.TCPConn
	wire *endpoint.Wire
	t    testing.TB
}

// reach connects with a certificate for those names.
func (l *live) reach(names ...string) *remoteClient {
	return l.reachWith(&tls.Config{Certificates: []tls.Certificate{ours().Client(names...)}})
}

func (l *live) reachWith(c *tls.Config) *remoteClient {
	c.RootCAs, c.ServerName = ours().Pool(), "daemon"
	raw, err := net.Dial("tcp", l.RemoteAddr().String())
	require.NoError(l.t, err)
	require.NoError(l.t, raw.SetDeadline(time.Now().Add(patience)))
	l.t.Cleanup(func() { _ = raw.Close() })
	wire := &endpoint.Wire{TCPConn: raw.(*net.TCPConn)}
	return &remoteClient{tls.Client(wire, c), wire.TCPConn, wire, l.t}
}

func (c *remoteClient) send(b []byte) *remoteClient {
	_, _ = c.Write(b)
	return c
}

func (c *remoteClient) end() *remoteClient {
	_ = c.Handshake() // which comes first, if nothing was sent
	_ = c.CloseWrite()
	return c
}

// held waits until the reply has begun, and has to wait for c.
func (l *live) held(c *remoteClient) {
	_, err := io.ReadFull(c, make([]byte, 2))
	assert.NoError(c.t, err)
	until(c.t, func() bool { return l.waiting() == 1 })
}

func (c *remoteClient) answer() messages.Answer {
	b, err := io.ReadAll(c)
	assert.NoError(c.t, err)
	assert.True(c.t, c.wire.Ended(io.EOF), "it ends with close_notify")
	a, err := messages.ParseAnswer(b)
	assert.NoError(c.t, err, "%q", b)
	return a
}

const admin = "spiffe://example/admin"

func calling(method, source, dest, payload string) []byte {
	return messages.FormatRequest(method, source, dest, []byte(payload))
}

// TestRemoteCalls: the frames are those of the socket, and the log names the certificate's name.
func TestRemoteCalls(t *testing.T) {
	l := serve(t, overTLS())
	assert.Equal(t, ok("a b"), l.reach(admin).send(calling("test.Echo+a", "dom0", "work", "b")).end().answer())
	assert.Equal(t, ok("tagged x"), l.reach(admin).send(calling("test.Tag+x", "dom0", "work", "")).end().answer())
	assert.Equal(t, ok("did x"), l.reach(admin).send(calling("test.Work+x", "dom0", "work", "")).end().answer())
	payload := strings.Repeat("p", 60000)
	assert.Equal(t, ok("a "+payload), l.reach(admin).send(calling("test.Echo+a", "dom0", "work", payload)).end().answer())
	assert.Equal(t, longText, string(l.reach(admin).send(calling("test.Long", "dom0", "work", "")).end().answer().Content))
	assert.Equal(t, answerOf(messages.ErrTooLarge), l.reach(admin).send(calling("test.Echo", "dom0", "work", strings.Repeat("p", 70000))).end().answer())
	assert.Equal(t, string(exception.ProtocolError), l.reach(admin).end().answer().Type, "an empty request")
	for _, method := range []string{"test.Internal", "test.Misc"} {
		assert.Equal(t, string(exception.ProtocolError), l.reach(admin).send(calling(method, "dom0", "work", "")).end().answer().Type)
	}

	until(t, func() bool { return l.Stats().Open == 0 })
	lines := l.log.lines(telemetry.RequestDone)
	assert.Len(t, lines, 9)
	for _, line := range lines {
		assert.Equal(t, "tls", line[telemetry.KeySocket])
		assert.Equal(t, admin, line[telemetry.KeyPeerName])
		assert.NotContains(t, line, telemetry.KeyPeerUID)
	}
}

// TestCertificatesClaimOnlyWhatTheyMay: a certificate speaks for whom the configuration says, and for dom0 only where
// that names it. What the certificate says of its subject is nothing.
func TestCertificatesClaimOnlyWhatTheyMay(t *testing.T) {
	l := serve(t, overTLS())
	for _, c := range []struct {
		names  []string
		source string
		want   messages.Answer
		logged string
	}{
		{[]string{"work.example"}, "work", ok(" "), "work.example"},
		{[]string{"work.example"}, "vault", denied, "work.example"},
		{[]string{"work.example"}, "dom0", denied, "work.example"},
		{[]string{"work.example"}, "nosuch", denied, "work.example"},
		{[]string{"guests.example"}, "vault", ok(" "), "guests.example"},
		{[]string{"guests.example"}, "dom0", denied, "guests.example"},
		{[]string{"guests.example"}, "nosuch", denied, "guests.example"},
		{[]string{admin}, "dom0", ok(" "), admin},
		{[]string{admin}, "work", denied, admin},
		{[]string{"other.example", "work.example"}, "work", ok(" "), "work.example"},
		{[]string{"guests.example", "work.example"}, "vault", denied, "work.example"}, // the first entry that fits
		{[]string{"stranger.example"}, "work", denied, "stranger.example"},
		{[]string{"WORK.example"}, "work", denied, "WORK.example"},
		{[]string{"spiffe://example/admin/"}, "dom0", denied, "spiffe://example/admin/"},
		{[]string{"x y"}, "work", denied, "?"},
		{nil, "dom0", denied, "?"},
	} {
		seen := len(l.log.lines(""))
		assert.Equal(t, c.want, l.reach(c.names...).send(calling("test.Echo", c.source, "work", "")).end().answer(), "%v", c)
		until(t, func() bool { return len(l.log.lines("")) > seen })
		assert.Equal(t, c.logged, l.log.lines("")[seen][telemetry.KeyPeerName], "%v", c)
	}
}

// TestWhoDoesNotProveWhoItIs is not heard. The log says why, in words of ours.
func TestWhoDoesNotProveWhoItIs(t *testing.T) {
	l := serve(t, overTLS(func(s *Settings) { s.Remote.Handshake = 50 * time.Millisecond }))
	with := func(a *testcert.Authority, usage x509.ExtKeyUsage, life time.Duration) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.Certify(usage, life, secret+".example")}}
	}
	old := with(ours(), x509.ExtKeyUsageClientAuth, time.Hour)
	old.MaxVersion = tls.VersionTLS12
	for _, c := range []struct {
		what string
		how  *tls.Config
		why  string
	}{
		{"signed by somebody else", with(theirs(), x509.ExtKeyUsageClientAuth, time.Hour), "no client CA has signed its certificate"},
		{"expired", with(ours(), x509.ExtKeyUsageClientAuth, -time.Hour), "its certificate is not valid now"},
		{"a server's", with(ours(), x509.ExtKeyUsageServerAuth, time.Hour), "its certificate does not hold"},
		{"none", &tls.Config{}, "it does not speak TLS 1.3, or has no certificate"},
		{"TLS 1.2", old, "it does not speak TLS 1.3, or has no certificate"},
	} {
		seen := len(l.log.lines(telemetry.ConnectionRefused))
		conn := l.reachWith(c.how).send(calling("test.Tag+x", "dom0", "work", "")).end()
		_, err := io.ReadAll(conn)
		assert.ErrorContains(t, err, "remote error: tls: ", c.what)
		_ = conn.raw.Close()
		until(t, func() bool { return len(l.log.lines(telemetry.ConnectionRefused)) > seen })
		line := l.log.lines(telemetry.ConnectionRefused)[seen]
		assert.Equal(t, c.why, line[telemetry.KeyReason], c.what)
		assert.Equal(t, conn.raw.LocalAddr().String(), line[telemetry.KeyPeerAddress])
	}
	for what, say := range map[string]string{"no TLS": string(calling("test.Tag+x", "dom0", "work", "")), "nothing": ""} {
		seen := len(l.log.lines(telemetry.ConnectionRefused))
		conn := l.reach(admin)
		_, _ = io.WriteString(conn.raw, say)
		until(t, func() bool { return len(l.log.lines(telemetry.ConnectionRefused)) > seen })
		if say == "" {
			assert.Equal(t, "it took too long", l.log.lines(telemetry.ConnectionRefused)[seen][telemetry.KeyReason], what)
		}
	}
	assert.Empty(t, l.book.committed())
	assert.Zero(t, l.Stats().Accepted, "no actor heard of them")
	assert.EqualValues(t, 7, l.Stats().Refused)
}

// TestACutRequestIsNotCarriedOut: whoever can cut a connection cannot have half a request taken for the whole, and what a
// client that vanishes has sent so far is no request either.
func TestACutRequestIsNotCarriedOut(t *testing.T) {
	l := serve(t, overTLS())
	for what, cut := range map[string]func(*remoteClient){
		"closed for writing, without close_notify": func(c *remoteClient) { assert.NoError(t, c.raw.CloseWrite()) },
		"closed": func(c *remoteClient) { assert.NoError(t, c.raw.Close()) },
		"reset": func(c *remoteClient) {
			assert.NoError(t, c.raw.SetLinger(0))
			assert.NoError(t, c.raw.Close())
		},
	} {
		gone := l.Stats().Gone
		c := l.reach(admin).send(calling("test.Tag+x", "dom0", "work", ""))
		until(t, func() bool { return l.Stats().Open == 1 && l.waiting() == 1 })
		cut(c)
		until(t, func() bool { return l.Stats().Gone == gone+1 && l.Stats().Open == 0 })
		assert.Empty(t, l.book.committed(), what)
	}
}

// TestSlowRemoteClients have as long as those of the socket, and read why.
func TestSlowRemoteClients(t *testing.T) {
	l := serve(t, overTLS(atLength))
	c := l.reach(admin).send([]byte("test.Longer dom0 na"))
	until(t, func() bool { return l.waiting() == 1 })
	l.clock.advance(l.settings.ReadTimeout)
	assert.Equal(t, answerOf(messages.ErrSlow), c.answer())

	// A reply is waited for as well.
	c = l.reach(admin).send(calling("test.Longer", "dom0", "work", "")).end()
	l.held(c)
	gone := l.Stats().Gone
	l.clock.advance(l.settings.ReadTimeout)
	until(t, func() bool { return l.Stats().Gone == gone+1 })

	// Whoever takes it in time gets all.
	assert.Equal(t, longerText, string(l.reach(admin).send(calling("test.Longer", "dom0", "work", "")).end().answer().Content))
}

// TestARemoteClientThatTakesNothing is left in the end, with what it has not taken.
func TestARemoteClientThatTakesNothing(t *testing.T) {
	l := serve(t, overTLS(atLength, func(s *Settings) { s.ReadTimeout = 50 * time.Millisecond }))
	l.held(l.reach(admin).send(calling("test.Longer", "dom0", "work", "")).end())
	l.clock.advance(l.settings.ReadTimeout)
	until(t, func() bool { return l.Stats().Gone == 1 && len(l.remote.slots) == 0 })
}

// TestARemoteClientThatVanishes while its call is at work does not get the reply, and is not waited for.
func TestARemoteClientThatVanishes(t *testing.T) {
	work, begun, gate := atTheGate()
	l := serve(t, overTLS(work))
	c := l.reach(admin).send(calling("test.Work", "dom0", "work", "")).end()
	<-begun
	assert.NoError(t, c.raw.SetLinger(0))
	assert.NoError(t, c.raw.Close())
	until(t, func() bool { return len(l.remote.slots) == 0 })
	assert.EqualValues(t, 1, l.Stats().Open, "the call goes on")
	gate <- true
	until(t, func() bool { return l.Stats().Gone == 1 && l.Stats().Open == 0 })
}

// TestOneRemoteClientTooMany is turned away before it is heard, and the next one is served when another has left.
func TestOneRemoteClientTooMany(t *testing.T) {
	l := serve(t, overTLS(func(s *Settings) { s.Remote.Connections = 2 }))
	first, second := l.reach(admin).send([]byte("test")), l.reach(admin).send([]byte("test"))
	until(t, func() bool { return l.waiting() == 2 })
	assert.Error(t, l.reach(admin).Handshake())
	assert.EqualValues(t, 1, l.Stats().Refused)
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""), "nobody else suffers")
	assert.Equal(t, ok(" "), first.send([]byte(".Echo dom0 name work\x00")).end().answer())
	until(t, func() bool { return len(l.remote.slots) == 1 })
	assert.Equal(t, ok("b "), l.reach(admin).send(calling("test.Echo+b", "dom0", "work", "")).end().answer())
	assert.Equal(t, ok(" "), second.send([]byte(".Echo dom0 name work\x00")).end().answer())
}

// TestTheLimitOfConnections counts clients of either kind.
func TestTheLimitOfConnections(t *testing.T) {
	l := serve(t, overTLS(func(s *Settings) { s.MaxConnections = 1 }))
	waiting := l.dial(stages.Admin)
	until(t, func() bool { return l.Stats().Open == 1 })
	assert.Equal(t, answerOf(errFull), l.reach(admin).send(calling("test.Echo", "dom0", "work", "")).end().answer())
	_ = waiting.Close()
}

// TestRemoteStream: events come as they happen; the client's leaving is noticed; and a daemon that stops ends the stream.
func TestRemoteStream(t *testing.T) {
	l := aired(t, &shelf{}, overTLS())
	follow := func() (*remoteClient, *bufio.Reader) {
		n := l.Stats().Streams
		c := l.reach(admin).send(calling("admin.Events", "dom0", "dom0", "")).end()
		until(t, func() bool { return l.Stats().Streams == n+1 })
		frames := bufio.NewReader(c)
		assert.Equal(t, "connection-established", must(messages.ReadEvent(frames)).Name)
		return c, frames
	}
	one, events := follow()
	two, last := follow()
	l.must("admin.vm.tag.Set+x", "work", "")
	assert.Equal(t, "domain-tag-add:x", must(messages.ReadEvent(events)).Name)
	assert.Equal(t, "domain-tag-add:x", must(messages.ReadEvent(last)).Name)

	assert.NoError(t, one.raw.Close())
	until(t, func() bool { return l.Stats().Streams == 1 })
	l.must("admin.vm.feature.Set+x", "work", "")

	assert.NoError(t, l.Close(context.Background()))
	_, err := io.Copy(io.Discard, last)
	assert.NoError(t, err, "it ends with close_notify")
	assert.True(t, two.wire.Ended(io.EOF))
}

// departures are the ways of a client that has ended its request.
var departures = map[string]func(*remoteClient) error{
	"closes its connection for writing": func(c *remoteClient) error { return c.raw.CloseWrite() },
	"closes its connection":             func(c *remoteClient) error { return c.raw.Close() },
	"resets its connection":             func(c *remoteClient) error { return errors.Join(c.raw.SetLinger(0), c.raw.Close()) },
}

// TestARemoteSubscriberThatLeaves ends its stream at once, though nothing happens that the stream could tell of.
func TestARemoteSubscriberThatLeaves(t *testing.T) {
	for what, leave := range departures {
		for _, method := range []string{"admin.Events", "admin.vm.Stats"} {
			t.Run(method+" "+what, func(t *testing.T) {
				l := aired(t, &shelf{}, overTLS())
				c := l.reach(admin).send(calling(method, "dom0", "dom0", "")).end()
				assert.Equal(t, "connection-established", must(messages.ReadEvent(bufio.NewReader(c))).Name)
				assert.Equal(t, 1, l.Stats().Streams)
				assert.NoError(t, leave(c))
				until(t, func() bool { return l.Stats().Streams == 0 && l.Stats().Open == 0 && len(l.remote.slots) == 0 })
				assert.Zero(t, l.Stats().Gone, "it is how streams end")
			})
		}
	}
}

// gone is how many clients the bridges have seen leave.
func (l *live) gone() (n int) {
	l.remote.mu.Lock()
	defer l.remote.mu.Unlock()
	for b := range l.remote.bridges {
		if b.hasGone() {
			n++
		}
	}
	return n
}

// TestARemoteSubscriberThatDoesNotWait has left before its stream begins, which then ends at once.
func TestARemoteSubscriberThatDoesNotWait(t *testing.T) {
	begun, gate := make(chan bool), make(chan bool)
	l := aired(t, &shelf{}, overTLS(func(s *Settings) {
		s.Gate = stages.NewGate(judges.Everyone{}, stages.Handler{Methods: []string{"admin.Events"}, Check: func(stages.Facts) (stages.Filter, error) {
			begun <- true
			<-gate
			return nil, nil
		}})
	}))
	c := l.reach(admin).send(calling("admin.Events", "dom0", "dom0", "")).end()
	<-begun
	assert.NoError(t, c.raw.CloseWrite())
	until(t, func() bool { return l.gone() == 1 })
	gate <- true
	until(t, func() bool { return l.Stats().Open == 0 })
	_, err := io.Copy(io.Discard, c)
	assert.NoError(t, err)
	assert.True(t, c.wire.Ended(io.EOF), "it ends with close_notify")
}

// TestARemoteClientThatClosesForWriting still reads the reply.
func TestARemoteClientThatClosesForWriting(t *testing.T) {
	work, begun, gate := atTheGate()
	l := serve(t, overTLS(work))
	c := l.reach(admin).send(calling("test.Work", "dom0", "work", "")).end()
	<-begun
	assert.NoError(t, c.raw.CloseWrite())
	until(t, func() bool { return l.gone() == 1 })
	gate <- true
	assert.Equal(t, ok("done"), c.answer())
}

// TestCloseWithRemoteClients: what has arrived is finished, what has not is told, who has not proved who it is is dropped.
func TestCloseWithRemoteClients(t *testing.T) {
	serve(t, plainly).call("test.Echo", "work", "") // opens what the runtime keeps
	before := descriptors(t)
	work, begun, gate := atTheGate()
	l := serve(t, overTLS(work))
	stranger := l.reach(admin)
	until(t, func() bool { return len(l.remote.slots) == 1 })
	half := l.reach(admin).send([]byte("test.Ec"))
	until(t, func() bool { return l.waiting() == 1 })
	working := l.reach(admin).send(calling("test.Work", "dom0", "work", "")).end()
	<-begun
	closed := make(chan error)
	go func() { closed <- l.Close(context.Background()) }()
	assert.Equal(t, answerOf(errStopping), half.answer())
	assert.Error(t, stranger.Handshake())
	gate <- true
	assert.Equal(t, ok("done"), working.answer())
	assert.NoError(t, <-closed)
	for _, c := range []*remoteClient{stranger, half, working} {
		_ = c.raw.Close()
	}
	assert.Equal(t, before, descriptors(t))
	_, err := net.Dial("tcp", l.RemoteAddr().String())
	assert.Error(t, err)
}

// TestCloseDoesNotWaitForeverForRemoteClients that do not take what there is for them.
func TestCloseDoesNotWaitForeverForRemoteClients(t *testing.T) {
	l := serve(t, overTLS(atLength))
	c := l.reach(admin).send(calling("test.Longer", "dom0", "work", "")).end()
	l.held(c)
	soon, cancel := context.WithCancel(context.Background())
	cancel()
	l.hurried = true
	assert.Error(t, l.Close(soon))
	_, err := io.ReadAll(c)
	assert.Error(t, err)
}

// TestRemoteSettings: without an authority of ours, TLS would trust all that the system does.
func TestRemoteSettings(t *testing.T) {
	for what, spoil := range map[string]func(*Settings){
		"no CA":          func(s *Settings) { s.Remote.ClientCAs = nil },
		"no certificate": func(s *Settings) { s.Remote.Certificate = tls.Certificate{} },
		"no address":     func(s *Settings) { s.Remote.Address = "127.0.0.1:nosuch" },
	} {
		before := descriptors(t)
		settings := base(&journal{})
		settings.Sockets = sockets(t)
		overTLS(spoil)(&settings)
		_, err := Start(settings)
		assert.Error(t, err, what)
		assert.Equal(t, before, descriptors(t), what)
		assert.NoFileExists(t, settings.Sockets[stages.Admin])
	}
	assert.Nil(t, serve(t, plainly).RemoteAddr())
}
