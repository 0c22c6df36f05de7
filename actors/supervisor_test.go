package actors

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"

	"sallyport/internal/telemetry"
)

// TestACrashIsTold: whichever actor crashes, its caller, and nobody else, gets an incident, and the log explains it.
func TestACrashIsTold(t *testing.T) {
	const work = "qube-11111111-0000-4000-8000-000000000000$" // and a number
	for where, actor := range map[string]struct{ kind, name string }{
		"sanitizer": {"sanitizer", "sanitizer"}, "permission": {"permission", "permission"}, "action": {"action", "action"},
		"ledger": {"ledger", "ledger"}, "qube": {"qube", work}, "work": {"qube", work},
	} {
		t.Run(where, func(t *testing.T) {
			virtually(t, plainly, func(h *hall) {
				for payload := range 4 { // see crashing
					before := h.call("test.Echo+before", "work", "")
					crashed := h.call("crash."+where+"+"+secret, "work", secret[:payload])
					after := h.call("test.Echo+after", "work", "")

					id := incidentOf(t, crashed.answer())
					assert.Equal(t, ok("before "), before.answer())
					assert.Equal(t, ok("after "), after.answer())
					lines := h.log.lines(telemetry.ActorCrashed)
					if !assert.Len(t, lines, payload+1, "one line for each") {
						return
					}
					l := lines[payload]
					assert.Equal(t, id, l[telemetry.KeyIncident])
					assert.Equal(t, actor.kind, l[telemetry.KeyActorKind])
					assert.Contains(t, l[telemetry.KeyActor], actor.name)
					assert.Contains(t, l[telemetry.KeyStack], "sallyport/actors.crashing\n\t")
					assert.Regexp(t, `/fakes_test\.go:\d+\n`, l[telemetry.KeyStack])
					assert.NotContains(t, l[telemetry.KeyStack], "mailbox", "what called the actor is not part of it")
					assert.Regexp(t, "^[0-9a-f]{12}$", l[telemetry.KeyCrashPrint])
					if where != "sanitizer" { // which was reading what method it is
						assert.Equal(t, "crash."+where, l[telemetry.KeyMethod])
					}
				}
				assert.Len(t, h.log.lines(telemetry.ActorRestarted), 4)
			})
		})
	}
}

// TestFingerprints: crashes are the same if their stacks are, whatever they panicked with.
func TestFingerprints(t *testing.T) {
	virtually(t, plainly, func(h *hall) {
		for _, call := range []string{"crash.action+a", "crash.action+b", "crash.ledger+a"} {
			h.call(call, "work", "").answer()
		}
		prints := column(h.log.lines(telemetry.ActorCrashed), telemetry.KeyCrashPrint)
		assert.Equal(t, prints[0], prints[1])
		assert.NotEqual(t, prints[0], prints[2])
	})
}

// TestACrashCostsNoOtherCall: what waits behind a crash is handled after it, in order.
func TestACrashCostsNoOtherCall(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic(secret) }, "runtime.Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			virtually(t, plainly, func(h *hall) {
				gate := make(chan struct{})
				var crashing *call
				pid := h.spawn("clumsy", func(ctx actor.Context) {
					if c, ok := ctx.Message().(*call); ok {
						<-gate
						if c == crashing {
							end()
						}
						c.done(ctx, c.reply, errQueue)
					}
				})
				callers := make([]*caller, 8)
				for i := range callers {
					callers[i] = h.caller()
					if i == 3 {
						crashing = &callers[i].call
					}
					h.send(pid, &callers[i].call)
				}
				synctest.Wait()
				close(gate)
				for i, c := range callers {
					if i == 3 {
						incidentOf(t, c.answer())
					} else {
						assert.Equal(t, answerOf(errQueue), c.answer())
					}
				}
			})
		})
	}
}

