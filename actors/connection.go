package actors

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/messages"
)

// connection is one client's socket, which never blocks. Most requests are there when the connection is accepted, and
// most replies fit the socket's buffer: then nobody waits. Only the request actor uses it.
type connection struct {
	fd      int    // -1: closed
	partial []byte // what has arrived of the request
	dropped int    // bytes of a request that is too large
	ended   bool   // the client has closed its side
}

// scratch has room for the largest request and a byte more.
var scratch = sync.Pool{New: func() any { return new([messages.MaxRequest + 1]byte) }}

// errLater says that the client is not ready.
var errLater = errors.New("not yet")

// drainAtMost is how much of a request that is too large is thrown away before it is answered all the same.
const drainAtMost = 1 << 20

// read takes what has arrived. It returns nil when the client has closed its side, so that the request is whole; errLater
// when it has not; and an exception when the request is too large, once that has been read on and thrown away, so that
// the client gets to read why.
func (c *connection) read() error {
	room := scratch.Get().(*[messages.MaxRequest + 1]byte)
	defer scratch.Put(room)
	had := copy(room[:], c.partial)
	n, end := had, false
	for !end && n <= messages.MaxRequest {
		m, err := unix.Read(c.fd, room[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			c.keep(room[:n], had)
			return errLater
		case err != nil || m == 0: // after a reset there is nobody to answer, which the reply will find out
			end, c.ended = true, true
		case c.dropped > 0:
			if c.dropped += m; c.dropped > drainAtMost {
				return messages.ErrTooLarge
			}
		default:
			if n += m; n > messages.MaxRequest {
				c.dropped, c.partial, n, had = n, nil, 0, 0
			}
		}
	}
	if c.dropped > 0 {
		return messages.ErrTooLarge
	}
	c.keep(room[:n], had)
	return nil
}

// keep has what is new since had.
func (c *connection) keep(b []byte, had int) {
	if len(b) > had {
		c.partial = append([]byte(nil), b...)
	}
}

// take gives what has arrived, once.
func (c *connection) take() []byte {
	b := c.partial
	c.partial = nil
	return b
}

// write sends what the client takes now, and gives the rest.
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

// writeAll sends what the client takes now of some frames, in order, and gives how many bytes those are.
func (c *connection) writeAll(frames [][]byte) (int, error) {
	const most = 256 // for one call of the kernel, which takes up to 1024
	for {
		n, err := unix.SendmsgBuffers(c.fd, frames[:min(len(frames), most)], nil, nil, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// left reports whether the client has closed its connection, and not only its side of it.
func (c *connection) left() bool {
	fds := []unix.PollFd{{Fd: int32(c.fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// close ends the connection. What the client has not read yet, it still can.
func (c *connection) close() {
	if !c.ended {
		c.drain()
	}
	_ = unix.Close(c.fd)
	c.fd = -1
}

// drain takes no more, and throws away what was sent already: else the kernel would end the connection with an error,
// which many clients report instead of the answer that they got before it.
func (c *connection) drain() {
	_ = unix.Shutdown(c.fd, unix.SHUT_RD)
	room := scratch.Get().(*[messages.MaxRequest + 1]byte)
	defer scratch.Put(room)
	for n, err := 1, error(nil); n > 0 || err == unix.EINTR; {
		n, err = unix.Read(c.fd, room[:])
	}
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
