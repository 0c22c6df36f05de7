package actors

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/internal/endpoint"
	"sallyport/stages"
)

// socket is where a daemon listens.
type socket struct {
	name   string // admin, internal or misc
	kind   stages.Socket
	path   string
	file   *os.File
	closed chan struct{}
	// drained is closed when no connection will be taken any more.
	drained chan struct{}
}

// socketNames are how a log line calls them.
var socketNames = map[stages.Socket]string{stages.Admin: "admin", stages.Internal: "internal", stages.Misc: "misc"}

// ErrExists says that another daemon listens on a socket already.
var ErrExists = endpoint.ErrExists

// openSockets opens all, or none.
func openSockets(paths map[stages.Socket]string) ([]*socket, error) {
	var open []*socket
	for _, kind := range []stages.Socket{stages.Admin, stages.Internal, stages.Misc} {
		path := paths[kind]
		if path == "" {
			continue
		}
		s := &socket{name: socketNames[kind], kind: kind, path: path, closed: make(chan struct{}), drained: make(chan struct{})}
		if err := s.open(); err != nil {
			for _, o := range open {
				o.close()
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		open = append(open, s)
	}
	return open, nil
}

// open makes the socket, mode 0770 and of group qubes where there is one (spec: wire.md 1). A file that is left of a
// daemon that has gone is replaced; one that somebody listens on is not.
func (s *socket) open() error {
	if err := endpoint.RemoveStale(s.path); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// The file gets the mode of the descriptor: nobody else's until it has its group. (The umask would do, but it is the
	// whole process's.)
	err = unix.Fchmod(fd, 0o700)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: s.path})
	}
	if err == nil {
		giveToGroup(s.path)
		err = os.Chmod(s.path, 0o770)
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.file = os.NewFile(uintptr(fd), s.path)
	return nil
}

// shut removes the file, so that nobody finds the socket any more, and has the listener take the connections that are
// there already, and then close drained.
func (s *socket) shut() {
	close(s.closed)
	_ = os.Remove(s.path)
	_ = s.file.SetReadDeadline(time.Unix(1, 0))
}

// close is for a socket that is shut, or that has no listener.
func (s *socket) close() {
	if !s.isClosed() {
		s.shut()
	}
	_ = s.file.Close()
}

func (s *socket) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// pause waits for a while, or until the socket is closed.
func (s *socket) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.closed:
	}
}

// giveToGroup lets the group qubes connect, where it exists and we may.
func giveToGroup(path string) {
	if g, err := user.LookupGroup("qubes"); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // without it, only the owner can connect, which is safe
		}
	}
}