// TestClientsCannotSwitchADoorOff: the limit counts crashes with no success between them, and a door that is not broken
// proves it.
func TestClientsCannotSwitchADoorOff(t *testing.T) {
	for _, door := range append(doors, "work") {
		t.Run(door, func(t *testing.T) {
			virtually(t, func(s *Settings) { s.CrashLimit = 10 }, func(h *hall) {
				callers := make([]*caller, 1000)
				for i := range callers {
					callers[i] = h.call("crash."+door, "work", "")
				}
				for _, c := range callers {
					incidentOf(t, c.answer())
				}
				assert.Equal(t, ok("a "), h.call("test.Echo+a", "work", "").answer())
				assert.Equal(t, ok("tagged a"), h.call("test.Tag+a", "work", "").answer())
				assert.Equal(t, ok("did a"), h.call("test.Work+a", "work", "").answer())
				assert.Empty(t, h.log.lines(telemetry.Escalated))
				assert.Empty(t, h.log.lines(telemetry.HealthChanged))
				for _, streak := range column(h.log.lines(telemetry.ActorCrashed), telemetry.KeyStreak) {
					assert.LessOrEqual(t, streak, 10.0, "then it is asked for a proof")
				}
			})
		})
	}
}

// TestAnActorThatMakesNoProgress is backed off, tried again ever more seldom, and back as soon as it works.
func TestAnActorThatMakesNoProgress(t *testing.T) {
	virtually(t, func(s *Settings) { s.CrashLimit = 3 }, func(h *hall) {
		var broken atomic.Bool
		var reports int
		pid := h.spawn("broken", func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *call, prove, report:
				if broken.Load() {
					panic(secret)
				}
				if c, ok := m.(*call); ok {
					c.done(ctx, c.reply, nil)
				} else if _, ok := m.(report); ok {
					reports++
				}
			}
		})
		call := func() *caller {
			c := h.caller()
			h.send(pid, &c.call)
			return c
		}
		healthy := func() bool { ok, _ := h.Healthy(); return ok }
		broken.Store(true)
		for range 3 {
			assert.True(t, healthy())
			incidentOf(t, call().answer())
		}
		for tries, pause := range []time.Duration{
			50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
			1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond, 12800 * time.Millisecond, 25600 * time.Millisecond,
			30 * time.Second, 30 * time.Second,
		} {
			synctest.Wait()
			told := column(h.log.lines(telemetry.Escalated), telemetry.KeyRetry)
			if !assert.Len(t, told, tries+1) {
				return
			}
			assert.EqualValues(t, pause.Microseconds(), told[tries])
			assert.False(t, healthy())
			assert.Equal(t, answerOf(errBusy), call().answer(), "the queue is refused")
			if tries == 0 {
				h.send(pid, report(1)) // by a goroutine of the actor's own, which cannot say it again
			}
			time.Sleep(pause - 1)
			synctest.Wait()
			assert.Len(t, h.log.lines(telemetry.Escalated), tries+1, "not before its time")
			if tries == 11 {
				broken.Store(false)
			}
			time.Sleep(time.Nanosecond)
		}
		synctest.Wait()
		assert.Equal(t, ok(""), call().answer())
		assert.Equal(t, 1, reports)
		assert.True(t, healthy())
		assert.Equal(t, []any{false, true}, column(h.log.lines(telemetry.HealthChanged), telemetry.KeyHealthy))
		assert.Len(t, h.log.lines(telemetry.Escalated), 12)

		broken.Store(true)
		for range 3 {
			call().answer()
		}
		told := column(h.log.lines(telemetry.Escalated), telemetry.KeyRetry)
		assert.EqualValues(t, 50_000, told[12], "the next time begins anew")
	})
}

