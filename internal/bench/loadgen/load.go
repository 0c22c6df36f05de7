package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"sallyport/internal/bench/terms"
)

type options struct {
	socket      string
	source      string // of mode get
	workers     int
	threads     int
	qubes       int
	warmup      time.Duration
	duration    time.Duration
	maxCalls    uint64
	callTimeout time.Duration
	silent      int // of mode events
}

// maxWrong ends a run early: a server that answers nothing right would otherwise be asked millions of times.
const maxWrong = 100

// worker is one closed loop: it makes its next call when the one before is done.
type worker struct {
	id, of  int // of all threads' workers
	calls   int // begun
	fd      int // -1: between calls
	start   time.Duration
	pending bool // connect found the backlog full
	acked   bool // the last call was answered rightly
	request []byte
	want    []byte
	got     []byte // of an answer that comes in pieces
	buf     []byte // for scripts that write their requests
}

// loop drives its workers on one thread. Nothing in it is shared while it runs.
type loop struct {
	o       options
	script  script
	base    time.Time
	addr    unix.RawSockaddrUnix
	addrLen uintptr
	ep      int
	workers []*worker
	active  int // workers with a call in flight
	pending int // of these, still to connect
	budget  uint64

	latencies *hdrhistogram.Histogram
	calls     uint64 // measured
	total     uint64
	retries   uint64
	wrong     uint64
	first     string
	answer    [1 << 18]byte
}

// run makes the load and reports it.
func run(o options, s script) (terms.Load, error) {
	base := time.Now()
	cpu := cpuTime()
	loops := make([]*loop, o.threads)
	for i := range loops {
		l, err := newLoop(o, s, base)
		if err != nil {
			return terms.Load{}, err
		}
		defer unix.Close(l.ep)
		loops[i] = l
	}
	for id := range o.workers {
		l := loops[id%len(loops)]
		l.workers = append(l.workers, &worker{id: id, of: o.workers, fd: -1})
	}
	errs := make([]error, len(loops))
	var wg sync.WaitGroup
	for i, l := range loops {
		wg.Go(func() { errs[i] = l.run() })
	}
	wg.Wait()
	cpu = cpuTime() - cpu

	r := terms.Load{Workers: o.workers, Threads: o.threads, Seconds: o.duration.Seconds()}
	latencies := newHistogram()
	for i, l := range loops {
		if errs[i] != nil {
			return terms.Load{}, errs[i]
		}
		latencies.Merge(l.latencies)
		r.Calls += l.calls
		r.Total += l.total
		r.Retries += l.retries
		r.Wrong += l.wrong
		if r.FirstWrong == "" {
			r.FirstWrong = l.first
		}
	}
	r.PerSecond = float64(r.Calls) / r.Seconds
	r.P50 = latencies.ValueAtPercentile(50)
	r.P99 = latencies.ValueAtPercentile(99)
	r.P999 = latencies.ValueAtPercentile(99.9)
	r.Max = latencies.Max()
	if r.Total > 0 {
		r.CPU = int64(cpu) / int64(r.Total)
	}
	for _, l := range loops {
		readBack(o, s, l.workers, &r)
	}
	return r, nil
}

// readBack makes the checks of the script, one after the other.
func readBack(o options, s script, workers []*worker, r *terms.Load) {
	for _, w := range workers {
		if !w.acked || r.Wrong >= maxWrong {
			continue
		}
		request, want := s.check(w)
		if request == nil {
			continue
		}
		r.Total++
		if err := callOnce(o, request, want); err != nil {
			r.Wrong++
			if r.FirstWrong == "" {
				r.FirstWrong = "reading back: " + err.Error()
			}
		}
	}
}

// callOnce makes one call the ordinary way, when time does not matter.
func callOnce(o options, request, want []byte) error {
	answer, err := ask(o, request)
	if err != nil {
		return err
	}
	return compare(answer, request, want)
}

// ask makes one call, and gives its answer, whatever that is.
func ask(o options, request []byte) ([]byte, error) {
	conn, err := net.DialTimeout("unix", o.socket, o.callTimeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return askOn(conn.(*net.UnixConn), o.callTimeout, request)
}

func askOn(conn *net.UnixConn, timeout time.Duration, request []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	if err := conn.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(conn, 1<<20))
}

// compare says what is wrong with an answer.
func compare(answer, request, want []byte) error {
	switch {
	case bytes.Equal(answer, want):
		return nil
	case len(answer) == 0:
		return fmt.Errorf("%q: no answer, wanted %q", request, want)
	default:
		return fmt.Errorf("%q: answer %.300q, wanted %.300q", request, answer, want)
	}
}

// newHistogram counts from 100 ns to a minute, to 3 digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(100, int64(time.Minute), 3)
}

func newLoop(o options, s script, base time.Time) (*loop, error) {
	l := &loop{o: o, script: s, base: base, latencies: newHistogram()}
	l.budget = max(o.maxCalls/uint64(o.threads), 1)
	l.addr.Family = unix.AF_UNIX
	if len(o.socket) >= len(l.addr.Path) {
		return nil, fmt.Errorf("the socket's path is longer than %d bytes", len(l.addr.Path)-1)
	}
	for i := range len(o.socket) {
		l.addr.Path[i] = int8(o.socket[i])
	}
	l.addrLen = uintptr(2 + len(o.socket) + 1)
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l.ep = ep
	return l, nil
}

func (l *loop) now() time.Duration { return time.Since(l.base) }

