package inventory

import (
	"slices"
	"sync/atomic"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Inventory is the daemon's state: a store, and the newest snapshot of it. It is a qube.Book.
type Inventory struct {
	store     Store
	published atomic.Pointer[Snapshot]

	// Of the goroutine that fills groups.
	newest *Snapshot

	committed qube.Revision // of the goroutine that commits
	broken    atomic.Bool   // a commit failed
}

// Open loads what store holds. Into a store that nothing was ever written to, it first writes what initial makes; fresh
// reports whether it did.
func Open(store Store, initial func() (*Snapshot, error)) (inv *Inventory, fresh bool, err error) {
	revision, records, err := store.Load()
	if err != nil {
		return nil, false, err
	}
	var s *Snapshot
	if fresh = revision == 0; fresh {
		if s, err = initial(); err != nil {
			return nil, false, err
		}
		s.revision = 1
		if err = store.Commit(0, 1, slices.Collect(s.facts())); err != nil {
			return nil, false, err
		}
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
		if s, err = b.build(revision); err != nil {
			return nil, false, err
		}
	}
	inv = &Inventory{store: store, newest: s, committed: s.revision}
	inv.published.Store(s)
	return inv, fresh, nil
}

// Empty is an inventory of dom0 and the built-in labels: the initial state of a daemon that was given none.
func Empty() (*Snapshot, error) { return newBuilder().build(0) }

// View is the newest published snapshot.
func (i *Inventory) View() qube.View { return i.published.Load() }

// Begin opens a group on top of all changes made so far, committed or not.
func (i *Inventory) Begin() qube.Group { return &group{inventory: i, newest: i.newest} }

type group struct {
	inventory *Inventory
	newest    *Snapshot
	records   []Record
}

// Try keeps what change did by moving on to its snapshot, which is the last thing that happens: so an error or a panic
// before leaves the group as it was.
func (g *group) Try(change func(qube.Tx) error) error {
	if g.inventory.broken.Load() { // what is newest may never be durable, so nobody may see it
		return errBroken
	}
	t := &tx{Snapshot: *g.newest}
	if err := change(t); err != nil || len(t.records) == 0 {
		return err
	}
	t.revision++
	next := t.Snapshot
	g.records = append(g.records, t.records...)
	g.newest, g.inventory.newest = &next, &next
	return nil
}

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
	if err := i.store.Commit(i.committed, g.newest.revision, g.records); err != nil {
		i.broken.Store(true)
		return err
	}
	i.committed = g.newest.revision
	i.published.Store(g.newest)
	return nil
}
