package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"sallyport/messages"
)

// Reader reads a trace, a line at a time. It is for one goroutine.
type Reader struct {
	Header
	name  string
	lines *bufio.Reader
	line  int // the last that was read
	cut   bool
}

// NewReader reads the header of the trace in r, which its errors call name.
func NewReader(r io.Reader, name string) (*Reader, error) {
	t := &Reader{name: name, lines: bufio.NewReaderSize(r, mostLine)}
	b, err := t.next()
	switch {
	case err == io.EOF:
		t.line = 1
		return nil, t.expected("the header of a trace, on a line of its own")
	case err != nil:
		return nil, err
	}
	if err := decode(b, &t.Header); err != nil {
		return nil, t.expected(`the header of a trace, such as {"sallyport_trace":%d,"began":"2026-01-31T12:00:00Z","payloads":false}: %v`, version, err)
	}
	if t.Version != version {
		return nil, t.expected("sallyport_trace to be %d, which is the only format that is known", version)
	}
	return t, nil
}

// Next gives the next call; io.EOF: there is none. Other errors name the file, the line, and what was expected there; after
// one, there is nothing to read.
func (t *Reader) Next() (Call, error) {
	b, err := t.next()
	if err != nil {
		return Call{}, err
	}
	var c Call
	if err := decode(b, &c); err != nil {
		return Call{}, t.expected("a call, as a JSON object: %v", err)
	}
	if want := t.wrong(c); want != "" {
		return Call{}, t.expected("%s", want)
	}
	return c, nil
}

// Cut reports whether the last line lacked its end, once Next has said io.EOF: whoever wrote it was killed, or is writing.
func (t *Reader) Cut() bool { return t.cut }

// next gives the next line. It is the Reader's until the next one is asked for.
func (t *Reader) next() ([]byte, error) {
	b, err := t.lines.ReadSlice('\n')
	switch {
	case err == io.EOF:
		t.cut = t.cut || len(b) > 0
		return nil, io.EOF
	case err != nil && err != bufio.ErrBufferFull:
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	if t.line++; err != nil {
		return nil, t.expected("a line of at most %d bytes", mostLine)
	}
	return b, nil
}

func (t *Reader) expected(format string, args ...any) error {
	return fmt.Errorf("%s:%d: expected %s", t.name, t.line, fmt.Sprintf(format, args...))
}

// decode reads one JSON value without keys that v does not have.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows its end")
	}
	return nil
}

// wrong says what was expected of a call that could not have been recorded; empty: it could.
func (t *Reader) wrong(c Call) string {
	most := int64(messages.MaxRequest)
	if c.Unreadable {
		most = mostRequest
	}
	switch {
	case c.AtUS < 0 || c.AtUS > longest.Microseconds():
		return fmt.Sprintf("at_us to be from 0 to %d", longest.Microseconds())
	case c.TookUS < 0 || c.TookUS > longest.Microseconds():
		return fmt.Sprintf("took_us to be from 0 to %d", longest.Microseconds())
	case c.Bytes < 0 || c.Bytes > most:
		return fmt.Sprintf("bytes to be from 0 to %d", most)
	case !slices.Contains(Outcomes, c.Outcome):
		return fmt.Sprintf("outcome to be one of %v", Outcomes)
	case c.Outcome == Exception && !aType(c.Exception):
		return fmt.Sprintf("exception to be a type, one word of at most %d characters", mostType)
	case c.Outcome != Exception && c.Exception != "":
		return fmt.Sprintf("no exception where the outcome is %s", c.Outcome)
	case c.Unreadable && c.Method+c.Arg+c.Source+c.Dest+string(c.Payload) != "":
		return "none of method, arg, source, dest, payload of what is unreadable"
	case c.Unreadable:
		return ""
	case t.Payloads && int64(len(c.Payload)) != c.Bytes:
		return fmt.Sprintf("a payload of %d bytes, as bytes says", c.Bytes)
	case !t.Payloads && len(c.Payload) > 0:
		return "no payload, as the header says"
	}
	request := c.request()
	again, ok := readRequest(request)
	if !ok || again.Method != c.Method || again.Arg != c.Arg || again.Source != c.Source || again.Dest != c.Dest || int64(len(request))+c.Bytes > messages.MaxRequest {
		return "method, arg, source, dest and bytes to be those of a request"
	}
	return ""
}
