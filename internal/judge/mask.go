package judge

import (
	"sync"

	"sallyport/messages/qube"
	"sallyport/stages"
)

// mask is what one caller may see of one view. It decides when it is asked, since most calls look at nobody but their
// destination, and remembers, so that it says the same for as long as the view is used.
type mask struct {
	rules  *rules // those of the moment, whatever is loaded meanwhile
	view   qube.View
	source qube.Qube

	mu      sync.Mutex
	decided map[qube.UUID]bool
}

// listing is the method that a source must be allowed to call on a qube to see it.
const listing = "admin.vm.List"

func (m *mask) sees(q qube.Qube) bool {
	id := q.ID()
	m.mu.Lock()
	defer m.mu.Unlock()
	sees, known := m.decided[id]
	if !known {
		sees = m.rules.allow(m.view, stages.Subject{Service: listing, Source: m.source, Dest: q})
		if m.decided == nil {
			m.decided = map[qube.UUID]bool{}
		}
		m.decided[id] = sees
	}
	return sees
}

// lists reports whether policy lets the source list what belongs to the system.
func (m *mask) lists(service, argument string) bool {
	dom0, ok := m.view.Qube(qube.Dom0)
	return ok && m.rules.allow(m.view, stages.Subject{Service: service, Source: m.source, Dest: dom0, Arg: argument})
}
