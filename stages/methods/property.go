package methods

import (
	"slices"
	"strings"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/properties"
)

type propertyGrant = stages.Grant[qube.PropertyName, nothing]

// The methods on properties come twice: of a qube, and of the system, whose methods are dom0's alone.
var propertyMethods = slices.Concat(
	propertyOf(holder{
		prefix: "admin.vm.property.", dest: stages.AnyQube, scope: stages.Local, whose: "a qube's",
		name: properties.NameToFind, payload: properties.Payload,
		all:  func(dest qube.Qube) []*properties.Property { return properties.Of(dest.Class()) },
		find: properties.Find, of: func(dest qube.Qube) qube.Qube { return dest },
		set: properties.Set, reset: properties.Reset,
	}),
	propertyOf(holder{
		prefix: "admin.property.", dest: stages.OnlyAdminVM, scope: stages.Global, whose: "the system's",
		name: properties.GlobalToFind, payload: properties.GlobalPayload,
		all: func(qube.Qube) []*properties.Property { return properties.OfTheSystem() },
		find: func(_ qube.Qube, name qube.PropertyName) (*properties.Property, error) {
			return properties.FindGlobal(name)
		},
		of: func(qube.Qube) qube.Qube { return qube.Nobody },
		set: func(tx qube.Tx, _ qube.Qube, name qube.PropertyName, value qube.PropertyValue) error {
			return properties.SetGlobal(tx, name, value)
		},
		reset: func(tx qube.Tx, _ qube.Qube, name qube.PropertyName) error { return properties.ResetGlobal(tx, name) },
	}),
)

// holder is whose properties methods are about.
type holder struct {
	prefix  string
	dest    stages.Dest
	scope   stages.Scope
	whose   string
	name    stages.Field[qube.PropertyName]
	payload func(qube.PropertyName) stages.Field[properties.Sent]
	all     func(dest qube.Qube) []*properties.Property
	find    func(dest qube.Qube, name qube.PropertyName) (*properties.Property, error)
	of      func(dest qube.Qube) qube.Qube
	set     func(qube.Tx, qube.Qube, qube.PropertyName, qube.PropertyValue) error
	reset   func(qube.Tx, qube.Qube, qube.PropertyName) error
}

func propertyOf(h holder) []stages.Entry {
	entries := []stages.Entry{
		stages.Declare(stages.Method[nothing, nothing]{
			Name: h.prefix + "List", Dest: h.dest, Access: stages.Read, Scope: h.scope,
			Help:  "list the names of " + h.whose + " properties",
			Gives: "PROPERTY LF each",
			Arg:   stages.None, Payload: stages.None,
			Read: func(_ qube.View, g plain) (messages.Reply, error) {
				return h.lines(g, func(b []byte, p *properties.Property) []byte { return b }), nil
			},
		}),
		h.tell("Get", "tell the value of one of "+h.whose+" properties, and whether it is the default", "default=FLAG type=TYPE VALUE",
			func(v qube.View, q qube.Qube, p *properties.Property) string { return shownProperty(v, q, p) }),
		stages.Declare(stages.Method[nothing, nothing]{
			Name: h.prefix + "GetAll", Dest: h.dest, Access: stages.Read, Scope: h.scope,
			Help:  "tell the values of all of " + h.whose + " properties",
			Gives: "PROPERTY default=FLAG type=TYPE VALUE LF each, with \\\\ and \\n for backslash and line feed",
			Arg:   stages.None, Payload: stages.None,
			PerItem: func(dest qube.Qube, item qube.Noun) stages.Subject { // spec: extensions.md 7, SAFER
				return stages.Subject{Service: h.prefix + "Get", Dest: dest, Arg: item.Shown()}
			},
			Read: func(v qube.View, g plain) (messages.Reply, error) {
				q := h.of(g.Dest())
				return h.lines(g, func(b []byte, p *properties.Property) []byte {
					return append(append(b, ' '), escaped.Replace(shownProperty(v, q, p))...)
				}), nil
			},
		}),
		h.tell("GetDefault", "tell what one of "+h.whose+" properties has where none is set", "type=TYPE VALUE; nothing if there is no default",
			func(v qube.View, q qube.Qube, p *properties.Property) string {
				value, known := p.Default(v, q)
				if !known {
					return ""
				}
				return "type=" + p.Type.Wire + " " + value.Shown()
			}),
		stages.Declare(stages.Method[qube.PropertyName, properties.Sent]{
			Name: h.prefix + "Set", Dest: h.dest, Access: stages.Read | stages.Write, Scope: h.scope,
			Help: "set one of " + h.whose + " properties",
			Arg:  h.name, Payload: stages.Field[properties.Sent]{Want: stages.Optional, Doc: "the property's value; empty for None"},
			PayloadFor: h.payload,
			Change: func(tx qube.Tx, g stages.Grant[qube.PropertyName, properties.Sent]) (messages.Reply, error) {
				p, err := h.find(g.Dest(), g.Arg())
				if err != nil {
					return messages.Empty, err
				}
				value, err := g.Payload().As(p)
				if err != nil {
					return messages.Empty, err
				}
				return messages.Empty, h.set(tx, g.Dest(), p.Name, value)
			},
		}),
		stages.Declare(stages.Method[qube.PropertyName, nothing]{
			Name: h.prefix + "Reset", Dest: h.dest, Access: stages.Read | stages.Write, Scope: h.scope,
			Help: "give one of " + h.whose + " properties its default back",
			Arg:  h.name, Payload: stages.None,
			Change: func(tx qube.Tx, g propertyGrant) (messages.Reply, error) {
				return messages.Empty, h.reset(tx, g.Dest(), g.Arg())
			},
		}),
		h.tell("Help", "tell what one of "+h.whose+" properties is for", "a sentence",
			func(_ qube.View, _ qube.Qube, p *properties.Property) string { return p.Help }),
	}
	return entries
}

// tell declares a method that tells something of one property.
func (h holder) tell(name, help, gives string, text func(qube.View, qube.Qube, *properties.Property) string) stages.Entry {
	return stages.Declare(stages.Method[qube.PropertyName, nothing]{
		Name: h.prefix + name, Dest: h.dest, Access: stages.Read, Scope: h.scope, Help: help, Gives: gives,
		Arg: h.name, Payload: stages.None,
		Read: func(v qube.View, g propertyGrant) (messages.Reply, error) {
			p, err := h.find(g.Dest(), g.Arg())
			if err != nil {
				return messages.Empty, err
			}
			return messages.Text(text(v, h.of(g.Dest()), p)), nil
		},
	})
}

// lines is a reply of one line for each property that the caller may be shown: its name, and what more says.
func (h holder) lines(g plain, more func([]byte, *properties.Property) []byte) messages.Reply {
	var b []byte
	for _, p := range h.all(g.Dest()) {
		if g.Keeps(p.Name) {
			b = append(more(append(b, p.Name.Shown()...), p), '\n')
		}
	}
	return messages.Reply{Body: b}
}

// escaped is how a line of GetAll has a value (spec: methods.yaml admin.vm.property.GetAll).
var escaped = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

// shownProperty is a property as Get and GetAll tell it.
func shownProperty(v qube.View, q qube.Qube, p *properties.Property) string {
	value, set := p.Get(v, q)
	byDefault := "True"
	if set {
		byDefault = "False"
	}
	return "default=" + byDefault + " type=" + p.Type.Wire + " " + value.Shown()
}
