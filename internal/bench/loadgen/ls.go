package main

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/internal/bench/terms"
)

// ls asks what a full qvm-ls does, again and again (spec: client-sequences.md): the list, and then all properties of every
// qube in it, one connection each, one after the other. What is counted and timed are whole rounds. The first is checked
// by its form, and is what all others are compared with.
func ls(o options) (terms.Load, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := terms.Load{Workers: 1, Threads: 1}
	c := newCaller(o)
	requests := [][]byte{terms.List}
	for i := range o.qubes {
		requests = append(requests, terms.GetAll(i))
	}
	wants := make([][]byte, len(requests))
	for i, request := range requests {
		answer, err := c.call(request)
		if err == nil && i == 0 {
			err = checkList(answer, o.qubes)
		} else if err == nil {
			err = checkAll(answer, i-1)
		}
		r.Total++
		if err != nil {
			r.Wrong, r.FirstWrong = 1, err.Error()
			return r, nil
		}
		wants[i] = append([]byte(nil), answer...)
	}

	cpu, times := cpuTime(), newHistogram()
	start := time.Now()
	var measured time.Duration
	for now := start; r.Wrong == 0 && r.Total < o.maxCalls && (r.Calls == 0 || now.Sub(start) < o.warmup+o.duration); {
		began := now
		for i, request := range requests {
			answer, err := c.call(request)
			if err == nil {
				err = compare(answer, request, wants[i])
			}
			r.Total++
			if err != nil {
				r.Wrong, r.FirstWrong = 1, err.Error()
				break
			}
		}
		now = time.Now()
		if r.Wrong == 0 && began.Sub(start) >= o.warmup {
			r.Calls++
			measured += now.Sub(began)
			_ = times.RecordValue(min(int64(now.Sub(began)), int64(time.Minute)))
		}
	}
	r.Seconds = measured.Seconds()
	if r.Calls > 0 {
		r.PerSecond = float64(r.Calls) / r.Seconds
	}
	r.P50, r.P99, r.P999, r.Max = times.ValueAtPercentile(50), times.ValueAtPercentile(99), times.ValueAtPercentile(99.9), times.Max()
	r.CPU = int64(cpuTime()-cpu) / int64(r.Total)
	return r, nil
}

// caller makes one call at a time with blocking system calls. It is for one goroutine.
type caller struct {
	addr    unix.Sockaddr
	timeout unix.Timeval
	buf     []byte
}

func newCaller(o options) *caller {
	return &caller{addr: &unix.SockaddrUnix{Name: o.socket}, timeout: unix.NsecToTimeval(int64(o.callTimeout)), buf: make([]byte, 1<<20)}
}

// call makes one call, and gives its answer, until the next.
func (c *caller) call(request []byte) ([]byte, error) {
	fd, err := c.send(request)
	if err != nil {
		return nil, err
	}
	return c.answer(fd, request)
}

// send connects and sends a whole request.
func (c *caller) send(request []byte) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err = c.sendOn(fd, request); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (c *caller) sendOn(fd int, request []byte) error {
	for _, limit := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, limit, &c.timeout); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	if err := retry(func() error { return unix.Connect(fd, c.addr) }); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	n := 0
	if err := retry(func() (err error) { n, err = unix.SendmsgN(fd, request, nil, nil, unix.MSG_NOSIGNAL); return err }); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if n != len(request) {
		return fmt.Errorf("send: %d of %d bytes", n, len(request))
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return nil
}

// answer reads to the server's close, and closes fd.
func (c *caller) answer(fd int, request []byte) ([]byte, error) {
	defer unix.Close(fd)
	for got := 0; ; {
		n := 0
		if err := retry(func() (err error) { n, err = unix.Read(fd, c.buf[got:]); return err }); err != nil {
			return nil, fmt.Errorf("%q: recv: %w", request, err)
		}
		if got += n; n == 0 || got == len(c.buf) {
			return c.buf[:got], nil
		}
	}
}

// retry makes a system call again that a signal has interrupted: the runtime sends itself some.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
