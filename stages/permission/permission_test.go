package permission_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
	"sallyport/stages/permission"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	dom0 = qube.Plain{IsNamed: qube.Dom0, HasID: qube.Dom0UUID, IsA: qube.AdminVM}
	work = qube.Plain{IsNamed: must(qube.ParseName("work")), HasID: must(qube.ParseUUID("11111111-2222-4333-8444-555555555555")), IsA: qube.AppVM}
	away = qube.Plain{IsNamed: must(qube.ParseName("away")), HasID: must(qube.ParseUUID("21111111-2222-4333-8444-555555555555")), IsA: qube.RemoteVM}
)

// TestAdminExtension: what it refuses, and that it refuses nothing else (spec: extensions.md 2; model.md 11).
func TestAdminExtension(t *testing.T) {
	tag := func(s string) any { return must(qube.ParseTag(s)) }
	feature := func(s string) any { return must(qube.ParseFeatureName(s)) }
	type rule struct {
		methods []string
		arg     any
		dom0    bool // may it?
		others  bool
	}
	tags, features := []string{"admin.vm.tag.Set", "admin.vm.tag.Remove"}, []string{"admin.vm.feature.Set", "admin.vm.feature.Remove", "dest.feat.Set"}
	for _, r := range []rule{
		{tags, tag("office"), true, true},
		{tags, tag("created-by"), true, true},
		{tags, tag("xcreated-by-work"), true, true},
		{tags, tag("created-by-work"), true, false},
		{tags, tag("created-by-"), true, false},
		{tags, tag("disp-created-by-work"), true, false},
		{tags, tag("disp-created-by-"), true, false},
		{[]string{"admin.vm.tag.Get", "admin.vm.tag.List"}, tag("created-by-work"), true, true},
		{features, feature("deferred-netvm-original"), false, false},
		{features, feature("preload-dispvm"), false, false},
		{features, feature("preload-dispvm-completed"), false, false},
		{features, feature("preload-dispvm-in-progress"), false, false},
		{features, feature("preload-dispvm-max"), true, true},
		{features, feature("Preload-dispvm"), true, true},
		{[]string{"admin.vm.feature.Get", "admin.vm.feature.List"}, feature("preload-dispvm"), true, true},
	} {
		for _, method := range r.methods {
			for source, may := range map[qube.Qube]bool{dom0: r.dom0, work: r.others, away: r.others} {
				var refused error
				for _, h := range permission.AdminExtension {
					if slices.Contains(h.Methods, method) {
						keep, err := h.Check(stages.Facts{Method: method, View: qube.Only(work, away), Source: source, Dest: work, Arg: r.arg})
						assert.Nil(t, keep, "no list is filtered")
						if err != nil {
							refused = err
						}
					}
				}
				if may {
					assert.NoError(t, refused, "%s %v from %s", method, r.arg, source.Shown())
				} else {
					assert.Same(t, exception.Denied, refused, "%s %v from %s: refusals are one constant", method, r.arg, source.Shown())
				}
			}
		}
	}
}

