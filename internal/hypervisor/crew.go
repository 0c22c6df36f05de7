package hypervisor

import (
	"context"

	"sallyport/messages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/preload"
)

// Crew carries out every kind of order. It is for the actors (actors.Worker). Safe for concurrent use.
type Crew struct {
	Power       *lifecycle.Worker
	Disposables preload.Worker
}

// Begin gives an order to whom it concerns.
func (c Crew) Begin(o messages.Order, desk messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	switch o.Kind {
	case messages.DrillCrash, messages.DrillStall:
		return Drill{}.Begin(o, desk)
	case messages.DisposableTake, messages.DisposablePreload:
		return c.Disposables.Begin(o, desk)
	}
	return c.Power.Begin(o, desk)
}
