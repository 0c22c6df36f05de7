package inventory

import (
	"errors"
	"iter"

	"sallyport/messages/qube"
)

// Record is one fact of the durable inventory: a key and its value, or, in a commit, the key of a fact that is no more.
// Keys are text in segments divided by '/'; values are JSON.
type Record struct {
	Key     string
	Value   []byte
	Deleted bool
}

// ErrConflict says that the store holds another revision than the commit was based on: somebody else wrote.
var ErrConflict = errors.New("inventory: the store has moved on")

// Store keeps the records of one inventory. Commit and Close are called by one goroutine at a time; Load before either.
type Store interface {
	// Load gives the revision of the last commit and all records, in the order of their keys.
	Load() (qube.Revision, iter.Seq2[Record, error], error)
	// Commit writes records, later ones over earlier ones of the same key, and the revision next, all or nothing. When it
	// returns nil they are on disk. It returns ErrConflict, and has written nothing, if the store's revision is not base.
	// After any other error nothing is known of what is on disk, and every later Commit fails.
	Commit(base, next qube.Revision, records []Record) error
	Close() error
}
