package actors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"sallyport/internal/endpoint"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/stages"
)

// Remote is how clients on other machines are served the methods of the admin socket: over TLS 1.3, where a certificate
// says who calls. Frames are the same. The client's close_notify ends its request; a connection that ends without one was
// cut, and what has come of the request is not carried out. A client that follows a stream keeps the connection open in both
// directions: once it has closed it, if only for writing, the stream ends. Address, Certificate and ClientCAs are needed.
type Remote struct {
	Address     string // to listen on, as net.Listen takes it for tcp
	Certificate tls.Certificate
	ClientCAs   *x509.CertPool // one of them must have signed a client's certificate
	Peers       []Certified    // the first that a certificate bears the name of counts; one without may claim nothing

	Connections int           // at once, handshakes included; 0: 128. Each takes three descriptors.
	Handshake   time.Duration // for a client to prove who it is; 0: 10 s
}

// Certified is what holders of certificates with a certain subject alternative name may claim. The name is compared byte
// for byte.
type Certified struct {
	DNS, URI string // one of them
	Peer     *messages.Peer
}

func (c Certified) is(cert *x509.Certificate) bool {
	for _, u := range cert.URIs {
		if c.URI != "" && u.String() == c.URI {
			return true
		}
	}
	return c.DNS != "" && slices.Contains(cert.DNSNames, c.DNS)
}

// remote accepts TLS connections and bridges each to a request actor, which need not know: it has one end of a pair of
// sockets, and a bridge copies between the other end and the client. It is the state that outlives crashes of its actor.
type remote struct {
	d        *Daemon
	settings Remote
	config   *tls.Config
	listener net.Listener
	socket   *socket // for request actors; there is no file
	slots    chan struct{}

	mu       sync.Mutex
	requests *requests        // nil until the actors are there
	shutDown bool             // no request may be begun
	bridges  map[*bridge]bool // that are open
	running  sync.WaitGroup   // of them
}

// openRemote begins to listen. A Daemon without settings for it has none.
func openRemote(d *Daemon, settings *Remote) (*remote, error) {
	if settings == nil {
		return nil, nil
	}
	if settings.ClientCAs == nil || len(settings.Certificate.Certificate) == 0 {
		return nil, errors.New("actors: remote clients need a Certificate and ClientCAs") // without, TLS asks the system's
	}
	t := &remote{
		d: d, settings: *settings, bridges: map[*bridge]bool{},
		config: endpoint.ServerTLS(settings.Certificate, settings.ClientCAs),
		socket: &socket{name: "tls", kind: stages.Admin, closed: make(chan struct{}), drained: make(chan struct{})},
	}
	t.settings.Connections = orDefault(t.settings.Connections, 128)
	t.settings.Handshake = orDefault(t.settings.Handshake, 10*time.Second)
	t.slots = make(chan struct{}, t.settings.Connections)
	// A client whose machine has gone is found out within a minute or so.
	listen := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	var err error
	t.listener, err = listen.Listen(context.Background(), "tcp", t.settings.Address)
	return t, err
}

// RemoteAddr is where clients on other machines are served; nil if they are not.
func (d *Daemon) RemoteAddr() net.Addr {
	if d.remote == nil {
		return nil
	}
	return d.remote.listener.Addr()
}

// accept takes connections until the listener is shut. One too many is closed at once: before it has proved who it is, it
// is told nothing.
func (t *remote) accept() error {
	for {
		conn, err := t.listener.Accept()
		switch {
		case err == nil:
			t.admit(conn.(*net.TCPConn))
		case errors.Is(err, net.ErrClosed): // shut
			close(t.socket.drained)
			return nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM):
			t.d.shed("the system has no room for another connection")
			t.socket.pause(acceptPause)
		default:
			close(t.socket.drained)
			return err
		}
	}
}

