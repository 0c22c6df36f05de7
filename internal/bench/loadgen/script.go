package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
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

func newGets(source string, qubes int) *gets {
	g := &gets{}
	for i := range qubes {
		g.requests = append(g.requests, terms.RequestOf(source, "admin.vm.feature.Get+"+terms.Feature, terms.Qube(i)))
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

// lists asks for the list of all qubes, which is always the same: no two servers give qubes the same UUIDs, so the first
// answer is what all others are compared with.
type lists struct{ want []byte }

func newLists(o options) (*lists, error) {
	answer, err := ask(o, terms.List)
	if err == nil {
		err = checkList(answer, o.qubes)
	}
	return &lists{answer}, err
}

func (l *lists) next(w *worker) { w.request, w.want = terms.List, l.want }

func (l *lists) check(*worker) (request, want []byte) { return nil, nil }

// checkList says what is wrong with a list of dom0 and so many qubes (spec: methods.yaml admin.vm.List).
func checkList(answer []byte, qubes int) error {
	lines, ok := strings.CutPrefix(string(answer), "0\x00")
	if !ok {
		return fmt.Errorf("%q: answer %.300q", terms.List, answer)
	}
	found := map[string]bool{}
	for line := range strings.Lines(lines) {
		name, rest, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(rest, "class=") || !strings.Contains(rest, " state=") || !strings.Contains(rest, " uuid=") || !strings.HasSuffix(rest, "\n") {
			return fmt.Errorf("%q: line %q", terms.List, line)
		}
		found[name] = true
	}
	for i := range qubes {
		if !found[terms.Qube(i)] {
			return fmt.Errorf("%q: %s is not in the answer", terms.List, terms.Qube(i))
		}
	}
	if len(found) != qubes+1 {
		return fmt.Errorf("%q: %d qubes in the answer, wanted %d and dom0", terms.List, len(found), qubes)
	}
	return nil
}

// checkAll says what is wrong with the properties of qube i (spec: methods.yaml admin.vm.property.GetAll).
func checkAll(answer []byte, i int) error {
	lines, ok := bytes.CutPrefix(answer, []byte("0\x00"))
	if !ok {
		return fmt.Errorf("%q: answer %.300q", terms.GetAll(i), answer)
	}
	named := false
	for line := range bytes.Lines(lines) {
		f := bytes.SplitN(line, []byte(" "), 4)
		if len(f) != 4 || !bytes.HasPrefix(f[1], []byte("default=")) || !bytes.HasPrefix(f[2], []byte("type=")) || !bytes.HasSuffix(line, []byte("\n")) {
			return fmt.Errorf("%q: line %q", terms.GetAll(i), line)
		}
		named = named || string(f[0]) == "name" && string(f[3]) == terms.Qube(i)+"\n"
	}
	if !named {
		return fmt.Errorf("%q: no property name with that value in %.300q", terms.GetAll(i), answer)
	}
	return nil
}

var emptyReply = okReply("")

func okReply(content string) []byte { return []byte("0\x00" + content) }

func getRequest(qube, feature string) []byte {
	return terms.Request("admin.vm.feature.Get+"+feature, qube)
}
