package actors

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptPause is how long to wait when the system has no descriptor or memory for another connection.
const acceptPause = 10 * time.Millisecond

// accept takes connections, each for a request actor of its own, until the socket is shut, and then those that were there
// already.
func (s *socket) accept(d *Daemon) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	err = s.acceptAll(d, raw)
	close(s.drained) // not after a panic, which has the actor begin anew
	return err
}

func (s *socket) acceptAll(d *Daemon, raw syscall.RawConn) error {
	requests := newRequests(d, s)
	for {
		fd, err := acceptOne(raw)
		switch {
		case err == nil:
			requests.start(fd, nil)
		case errors.Is(err, os.ErrDeadlineExceeded): // shut
			return raw.Control(func(on uintptr) {
				for fd, err := acceptOn(on); err == nil; fd, err = acceptOn(on) {
					requests.start(fd, nil)
				}
			})
		case err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM:
			d.shed("the system has no room for another connection")
			s.pause(acceptPause)
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
