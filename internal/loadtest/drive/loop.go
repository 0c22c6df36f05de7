package drive

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// loop is a maker of calls over a unix socket. It is one thread, and what it has is its own, but for the Recorder and
// the count of what is under way.
type loop struct {
	d    *driver
	plan *plan
	rec  *measure.Recorder
	words
	under atomic.Int64 // calls under way

	addr    unix.RawSockaddrUnix
	addrLen uintptr
	epoll   int
	most    int           // calls at the same time
	flights []*flight     // by the index that epoll knows them by
	spare   []int         // indexes that are free
	refused []*flight     // that wait for room in the backlog, oldest first
	knocked time.Duration // when one of them tried the last time
	oldest  flight        // a ring of those under way, in the order in which they began
	buffer  [256 << 10]byte
}

// flight is one call under way.
type flight struct {
	index      int
	job        *job
	fd         int
	sample     measure.Sample
	began      time.Duration
	source     string
	request    []byte
	sent       int
	reply      []byte // so far
	prev, next *flight
}

func (f *flight) call() *scenario.Call { return &f.job.item.Steps[f.job.step] }

func newLoop(d *driver, thread int) (*loop, error) {
	l := &loop{d: d, plan: d.newPlan(thread), rec: measure.NewRecorder(d.s.Warmup), most: d.most(thread)}
	l.oldest.prev, l.oldest.next = &l.oldest, &l.oldest
	path := d.s.Target.Socket
	if len(path) >= len(l.addr.Path) {
		return nil, fmt.Errorf("%s: the path of a unix socket has at most %d bytes", path, len(l.addr.Path)-1)
	}
	l.addr.Family = unix.AF_UNIX
	for i := range len(path) {
		l.addr.Path[i] = int8(path[i])
	}
	l.addrLen = uintptr(2 + len(path) + 1)
	if strings.HasPrefix(path, "@") { // in the abstract name space, whose names have no end
		l.addr.Path[0] = 0
		l.addrLen--
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l.epoll = epoll
	return l, nil
}

func (l *loop) recorder() *measure.Recorder { return l.rec }
func (l *loop) inFlight() int               { return int(l.under.Load()) }

// slice is the least that a thread can ask Linux for at a time. One that asks for little runs soon after it wakes. A better
// nice value would make it run more, too, at the cost of the server: lags were longer then, by orders of magnitude.
const slice = 100 * time.Microsecond

// How many calls are begun before it is seen whether there are replies, and how many replies are read before it is asked
// again what is due. So nothing waits for what may take long, or have no end: workers whose calls fail at once.
const (
	beginsAtOnce = 64
	eventsAtOnce = 16
	readsAtOnce  = 4 // of one reply
)

func (l *loop) run(ctx context.Context) error {
	runtime.LockOSThread() // it sleeps in its own epoll; what follows is the thread's, which ends with it
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if a, err := unix.SchedGetAttr(0, 0); err == nil && a.Policy == unix.SCHED_NORMAL { // else somebody has chosen another for the tool
		a.Runtime = uint64(slice)
		_ = unix.SchedSetAttr(0, a, 0) // where the kernel knows of it, from 6.12 on
	}
	var events [eventsAtOnce]unix.EpollEvent
	for ctx.Err() == nil {
		now := l.beginDue()
		due, more := l.plan.next()
		if !more && l.under.Load() == 0 {
			return nil
		}
		n, err := l.wait(events[:], l.sleep(now, due, more))
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if f := l.flights[e.Fd]; f.job != nil && f.sample.Connected > 0 { // a process that is being forked off may hold a closed socket for a moment
				l.proceed(f)
			}
		}
		l.giveUp()
		l.knockAgain(n > 0)
	}
	return nil
}

func (l *loop) close() {
	for f := l.oldest.next; f != &l.oldest; f = f.next {
		if f.fd >= 0 {
			_ = unix.Close(f.fd)
		}
	}
	_ = unix.Close(l.epoll)
}

