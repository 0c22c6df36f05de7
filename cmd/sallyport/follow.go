package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"sallyport/messages"
)

// maxToken is the longest part of an event, in bytes.
const maxToken = 1 << 20

// event is an EVENT frame as it is shown. A key that comes twice has its last value.
type event struct {
	Subject string            `json:"subject"` // empty for the system
	Name    string            `json:"event"`
	Values  map[string]string `json:"values"`

	keys []string // in the order of the frame
}

func eventOf(frame messages.Event) event {
	e := event{Subject: frame.Subject, Name: frame.Name, Values: map[string]string{}}
	for _, a := range frame.Args {
		if _, again := e.Values[a.Key]; !again {
			e.keys = append(e.keys, a.Key)
		}
		e.Values[a.Key] = a.Value
	}
	return e
}

// line is "SUBJECT EVENT KEY=VALUE...", in quotes what could be taken for something else. The system is "-".
func (e event) line() string {
	subject := word(e.Subject)
	if e.Subject == "" {
		subject = "-"
	}
	parts := []string{subject, word(e.Name)}
	for _, k := range e.keys {
		parts = append(parts, word(k)+"="+word(e.Values[k]))
	}
	return strings.Join(parts, " ") + "\n"
}

// word is s, quoted unless it is one word of printable characters without a meaning of their own.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return strings.ContainsRune(`" =`, r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar
	}) {
		return strconv.Quote(s)
	}
	return s
}

// follow makes a call whose reply is a stream, and shows each event as it comes, until the stream or ctx ends.
func follow(ctx context.Context, o callOptions, request []byte, stdout *os.File) error {
	conn, err := send(ctx, o.socket, request)
	if err != nil {
		return err
	}
	defer conn.Close()
	frames := bufio.NewReaderSize(conn, maxToken)
	for n := 0; ; n++ {
		tag, err := frames.Peek(2)
		switch {
		case n > 0 && len(tag) == 0 && (err == io.EOF || ctx.Err() != nil):
			return nil
		case string(tag) == "1\x00":
			e, err := messages.ReadEvent(frames)
			if err == nil {
				err = o.showEvent(eventOf(e), stdout)
			}
			if err != nil {
				return o.streamBroken(ctx, err)
			}
		case n > 0 && string(tag) == "0\x00":
			return fail(exitNoReply, "%s: not a reply: content after an event", o.socket)
		case err != nil && err != io.EOF:
			return broken(ctx, o.socket, err)
		default: // an exception, or a call that is no stream
			reply, err := io.ReadAll(io.LimitReader(frames, maxReply))
			if err != nil {
				return broken(ctx, o.socket, err)
			}
			if len(reply) == 0 {
				return fail(exitNoReply, "%s: not a reply: the daemon closed the connection without one", o.socket)
			}
			return showReply(o, reply, stdout)
		}
	}
}

func (o callOptions) showEvent(e event, stdout *os.File) error {
	if o.json {
		return show(stdout, toJSON(e), "\n")
	}
	return show(stdout, []byte(e.line()), "\n")
}

// streamBroken is the failure of a stream in the middle of an event.
func (o callOptions) streamBroken(ctx context.Context, err error) error {
	var f *failure
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, io.EOF):
		err = errors.New("the stream ended within an event")
	case errors.Is(err, bufio.ErrBufferFull):
		err = errors.New("an event has a part longer than " + strconv.Itoa(maxToken) + " bytes")
	}
	return broken(ctx, o.socket, err)
}
