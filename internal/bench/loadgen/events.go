package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/internal/bench/terms"
)

// The feature that mode events changes.
const watched = "bench-events"

// events holds subscribers, and writes a first report when all of them are subscribed. Then it makes the changes that in
// asks for (terms.Changes), one after the other, each when the one before has reached everybody, and writes a report of each
// line. When in ends, it sees what has become of the subscribers that did not read.
//
// Every subscriber is sent the same bytes, which are known beforehand (spec: events.md 4), so one that misses an event,
// sees one twice or gets another's is noticed at once.
func events(o options, in io.Reader, out io.Writer) (terms.Load, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := terms.Load{Mode: "events", Workers: o.workers}
	s, err := subscribe(o)
	if err != nil {
		return r, err
	}
	defer s.close()
	r.Open = len(s.readers)
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return r, err
	}
	lines := json.NewDecoder(in)
	for {
		var ask terms.Changes
		if err := lines.Decode(&ask); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r, fmt.Errorf("standard input: %w", err)
		}
		report, err := s.changes(ask)
		if err != nil {
			return r, err
		}
		if err := json.NewEncoder(out).Encode(report); err != nil {
			return r, err
		}
	}
	for _, fd := range s.silent {
		cut, err := s.wasCut(fd)
		if err != nil {
			s.fail(err)
		}
		if cut {
			r.Cut++
		}
	}
	r.Wrong, r.FirstWrong = s.wrong, s.first
	return r, nil
}

// subscribers are all that are sent events, and what they are sent.
type subscribers struct {
	o       options
	c       *caller
	ep      int
	readers []reader
	silent  []int  // descriptors
	sent    []byte // to the silent ones, from the beginning
	news    []byte // which each reader is to read now
	behind  int    // readers that have not read all of it
	run     string // in every value: none was ever written before
	made    int    // changes
	value   string // of the feature now
	wrong   uint64
	first   string
	buf     [1 << 16]byte
}

// reader is one subscriber that reads.
type reader struct {
	fd   int // -1: it was dropped
	read int // bytes of the news
}

// subscribe returns when all are subscribed: each has been sent its first event, and the silent ones have it waiting.
func subscribe(o options) (s *subscribers, err error) {
	s = &subscribers{o: o, c: newCaller(o), ep: -1, run: fmt.Sprintf("%x", time.Now().UnixNano())}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return s, fmt.Errorf("epoll_create1: %w", err)
	}
	s.value = s.next(0)
	answer, err := s.c.call(setRequest(s.value))
	if err == nil {
		err = compare(answer, setRequest(s.value), emptyReply)
	}
	if err != nil {
		return s, err
	}
	for i := range o.workers {
		fd, err := s.c.send(terms.Events)
		if err != nil {
			return s, fmt.Errorf("after %d subscribers: %w", i, err)
		}
		s.readers = append(s.readers, reader{fd: fd})
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(i)}
		if err := unix.EpollCtl(s.ep, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
			return s, fmt.Errorf("epoll_ctl: %w", err)
		}
	}
	s.announce(appendEvent(nil, "", "connection-established"))
	if err := s.read(); err != nil {
		return s, err
	}
	for range o.silent {
		fd, err := s.c.send(terms.Events)
		if err != nil {
			return s, fmt.Errorf("a silent subscriber: %w", err)
		}
		s.silent = append(s.silent, fd)
	}
	for _, fd := range s.silent {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if err := retry(func() error { _, err := unix.Poll(fds, int(o.callTimeout.Milliseconds())); return err }); err != nil {
			return s, fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents == 0 {
			return s, errors.New("a silent subscriber was sent nothing")
		}
	}
	if s.wrong > 0 {
		return s, fmt.Errorf("subscribing: %s", s.first)
	}
	return s, nil
}

func (s *subscribers) close() {
	for _, r := range s.readers {
		if r.fd >= 0 {
			unix.Close(r.fd)
		}
	}
	for _, fd := range s.silent {
		unix.Close(fd)
	}
	if s.ep >= 0 {
		unix.Close(s.ep)
	}
}

// next is a value of so many bytes, or of as many as it takes to be new.
func (s *subscribers) next(size int) string {
	s.made++
	value := fmt.Sprintf("%s-%d-", s.run, s.made)
	return value + strings.Repeat("x", max(size-len(value), 0))
}

// changes makes them one after the other, and reports how long each took from before its call until the last subscriber
// had read what it was to be sent.
func (s *subscribers) changes(ask terms.Changes) (terms.Load, error) {
	r := terms.Load{Mode: "events", Workers: len(s.readers), Threads: 1}
	times, wrong := newHistogram(), s.wrong
	for range ask.Count {
		if s.wrong >= maxWrong {
			break
		}
		value := s.next(ask.Size)
		news := setEvents(value, s.value)
		began := time.Now()
		s.announce(news)
		call, err := s.c.send(setRequest(value))
		if err != nil {
			return r, err
		}
		if err := s.read(); err != nil {
			return r, err
		}
		took := time.Since(began)
		answer, err := s.c.answer(call, setRequest(value))
		r.Total++
		if err == nil {
			err = compare(answer, setRequest(value), emptyReply)
		}
		if err != nil {
			s.fail(err)
			continue
		}
		s.value = value
		r.Calls++
		r.Seconds += took.Seconds()
		_ = times.RecordValue(min(int64(took), int64(time.Minute)))
	}
	if r.Calls > 0 {
		r.PerSecond = float64(r.Calls) / r.Seconds
	}
	r.P50, r.P99, r.P999, r.Max = times.ValueAtPercentile(50), times.ValueAtPercentile(99), times.ValueAtPercentile(99.9), times.Max()
	r.Wrong, r.FirstWrong = s.wrong-wrong, s.first
	return r, nil
}

