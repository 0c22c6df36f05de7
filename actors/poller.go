package actors

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What a request actor is told. They are values without content, so that telling costs nothing.
type (
	ready   struct{} // the client sent something, took something, or left
	expired struct{} // it took too long
	halted  struct{} // the daemon is stopping
)

// watched tells request actors when their clients are ready, or too slow. A connection that waits costs no goroutine and
// no timer: one goroutine, poll, asks the kernel for all, and, since all may wait equally long, they stand in one line by
// deadline. It outlives a crash of poll. Safe for concurrent use.
type watched struct {
	epoll   *os.File
	fd      int // of epoll
	timeout time.Duration
	clock   Clock
	tell    func(*request, any)

	mu          sync.Mutex
	byFD        []*request
	first, last *request // of the line
	ticking     bool     // a timer is set for the first of the line, or for one that has left it
	stopping    bool
}

// inLine is a request's place among those that wait.
type inLine struct {
	before, after *request
	deadline      time.Time
	standing      bool
	registered    bool   // with the kernel
	events        uint32 // that it tells of
}

func newWatched(d *Daemon) (*watched, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &watched{
		epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, timeout: d.settings.ReadTimeout, clock: d.settings.Clock,
		tell: func(r *request, message any) { d.send(r.call.request, message) },
	}, nil
}

// watch has r told when its client is ready, and when the time that it has had since it stood in line is up. It may be
// told in vain.
func (w *watched) watch(r *request, events uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping && events&unix.EPOLLOUT == 0 {
		return errStopping
	}
	w.stand(r)
	return w.register(r, events)
}

// attend has r told when its client leaves, and of those events, for as long as that takes. It is the kernel that tells
// of a client that has left, unasked, and that once: one that has only ended its request has not.
func (w *watched) attend(r *request, events uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.line.registered && r.line.events == events && events == 0 {
		return nil
	}
	return w.register(r, events)
}

// register asks the kernel to tell of r's client.
func (w *watched) register(r *request, events uint32) error {
	for len(w.byFD) <= r.conn.fd {
		w.byFD = append(w.byFD, nil)
	}
	w.byFD[r.conn.fd] = r
	op := unix.EPOLL_CTL_ADD
	if r.line.registered {
		op = unix.EPOLL_CTL_MOD
	}
	r.line.registered, r.line.events = true, events
	return unix.EpollCtl(w.fd, op, r.conn.fd, &unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(r.conn.fd)})
}

// leave takes r out of line: nobody waits for its client now. It may still be told that the client is ready.
func (w *watched) leave(r *request) {
	if !r.line.registered {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unstand(r)
}

// forget is for before r's descriptor is closed, which ends the kernel's part.
func (w *watched) forget(r *request) {
	if !r.line.registered {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unstand(r)
	w.byFD[r.conn.fd] = nil
}

// stand puts r at the end of the line; the time of who stands there already runs on.
func (w *watched) stand(r *request) {
	if r.line.standing {
		return
	}
	r.line.standing, r.line.deadline, r.line.before = true, w.clock.Now().Add(w.timeout), w.last
	if w.last != nil {
		w.last.line.after = r
	} else {
		w.first = r
	}
	w.last = r
	w.tick(w.timeout)
}

func (w *watched) unstand(r *request) {
	if !r.line.standing {
		return
	}
	before, after := r.line.before, r.line.after
	if before != nil {
		before.line.after = after
	} else {
		w.first = after
	}
	if after != nil {
		after.line.before = before
	} else {
		w.last = before
	}
	r.line.before, r.line.after, r.line.standing = nil, nil, false
}

// tick sees to it that expire is called in time. Setting a timer for each who waits, and stopping it, would cost more
// than one that fires in vain now and then.
func (w *watched) tick(in time.Duration) {
	if !w.ticking {
		w.ticking = true
		w.clock.AfterFunc(in, w.expire)
	}
}

// expire tells whoever has waited too long.
func (w *watched) expire() {
	w.mu.Lock()
	var late []*request
	now := w.clock.Now()
	for w.first != nil && !w.first.line.deadline.After(now) {
		late = append(late, w.first)
		w.unstand(w.first)
	}
	w.ticking = false
	if w.first != nil {
		w.tick(w.first.line.deadline.Sub(now))
	}
	w.mu.Unlock()
	for _, r := range late {
		w.tell(r, expired{})
	}
}

// halt tells all who wait that the daemon is stopping. Nobody may begin to wait for a request after it.
func (w *watched) halt() {
	w.mu.Lock()
	w.stopping = true
	var waiting []*request
	for r := w.first; r != nil; r = r.line.after {
		waiting = append(waiting, r)
	}
	w.mu.Unlock()
	for _, r := range waiting {
		w.tell(r, halted{})
	}
}

func (w *watched) close() { _ = w.epoll.Close() }

// poll tells requests of what the kernel reports, until w is closed, which nobody asks about any more.
func (w *watched) poll() error {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 256)
	for {
		var n int
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0) // which is never interrupted, since it never waits
			return n > 0
		})
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if r := w.at(int(e.Fd)); r != nil {
				w.tell(r, ready{})
			}
		}
	}
}

// at is whose descriptor fd is; nil if that is nobody's any more.
func (w *watched) at(fd int) *request {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fd >= len(w.byFD) {
		return nil
	}
	return w.byFD[fd]
}
