// Package inventory implements the views and transactions of messages/qube: immutable snapshots that share structure, so
// that reads take no lock and the cost of a write does not depend on how many qubes there are.
//
//	Store ─Load→ Snapshot ─Group.Try→ Snapshot' ─Store.Commit→ published
//
// It knows no caller and no policy: masking is put over its views by whoever judges.
package inventory

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"sallyport/messages/qube"
)

// Snapshot is one moment of the inventory. It never changes, and may be used by many goroutines. It is a qube.View that
// hides nothing.
type Snapshot struct {
	revision qube.Revision
	byName   *iradix.Tree[*record]   // replaced leaf by leaf with every change
	byID     *iradix.Tree[qube.Name] // replaced only when a qube comes or goes
	labels   []qube.Label            // by index
	globals  map[qube.PropertyName]qube.PropertyValue
	refs     references
	qids     numbers
	dispids  numbers
	host     Host
	meter    Meter
	memo     *memo // nil while it is in the making
}

// Meter tells what a running qube uses of its host now. It answers at once, from memory. Safe for concurrent use.
type Meter interface{ Usage(qube.UUID) qube.Usage }

// Host is the machine and how its simulation behaves. Nothing of it changes while the daemon runs.
type Host struct {
	MemoryMiB  uint64      `json:"memory_mib"`
	CPUs       int         `json:"cpus"`
	StartOrder []string    `json:"start_order,omitempty"` // names of qubes, by xid
	StartDelay string      `json:"start_delay,omitempty"`
	GuestDelay string      `json:"guest_shutdown_delay,omitempty"`
	Kernels    []string    `json:"kernels,omitempty"`
	Pools      []qube.Pool `json:"pools,omitempty"`
}

// builtinLabels are there always (spec: model.md 9).
var builtinLabels = func() []qube.Label {
	var labels []qube.Label
	for i, l := range [][2]string{
		{"red", "0xcc0000"}, {"orange", "0xf57900"}, {"yellow", "0xedd400"}, {"green", "0x73d216"},
		{"gray", "0x555555"}, {"blue", "0x3465a4"}, {"purple", "0x75507b"}, {"black", "0x000000"},
	} {
		labels = append(labels, qube.Label{
			Name: must(qube.ParseLabelName(l[0])), Color: must(qube.ParseColor(l[1])), Index: i + 1,
		})
	}
	return labels
}()

// empty has dom0 and the built-in labels: what every inventory begins with.
func empty() *Snapshot {
	dom0 := &record{
		name: qube.Dom0, id: qube.Dom0UUID, class: qube.AdminVM, label: must(qube.ParseLabelName("black")),
		runtime: qube.Runtime{State: qube.Running},
	}
	s := &Snapshot{
		refs: noReferences(), qids: numbers{}.with(0),
		byName: iradix.New[*record](), byID: iradix.New[qube.Name](), labels: builtinLabels,
		globals: map[qube.PropertyName]qube.PropertyValue{}, host: Host{MemoryMiB: 32404, CPUs: 4},
	}
	s.byName, _, _ = s.byName.Insert([]byte(dom0.name.Shown()), dom0)
	s.byID, _, _ = s.byID.Insert([]byte(dom0.id.Shown()), dom0.name)
	return s
}

// memo is what was made of a snapshot.
type memo struct{ kept sync.Map }

// Memo is part of qube.Memo.
func (s *Snapshot) Memo(key string, make func() any) any {
	if s.memo == nil {
		return make()
	}
	if made, ok := s.memo.kept.Load(key); ok {
		return made
	}
	made, _ := s.memo.kept.LoadOrStore(key, make())
	return made
}

// The methods of qube.View.

// Revision counts the changes that led here.
func (s *Snapshot) Revision() qube.Revision { return s.revision }

// Qube finds a qube by name.
func (s *Snapshot) Qube(n qube.Name) (qube.Qube, bool) {
	r, ok := s.byName.Get([]byte(n.Shown()))
	return r, ok
}

// QubeByID finds a qube by UUID.
func (s *Snapshot) QubeByID(id qube.UUID) (qube.Qube, bool) {
	r, ok := s.find(id)
	return r, ok
}

