package actors

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/messages"
)

// connection is one client's socket. Most requests are there when the connection is accepted, and most replies fit the
// socket's buffer; then three system calls are all it takes, and no goroutine waits. Only for the others it is handed
// to the runtime's poller. One goroutine at a time has it.
type connection struct {
	fd      int      // non-blocking
	polled  *os.File // owns fd, once the poller has it
	partial []byte   // what has arrived of the request
}

// scratch has room for the largest request and a byte more.
var scratch = sync.Pool{New: func() any { return new([messages.MaxRequest + 1]byte) }}

// errLater says that the client is not ready.
var errLater = errors.New("not yet")

// read takes what has arrived. It returns nil when the client has closed its side, so that partial is the whole request;
// errLater when it has not; and an exception when the request is too large.
func (c *connection) read() error {
	room := scratch.Get().(*[messages.MaxRequest + 1]byte)
	defer scratch.Put(room)
	n := copy(room[:], c.partial)
	had := n
	for {
		m, err := unix.Read(c.fd, room[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if n > had {
				c.partial = append([]byte(nil), room[:n]...)
			}
			return errLater
		case err != nil: // reset: there is nobody to answer, which the reply will find out
			m = 0
		}
		if m == 0 {
			if n > had {
				c.partial = append([]byte(nil), room[:n]...)
			}
			return nil
		}
		if n += m; n > messages.MaxRequest {
			c.partial = nil
			return messages.ErrTooLarge
		}
	}
}

// take gives what has arrived, once.
func (c *connection) take() []byte {
	b := c.partial
	c.partial = nil
	return b
}

// readOn waits for the rest of the request, until the deadline.
func (c *connection) readOn(timeout time.Duration) error {
	_ = c.polled.SetReadDeadline(time.Now().Add(timeout))
	raw, err := c.polled.SyscallConn()
	if err != nil {
		return err
	}
	var outcome error
	err = raw.Read(func(uintptr) bool {
		outcome = c.read()
		return outcome != errLater
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return messages.ErrSlow
	}
	return errors.Join(outcome, err)
}

// drainAtMost is how much of a request that is too large is thrown away before the connection is closed all the same.
const drainAtMost = 1 << 20

// drain throws away what the client still sends, so that it gets to read why its request was refused.
func (c *connection) drain(timeout time.Duration) {
	_ = c.polled.SetReadDeadline(time.Now().Add(timeout))
	raw, err := c.polled.SyscallConn()
	if err != nil {
		return
	}
	room := scratch.Get().(*[messages.MaxRequest + 1]byte)
	defer scratch.Put(room)
	left := drainAtMost
	_ = raw.Read(func(fd uintptr) bool {
		for left > 0 {
			n, err := unix.Read(int(fd), room[:])
			if err == unix.EAGAIN {
				return false
			}
			if n <= 0 && err != unix.EINTR {
				return true
			}
			left -= max(n, 0)
		}
		return true
	})
}

// poll gives the connection to the runtime's poller: readOn, drain, writeOn and interrupt need that.
func (c *connection) poll() {
	if c.polled == nil {
		c.polled = os.NewFile(uintptr(c.fd), "")
	}
}

// write sends what the client takes at once, and gives the rest.
func (c *connection) write(frame []byte) (rest []byte, err error) {
	for len(frame) > 0 {
		n, err := unix.SendmsgN(c.fd, frame, nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return frame, nil
		case err != nil:
			return nil, err
		default:
			frame = frame[n:]
		}
	}
	return nil, nil
}

// writeOn waits for the client to take all of frame, until the deadline.
func (c *connection) writeOn(frame []byte, timeout time.Duration) error {
	_ = c.polled.SetWriteDeadline(time.Now().Add(timeout))
	_, err := c.polled.Write(frame)
	return err
}

// interrupt ends a readOn or writeOn that another goroutine is in.
func (c *connection) interrupt() { _ = c.polled.SetDeadline(time.Now()) }

// gone reports whether the client has closed both sides. A client that has only ended its request has not.
func (c *connection) gone() bool {
	fds := []unix.PollFd{{Fd: int32(c.fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// close ends the connection. What the client has not read yet, it still can.
func (c *connection) close() {
	if c.polled != nil {
		_ = c.polled.Close()
	} else if c.fd >= 0 {
		_ = unix.Close(c.fd)
	}
	c.fd, c.polled = -1, nil
}

// Credentials are what the kernel says about who holds the other end of a connection.
type Credentials struct {
	PID      int32
	UID, GID uint32
	fd       int
}

// Groups gives the supplementary groups. It asks the kernel, while the connection is being accepted and no later.
func (c Credentials) Groups() ([]uint32, error) { return peerGroups(c.fd) }

// credentials asks the kernel.
func (c *connection) credentials() (Credentials, error) {
	cred, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{cred.Pid, cred.Uid, cred.Gid, c.fd}, nil
}

// peerGroups reads SO_PEERGROUPS, for which the library has no call.
func peerGroups(fd int) ([]uint32, error) {
	size := uint32(64)
	for {
		groups := make([]uint32, size)
		bytes := size * 4
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&bytes)), 0)
		switch {
		case errno == 0:
			return groups[:bytes/4], nil
		case errno == syscall.ERANGE:
			size = bytes / 4
		default:
			return nil, errno
		}
	}
}

// OwnUser lets root and the daemon's own user claim any source, and nobody else any: what dom0's tools and the qrexec
// daemon need (design: 7).
func OwnUser(c Credentials) *messages.Peer {
	if c.UID == 0 || int(c.UID) == os.Geteuid() {
		return &anySource
	}
	return &noSource
}

var (
	anySource = messages.Peer{Any: true}
	noSource  messages.Peer
)