func (l *loop) cut() (calls int, longest time.Duration) {
	for f := l.oldest.next; f != &l.oldest; f = f.next {
		calls, longest = calls+1, max(longest, l.d.now()-f.sample.Intended)
	}
	return calls, longest
}

// beginDue begins what is due, and gives the time.
func (l *loop) beginDue() (now time.Duration) {
	for range beginsAtOnce {
		now = l.d.now()
		b, ok := l.plan.begin(now, l.rec, len(l.spare) > 0 || len(l.flights) < l.most)
		if !ok {
			break
		}
		l.begin(b, now)
	}
	return now
}

const (
	longestSleep = 50 * time.Millisecond // in which ctx may end, or a call be given up
	knocking     = time.Millisecond      // between two tries to connect, if the server does nothing
	kept         = time.Millisecond      // what is slept without letting go of Go's processor, for which its collector may wait
	sleepCosts   = 5 * time.Microsecond  // about; less than that is not slept
)

// sleep is how long nothing is to be done, unless the server does something.
func (l *loop) sleep(now, due time.Duration, more bool) time.Duration {
	d := longestSleep
	if len(l.refused) > 0 {
		d = knocking
	}
	if more {
		d = min(d, due-now)
	}
	if d < sleepCosts {
		return 0
	}
	return d
}

// wait sleeps until there are events, or for that long. It lets others have Go's processor only if that is long: it may have to
// wait for one afterwards.
func (l *loop) wait(events []unix.EpollEvent, d time.Duration) (int, error) {
	spec := unix.NsecToTimespec(int64(d))
	var n uintptr
	var errno unix.Errno
	if d <= kept {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&spec)), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&spec)), 0, 0)
	}
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}

// begin makes a call that is due, however late it is. There is room for it.
func (l *loop) begin(b begin, now time.Duration) {
	f := l.spareFlight()
	f.job, f.began, f.sample, f.sent, f.reply = b.job, now, measure.Sample{Intended: b.due}, 0, f.reply[:0]
	f.prev, f.next = l.oldest.prev, &l.oldest
	f.prev.next, f.next.prev = f, f
	l.under.Add(1)
	l.write(f, b.call())
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		l.end(f, measure.Failed, "")
		return
	}
	f.fd = int(fd)
	if len(l.refused) > 0 || !l.connect(f) {
		l.refused = append(l.refused, f)
	}
}

func (l *loop) spareFlight() *flight {
	if n := len(l.spare); n > 0 {
		f := l.flights[l.spare[n-1]]
		l.spare = l.spare[:n-1]
		return f
	}
	f := &flight{index: len(l.flights), fd: -1}
	l.flights = append(l.flights, f)
	return f
}

// write makes the request: "METHOD+ARG SOURCE name DEST" NUL payload (spec: wire.md 2).
func (l *loop) write(f *flight, c *scenario.Call) {
	if f.request = f.request[:0]; l.d.s.Target.Plain {
		f.source, f.request = "", c.Request.Append(f.request, f.job.draw)
	} else {
		f.source, f.request = appendRequest(f.request, &l.words, c, f.job.draw)
	}
	c.Forget(f.job.draw)
}

// connect connects, and sends as much as the socket takes. It is false if the backlog is full, which is the server's doing:
// the call waits.
func (l *loop) connect(f *flight) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(f.fd), uintptr(unsafe.Pointer(&l.addr)), l.addrLen)
	if errno == unix.EAGAIN {
		l.knocked = l.d.now()
		return false
	}
	whole := false
	if errno == 0 {
		f.sample.Connected = l.d.now()
		whole, errno = l.send(f)
	}
	if errno != 0 && errno != unix.EPIPE { // after which there may be a reply that says why
		l.end(f, l.d.why.of(errno), "")
		return true
	}
	l.watch(f, unix.EPOLL_CTL_ADD, whole || errno != 0)
	return true
}

