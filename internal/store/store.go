// Package store keeps the records of an inventory on disk, in a Pebble database of its own.
//
// A commit is one batch in Pebble's log, synced before Commit returns. The revision is in the same batch, so whatever a
// power cut leaves behind is the content of exactly one revision. The first write that fails stops the store for good,
// on disk too (disk.go says why). This package never looks into a record.
package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
)

// Keys and values in Pebble.
const (
	recordPrefix = "r/" // and a record's key: the record's value
	recordEnd    = "r0" // '0' comes after '/': the first key that is no record's
	revisionKey  = "m/revision"
	formatKey    = "m/version"

	format = "1" // of all the above; another number is another layout
)

// Open's errors that a daemon may want to tell apart, with errors.Is. Their texts say what to do.
var (
	ErrLocked = errors.New("in use by another process")
	ErrFormat = errors.New("not in the format of this sallyport")
)

// errUnfinished is what the store says for good if Pebble panicked: nothing is known of the disk, nor of its locks.
var errUnfinished = errors.New("store: a commit did not return: restart the daemon")

var errClosed = errors.New("store: closed")

// Logger is told, once, why the store stopped, and what Pebble calls an error; the rest of what Pebble says is dropped.
// Any goroutine may call Error, also several at a time. Error must not call the store.
type Logger interface{ Error(msg string) }

// Store is an inventory.Store in one directory. Its methods are for one goroutine at a time; what Load gives counts as
// Load until it has been ranged over. The zero value is of no use.
type Store struct {
	db       *pebble.DB
	disk     *disk
	batch    *pebble.Batch // reused by every commit
	revision qube.Revision // of the last commit: nobody else can write
	err      error         // nil, or why this store does nothing any more
}

var _ inventory.Store = (*Store)(nil)

// Open opens the store in dir, or makes a new one there, which only the user of this process can read. It returns
// ErrLocked if dir is open elsewhere, in this process or another, and ErrFormat if what is there is no store of this
// version. A store that was cut off by a crash or a power cut is repaired first.
func Open(dir string, log Logger) (*Store, error) { return open(dir, log, vfs.Default, memTableSize) }

func open(dir string, log Logger, fs vfs.FS, memTable uint64) (*Store, error) {
	d := &disk{FS: fs, dir: dir, log: log}
	db, err := pebble.Open(dir, options(d, memTable))
	if err != nil {
		return nil, fmt.Errorf("store: cannot open %s: %w", dir, cmp.Or(errors.Unwrap(d.stopped()), err))
	}
	s := &Store{db: db, disk: d, batch: db.NewBatch()}
	err = s.recognise()
	if err = cmp.Or(errors.Unwrap(d.stopped()), err); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("store: cannot open %s: %w", dir, err)
	}
	return s, nil
}

// recognise checks the format and reads the revision. A database with nothing in it becomes ours.
func (s *Store) recognise() error {
	found, err := s.get(formatKey)
	if err != nil {
		return err
	}
	if found == nil {
		empty, err := s.empty()
		if err != nil {
			return err
		}
		if empty {
			// The flush begins another log: the first one of all does not yet mark how far it was synced (options.go).
			return errors.Join(s.db.Set([]byte(formatKey), []byte(format), pebble.Sync), s.db.Flush())
		}
	}
	if string(found) != format {
		const advice = "start the sallyport that wrote it, or move the directory away to begin with an empty inventory"
		return fmt.Errorf("%w: found %q, expected %q: %s", ErrFormat, found, format, advice)
	}
	revision, err := s.get(revisionKey)
	if err != nil || revision == nil {
		return err
	}
	if len(revision) != 8 {
		return fmt.Errorf("the revision is %d bytes long, not 8: restore the directory from a backup", len(revision))
	}
	s.revision = qube.Revision(binary.BigEndian.Uint64(revision))
	return nil
}

// get returns a copy of the value of key, nil if there is none.
func (s *Store) get(key string) ([]byte, error) {
	value, done, err := s.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value = append([]byte{}, value...)
	return value, done.Close()
}

func (s *Store) empty() (bool, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return false, err
	}
	empty := !it.First()
	return empty, it.Close()
}

// Load gives the revision of the last commit, zero if there was none, and all records in the order of their keys, read
// from disk as they are ranged over. An error ends the range. The records are the caller's to keep.
func (s *Store) Load() (qube.Revision, iter.Seq2[inventory.Record, error], error) {
	if err := s.unusable(); err != nil {
		return 0, nil, err
	}
	return s.revision, s.records, nil
}

func (s *Store) records(yield func(inventory.Record, error) bool) {
	if err := s.unusable(); err != nil {
		yield(inventory.Record{}, err)
		return
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte(recordPrefix), UpperBound: []byte(recordEnd)})
	if err != nil {
		yield(inventory.Record{}, err)
		return
	}
	more := true
	// A disk that stopped before the iterator was there may lack tables that Pebble believes to have written.
	for ok := s.disk.stopped() == nil && it.First(); ok && more; ok = it.Next() {
		more = yield(inventory.Record{Key: string(it.Key()[len(recordPrefix):]), Value: bytes.Clone(it.Value())}, nil)
	}
	err = it.Close()
	if err = cmp.Or(err, s.disk.stopped()); err != nil && more {
		yield(inventory.Record{}, err)
	}
}

// Commit implements inventory.Store. It costs one sync of the disk, however many records there are; while that lasts, the
// caller waits, and a disk that hangs is waited for. All is synced, a power state too: what Pebble is told not to sync, it
// keeps in the memory of this process until it syncs something else, and there a killed daemon loses it.
func (s *Store) Commit(base, next qube.Revision, records []inventory.Record) error {
	if err := s.unusable(); err != nil {
		return err
	}
	if base != s.revision {
		return inventory.ErrConflict
	}
	s.err = errUnfinished
	s.fill(next, records)
	if err := s.db.Apply(s.batch, pebble.Sync); err != nil {
		s.disk.stop(err)
	}
	// Pebble believes that all went well even if the disk has stopped, hence this question decides.
	if s.err = s.disk.stopped(); s.err == nil {
		s.revision = next
	}
	return s.err
}

// fill makes the batch: all of a commit, the revision with it. It copies straight into the batch's buffer.
func (s *Store) fill(next qube.Revision, records []inventory.Record) {
	s.batch.Reset()
	for _, r := range records {
		key := len(recordPrefix) + len(r.Key)
		var op *pebble.DeferredBatchOp
		if r.Deleted {
			op = s.batch.DeleteDeferred(key)
		} else {
			op = s.batch.SetDeferred(key, len(r.Value))
			copy(op.Value, r.Value)
		}
		copy(op.Key[copy(op.Key, recordPrefix):], r.Key)
		_ = op.Finish() // fails only for batches with an index
	}
	op := s.batch.SetDeferred(len(revisionKey), 8)
	copy(op.Key, revisionKey)
	binary.BigEndian.PutUint64(op.Value, uint64(next))
	_ = op.Finish()
}

// unusable is nil, or the reason why every call fails from now on.
func (s *Store) unusable() error { return cmp.Or(s.err, s.disk.stopped()) }

// Close lets go of the directory; a second Close does nothing. It returns why the store had stopped, if it had: what was
// committed before is on disk all the same. Only after a Commit that panicked is the directory kept until the process ends.
func (s *Store) Close() error {
	switch s.err {
	case errClosed:
		return nil
	case errUnfinished: // Pebble's locks may still be held, and closing would wait for them
		return s.err
	}
	s.err = errClosed
	err := errors.Join(s.batch.Close(), s.db.Close())
	return cmp.Or(s.disk.stopped(), err)
}
