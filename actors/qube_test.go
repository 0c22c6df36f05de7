package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
)

// foreman is a Worker whose work takes as long as the order says: test.Work+2s. It notes who began what when.
type foreman struct {
	begun chan string
}

func (f *foreman) Begin(o messages.Order, _ messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	f.begun <- o.Args["do"]
	if _, ends := o.Args["with"]; ends && o.Args["with"] != "" {
		return obey(messages.Order{Kind: messages.OrderKind(o.Args["with"]), Args: o.Args})
	}
	d, err := time.ParseDuration(o.Args["do"])
	if err != nil {
		return nil, exception.New(exception.QubesNotImplementedError, "no duration")
	}
	return func(ctx context.Context) (messages.Reply, error) {
		select {
		case <-time.After(d):
			return messages.Text("did " + o.Args["do"]), nil
		case <-ctx.Done():
			return messages.Empty, errors.New("interrupted")
		}
	}, nil
}

// withForeman runs test in a hall whose qubes do such work.
func withForeman(t *testing.T, change func(*Settings), test func(h *hall, f *foreman)) {
	f := &foreman{}
	virtually(t, func(s *Settings) {
		f.begun = make(chan string, 4096)
		s.Worker, s.CallBudget = f, time.Hour
		change(s)
	}, func(h *hall) { test(h, f) })
}

// work orders something that takes that long; how, if given, is how its beginning or its end fails.
func (h *hall) work(dest, long string, how ...string) *caller {
	return h.call("test.Work+"+long, dest, strings.Join(how, ""))
}

func (f *foreman) soFar() (all []string) {
	for synctest.Wait(); len(f.begun) > 0; {
		all = append(all, <-f.begun)
	}
	return all
}

// TestALongOrderDelaysItsOwnQube, and nothing else.
func TestALongOrderDelaysItsOwnQube(t *testing.T) {
	withForeman(t, plainly, func(h *hall, f *foreman) {
		long, behind, other := h.work("work", "60s"), h.work("work", "1s"), h.work("vault", "1s")
		time.Sleep(time.Second)
		assert.Equal(t, ok("did 1s"), other.answer())
		assert.Equal(t, ok("x "), h.call("test.Echo+x", "work", "").answer())
		assert.Equal(t, ok("tagged x"), h.call("test.Tag+x", "work", "").answer())
		time.Sleep(59 * time.Second)
		assert.Equal(t, ok("did 60s"), long.answer())
		assert.Equal(t, unanswered, behind.answer(), "it has only begun")
		time.Sleep(time.Second)
		assert.Equal(t, ok("did 1s"), behind.answer())
	})
}

// TestOrdersOfAQube are carried out one at a time, as they came.
func TestOrdersOfAQube(t *testing.T) {
	withForeman(t, plainly, func(h *hall, f *foreman) {
		var want []string
		for n := range 100 {
			want = append(want, fmt.Sprint(n+1, "s"))
			h.work("work", want[n])
		}
		for n := range 100 {
			assert.Equal(t, want[n:n+1], f.soFar())
			time.Sleep(time.Duration(n+1) * time.Second)
		}
	})
}

// TestAQubesQueueIsBounded: who does not fit in is told at once, and there is room again when there is.
func TestAQubesQueueIsBounded(t *testing.T) {
	withForeman(t, func(s *Settings) { s.QubeQueue = 2 }, func(h *hall, f *foreman) {
		var callers []*caller
		for range 5 {
			callers = append(callers, h.work("work", "1s"))
			synctest.Wait()
		}
		for i, c := range callers {
			want := unanswered
			if i >= 3 { // one is at work, two wait
				want = answerOf(errQueue)
			}
			assert.Equal(t, want, c.answer())
		}
		time.Sleep(3 * time.Second)
		again := h.work("work", "1s")
		time.Sleep(time.Second)
		for _, c := range append(callers[:3], again) {
			assert.Equal(t, ok("did 1s"), c.answer())
		}
		assert.Len(t, h.log.lines(telemetry.Shed), 1)
	})
}

// TestAFloodedQube: orders that are refused before its actor sees them do not keep it for ever.
func TestAFloodedQube(t *testing.T) {
	withForeman(t, func(s *Settings) { s.QubeQueue, s.IdleQube = 2, time.Minute }, func(h *hall, f *foreman) {
		f.begun = make(chan string) // holds the actor in Begin
		var callers []*caller
		for range 5 {
			callers = append(callers, h.work("work", "1s"))
			synctest.Wait()
		}
		for range 3 {
			<-f.begun
			time.Sleep(time.Second)
		}
		for i, c := range callers {
			want := ok("did 1s")
			if i >= 3 {
				want = answerOf(errBusy)
			}
			assert.Equal(t, want, c.answer())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, h.log.lines(telemetry.ActorStopped), 1)
	})
}

