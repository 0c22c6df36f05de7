// Package reactions is what follows from events, whoever caused them: the built-in extensions of the reference that matter
// without a hypervisor (spec: extensions.md 4, 5). Start here: All is the contents page.
package reactions

import (
	"slices"

	"sallyport/messages/qube"
)

// All are the reactions of a system, in the order in which they follow.
func All() []qube.Reaction {
	return slices.Concat(
		createdBy, // domain-tag-add:created-by-*: the creator's tag-created-vm-with
		gui,       // guivm and its tags; the creator's set-created-guivm
		audio,     // audiovm and its tags
		relay,     // relayvm and its tags
		netvm,     // the netvm of a paused qube
		bootMode,  // the features boot-mode.*
		preloaded, // domain-pre-delete: the lists of preloaded disposables
	)
}

// subject is the qube that e is an event of, as it is now; false for the system's events.
func subject(v qube.View, e qube.Event) (qube.Qube, bool) { return v.Qube(e.Subject) }

// known is for nouns of ours.
func known[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
