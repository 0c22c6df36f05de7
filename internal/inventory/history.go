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

// happening is one change of the history.
type happening struct {
	batch  qube.Batch    // without views
	after  qube.Revision // of the event before it, from which one can go on too
	size   int           // bytes
	slot   int
	before []someone // who was another before the change, and
	now    []someone // who that is since; not kept
	view   *Snapshot // of the past before the change; nil: like that after it
}

// viewSize is about what a view of the past holds that no other does.
const viewSize = 4 << 10

// measured says how large a change is that takes so many bytes in the store.
func (h *happening) measured(stored int) {
	if h.size = stored; len(h.before) > 0 {
		h.size += viewSize
	}
}

// history is the published part. Safe for concurrent use.
type history struct {
	mu        sync.RWMutex
	kept      []happening // by revision
	bytes     int
	view      *Snapshot     // of the past, after the last of them
	forgotten qube.Revision // the last that is no more
	newest    qube.Revision // published
}

// recall takes up what a store holds: what was kept, by revision, until now.
func (h *history) recall(kept []happening, now *Snapshot) {
	h.newest, h.view = now.revision, now.bare()
	view := h.view
	for i := len(kept) - 1; i >= 0; i-- {
		k := &kept[i]
		if len(k.before) > 0 {
			view = view.amended(k.before, k.after)
			k.view = view
		}
		k.before, h.bytes = nil, h.bytes+k.size
	}
	if h.kept, h.forgotten = kept, 1; len(kept) > 0 { // as long as nothing is kept, nothing was ever told
		h.forgotten = max(1, kept[0].after)
	}
}

// add publishes what happened up to a revision.
func (h *history) add(all []happening, newest qube.Revision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = newest
	for _, k := range all {
		if len(k.now) > 0 {
			k.view, h.view = h.view, h.view.amended(k.now, k.batch.Revision)
		}
		k.before, k.now = nil, nil
		for len(h.kept) > 0 && (len(h.kept) >= historyChanges || h.bytes+k.size > historyBytes) {
			h.bytes, h.forgotten = h.bytes-h.kept[0].size, h.kept[0].batch.Revision
			h.kept = h.kept[1:]
		}
		h.kept, h.bytes = append(h.kept, k), h.bytes+k.size
	}
}

// revision is one that may be shown.
type revision qube.Revision

func (r revision) Shown() string { return strconv.FormatUint(uint64(r), 10) }

// since gives the batches of which an event comes after r, with the views of their time.
func (h *history) since(r qube.Revision) ([]qube.Batch, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r > h.newest {
		return nil, exception.New(exception.QubesException, "revision %s is yet to come; the newest is %s", revision(r), revision(h.newest))
	}
	if r < h.forgotten {
		return nil, exception.New(exception.QubesException, "events after revision %s are forgotten; the oldest to go on from is %s", revision(r), revision(h.forgotten))
	}
	first, _ := slices.BinarySearchFunc(h.kept, r, func(k happening, r qube.Revision) int {
		if k.batch.Revision <= r {
			return -1
		}
		return 1
	})
	batches, view := make([]qube.Batch, len(h.kept)-first), h.view
	for i := len(batches) - 1; i >= 0; i-- {
		k := &h.kept[first+i]
		batches[i] = k.batch
		if batches[i].Before, batches[i].After = view, view; k.view != nil {
			batches[i].Before, view = k.view, k.view
		}
	}
	return batches, nil
}

// The record of a change's events.
type (
	batchFact struct {
		Revision uint64        `json:"r"`
		After    uint64        `json:"b"` // see happening
		Events   []eventFact   `json:"e,omitempty"`
		Before   []someoneFact `json:"w,omitempty"`
	}
	eventFact struct {
		Subject string   `json:"s,omitempty"`
		Name    string   `json:"n"`
		Args    []string `json:"a,omitempty"` // keys and values in turn
		Other   string   `json:"o,omitempty"`
		Pre     bool     `json:"p,omitempty"`
	}
)

func (h *happening) fact() batchFact {
	f := batchFact{Revision: uint64(h.batch.Revision), After: uint64(h.after), Events: make([]eventFact, len(h.batch.Events))}
	for i, e := range h.batch.Events {
		args := make([]string, 0, 2*len(e.Args))
		for _, a := range e.Args {
			args = append(args, a.Key, a.Value)
		}
		f.Events[i] = eventFact{e.Subject.Shown(), e.Name, args, e.Other.Shown(), e.Pre}
	}
	for _, s := range h.before {
		f.Before = append(f.Before, s.fact())
	}
	return f
}

func (f batchFact) happening(p *parser) happening {
	h := happening{batch: qube.Batch{Revision: qube.Revision(f.Revision)}, after: qube.Revision(f.After)}
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
		h.batch.Events = append(h.batch.Events, ev)
	}
	for _, s := range f.Before {
		h.before = append(h.before, s.someone(p))
	}
	return h
}

func eventKey(number int) string { return fmt.Sprintf("event/%05d", number) }
