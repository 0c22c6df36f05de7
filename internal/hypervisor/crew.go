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
	Policy      Worker // of its files
}

// Worker is one of the crew (actors.Worker).
type Worker interface {
	Begin(messages.Order, messages.Desk) (func(context.Context) (messages.Reply, error), error)
}

// Begin gives an order to whom it concerns.
func (c Crew) Begin(o messages.Order, desk messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	switch o.Kind {
	case messages.DrillCrash, messages.DrillStall:
		return Drill{}.Begin(o, desk)
	case messages.DisposableTake, messages.DisposablePreload:
		return c.Disposables.Begin(o, desk)
	case messages.PolicyList, messages.PolicyGet, messages.PolicyReplace, messages.PolicyRemove, messages.PolicyGetFiles:
		if c.Policy != nil {
			return c.Policy.Begin(o, desk)
		}
	}
	return c.Power.Begin(o, desk)
}
