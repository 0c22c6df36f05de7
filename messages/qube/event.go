package qube

import "strings"

// Event is something that happened, or is about to, as subscribers are told of it (spec: events.md 4). It never changes.
type Event struct {
	Subject Name   // the qube that it is an event of; the zero Name is the system
	Name    string // such as property-set:memory
	Args    []EventArg
	// Other is another qube that the event is about, beside the one that it is an event of: who may not know of both is not
	// told (SAFER: it would tell who is there). Whom a qube refers to itself is no other: that may be asked of it.
	Other Name
	// Pre marks an announcement: subscribers are told even if what it announces fails (spec: events.md 1).
	Pre bool
}

// EventArg is one of an event's values, in text as on the wire: True, False, None, decimal, or a name. A key is not empty.
type EventArg struct{ Key, Value string }

// Shown is the event's name.
func (e Event) Shown() string { return e.Name }

// Arg is the value of a key; empty if there is none.
func (e Event) Arg(key string) string {
	for _, a := range e.Args {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// Batch is what subscribers are told of one change.
type Batch struct {
	// Revision is that of the last event. The events of one change have consecutive revisions, each its own, so that
	// whoever read the first of them can go on with the second. It is zero for a change that was refused.
	Revision Revision
	Events   []Event
	// Before and After are the views on which a subscriber's right to an event is judged: one about a removal on the view
	// before it, any other on the view after it (design: 6).
	Before, After View
}

// RevisionOf is the revision of the i-th event; zero if the change was refused.
func (b Batch) RevisionOf(i int) Revision {
	if b.Revision == 0 {
		return 0
	}
	return b.Revision - Revision(len(b.Events)-1-i)
}

// ViewOf is the view on which a subscriber's right to the i-th event is judged: see Batch. It is nil for an event of a
// qube whose removal was told before: nobody is sent that (spec: events.md 1).
func (b Batch) ViewOf(i int) View {
	switch b.Events[i].Name {
	case "domain-pre-delete", "domain-delete":
		return b.Before
	}
	if subject := b.Events[i].Subject; subject != (Name{}) {
		for _, earlier := range b.Events[:i] {
			if earlier.Name == "domain-delete" && earlier.Arg("vm") == subject.Shown() {
				return nil
			}
		}
	}
	return b.After
}

// Reaction is what follows from an event, whoever caused it. React runs inside the change that fired the event, on the
// transaction without a mask; an error makes the change fail. It never blocks.
type Reaction struct {
	// On is the name of the events, or, if it ends in '*', what their names begin with.
	On    string
	React func(Tx, Event) error
}

// Matches reports whether r is a reaction to events of that name.
func (r Reaction) Matches(event string) bool {
	if prefix, ok := strings.CutSuffix(r.On, "*"); ok {
		return strings.HasPrefix(event, prefix)
	}
	return r.On == event
}
