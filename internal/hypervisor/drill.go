// Package hypervisor carries out orders: what qubes are asked to do that takes long or has effects outside the daemon.
// It sees orders, which are plain data, and no call, caller or policy.
package hypervisor

import (
	"context"
	"fmt"
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
)

// Drill carries out the orders with which an operator rehearses faults, and no others. Safe for concurrent use.
type Drill struct{}

// Begin takes an order in. It returns at once; the function that it returns does the work, and returns when ctx ends.
func (Drill) Begin(o messages.Order, _ messages.Desk) (func(ctx context.Context) (messages.Reply, error), error) {
	switch o.Kind {
	case messages.DrillCrash:
		panic("a rehearsed crash")
	case messages.DrillStall:
		d, err := time.ParseDuration(o.Args["for"])
		if err != nil {
			return nil, fmt.Errorf("hypervisor: an order to stall for no duration: %w", err)
		}
		return func(ctx context.Context) (messages.Reply, error) { return messages.Empty, stall(ctx, d) }, nil
	}
	return nil, exception.New(exception.QubesNotImplementedError, "there is no hypervisor to do that")
}

// stall is busy for d.
func stall(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