func (s *Snapshot) find(id qube.UUID) (*record, bool) {
	n, ok := s.byID.Get([]byte(id.Shown()))
	if !ok {
		n = qube.Dom0 // one path, one timing
	}
	r, there := s.byName.Get([]byte(n.Shown()))
	if !ok || !there {
		return nil, false
	}
	return r, true
}

// Qubes are all, dom0 first, then by the bytes of their names.
func (s *Snapshot) Qubes() iter.Seq[qube.Qube] {
	return func(yield func(qube.Qube) bool) {
		for r := range s.records() {
			if !yield(r) {
				return
			}
		}
	}
}

func (s *Snapshot) records() iter.Seq[*record] {
	return func(yield func(*record) bool) {
		dom0, _ := s.byName.Get([]byte(qube.Dom0.Shown()))
		if !yield(dom0) {
			return
		}
		it := s.byName.Root().Iterator()
		for _, r, ok := it.Next(); ok; _, r, ok = it.Next() {
			if r != dom0 && !yield(r) {
				return
			}
		}
	}
}

// The properties that say how qubes depend on one another (spec: properties.yaml).
var (
	propTemplate = must(qube.ParsePropertyName("template"))
	propNetvm    = must(qube.ParsePropertyName("netvm"))
	propDispid   = must(qube.ParsePropertyName("dispid"))
	globalNetvm  = must(qube.ParsePropertyName("default_netvm"))
)

// Template is the qube named by q's property.
func (s *Snapshot) Template(q qube.Qube) (qube.Qube, bool) {
	v, _ := q.Property(propTemplate)
	return s.Follow(v)
}

// Netvm is the qube named by q's property, or, where that is not set, by the system's; a TemplateVM has none by default
// (spec: properties.yaml QubesVM.netvm, TemplateVM.netvm).
func (s *Snapshot) Netvm(q qube.Qube) (qube.Qube, bool) {
	v, set := q.Property(propNetvm)
	if c := q.Class(); !set && c != qube.TemplateVM && c != qube.AdminVM && c != qube.RemoteVM {
		v = s.globals[globalNetvm]
	}
	return s.Follow(v)
}

// Global is a property of the system, the explicit value only.
func (s *Snapshot) Global(p qube.PropertyName) (qube.PropertyValue, bool) {
	v, ok := s.globals[p]
	return v, ok
}

// Host is the machine.
func (s *Snapshot) Host() qube.Host {
	return qube.Host{MemoryMiB: s.host.MemoryMiB, CPUs: s.host.CPUs, Kernels: s.host.Kernels, Pools: s.host.Pools}
}

// Pool finds a pool that does not come with every system.
func (s *Snapshot) Pool(name string) (qube.Pool, bool) {
	i := slices.IndexFunc(s.host.Pools, func(p qube.Pool) bool { return p.Name == name })
	if i < 0 {
		return qube.Pool{}, false
	}
	return s.host.Pools[i], true
}

// Simulation is how the machine's simulation behaves.
func (s *Snapshot) Simulation() Host { return s.host }

// Usage is what the meter says of a qube that is there for the hypervisor.
func (s *Snapshot) Usage(q qube.Qube) qube.Usage {
	if s.meter == nil || q.State() == qube.Halted || q.Class() == qube.RemoteVM {
		return qube.Usage{}
	}
	return s.meter.Usage(q.ID())
}

// Referrers are those that refer to the qube of that name explicitly.
func (s *Snapshot) Referrers(to qube.Name) iter.Seq2[qube.Qube, qube.PropertyName] {
	return func(yield func(qube.Qube, qube.PropertyName) bool) {
		for id, p := range s.refs.to(to) {
			if q, ok := s.find(id); ok && !yield(q, p) {
				return
			}
		}
	}
}

// Follow finds the qube that a reference names; the empty one is None.
func (s *Snapshot) Follow(v qube.PropertyValue) (qube.Qube, bool) {
	r, ok := s.byName.Get([]byte(v.Shown()))
	if v == (qube.PropertyValue{}) || !ok {
		return nil, false
	}
	return r, true
}

