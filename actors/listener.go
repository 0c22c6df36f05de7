package actors

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
)

// listener accepts connections on one socket and starts a request actor for each. The waiting is done by a goroutine of
// its own, whose panic is the actor's; the socket outlives both.
type listener struct {
	d      *Daemon
	socket *socket
}

// acceptEnded is what the goroutine reports when it ends.
type acceptEnded struct{ err error }

func (l *listener) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		self := ctx.Self()
		go guarded(l.accept, func(err error) { l.d.send(self, &acceptEnded{err}) })
	case *acceptEnded:
		var c *crash
		if errors.As(m.err, &c) {
			panic(c)
		}
		if m.err != nil {
			l.d.health.failing("socket "+l.socket.name, "a socket accepts no more connections: "+m.err.Error())
		}
	}
}

// acceptPause is how long to wait when the system has no descriptor or memory for another connection.
const acceptPause = 10 * time.Millisecond

// accept takes connections until the socket is shut, and then those that were there already.
func (l *listener) accept() error {
	raw, err := l.socket.file.SyscallConn()
	if err != nil {
		return err
	}
	err = l.acceptAll(raw)
	close(l.socket.drained) // not after a panic, which has the actor begin anew
	return err
}

func (l *listener) acceptAll(raw syscall.RawConn) error {
	requests := newRequests(l.d, l.socket)
	for {
		fd, err := acceptOne(raw)
		switch {
		case err == nil:
			requests.start(fd, nil)
		case errors.Is(err, os.ErrDeadlineExceeded): // shut
			return raw.Control(func(s uintptr) {
				for fd, err := acceptOn(s); err == nil; fd, err = acceptOn(s) {
					requests.start(fd, nil)
				}
			})
		case err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM:
			l.d.shed("the system has no room for another connection")
			l.socket.pause(acceptPause)
		case err != unix.EINTR && err != unix.ECONNABORTED:
			return err
		}
	}
}

func acceptOne(raw syscall.RawConn) (fd int, err error) {
	if closed := raw.Read(func(s uintptr) bool {
		fd, err = acceptOn(s)
		return err != unix.EAGAIN
	}); closed != nil {
		return -1, closed
	}
	return fd, err
}

// acceptOn is unix.Accept4 without the four allocations for an address that nobody asked for.
func acceptOn(s uintptr) (fd int, err error) {
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, s, 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