func (t *remote) admit(conn *net.TCPConn) {
	select {
	case t.slots <- struct{}{}:
	default:
		t.d.tooMany()
		_ = conn.Close()
		return
	}
	b := &bridge{t: t, wire: &endpoint.Wire{TCPConn: conn}}
	b.client = tls.Server(b.wire, t.config)
	t.mu.Lock()
	t.bridges[b] = true
	t.mu.Unlock()
	t.running.Add(1)
	go guarded(b.run, func(err error) {
		b.crashed(err)
		b.close()
		t.mu.Lock()
		delete(t.bridges, b)
		t.mu.Unlock()
		<-t.slots
		t.running.Done()
	})
}

// shut accepts no more connections, and ends those that have not proved yet who they are. No request is begun after it.
func (t *remote) shut() {
	close(t.socket.closed)
	_ = t.listener.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shutDown = true
	for b := range t.bridges {
		if b.actor == nil {
			_ = b.wire.Close()
		}
	}
}

// wait returns when every client has got what there was for it, or ctx ends. The listener has to be shut.
func (t *remote) wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		<-t.socket.drained
		t.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// close ends what is left, once no request is open.
func (t *remote) close() {
	t.mu.Lock()
	for b := range t.bridges {
		_ = b.wire.Close()
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	t.wait(ctx)
}

// bridge is one client over TLS.
type bridge struct {
	t      *remote
	wire   *endpoint.Wire
	client *tls.Conn
	actor  *net.UnixConn // whose other end a request actor has; nil while there is none, which t.mu guards
	pid    *actor.PID    // of that actor; nil: there was one connection too many, and the answer is there

	peer *messages.Peer
	name string // by which the log knows the client

	whole atomic.Bool // the client has ended its request
	cut   atomic.Bool // it has left before that
	gone  atomic.Bool // it has left after that, or closed its connection for writing
}

// linger is how long a client that is answered before it has sent its request may go on sending: were its connection
// closed at once, the kernel would reset it, and the client might not get to read the answer.
const linger = time.Second

// run is the life of a bridge: one goroutine carries the reply, and another the request.
func (b *bridge) run() error {
	_ = b.wire.SetDeadline(time.Now().Add(b.t.settings.Handshake))
	if err := b.client.Handshake(); err != nil {
		b.t.d.stats.refused.Add(1)
		b.t.d.log.Unproven(b.t.socket.name, b.wire.RemoteAddr().String(), unproven(err))
		_ = b.wire.CloseWrite()
		_ = b.wire.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.Copy(io.Discard, io.LimitReader(b.wire, drainAtMost)) // so that it gets to read the alert
		return nil
	}
	_ = b.wire.SetDeadline(time.Time{})
	b.peer, b.name = b.t.identify(b.client.ConnectionState().PeerCertificates[0])
	if !b.begin() {
		return nil
	}
	up := make(chan struct{})
	go guarded(b.up, func(err error) {
		b.crashed(err)
		close(up)
	})
	b.down()
	if b.whole.Load() {
		_ = b.wire.SetReadDeadline(time.Unix(1, 0))
	} else {
		_ = b.wire.SetReadDeadline(time.Now().Add(linger))
	}
	<-up
	return nil
}

// identify says what the holder of a verified certificate may claim, and what the log calls it.
func (t *remote) identify(cert *x509.Certificate) (*messages.Peer, string) {
	for _, c := range t.settings.Peers {
		if c.is(cert) {
			return c.Peer, c.DNS + c.URI
		}
	}
	names := cert.DNSNames
	for _, u := range cert.URIs {
		names = append(names[:len(names):len(names)], u.String())
	}
	for _, n := range names {
		if showable.MatchString(n) {
			return &noSource, n
		}
	}
	return &noSource, "?"
}

// showable are the names of strangers that the log may show.
var showable = regexp.MustCompile(`^[A-Za-z0-9*._:/@-]{1,253}$`)

// begin starts a request actor, if the daemon still takes requests.
func (b *bridge) begin() bool {
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	if b.t.shutDown {
		return false
	}
	fd, conn, err := pair()
	if err != nil {
		b.t.d.shed("the system has no room for another connection")
		return false
	}
	b.actor = conn
	b.pid = b.t.requests.start(fd, b)
	return true
}

// pair makes two connected sockets.
func pair() (fd int, conn *net.UnixConn, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	file := os.NewFile(uintptr(ends[1]), "bridge")
	c, err := net.FileConn(file) // which copies the descriptor
	_ = file.Close()
	if err != nil {
		_ = unix.Close(ends[0])
		return -1, nil, err
	}
	return ends[0], c.(*net.UnixConn), nil
}

// up carries the request, and then sees when the client leaves.
func (b *bridge) up() error {
	room := make([]byte, 16<<10)
	for {
		n, err := b.client.Read(room)
		if n > 0 {
			_, _ = b.actor.Write(room[:n]) // an actor that has answered takes no more, and the rest is thrown away
		}
		switch {
		case err == nil:
		case b.wire.Ended(err):
			b.whole.Store(true)
			_ = b.actor.CloseWrite()
			b.watch()
			return nil
		default:
			b.cut.Store(true) // before the actor learns that there is no more
			_ = b.actor.Close()
			return nil
		}
	}
}

// watch sees when a client leaves that has ended its request. Of one that has closed its connection, TCP does not say
// whether only for writing, until something is sent there. A reply is sent in any case: whoever still reads gets it. A
// stream may have nothing to send for long, so it ends.
func (b *bridge) watch() {
	if endpoint.Finished(b.wire) != nil || b.pid == nil {
		return
	}
	b.gone.Store(true) // before the actor is told
	b.t.d.send(b.pid, ready{})
	if endpoint.Left(b.wire) == nil {
		_ = b.actor.Close()
	}
}

// down carries the reply, each part as it comes, and then says with close_notify that this was all.
func (b *bridge) down() {
	_, err := io.Copy(b.client, b.actor)
	_ = b.actor.Close()
	if err == nil && b.client.CloseWrite() == nil {
		_ = b.wire.CloseWrite()
	}
}

// answered is for when the request actor is about to close its end: then the client has as long to take what is left as
// any. b may be nil.
func (b *bridge) answered() {
	if b != nil {
		_ = b.wire.SetWriteDeadline(time.Now().Add(b.t.d.settings.ReadTimeout))
	}
}

// wasCut reports whether the client has left before its request was whole. b may be nil.
func (b *bridge) wasCut() bool { return b != nil && b.cut.Load() }

// hasGone reports whether nobody would read a stream. b may be nil.
func (b *bridge) hasGone() bool { return b != nil && b.gone.Load() }

// errTruncated is for a client that is not there to read it.
var errTruncated = exception.New(exception.ProtocolError, "the request was cut off: close_notify has to end it")

// crashed tells the log of a panic in one of the bridge's goroutines, which costs this client its connection.
func (b *bridge) crashed(err error) {
	if c, ok := err.(*crash); ok {
		b.t.d.tellCrash("bridge", "bridge", 1, c, nil)
		b.cut.Store(true)
		b.close()
	}
}

func (b *bridge) close() {
	_ = b.wire.Close()
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	if b.actor != nil {
		_ = b.actor.Close()
	}
}

// unproven says why a handshake failed, in our own words: those of crypto/tls quote certificates.
func unproven(err error) string {
	var (
		wait     net.Error
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		verified *tls.CertificateVerificationError
		told     *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return "no client CA has signed its certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate is not valid now"
	case errors.As(err, &verified):
		return "its certificate does not hold"
	case errors.As(err, &wait) && wait.Timeout():
		return "it took too long"
	case errors.As(err, &told) && told.Op == "remote error":
		return "it does not accept the daemon's certificate, or broke off"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, unix.ECONNRESET):
		return "it left, or was not waited for"
	default:
		return "it does not speak TLS 1.3, or has no certificate"
	}
}
