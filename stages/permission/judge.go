// Package permission has what decides at the second door: judges, which are policies, and handlers, which come on top of
// policy for every source. It sees sanitized values only, and keeps no state of its own.
package permission

import (
	"sallyport/messages/qube"
	"sallyport/stages"
)

// OnlyDom0 denies every source but dom0, which is never asked about: the policy of a daemon that has none.
type OnlyDom0 struct{}

// Generation never changes.
func (OnlyDom0) Generation() uint64 { return 0 }

// Allows nothing.
func (OnlyDom0) Allows(qube.View, stages.Subject) bool { return false }

// Mask shows the destination and what it refers to, since no policy says what else a source may see. That matters to peers
// that have decided for themselves; whoever is denied sees nothing anyway.
func (OnlyDom0) Mask(v qube.View, _, dest qube.Qube) qube.View {
	return Masked(v, Sight{Dest: dest})
}

// Everyone allows every source everything. It is for tests, and for daemons behind a peer that decides.
type Everyone struct{}

// Generation never changes.
func (Everyone) Generation() uint64 { return 0 }

// Allows everything.
func (Everyone) Allows(qube.View, stages.Subject) bool { return true }

// Mask hides nothing.
func (Everyone) Mask(v qube.View, _, _ qube.Qube) qube.View { return v }
