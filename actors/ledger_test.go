package actors

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sallyport/internal/telemetry"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// withDisk runs test in a hall whose commits end when it says how.
func withDisk(t *testing.T, test func(h *hall, disk chan<- error)) {
	disk := make(chan error)
	virtually(t, plainly, func(h *hall) {
		disk = make(chan error) // of this bubble
		h.book.commit = func() error { return <-disk }
		test(h, disk)
	})
}

func (h *hall) tag(name string) *caller { return h.call("test.Tag+"+name, "work", "") }

// TestAnOKIsOnDisk: a change is answered when its commit has returned, and not before.
func TestAnOKIsOnDisk(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		a := h.tag("a")
		assert.Equal(t, unanswered, a.answer())
		assert.Equal(t, ok("x "), h.call("test.Echo+x", "work", "").answer(), "reads do not wait")
		disk <- nil
		assert.Equal(t, ok("tagged a"), a.answer())
		assert.Equal(t, [][]string{{"a"}}, h.book.committed())
	})
}

// TestGroupCommit: what comes while a commit runs goes into the next, all together.
func TestGroupCommit(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		first := h.tag("a")
		synctest.Wait()
		second := []*caller{h.tag("b"), h.tag("c"), h.tag("d")}
		disk <- nil
		assert.Equal(t, ok("tagged a"), first.answer())
		for _, c := range second {
			assert.Equal(t, unanswered, c.answer(), "its own group is not on disk yet")
		}
		disk <- nil
		for i, c := range second {
			assert.Equal(t, ok("tagged "+string("bcd"[i])), c.answer())
		}
		assert.Equal(t, [][]string{{"a"}, {"b", "c", "d"}}, h.book.committed())
		assert.Equal(t, []any{1.0, 3.0}, column(h.log.lines(telemetry.CommitGroup), telemetry.KeyCount))
	})
}

// TestAChangeThatFails is answered at once, and is no part of the group.
func TestAChangeThatFails(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		first := h.tag("a")
		synctest.Wait()
		before, failing, after := h.tag("b"), h.tag("$"), h.tag("c")
		assert.Equal(t, string(exception.QubesInvalidTagError), failing.answer().Type)
		assert.Equal(t, unanswered, before.answer())
		disk <- nil
		disk <- nil
		assert.Equal(t, ok("tagged a"), first.answer())
		assert.Equal(t, ok("tagged b"), before.answer())
		assert.Equal(t, ok("tagged c"), after.answer())
		assert.Equal(t, [][]string{{"a"}, {"b", "c"}}, h.book.committed())
	})
}

// TestAChangeThatCrashes is answered at once with an incident; the restarted ledger goes on with the group that it was in.
func TestAChangeThatCrashes(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		first := h.tag("a")
		synctest.Wait()
		before, crashing, after := h.tag("b"), h.call("crash.ledger", "work", ""), h.tag("c")
		incidentOf(t, crashing.answer())
		assert.Equal(t, unanswered, before.answer())
		disk <- nil
		disk <- nil
		assert.Equal(t, ok("tagged a"), first.answer())
		assert.Equal(t, ok("tagged b"), before.answer())
		assert.Equal(t, ok("tagged c"), after.answer())
		assert.Equal(t, [][]string{{"a"}, {"b", "c"}}, h.book.committed())
		assert.Len(t, h.log.lines(telemetry.ActorRestarted), 1)
	})
}

// TestACommitThatFails: nobody knows what is on disk, so all callers of the group get one incident, and health is red.
// Health that was red for another reason and is not any more does not hide that.
func TestACommitThatFails(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		first := h.tag("a")
		synctest.Wait()
		group := []*caller{h.tag("b"), h.tag("c")}
		disk <- nil
		first.answer()
		disk <- errors.New("the disk is full")
		incidents := map[any]bool{}
		for _, c := range group {
			incidents[incidentOf(t, c.answer())] = true
		}
		lines := h.log.lines(telemetry.Incident)
		assert.Len(t, incidents, 1)
		for _, l := range lines {
			assert.True(t, incidents[l[telemetry.KeyIncident]])
			assert.Equal(t, "the disk is full", l[telemetry.KeyMessage])
			assert.Equal(t, "test.Tag", l[telemetry.KeyMethod])
		}
		assert.Len(t, lines, 1)
		h.health.recovered("ledger")
		healthy, reason := h.Healthy()
		assert.False(t, healthy)
		assert.Equal(t, "the inventory cannot be written", reason)
		assert.Equal(t, [][]string{{"a"}}, h.book.committed())
	})
}

