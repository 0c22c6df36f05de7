package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"sync"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// The history is what subscribers were told of the last changes, in memory and in the store, so that who was away can be
// told what he missed (design: 6). It is bounded by changes and by bytes; what is older is forgotten.
const (
	historyChanges = 16384
	historyBytes   = 16 << 20
)

// slots gives each change of the history the key of a record, and says whose key is free again. One goroutine uses it.
type slots struct {
	kept  []slot
	bytes int
	next  int // slot
}

type slot struct{ number, size int }

// take is the slot of a change of that size, and the slots that are forgotten for its sake.
func (s *slots) take(size int) (number int, forgotten []int) {
	for len(s.kept) > 0 && (len(s.kept) >= historyChanges || s.bytes+size > historyBytes) {
		if s.kept[0].number != s.next {
			forgotten = append(forgotten, s.kept[0].number)
		}
		s.bytes -= s.kept[0].size
		s.kept = s.kept[1:]
	}
	number = s.next
	s.kept, s.bytes = append(s.kept, slot{number, size}), s.bytes+size
	s.next = (s.next + 1) % historyChanges
	return number, forgotten
}

// history is the published part. Safe for concurrent use.
type history struct {
	mu        sync.RWMutex
	batches   []qube.Batch // by revision, without views
	sizes     []int
	bytes     int
	forgotten qube.Revision // the last that is no more
	newest    qube.Revision // published
}

// add publishes what happened up to a revision.
func (h *history) add(batches []qube.Batch, sizes []int, newest qube.Revision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = newest
	for i, b := range batches {
		b.Before, b.After = nil, nil // a view kept is all that it shares with no other, kept
		for len(h.sizes) > 0 && (len(h.sizes) >= historyChanges || h.bytes+sizes[i] > historyBytes) {
			h.bytes, h.forgotten = h.bytes-h.sizes[0], h.batches[0].Revision
			h.batches, h.sizes = h.batches[1:], h.sizes[1:]
		}
		h.batches, h.sizes, h.bytes = append(h.batches, b), append(h.sizes, sizes[i]), h.bytes+sizes[i]
	}
}

// revision is one that may be shown.
type revision qube.Revision

func (r revision) Shown() string { return strconv.FormatUint(uint64(r), 10) }

// since gives the batches of which an event comes after r.
func (h *history) since(r qube.Revision) ([]qube.Batch, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r > h.newest {
		return nil, exception.New(exception.QubesException, "revision %s is yet to come; the newest is %s", revision(r), revision(h.newest))
	}
	if r < h.forgotten {
		return nil, exception.New(exception.QubesException, "events after revision %s are forgotten; the oldest to go on from is %s", revision(r), revision(h.forgotten))
	}
	i, _ := slices.BinarySearchFunc(h.batches, r, func(b qube.Batch, r qube.Revision) int {
		if b.Revision <= r {
			return -1
		}
		return 1
	})
	return slices.Clone(h.batches[i:]), nil
}

// The record of a change's events.
type (
	batchFact struct {
		Revision uint64      `json:"r"`
		After    uint64      `json:"b"` // revision of the event before it, from which one can go on too; restarts lie between
		Events   []eventFact `json:"e"`
	}
	eventFact struct {
		Subject string   `json:"s,omitempty"`
		Name    string   `json:"n"`
		Args    []string `json:"a,omitempty"` // keys and values in turn
		Other   string   `json:"o,omitempty"`
		Pre     bool     `json:"p,omitempty"`
	}
)

func factOf(b qube.Batch, after qube.Revision) batchFact {
	f := batchFact{Revision: uint64(b.Revision), After: uint64(after), Events: make([]eventFact, len(b.Events))}
	for i, e := range b.Events {
		args := make([]string, 0, 2*len(e.Args))
		for _, a := range e.Args {
			args = append(args, a.Key, a.Value)
		}
		f.Events[i] = eventFact{e.Subject.Shown(), e.Name, args, e.Other.Shown(), e.Pre}
	}
	return f
}

func (f batchFact) batch(p *parser) qube.Batch {
	b := qube.Batch{Revision: qube.Revision(f.Revision)}
	for _, e := range f.Events {
		ev := qube.Event{Name: e.Name, Pre: e.Pre}
		if e.Subject != "" {
			ev.Subject = parse(p, e.Subject, qube.ParseName)
		}
		if e.Other != "" {
			ev.Other = parse(p, e.Other, qube.ParseName)
		}
		for i := 0; i+1 < len(e.Args); i += 2 {
			ev.Args = append(ev.Args, qube.EventArg{Key: e.Args[i], Value: e.Args[i+1]})
		}
		b.Events = append(b.Events, ev)
	}
	return b
}

func eventKey(number int) string { return fmt.Sprintf("event/%05d", number) }
