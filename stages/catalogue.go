package stages

import (
	"iter"
	"slices"
	"strings"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
)

// Catalogue is the methods that a daemon serves. It never changes, and may be used by many goroutines.
type Catalogue struct {
	entries []Entry
	bySock  [Misc + 1]table
}

// table finds a socket's methods by what the wire calls them: whole is for names that hold their argument.
type table struct{ plain, whole map[string]*Entry }

// NewCatalogue makes a catalogue. It panics on two entries that one call could mean, at start-up.
func NewCatalogue(entries ...Entry) *Catalogue {
	c := &Catalogue{entries: slices.Clone(entries)}
	for i := range c.bySock {
		c.bySock[i] = table{map[string]*Entry{}, map[string]*Entry{}}
	}
	seen, withArgument := map[string]bool{}, map[string]bool{}
	for i := range c.entries {
		e := &c.entries[i]
		if seen[e.Name] {
			panic("stages: declared twice: " + e.Name)
		}
		seen[e.Name] = true
		if method, _, whole := strings.Cut(e.Name, "+"); whole {
			withArgument[method] = true
			c.bySock[e.Socket].whole[e.Name] = e
		} else {
			c.bySock[e.Socket].plain[e.Name] = e
		}
	}
	for method := range withArgument {
		if seen[method] {
			panic("stages: declared both with and without an argument in its name: " + method)
		}
	}
	return c
}

// Entries are all methods, in the order in which they were declared.
func (c *Catalogue) Entries() iter.Seq[Entry] { return slices.Values(c.entries) }

// What the first door says of a header that no method has seen yet.
var (
	errNotASCII   = exception.New(exception.ProtocolError, "method, argument, source and destination are ASCII")
	errUUID       = exception.New(exception.QubesVMInvalidUUIDError, "a UUID is 8-4-4-4-12 lower-case hexadecimal digits")
	errName       = exception.New(exception.QubesValueError, "a qube's name is 1 to 31 letters, digits, '_', '.' or '-', begins with a letter, and is not reserved")
	errNoMethod   = exception.New(exception.ProtocolError, "no such method")
	errPayload    = exception.New(exception.ProtocolError, "the method needs a payload")
	errNoPayload  = exception.New(exception.ProtocolError, "the method takes no payload")
	errArg        = exception.New(exception.ProtocolError, "the method needs an argument")
	errNoArg      = exception.New(exception.ProtocolError, "the method takes no argument")
	errNeedsDom0  = exception.New(exception.ProtocolError, "the method's destination is dom0")
	errForbidDom0 = exception.New(exception.ProtocolError, "the method's destination is not dom0")
)

// Sanitize is the first door: it reads what came over socket with the grammars of the method that it names. It holds no
// state. The order of checks is the reference's (spec: methods.yaml common_checks), but for those that need an
// inventory, which come after the next door. Its errors are exceptions that quote nothing.
func (c *Catalogue) Sanitize(socket Socket, r messages.Request) (Sanitized, error) {
	if r.DestType.Is("keyword") && r.Dest.Is("adminvm") { // spec: wire.md 2, rule 3
		r.DestType, r.Dest = untrusted.Seal([]byte("name")), untrusted.Seal([]byte(qube.Dom0.Shown()))
	}
	if !r.DestType.Is("name") { // spec: wire.md 2, rule 4
		return Sanitized{}, messages.ErrUnframed
	}
	source, err := readRef(r.Source)
	if err != nil {
		return Sanitized{}, err
	}
	dest, err := readRef(r.Dest)
	if err != nil {
		return Sanitized{}, err
	}
	if !r.Call.IsASCII() {
		return Sanitized{}, errNotASCII
	}
	e, arg, err := c.find(socket, r.Call)
	if err != nil {
		return Sanitized{}, err
	}
	switch {
	case e.Payload == Required && r.Payload.Len() == 0:
		err = errPayload
	case e.Payload == Forbidden && r.Payload.Len() > 0:
		err = errNoPayload
	case e.Arg == Required && arg.Len() == 0:
		err = errArg
	case e.Arg == Forbidden && arg.Len() > 0:
		err = errNoArg
	case e.Dest == OnlyAdminVM && !dest.IsAdminVM():
		err = errNeedsDom0
	case e.Dest == NotAdminVM && dest.IsAdminVM():
		err = errForbidDom0
	}
	if err != nil {
		return Sanitized{}, err
	}
	return e.sanitize(e, head{source, dest}, arg, r.Payload)
}

// Named is the name of the method that r calls on socket, for a log line; empty if there is none. It says nothing of
// whether the rest of r is well-formed.
func (c *Catalogue) Named(socket Socket, r messages.Request) string {
	e, _, err := c.find(socket, r.Call)
	if err != nil {
		return ""
	}
	return e.Name
}

// find splits method from argument at the first plus sign (spec: wire.md 2, rule 5).
func (c *Catalogue) find(socket Socket, call untrusted.Bytes) (*Entry, untrusted.Bytes, error) {
	method, arg, _ := call.Cut('+')
	if e, ok := untrusted.Among(method, c.bySock[socket].plain); ok {
		return e, arg, nil
	}
	if e, ok := untrusted.Among(call, c.bySock[socket].whole); ok {
		return e, untrusted.Bytes{}, nil
	}
	return nil, untrusted.Bytes{}, errNoMethod
}

// readRef reads a source or destination (spec: wire.md 2).
func readRef(u untrusted.Bytes) (qube.Ref, error) {
	if !u.IsASCII() {
		return qube.Ref{}, errNotASCII
	}
	if raw, ok := u.StartsWith("uuid:"); ok {
		s, err := raw.Word(untrusted.UUIDChars, 36, 36)
		if err != nil {
			return qube.Ref{}, errUUID
		}
		id, err := qube.ParseUUID(s)
		if err != nil {
			return qube.Ref{}, errUUID
		}
		return qube.ByID(id), nil
	}
	s, err := u.Word(untrusted.NameChars, 1, qube.MaxName)
	if err != nil {
		return qube.Ref{}, errName
	}
	n, err := qube.ParseName(s)
	if err != nil {
		return qube.Ref{}, errName
	}
	return qube.ByName(n), nil
}
