package drive

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// mostKept is how much of a reply is looked at. What comes after is read and counted for nothing.
const mostKept = 64 << 10

// judge says what a whole reply is: it is the end of the connection that makes it whole. What later calls need of it is kept.
func (w *words) judge(c *scenario.Call, draw *scenario.Draw, plain bool, reply []byte) (measure.Outcome, string) {
	if len(reply) == 0 {
		return measure.Empty, ""
	}
	content, ok := bytes.CutPrefix(reply, []byte("0\x00"))
	if plain {
		content, ok = reply, true
	}
	if ok {
		c.Keep(content, draw)
		return c.Expect.Right("", content), ""
	}
	exception, ok := exceptionOf(reply)
	if !ok {
		return measure.Garbage, ""
	}
	kind := measure.Other
	if len(exception) <= measure.MostName {
		kind = w.of(exception)
	}
	return c.Expect.Right(kind, nil), kind
}

// exceptionOf gives the type in an exception's frame (spec: wire.md 4, 6): "2" NUL type NUL traceback NUL format NUL
// (field NUL)*.
func exceptionOf(reply []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(reply, []byte("2\x00"))
	if !ok || !bytes.HasSuffix(rest, []byte{0}) || bytes.Count(rest, []byte{0}) < 3 {
		return nil, false
	}
	end := bytes.IndexByte(rest, 0)
	return rest[:end], end > 0
}

// words keeps the texts that keys are made of, so that counting a call allocates nothing, and has no long ones, which a
// server might fill the memory with. It is for one goroutine.
type words struct{ known map[string]string }

// tooLong stands for what is.
var tooLong = fmt.Sprintf("(longer than %d bytes)", measure.MostName)

func (w *words) of(b []byte) string {
	if len(b) > measure.MostName {
		return tooLong
	}
	if s, ok := w.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(w.known) < measure.MostGroups { // what varies without end is not kept
		if w.known == nil {
			w.known = map[string]string{}
		}
		w.known[s] = s
	}
	return s
}

// reasons are the first words of the system for each outcome that it was the reason of. Safe for concurrent use.
type reasons struct {
	mu    sync.Mutex
	first map[measure.Outcome]string
}

// of is outcomeOf, and keeps the reason.
func (r *reasons) of(err error) measure.Outcome {
	o := outcomeOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first[o] == "" && o != measure.Timeout {
		if r.first == nil {
			r.first = map[measure.Outcome]string{}
		}
		r.first[o] = measure.Shown(err.Error()) // which may have something of a certificate in it
	}
	return o
}

// notes are the reasons for people.
func (r *reasons) notes() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range measure.Outcomes {
		if why := r.first[o]; why != "" {
			all = append(all, fmt.Sprintf("%s: %s", o, why))
		}
	}
	return all
}

// outcomeOf says what an error of the system means.
func outcomeOf(err error) measure.Outcome {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENOTDIR):
		return measure.Missing
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPROTOTYPE), errors.Is(err, syscall.ENOTSOCK):
		return measure.Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return measure.Reset
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return measure.Timeout
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(tls.RecordHeaderError)), isAlert(err):
		return measure.Refused // by one side or the other
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return measure.Reset
	case errors.As(err, new(*net.DNSError)):
		return measure.Missing
	}
	return measure.Failed
}

// isAlert reports whether one side told the other that it refuses to go on, such as for its certificate. The type of an
// alert is not exported by crypto/tls.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}
