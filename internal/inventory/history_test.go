package inventory

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// happened makes an event of the tests.
func happened(name string, pre bool) qube.Event {
	return qube.Event{Subject: qube.Dom0, Name: name, Args: []qube.EventArg{{Key: "name", Value: name}}, Other: qube.Dom0, Pre: pre}
}

// numbered is what subscribers are told, with revisions.
type numbered struct {
	revision qube.Revision
	event    qube.Event
}

func told(batches []qube.Batch) (all []numbered) {
	for _, b := range batches {
		for i, e := range b.Events {
			all = append(all, numbered{b.RevisionOf(i), e})
		}
	}
	return all
}

// TestHistory: whoever goes on after any revision that was given is told exactly what came after it, also by a daemon
// that was restarted; announcements of what failed are told at once and never again (design: 6).
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := &memory{}
		inv := opened(t, store, parsed(t, modelFile))
		var all []numbered // published
		since := func(t *rapid.T) {
			if len(all) == 0 {
				return
			}
			i := rapid.IntRange(0, len(all)-1).Draw(t, "seen")
			after, err := inv.Since(all[i].revision)
			require.NoError(t, err)
			got := told(after)
			for len(got) > 0 && got[0].revision <= all[i].revision { // of the change that all[i] is part of
				got = got[1:]
			}
			require.Equal(t, all[i+1:], append([]numbered{}, got...))
		}
		t.Repeat(map[string]func(*rapid.T){
			"group": func(t *rapid.T) {
				g := inv.Begin()
				var want []numbered
				for range rapid.IntRange(1, 4).Draw(t, "changes") {
					names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c:d"}), 0, 3).Draw(t, "events")
					pre := rapid.Bool().Draw(t, "pre")
					durable, fails := rapid.Bool().Draw(t, "durable"), rapid.IntRange(0, 3).Draw(t, "fails") == 0
					newest := inv.newest.revision
					err := g.Try(func(tx qube.Tx) error {
						for i, n := range names {
							require.NoError(t, tx.Fire(happened(n, pre && i == 0)))
						}
						if durable {
							require.NoError(t, tx.SetNotes(qube.Dom0UUID, must(qube.ParseNotes(strings.Join(names, "")))))
						}
						if fails {
							return errRefused
						}
						return nil
					})
					if fails {
						require.ErrorIs(t, err, errRefused)
						require.Equal(t, newest, inv.newest.revision)
						if pre && len(names) > 0 {
							want = append(want, numbered{0, happened(names[0], true)})
						}
						continue
					}
					require.NoError(t, err)
					for i, n := range names {
						want = append(want, numbered{newest + 1 + qube.Revision(i), happened(n, pre && i == 0)})
					}
				}
				require.Equal(t, want, told(g.Events()))
				require.NoError(t, g.Commit())
				for _, e := range want {
					if e.revision > 0 {
						all = append(all, e)
					}
				}
			},
			"restart": func(t *rapid.T) {
				before := inv.View().Revision()
				inv = opened(t, store, nil)
				require.Equal(t, before, inv.View().Revision())
			},
			"": since,
		})
		_, err := inv.Since(inv.View().Revision() + 1)
		require.Equal(t, exception.QubesException, typeOf(t, err), "what is yet to come")
	})
}

// TestTheHistoryIsBounded by changes and by bytes, in memory and in the store, which agree.
func TestTheHistoryIsBounded(t *testing.T) {
	store := &memory{}
	inv := opened(t, store, parsed(t, modelFile))
	change := func(size int) {
		g := inv.Begin()
		require.NoError(t, g.Try(func(tx qube.Tx) error { return tx.Fire(happened(strings.Repeat("x", size), false)) }))
		require.NoError(t, g.Commit())
	}
	check := func(changes int) {
		for _, inv := range []*Inventory{inv, reopened(t, store)} {
			oldest := inv.history.forgotten
			kept, err := inv.Since(oldest)
			require.NoError(t, err)
			assert.Len(t, kept, changes)
			_, err = inv.Since(oldest - 1)
			assert.Equal(t, exception.QubesException, typeOf(t, err))
			assert.ErrorContains(t, err, revision(oldest).Shown(), "the oldest is named")
		}
		records := 0
		for key := range maps.Keys(store.records) {
			if strings.HasPrefix(key, "event/") {
				records++
			}
		}
		assert.Equal(t, changes, records)
	}
	for range historyChanges + 10 {
		change(1)
	}
	check(historyChanges)
	for range 20 {
		change(historyBytes / 8)
	}
	check(3) // of a little over two eighths: the name is in the event twice
}

