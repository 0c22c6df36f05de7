package properties

import "sallyport/messages/qube"

// Schema is what an inventory file may set. It checks what a file says as Set checks what a client says, but for the
// rules that are about the moment of a change. The zero Schema is it.
type Schema struct{}

// Parse reads the text of a property of a class's qubes, or of the system for the empty class. known is false if there is
// no such property that can be set; wants says what a value has to be, and is empty if text is one.
func (Schema) Parse(c qube.Class, name, text string) (value qube.PropertyValue, wants string, known bool) {
	n, err := qube.ParsePropertyName(name)
	if err != nil {
		return value, "", false
	}
	p, ok := all.byClass[c][n]
	if !ok || !p.Settable() || p.fact != nil {
		return value, "", false
	}
	if value, err = p.Type.value(n, text); err != nil {
		return value, p.Type.Wants, true
	}
	if p.normal != nil {
		value = valueOf(p.normal(qube.Only(), value.Shown()))
	}
	return value, "", true
}

// Check says what a value that Parse gave has to be in the system that v shows, and nothing if it is that. q is
// qube.Nobody for a property of the system.
func (Schema) Check(v qube.View, q qube.Qube, name qube.PropertyName, value qube.PropertyValue) (wants string) {
	p, ok := all.byClass[q.Class()][name]
	if !ok {
		return ""
	}
	c := &change{reading: reading{all, v, q}, p: p, seen: v, new: value.Shown()}
	r, _ := c.broken(func(r rule) bool { return !r.live })
	return r.wants
}
