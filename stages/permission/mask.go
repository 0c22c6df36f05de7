package permission

import (
	"iter"

	"sallyport/messages/qube"
)

// Sight is what a source may see. The zero Sight shows no qube, and only the labels that come with every system.
type Sight struct {
	// Qube reports whether policy lets the source admin.vm.List a qube. It must give the same answer for the same qube for as
	// long as the view is used, and may be called by many goroutines; it is asked about qube.Nobody, too. Nil: it never does.
	Qube func(qube.Qube) bool
	// Dest is the qube that the source was just permitted to act on, which it sees with those that it refers to. Nil: none.
	Dest qube.Qube
	// Labels and Pools report whether those are shown that do not come with every system: to whom policy gives
	// admin.label.List and admin.pool.List. Kernels is about those that are installed: shown to whom it gives
	// admin.pool.volume.List of their pool. They are asked only when it matters, since most calls look at none of these;
	// what holds for Qube holds for them.
	Labels, Pools, Kernels func() bool
}

// Masked is v with only what s shows: everything else is absent, however one looks for it. What a qube has is the same as
// ever, and so is what follows from it: see qube.View.
func Masked(v qube.View, s Sight) qube.View { return masked{v, s} }

// masked hides what is looked up by name, UUID or number, and what is listed. What it does not override hides nothing, on
// purpose:
//
//	Template, Netvm, Follow  follow what a qube has: nobody is found by them whom the caller named
//	Referrers                tells that something is in use; whoever asks says no names (see Necessities)
//	Global, Usage            are asked about the system, or about a qube that one has already
//
// It is no qube.Memo: what is made of it is for one caller alone.
type masked struct {
	qube.View
	sight Sight
}

func (m masked) permitted(q qube.Qube) bool { return m.sight.Qube != nil && m.sight.Qube(q) }
func (m masked) near(q qube.Qube) bool      { return m.sight.Dest != nil && near(m.View, m.sight.Dest, q) }
func (m masked) sees(q qube.Qube) bool      { return m.permitted(q) || m.near(q) }

// only asks all of it, also where there is no q: one path, one timing.
func (m masked) only(q qube.Qube, ok bool) (qube.Qube, bool) {
	if !ok {
		q = qube.Nobody
	}
	permitted, near := m.permitted(q), m.near(q)
	if !ok || !permitted && !near {
		return nil, false
	}
	return q, true
}

func (m masked) Qube(n qube.Name) (qube.Qube, bool)      { return m.only(m.View.Qube(n)) }
func (m masked) QubeByID(id qube.UUID) (qube.Qube, bool) { return m.only(m.View.QubeByID(id)) }
func (m masked) Qubes() iter.Seq[qube.Qube]              { return filtered(m.View.Qubes(), m.sees) }

func (m masked) label(l qube.Label, ok bool) (qube.Label, bool) {
	if sees := m.seesLabel(l); !ok || !sees { // always: one path, one timing
		return qube.Label{}, false
	}
	return l, true
}

func (m masked) seesLabel(l qube.Label) bool {
	all := asked(m.sight.Labels)
	return all || l.Index <= qube.BuiltinLabels
}

func asked(sees func() bool) bool { return sees != nil && sees() }

func (m masked) Label(n qube.LabelName) (qube.Label, bool) { return m.label(m.View.Label(n)) }
func (m masked) LabelByIndex(i int) (qube.Label, bool)     { return m.label(m.View.LabelByIndex(i)) }
func (m masked) Labels() iter.Seq[qube.Label]              { return filtered(m.View.Labels(), m.seesLabel) }

func (m masked) Pool(name string) (qube.Pool, bool) {
	p, ok := m.View.Pool(name)
	if !asked(m.sight.Pools) {
		return qube.Pool{}, false
	}
	return p, ok
}

// Host is the machine without its kernels, which are looked up there. Its pools are what the system's defaults follow from.
func (m masked) Host() qube.Host {
	host := m.View.Host()
	if !asked(m.sight.Kernels) {
		host.Kernels = nil
	}
	return host
}

func filtered[T any](all iter.Seq[T], keeps func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for item := range all {
			if keeps(item) && !yield(item) {
				return
			}
		}
	}
}

// near reports whether q is dest, or one that dest refers to, itself or by default: what whoever was permitted to act on
// dest sees for the sake of that (design: 7).
func near(v qube.View, dest, q qube.Qube) bool {
	netvm, has := v.Netvm(dest)
	found := q.ID() == dest.ID() || has && netvm.ID() == q.ID()
	for _, p := range qube.References {
		to, _ := dest.Property(p)
		found = found || to != (qube.PropertyValue{}) && to.Shown() == q.Shown()
	}
	return found
}
