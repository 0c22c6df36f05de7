package qube

import (
	"iter"
	"time"
)

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
	MemoryKiB uint64 // assigned
	CPUNanos  uint64 // since its start
	VCPUs     int
}

// Runtime is what the hypervisor last said of a qube. A change of it takes a revision, like any other. All but State is
// zero while the qube is halted.
type Runtime struct {
	State   PowerState
	XID     int       // of the running domain; 0: none
	Started time.Time // when the domain was created
	Console string    // path of its first console
}

// Host is the machine that qubes run on. Nothing of it changes while the daemon runs.
type Host struct {
	MemoryMiB uint64
	CPUs      int
	Kernels   []string // that are installed
	Pools     []Pool   // in the order in which they were made
}

// Pool is a storage pool.
type Pool struct {
	Name    string            `json:"name"`
	Driver  string            `json:"driver"`
	Options map[string]string `json:"options,omitempty"`
}

// Intent is work on a qube that has begun and is not known to be over: what is open when the daemon starts is repaired
// (design: 5). It is plain data.
type Intent struct {
	Kind string            `json:"kind"`
	Args map[string]string `json:"args,omitempty"`
}

// Label is a label: a name, a colour, and the index by which it can also be found.
type Label struct {
	Name  LabelName
	Index int
	Color Color
}

// BuiltinLabels is how many labels come with every system; their indexes are 1 to that (spec: model.md 9).
const BuiltinLabels = 8

// Shown is the label's name.
func (l Label) Shown() string { return l.Name.s }

// Qube is one qube at one moment. It never changes, and may be used by many goroutines.
type Qube interface {
	Noun // its name
	Name() Name
	ID() UUID
	Class() Class
	State() PowerState // of its Runtime
	Runtime() Runtime
	QID() int // of the qube, for as long as it exists; 0 is dom0's
	Label() LabelName
	// Property is the explicit value only.
	Property(PropertyName) (PropertyValue, bool)
	Feature(FeatureName) (FeatureValue, bool)
	// Features come in the order in which they were first set.
	Features() iter.Seq2[FeatureName, FeatureValue]
	HasTag(Tag) bool
	// Tags come sorted by bytes.
	Tags() iter.Seq[Tag]
	// AppendTags appends their text to all: for policies, which look at tags with every call.
	AppendTags(all []string) []string
	Notes() Notes
	// Volume is what is kept of a volume; false if that is what it has by default.
	Volume(VolumeName) (Volume, bool)
	// Firewall are the rules that were set, in order; none if that never happened.
	Firewall() iter.Seq[FirewallRule]
	// Intent is the work that is open, if any.
	Intent() (Intent, bool)
}

// View is one moment of the inventory as one caller may see it: what the caller may not see is absent from it. It never
// changes, and may be used by many goroutines; a Tx is the exception, see there.
//
// A qube, a label, a pool or a kernel that a caller names is looked up with Qube, QubeByID, Label, LabelByIndex, Pool and
// Host, and what he may not see is not found (design: 7). Following what is kept hides nobody: what a qube has is the same for all who may ask
// for it, whether or not they see what it follows from.
type View interface {
	Revision() Revision
	Qube(Name) (Qube, bool)
	QubeByID(UUID) (Qube, bool)
	// Qubes come with dom0 first, then by the bytes of their names.
	Qubes() iter.Seq[Qube]
	// Template is the qube that q is based on; false is None. It hides nobody.
	Template(q Qube) (Qube, bool)
	// Netvm is the qube that q uses for its network, set explicitly or by default; false is None. It hides nobody.
	Netvm(q Qube) (Qube, bool)
	// Follow is the qube that a value of a property names which is kept, or is the default; false for None. It hides nobody,
	// so never ask it about what a caller sent.
	Follow(PropertyValue) (Qube, bool)
	// Referrers are the qubes that refer to the one of that name by a property that is set explicitly, and that property.
	// It hides nobody, so that what is in use can be told (design: 7): whoever asks says no names.
	Referrers(Name) iter.Seq2[Qube, PropertyName]
	// Global is a property of the system, the explicit value only.
	Global(PropertyName) (PropertyValue, bool)
	// Pool is the storage pool of that name, of those that do not come with every system.
	Pool(name string) (Pool, bool)
	// Host is the machine, with all that is on it that may be seen: of Kernels, a caller may see none.
	Host() Host
	// Usage is what q uses of its host now, which may be another now than the rest of the view.
	Usage(q Qube) Usage
	Label(LabelName) (Label, bool)
	LabelByIndex(int) (Label, bool)
	// Labels come by index.
	Labels() iter.Seq[Label]
}

