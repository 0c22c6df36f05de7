package drive

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/messages"
)

// TestRecordedArrivals: each comes once, when it is due and not before, on one of all threads of all machines, with the
// item that it has. The time is the test's.
func TestRecordedArrivals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := plain(scenario.Target{}, scenario.Load{})
		for i := range rapid.IntRange(1, 5).Draw(t, "items") {
			s.Mix = append(s.Mix, item(call(fmt.Sprint("m", i))))
		}
		var want []string
		for at := time.Duration(0); rapid.IntRange(0, 20).Draw(t, "more") > 0; at += time.Duration(rapid.IntRange(0, 5).Draw(t, "gap")) {
			a := scenario.Arrival{At: at, Item: rapid.IntRange(0, len(s.Mix)-1).Draw(t, "item")}
			s.Load.Recorded = append(s.Load.Recorded, a)
			want = append(want, fmt.Sprint(a.At, s.Mix[a.Item].Steps[0].Method))
		}
		of := rapid.IntRange(1, 4).Draw(t, "threads")
		var got []string
		for part := range of {
			p, rec := (&driver{s: s, o: Options{Of: 1, Threads: of}}).newPlan(part), measure.NewRecorder(0)
			for due, more := p.next(); more; due, more = p.next() {
				_, early := p.begin(due-1, rec, true)
				require.False(t, early)
				b, ok := p.begin(due, rec, true)
				require.True(t, ok)
				require.Equal(t, due, b.due)
				got = append(got, fmt.Sprint(b.due, b.call().Method))
				p.ended(b.job, due)
			}
			require.LessOrEqual(t, rec.Result().Due, uint64(len(want)/of+1), "they are shared")
		}
		slices.Sort(want)
		slices.Sort(got)
		require.Equal(t, want, got)
	})
}

// TestSubscribersComeAndGo: one that comes later and leaves is no error, and the run lasts until it has left.
func TestSubscribersComeAndGo(t *testing.T) {
	l, err := net.Listen("unix", socket(t))
	require.NoError(t, err)
	came := make(chan time.Time, 10)
	var conns sync.WaitGroup
	accepting(l, &conns, func(conn net.Conn) {
		defer conn.Close()
		came <- time.Now()
		var err error
		for event := (messages.Event{Name: "e"}).AppendFrame(nil); err == nil; time.Sleep(time.Millisecond) {
			_, err = conn.Write(event) // until the client leaves
		}
	})
	const comes, stays = 50 * time.Millisecond, 500 * time.Millisecond
	s := plain(scenario.Target{Socket: l.Addr().String()}, scenario.Load{})
	s.Subscribers = []scenario.Subscribers{{Count: 1, Call: call("admin.Events"), At: comes, For: stays}}
	for part := range 2 {
		began := time.Now()
		r, err := Run(t.Context(), s, Options{Part: part, Of: 2})
		require.NoError(t, err)
		assert.Empty(t, r.Groups, "it is no call")
		if part == 0 {
			assert.NotZero(t, r.Messages)
			assert.GreaterOrEqual(t, time.Since(began), comes+stays)
			assert.GreaterOrEqual(t, (<-came).Sub(began), comes)
		}
	}
	require.NoError(t, l.Close())
	conns.Wait()
	assert.Empty(t, came, "one machine has it, and it does not come again")
}

// TestWorkersEnd: none waits for a call that would never begin, and a part of a worker is one.
func TestWorkersEnd(t *testing.T) {
	thinks := call("m")
	thinks.Think = time.Hour
	s := plain(scenario.Target{}, rate(2.5, time.Second), item(thinks))
	s.Load.Closed = true
	d := &driver{s: s, end: time.Second, o: Options{Of: 1, Threads: 1}}
	p, rec := d.newPlan(0), measure.NewRecorder(0)
	for range 3 {
		b, ok := p.begin(0, rec, true)
		require.True(t, ok)
		p.ended(b.job, 10*time.Millisecond)
	}
	_, more := p.next()
	assert.False(t, more, "the next calls would come when all is over")
}

// TestSheddingIsBounded: whatever has piled up, somebody looks whether there are replies.
func TestSheddingIsBounded(t *testing.T) {
	d := &driver{s: plain(scenario.Target{}, rate(1e6, time.Second), item(call("m"))), end: time.Second, o: Options{Of: 1, Threads: 1}}
	p, rec := d.newPlan(0), measure.NewRecorder(0)
	_, ok := p.begin(time.Second, rec, false)
	assert.False(t, ok)
	assert.LessOrEqual(t, rec.Result().Due, uint64(shedAtOnce))
	_, more := p.next()
	assert.True(t, more)
}

// TestNoMoreAtOnce than may be, over all threads and machines; but for one each.
func TestNoMoreAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most, machines := rapid.IntRange(1, 50).Draw(t, "most"), rapid.IntRange(1, 4).Draw(t, "machines")
		all := 0
		for part := range machines {
			threads := min(rapid.IntRange(1, 8).Draw(t, "threads"), portion(most, part, machines))
			d := &driver{s: &scenario.Scenario{MaxInFlight: most}, o: Options{Part: part, Of: machines, Threads: threads}}
			for thread := range threads {
				all += d.most(thread)
			}
		}
		require.Equal(t, max(most, machines), all)
	})
}
