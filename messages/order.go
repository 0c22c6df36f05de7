package messages

import (
	"context"
	"time"

	"sallyport/messages/qube"
)

// Order is what a qube's actor is asked to do. It is plain data, never a closure, so that it can be stored as an intent,
// logged, and one day sent to another machine.
type Order struct {
	Kind     OrderKind
	Qube     qube.UUID
	Args     map[string]string
	Revision qube.Revision // of the view it was judged on

	// Urgent cuts short what the qube's actor is doing, and goes before all that waits.
	Urgent bool
	// Patience is how long the work may take by its own nature, on top of what any work may; 0: no longer.
	Patience time.Duration
}

// Discreet is a key of Args: whoever is to be answered is told of a netvm that could not be started no more than that.
const Discreet = "discreet"

// OrderKind says what is to be done.
type OrderKind string

// The kinds of orders.
const (
	DrillCrash OrderKind = "drill.crash" // panic while the order is taken in
	DrillStall OrderKind = "drill.stall" // be busy for Args["for"], a duration

	// How a qube is started and stopped (spec: model.md 4). The work is in stages/lifecycle.
	QubeStart    OrderKind = "qube.start"    // Args["for"]: the qubes that wait for it, by UUID, each followed by a space; Args["discreet"]: see Discreet
	QubeShutdown OrderKind = "qube.shutdown" // Args["force"], Args["wait"]: there or not
	QubePause    OrderKind = "qube.pause"
	QubeUnpause  OrderKind = "qube.unpause"
	QubeSuspend  OrderKind = "qube.suspend"
	QubeResume   OrderKind = "qube.resume"
	QubeKill     OrderKind = "qube.kill"
	QubeLook     OrderKind = "qube.look" // see what the hypervisor says of it, and have the inventory say so too

	// The files of the policy (spec: policy.md 7), for dom0. Args["include"]: those under include/, there or not;
	// Args["file"]: its name without suffix. The work is in internal/policyfiles.
	PolicyList     OrderKind = "policy.list"
	PolicyGet      OrderKind = "policy.get"
	PolicyReplace  OrderKind = "policy.replace"   // Args["token"], Args["text"]
	PolicyRemove   OrderKind = "policy.remove"    // Args["token"]
	PolicyGetFiles OrderKind = "policy.get-files" // Args["service"]: in which files rules for it are

	// Disposables of the template that the order is for. The work is in stages/preload.
	DisposableTake    OrderKind = "disposable.take"    // Args["by"]: for whom, a UUID; Args["uuid"]: answer with a UUID
	DisposablePreload OrderKind = "disposable.preload" // make as many in advance as there shall be; Args["reason"]: why
)

// Desk is what work may ask of whoever runs it. It is for the goroutine that does the work; each of its methods waits, and
// returns soon after ctx ends. No actor waits meanwhile.
type Desk interface {
	// Change has the ledger make a change, and returns when that is durable, published and told to subscribers, or has
	// failed. The first change of a call is judged again if the inventory or the policy has moved on since it was judged.
	Change(ctx context.Context, change func(qube.Tx) error) error
	// Order gives an order to the actor of its qube, and returns when that is done.
	Order(ctx context.Context, o Order) (Reply, error)
	// Leave lets the qube's actor begin its next order while this work goes on.
	Leave()
}
