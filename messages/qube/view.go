package qube

import "iter"

// Revision counts the changes of an inventory. A larger one is newer; zero is an inventory nothing was ever written to.
type Revision uint64

// Class is a qube's class (spec: model.md 1).
type Class string

// The classes, in the order of admin.vmclass.List.
const (
	AppVM        Class = "AppVM"
	TemplateVM   Class = "TemplateVM"
	StandaloneVM Class = "StandaloneVM"
	AdminVM      Class = "AdminVM"
	DispVM       Class = "DispVM"
	RemoteVM     Class = "RemoteVM"
)

// Classes are all of them, in the order of admin.vmclass.List (spec: methods.yaml admin.vmclass.List).
var Classes = []Class{AppVM, TemplateVM, StandaloneVM, AdminVM, DispVM, RemoteVM}

// Shown is the class's name.
func (c Class) Shown() string { return string(c) }

// PowerState is a qube's power state (spec: model.md 4).
type PowerState string

// The power states.
const (
	Halted    PowerState = "Halted"
	Transient PowerState = "Transient"
	Running   PowerState = "Running"
	Paused    PowerState = "Paused"
	Suspended PowerState = "Suspended"
	Halting   PowerState = "Halting"
	Dying     PowerState = "Dying"
	Crashed   PowerState = "Crashed"
)

// PowerStates are all of them.
var PowerStates = []PowerState{Halted, Transient, Running, Paused, Suspended, Halting, Dying, Crashed}

// Usage is what a qube uses of its host now (spec: model.md 13). All zero while it is halted.
type Usage struct {
	MemoryKiB    uint64
	MaxMemoryKiB uint64
	CPUNanos     uint64
}

// Label is a label: a name, a colour, and the index by which it can also be found.
type Label struct {
	Name  LabelName
	Index int
	Color Color
}

// Shown is the label's name.
func (l Label) Shown() string { return l.Name.s }

// Qube is one qube at one moment. It never changes, and may be used by many goroutines.
type Qube interface {
	Noun // its name
	Name() Name
	ID() UUID
	Class() Class
	State() PowerState
	Label() LabelName
	// Property is the explicit value only.
	Property(PropertyName) (PropertyValue, bool)
	Feature(FeatureName) (FeatureValue, bool)
	// Features come in the order in which they were first set.
	Features() iter.Seq2[FeatureName, FeatureValue]
	HasTag(Tag) bool
	// Tags come sorted by bytes.
	Tags() iter.Seq[Tag]
	Notes() Notes
}

// View is one moment of the inventory as one caller may see it: what the caller may not see is absent from it. It never
// changes, and may be used by many goroutines; a Tx is the exception, see there.
type View interface {
	Revision() Revision
	Qube(Name) (Qube, bool)
	QubeByID(UUID) (Qube, bool)
	// Qubes come with dom0 first, then by the bytes of their names.
	Qubes() iter.Seq[Qube]
	// Template is the qube that q is based on; false is None.
	Template(q Qube) (Qube, bool)
	// Netvm is the qube that q uses for its network, set explicitly or by default; false is None.
	Netvm(q Qube) (Qube, bool)
	// Usage is what q uses of its host now. It depends on properties of q's templates, hence it is asked here.
	Usage(q Qube) Usage
	Label(LabelName) (Label, bool)
	LabelByIndex(int) (Label, bool)
	// Labels come by index.
	Labels() iter.Seq[Label]
}

// Writer is the power to change. Only the ledger gives it, inside a Tx. Each call is whole or does nothing and says why
// in an error; an absent qube is exception.QubesVMNotFoundError.
type Writer interface {
	SetFeature(UUID, FeatureName, FeatureValue) error
	RemoveFeature(UUID, FeatureName) error
	SetProperty(UUID, PropertyName, PropertyValue) error
	ResetProperty(UUID, PropertyName) error
	AddTag(UUID, Tag) error
	RemoveTag(UUID, Tag) error
	SetNotes(UUID, Notes) error
	AddLabel(Label) error
	RemoveLabel(LabelName) error
}

// Tx is a change in the making: what it shows includes what it did. Only the ledger makes one, for one change at a time;
// it is for one goroutine, and ends with the change. What a failed or crashed change did to its Tx is gone.
type Tx interface {
	View
	Writer
}
