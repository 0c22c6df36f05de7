// Package properties declares every property of qubes and of the system: one literal each, from which List, Get, GetAll,
// GetDefault, Set, Reset, Help, the inventory file's checks and the documentation follow (spec: properties.yaml).
package properties

import (
	"strconv"

	"sallyport/messages/qube"
)

// Value is the effective value of q's property: the explicit one, or else its default. It is empty for None, and where
// there is no such property.
func Value(v qube.View, q qube.Qube, name qube.PropertyName) qube.PropertyValue {
	value, set := q.Property(name)
	switch {
	case set:
		return value
	case name == Guivm && q.Class() != qube.RemoteVM && q.Class() != qube.AdminVM:
		return Global(v, DefaultGuivm)
	case name == Audiovm && q.Class() != qube.RemoteVM && q.Class() != qube.AdminVM:
		return Global(v, DefaultAudiovm)
	case name == DefaultDispvm:
		return Global(v, DefaultDispvm)
	}
	return value
}

// Int is Value as a number; 0 for none.
func Int(v qube.View, q qube.Qube, name qube.PropertyName) int {
	n, _ := strconv.Atoi(Value(v, q, name).Shown())
	return n
}

// Flag is Value as a truth value.
func Flag(v qube.View, q qube.Qube, name qube.PropertyName) bool {
	return Value(v, q, name).Shown() == "True"
}

// Reference is the qube that Value names.
func Reference(v qube.View, q qube.Qube, name qube.PropertyName) (qube.Qube, bool) {
	n, err := qube.ParseName(Value(v, q, name).Shown())
	if err != nil {
		return nil, false
	}
	return v.Qube(n)
}

// Global is the effective value of the system's property.
func Global(v qube.View, name qube.PropertyName) qube.PropertyValue {
	value, set := v.Global(name)
	if !set && (name == DefaultGuivm || name == DefaultAudiovm) {
		value, _ = qube.ParsePropertyValue("dom0")
	}
	return value
}

// Set sets q's property as a client does: it checks the value, announces, stores, and tells, effects included.
func Set(tx qube.Tx, q qube.Qube, name qube.PropertyName, value qube.PropertyValue) error {
	if err := tx.SetProperty(q.ID(), name, value); err != nil {
		return err
	}
	return tx.Fire(qube.Event{Subject: q.Name(), Name: "property-set:" + name.Shown(), Args: []qube.EventArg{{Key: "name", Value: name.Shown()}, {Key: "newvalue", Value: value.Shown()}}})
}

// Reset gives q's property its default back, as a client does.
func Reset(tx qube.Tx, q qube.Qube, name qube.PropertyName) error {
	return tx.ResetProperty(q.ID(), name)
}

// SetGlobal and ResetGlobal do the same with the system's.
func SetGlobal(tx qube.Tx, name qube.PropertyName, value qube.PropertyValue) error {
	return tx.SetGlobal(name, value)
}

// ResetGlobal gives the system's property its default back.
func ResetGlobal(tx qube.Tx, name qube.PropertyName) error { return tx.ResetGlobal(name) }