// TestQueueOfAnActorThatIsBackedOff: who waited before it was backed off is answered too.
func TestQueueOfAnActorThatIsBackedOff(t *testing.T) {
	virtually(t, func(s *Settings) { s.CrashLimit = 1 }, func(h *hall) {
		gate := make(chan struct{})
		pid := h.spawn("broken", func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *call, prove:
				<-gate
				panic(secret)
			}
		})
		var callers []*caller
		for range 8 {
			c := h.caller()
			callers = append(callers, c)
			h.send(pid, &c.call)
		}
		synctest.Wait()
		close(gate)
		incidentOf(t, callers[0].answer())
		for _, c := range callers[1:] {
			assert.Equal(t, answerOf(errBusy), c.answer())
		}
	})
}

// TestACrashWhileStarting: an actor that cannot start is backed off as well, and starts when it can.
func TestACrashWhileStarting(t *testing.T) {
	virtually(t, func(s *Settings) { s.CrashLimit = 3 }, func(h *hall) {
		var starts atomic.Int32
		pid := h.spawn("late", func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				if starts.Add(1) <= 5 {
					panic(secret)
				}
			case *call:
				m.done(ctx, m.reply, nil)
			}
		})
		early := h.caller()
		h.send(pid, &early.call)
		assert.Equal(t, answerOf(errBusy), early.answer())
		assert.EqualValues(t, 3, starts.Load(), "at once, up to the limit")
		time.Sleep(50*time.Millisecond + 100*time.Millisecond + 200*time.Millisecond)
		synctest.Wait()
		late := h.caller()
		h.send(pid, &late.call)
		assert.Equal(t, ok(""), late.answer())
		assert.EqualValues(t, 6, starts.Load())
		healthy, reason := h.Healthy()
		assert.True(t, healthy, reason)
	})
}

// TestStoppedWhileBackedOff: the end of a pause does not wake the dead.
func TestStoppedWhileBackedOff(t *testing.T) {
	virtually(t, func(s *Settings) { s.CrashLimit = 1 }, func(h *hall) {
		pid := h.spawn("broken", func(ctx actor.Context) {
			if _, ok := ctx.Message().(prove); ok {
				panic(secret)
			}
			if _, ok := ctx.Message().(report); ok {
				panic(secret)
			}
		})
		h.send(pid, report(1))
		synctest.Wait()
		restarts := len(h.log.lines(telemetry.ActorRestarted))
		h.system.Root.Stop(pid)
		time.Sleep(time.Minute)
		assert.Len(t, h.log.lines(telemetry.ActorRestarted), restarts)
	})
}

// TestCrashIsDiscreet: a crash has no text form that says more than its fingerprint.
func TestCrashIsDiscreet(t *testing.T) {
	var told error
	guarded(func() error { crashing(secret, ""); return nil }, func(err error) { told = err })
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %[1]p"} {
		text := fmt.Sprintf(verb, told) + fmt.Sprintf(verb, []error{told}) + fmt.Sprintf(verb, struct{ error }{told})
		for form, hidden := range disguises(secret) {
			assert.NotContains(t, text, hidden, "%s in %s", form, verb)
		}
	}
	assert.Regexp(t, "^crash [0-9a-f]{12}$", told.Error())
}

// TestASupervisorThatCrashes, as when the log does, costs no answer, and no actor.
func TestASupervisorThatCrashes(t *testing.T) {
	var calm atomic.Bool
	ids := func() string {
		if !calm.Load() {
			panic(secret)
		}
		return "i-1"
	}
	for _, door := range doors {
		t.Run(door, func(t *testing.T) {
			calm.Store(false)
			virtually(t, func(s *Settings) { s.IDs = ids }, func(h *hall) {
				assert.Equal(t, "i-unknown", incidentOf(t, h.call("crash."+door, "work", "").answer()))
				calm.Store(true)
				for _, c := range []*caller{h.call("test.Echo+a", "work", ""), h.call("test.Tag+a", "work", ""), h.call("test.Work+a", "work", "")} {
					assert.Empty(t, c.answer().Type)
					assert.NotEqual(t, unanswered, c.answer())
				}
				assert.Equal(t, "i-1", incidentOf(t, h.call("crash."+door, "work", "").answer()))
			})
		})
	}
}
