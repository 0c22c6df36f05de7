package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"sallyport/messages"
	"sallyport/stages"
)

// call is one call on its way: the one message that goes through all doors and back to its request actor, whose own it
// is. One actor has it at a time, and lets go of it when it sends it on; sending is the last thing a door does with it.
type call struct {
	request *actor.PID
	socket  stages.Socket
	peer    *messages.Peer

	raw        messages.Request
	sanitized  stages.Sanitized
	authorized stages.Authorized
	order      messages.Order

	reply messages.Reply
	err   error

	// When each door was done with it; zero where it did not get to.
	arrived, sanitizedAt, permittedAt, actedAt stamp
}

// stamp is a time since the daemon began; zero is unknown.
type stamp time.Duration

// since is how long s is after earlier, if both are known.
func (s stamp) since(earlier stamp) time.Duration {
	if s == 0 || earlier == 0 {
		return 0
	}
	return time.Duration(s - earlier)
}

// answer is what a request actor is told when its call will not come back: an exception.
type answer struct{ err error }

// IgnoreDeadLetterLogging keeps the library from logging the messages of clients that left.
func (*call) IgnoreDeadLetterLogging()   {}
func (*answer) IgnoreDeadLetterLogging() {}

// method is the catalogue's name of what is called; empty if that is not known.
func (c *call) method() string {
	if e := c.sanitized.Entry(); e != nil {
		return e.Name
	}
	return ""
}

// done sends c home with its outcome.
func (c *call) done(ctx actor.Context, reply messages.Reply, err error) {
	c.reply, c.err = reply, err
	ctx.Send(c.request, c)
}
