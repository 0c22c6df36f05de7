package messages

import (
	"bufio"
	"strconv"
	"strings"

	"sallyport/messages/qube"
)

// Event is an EVENT frame (spec: wire.md 4).
type Event struct {
	Subject string // the qube that it is an event of; empty for the system
	Name    string
	Args    []qube.EventArg
}

// EventOf is the frame of e. A revision that is not zero is added to it, for whoever wants to go on from there
// (design: 6).
func EventOf(e qube.Event, r qube.Revision) Event {
	w := Event{Subject: e.Subject.Shown(), Name: e.Name, Args: e.Args}
	if r > 0 {
		w.Args = append(w.Args[:len(w.Args):len(w.Args)], qube.EventArg{Key: "revision", Value: strconv.FormatUint(uint64(r), 10)})
	}
	return w
}

// AppendFrame appends the frame to b:
//
//	"1" NUL subject NUL name NUL (key NUL value NUL)* NUL
//
// An event may quote what a guest said: what is not ASCII becomes a question mark, and NUL, which would end a part early,
// is dropped. A value without a key would end the frame early, and is left out (spec: wire.md 4, SAFER; 6).
func (e Event) AppendFrame(b []byte) []byte {
	b = append(b, '1', 0)
	b = appendPart(b, e.Subject)
	b = appendPart(b, e.Name)
	for _, a := range e.Args {
		if strings.Trim(a.Key, "\x00") != "" {
			b = appendPart(appendPart(b, a.Key), a.Value)
		}
	}
	return append(b, 0)
}

func appendPart(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r >= 0x80:
			b = append(b, '?')
		case r != 0:
			b = append(b, byte(r))
		}
	}
	return append(b, 0)
}

// ReadEvent reads the frame that r begins with, the way the reference's client does (spec: wire.md 6). An end within the
// frame is io.EOF, as is one before it; a part that does not fit r's buffer is bufio.ErrBufferFull.
func ReadEvent(r *bufio.Reader) (Event, error) {
	var e Event
	var tag, key, value string
	for _, part := range []*string{&tag, &e.Subject, &e.Name} {
		if err := readPart(r, part); err != nil {
			return Event{}, err
		}
		if tag != "1" {
			return Event{}, ErrNotAnAnswer
		}
	}
	for {
		if err := readPart(r, &key); err != nil || key == "" {
			return e, err
		}
		if err := readPart(r, &value); err != nil {
			return Event{}, err
		}
		e.Args = append(e.Args, qube.EventArg{Key: key, Value: value})
	}
}

// readPart reads up to the next NUL.
func readPart(r *bufio.Reader, to *string) error {
	b, err := r.ReadSlice(0)
	if err == nil {
		*to = string(b[:len(b)-1])
	}
	return err
}
