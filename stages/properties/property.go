package properties

import (
	"strings"

	"sallyport/messages/qube"
)

// Property is one property of the qubes of some classes, or of the system: all that is known of it. It never changes, and
// may be used by many goroutines.
type Property struct {
	Name qube.PropertyName
	Of   []qube.Class // whose qubes have it; none: it is the system's
	Type *Type
	Load Stage
	Help string // one sentence

	set setting
	// fact is the value where it is no entry of the qube's properties but a fact of the qube.
	fact func(qube.Qube) string
	// byDefault is the value where none is set; empty for None. Nil: there is none, and nothing to reset to.
	byDefault func(reading) string
	// asSystem, instead of byDefault, is the system's property whose value it is.
	asSystem qube.PropertyName
	// normal is the form in which a value is kept. Nil: as it is.
	normal func(v qube.View, text string) string
	// rules are what a value must be beyond its grammar, in the order in which they are asked.
	rules []rule
	// effects are what else follows from a change, in this order: after it, and before subscribers are told of it.
	effects []effect
}

// Stage is when the reference loads a property, by which lists are sorted (spec: properties.yaml notes).
type Stage uint8

// The stages.
const (
	Basic     Stage = 2 + iota // what a qube is by itself
	OfSystem                   // properties of the system
	Referring                  // what refers to other qubes, or depends on them
)

// setting is who decides on a value, and when.
type setting uint8

const (
	free     setting = iota // clients, by the rules
	once                    // whoever makes the qube
	computed                // nobody: it follows from something else
	bound                   // clients, but it cannot be reset
)

// Settable reports whether a client may set p at all.
func (p *Property) Settable() bool { return p.set == free || p.set == bound }

// Copied reports whether a new disposable gets the value that is set explicitly for its template
// (spec: properties.yaml notes.copied_to_disposable).
func (p *Property) Copied() bool { return p.set != once }

// event is an event of p, with the name and what else is told of the change.
func (p *Property) event(subject qube.Name, what string, args ...qube.EventArg) qube.Event {
	return qube.Event{
		Subject: subject, Name: what + ":" + p.Name.Shown(), Pre: strings.HasPrefix(what, "property-pre-"),
		Args: append([]qube.EventArg{{Key: "name", Value: p.Name.Shown()}}, args...),
	}
}

// rule is one thing that a value must be.
type rule struct {
	wants   string // for people, after "expected"
	holds   func(*change) bool
	refusal refusal
	late    bool // asked only after the change was announced (spec: events.md 5)
	reset   bool // asked of the default as well, when the property is reset
	live    bool // about the moment of the change, and so nothing to ask of an inventory file
}

// effect is something else that follows from a change. It is made on the transaction without a mask.
type effect func(tx qube.Tx, c *change) error

// reading is a look at the properties of one qube, or of the system, in one view.
type reading struct {
	all  *table
	view qube.View
	q    qube.Qube // qube.Nobody: the system
}

// of looks at another qube in the same view.
func (r reading) of(q qube.Qube) reading { return reading{r.all, r.view, q} }

// system looks at the system in the same view.
func (r reading) system() reading { return r.of(qube.Nobody) }

// find gives the property of that name, if there is one here.
func (r reading) find(name qube.PropertyName) (*Property, bool) {
	p, ok := r.all.byClass[r.q.Class()][name]
	return p, ok
}

// explicit is the value that was set.
func (r reading) explicit(p *Property) (text string, set bool) {
	var v qube.PropertyValue
	switch {
	case p.set == computed:
	case p.fact != nil:
		return p.fact(r.q), true
	case len(p.Of) == 0:
		v, set = r.view.Global(p.Name)
	default:
		v, set = r.q.Property(p.Name)
	}
	return v.Shown(), set
}

// get is the effective value. known is false where nothing is set and there is no default.
func (r reading) get(p *Property) (text string, set, known bool) {
	if text, set = r.explicit(p); set {
		return text, true, true
	}
	text, known = r.otherwise(p)
	return text, false, known
}

// otherwise is the default.
func (r reading) otherwise(p *Property) (text string, known bool) {
	switch {
	case p.asSystem != (qube.PropertyName{}):
		return r.system().value(p.asSystem), true
	case p.byDefault != nil:
		return p.byDefault(r), true
	}
	return "", false
}

// value is the effective value of the property of that name; empty for None, and where there is no such property.
func (r reading) value(name qube.PropertyName) string {
	p, ok := r.find(name)
	if !ok {
		return ""
	}
	text, _, _ := r.get(p)
	return text
}

// flag is a value as a truth value.
func (r reading) flag(name qube.PropertyName) bool { return r.value(name) == yes }

// follows reports whether there is such a property here and nothing is set for it.
func (r reading) follows(name qube.PropertyName) bool {
	p, ok := r.find(name)
	if !ok {
		return false
	}
	_, set := r.explicit(p)
	return !set
}

// refersTo is the qube that a value leads to, whoever may see it.
func (r reading) refersTo(name qube.PropertyName) (qube.Qube, bool) {
	return r.view.Follow(valueOf(r.value(name)))
}

// qubeNamed is the qube of that name, if it is to be seen; the empty one names nobody.
func qubeNamed(v qube.View, name string) (qube.Qube, bool) {
	n, err := qube.ParseName(name)
	if err != nil {
		return nil, false
	}
	return v.Qube(n)
}