// watch has epoll tell of a reply, and, until the request is sent, of room for more of it. If that fails, the call has ended.
func (l *loop) watch(f *flight, op uintptr, whole bool) bool {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(f.index)}
	if !whole {
		e.Events |= unix.EPOLLOUT
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.epoll), op, uintptr(f.fd), uintptr(unsafe.Pointer(&e)), 0, 0); errno != 0 {
		l.end(f, measure.Failed, "")
		return false
	}
	return true
}

// send sends what the socket takes, and half-closes after the last of it.
func (l *loop) send(f *flight) (whole bool, errno unix.Errno) {
	for f.sent < len(f.request) {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(f.fd), uintptr(unsafe.Pointer(&f.request[f.sent])), uintptr(len(f.request)-f.sent),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			return false, 0
		}
		if errno != 0 {
			return false, errno
		}
		f.sent += int(n)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(f.fd), unix.SHUT_WR, 0)
	return true, errno
}

// proceed reads what there is of a reply, after it has sent what there is room for.
func (l *loop) proceed(f *flight) {
	if f.sent < len(f.request) {
		if whole, errno := l.send(f); (whole || errno != 0) && !l.watch(f, unix.EPOLL_CTL_MOD, true) {
			return
		}
	}
	for range readsAtOnce {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(f.fd), uintptr(unsafe.Pointer(&l.buffer[0])), uintptr(len(l.buffer)), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			return
		case errno != 0: // the server has closed without reading all of the request; what it said before counts
			if outcome, kind := l.judge(f.call(), f.job.draw, l.d.s.Target.Plain, f.reply); kind != "" {
				l.end(f, outcome, kind)
			} else {
				f.call().Forget(f.job.draw)
				l.end(f, l.d.why.of(errno), "")
			}
			return
		case n == 0:
			outcome, kind := l.judge(f.call(), f.job.draw, l.d.s.Target.Plain, f.reply)
			l.end(f, outcome, kind)
			return
		}
		if f.sample.First == 0 {
			f.sample.First = l.d.now()
		}
		f.reply = append(f.reply, l.buffer[:min(int(n), max(0, mostKept-len(f.reply)))]...)
	}
}

// end counts a call, and goes on with what follows from its end.
func (l *loop) end(f *flight, o measure.Outcome, kind string) {
	if f.fd >= 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(f.fd), 0, 0)
		f.fd = -1
	}
	f.sample.Done = l.d.now()
	l.rec.Add(measure.Key{Method: f.call().Method, Source: f.source, Outcome: o, Type: kind}, f.sample)
	f.prev.next, f.next.prev = f.next, f.prev
	l.under.Add(-1)
	l.spare = append(l.spare, f.index)
	l.plan.ended(f.job, f.sample.Done)
	f.job = nil
}

// knockAgain connects as many of those that wait for it as there is room for: if the server has done something, or after a while.
func (l *loop) knockAgain(done bool) {
	if len(l.refused) == 0 || !done && l.d.now()-l.knocked < knocking {
		return
	}
	for range beginsAtOnce {
		if len(l.refused) == 0 || !l.connect(l.refused[0]) {
			return
		}
		l.refused = l.refused[1:]
	}
}

// giveUp ends calls that have had no reply in time.
func (l *loop) giveUp() {
	for now := l.d.now(); l.oldest.next != &l.oldest && now-l.oldest.next.began >= l.d.s.Timeout; {
		f := l.oldest.next
		if len(l.refused) > 0 && l.refused[0] == f {
			l.refused = l.refused[1:]
		}
		l.end(f, measure.Timeout, "")
	}
}

// appendRequest appends the request of a call of the Admin API, and gives its source.
func appendRequest(b []byte, w *words, c *scenario.Call, draw *scenario.Draw) (source string, request []byte) {
	b = append(b, c.Method...)
	if arg := c.Arg.Append(append(b, '+'), draw); len(arg) > len(b)+1 {
		b = arg
	}
	b = append(b, ' ')
	from := len(b)
	b = c.Source.Append(b, draw)
	source = w.of(b[from:])
	b = append(b, " name "...)
	b = c.Dest.Append(b, draw)
	b = append(b, 0)
	return source, c.Payload.Append(b, draw)
}
