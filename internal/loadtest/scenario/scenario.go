// Package scenario is what a load test does: whom it calls, with what, how often, and what it expects. A Scenario is read
// from YAML, or made from flags; it never changes, and many goroutines may use it.
//
// It opens no socket; the driver does what it says.
package scenario

import (
	"crypto/tls"
	"regexp"
	"time"

	"sallyport/internal/loadtest/measure"
)

// Scenario is one load test.
type Scenario struct {
	Name        string
	Target      Target
	Seed        uint64 // of all chance in it: arrivals, choices
	Load        Load
	Warmup      time.Duration // at its beginning, which is not measured
	Timeout     time.Duration // of a call, from when it is begun; at most measure.Highest
	MaxInFlight int           // calls at the same time, of an open model; what is due beyond is shed, and makes the run invalid
	Mix         []Item        // never empty
	Subscribers []Subscribers
	Adversaries []Adversary
	Thresholds  []string      // as written; they were checked
	MaxLag      time.Duration // of 99.9 % of calls; beyond, the tool was the bottleneck, and the run is invalid
	Notes       []string      // of what whoever reads the result has to know

	variables []*Variable
}

// Target is where calls go.
type Target struct {
	Socket string      // path of a unix socket; empty: TLS
	Addr   string      // HOST:PORT
	TLS    *tls.Config `json:"-"` // of Addr
	Plain  bool        // the protocol is not the Admin API: a request ends with a half-close, a reply with the close
}

// Load is how calls arrive.
type Load struct {
	Closed  bool // as many workers as a stage says, each with its next call when the one before is done
	Poisson bool // open: independent arrivals, instead of evenly spaced ones
	Stages  []Stage

	// Recorded, if there are any, are the arrivals of an open model, by time. Then stages are only how long they last, and
	// how many come in that time; weights are how many there are of each item.
	Recorded []Arrival
}

// Arrival is an item that is due at a time of its own.
type Arrival struct {
	At   time.Duration // since the run began
	Item int           // in the mix
}

// Stage is a part of a run, in which the rate goes evenly from one value to another. Steps, spikes and soaks are stages.
type Stage struct {
	Name     string
	From, To float64 // calls per second; of a closed model, workers
	For      time.Duration
}

// Duration is how long all stages last together.
func (l Load) Duration() (all time.Duration) {
	for _, s := range l.Stages {
		all += s.For
	}
	return all
}

// At is the rate, or the number of workers, at a time since the run began; zero after the end.
func (l Load) At(t time.Duration) float64 {
	for _, s := range l.Stages {
		if t < s.For {
			return s.From + (s.To-s.From)*float64(t)/float64(s.For)
		}
		t -= s.For
	}
	return 0
}

// Item is what one arrival brings: a call, or a sequence of calls as a tool makes them, each begun when the one before
// has ended. Only the first has an intended start of its own; the next ones are due when the one before ends, and its
// Think is over.
type Item struct {
	Name   string
	Weight float64 // of all weights
	Steps  []Call
}

// Call is one call. Its fields are templates.
type Call struct {
	Method  string // for the groups of a result; with Target.Plain, the name of the request
	Arg     Template
	Source  Template
	Dest    Template
	Payload Template
	Request Template // whole, with Target.Plain
	Expect  Expect
	Think   time.Duration // after it, before the next of its sequence, or of its closed worker
	keep    *Variable     // what keeps something of its reply; nil: nothing does
}

// Forget has the arrival that d is for keep nothing, until Keep. It is called when the request is made, which may send what an
// earlier reply had.
func (c *Call) Forget(d *Draw) {
	if c.keep != nil {
		d.kept[c.keep.index] = d.kept[c.keep.index][:0]
	}
}

// Keep has the arrival that d is for keep what its later calls need of the content of an OK, or of a plain reply.
func (c *Call) Keep(content []byte, d *Draw) {
	if c.keep != nil {
		d.keep(c.keep, content)
	}
}

// Expect is which replies are right.
type Expect struct {
	Any     bool           // all that are replies
	Type    string         // the exception's; empty: an OK
	Content *regexp.Regexp // that an OK's content matches; nil: whatever it is. With Target.Plain, the reply
}

// Right says how a reply is judged. Type and content are those that it has.
func (e Expect) Right(exception string, content []byte) measure.Outcome {
	if e.Any || e.Type == exception && (e.Content == nil || exception != "" || e.Content.Match(content)) {
		return measure.OK
	}
	return measure.Unexpected
}

// Subscribers are clients that follow events while the load lasts.
type Subscribers struct {
	Count   int
	Call    Call
	Silent  bool          // they read nothing
	At, For time.Duration // when they come, and how long they stay then; For 0: until the end
}

// Adversary is a client that does not keep to the protocol, again and again, beside the honest ones. What it gets is
// counted apart, under the method of its kind's name.
type Adversary struct {
	Kind  Misdeed
	Rate  float64 // times per second
	Count int     // at the same time, at most
}

// Misdeed is what an adversary does.
type Misdeed string

// The misdeeds.
const (
	SlowSender  Misdeed = "slow-sender"  // a byte now and then, and never the end
	NeverReader Misdeed = "never-reader" // a whole request, whose reply it never reads
	HalfFrame   Misdeed = "half-frame"   // a part of a request, and the end
	Oversize    Misdeed = "oversize"     // more than a request may have
	Flood       Misdeed = "flood"        // connections that say nothing
)

// Misdeeds are all of them.
var Misdeeds = []Misdeed{SlowSender, NeverReader, HalfFrame, Oversize, Flood}
