package actors

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/qube"
)

// clerk is a Worker whose work uses its desk: what it does is in the test.
type clerk func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error)

func (c clerk) Begin(o messages.Order, k messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	return func(ctx context.Context) (messages.Reply, error) { return c(ctx, o, k) }, nil
}

// atDesks runs test in a hall whose qubes do what work does with the argument of test.Work.
func atDesks(t *testing.T, work clerk, test func(h *hall)) {
	virtually(t, func(s *Settings) { s.Worker, s.CallBudget = work, time.Minute }, test)
}

func tagged(name string) func(qube.Tx) error {
	return func(tx qube.Tx) error { return tx.AddTag(qube.UUID{}, must(qube.ParseTag(name))) }
}

// TestWorkChangesThroughTheLedger: it is durable when Change returns, and a failure or a crash is the work's to read.
func TestWorkChangesThroughTheLedger(t *testing.T) {
	broken := errors.New("broken")
	atDesks(t, func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error) {
		assert.NoError(t, k.Change(ctx, tagged("a")))
		assert.Equal(t, broken, k.Change(ctx, func(qube.Tx) error { return broken }))
		crashed := k.Change(ctx, func(qube.Tx) error { panic(secret) })
		assert.NoError(t, k.Change(ctx, tagged("b")))
		return messages.Empty, crashed
	}, func(h *hall) {
		incidentOf(t, h.work("work", "x").answer())
		assert.Equal(t, [][]string{{"a"}, {"b"}}, h.book.committed())
		assert.Len(t, h.log.lines(telemetry.ActorCrashed), 1)
	})
}

// TestAChangeIsCutByItsContext: nothing of it happens later.
func TestAChangeIsCutByItsContext(t *testing.T) {
	atDesks(t, func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return messages.Empty, k.Change(ctx, tagged("a"))
	}, func(h *hall) {
		incidentOf(t, h.work("work", "x").answer())
		assert.Empty(t, h.book.committed())
	})
}

// TestWorkOrdersAnotherQube, and reads its answer, a crash among them; its own desk it cannot order from.
func TestWorkOrdersAnotherQube(t *testing.T) {
	vault, own := box("vault", "2").ID(), box("work", "1").ID()
	atDesks(t, func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error) {
		switch {
		case o.Args["do"] == "self":
			return k.Order(ctx, messages.Order{Kind: "own", Qube: own})
		case o.Args["do"] == "crash":
			return k.Order(ctx, messages.Order{Kind: "crash", Qube: vault})
		case o.Kind == "crash":
			panic(secret)
		case o.Qube == vault:
			time.Sleep(time.Second)
			return messages.Text("at your service"), nil
		}
		return k.Order(ctx, messages.Order{Kind: "x", Qube: vault})
	}, func(h *hall) {
		c := h.work("work", "x")
		assert.Equal(t, unanswered, c.answer())
		time.Sleep(time.Second)
		assert.Equal(t, ok("at your service"), c.answer())
		incidentOf(t, h.work("work", "self").answer())
		incidentOf(t, h.work("work", "crash").answer())
	})
}

// TestWorkLeavesItsDesk: the next order begins while it goes on, with its own budget; then it may order its own qube, too.
func TestWorkLeavesItsDesk(t *testing.T) {
	own := box("work", "1").ID()
	atDesks(t, func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error) {
		switch o.Args["do"] {
		case "leave":
			k.Leave()
			time.Sleep(10 * time.Second)
			return k.Order(ctx, messages.Order{Qube: own, Kind: "own"})
		case "endless":
			k.Leave()
			<-ctx.Done()
		case "crash":
			k.Leave()
			time.Sleep(time.Second)
			panic(secret)
		}
		return messages.Text("next"), ctx.Err()
	}, func(h *hall) {
		leaver, next := h.work("work", "leave"), h.work("work", "x")
		assert.Equal(t, ok("next"), next.answer())
		assert.Equal(t, unanswered, leaver.answer())
		time.Sleep(10 * time.Second)
		assert.Equal(t, ok("next"), leaver.answer())

		endless := h.work("work", "endless")
		time.Sleep(time.Minute)
		assert.Equal(t, answerOf(errOverdue), endless.answer())

		crash, beside := h.work("work", "crash"), h.work("work", "leave")
		time.Sleep(11 * time.Second)
		incidentOf(t, crash.answer())
		assert.Equal(t, ok("next"), beside.answer())
		time.Sleep(2 * time.Minute)
		assert.Empty(t, h.family.all(), "the actor has become idle")
	})
}

