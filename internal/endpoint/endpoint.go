// Package endpoint is what the daemon and the tool's proxy do alike with sockets.
package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// ServerTLS is how a server proves who it is, and has clients prove it: with a certificate that one of those authorities has
// signed, over TLS 1.3.
func ServerTLS(certificate tls.Certificate, clients *x509.CertPool) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		SessionTicketsDisabled: true, // each connection proves anew who it is
	}
}

// ErrExists says that somebody listens on a socket already.
var ErrExists = errors.New("another daemon listens there already")

// RemoveStale makes room for a socket at path: one that is left of a process that has gone is removed. One that somebody
// listens on, and a file that is no socket, stay, and are errors.
func RemoveStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("exists, and is no socket")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != unix.ECONNREFUSED {
		return ErrExists
	}
	return os.Remove(path)
}

// Left returns nil when whoever holds the other end of conn has closed it altogether, and not only for writing: of TCP,
// the kernel learns that when it sends something, or by keep-alive. It returns an error when conn is closed here, or its
// read deadline passes. Nobody may read from conn meanwhile.
func Left(conn syscall.Conn) error { return await(conn, unix.POLLHUP|unix.POLLERR) }

// Finished returns nil when whoever holds the other end of conn will send no more: it has closed it for writing, or
// altogether. What it sent before can still be read. Otherwise it is like Left.
func Finished(conn syscall.Conn) error {
	return await(conn, unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR)
}

// await returns nil when any of those events has come to conn.
func await(conn syscall.Conn, events int16) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0 && fds[0].Revents&events != 0
	})
}

// Wire is what TLS runs over. It tells a stream that its writer has ended, with close_notify, from one that was cut off:
// crypto/tls gives io.EOF for either, and whoever cuts a connection could have half a message taken for the whole.
type Wire struct {
	*net.TCPConn
	cut atomic.Bool
}

// Read is part of net.Conn.
func (w *Wire) Read(p []byte) (int, error) {
	n, err := w.TCPConn.Read(p)
	if err == io.EOF { // which TLS, after close_notify, never gets to
		w.cut.Store(true)
	}
	return n, err
}

// Ended reports whether err, which reading from the TLS connection over w gave, is the other side's close_notify.
func (w *Wire) Ended(err error) bool { return err == io.EOF && !w.cut.Load() }
