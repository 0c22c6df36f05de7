// Package fleet has several machines make one load together: agents, which wait for a coordinator, and make the share of
// the load that it tells them. They speak TLS 1.3, each with a certificate that the other checks, in messages of JSON after
// their length in four bytes:
//
//	coordinator                     agent
//	            ← hello                        or refused: it makes another load
//	            → job                          a scenario, and which share of it
//	            ← ready                        or refused: why it cannot
//	            → go                           to all at once
//	            ← begun
//	            ← progress                     each second
//	            → heard
//	            → stop                         if it is to end early
//	            ← result                       or failed
//
// Nobody needs to know what time it is elsewhere: an agent's times count from when it began, and it began between go and
// begun. Results merge exactly. Whoever is silent for half a minute is gone; when the coordinator is, a load ends.
//
// A certificate of the right authority lets a coordinator aim a load wherever an agent can connect, as the scenario may
// say. It lets nobody read a file of the agent, and what comes over the wire is believed to be what it claims only after it
// was checked, on either side.
package fleet

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// kind is what a message says.
type kind string

const (
	hello    kind = "hello"
	refused  kind = "refused"
	assign   kind = "job"
	ready    kind = "ready"
	proceed  kind = "go"
	begun    kind = "begun"
	under    kind = "progress"
	heard    kind = "heard"
	stop     kind = "stop"
	measured kind = "result"
	failed   kind = "failed"
)

// message is what goes over the wire. Kind says which of the other fields there are.
type message struct {
	Kind     kind            `json:"kind"`
	Version  int             `json:"version,omitempty"` // of hello
	Why      string          `json:"why,omitempty"`     // of refused and failed
	Job      *job            `json:"job,omitempty"`
	Progress *progress       `json:"progress,omitempty"`
	Result   *measure.Result `json:"result,omitempty"`
}

// job is a share of a load: Part of Of, as of drive.Options.
type job struct {
	Part     int              `json:"part"`
	Of       int              `json:"of"`
	Scenario *scenario.Packed `json:"scenario"`
}

// progress is a look at a share.
type progress struct {
	InFlight int             `json:"in_flight"`
	Recent   *measure.Window `json:"recent"`
	Counts   measure.Counts  `json:"counts"`
	Invalid  reasons         `json:"invalid"`
}

// reasons are why a run is invalid.
type reasons []string

// UnmarshalJSON refuses more than anybody has.
func (r *reasons) UnmarshalJSON(data []byte) (err error) {
	*r, err = measure.DecodeList[string](data, "reasons", mostReasons)
	return err
}

// version is of the protocol, encodings of scenarios and results included.
const version = 1

const (
	mostShort   = 1 << 20             // bytes of a message that is neither a job nor a result
	mostLong    = measure.MostEncoded // of those; a Packed, in base64, has less
	patience    = 30 * time.Second    // with a silent other side
	gathering   = 20 * time.Second    // for an agent to be ready, which is less, so that those that wait for it stay
	mostAgents  = 1000
	mostReasons = 10 // why a run is invalid, while it goes on
	lengthBytes = 4
)

// check finds what no sender would leave out, or say.
func (m *message) check() error {
	switch {
	case m.Kind == assign && (m.Job == nil || m.Job.Scenario == nil || m.Job.Of < 1 || m.Job.Of > mostAgents || m.Job.Part < 0 || m.Job.Part >= m.Job.Of):
		return errors.New("a job without a scenario, or a share of it")
	case m.Kind == under && (m.Progress == nil || m.Progress.Recent == nil || m.Progress.InFlight < 0):
		return errors.New("progress without figures")
	case m.Kind == measured && m.Result == nil:
		return errors.New("no result")
	}
	return nil
}

// read reads a message of at most most bytes, which is of one of the kinds. An error may quote what was read.
func read(r io.Reader, most uint32, kinds ...kind) (*message, error) {
	var length [lengthBytes]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > most {
		return nil, fmt.Errorf("a message of %d bytes, where at most %d were expected", n, most)
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(n))) // which takes the room of what came, not of what was promised
	if err == nil && len(data) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	m, err := decode(data, kinds)
	if err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	m.Why = measure.Shown(m.Why)
	if m.Result != nil {
		cleanAll(m.Result.Notes)
		cleanAll(m.Result.Invalid)
	}
	if m.Progress != nil {
		cleanAll(m.Progress.Invalid)
	}
	return m, nil
}

func cleanAll(texts []string) {
	for i, text := range texts {
		texts[i] = measure.Shown(text)
	}
}

// decode decodes a message of one of the kinds. What is not of its kind is not looked at.
func decode(data []byte, kinds []kind) (*message, error) {
	var m struct {
		message
		Job      json.RawMessage `json:"job"`
		Progress json.RawMessage `json:"progress"`
		Result   json.RawMessage `json:"result"`
	}
	if err := strictly(data, &m); err != nil {
		return nil, err
	}
	if !slices.Contains(kinds, m.Kind) {
		return nil, fmt.Errorf("expected one of %v, not %s", kinds, measure.Shown(string(m.Kind)))
	}
	var err error
	switch {
	case m.Kind == assign && m.Job != nil:
		err = strictly(m.Job, &m.message.Job)
	case m.Kind == under && m.Progress != nil:
		err = strictly(m.Progress, &m.message.Progress)
	case m.Kind == measured && m.Result != nil:
		err = strictly(m.Result, &m.message.Result)
	}
	return &m.message, err
}

// strictly decodes data, of which nothing may be unknown.
func strictly(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("no message: %w", err)
	}
	return nil
}

// bytes is m as it is sent, with its length before.
func (m message) bytes() ([]byte, error) {
	data, err := json.Marshal(m)
	if err == nil && len(data) > mostLong {
		err = fmt.Errorf("a message of %d bytes, which is more than %d", len(data), mostLong)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...), err
}

// link is a connection. Any goroutine may say something; one hears.
type link struct {
	*tls.Conn
	mu sync.Mutex // of what is being said
}

func (l *link) say(m message) error {
	data, err := m.bytes()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = l.Write(data)
	return err
}

// hear waits for a message of one of the kinds, as long as there is patience.
func (l *link) hear(most uint32, kinds ...kind) (*message, error) {
	if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	m, err := read(l, most, kinds...)
	switch {
	case err == io.EOF:
		err = errors.New("it ended the connection")
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("it was silent for %v", patience)
	}
	return m, err
}