// Memo is a View that remembers what was made of it, for as long as it is kept itself. Only a view that everybody shares
// is one: what is made of a masked view, or of a change in the making, is for one caller alone.
type Memo interface {
	View
	// Memo gives what make gives, or gave when it was called with that key before. It may be called by many goroutines, and
	// so may make; what is given is shared, and never changed.
	Memo(key string, make func() any) any
}

// Writer is the power to change. Only the ledger gives it, inside a Tx. Each call is whole or does nothing and says why
// in an error; an absent qube is exception.QubesVMNotFoundError. No call but Fire tells subscribers anything: what an API
// method or a reaction means by a change is for it to say.
type Writer interface {
	// AddQube makes a qube and gives it as it is then. A name that is taken is QubesVMAlreadyExistsError, whoever sees it.
	AddQube(NewQube) (Qube, error)
	RemoveQube(UUID) error
	SetLabel(UUID, LabelName) error
	SetFeature(UUID, FeatureName, FeatureValue) error
	RemoveFeature(UUID, FeatureName) error
	SetProperty(UUID, PropertyName, PropertyValue) error
	ResetProperty(UUID, PropertyName) error
	SetGlobal(PropertyName, PropertyValue) error
	ResetGlobal(PropertyName) error
	AddTag(UUID, Tag) error
	RemoveTag(UUID, Tag) error
	SetNotes(UUID, Notes) error
	SetVolume(UUID, VolumeName, Volume) error
	// SetFirewall replaces the rules; none are those of a new qube.
	SetFirewall(UUID, []FirewallRule) error
	AddLabel(Label) error
	RemoveLabel(LabelName) error
	// SetRuntime says what the hypervisor said.
	SetRuntime(UUID, Runtime) error
	// SetIntent opens work on a qube, in place of what was open; the zero Intent says that it is over.
	SetIntent(UUID, Intent) error
	// Fire tells subscribers, in the order of calls, once the change is durable and published, and has the reactions of the
	// system follow: to an announcement (Event.Pre) after it is told, to any other event before. An error is a reaction's,
	// and the change has to fail with it; of a change that fails, subscribers are told the announcements alone.
	Fire(Event) error
	// System is the transaction without a mask: for what follows from a change, whoever made it. Nothing that it shows may
	// get into a reply.
	System() Tx
}

// NewQube is what a new qube is made with. What is zero is chosen: a random UUID, the lowest QID that is free, and, for a
// DispVM without a name, disp and its number (spec: model.md 3).
type NewQube struct {
	Name       Name
	ID         UUID
	Class      Class
	Label      LabelName
	Properties map[PropertyName]PropertyValue
}

// References are the properties of qubes whose value is the name of another qube, or empty for None.
var References = []PropertyName{
	{"template"}, {"netvm"}, {"guivm"}, {"audiovm"}, {"default_dispvm"}, {"management_dispvm"}, {"relayvm"},
}

// Tx is a change in the making: what it shows includes what it did. Only the ledger makes one, for one change at a time;
// it is for one goroutine, and ends with the change. What a failed or crashed change did to its Tx is gone.
type Tx interface {
	View
	Writer
}
