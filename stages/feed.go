package stages

import (
	"time"

	"sallyport/messages/qube"
)

// Feed is where a Stream says what its caller shall be sent: once, before it returns. A Stream calls one of its methods.
// Before anything else the caller is sent connection-established (spec: events.md 1). A caller that falls behind by more
// than its backlog is cut off with an exception; nobody waits for it.
type Feed interface {
	// Follow sends the events of changes.
	Follow(Follow)
	// Every sends what tick gives, at once and again each time that the span that it gave with it has passed. An error ends
	// the stream with its exception, after the events. tick is called by one goroutine at a time, with the newest view.
	Every(tick func(qube.View) (events []qube.Event, next time.Duration, err error))
}

// Follow says which events of changes a caller is sent.
type Follow struct {
	// Numbered adds a key revision to each event that has one, and to connection-established, from where one can go on.
	Numbered bool
	// After, with Numbered, is the revision of the last event that the caller has seen: what has happened since is sent
	// first. Nil begins with what happens from now on.
	After *qube.Revision
	// Keeps reports whether the caller is sent e. It is called by one goroutine at a time, with the view that e is judged on.
	Keeps func(v qube.View, e qube.Event) bool
}
