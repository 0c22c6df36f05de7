package qube

import "sallyport/messages/exception"

// Book is an inventory that can change: what the ledger keeps. View is called by many goroutines at once; Begin by one at
// a time.
type Book interface {
	// View is the newest published moment. Reads take no lock.
	View() View
	// Begin opens a group of changes on top of all that were begun before. A group is filled by one goroutine; the next may
	// be begun while it commits. Groups commit in the order in which they were begun, one at a time.
	Begin() Group
	// Since gives what subscribers are told of all published changes, from the event after revision r on, oldest first. The
	// views of a Batch are of its time, so that a right to an event does not depend on when it is told; of the past they may
	// show no more than who was there, with which tags and references.
	// If some of it is forgotten, or r is yet to come, the error is a QubesException that says from where one can go on. It
	// is called by many goroutines at once.
	Since(r Revision) ([]Batch, error)
}

// Group is changes that become durable together.
type Group interface {
	// Try runs change on a Tx and keeps what it did if it returns nil. If it fails or panics, nothing has happened, and
	// the group is as before.
	Try(change func(Tx) error) error
	// Commit returns when every change of the group is on disk and published, in this order. After an error nothing is
	// known of what is on disk, nothing was published, and no later group of this Book will commit.
	Commit() error
	// Events are what subscribers are to be told of the changes that were tried so far, in order: all of those that were
	// kept, and the announcements of those that failed. It is called by the goroutine that has the group.
	Events() []Batch
}

// NoEvents is what a Book or a Group has that tells nobody of its changes: other modules embed it.
type NoEvents struct{}

// Since knows of no changes.
func (NoEvents) Since(Revision) ([]Batch, error) { return nil, nil }

// Events are none.
func (NoEvents) Events() []Batch { return nil }

// Fixed is a Book that nobody can write in.
func Fixed(v View) Book { return fixed{view: v} }

type fixed struct {
	NoEvents
	view View
}

func (f fixed) View() View               { return f.view }
func (f fixed) Begin() Group             { return f }
func (f fixed) Try(func(Tx) error) error { return ErrFixed }
func (f fixed) Commit() error            { return nil }

// ErrFixed says that a Fixed book was asked to change.
var ErrFixed = exception.New(exception.QubesNotImplementedError, "this daemon changes nothing")

// ReadOnly is a Writer that refuses everything. A Tx of another module embeds it and says only what can be changed.
type ReadOnly struct{}

var _ Writer = ReadOnly{}

// The methods of Writer. Those that change something return ErrFixed.

func (ReadOnly) AddQube(NewQube) (Qube, error)                       { return nil, ErrFixed }
func (ReadOnly) RemoveQube(UUID) error                               { return ErrFixed }
func (ReadOnly) SetLabel(UUID, LabelName) error                      { return ErrFixed }
func (ReadOnly) SetFeature(UUID, FeatureName, FeatureValue) error    { return ErrFixed }
func (ReadOnly) RemoveFeature(UUID, FeatureName) error               { return ErrFixed }
func (ReadOnly) SetProperty(UUID, PropertyName, PropertyValue) error { return ErrFixed }
func (ReadOnly) ResetProperty(UUID, PropertyName) error              { return ErrFixed }
func (ReadOnly) SetGlobal(PropertyName, PropertyValue) error         { return ErrFixed }
func (ReadOnly) ResetGlobal(PropertyName) error                      { return ErrFixed }
func (ReadOnly) AddTag(UUID, Tag) error                              { return ErrFixed }
func (ReadOnly) RemoveTag(UUID, Tag) error                           { return ErrFixed }
func (ReadOnly) SetNotes(UUID, Notes) error                          { return ErrFixed }
func (ReadOnly) SetVolume(UUID, VolumeName, Volume) error            { return ErrFixed }
func (ReadOnly) SetFirewall(UUID, []FirewallRule) error              { return ErrFixed }
func (ReadOnly) AddLabel(Label) error                                { return ErrFixed }
func (ReadOnly) RemoveLabel(LabelName) error                         { return ErrFixed }
func (ReadOnly) SetRuntime(UUID, Runtime) error                      { return ErrFixed }
func (ReadOnly) SetIntent(UUID, Intent) error                        { return ErrFixed }
func (ReadOnly) Fire(Event) error                                    { return nil }

// System shows nothing: a Tx of another module that has more to show says so itself.
func (ReadOnly) System() Tx {
	return struct {
		View
		ReadOnly
	}{View: Only()}
}
