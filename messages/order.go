package messages

import "sallyport/messages/qube"

// Order is what a qube's actor is asked to do. It is plain data, never a closure, so that it can be stored as an intent,
// logged, and one day sent to another machine.
type Order struct {
	Kind     OrderKind
	Qube     qube.UUID
	Args     map[string]string
	Revision qube.Revision // of the view it was judged on
}

// OrderKind says what is to be done.
type OrderKind string

// The kinds of orders.
const (
	DrillCrash OrderKind = "drill.crash" // panic while the order is taken in
	DrillStall OrderKind = "drill.stall" // be busy for Args["for"], a duration
)
