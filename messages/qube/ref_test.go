package qube_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"sallyport/messages/qube"
)

// TestRefs: a UUID means one qube for as long as it exists; a name means whoever bears it (design: 6).
func TestRefs(t *testing.T) {
	work := qube.Plain{IsNamed: name(t, "work"), HasID: id(t, "1111"), IsA: qube.AppVM}
	renamed := qube.Plain{IsNamed: name(t, "work2"), HasID: work.HasID, IsA: qube.AppVM}
	recreated := qube.Plain{IsNamed: work.IsNamed, HasID: id(t, "2222"), IsA: qube.AppVM}
	for title, c := range map[string]struct {
		ref  qube.Ref
		view qube.View
		want qube.Qube // Nobody if it is not found
	}{
		"by name":                 {qube.ByName(work.IsNamed), qube.Only(work), work},
		"by id":                   {qube.ByID(work.HasID), qube.Only(work), work},
		"by name, renamed":        {qube.ByName(work.IsNamed), qube.Only(renamed), qube.Nobody},
		"by id, renamed":          {qube.ByID(work.HasID), qube.Only(renamed), renamed},
		"by name, made again":     {qube.ByName(work.IsNamed), qube.Only(recreated), recreated},
		"by id, made again":       {qube.ByID(work.HasID), qube.Only(recreated), qube.Nobody},
		"zero":                    {qube.Ref{}, qube.Only(work), qube.Nobody},
		"dom0 is always there":    {qube.ByName(qube.Dom0), qube.Only(), qube.Plain{IsNamed: qube.Dom0, HasID: qube.Dom0UUID, IsA: qube.AdminVM}},
		"dom0 has the zero id":    {qube.ByID(qube.Dom0UUID), qube.Only(), qube.Plain{IsNamed: qube.Dom0, HasID: qube.Dom0UUID, IsA: qube.AdminVM}},
		"a qube nobody called so": {qube.ByName(name(t, "vault")), qube.Only(work), qube.Nobody},
	} {
		got, ok := c.ref.In(c.view)
		assert.Equal(t, c.want, got, title)
		assert.Equal(t, c.want != qube.Nobody, ok, title)
	}
}

func TestRefsAreShownAsOnTheWire(t *testing.T) {
	for shown, ref := range map[string]qube.Ref{
		"work": qube.ByName(name(t, "work")),
		"uuid:00000000-0000-0000-0000-000000000000": qube.ByID(qube.Dom0UUID),
		"": {},
	} {
		assert.Equal(t, shown, ref.Shown())
	}
}

// TestDom0NeedsNoInventory: its name and its UUID are known to all (spec: model.md 1).
func TestDom0NeedsNoInventory(t *testing.T) {
	for ref, want := range map[qube.Ref]bool{
		qube.ByName(qube.Dom0):         true,
		qube.ByID(qube.Dom0UUID):       true,
		qube.ByName(name(t, "dom0-1")): false,
		qube.ByID(id(t, "1111")):       false,
		{}:                             false,
	} {
		assert.Equal(t, want, ref.IsAdminVM(), ref.Shown())
	}
}

func TestOnlyIsWhatItWasGiven(t *testing.T) {
	work := qube.Plain{IsNamed: name(t, "work"), HasID: id(t, "1111"), IsA: qube.AppVM}
	audio := qube.Plain{IsNamed: name(t, "audio"), HasID: id(t, "2222"), IsA: qube.AppVM}
	v := qube.Only(work, audio)
	var names []string
	for q := range v.Qubes() {
		names = append(names, q.Shown())
	}
	assert.Equal(t, []string{"dom0", "audio", "work"}, names, "in the order of every View")
	for range v.Qubes() {
		break // must not panic: an iterator stops when it is told to
	}
	assert.Zero(t, v.Revision())
	_, ok := v.Label(qube.LabelName{})
	assert.False(t, ok)
	_, ok = v.LabelByIndex(1)
	assert.False(t, ok)
	assert.Empty(t, slices.Collect(v.Labels()))
}

// TestNobodyHasNothing: what is asked of a qube that is not there has an answer, and that tells nothing.
func TestNobodyHasNothing(t *testing.T) {
	q := qube.Nobody
	assert.Equal(t, qube.Halted, q.State())
	assert.Empty(t, q.Shown()+q.Name().Shown()+q.ID().Shown()+q.Class().Shown()+q.Label().Shown()+q.Notes().Shown())
	assert.Zero(t, qube.Only().Usage(q))
	_, ok := q.Property(qube.PropertyName{})
	assert.False(t, ok)
	_, ok = q.Feature(qube.FeatureName{})
	assert.False(t, ok)
	for range q.Features() {
		t.Error("a feature of nobody")
	}
	assert.False(t, q.HasTag(qube.Tag{}))
	assert.Empty(t, slices.Collect(q.Tags()))
}

func TestAFixedBookNeverChanges(t *testing.T) {
	v := qube.Only()
	book := qube.Fixed(v)
	assert.Equal(t, v, book.View())
	group := book.Begin()
	assert.Equal(t, qube.ErrFixed, group.Try(func(qube.Tx) error { t.Error("there is no transaction"); return nil }))
	assert.NoError(t, group.Commit())
}
