// Package trace keeps in a file what clients asked a daemon and what came of it, and makes a load of that file.
//
//	client ─bytes→ Tap ─Call→ Writer ─→ file ─→ Reader ─Call→ Replay ─→ scenario.Scenario
//
// A trace is lines of JSON: a Header, and then each Call when it has ended. So it can be read while it is written, and one
// whose writer was killed lacks its last lines and no more. It has no bytes of a client but what the wire's grammar makes
// of them, and payloads only if they are asked for.
//
// It opens no socket and no file.
package trace

import (
	"strings"
	"time"

	"sallyport/messages"
)

// Header is the first line.
type Header struct {
	Version  int       `json:"sallyport_trace"` // 1; other numbers are other formats
	Began    time.Time `json:"began"`
	Payloads bool      `json:"payloads"` // whether calls have theirs
}

const version = 1

// Call is one connection of a client, which is one call (spec: wire.md 2), or something that is none.
type Call struct {
	AtUS       int64   `json:"at_us"`   // when the client connected, in microseconds since Header.Began
	TookUS     int64   `json:"took_us"` // until the client had its whole reply, or the connection ended otherwise
	Method     string  `json:"method,omitempty"`
	Arg        string  `json:"arg,omitempty"`
	Source     string  `json:"source,omitempty"`
	Dest       string  `json:"dest,omitempty"`
	Unreadable bool    `json:"unreadable,omitempty"` // the request is no call; then there is none of the texts
	Bytes      int64   `json:"bytes"`                // of the payload; of what is unreadable, all that the client sent
	Payload    []byte  `json:"payload,omitempty"`    // as it was, if the header says so
	Outcome    Outcome `json:"outcome"`
	Exception  string  `json:"exception,omitempty"` // its type
}

// Outcome is how a call ended for its client.
type Outcome string

// The outcomes.
const (
	OK        Outcome = "ok"
	Exception Outcome = "exception"
	Events    Outcome = "events"  // a stream of events, whoever ended it
	Empty     Outcome = "empty"   // the daemon closed and had said nothing
	Garbage   Outcome = "garbage" // bytes that are no reply
	Cut       Outcome = "cut"     // the connection to the daemon broke, or was ended with the recording
	Left      Outcome = "left"    // the client had left before its reply was whole
	Missing   Outcome = "missing" // there was no daemon
)

// Outcomes are all of them.
var Outcomes = []Outcome{OK, Exception, Events, Empty, Garbage, Cut, Left, Missing}

// The limits of a trace.
const (
	longest       = 1000 * time.Hour
	mostRequest   = 1 << 50   // bytes that somebody sent
	mostLine      = 128 << 10 // bytes of a line; the largest request has fewer
	mostException = 64 << 10  // bytes of an exception's frame
	mostType      = 128       // bytes of its type
)

// readRequest makes a Call of a request, as the wire's grammar has it, if it is one whose texts can be printed. b is kept.
func readRequest(b []byte) (c Call, ok bool) {
	r, err := messages.ParseRequest(b)
	if err != nil {
		return c, false
	}
	call, bad := r.Call.Printable(messages.MaxHeader)
	if c.Source, err = r.Source.Printable(messages.MaxHeader); bad != nil || err != nil {
		return c, false
	}
	if c.Dest, err = r.Dest.Printable(messages.MaxHeader); err != nil {
		return c, false
	}
	switch {
	case r.DestType.Is("keyword") && r.Dest.Is("adminvm"):
		c.Dest = "dom0"
	case !r.DestType.Is("name"):
		return c, false
	}
	c.Method, c.Arg, _ = strings.Cut(call, "+")
	c.Bytes = int64(r.Payload.Len())
	return c, c.Method != ""
}

// request is the header of c's request, as a load sends it.
func (c Call) request() []byte {
	call := c.Method
	if c.Arg != "" {
		call += "+" + c.Arg
	}
	return messages.FormatRequest(call, c.Source, c.Dest, nil)
}

// aType reports whether the type of an exception is one word.
func aType(s string) bool {
	return s != "" && len(s) <= mostType && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
