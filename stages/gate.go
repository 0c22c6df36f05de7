package stages

import (
	"errors"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Subject is all that a policy rule may see of a call. Source and Dest are qube.Nobody where they are absent.
type Subject struct {
	Service      string // the method, without an argument that its name may hold
	Source, Dest qube.Qube
	Arg          string // as shown; empty for none
}

// handled reports whether a handler names the method.
func (g *Gate) handled(method string) bool { return len(g.handlers[method]) > 0 }

// Judge is the policy. Its methods are called by many goroutines at once, and return at once.
type Judge interface {
	// Generation changes whenever a verdict may have changed for another reason than the inventory.
	Generation() uint64
	// Allows gives the verdict on a call whose source is not dom0. v is the inventory at the moment of the verdict, and hides
	// nobody.
	Allows(v qube.View, s Subject) bool
	// Mask gives v as source may see it, which was just permitted to act on dest. Where that is all of it, it is v itself.
	Mask(v qube.View, source, dest qube.Qube) qube.View
}

// Facts are what a permission handler sees: sanitized values, and the view as the source may see it
// (spec: extensions.md 1). Arg and Payload are the nouns that the method declares.
type Facts struct {
	Method       string
	View         qube.View
	Source, Dest qube.Qube
	Arg, Payload any
}

// Filter reports whether an item of a list, or the subject of an event, may be shown. It is called by one goroutine.
type Filter func(item qube.Noun) bool

// Handler comes on top of policy, for every source, dom0 included (spec: extensions.md 1). Check is called by many
// goroutines at once and returns at once. An error refuses the call; it is an exception. A nil Filter keeps everything.
type Handler struct {
	Methods []string
	Check   func(Facts) (Filter, error)
}

// Gate is where a verdict becomes permission. main makes one and gives it to the permission actor; nobody else can turn
// a Sanitized into an Authorized. Safe for concurrent use.
type Gate struct {
	judge    Judge
	handlers map[string][]func(Facts) (Filter, error)
}

// NewGate makes a gate that asks judge, and then every handler that names the method, in the order given.
func NewGate(judge Judge, handlers ...Handler) *Gate {
	g := &Gate{judge, map[string][]func(Facts) (Filter, error){}}
	for _, h := range handlers {
		for _, m := range h.Methods {
			g.handlers[m] = append(g.handlers[m], h.Check)
		}
	}
	return g
}

// Judge decides about s, which p sent, on v. Its errors are exceptions; a *Refusal names the source.
func (g *Gate) Judge(s Sanitized, p *messages.Peer, v qube.View) (Authorized, error) {
	if s.door == nil || g == nil || g.judge == nil {
		return Authorized{}, errSkipped
	}
	return s.door.judge(g, p, v)
}

// Prove asks the judge about nobody, so that whoever calls learns whether that returns. It permits nothing.
func (g *Gate) Prove(v qube.View) {
	g.judge.Generation()
	g.judge.Allows(v, Subject{Source: qube.Nobody, Dest: qube.Nobody})
	g.judge.Mask(v, qube.Nobody, qube.Nobody)
}

// Refusal is an exception of the permission stage, with the source for the log, which exists.
type Refusal struct {
	Exception error
	Source    qube.Name
}

// Error is the exception's.
func (r *Refusal) Error() string { return r.Exception.Error() }

// Unwrap gives the exception.
func (r *Refusal) Unwrap() error { return r.Exception }

// decided reports whether no policy is asked: dom0 has no policy step (spec: extensions.md 1), nor has a peer that has
// evaluated it itself.
func decided(source qube.Qube, p *messages.Peer) bool {
	return source.Class() == qube.AdminVM || p.Decided
}

// speaksFor reports whether p may claim source. Whoever speaks for a relay may pass on what a RemoteVM asks for through it
// (spec: policy.md 4.3).
func speaksFor(p *messages.Peer, source qube.Qube) bool {
	if p.May(source.Name()) {
		return true
	}
	relay, _ := source.Property(relayvm)
	name, err := qube.ParseName(relay.Shown())
	return err == nil && source.Class() == qube.RemoteVM && p.May(name)
}

var relayvm, _ = qube.ParsePropertyName("relayvm")

func (g *Gate) masked(v qube.View, source, dest qube.Qube) qube.View {
	if source.Class() == qube.AdminVM {
		return v
	}
	return g.judge.Mask(v, source, dest)
}

// maskedTx is tx with its reading side masked like any other view.
func (g *Gate) maskedTx(tx qube.Tx, source, dest qube.Qube) qube.Tx {
	view := g.masked(tx, source, dest)
	if same, ok := view.(qube.Tx); ok {
		return same
	}
	return struct {
		qube.View
		qube.Writer
	}{view, tx}
}

func (g *Gate) handle(f Facts) ([]Filter, error) {
	var filters []Filter
	for _, check := range g.handlers[f.Method] {
		keep, err := check(f)
		switch {
		case errors.Is(err, exception.Denied):
			return nil, exception.Denied // whatever it says: no two refusals differ
		case err != nil:
			return nil, err
		}
		if keep != nil {
			filters = append(filters, keep)
		}
	}
	return filters, nil
}