// TestJudges: what each allows and shows, behind a gate.
func TestJudges(t *testing.T) {
	var seen []string
	look := stages.Declare(stages.Method[struct{}, struct{}]{
		Name: "t.Look", Help: "looks", Dest: stages.AnyQube, Access: stages.Read, Arg: stages.None, Payload: stages.None,
		Read: func(v qube.View, _ stages.Grant[struct{}, struct{}]) (messages.Reply, error) {
			for q := range v.Qubes() {
				seen = append(seen, q.Shown())
			}
			return messages.Empty, nil
		},
	})
	seal := func(s string) untrusted.Bytes { return untrusted.Seal([]byte(s)) }
	view := qube.Only(work, away)
	all := []string{"dom0", "away", "work"}
	for _, c := range []struct {
		judge  stages.Judge
		source string
		peer   messages.Peer
		sees   []string // nil if it is denied
	}{
		{permission.OnlyDom0{}, "dom0", messages.Peer{Any: true}, all},
		{permission.OnlyDom0{}, "work", messages.Peer{Any: true}, nil},
		{permission.OnlyDom0{}, "away", messages.Peer{Any: true}, nil},
		{permission.OnlyDom0{}, "work", messages.Peer{Any: true, Decided: true}, []string{"work"}}, // allowed by qrexec
		{permission.Everyone{}, "dom0", messages.Peer{Any: true}, all},
		{permission.Everyone{}, "work", messages.Peer{Any: true}, all},
		{permission.Everyone{}, "away", messages.Peer{Any: true}, all},
		{permission.Everyone{}, "work", messages.Peer{}, nil}, // not this peer's to claim
	} {
		r := messages.Request{Call: seal("t.Look"), Source: seal(c.source), DestType: seal("name"), Dest: seal("work")}
		sanitized, err := stages.NewCatalogue(look).Sanitize(stages.Admin, r)
		require.NoError(t, err)
		seen = nil
		a, err := stages.NewGate(c.judge).Judge(sanitized, &c.peer, view)
		if c.sees == nil {
			assert.ErrorIs(t, err, exception.Denied, "%T %s", c.judge, c.source)
			continue
		}
		require.NoError(t, err, "%T %s", c.judge, c.source)
		_, err = a.Read()
		require.NoError(t, err)
		assert.Equal(t, c.sees, seen, "%T %s", c.judge, c.source)
	}
}

// net is a view with references: work is based on base and gets its network from wall, base is based on deep, and nobody
// refers to aside. There is a label and a pool of somebody's own.
type net struct{ qube.View }

// referring is a qube that refers to others.
type referring struct {
	qube.Plain
	to map[string]qube.Qube // by property
}

func (r referring) Property(p qube.PropertyName) (qube.PropertyValue, bool) {
	q, set := r.to[p.Shown()]
	if !set {
		return qube.PropertyValue{}, false
	}
	return must(qube.ParsePropertyValue(q.Shown())), true
}

var (
	deep  = plain("deep", "5")
	wall  = plain("wall", "4")
	guard = plain("guard", "6")
	aside = plain("aside", "7")
	base  = &referring{plain("base", "3").(qube.Plain), map[string]qube.Qube{"template": deep}}
	busy  = &referring{plain("busy", "8").(qube.Plain), map[string]qube.Qube{"template": base, "guivm": guard}}

	red  = qube.Label{Name: must(qube.ParseLabelName("red")), Index: 1}
	teal = qube.Label{Name: must(qube.ParseLabelName("teal")), Index: 9}
	pool = qube.Pool{Name: "pool"}
)

func (n net) Template(q qube.Qube) (qube.Qube, bool) {
	value, _ := q.Property(qube.References[0])
	return n.Follow(value)
}
func (n net) Netvm(q qube.Qube) (qube.Qube, bool)          { return wall, q == busy }
func (n net) Label(name qube.LabelName) (qube.Label, bool) { return teal, name == teal.Name }
func (n net) LabelByIndex(i int) (qube.Label, bool)        { return teal, i == teal.Index }
func (n net) Labels() iter.Seq[qube.Label]                 { return slices.Values([]qube.Label{red, teal}) }
func (n net) Pool(name string) (qube.Pool, bool)           { return pool, name == pool.Name }
func (n net) Host() qube.Host                              { return qube.Host{Pools: []qube.Pool{pool}, Kernels: []string{"6.6"}} }
func (n net) Memo(string, func() any) any                  { return "everybody's" }

func plain(name, digit string) qube.Qube {
	return qube.Plain{IsNamed: must(qube.ParseName(name)), HasID: must(qube.ParseUUID(digit + "1111111-2222-4333-8444-555555555555")), IsA: qube.TemplateVM}
}

