package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/qube"
)

// people is who is there, as a view shows it to whoever judges.
func people(v qube.View) string {
	var all []string
	for q := range v.Qubes() {
		byName, named := v.Qube(q.Name())
		byID, known := v.QubeByID(q.ID())
		line := fmt.Sprintf("%s %s %s %v %v:", q.Shown(), q.ID().Shown(), q.Class(), named && byName == q, known && byID == q)
		for t := range q.Tags() {
			line += " " + t.Shown()
		}
		for _, p := range qube.References {
			if to, set := q.Property(p); set {
				line += fmt.Sprintf(" %s=%q", p.Shown(), to.Shown())
			}
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

// TestThePastIsJudgedAsItWas: whoever goes on after a revision is judged on who was there at each event, with the tags and
// references of then, as he would have been had he not been away; also by a daemon that was restarted in between.
func TestThePastIsJudgedAsItWas(t *testing.T) {
	type moment struct {
		revision      qube.Revision
		before, after string
	}
	names := []qube.Name{must(qube.ParseName("a")), must(qube.ParseName("b")), must(qube.ParseName("work"))}
	tags := []qube.Tag{must(qube.ParseTag("x")), must(qube.ParseTag("y"))}
	rapid.Check(t, func(t *rapid.T) {
		store := &memory{}
		inv := opened(t, store, parsed(t, modelFile))
		first, all := inv.View().Revision(), []moment(nil)
		// some changes one qube in one way, and tells of it or not.
		some := func(t *rapid.T) func(qube.Tx) error {
			name, tag := rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(tags).Draw(t, "tag")
			to := rapid.SampledFrom([]string{"", "dom0", "work"}).Draw(t, "to")
			how, tells := rapid.IntRange(0, 6).Draw(t, "how"), rapid.IntRange(0, 3).Draw(t, "tells") > 0
			return func(tx qube.Tx) error {
				var err error
				q, there := tx.Qube(name)
				switch {
				case !there:
					_, err = tx.AddQube(qube.NewQube{Name: name, Class: qube.AppVM, Label: must(qube.ParseLabelName("red"))})
				case how == 0:
					err = tx.RemoveQube(q.ID())
				case how == 1 && q.HasTag(tag):
					err = tx.RemoveTag(q.ID(), tag)
				case how == 2:
					err = tx.SetProperty(q.ID(), qube.References[0], must(qube.ParsePropertyValue(to)))
				case how == 3:
					err = tx.ResetProperty(q.ID(), qube.References[0])
				case how == 4:
					err = tx.SetNotes(q.ID(), must(qube.ParseNotes(to)))
				default:
					err = tx.AddTag(q.ID(), tag)
				}
				if err == nil && tells {
					err = tx.Fire(happened("it", false))
				}
				return err
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"group": func(t *rapid.T) {
				g := inv.Begin()
				for range rapid.IntRange(1, 3).Draw(t, "changes") {
					parts := rapid.IntRange(1, 3).Draw(t, "parts")
					require.NoError(t, g.Try(func(tx qube.Tx) error {
						for range parts {
							if err := some(t)(tx); err != nil {
								return err
							}
						}
						return nil
					}))
				}
				for _, b := range g.Events() {
					all = append(all, moment{b.Revision, people(b.Before), people(b.After)})
				}
				require.NoError(t, g.Commit())
			},
			"restart": func(*rapid.T) { inv = opened(t, store, nil) },
			"": func(t *rapid.T) {
				batches, err := inv.Since(first)
				require.NoError(t, err)
				var past []moment
				for _, b := range batches {
					if len(b.Events) > 0 {
						past = append(past, moment{b.Revision, people(b.Before), people(b.After)})
					}
				}
				require.Equal(t, all, past)
			},
		})
	})
}

// TestThePastIsBounded: what is large is not kept alive by the past, and what is kept counts.
func TestThePastIsBounded(t *testing.T) {
	inv := opened(t, &memory{}, parsed(t, modelFile))
	id := named(t, inv.View(), "work").ID()
	tag := must(qube.ParseTag("x"))
	for n := range 2 * historyBytes / viewSize {
		g := inv.Begin()
		require.NoError(t, g.Try(func(tx qube.Tx) error {
			if n%2 == 0 {
				return tx.AddTag(id, tag)
			}
			return tx.RemoveTag(id, tag)
		}))
		require.NoError(t, g.Commit())
	}
	require.Less(t, len(inv.history.kept), historyBytes/viewSize)
	for _, k := range inv.history.kept {
		require.Nil(t, k.batch.After)
		for r := range k.view.records() {
			require.Empty(t, r.features.all())
			require.Empty(t, r.notes)
		}
	}
}
