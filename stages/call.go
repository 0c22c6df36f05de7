// Package stages carries a call through its three doors:
//
//	messages.Request ─Catalogue.Sanitize→ Sanitized ─Gate.Judge→ Authorized ─→ Read | Change | Work | Stream
//	   (untrusted)                        (no state)            (masked View)
//
// Each state holds the way to the next and to nothing else, so a door cannot be skipped: that does not compile. A zero
// state, which Go lets anyone write, opens onto an exception. Change needs a qube.Tx, and only the ledger has one: that
// is where power lives. The package knows no actor and holds no state.
package stages

import (
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Kind says who carries a call out: the action actor routes by it.
type Kind uint8

// The kinds of calls.
const (
	Reads   Kind = iota // answered at once, from the view it was judged on
	Changes             // by the ledger, in memory, never blocking
	Works               // by the qube's own actor: long, outside effects
	Streams             // by the request actor: events, until the caller leaves
)

// Sanitized is a call of which a grammar has accepted every byte. It says nothing about what exists.
type Sanitized struct{ door judged }

// Authorized is a sanitized call that was permitted on one view of the inventory.
type Authorized struct{ door carriedOut }

// judged and carriedOut are the two sides of a call; both are implemented by call[A, P], so that a whole call costs one
// allocation. The states hide each the side that is not theirs.
type judged interface {
	about() *Entry
	judge(*Gate, *messages.Peer, qube.View) (Authorized, error)
}

type carriedOut interface {
	about() *Entry
	who() (source, dest qube.Name)
	read() (messages.Reply, error)
	change(qube.Tx) (messages.Reply, error)
	work() (messages.Order, error)
	stream(Feed) error
	again(qube.Tx) error
}

// Entry is the method that is called; nil for a zero Sanitized.
func (s Sanitized) Entry() *Entry {
	if s.door == nil {
		return nil
	}
	return s.door.about()
}

// Kind says which of Read, Change and Work a is for.
func (a Authorized) Kind() Kind {
	if a.door == nil {
		return Reads // which answers that a stage was skipped
	}
	return a.door.about().Kind
}

// Source and Dest are the names of the qubes, as the view showed them that a was judged on; empty for a zero Authorized.
func (a Authorized) Source() qube.Name {
	if a.door == nil {
		return qube.Name{}
	}
	source, _ := a.door.who()
	return source
}

// Dest is the name of the destination.
func (a Authorized) Dest() qube.Name {
	if a.door == nil {
		return qube.Name{}
	}
	_, dest := a.door.who()
	return dest
}

// Read answers a Reads call.
func (a Authorized) Read() (messages.Reply, error) {
	if a.door == nil {
		return messages.Reply{}, errSkipped
	}
	return a.door.read()
}

// Change carries a Changes call out on tx, after judging it again if the inventory or the policy has moved on since
// (design: 6). What it did to tx counts only if it returns no error.
func (a Authorized) Change(tx qube.Tx) (messages.Reply, error) {
	if a.door == nil {
		return messages.Reply{}, errSkipped
	}
	return a.door.change(tx)
}

// Work is the order of a Works call.
func (a Authorized) Work() (messages.Order, error) {
	if a.door == nil {
		return messages.Order{}, errSkipped
	}
	return a.door.work()
}

// Again judges a Works call again if the inventory or the policy has moved on: the ledger asks it before the first change
// that the work makes (design: 6).
func (a Authorized) Again(tx qube.Tx) error {
	if a.door == nil {
		return errSkipped
	}
	return a.door.again(tx)
}

// Stream begins a Streams call.
func (a Authorized) Stream(f Feed) error {
	if a.door == nil {
		return errSkipped
	}
	return a.door.stream(f)
}

// head is what every call has.
type head struct{ source, dest qube.Ref }

// call is one call of a method, on its way through the doors. One actor has it at a time.
type call[A, P any] struct {
	method *Method[A, P]
	entry  *Entry
	head   head
	grant  Grant[A, P]

	// What it was judged by; set by judge.
	gate     *Gate
	peer     *messages.Peer
	view     qube.View // masked
	revision qube.Revision
	policy   uint64
}

func (c *call[A, P]) about() *Entry { return c.entry }

func (c *call[A, P]) who() (source, dest qube.Name) {
	return c.grant.source.Name(), c.grant.dest.Name()
}

// judge is the second door. Its refusals are one constant, and it asks everything whether or not the answer is known
// already: one path, one timing.
func (c *call[A, P]) judge(g *Gate, p *messages.Peer, v qube.View) (Authorized, error) {
	source, known := c.head.source.In(v)
	if !known && p.Any {
		return Authorized{}, exception.New(exception.QubesVMNotFoundError, "no such source: %s", c.head.source)
	}
	claimed := known && speaksFor(p, source) && (c.entry.Socket != Internal || source.Class() == qube.AdminVM)
	dest, there := c.head.dest.In(v)
	policy := g.judge.Generation()
	verdict := decided(source, p) || g.judge.Allows(v, Subject{c.entry.service, source, dest, c.argument()})
	view := g.masked(v, source, dest)
	has := c.method.Requires == nil || c.method.Requires(view, dest, c.grant.arg)

	switch {
	case !claimed:
		return Authorized{}, exception.Denied
	case !verdict || !has:
		return Authorized{}, &Refusal{exception.Denied, source.Name()}
	case !there && source.Class() == qube.AdminVM && c.method.Requires == nil:
		return Authorized{}, &Refusal{exception.New(exception.QubesVMNotFoundError, "no such qube: %s", c.head.dest), source.Name()}
	case !there:
		return Authorized{}, &Refusal{exception.Denied, source.Name()}
	}
	c.grant.source, c.grant.dest, c.grant.filters, c.grant.allows = source, dest, nil, nil
	if g.handled(c.entry.Name) {
		filters, err := g.handle(Facts{Method: c.entry.Name, View: view, Source: source, Dest: dest, Arg: c.grant.arg, Payload: c.grant.payload})
		if err != nil {
			return Authorized{}, &Refusal{err, source.Name()}
		}
		c.grant.filters = filters
	}
	if source.Class() != qube.AdminVM { // a peer that has decided on the call has not decided on what it shows
		if c.method.PerItem != nil {
			c.grant.filters = append(c.grant.filters, c.perItem(g, v))
		}
		if c.entry.Kind == Streams {
			c.grant.allows = c.allows(g)
		}
	}
	c.gate, c.peer, c.view, c.revision, c.policy = g, p, view, v.Revision(), policy
	return Authorized{c}, nil
}

// allows asks the policy anew of each event, since neither the source nor what concerns it stays as it is.
func (c *call[A, P]) allows(g *Gate) func(v qube.View, target qube.Ref, arg string) bool {
	id := qube.ByID(c.grant.source.ID())
	return func(v qube.View, target qube.Ref, arg string) bool {
		source, there := id.In(v)
		dest, _ := target.In(v)
		return g.judge.Allows(v, Subject{c.entry.service, source, dest, arg}) && there
	}
}

// perItem asks the policy about each item of a list, on the view that the call is judged on.
func (c *call[A, P]) perItem(g *Gate, v qube.View) Filter {
	source, dest, about := c.grant.source, c.grant.dest, c.method.PerItem
	return func(item qube.Noun) bool {
		s := about(dest, item)
		s.Source = source
		return g.judge.Allows(v, s)
	}
}

func (c *call[A, P]) read() (messages.Reply, error) {
	if c.method.Read == nil {
		return messages.Reply{}, errSkipped
	}
	return c.method.Read(c.view, c.grant)
}

func (c *call[A, P]) change(tx qube.Tx) (messages.Reply, error) {
	if c.method.Change == nil {
		return messages.Reply{}, errSkipped
	}
	if err := c.again(tx); err != nil {
		return messages.Reply{}, err
	}
	return c.method.Change(c.gate.maskedTx(tx, c.grant.source, c.grant.dest), c.grant)
}

func (c *call[A, P]) again(tx qube.Tx) error {
	if tx.Revision() == c.revision && c.gate.judge.Generation() == c.policy {
		return nil
	}
	c.head = head{qube.ByID(c.grant.source.ID()), qube.ByID(c.grant.dest.ID())} // a qube of the same name is another
	_, err := c.judge(c.gate, c.peer, tx)
	return err
}

func (c *call[A, P]) work() (messages.Order, error) {
	if c.method.Work == nil {
		return messages.Order{}, errSkipped
	}
	o, err := c.method.Work(c.view, c.grant)
	o.Revision = c.revision
	return o, err
}

func (c *call[A, P]) stream(f Feed) error {
	if c.method.Stream == nil {
		return errSkipped
	}
	return c.method.Stream(c.view, c.grant, f)
}

// argument is the text of the argument, as a policy rule may name it.
func (c *call[A, P]) argument() string {
	if c.entry.fixedArg != "" {
		return c.entry.fixedArg
	}
	text, _ := shown(c.grant.arg)
	return text
}

// shown is the text of an argument, if it has one.
func shown(arg any) (text string, ok bool) {
	switch a := arg.(type) {
	case string:
		return a, true
	case qube.Noun:
		return a.Shown(), true
	}
	return "", false
}
