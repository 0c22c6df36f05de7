package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"sallyport/internal/endpoint"
)

// proxyOptions are the flags of sallyport proxy.
type proxyOptions struct {
	connect, socket string
	tlsFlags
}

func newProxy(stderr io.Writer) *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{
		Use:   "proxy --connect ADDR --socket PATH --cert FILE --key FILE",
		Short: "Give clients on this machine a socket to a daemon on another",
		Long: `Give clients on this machine a socket to a daemon on another, which serves its admin socket's methods over TLS.

Each client has a connection of its own, on which the daemon knows it by the certificate, whoever it is: so only this user
may connect to the socket. What the daemon says is passed on as it comes, if it is events; a reply, once it is whole.

Exit codes: 0 told to stop; 2 usage, a file that is no good, or a socket that cannot be made. What keeps a client from its
reply goes to standard error.`,
		Example: `  sallyport proxy --connect 192.0.2.1:8643 --socket ~/dom0.sock --cert me.pem --key me.key --ca daemon.pem &
  sallyport call --socket ~/dom0.sock admin.vm.List`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := newRelay(o, stderr)
			if err != nil {
				return err
			}
			listener, err := listenAt(o.socket)
			if err != nil {
				return err
			}
			ctx, stop := untilTold()
			defer stop()
			return serveClients(ctx, listener, relayClients, r.serve)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.connect, "connect", "", "`ADDR` of the daemon: HOST:PORT")
	f.StringVar(&o.socket, "socket", "", "`PATH` of the socket to make")
	o.flags(cmd)
	return cmd
}

// tlsFlags are how we and a daemon on another machine prove who we are.
type tlsFlags struct{ cert, key, ca, server string }

func (t *tlsFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.cert, "cert", "", "PEM `FILE` of the certificate by which the daemon knows us")
	f.StringVar(&t.key, "key", "", "PEM `FILE` of its key")
	f.StringVar(&t.ca, "ca", "", "PEM `FILE` of the authorities that sign the daemon's certificate (default the system's)")
	f.StringVar(&t.server, "server-name", "", "`NAME` in the daemon's certificate (default HOST)")
}