// TestACommitThatCrashes is a crash of the ledger's: told once, with its stack, and every caller's answer leads to it.
func TestACommitThatCrashes(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { crashing(secret, "") }, "runtime.Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			withDisk(t, func(h *hall, disk chan<- error) {
				first := h.tag("a")
				synctest.Wait()
				h.book.commit = func() error { end(); return nil }
				group := []*caller{h.tag("b"), h.tag("c")}
				disk <- nil
				assert.Equal(t, ok("tagged a"), first.answer())
				synctest.Wait()
				lines := h.log.lines(telemetry.ActorCrashed)
				if !assert.Len(t, lines, 1) {
					return
				}
				assert.Contains(t, lines[0][telemetry.KeyStack], "actors.(*group).Commit\n")
				for _, c := range group {
					assert.Equal(t, lines[0][telemetry.KeyIncident], incidentOf(t, c.answer()))
				}
				healthy, _ := h.Healthy()
				assert.False(t, healthy)
			})
		})
	}
}

// TestABookThatCrashes costs nobody his answer, wherever it does.
func TestABookThatCrashes(t *testing.T) {
	views := 0
	withDisk(t, func(h *hall, disk chan<- error) {
		h.settings.Book = crashingBook{bookView{h.book}, &views}
		a := h.tag("a") // the first view is the gate's, the next is for the log line of the commit
		disk <- nil
		assert.Equal(t, ok("tagged a"), a.answer())
		assert.Equal(t, 2, views)
		assert.Len(t, h.log.lines(telemetry.ActorCrashed), 1)
	})
}

type crashingBook struct {
	bookView
	views *int
}

func (b crashingBook) View() qube.View {
	if *b.views++; *b.views > 1 {
		panic(secret)
	}
	return b.bookView.View()
}

// TestTheLedgerStops: whose change is not being written yet is told so; whose is, is told how that ended.
func TestTheLedgerStops(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		writing := h.tag("a")
		synctest.Wait()
		waiting := h.tag("b")
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- h.Close(context.Background()) }()
		synctest.Wait()
		assert.Equal(t, answerOf(errStopping), waiting.answer())
		assert.Equal(t, unanswered, writing.answer())
		assert.Empty(t, closed, "the book may be closed after this")
		disk <- nil
		assert.NoError(t, <-closed)
		assert.Equal(t, ok("tagged a"), writing.answer())
		assert.Equal(t, [][]string{{"a"}}, h.book.committed())
	})
}

// TestACommitThatDoesNotEnd: nobody knows what will be on disk, so who waits goes on waiting; but nobody else begins to,
// and health says why. When it ends after all, everybody is answered, and changes are taken again.
func TestACommitThatDoesNotEnd(t *testing.T) {
	withDisk(t, func(h *hall, disk chan<- error) {
		writing := h.tag("a")
		synctest.Wait()
		time.Sleep(h.settings.CallBudget)
		synctest.Wait()
		assert.Equal(t, unanswered, writing.answer())
		assert.Equal(t, answerOf(errStuckDisk), h.tag("b").answer())
		_, reason := h.Healthy()
		assert.Equal(t, "a commit does not end", reason)
		disk <- nil
		assert.Equal(t, ok("tagged a"), writing.answer())
		healthy, _ := h.Healthy()
		assert.True(t, healthy)
		c := h.tag("c")
		disk <- nil
		assert.Equal(t, ok("tagged c"), c.answer())
	})
}
