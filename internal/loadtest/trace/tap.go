package trace

import (
	"bytes"
	"time"

	"sallyport/messages"
)

// Tap sees the bytes of one connection as they pass, and makes a Call of them in the end. What a client sends and what it
// is told may be seen by two goroutines, and whoever calls End comes after both.
type Tap struct {
	w     *Writer
	begun time.Duration
	took  time.Duration // zero: not yet

	sent    int64  // bytes
	request []byte // the first of them: no more than is needed
	whole   bool

	said  int64  // bytes
	reply []byte // the first of them
}

// Begin begins a Tap of a client that has connected now.
func (w *Writer) Begin() *Tap { return &Tap{w: w, begun: time.Since(w.began)} }

// Sent sees what the client sends.
func (t *Tap) Sent(p []byte) {
	t.sent += int64(len(p))
	most := messages.MaxHeader + 1
	if t.w.payloads {
		most = messages.MaxRequest
	}
	t.request = append(t.request, p[:min(len(p), most-len(t.request))]...)
}

// SentAll sees that the client has sent all.
func (t *Tap) SentAll() { t.whole = true }

// Said sees what the client is told.
func (t *Tap) Said(p []byte) {
	t.said += int64(len(p))
	for len(t.reply) < len(tag) && len(p) > 0 {
		t.reply, p = append(t.reply, p[0]), p[1:]
	}
	if bytes.HasPrefix(t.reply, []byte("2\x00")) {
		t.reply = append(t.reply, p[:min(len(p), mostException-len(t.reply))]...)
	}
}

// tag is what the frames of events begin with (spec: wire.md 5).
const tag = "1\x00"

// Stream reports whether the client is told of events.
func (t *Tap) Stream() bool { return string(t.reply) == tag }

// Told sees that the client has been told all.
func (t *Tap) Told() { t.took = time.Since(t.w.began) - t.begun }

// End adds the call to the trace. how is what ended the connection before there was a whole reply: Cut, Left or Missing;
// otherwise it is empty. The Tap is of no use any more.
func (t *Tap) End(how Outcome) {
	if t.took == 0 {
		t.Told()
	}
	c, kind := t.call(), ""
	switch {
	case t.Stream():
		how = Events
	case how == "":
		how, kind = t.judge()
	}
	c.AtUS, c.TookUS, c.Outcome, c.Exception = t.begun.Microseconds(), t.took.Microseconds(), how, kind
	t.w.add(c)
}

// call is what the client asked.
func (t *Tap) call() Call {
	c, ok := readRequest(t.request)
	if !ok || !t.whole || t.sent > messages.MaxRequest {
		return Call{Unreadable: true, Bytes: t.sent}
	}
	header := len(t.request) - int(c.Bytes)
	if c.Bytes = t.sent - int64(header); t.w.payloads {
		c.Payload = t.request[header:]
	}
	return c
}

// judge says what a whole reply is.
func (t *Tap) judge() (o Outcome, kind string) {
	a, err := messages.ParseAnswer(t.reply)
	switch {
	case t.said == 0:
		return Empty, ""
	case err != nil:
		return Garbage, ""
	case t.reply[0] == '0':
		return OK, ""
	case t.said > mostException || !aType(a.Type):
		return Garbage, ""
	}
	return Exception, a.Type
}