// run begins a call for every worker, and another when one is done, until the time is over and the last is answered.
func (l *loop) run() error {
	runtime.LockOSThread() // one thread, woken by its own epoll
	defer runtime.UnlockOSThread()
	end := l.o.warmup + l.o.duration
	events := make([]unix.EpollEvent, 256)
	now := l.now()
	for i, w := range l.workers {
		if l.more(now, end) {
			l.begin(i, w, now)
		}
	}
	swept := now
	for l.active > 0 {
		timeout := 100 // ms
		if l.pending > 0 {
			timeout = 1
		}
		n, err := unix.EpollWait(l.ep, events, timeout)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			i := int(e.Fd)
			w := l.workers[i]
			if e.Events&unix.EPOLLRDHUP == 0 {
				l.receive(w)
				continue
			}
			now = l.finish(w, end)
			if l.more(now, end) {
				l.begin(i, w, now)
			}
		}
		if l.pending > 0 {
			l.reconnect()
		}
		if now = l.now(); now-swept > 100*time.Millisecond {
			swept = now
			l.sweep(now, end)
		}
	}
	return nil
}

func (l *loop) more(now, end time.Duration) bool {
	return now < end && l.wrong < maxWrong && l.total < l.budget
}

// begin connects, sends the whole request, half-closes, and asks to be told when the server closes.
func (l *loop) begin(i int, w *worker, now time.Duration) {
	l.script.next(w)
	w.calls++
	w.acked = false
	w.got = w.got[:0]
	w.start = now
	l.total++
	l.active++
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		l.fail(w, "socket: "+errno.Error())
		return
	}
	w.fd = int(fd)
	l.connect(i, w)
}

func (l *loop) connect(i int, w *worker) {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(w.fd), uintptr(unsafe.Pointer(&l.addr)), l.addrLen)
	if errno == unix.EAGAIN { // the backlog is full
		l.retries++
		if !w.pending {
			w.pending = true
			l.pending++
		}
		return
	}
	if w.pending {
		w.pending = false
		l.pending--
	}
	if errno != 0 {
		l.fail(w, "connect: "+errno.Error())
		return
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(w.fd), uintptr(unsafe.Pointer(&w.request[0])), uintptr(len(w.request)),
		unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 || int(n) != len(w.request) {
		l.fail(w, fmt.Sprintf("send: %d of %d bytes: %v", n, len(w.request), errno))
		return
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(w.fd), unix.SHUT_WR, 0); errno != 0 {
		l.fail(w, "shutdown: "+errno.Error())
		return
	}
	// Not EPOLLIN, if the answer fits the socket's buffer: the one event worth waking for is then the server's close, after
	// which all of the answer is there.
	e := unix.EpollEvent{Events: unix.EPOLLRDHUP, Fd: int32(i)}
	if len(w.want) > atOnce {
		e.Events |= unix.EPOLLIN
	}
	_, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.ep), unix.EPOLL_CTL_ADD, uintptr(w.fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	if errno != 0 {
		l.fail(w, "epoll_ctl: "+errno.Error())
	}
}

// atOnce is how long an answer may be to fit the socket's buffer for sure.
const atOnce = 32 << 10

// receive keeps a piece of an answer: the server waits until there is room for the next.
func (l *loop) receive(w *worker) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(w.fd), uintptr(unsafe.Pointer(&l.answer[0])), uintptr(len(l.answer)),
		unix.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == unix.EAGAIN:
	case errno != 0:
		l.fail(w, fmt.Sprintf("%q: recv: %v", w.request, errno))
	default:
		w.got = append(w.got, l.answer[:n]...)
		if len(w.got) > len(w.want) {
			l.fail(w, compare(w.got, w.request, w.want).Error())
		}
	}
}

// finish reads and checks the answer of a call whose server has closed. It returns the time, which is also when the
// next call begins.
func (l *loop) finish(w *worker, end time.Duration) time.Duration {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(w.fd), uintptr(unsafe.Pointer(&l.answer[0])), uintptr(len(l.answer)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		l.fail(w, fmt.Sprintf("%q: recv: %v", w.request, errno))
		return l.now()
	}
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(w.fd), 0, 0)
	w.fd = -1
	now := l.now()
	answer := l.answer[:n]
	if len(w.got) > 0 {
		w.got = append(w.got, answer...)
		answer = w.got
	}
	if !bytes.Equal(answer, w.want) {
		l.fail(w, compare(answer, w.request, w.want).Error())
		return now
	}
	w.acked = true
	l.active--
	if now > l.o.warmup && now <= end {
		l.calls++
		_ = l.latencies.RecordValue(min(int64(now-w.start), int64(time.Minute)))
	}
	return now
}

// fail counts a call that was not answered rightly, and ends it.
func (l *loop) fail(w *worker, why string) {
	if w.fd >= 0 {
		unix.Close(w.fd)
		w.fd = -1
	}
	if w.pending {
		w.pending = false
		l.pending--
	}
	l.active--
	l.wrong++
	if l.first == "" {
		l.first = why
	}
}

// reconnect tries again what found the backlog full.
func (l *loop) reconnect() {
	for i, w := range l.workers {
		if w.pending {
			l.connect(i, w)
		}
	}
}

// sweep gives up calls that were not answered in time, and gives workers whose call could not even begin their next.
func (l *loop) sweep(now, end time.Duration) {
	for i, w := range l.workers {
		if w.fd >= 0 && now-w.start > l.o.callTimeout {
			l.fail(w, fmt.Sprintf("%q: no answer in %v", w.request, l.o.callTimeout))
		}
		if w.fd < 0 && l.more(now, end) {
			l.begin(i, w, now)
		}
	}
}
