package messages

import (
	"bytes"
	"errors"
)

// Reply is what a successful call sends back. Body is UTF-8 or empty, and not to be changed once it is here.
type Reply struct {
	Body  []byte
	frame []byte // that Body is the end of, if there is one
}

// Empty is the reply of a call that has nothing to say.
var Empty = Reply{}

// Text is a reply of s.
func Text(s string) Reply { return Reply{Body: []byte(s)} }

// Begin is what Framed takes: append the content to it.
func Begin() []byte { return []byte{'0', 0} }

// Framed is the reply of what was appended to Begin. Its frame is made already, and is sent as it is, however often.
func Framed(begun []byte) Reply { return Reply{begun[2:len(begun):len(begun)], begun} }

// Frame is the reply's frame, not to be changed.
func (r Reply) Frame() []byte {
	if r.frame != nil {
		return r.frame
	}
	return r.AppendFrame(make([]byte, 0, len(r.Body)+2))
}

// AppendFrame appends the reply's frame to b: "0" NUL body (spec: wire.md 4).
func (r Reply) AppendFrame(b []byte) []byte {
	b = append(b, '0', 0)
	return append(b, r.Body...)
}

// Answer is a reply as a client reads it: content, or an exception.
type Answer struct {
	Content []byte // of an OK
	Type    string // of an exception; empty for an OK
	Format  string
	Fields  []string
}

// ErrNotAnAnswer is what ParseAnswer says of bytes that are no frame of a reply.
var ErrNotAnAnswer = errors.New("not a reply frame of the Admin API")

// ParseAnswer reads a whole reply the way the reference's client does (spec: wire.md 6). b is kept.
func ParseAnswer(b []byte) (Answer, error) {
	if content, ok := bytes.CutPrefix(b, []byte("0\x00")); ok {
		return Answer{Content: content}, nil
	}
	rest, ok := bytes.CutPrefix(b, []byte("2\x00"))
	if !ok || !bytes.HasSuffix(rest, []byte{0}) {
		return Answer{}, ErrNotAnAnswer
	}
	parts := bytes.Split(rest[:len(rest)-1], []byte{0})
	if len(parts) < 3 {
		return Answer{}, ErrNotAnAnswer
	}
	a := Answer{Type: string(parts[0]), Format: string(parts[2])}
	for _, f := range parts[3:] {
		a.Fields = append(a.Fields, string(f))
	}
	return a, nil
}
