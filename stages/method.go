package stages

import (
	"errors"
	"strings"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
)

type (
	// Want says whether a field of the wire must, may or must not be there.
	Want uint8
	// Access says what a method does to its destination.
	Access uint8
	// Scope says whether that concerns the destination alone, or the whole system.
	Scope uint8
	// Dest says which qubes may be a method's destination.
	Dest uint8
	// Socket says where a method is served (spec: wire.md 1).
	Socket uint8
)

// The zero value of each asks for least.
const (
	Forbidden Want = iota
	Optional
	Required
)

// Read, Write and Execute can be combined.
const (
	Read Access = 1 << iota
	Write
	Execute
)

// Local and Global.
const (
	Local Scope = iota
	Global
)

// OnlyAdminVM, NotAdminVM and AnyQube.
const (
	OnlyAdminVM Dest = iota
	NotAdminVM
	AnyQube
)

// Admin is qubesd.sock, Internal is qubesd.internal.sock, Misc is qubesd.misc.sock.
const (
	Admin Socket = iota
	Internal
	Misc
)

// Field is one field of the wire: may it be left out, and what is it once read?
type Field[T any] struct {
	Want Want
	Doc  string // its grammar, for people
	// Read is the grammar. It holds no state, so it can reveal none. Its errors are exceptions that quote nothing; any other
	// error, such as untrusted.ErrGrammar, is a ProtocolError that names the field.
	Read func(untrusted.Bytes) (T, error)
}

// None is the field of a method that takes none.
var None = Field[struct{}]{
	Doc:  "none",
	Read: func(untrusted.Bytes) (struct{}, error) { return struct{}{}, nil }, // the catalogue has refused any content
}

// Method declares an API method whose argument is an A and whose payload is a P: the whole of it, in one literal.
// Functions of a Method are called by many goroutines at once, except Change, which only the ledger calls.
type Method[A, P any] struct {
	// Name is METHOD, or METHOD+ARGUMENT for a method that is declared once for each of its arguments: then Arg is None.
	Name   string
	Socket Socket
	Dest   Dest
	Access Access
	Scope  Scope
	Help   string // one line
	Gives  string // what the content of an OK is, for people; empty: there is none

	Arg        Field[A]
	Payload    Field[P]
	PayloadFor func(A) Field[P] // instead of Payload.Read, where the grammar depends on the argument

	// Requires, when it reports false, answers exactly like a refusal, for every source: what must be there is hidden
	// behind permission. It is asked of qube.Nobody where the destination is absent.
	Requires func(v qube.View, dest qube.Qube, arg A) bool

	// PerItem, of a method that lists, says which call a source other than dom0 must be allowed to make for an item to be in
	// its list; it leaves the source out. So it does for what a method finds by a secret, if there is to be such a thing for
	// that source. Nil: an item needs no permission of its own.
	PerItem func(dest qube.Qube, item qube.Noun) Subject

	// Exactly one of these. The view and the transaction show only what the source may see.

	// Read answers at once, from the view that the call was judged on.
	Read func(qube.View, Grant[A, P]) (messages.Reply, error)
	// Change runs in the ledger, in memory only, and never blocks. If it fails or panics, nothing has happened. The Tx may
	// be masked, and so be of another type than the Book's: its methods are all there is.
	Change func(qube.Tx, Grant[A, P]) (messages.Reply, error)
	// Work is what the actor of a qube, most often the destination, shall do, which may take long and reach outside the
	// daemon. What can be refused from the view is refused here; the work checks again when its turn has come.
	Work func(qube.View, Grant[A, P]) (messages.Order, error)
	// Stream begins a stream of events, which ends when the caller leaves, or with an exception. It has no call budget.
	Stream func(qube.View, Grant[A, P], Feed) error
}

// Entry is a declared method, closed over its types: what a catalogue holds.
type Entry struct {
	Name         string
	Socket       Socket
	Dest         Dest
	Access       Access
	Scope        Scope
	Help, Gives  string
	Arg, Payload Want
	ArgDoc       string
	PayloadDoc   string
	Kind         Kind

	service  string // the name, without the argument that it may hold
	fixedArg string // of a name that holds its argument
	sanitize func(e *Entry, h head, arg, payload untrusted.Bytes) (Sanitized, error)
}

