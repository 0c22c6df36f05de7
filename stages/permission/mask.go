package permission

import (
	"iter"

	"sallyport/messages/qube"
)

// Masked is v with only the qubes for which sees reports true: the others are absent, in every way to ask. sees must give
// the same answer for the same qube for as long as the view is used, and may be called by many goroutines.
func Masked(v qube.View, sees func(qube.Qube) bool) qube.View { return masked{v, sees} }

type masked struct {
	qube.View
	sees func(qube.Qube) bool
}

func (m masked) only(q qube.Qube, ok bool) (qube.Qube, bool) {
	if !ok || !m.sees(q) {
		return nil, false
	}
	return q, true
}

func (m masked) Qube(n qube.Name) (qube.Qube, bool)      { return m.only(m.View.Qube(n)) }
func (m masked) QubeByID(id qube.UUID) (qube.Qube, bool) { return m.only(m.View.QubeByID(id)) }
func (m masked) Template(q qube.Qube) (qube.Qube, bool)  { return m.only(m.View.Template(q)) }
func (m masked) Netvm(q qube.Qube) (qube.Qube, bool)     { return m.only(m.View.Netvm(q)) }
func (m masked) Qubes() iter.Seq[qube.Qube] {
	return func(yield func(qube.Qube) bool) {
		for q := range m.View.Qubes() {
			if m.sees(q) && !yield(q) {
				return
			}
		}
	}
}

// neighbourhood is dest, and what it refers to: its template and its netvm (design: 7).
func neighbourhood(v qube.View, dest qube.Qube) func(qube.Qube) bool {
	seen := map[qube.UUID]bool{dest.ID(): true}
	for _, next := range []func(qube.Qube) (qube.Qube, bool){v.Template, v.Netvm} {
		if q, ok := next(dest); ok {
			seen[q.ID()] = true
		}
	}
	return func(q qube.Qube) bool { return seen[q.ID()] }
}
