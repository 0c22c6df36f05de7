package actors

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/internal/telemetry"
)

// health is what does not work, by who says so. Safe for concurrent use.
type health struct {
	log     telemetry.Log
	mu      sync.Mutex
	reasons []ailment
}

type ailment struct{ who, reason string }

func (h *health) failing(who, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.reasons, func(a ailment) bool { return a.who == who }) {
		h.reasons = append(h.reasons, ailment{who, reason})
		h.log.Health(false, reason)
	}
}

func (h *health) recovered(who string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.reasons)
	h.reasons = slices.DeleteFunc(h.reasons, func(a ailment) bool { return a.who == who })
	if n > 0 && len(h.reasons) == 0 {
		h.log.Health(true, "everything makes progress again")
	}
}

func (h *health) now() (ok bool, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reasons) == 0 {
		return true, ""
	}
	return false, h.reasons[0].reason
}

// tally counts events by what they are, and says when to tell of them: at most once a second each.
type tally struct {
	mu   sync.Mutex
	seen map[string]*count
}

type count struct {
	n    uint64
	told time.Time
}

func (t *tally) count(what string, now time.Time) (n uint64, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen == nil {
		t.seen = map[string]*count{}
	}
	c := t.seen[what]
	if c == nil {
		c = &count{}
		t.seen[what] = c
	}
	c.n++
	if now.Sub(c.told) < time.Second {
		return 0, false
	}
	n, c.n, c.told = c.n, 0, now
	return n, true
}

// newID makes an incident id: it begins with a letter, since clients turn a field of digits into a number.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return "i-" + hex.EncodeToString(b[:])
}

// counters are what the daemon counts.
type counters struct {
	accepted, refused, crashes, restarts, shed, incidents atomic.Uint64
	ok, exceptions, denied, malformed, gone               atomic.Uint64
	commits, changes                                      atomic.Uint64
	cut, events                                           atomic.Uint64
}

// Stats are counts since the start, and what is there now.
type Stats struct {
	Open                                    int64  // connections now
	Accepted, Refused                       uint64 // connections
	OK, Exceptions, Denied, Malformed, Gone uint64 // calls, by outcome
	Crashes, Restarts, Incidents            uint64
	Shed                                    uint64 // refused because a limit was reached
	Commits, Changes                        uint64
	Streams                                 int            // subscribers now
	StreamsCut, EventsSent                  uint64         // subscribers that fell behind; events to all of them
	Queued                                  map[string]int // messages that wait, by actor of the top level
}

// Stats counts.
func (d *Daemon) Stats() Stats {
	c := &d.stats
	s := Stats{
		Open: d.open.count.Load(), Accepted: c.accepted.Load(), Refused: c.refused.Load(),
		OK: c.ok.Load(), Exceptions: c.exceptions.Load(), Denied: c.denied.Load(), Malformed: c.malformed.Load(), Gone: c.gone.Load(),
		Crashes: c.crashes.Load(), Restarts: c.restarts.Load(), Incidents: c.incidents.Load(), Shed: c.shed.Load(),
		Commits: c.commits.Load(), Changes: c.changes.Load(),
		Streams: d.feeds.count(), StreamsCut: c.cut.Load(), EventsSent: c.events.Load(), Queued: map[string]int{},
	}
	for _, u := range d.units {
		s.Queued[u.name] = u.mailbox.UserMessageCount()
	}
	return s
}
