package policy

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strings"
)

// System is the qubes at one moment. A decision asks it and keeps nothing of it. Every decision of one caller may be made
// on a System of its own; the System is asked by one goroutine at a time.
type System interface {
	// Named gives the qube of that name.
	Named(name string) (Qube, bool)
	// Identified gives the qube of that uuid, written without uuid:.
	Identified(uuid string) (Qube, bool)
	// Qubes are all of them, in any order.
	Qubes() iter.Seq[Qube]
	HasTag(q Qube, tag string) bool
	// AppendTags adds q's tags to those in tags.
	AppendTags(tags []string, q Qube) []string
	// DisposableTemplate is the property template_for_dispvms.
	DisposableTemplate(q Qube) bool
	// DefaultDispVM is the name of the qube that new disposables of q are based on; empty: none.
	DefaultDispVM(q Qube) string
	// Running says that the power state is Running, and not Paused or Transient (spec: policy.md 4.6).
	Running(q Qube) bool
	// Internal says that the feature internal is set and not empty.
	Internal(q Qube) bool
	// Relay is the name of the qube through which a RemoteVM is reached, and the service there; empty: none.
	Relay(q Qube) (relay, transport string)
}

// Qube is one qube of a System.
type Qube struct {
	Name  string
	UUID  string // without uuid:
	Class string
	Of    any // the System's own; nobody else looks at it
}

const (
	adminVM  = "AdminVM"
	remoteVM = "RemoteVM"
)

// Classes are the classes that a qube may be of (spec: model.md 1).
var Classes = []string{"AppVM", "DispVM", "StandaloneVM", "TemplateVM", remoteVM, adminVM}

// Facts are what a policy asks of one qube. The keys are those of the reference's system information.
type Facts struct {
	Name               string   `json:"-"`
	UUID               string   `json:"uuid"`
	Class              string   `json:"type"`
	Tags               []string `json:"tags"`
	DisposableTemplate bool     `json:"template_for_dispvms"`
	DefaultDispVM      string   `json:"default_dispvm"`
	PowerState         string   `json:"power_state"`
	Internal           string   `json:"internal"`
	Relay              string   `json:"relayvm"`
	Transport          string   `json:"transport_rpc"`
}

// Table is a System of plain facts, for tools and tests. It never changes.
type Table struct {
	all            []Facts
	byName, byUUID map[string]*Facts // nil if they are few
}

// NewTable makes a Table of facts, each with a name of its own and a uuid of its own or none.
func NewTable(facts ...Facts) *Table {
	t := &Table{all: facts}
	if len(facts) <= few { // which are faster found than put in order
		return t
	}
	t.byName, t.byUUID = map[string]*Facts{}, map[string]*Facts{}
	for i := range facts {
		f := &facts[i]
		t.byName[f.Name] = f
		if f.UUID != "" {
			t.byUUID[f.UUID] = f
		}
	}
	return t
}

// ReadTable makes a Table of the reference's system information: {"domains": {NAME: {...}}} in JSON. Entries that are
// under a uuid are another view of those under a name.
func ReadTable(text []byte) (*Table, error) {
	var info struct {
		Domains map[string]Facts `json:"domains"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, err
	}
	var all []Facts
	for name, f := range info.Domains {
		if !strings.HasPrefix(name, words[UUID]) {
			f.Name, f.UUID = name, strings.TrimPrefix(f.UUID, words[UUID])
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b Facts) int { return cmp.Compare(a.Name, b.Name) })
	return NewTable(all...), nil
}

func (f *Facts) qube() (Qube, bool) {
	if f == nil {
		return Qube{}, false
	}
	return Qube{f.Name, f.UUID, f.Class, f}, true
}

// Named implements System.
func (t *Table) Named(name string) (Qube, bool) {
	f := t.byName[name]
	for i := range t.scanned() {
		if t.all[i].Name == name {
			f = &t.all[i]
		}
	}
	return f.qube()
}

// Identified implements System.
func (t *Table) Identified(uuid string) (Qube, bool) {
	f := t.byUUID[uuid]
	for i := range t.scanned() {
		if uuid != "" && t.all[i].UUID == uuid {
			f = &t.all[i]
		}
	}
	return f.qube()
}

// scanned is how many qubes are looked at one after the other: all or none.
func (t *Table) scanned() int {
	if t.byName == nil {
		return len(t.all)
	}
	return 0
}

// Qubes implements System.
func (t *Table) Qubes() iter.Seq[Qube] {
	return func(yield func(Qube) bool) {
		for i := range t.all {
			if q, _ := t.all[i].qube(); !yield(q) {
				return
			}
		}
	}
}

// HasTag implements System.
func (t *Table) HasTag(q Qube, tag string) bool { return slices.Contains(facts(q).Tags, tag) }

// AppendTags implements System.
func (t *Table) AppendTags(tags []string, q Qube) []string { return append(tags, facts(q).Tags...) }

// DisposableTemplate implements System.
func (t *Table) DisposableTemplate(q Qube) bool { return facts(q).DisposableTemplate }

// DefaultDispVM implements System.
func (t *Table) DefaultDispVM(q Qube) string { return facts(q).DefaultDispVM }

// Running implements System.
func (t *Table) Running(q Qube) bool { return facts(q).PowerState == "Running" }

// Internal implements System.
func (t *Table) Internal(q Qube) bool { return facts(q).Internal != "" }

// Relay implements System.
func (t *Table) Relay(q Qube) (relay, transport string) { return facts(q).Relay, facts(q).Transport }

func facts(q Qube) *Facts { return q.Of.(*Facts) }