// TestWhatIsHiddenIsNotFound: the qube that a call is about is there, and what it refers to itself; everybody else is
// absent, in whatever way one looks (design: 7). What follows from a qube that one has is what it is.
func TestWhatIsHiddenIsNotFound(t *testing.T) {
	v := net{qube.Only(away, base, wall, deep, guard, aside, busy)}
	for _, c := range []struct {
		dest qube.Qube
		sees []qube.Qube
	}{
		{busy, []qube.Qube{base, busy, guard, wall}},
		{base, []qube.Qube{base, deep}},
		{away, []qube.Qube{away}},
		{dom0, []qube.Qube{dom0}},
		{qube.Nobody, nil},
	} {
		m := permission.OnlyDom0{}.Mask(v, away, c.dest)
		assert.Equal(t, c.sees, slices.Collect(m.Qubes()))
		for range m.Qubes() {
			break // must not panic: an iterator stops when it is told to
		}
		for q := range v.Qubes() {
			for _, ref := range []qube.Ref{qube.ByName(q.Name()), qube.ByID(q.ID())} {
				_, there := ref.In(m)
				assert.Equal(t, slices.Contains(c.sees, q), there, "%s for who acts on %s", ref.Shown(), c.dest.Shown())
			}
			for _, follow := range []func(qube.View, qube.Qube) (qube.Qube, bool){qube.View.Template, qube.View.Netvm} {
				want, has := follow(v, q)
				got, hasToo := follow(m, q)
				assert.Equal(t, has, hasToo, "%s", q.Shown())
				assert.Equal(t, want, got, "%s is the same for all who may ask", q.Shown())
			}
		}
		_, shared := m.(qube.Memo)
		assert.False(t, shared, "what is made of it is for one caller alone")
	}
	assert.Equal(t, v, permission.Everyone{}.Mask(v, away, work))
}

// TestAbsentQubesAreAskedAbout like any other, so that looking for one costs the same.
func TestAbsentQubesAreAskedAbout(t *testing.T) {
	v, asked := net{qube.Only(away, aside)}, 0
	m := permission.Masked(v, permission.Sight{Dest: away, Qube: func(q qube.Qube) bool { asked++; return q == qube.Nobody }})
	for i, ref := range []qube.Ref{qube.ByName(aside.Name()), qube.ByName(deep.Name()), qube.ByID(aside.ID()), qube.ByID(deep.ID()), qube.ByID(away.ID())} {
		q, there := ref.In(m)
		assert.Equal(t, ref == qube.ByID(away.ID()), there)
		assert.Equal(t, there, q == away)
		assert.Equal(t, i+1, asked)
	}
}

// TestWhatBelongsToTheSystemIsHiddenAlike, but for what comes with every one.
func TestWhatBelongsToTheSystemIsHiddenAlike(t *testing.T) {
	v := net{qube.Only(away)}
	for _, sees := range []bool{false, true} {
		is := func() bool { return sees }
		m := permission.Masked(v, permission.Sight{Labels: is, Pools: is, Kernels: is})
		l, named := m.Label(teal.Name)
		byIndex, numbered := m.LabelByIndex(teal.Index)
		p, there := m.Pool(pool.Name)
		assert.Equal(t, []bool{sees, sees, sees}, []bool{named, numbered, there})
		assert.Equal(t, l, byIndex)
		if sees {
			assert.Equal(t, []any{teal, pool}, []any{l, p})
			assert.Equal(t, []qube.Label{red, teal}, slices.Collect(m.Labels()))
		} else {
			assert.Equal(t, []any{qube.Label{}, qube.Pool{}}, []any{l, p}, "nothing of them")
			assert.Equal(t, []qube.Label{red}, slices.Collect(m.Labels()))
		}
		want := v.Host()
		if !sees {
			want.Kernels = nil
		}
		assert.Equal(t, want, m.Host())
		assert.NotEmpty(t, v.Host().Kernels, "of those that nobody hides")
	}
	seen := permission.Masked(v, permission.Sight{Labels: func() bool { return true }})
	_, there := seen.Pool(pool.Name)
	assert.False(t, there)
	assert.Empty(t, seen.Host().Kernels)
	assert.Empty(t, slices.Collect(permission.Masked(v, permission.Sight{}).Qubes()), "the zero Sight shows nobody")
}

// TestJudgesNeverChangeTheirMind, so that no call is judged twice for their sake.
func TestJudgesNeverChangeTheirMind(t *testing.T) {
	assert.Equal(t, permission.OnlyDom0{}.Generation(), permission.OnlyDom0{}.Generation())
	assert.Equal(t, permission.Everyone{}.Generation(), permission.Everyone{}.Generation())
}
