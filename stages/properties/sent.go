package properties

import (
	"cmp"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// NameToFind is the name of a property of qubes. One that no class has is refused at once; whether the destination has it
// is told after permission (spec: extensions.md 7, SAFER).
var NameToFind = nameOf(ofQubes)

// GlobalToFind is the name of a property of the system.
var GlobalToFind = nameOf(ofSystem)

func nameOf(holder int) stages.Field[qube.PropertyName] {
	return stages.Field[qube.PropertyName]{
		Want: stages.Required, Doc: "a property's name",
		Read: func(u untrusted.Bytes) (qube.PropertyName, error) {
			if name, ok := untrusted.Among(u, all.names[holder]); ok {
				return name, nil
			}
			return qube.PropertyName{}, errNoProperty
		},
	}
}

var errNoProperty = exception.New(exception.QubesNoSuchPropertyError, "there is no property of that name")

// Sent is a value as a client sent it for a property of some name. The sanitizer does not know the class of the qube, and
// so not always the type of the property: Sent has what each type that it can have makes of the value.
type Sent struct{ readings []sentAs }

type sentAs struct {
	as    *Type
	value qube.PropertyValue
	err   error // not in the grammar of the type
}

// As is the value for p, or an exception if it is not in the grammar of p's type.
func (s Sent) As(p *Property) (qube.PropertyValue, error) {
	for _, r := range s.readings {
		if r.as == p.Type {
			return r.value, r.err
		}
	}
	return qube.PropertyValue{}, p.Type.refusal(p.Name)
}

// Shown is the value, as the first type that accepted it has it: what permission handlers see.
func (s Sent) Shown() string {
	for _, r := range s.readings {
		if r.err == nil {
			return r.value.Shown()
		}
	}
	return ""
}

// Payload is a value for the property of qubes that has that name.
func Payload(name qube.PropertyName) stages.Field[Sent] { return payloadOf(ofQubes, name) }

// GlobalPayload is a value for the property of the system that has that name.
func GlobalPayload(name qube.PropertyName) stages.Field[Sent] { return payloadOf(ofSystem, name) }

// payloadOf refuses what no property of that name can take.
func payloadOf(holder int, name qube.PropertyName) stages.Field[Sent] {
	return stages.Field[Sent]{Want: stages.Optional, Read: func(u untrusted.Bytes) (Sent, error) {
		var s Sent
		accepted, refused := false, error(nil)
		for _, t := range all.types[holder][name] {
			v, err := t.read(name, u)
			s.readings = append(s.readings, sentAs{t, v, err})
			accepted, refused = accepted || err == nil, cmp.Or(refused, err)
		}
		if !accepted {
			return Sent{}, refused
		}
		return s, nil
	}}
}
