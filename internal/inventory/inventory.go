package inventory

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Inventory is the daemon's state: a store, and the newest snapshot of it. It is a qube.Book.
type Inventory struct {
	store     Store
	reactions []qube.Reaction
	newUUID   func() qube.UUID
	random    func(below int) int
	now       func() time.Time
	published atomic.Pointer[Snapshot]
	history   history

	// Of the goroutine that fills groups.
	newest   *Snapshot
	slots    slots
	told     qube.Revision // the last event's
	released []released

	// Of the goroutine that commits.
	committed qube.Revision
	broken    atomic.Bool // a commit failed
}

// released is the number of a disposable that is no more.
type released struct {
	number int
	at     time.Time
}

// rest is how long a disposable's number is not given to another one, while the daemon runs (spec: model.md 3).
const rest = 7 * 24 * time.Hour

func (i *Inventory) releasedLately(number int) bool {
	since := i.now().Add(-rest)
	for len(i.released) > 0 && i.released[0].at.Before(since) {
		i.released = i.released[1:]
	}
	return slices.ContainsFunc(i.released, func(r released) bool { return r.number == number })
}

// Options are what an inventory is handed. The zero Options are a plain one.
type Options struct {
	Reactions []qube.Reaction     // what follows from events, in this order
	Meter     Meter               // nil: nothing is known of what qubes use
	NewUUID   func() qube.UUID    // nil: random
	Random    func(below int) int // nil: random
	Now       func() time.Time    // nil: the system's
}

// Open loads what store holds. Into a store that nothing was ever written to, it first writes what initial makes; fresh
// reports whether it did.
func Open(store Store, initial func() (*Snapshot, error), o Options) (inv *Inventory, fresh bool, err error) {
	found, records, err := store.Load()
	if err != nil {
		return nil, false, err
	}
	inv = &Inventory{store: store, reactions: o.Reactions, newUUID: o.NewUUID, random: o.Random, now: o.Now}
	if inv.newUUID == nil {
		inv.newUUID = NewUUID
	}
	if inv.random == nil {
		inv.random = rand.IntN
	}
	if inv.now == nil {
		inv.now = time.Now
	}
	var s *Snapshot
	if fresh = found == 0; fresh {
		if s, err = initial(); err != nil {
			return nil, false, err
		}
		s.revision = 1
		if err = store.Commit(0, 1, slices.Collect(s.facts())); err != nil {
			return nil, false, err
		}
		inv.recall(nil, s)
	} else {
		b := newBuilder()
		for rec, err := range records {
			if err == nil {
				err = b.add(rec)
			}
			if err != nil {
				return nil, false, err
			}
		}
		if s, err = b.build(found); err != nil {
			return nil, false, err
		}
		inv.recall(b.events, s)
	}
	s.meter, s.memo = o.Meter, &memo{}
	inv.newest, inv.committed = s, s.revision
	inv.published.Store(s)
	return inv, fresh, nil
}

// recall takes up the history that a store holds, by slot.
func (i *Inventory) recall(events map[int]happening, now *Snapshot) {
	kept := slices.SortedFunc(maps.Values(events), func(a, b happening) int { return cmp.Compare(a.batch.Revision, b.batch.Revision) })
	for _, k := range kept {
		i.slots.kept, i.slots.bytes = append(i.slots.kept, slot{k.slot, k.size}), i.slots.bytes+k.size
		i.slots.next = (k.slot + 1) % historyChanges
		i.told = k.batch.Revision
	}
	i.history.recall(kept, now)
}

// Empty is an inventory of dom0 and the built-in labels: the initial state of a daemon that was given none.
func Empty() (*Snapshot, error) { return newBuilder().build(0) }

// View is the newest published snapshot.
func (i *Inventory) View() qube.View { return i.published.Load() }

// Snapshot is View, with what only this package knows.
func (i *Inventory) Snapshot() *Snapshot { return i.published.Load() }

// Since gives what subscribers were told after revision r. Of the past, its views show who was there, with which tags and
// references, and nothing else.
func (i *Inventory) Since(r qube.Revision) ([]qube.Batch, error) { return i.history.since(r) }

// Begin opens a group on top of all changes made so far, committed or not.
func (i *Inventory) Begin() qube.Group { return &group{inventory: i, newest: i.newest} }

type group struct {
	inventory *Inventory
	newest    *Snapshot
	records   []Record
	events    []qube.Batch
	happened  []happening
}

// Try keeps what change did by moving on to its snapshot, which is the last thing that happens: so an error or a panic
// before leaves the group as it was.
func (g *group) Try(change func(qube.Tx) error) error {
	i := g.inventory
	if i.broken.Load() { // what is newest may never be durable, so nobody may see it
		return errBroken
	}
	before := g.newest
	t := &tx{Snapshot: *before, inventory: i}
	t.memo = nil
	err := change(t)
	if err != nil || len(t.records) == 0 && len(t.events) == 0 {
		g.announced(t, before)
		return err
	}
	next := &t.Snapshot
	next.memo = &memo{}
	next.revision += qube.Revision(max(1, len(t.events)))
	if len(t.events) > 0 {
		g.events = append(g.events, qube.Batch{Revision: next.revision, Events: t.events, Before: before, After: next})
	}
	if len(t.events) > 0 || len(t.touched) > 0 {
		t.records = append(t.records, g.remember(happening{
			batch: qube.Batch{Revision: next.revision, Events: t.events}, after: i.told, before: before.who(t.touched), now: next.who(t.touched),
		})...)
	}
	for _, n := range t.released {
		i.released = append(i.released, released{n, i.now()})
	}
	g.records = append(g.records, t.records...)
	g.newest, i.newest = next, next
	return nil
}

// remember makes a change a part of the history, and gives the records for it.
func (g *group) remember(h happening) []Record {
	i, value := g.inventory, encode(h.fact())
	h.measured(len(value))
	number, forgotten := i.slots.take(h.size)
	records := []Record{{Key: eventKey(number), Value: value}}
	for _, n := range forgotten {
		records = append(records, Record{Key: eventKey(n), Deleted: true})
	}
	g.happened, i.told = append(g.happened, h), h.batch.Revision
	return records
}

// announced keeps the announcements of a change that failed.
func (g *group) announced(t *tx, at *Snapshot) {
	t.events = slices.DeleteFunc(t.events, func(e qube.Event) bool { return !e.Pre })
	if len(t.events) > 0 {
		g.events = append(g.events, qube.Batch{Events: t.events, Before: at, After: at})
	}
}

// Events are what subscribers are to be told.
func (g *group) Events() []qube.Batch { return g.events }

// errBroken is an exception, and no incident: the failure that it follows from has had its own.
var errBroken = exception.New(exception.QubesException, "the inventory cannot be written until the daemon is restarted")

// Commit writes, then publishes.
func (g *group) Commit() error {
	i := g.inventory
	if i.broken.Load() {
		return errBroken
	}
	if len(g.records) == 0 {
		return nil // every change before it is on disk, since groups commit in order
	}
	next := g.newest.revision
	if err := i.store.Commit(i.committed, next, g.records); err != nil {
		i.broken.Store(true)
		return err
	}
	i.committed = next
	i.published.Store(g.newest)
	i.history.add(g.happened, next)
	return nil
}