// TestAFullMailboxTakesReports: however many orders wait, the work that is done is heard of.
func TestAFullMailboxTakesReports(t *testing.T) {
	withForeman(t, func(s *Settings) { s.QubeQueue = 1 }, func(h *hall, f *foreman) {
		first := h.work("work", "1s")
		f.soFar()
		box := h.family.all()[0].mailbox
		box.setSuspended(true)
		second := h.caller()
		second.call.order = messages.Order{Kind: "work", Args: map[string]string{"do": "1s"}}
		box.PostUserMessage(&second.call)
		time.Sleep(time.Second)
		synctest.Wait()
		box.setSuspended(false)
		box.PostSystemMessage(&struct{}{}) // wakes it
		assert.Equal(t, ok("did 1s"), first.answer())
	})
}

// TestTheBudgetOfACall: work that takes too long is interrupted; its caller reads why, and the next order begins.
func TestTheBudgetOfACall(t *testing.T) {
	withForeman(t, func(s *Settings) { s.CallBudget = 30 * time.Second }, func(h *hall, f *foreman) {
		long, next := h.work("work", "60s"), h.work("work", "1s")
		time.Sleep(30*time.Second - 1)
		assert.Equal(t, unanswered, long.answer())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, answerOf(errOverdue), long.answer())
		time.Sleep(time.Second)
		assert.Equal(t, ok("did 1s"), next.answer(), "whose own time began when it did")
	})
}

// TestCrashesAtWork: wherever the work of an order crashes, also when the order had waited, its caller gets the incident,
// and the orders behind it are carried out.
func TestCrashesAtWork(t *testing.T) {
	for _, where := range []string{"crash.qube", "crash.work"} {
		t.Run(where, func(t *testing.T) {
			withForeman(t, plainly, func(h *hall, f *foreman) {
				callers := []*caller{h.work("work", "a", where), h.work("work", "1s"), h.work("work", "b", where),
					h.work("work", "c", where), h.work("work", "2s")}
				time.Sleep(3 * time.Second)
				var ids []any
				for i, want := range []string{"", "did 1s", "", "", "did 2s"} {
					if want == "" {
						ids = append(ids, incidentOf(t, callers[i].answer()))
					} else {
						assert.Equal(t, ok(want), callers[i].answer())
					}
				}
				crashes := h.log.lines(telemetry.ActorCrashed)
				assert.Equal(t, ids, column(crashes, telemetry.KeyIncident))
				assert.Equal(t, []any{"test.Work", "test.Work", "test.Work"}, column(crashes, telemetry.KeyMethod))
			})
		})
	}
}

// TestManyWaitingCrashes: an actor gets through a queue of orders that crash, since each makes it shorter.
func TestManyWaitingCrashes(t *testing.T) {
	withForeman(t, func(s *Settings) { s.CrashLimit = 3 }, func(h *hall, f *foreman) {
		h.work("work", "1s")
		var callers []*caller
		for range 50 {
			callers = append(callers, h.work("work", "a", "crash.qube"))
		}
		time.Sleep(time.Second)
		for _, c := range callers {
			incidentOf(t, c.answer())
		}
		assert.Empty(t, h.log.lines(telemetry.Escalated))
	})
}

// TestWorkThatCrashesLate: a crash is told although the call's time was up before.
func TestWorkThatCrashesLate(t *testing.T) {
	late := doer(func(messages.Order) (func(context.Context) (messages.Reply, error), error) {
		return func(ctx context.Context) (messages.Reply, error) { <-ctx.Done(); panic(secret) }, nil
	})
	virtually(t, func(s *Settings) { s.Worker, s.CallBudget = late, time.Second }, func(h *hall) {
		c := h.work("work", "1s")
		time.Sleep(time.Second)
		assert.Equal(t, answerOf(errOverdue), c.answer())
		assert.Len(t, h.log.lines(telemetry.ActorCrashed), 1)
	})
}

