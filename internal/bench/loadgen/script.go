package main

import (
	"strconv"
	"time"

	"sallyport/internal/bench/terms"
)

// A script says what each worker asks next, and what the right answer is. One script serves all threads, so next
// changes nothing but the worker.
type script interface {
	next(w *worker)
	// check is called after the load, when nothing is in flight: it gives the calls that prove what the worker was
	// told is so, or none.
	check(w *worker) (request, want []byte)
}

// gets reads the feature of one qube after the other; each worker begins elsewhere.
type gets struct{ requests, wants [][]byte }

func newGets(qubes int) *gets {
	g := &gets{}
	for i := range qubes {
		g.requests = append(g.requests, getRequest(terms.Qube(i), terms.Feature))
		g.wants = append(g.wants, okReply(terms.Value(i)))
	}
	return g
}

func (g *gets) next(w *worker) {
	i := (w.id*31 + w.calls) % len(g.requests)
	w.request, w.want = g.requests[i], g.wants[i]
}

func (g *gets) check(*worker) (request, want []byte) { return nil, nil }

// sets writes a feature of the worker's own on one qube after the other, and a value that was never written before, in
// this run or another: a server may skip a change that changes nothing.
type sets struct {
	names []string
	run   string
}

func newSets(qubes int) *sets {
	s := &sets{run: strconv.FormatInt(time.Now().UnixNano(), 36)}
	for i := range qubes {
		s.names = append(s.names, terms.Qube(i))
	}
	return s
}

func (s *sets) next(w *worker) {
	b := append(w.buf[:0], "admin.vm.feature.Set+"...)
	b = s.appendFeature(b, w)
	b = append(b, " dom0 name "...)
	b = append(b, s.qube(w, w.calls)...)
	b = append(b, 0)
	b = s.appendValue(b, w.calls)
	w.buf, w.request, w.want = b, b, emptyReply
}

// check reads what the worker's last call wrote. It is only called if that was acknowledged.
func (s *sets) check(w *worker) (request, want []byte) {
	last := w.calls - 1
	return getRequest(s.qube(w, last), string(s.appendFeature(nil, w))),
		okReply(string(s.appendValue(nil, last)))
}

func (s *sets) qube(w *worker, call int) string { return s.names[(call*w.of+w.id)%len(s.names)] }

func (s *sets) appendFeature(b []byte, w *worker) []byte {
	return strconv.AppendInt(append(b, "bench-"...), int64(w.id), 10)
}

func (s *sets) appendValue(b []byte, call int) []byte {
	return strconv.AppendInt(append(append(b, s.run...), '-'), int64(call), 10)
}

var emptyReply = okReply("")

func okReply(content string) []byte { return []byte("0\x00" + content) }

func getRequest(qube, feature string) []byte {
	return []byte("admin.vm.feature.Get+" + feature + " dom0 name " + qube + "\x00")
}