// Label finds a label by name.
func (s *Snapshot) Label(n qube.LabelName) (qube.Label, bool) {
	return s.label(func(l qube.Label) bool { return l.Name == n })
}

// LabelByIndex finds a label by its number.
func (s *Snapshot) LabelByIndex(i int) (qube.Label, bool) {
	return s.label(func(l qube.Label) bool { return l.Index == i })
}

func (s *Snapshot) label(is func(qube.Label) bool) (qube.Label, bool) {
	i := slices.IndexFunc(s.labels, is)
	if i < 0 {
		return qube.Label{}, false
	}
	return s.labels[i], true
}

// Labels are all, by index.
func (s *Snapshot) Labels() iter.Seq[qube.Label] { return slices.Values(s.labels) }

// record is one qube. It never changes once it is part of a Snapshot; it is the inventory's qube.Qube.
type record struct {
	name       qube.Name
	id         qube.UUID
	class      qube.Class
	label      qube.LabelName
	qid        int
	runtime    qube.Runtime
	intent     qube.Intent
	properties map[qube.PropertyName]qube.PropertyValue
	features   features
	tags       []qube.Tag
	notes      qube.Notes
	volumes    map[qube.VolumeName]qube.Volume
	firewall   []qube.FirewallRule
}

func (r *record) Shown() string               { return r.name.Shown() }
func (r *record) Name() qube.Name             { return r.name }
func (r *record) ID() qube.UUID               { return r.id }
func (r *record) Class() qube.Class           { return r.class }
func (r *record) State() qube.PowerState      { return r.runtime.State }
func (r *record) Runtime() qube.Runtime       { return r.runtime }
func (r *record) QID() int                    { return r.qid }
func (r *record) Intent() (qube.Intent, bool) { return r.intent, r.intent.Kind != "" }
func (r *record) Label() qube.LabelName       { return r.label }
func (r *record) Notes() qube.Notes           { return r.notes }

func (r *record) Volume(n qube.VolumeName) (qube.Volume, bool) {
	v, ok := r.volumes[n]
	return v, ok
}

func (r *record) Firewall() iter.Seq[qube.FirewallRule] { return slices.Values(r.firewall) }

func (r *record) Property(p qube.PropertyName) (qube.PropertyValue, bool) {
	v, ok := r.properties[p]
	return v, ok
}

func (r *record) Feature(f qube.FeatureName) (qube.FeatureValue, bool) {
	x, ok := r.features.find(f)
	return x.value, ok
}

func (r *record) Features() iter.Seq2[qube.FeatureName, qube.FeatureValue] {
	return func(yield func(qube.FeatureName, qube.FeatureValue) bool) {
		for _, f := range r.features.all() {
			if !yield(f.name, f.value) {
				return
			}
		}
	}
}

func (r *record) tagAt(t qube.Tag) (int, bool) {
	return slices.BinarySearchFunc(r.tags, t, func(a, b qube.Tag) int { return strings.Compare(a.Shown(), b.Shown()) })
}

func (r *record) HasTag(t qube.Tag) bool {
	_, ok := r.tagAt(t)
	return ok
}

func (r *record) Tags() iter.Seq[qube.Tag] { return slices.Values(r.tags) }

func (r *record) AppendTags(all []string) []string {
	for _, t := range r.tags {
		all = append(all, t.Shown())
	}
	return all
}

// changed is a copy of r on which change was made. Slices and maps of a record are never written to in place.
func (r *record) changed(change func(*record)) *record {
	c := *r
	change(&c)
	return &c
}

func withProperty(p map[qube.PropertyName]qube.PropertyValue, n qube.PropertyName, v qube.PropertyValue) map[qube.PropertyName]qube.PropertyValue {
	p = maps.Clone(p)
	if p == nil {
		p = map[qube.PropertyName]qube.PropertyValue{}
	}
	p[n] = v
	return p
}

func withVolume(volumes map[qube.VolumeName]qube.Volume, n qube.VolumeName, v qube.Volume) map[qube.VolumeName]qube.Volume {
	if volumes = maps.Clone(volumes); volumes == nil {
		volumes = map[qube.VolumeName]qube.Volume{}
	}
	volumes[n] = v
	return volumes
}

// must is for constants of ours.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