// TestWhoLeftCountsAsWaiting: a qube's queue is bounded, whoever has left.
func TestWhoLeftCountsAsWaiting(t *testing.T) {
	virtually(t, func(s *Settings) {
		s.QubeQueue = 2
		s.Worker = clerk(func(ctx context.Context, _ messages.Order, k messages.Desk) (messages.Reply, error) {
			k.Leave()
			<-ctx.Done()
			return messages.Empty, nil
		})
	}, func(h *hall) {
		for range 2 {
			h.work("work", "x")
			synctest.Wait()
		}
		assert.Equal(t, answerOf(errQueue), h.work("work", "x").answer())
	})
}

// TestUrgentOrders cut what is being done and go before all that waits, but not before one another.
func TestUrgentOrders(t *testing.T) {
	var done []string
	atDesks(t, func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error) {
		defer func() { done = append(done, o.Args["do"]) }()
		select {
		case <-time.After(10 * time.Second):
			return messages.Empty, nil
		case <-ctx.Done():
			time.Sleep(grace / 2)
			return messages.Empty, errors.New("interrupted")
		}
	}, func(h *hall) {
		done = nil
		order := func(name string, urgent bool) *caller {
			c := h.caller()
			c.call.order = messages.Order{Qube: box("work", "1").ID(), Args: map[string]string{"do": name}, Urgent: urgent}
			h.send(h.qubes, &c.call)
			synctest.Wait()
			return c
		}
		a, b, u, v := order("a", false), order("b", false), order("u", true), order("v", true)
		time.Sleep(grace / 2)
		assert.Equal(t, answerOf(errCut), a.answer(), "which had its time to leave all in order")
		time.Sleep(30 * time.Second)
		for _, c := range []*caller{b, u, v} {
			assert.Equal(t, ok(""), c.answer())
		}
		assert.Equal(t, []string{"a", "u", "v", "b"}, done)
	})
}

// TestPatience lengthens the budget of an order.
func TestPatience(t *testing.T) {
	atDesks(t, func(ctx context.Context, o messages.Order, k messages.Desk) (messages.Reply, error) {
		<-ctx.Done()
		return messages.Empty, nil
	}, func(h *hall) {
		c := h.caller()
		c.call.order = messages.Order{Qube: box("work", "1").ID(), Patience: time.Hour}
		h.send(h.qubes, &c.call)
		time.Sleep(time.Hour)
		assert.Equal(t, unanswered, c.answer())
		time.Sleep(time.Minute)
		assert.Equal(t, answerOf(errOverdue), c.answer())
	})
}

// watchman is an Attendant that does what its steps say, one each time it is called, and then goes on.
type watchman struct {
	noWork
	steps  []func(ready func()) error
	called []time.Time
}

func (w *watchman) Attend(ctx context.Context, k messages.Desk, ready func()) error {
	w.called = append(w.called, time.Now())
	if len(w.steps) > 0 {
		step := w.steps[0]
		w.steps = w.steps[1:]
		return step(ready)
	}
	if err := k.Change(ctx, tagged("watched")); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	return ctx.Err()
}

// TestAnAttendant is called before the daemon is ready, and again, after a pause, whenever it ends.
func TestAnAttendant(t *testing.T) {
	w := &watchman{steps: []func(func()) error{
		func(ready func()) error { ready(); panic(secret) },
		func(ready func()) error { ready(); return errors.New("enough") },
		func(ready func()) error { return nil },
	}}
	virtually(t, func(s *Settings) { s.Worker, s.Attendants = w, map[string]Attendant{"": w} }, func(h *hall) {
		began := time.Now()
		assert.NoError(t, h.attend())
		time.Sleep(time.Minute)
		synctest.Wait()
		var after []time.Duration
		for _, at := range w.called {
			after = append(after, at.Sub(began))
		}
		assert.Equal(t, []time.Duration{0, pause(0), pause(0) + pause(1), pause(0) + pause(1) + pause(2)}, after)
		assert.Equal(t, [][]string{{"watched"}}, h.book.committed())
		assert.Len(t, h.log.lines(telemetry.ActorCrashed), 1)
		assert.Len(t, h.log.lines(telemetry.Incident), 2)
	})
}

// TestAnAttendantThatCannotBegin keeps the daemon from starting.
func TestAnAttendantThatCannotBegin(t *testing.T) {
	enough := errors.New("enough")
	for _, step := range []func(func()) error{
		func(func()) error { return enough },
		func(func()) error { panic(secret) },
	} {
		w := &watchman{steps: slices.Repeat([]func(func()) error{step}, 3)}
		virtually(t, func(s *Settings) { s.Worker, s.Attendants = w, map[string]Attendant{"": w} }, func(h *hall) { assert.Error(t, h.attend()) })
	}
	s := base(&journal{})
	s.Attendants = map[string]Attendant{"": &watchman{steps: []func(func()) error{func(func()) error { return enough }}}}
	_, err := Start(s)
	assert.ErrorIs(t, err, enough)
}
