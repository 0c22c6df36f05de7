package inventory

import (
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
	committed, synced qube.Revision
	broken            atomic.Bool // a commit failed
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

// leap is how far the revision is moved on at every start. Volatile changes may have been told to subscribers and then be
// lost in a power cut: their revisions must not be given again to something else. Half as many may go unsynced.
const leap = 1 << 20

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
	var first []Record
	if fresh = found == 0; fresh {
		if s, err = initial(); err != nil {
			return nil, false, err
		}
		s.revision = 1
		first = slices.Collect(s.facts())
		inv.history.forgotten = 1
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
		if s, err = b.build(found + leap); err != nil {
			return nil, false, err
		}
		inv.recall(b.events)
		first = []Record{{Key: startedKey, Value: encode(inv.now().Unix())}}
	}
	if err = store.Commit(found, s.revision, first); err != nil {
		return nil, false, err
	}
	s.meter, s.memo = o.Meter, &memo{}
	inv.newest, inv.committed, inv.synced, inv.history.newest = s, s.revision, s.revision, s.revision
	inv.published.Store(s)
	return inv, fresh, nil
}

// recall takes up the history that a store holds, by slot.
func (i *Inventory) recall(events map[int]loggedBatch) {
	var all []loggedBatch
	for _, e := range events {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b loggedBatch) int { return int(a.batch.Revision) - int(b.batch.Revision) })
	var batches []qube.Batch
	var sizes []int
	for _, e := range all {
		batches, sizes = append(batches, e.batch), append(sizes, e.size)
		i.slots.kept, i.slots.bytes = append(i.slots.kept, slot{e.slot, e.size}), i.slots.bytes+e.size
		i.slots.next = (e.slot + 1) % historyChanges
	}
	if len(all) > 0 {
		i.history.forgotten, i.told = all[0].after, all[len(all)-1].batch.Revision
	}
	i.history.add(batches, sizes, 0)
}

// Empty is an inventory of dom0 and the built-in labels: the initial state of a daemon that was given none.
func Empty() (*Snapshot, error) { return newBuilder().build(0) }

// View is the newest published snapshot.
func (i *Inventory) View() qube.View { return i.published.Load() }

// Snapshot is View, with what only this package knows.
func (i *Inventory) Snapshot() *Snapshot { return i.published.Load() }

// Since gives what subscribers were told after revision r.
func (i *Inventory) Since(r qube.Revision) ([]qube.Batch, error) {
	batches, err := i.history.since(r)
	for n := range batches {
		batches[n].Before, batches[n].After = i.View(), i.View()
	}
	return batches, err
}

// Begin opens a group on top of all changes made so far, committed or not.
func (i *Inventory) Begin() qube.Group { return &group{inventory: i, newest: i.newest} }

type group struct {
	inventory *Inventory
	newest    *Snapshot
	records   []Record
	events    []qube.Batch
	sizes     []int // of the records of events that have a revision
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
		batch := qube.Batch{Revision: next.revision, Events: t.events, Before: before, After: next}
		value := encode(factOf(batch, i.told))
		i.told = batch.Revision
		number, forgotten := i.slots.take(len(value))
		t.records = append(t.records, Record{Key: eventKey(number), Value: value, Volatile: true})
		for _, n := range forgotten {
			t.records = append(t.records, Record{Key: eventKey(n), Deleted: true, Volatile: true})
		}
		g.events, g.sizes = append(g.events, batch), append(g.sizes, len(value))
	}
	for _, n := range t.released {
		i.released = append(i.released, released{n, i.now()})
	}
	g.records = append(g.records, t.records...)
	g.newest, i.newest = next, next
	return nil
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
	if next-i.synced > leap/2 {
		g.records[0].Volatile = false
	}
	if err := i.store.Commit(i.committed, next, g.records); err != nil {
		i.broken.Store(true)
		return err
	}
	if slices.ContainsFunc(g.records, func(r Record) bool { return !r.Volatile }) {
		i.synced = next
	}
	i.committed = next
	i.published.Store(g.newest)
	i.history.add(slices.DeleteFunc(slices.Clone(g.events), func(b qube.Batch) bool { return b.Revision == 0 }), g.sizes, next)
	return nil
}