// announce says what every subscriber is to read next.
func (s *subscribers) announce(news []byte) {
	s.news, s.behind = news, 0
	if s.o.silent > 0 {
		s.sent = append(s.sent, news...)
	}
	for i := range s.readers {
		if s.readers[i].read = 0; s.readers[i].fd >= 0 {
			s.behind++
		}
	}
}

// read returns when every reader has read the news, or was dropped.
func (s *subscribers) read() error {
	events := make([]unix.EpollEvent, 256)
	deadline := time.Now().Add(s.o.callTimeout)
	for s.behind > 0 {
		n, err := unix.EpollWait(s.ep, events, 100)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			s.receive(int(e.Fd))
		}
		if s.behind > 0 && time.Now().After(deadline) {
			for i := range s.readers {
				if r := s.readers[i]; r.fd >= 0 && r.read < len(s.news) {
					s.drop(i, fmt.Errorf("subscriber %d: %d bytes of %.300q in %v", i, r.read, s.news, s.o.callTimeout))
				}
			}
		}
	}
	return nil
}

// receive reads what there is for one reader, which is what it is to be sent next, or it is dropped.
func (s *subscribers) receive(i int) {
	r := &s.readers[i]
	n := 0
	err := retry(func() (err error) { n, _, err = unix.Recvfrom(r.fd, s.buf[:], unix.MSG_DONTWAIT); return err })
	rest := s.news[r.read:]
	switch {
	case err == unix.EAGAIN:
	case err != nil:
		s.drop(i, fmt.Errorf("subscriber %d: recv: %w", i, err))
	case n == 0:
		s.drop(i, fmt.Errorf("subscriber %d was cut off", i))
	case !bytes.HasPrefix(rest, s.buf[:n]):
		s.drop(i, fmt.Errorf("subscriber %d was sent %.300q, wanted %.300q", i, s.buf[:n], rest))
	default:
		if r.read += n; r.read == len(s.news) {
			s.behind--
		}
	}
}

// drop counts a reader as wrong, and goes on without it.
func (s *subscribers) drop(i int, why error) {
	r := &s.readers[i]
	if r.read < len(s.news) {
		s.behind--
	}
	unix.Close(r.fd) // which takes it out of the epoll
	r.fd = -1
	s.fail(why)
}

func (s *subscribers) fail(why error) {
	s.wrong++
	if s.first == "" {
		s.first = why.Error()
	}
}

// wasCut reads what a subscriber was sent that did not read so far. That is a part of what all were sent: from the
// beginning and, unless it was cut off, to the end. One that was may have been told so by an exception.
func (s *subscribers) wasCut(fd int) (bool, error) {
	deadline := time.Now().Add(s.o.callTimeout)
	for read := 0; ; {
		n := 0
		err := retry(func() (err error) { n, err = unix.Read(fd, s.buf[:]); return err })
		rest := s.sent[read:]
		switch {
		case err != nil:
			return false, fmt.Errorf("a silent subscriber: recv after %d bytes of %d: %w", read, len(s.sent), err)
		case n == 0:
			return true, nil
		case time.Now().After(deadline):
			return false, fmt.Errorf("a silent subscriber: %d bytes of %d in %v", read, len(s.sent), s.o.callTimeout)
		}
		same := 0
		for same < min(n, len(rest)) && rest[same] == s.buf[same] {
			same++
		}
		read += same
		switch {
		case same == n && read == len(s.sent):
			return false, nil
		case same < n && s.buf[same] == '2' && bytes.HasSuffix(s.sent[:read], []byte{0, 0}): // an exception, between frames
			return true, nil
		case same < n:
			return false, fmt.Errorf("a silent subscriber was sent %.300q, wanted %.300q", s.buf[same:n], rest[same:])
		}
	}
}

func setRequest(value string) []byte {
	return append(terms.Request("admin.vm.feature.Set+"+watched, terms.Qube(0)), value...)
}

// setEvents are what subscribers are told of a change of the feature (spec: events.md 4).
func setEvents(value, old string) []byte {
	args := []string{"feature", watched, "value", value, "oldvalue", old}
	return appendEvent(appendEvent(nil, terms.Qube(0), "domain-feature-pre-set:"+watched, args...),
		terms.Qube(0), "domain-feature-set:"+watched, args...)
}

// appendEvent appends a frame: "1" NUL subject NUL event NUL (key NUL value NUL)* NUL (spec: wire.md 4).
func appendEvent(b []byte, subject, event string, args ...string) []byte {
	for _, token := range append([]string{"1", subject, event}, args...) {
		b = append(append(b, token...), 0)
	}
	return append(b, 0)
}
