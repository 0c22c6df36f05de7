package qube

import (
	"iter"
	"slices"
)

// Ref is how a caller names a qube: by name or by UUID. The zero Ref finds nothing.
type Ref struct {
	name Name
	id   UUID
}

// ByName makes a Ref to whatever bears the name.
func ByName(n Name) Ref { return Ref{name: n} }

// ByID makes a Ref that still finds a qube under another name, and never another qube under the same name.
func ByID(id UUID) Ref { return Ref{id: id} }

// IsAdminVM reports whether r names dom0, which needs no inventory to know (spec: model.md 1).
func (r Ref) IsAdminVM() bool { return r.name == Dom0 || r.id == Dom0UUID }

// In gives the qube that r names in v. An absent one is Nobody, so that what is asked of it costs as much either way.
func (r Ref) In(v View) (Qube, bool) {
	var q Qube
	var ok bool
	if r.id != (UUID{}) {
		q, ok = v.QubeByID(r.id)
	} else {
		q, ok = v.Qube(r.name)
	}
	if !ok {
		return Nobody, false
	}
	return q, true
}

// Shown is the name, or the UUID as it stands on the wire.
func (r Ref) Shown() string {
	if r.id != (UUID{}) {
		return "uuid:" + r.id.s
	}
	return r.name.s
}

// Nobody is a qube that is not there: it has no name, no features and no tags.
var Nobody Qube = Plain{}

// Plain is a qube of constant facts. Views of other modules embed it and say only what they know.
type Plain struct {
	IsNamed Name
	HasID   UUID
	IsA     Class
}

// The methods of Qube. All that Plain has no field for is empty.

func (p Plain) Shown() string                               { return p.IsNamed.s }
func (p Plain) Name() Name                                  { return p.IsNamed }
func (p Plain) ID() UUID                                    { return p.HasID }
func (p Plain) Class() Class                                { return p.IsA }
func (p Plain) State() PowerState                           { return Halted }
func (p Plain) Runtime() Runtime                            { return Runtime{State: Halted} }
func (p Plain) QID() int                                    { return 0 }
func (p Plain) Intent() (Intent, bool)                      { return Intent{}, false }
func (p Plain) Label() LabelName                            { return LabelName{} }
func (p Plain) Property(PropertyName) (PropertyValue, bool) { return PropertyValue{}, false }
func (p Plain) Feature(FeatureName) (FeatureValue, bool)    { return FeatureValue{}, false }
func (p Plain) Features() iter.Seq2[FeatureName, FeatureValue] {
	return func(func(FeatureName, FeatureValue) bool) {}
}
func (p Plain) HasTag(Tag) bool                  { return false }
func (p Plain) Tags() iter.Seq[Tag]              { return func(func(Tag) bool) {} }
func (p Plain) AppendTags(all []string) []string { return all }
func (p Plain) Notes() Notes                     { return Notes{} }
func (p Plain) Volume(VolumeName) (Volume, bool) { return Volume{}, false }
func (p Plain) Firewall() iter.Seq[FirewallRule] { return func(func(FirewallRule) bool) {} }

// Only is a View of the given qubes and nothing else. Modules whose methods keep state of their own elsewhere serve with
// one; an inventory that changes is another View. dom0 is always part of it.
func Only(qubes ...Qube) View {
	all := append([]Qube{Plain{IsNamed: Dom0, HasID: Dom0UUID, IsA: AdminVM}}, qubes...)
	slices.SortStableFunc(all, func(a, b Qube) int {
		switch {
		case a.Name().Less(b.Name()):
			return -1
		case b.Name().Less(a.Name()):
			return 1
		}
		return 0
	})
	return only{all}
}

type only struct{ qubes []Qube }

func (o only) Revision() Revision                        { return 0 }
func (o only) Qubes() iter.Seq[Qube]                     { return slices.Values(o.qubes) }
func (o only) Template(Qube) (Qube, bool)                { return nil, false }
func (o only) Pool(string) (Pool, bool)                  { return Pool{}, false }
func (o only) Netvm(Qube) (Qube, bool)                   { return nil, false }
func (o only) Global(PropertyName) (PropertyValue, bool) { return PropertyValue{}, false }
func (o only) Host() Host                                { return Host{} }
func (o only) Referrers(Name) iter.Seq2[Qube, PropertyName] {
	return func(func(Qube, PropertyName) bool) {}
}
func (o only) Follow(v PropertyValue) (Qube, bool) {
	return o.find(func(q Qube) bool { return v != PropertyValue{} && q.Shown() == v.s })
}
func (o only) Usage(Qube) Usage               { return Usage{} }
func (o only) Label(LabelName) (Label, bool)  { return Label{}, false }
func (o only) LabelByIndex(int) (Label, bool) { return Label{}, false }
func (o only) Labels() iter.Seq[Label]        { return func(func(Label) bool) {} }
func (o only) Qube(n Name) (Qube, bool)       { return o.find(func(q Qube) bool { return q.Name() == n }) }
func (o only) QubeByID(id UUID) (Qube, bool) {
	return o.find(func(q Qube) bool { return q.ID() == id })
}
func (o only) find(is func(Qube) bool) (Qube, bool) {
	for _, q := range o.qubes {
		if is(q) {
			return q, true
		}
	}
	return nil, false
}