// TestWorkThatDoesNotEnd: its caller is answered when his time is up, and so is everybody behind him, soon after; when it
// ends after all, the qube is served again.
func TestWorkThatDoesNotEnd(t *testing.T) {
	end := make(chan struct{})
	deaf := doer(func(messages.Order) (func(context.Context) (messages.Reply, error), error) {
		return func(context.Context) (messages.Reply, error) { <-end; return messages.Empty, nil }, nil
	})
	virtually(t, func(s *Settings) { s.Worker, s.CallBudget = deaf, 30*time.Second }, func(h *hall) {
		end = make(chan struct{}) // of this bubble
		long, behind := h.work("work", "1s"), h.work("work", "1s")
		time.Sleep(30 * time.Second)
		assert.Equal(t, answerOf(errOverdue), long.answer())
		assert.Equal(t, unanswered, behind.answer())
		time.Sleep(grace)
		assert.Equal(t, answerOf(errStuck), behind.answer())
		assert.Equal(t, answerOf(errStuck), h.work("work", "1s").answer())
		end <- struct{}{}
		synctest.Wait()
		next := h.work("work", "1s")
		end <- struct{}{}
		assert.Equal(t, ok(""), next.answer())
	})
}

// TestWorkThatEndsItsGoroutine is a crash: nobody could report otherwise.
func TestWorkThatEndsItsGoroutine(t *testing.T) {
	exit := doer(func(messages.Order) (func(context.Context) (messages.Reply, error), error) {
		return func(context.Context) (messages.Reply, error) { runtime.Goexit(); return messages.Empty, nil }, nil
	})
	virtually(t, func(s *Settings) { s.Worker = exit }, func(h *hall) {
		incidentOf(t, h.work("work", "1s").answer())
	})
}

// TestAnIdleQube: its actor ends after a while, and a later order starts another.
func TestAnIdleQube(t *testing.T) {
	withForeman(t, func(s *Settings) { s.IdleQube = time.Minute }, func(h *hall, f *foreman) {
		actors := func() (started, stopped int) {
			synctest.Wait()
			count := func(e telemetry.Event) int {
				return len(slices.DeleteFunc(h.log.lines(e), func(l line) bool { return l[telemetry.KeyActorKind] != "qube" }))
			}
			return count(telemetry.ActorStarted), count(telemetry.ActorStopped)
		}
		for round := 1; round <= 3; round++ {
			c := h.work("work", "1s")
			time.Sleep(time.Second)
			assert.Equal(t, ok("did 1s"), c.answer())
			time.Sleep(time.Minute - 1)
			again := h.work("work", "nothing") // any order keeps it, even one that cannot be begun
			assert.Equal(t, string(exception.QubesNotImplementedError), again.answer().Type)
			time.Sleep(time.Minute - 1)
			started, stopped := actors()
			assert.Equal(t, []int{round, round - 1}, []int{started, stopped})
			time.Sleep(time.Nanosecond)
			started, stopped = actors()
			assert.Equal(t, []int{round, round}, []int{started, stopped})
			assert.Empty(t, h.family.all())
		}
	})
}

// TestOrdersRaceWithRetirement: an order that comes in the very moment in which an actor ends is carried out, once.
func TestOrdersRaceWithRetirement(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type visit struct{ wait, orders int }
		visits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) visit {
			return visit{rapid.IntRange(-1, 2).Draw(t, "wait"), rapid.IntRange(1, 5).Draw(t, "orders")}
		}), 1, 20).Draw(rt, "visits")
		withForeman(t, func(s *Settings) { s.IdleQube = 2 * time.Second }, func(h *hall, f *foreman) {
			total := 0
			for _, v := range visits {
				callers := make([]*caller, v.orders)
				for i := range callers {
					callers[i] = h.work("work", "1s")
				}
				total += v.orders
				time.Sleep(time.Duration(v.orders) * time.Second)
				for _, c := range callers {
					assert.Equal(rt, ok("did 1s"), c.answer())
				}
				time.Sleep(2*time.Second + time.Duration(v.wait)) // 0 is the moment itself
			}
			assert.Len(rt, f.soFar(), total)
		})
	})
}

// TestQubesStop: who is at work and who waits is told that the daemon stops, and the work is told to end.
func TestQubesStop(t *testing.T) {
	withForeman(t, plainly, func(h *hall, f *foreman) {
		callers := []*caller{h.work("work", "60s"), h.work("work", "60s"), h.work("vault", "60s")}
		f.soFar()
		assert.NoError(t, h.Close(context.Background()))
		for _, c := range callers {
			assert.Equal(t, answerOf(errStopping), c.answer())
		}
		assert.Empty(t, f.soFar())
	})
}