// config is how to call the daemon at addr, which flag gave.
func (t tlsFlags) config(flag, addr string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(addr)
	switch {
	case err != nil || host == "":
		return nil, fmt.Errorf("%s is the address of a daemon: HOST:PORT", flag)
	case t.cert == "" || t.key == "":
		return nil, errors.New("--cert and --key are the files by which the daemon knows us")
	}
	certificate, err := identity(t.cert, t.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{certificate}, ServerName: t.server, MinVersion: tls.VersionTLS13}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.ca != "" {
		c.RootCAs, err = authorities(t.ca)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// identity reads the files of --cert and --key.
func identity(cert, key string) (tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return certificate, fail(exitUsage, "--cert, --key: expected PEM files of a certificate and its key: %v", err)
	}
	return certificate, nil
}

// authorities reads the file of --ca.
func authorities(ca string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if pem, err := os.ReadFile(ca); err != nil || !pool.AppendCertsFromPEM(pem) {
		return nil, fail(exitUsage, "--ca: expected a PEM file of certificates: %s", ca)
	}
	return pool, nil
}

const (
	relayClients = 128              // at once
	relayDial    = 10 * time.Second // to reach the daemon, and again to agree with it on keys
)

// relay passes on what clients of a socket and a daemon say to each other.
type relay struct {
	daemon string
	config *tls.Config
	teller
}

func newRelay(o proxyOptions, stderr io.Writer) (*relay, error) {
	if o.socket == "" {
		return nil, errors.New("--socket is the path of the socket to make")
	}
	c, err := o.config("--connect", o.connect)
	if err != nil {
		return nil, err
	}
	return &relay{daemon: o.connect, config: c, teller: teller{of: o.connect, stderr: stderr}}, nil
}

// serve serves a client.
func (r *relay) serve(stop, end context.Context, client *net.UnixConn) {
	c := &relayed{relay: r, local: client}
	if err := c.run(stop, end); err != nil {
		r.say(err)
	}
}

// relayed is one client.
type relayed struct {
	*relay
	local  *net.UnixConn
	wire   *endpoint.Wire
	daemon *tls.Conn
}

// run is the life of a connection. Its error says why the client got no reply, or no whole one.
func (c *relayed) run(stop, end context.Context) error {
	defer c.local.Close()
	defer context.AfterFunc(end, func() { _ = c.local.Close() })()
	if err := c.reach(end); err != nil {
		_ = c.local.SetReadDeadline(time.Now().Add(relayDial))
		_, _ = io.Copy(io.Discard, c.local) // as below: it gets no reply, and no error either
		return err
	}
	defer c.wire.Close()
	defer context.AfterFunc(end, func() { _ = c.wire.Close() })()
	var up sync.WaitGroup
	up.Go(func() { _ = passUp(c.local, c.daemon) }) // its end is a close_notify
	err := c.down(stop)
	// What a client still sends is read and thrown away: else the kernel would reset its connection, and many clients
	// report that instead of the reply that they got before.
	_ = c.wire.Close()
	_ = c.local.CloseRead()
	up.Wait()
	return err
}

// reach connects to the daemon.
func (c *relayed) reach(end context.Context) error {
	dialer := net.Dialer{Timeout: relayDial}
	raw, err := dialer.DialContext(end, "tcp", c.relay.daemon)
	if err != nil {
		return fmt.Errorf("no daemon there: %w", cause(err))
	}
	c.wire = &endpoint.Wire{TCPConn: raw.(*net.TCPConn)}
	c.daemon = tls.Client(c.wire, c.config)
	ctx, cancel := context.WithTimeout(end, relayDial)
	defer cancel()
	if err := c.daemon.HandshakeContext(ctx); err != nil {
		_ = c.wire.Close()
		return fmt.Errorf("not the daemon: %w", cause(err))
	}
	return nil
}

// down passes on what the daemon says: events as they come, and a reply once it is whole, since of half a reply no client
// could know that it is half.
func (c *relayed) down(stop context.Context) error {
	reply := bufio.NewReader(c.daemon)
	if tag, _ := reply.Peek(2); string(tag) == "1\x00" {
		return c.stream(stop, reply)
	}
	whole, err := io.ReadAll(io.LimitReader(reply, maxReply+1))
	switch err = c.broken(err); {
	case err != nil:
		return err
	case len(whole) == 0:
		return errors.New("not a reply: the daemon closed the connection without one")
	case len(whole) > maxReply:
		return fmt.Errorf("not a reply: longer than %d bytes", maxReply)
	}
	_ = c.local.SetWriteDeadline(time.Now().Add(drain))
	_, _ = c.local.Write(whole) // a client that has left misses nothing
	return nil
}

// stream passes on events, until the daemon ends them, the client leaves, or we are told to stop.
func (c *relayed) stream(stop context.Context, events io.Reader) error {
	var over atomic.Bool // for a reason that nobody has to be told
	finish := func() {
		over.Store(true)
		_ = c.wire.Close() // by which the daemon learns that nobody listens
		_ = c.local.SetWriteDeadline(time.Unix(1, 0))
	}
	defer context.AfterFunc(stop, finish)()
	var watch sync.WaitGroup
	watch.Go(func() {
		if endpoint.Left(c.local) == nil {
			finish()
		}
	})
	_, err := io.Copy(c.local, heard{events, c})
	_ = c.local.SetReadDeadline(time.Unix(1, 0)) // which ends the watch
	watch.Wait()
	_ = c.local.SetReadDeadline(time.Time{})
	var broken *brokenError
	if errors.As(err, &broken) && !over.Load() {
		return err
	}
	return nil
}

// heard is what the daemon says; its errors are those of reading it.
type heard struct {
	io.Reader
	c *relayed
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if err != nil {
		if broken := h.c.broken(err); broken != nil {
			err = broken
		}
	}
	return n, err
}

// brokenError says why the daemon stopped speaking.
type brokenError struct{ why error }

func (e *brokenError) Error() string { return "not a reply: " + e.why.Error() }

// broken is the failure of a daemon from which there is no more to read because of err. It is nil if the daemon has said
// all, with close_notify; then err is io.EOF, or nil where that stands for it.
func (c *relayed) broken(err error) error {
	switch {
	case err != nil && err != io.EOF:
		return &brokenError{cause(err)}
	case !c.wire.Ended(io.EOF):
		return &brokenError{errors.New("the connection was cut")}
	default:
		return nil
	}
}
