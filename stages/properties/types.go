package properties

import (
	"net/netip"
	"strconv"
	"strings"

	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
)

// Type is what values of some properties have in common: a grammar, and a word for it on the wire.
type Type struct {
	Wire  string // str, int, bool, vm or label
	Wants string // what a value is, for people
	trim  bool   // white space around a value is dropped
	parse func(string) (text string, ok bool)
	rules []rule // of all properties of the type
}

// The types (spec: properties.yaml notes.wire_value). Control characters break clients, so no value holds one
// (spec: properties.yaml notes.printable, SAFER).
var (
	str     = &Type{Wire: "str", Wants: "printable ASCII", parse: func(s string) (string, bool) { return s, true }}
	integer = &Type{Wire: "int", Wants: "a whole number", trim: true, parse: parseInteger}
	boolean = &Type{Wire: "bool", Wants: "true or false", parse: parseBoolean}
	vm      = &Type{Wire: "vm", Wants: `a qube's name, or ""`, rules: []rule{aQube}, parse: func(s string) (string, bool) {
		_, err := qube.ParseName(s)
		return s, s == "" || err == nil
	}}
	label = &Type{Wire: "label", Wants: "a label's name", parse: str.parse}
	uuid  = &Type{Wire: "str", Wants: "a UUID", parse: parseUUID}
	ipv4  = &Type{Wire: "str", Wants: "an IPv4 address", parse: address(netip.Addr.Is4)}
	ipv6  = &Type{Wire: "str", Wants: "an IPv6 address", parse: address(netip.Addr.Is6)}
)

const (
	yes = "True"
	no  = "False"
)

// IsReference reports whether values are names of qubes, or empty for None.
func (t *Type) IsReference() bool { return t == vm }

// read is the grammar of a value that a client sent for the property of that name. It holds no state.
func (t *Type) read(name qube.PropertyName, u untrusted.Bytes) (qube.PropertyValue, error) {
	if t.trim {
		u = u.TrimSpace()
	}
	s, err := u.Printable(qube.MaxValue)
	if err != nil {
		return qube.PropertyValue{}, t.refusal(name)
	}
	return t.value(name, s)
}

// value reads a value that is printable already.
func (t *Type) value(name qube.PropertyName, s string) (qube.PropertyValue, error) {
	if text, ok := t.parse(s); ok {
		if v, err := qube.ParsePropertyValue(text); err == nil {
			return v, nil
		}
	}
	return qube.PropertyValue{}, t.refusal(name)
}

func (t *Type) refusal(name qube.PropertyName) error { return badValue(name, phrase(t.Wants)) }

// phrase is a sentence's part of ours.
type phrase string

// Shown is the phrase.
func (p phrase) Shown() string { return string(p) }

// parseInteger reads a number as the reference does, which lets single underscores stand between digits, and gives it in
// decimal; ours has 64 bits (spec: methods.yaml admin.vm.property.Set, SAFER).
func parseInteger(s string) (string, bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == s {
		digits = strings.TrimPrefix(s, "+")
	}
	for group := range strings.SplitSeq(digits, "_") {
		if group == "" || strings.Trim(group, "0123456789") != "" {
			return "", false
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	return strconv.FormatInt(n, 10), err == nil
}

func parseBoolean(s string) (string, bool) {
	switch strings.ToLower(s) {
	case "1", "yes", "true", "on":
		return yes, true
	case "0", "no", "false", "off":
		return no, true
	}
	return "", false
}

// parseUUID takes the forms that the reference takes: with or without hyphens, braces and prefix.
func parseUUID(s string) (string, bool) {
	s = strings.NewReplacer("urn:", "", "uuid:", "").Replace(s)
	s = strings.ToLower(strings.ReplaceAll(strings.Trim(s, "{}"), "-", ""))
	if len(s) != 32 {
		return "", false
	}
	id, err := qube.ParseUUID(s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:])
	return id.Shown(), err == nil
}

// address reads an IP address of one kind, and gives it in canonical form. One with a zone is refused
// (spec: properties.yaml QubesVM.ip6, SAFER).
func address(is func(netip.Addr) bool) func(string) (string, bool) {
	return func(s string) (string, bool) {
		a, err := netip.ParseAddr(s)
		return a.String(), err == nil && is(a) && a.Zone() == ""
	}
}
