// Package properties declares every property of qubes and of the system: one literal each, from which List, Get, GetAll,
// GetDefault, Set, Reset, Help, the inventory file's checks and the documentation follow (spec: properties.yaml).
//
// The literals are in identity.go, appearance.go, resources.go, power.go, network.go, references.go, disposables.go and
// system.go; what they are made of is in types.go (grammars), defaults.go, rules.go and effects.go. To add a property, add
// a literal.
package properties

import (
	"strconv"

	"sallyport/messages/qube"
)

// Value is the effective value of q's property: the explicit one, or else its default. It is empty for None, and where
// there is no such property.
func Value(v qube.View, q qube.Qube, name qube.PropertyName) qube.PropertyValue {
	return valueOf(reading{all, v, q}.value(name))
}

// Int is Value as a number; 0 for none.
func Int(v qube.View, q qube.Qube, name qube.PropertyName) int {
	n, _ := strconv.Atoi(Value(v, q, name).Shown())
	return n
}

// Flag is Value as a truth value.
func Flag(v qube.View, q qube.Qube, name qube.PropertyName) bool {
	return reading{all, v, q}.flag(name)
}

// Reference is the qube that Value leads to, whoever may see it.
func Reference(v qube.View, q qube.Qube, name qube.PropertyName) (qube.Qube, bool) {
	return reading{all, v, q}.refersTo(name)
}

// Global is the effective value of the system's property.
func Global(v qube.View, name qube.PropertyName) qube.PropertyValue {
	return Value(v, qube.Nobody, name)
}

// Get is the effective value of p, of q or, for qube.Nobody, of the system. set tells whether it was set explicitly.
func (p *Property) Get(v qube.View, q qube.Qube) (value qube.PropertyValue, set bool) {
	text, set, _ := reading{all, v, q}.get(p)
	return valueOf(text), set
}

// Default is what p has where nothing is set; false if there is no default, which is another thing than None.
func (p *Property) Default(v qube.View, q qube.Qube) (value qube.PropertyValue, known bool) {
	text, known := reading{all, v, q}.otherwise(p)
	return valueOf(text), known
}

// valueOf is for text of ours: a value that was checked, or what follows from such values. The reserve is for a name of
// the host's that no client could be shown.
func valueOf(text string) qube.PropertyValue {
	v, err := qube.ParsePropertyValue(text)
	if err != nil {
		return qube.PropertyValue{}
	}
	return v
}

// Set sets q's property as a client does: it checks the value, announces, stores, and tells, effects included
// (spec: properties.yaml notes.set_sequence). Rules are asked of what tx shows; who is in use, of everything.
func Set(tx qube.Tx, q qube.Qube, name qube.PropertyName, value qube.PropertyValue) error {
	p, err := Find(q, name)
	if err != nil {
		return err
	}
	return set(tx, q, p, value)
}

// Reset gives q's property its default back, as a client does.
func Reset(tx qube.Tx, q qube.Qube, name qube.PropertyName) error {
	p, err := Find(q, name)
	if err != nil {
		return err
	}
	return reset(tx, q, p)
}

// SetGlobal and ResetGlobal do the same with the system's.
func SetGlobal(tx qube.Tx, name qube.PropertyName, value qube.PropertyValue) error {
	p, err := FindGlobal(name)
	if err != nil {
		return err
	}
	return set(tx, qube.Nobody, p, value)
}

// ResetGlobal gives the system's property its default back.
func ResetGlobal(tx qube.Tx, name qube.PropertyName) error {
	p, err := FindGlobal(name)
	if err != nil {
		return err
	}
	return reset(tx, qube.Nobody, p)
}