// TestReactions run inside the change: after an announcement, before any other event, on all that there is; their error
// is the change's.
func TestReactions(t *testing.T) {
	fires := func(on, name string) qube.Reaction {
		return qube.Reaction{On: on, React: func(tx qube.Tx, e qube.Event) error {
			require.True(t, qube.Reaction{On: on}.Matches(e.Name))
			return tx.Fire(happened(name, false))
		}}
	}
	inv, _, err := Open(&memory{}, Empty, Options{Reactions: []qube.Reaction{
		fires("pre", "after"), fires("set:*", "before"), fires("set:b", "last"),
		{On: "veto", React: func(qube.Tx, qube.Event) error { return errRefused }},
		fires("circle", "circle"),
	}})
	require.NoError(t, err)
	for _, c := range []struct {
		fire []qube.Event
		want []string
		err  error
	}{
		{[]qube.Event{happened("x", false)}, []string{"x"}, nil},
		{[]qube.Event{happened("pre", true)}, []string{"pre", "after"}, nil},
		{[]qube.Event{happened("set:a", false)}, []string{"before", "set:a"}, nil},
		{[]qube.Event{happened("set:b", false)}, []string{"before", "last", "set:b"}, nil},
		{[]qube.Event{happened("set", false)}, []string{"set"}, nil},
		{[]qube.Event{happened("pre", true), happened("veto", true)}, []string{"pre", "veto"}, errRefused},
		{[]qube.Event{happened("set:a", false), happened("veto", false)}, nil, errRefused},
	} {
		g := inv.Begin()
		err := g.Try(func(tx qube.Tx) error {
			for _, e := range c.fire {
				if err := tx.Fire(e); err != nil {
					return err
				}
			}
			return nil
		})
		require.ErrorIs(t, err, c.err)
		var got []string
		for _, e := range told(g.Events()) {
			got = append(got, e.event.Name)
		}
		assert.Equal(t, c.want, got)
		require.NoError(t, g.Commit())
	}
	g := inv.Begin()
	assert.ErrorContains(t, g.Try(func(tx qube.Tx) error { return tx.Fire(happened("circle", false)) }), "without end")
}

// TestDisposablesAreNumbered: each gets a number that no other has, nor had lately (spec: model.md 3).
func TestDisposablesAreNumbered(t *testing.T) {
	draws := []int{}
	inv, _, err := Open(&memory{}, func() (*Snapshot, error) { return parsed(t, modelFile), nil }, Options{Random: func(below int) int {
		require.Equal(t, 10000, below)
		n := draws[0]
		if len(draws) > 1 {
			draws = draws[1:]
		}
		return n
	}})
	require.NoError(t, err)
	red := must(qube.ParseLabelName("red"))
	create := func(class qube.Class, name string, numbers ...int) (made qube.Qube, err error) {
		draws = numbers
		n := qube.NewQube{Class: class, Label: red}
		if name != "" {
			n.Name = must(qube.ParseName(name))
		}
		g := inv.Begin()
		err = errors.Join(g.Try(func(tx qube.Tx) (err error) {
			made, err = tx.AddQube(n)
			return err
		}), g.Commit())
		return made, err
	}
	dispid := func(q qube.Qube) string {
		v, _ := q.Property(propDispid)
		return q.Shown() + " " + v.Shown()
	}
	a, err := create(qube.DispVM, "", 7)
	require.NoError(t, err)
	assert.Equal(t, "disp7 7", dispid(a))
	_, err = create(qube.AppVM, "disp8")
	require.NoError(t, err)
	b, err := create(qube.DispVM, "", 7, 8, 9)
	require.NoError(t, err)
	assert.Equal(t, "disp9 9", dispid(b))
	c, err := create(qube.DispVM, "mine", 9, 8)
	require.NoError(t, err)
	assert.Equal(t, "mine 8", dispid(c), "only a name that is made of the number has to be free")
	_, err = create(qube.DispVM, "", 7)
	assert.Equal(t, exception.QubesException, typeOf(t, err), "a hundred draws, and all taken")

	g := inv.Begin()
	require.NoError(t, g.Try(func(tx qube.Tx) error { return tx.RemoveQube(a.ID()) }))
	require.NoError(t, g.Commit())
	_, err = create(qube.DispVM, "", 7)
	assert.Equal(t, exception.QubesException, typeOf(t, err), "not so soon")
	now := inv.now().Add(rest + 1)
	inv.now = func() time.Time { return now }
	again, err := create(qube.DispVM, "", 7)
	require.NoError(t, err)
	assert.Equal(t, "disp7 7", dispid(again))
}

// TestRestartsForgetNothing: a subscriber that was told nothing yet can go on over as many restarts as there are.
func TestRestartsForgetNothing(t *testing.T) {
	store := &memory{}
	inv := opened(t, store, parsed(t, modelFile))
	from := inv.View().Revision()
	for n := range 3 {
		inv = opened(t, store, nil)
		g := inv.Begin()
		require.NoError(t, g.Try(func(tx qube.Tx) error { return tx.Fire(happened("a", false)) }))
		require.NoError(t, g.Commit())
		batches, err := opened(t, store, nil).Since(from)
		require.NoError(t, err)
		assert.Len(t, batches, n+1)
	}
}