// Declare makes an Entry of m. It panics on a method that is incomplete or contradicts itself, at start-up.
func Declare[A, P any](m Method[A, P]) Entry {
	kind, acts := Reads, 0
	for k, set := range []bool{Reads: m.Read != nil, Changes: m.Change != nil, Works: m.Work != nil, Streams: m.Stream != nil} {
		if set {
			kind, acts = Kind(k), acts+1
		}
	}
	service, fixedArg, fixed := strings.Cut(m.Name, "+")
	var arg A
	_, shows := shown(arg)
	switch {
	case m.Name == "" || m.Help == "" || m.Access == 0:
		panic("stages: a method needs a name, help and access: " + m.Name)
	case acts != 1:
		panic("stages: a method has exactly one of Read, Change, Work and Stream: " + m.Name)
	case m.Arg.Read == nil || (m.Payload.Read == nil) == (m.PayloadFor == nil):
		panic("stages: a method needs a grammar for argument and payload: " + m.Name)
	case fixed && m.Arg.Want != Forbidden:
		panic("stages: the argument is in the method's name already: " + m.Name)
	case m.Arg.Want != Forbidden && !shows:
		panic("stages: policy must be able to see the argument, so its type is a string or a qube.Noun: " + m.Name)
	case (kind == Reads || kind == Streams) && m.Access&Write != 0:
		panic("stages: a Read or a Stream is never handed the means to write: " + m.Name)
	}
	return Entry{
		Name: m.Name, Socket: m.Socket, Dest: m.Dest, Access: m.Access, Scope: m.Scope, Help: m.Help, Gives: m.Gives, Kind: kind,
		service: service, fixedArg: fixedArg, Arg: m.Arg.Want, ArgDoc: m.Arg.Doc, Payload: m.Payload.Want, PayloadDoc: m.Payload.Doc,
		sanitize: func(e *Entry, h head, rawArg, rawPayload untrusted.Bytes) (Sanitized, error) {
			arg, err := m.Arg.Read(rawArg)
			if err != nil {
				return Sanitized{}, malformed(err, errArgGrammar)
			}
			read := m.Payload.Read
			if m.PayloadFor != nil {
				read = m.PayloadFor(arg).Read
			}
			payload, err := read(rawPayload)
			if err != nil {
				return Sanitized{}, malformed(err, errPayloadGrammar)
			}
			return Sanitized{&call[A, P]{method: &m, entry: e, head: h, grant: Grant[A, P]{arg: arg, payload: payload}}}, nil
		},
	}
}

// Grant is what was permitted: the checked argument and payload, and the two qubes as the view shows them. Only Read,
// Change, Work and Stream are given one.
type Grant[A, P any] struct {
	arg     A
	payload P
	source  qube.Qube
	dest    qube.Qube
	filters []Filter
	allows  func(v qube.View, target qube.Ref, arg string) bool // the policy, in a Stream; nil: it is not asked
}

// Arg is the argument.
func (g Grant[A, P]) Arg() A { return g.arg }

// Payload is the payload.
func (g Grant[A, P]) Payload() P { return g.payload }

// Source is the qube that calls.
func (g Grant[A, P]) Source() qube.Qube { return g.source }

// Dest is the qube that the call is about.
func (g Grant[A, P]) Dest() qube.Qube { return g.dest }

// KeepsAll reports whether no item is taken from a list for this caller's sake.
func (g Grant[A, P]) KeepsAll() bool { return len(g.filters) == 0 }

// Keeps reports whether item may stay in a list for this caller. Methods that list ask it of every item, and others of what
// a secret leads to: see Method.PerItem.
func (g Grant[A, P]) Keeps(item qube.Noun) bool {
	for _, keeps := range g.filters {
		if !keeps(item) {
			return false
		}
	}
	return true
}

// Sees reports whether e may be shown to this caller, as it is judged on v: whether policy lets him make the call with
// e's name as the argument, on the qube that e is about, or else on dom0 (spec: extensions.md 3). An event of one qube about
// another, as that it uses its network now, takes both: see qube.Event.
func (g Grant[A, P]) Sees(v qube.View, e qube.Event) bool {
	if g.allows != nil {
		arg := strings.ReplaceAll(e.Name, ":", "_")
		if !g.allows(v, concerned(e), arg) || e.Other != (qube.Name{}) && !g.allows(v, qube.ByName(e.Other), arg) {
			return false
		}
	}
	return g.Keeps(e)
}

// SeesQube reports whether q may be shown to this caller in a stream: whether policy lets him make the call on q
// (spec: methods.yaml admin.vm.Stats, SAFER).
func (g Grant[A, P]) SeesQube(v qube.View, q qube.Qube) bool {
	return (g.allows == nil || g.allows(v, qube.ByID(q.ID()), "")) && g.Keeps(q.Name())
}

// concerned is the qube that e is about. That of no name finds nobody.
func concerned(e qube.Event) qube.Ref {
	if e.Subject != (qube.Name{}) {
		return qube.ByName(e.Subject)
	}
	for _, a := range e.Args {
		if a.Key == "vm" {
			name, _ := qube.ParseName(a.Value)
			return qube.ByName(name)
		}
	}
	return qube.ByName(qube.Dom0)
}

// malformed gives err if it is an exception, and otherwise what the field at fault is.
func malformed(err error, field *exception.Exception) error {
	var e *exception.Exception
	if errors.As(err, &e) && e != nil {
		return e
	}
	return field
}

var (
	errArgGrammar     = exception.New(exception.ProtocolError, "the argument is not what the method takes")
	errPayloadGrammar = exception.New(exception.ProtocolError, "the payload is not what the method takes")
)

// errSkipped is what a zero state opens onto.
var errSkipped = exception.New(exception.QubesException, "a stage was skipped")
