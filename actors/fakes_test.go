package actors

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
	judges "sallyport/stages/permission"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// box is a qube of the tests' inventory, which has dom0, work and vault.
func box(name, digit string) qube.Plain {
	id := must(qube.ParseUUID(strings.Repeat(digit, 8) + "-0000-4000-8000-000000000000"))
	return qube.Plain{IsNamed: must(qube.ParseName(name)), HasID: id, IsA: qube.AppVM}
}

var inventory = qube.Only(box("work", "1"), box("vault", "2"))

// book is an inventory whose only content is the tags that were committed, group by group.
type book struct {
	qube.View
	qube.NoEvents
	commit func() error // instead of a disk; nil: always well

	mu     sync.Mutex
	groups [][]string
}

func newBook() *book { return &book{View: inventory} }

func (b *book) Begin() qube.Group { return &group{book: b} }
func (b *book) committed() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.groups)
}

// bookView keeps Book's View apart from the embedded one, whose name is the same.
type bookView struct{ *book }

func (b bookView) View() qube.View { return b.book.View }

type group struct {
	*book
	tags []string
}

func (g *group) Try(change func(qube.Tx) error) error {
	t := &tx{View: g.book.View}
	if err := change(t); err != nil {
		return err
	}
	g.tags = append(g.tags, t.tags...)
	return nil
}

func (g *group) Commit() error {
	if g.commit != nil {
		if err := g.commit(); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups = append(g.groups, g.tags)
	return nil
}

type tx struct {
	qube.View
	qube.Writer
	tags []string
}

func (t *tx) AddTag(_ qube.UUID, tag qube.Tag) error {
	t.tags = append(t.tags, tag.Shown())
	return nil
}

// doer does what an order says, or what a test puts in its place.
type doer func(messages.Order) (func(context.Context) (messages.Reply, error), error)

func (w doer) Begin(o messages.Order, _ messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	return w(o)
}

// obey carries out the orders of the methods below.
func obey(o messages.Order) (func(context.Context) (messages.Reply, error), error) {
	if o.Kind == "crash.qube" {
		crashing(o.Args["do"], o.Args["with"])
	}
	return func(context.Context) (messages.Reply, error) {
		if o.Kind == "crash.work" {
			crashing(o.Args["do"], o.Args["with"])
		}
		return messages.Text("did " + o.Args["do"]), nil
	}, nil
}

// crashing panics with all that a client sent, in a value of a different kind for each payload length.
func crashing(arg, payload string) {
	values := []any{arg + payload, []byte(arg + payload), errors.New(arg + payload), struct{ Arg, Payload string }{arg, payload}}
	panic(values[len(payload)%len(values)])
}

// The methods of the tests. Argument and payload are printable ASCII, and may be left out.

type (
	method = stages.Method[string, string]
	grant  = stages.Grant[string, string]
)

var anything = stages.Field[string]{Want: stages.Optional, Read: func(u untrusted.Bytes) (string, error) {
	s, err := u.Printable(messages.MaxRequest)
	if err != nil {
		return "", exception.New(exception.QubesValueError, "printable ASCII")
	}
	return s, nil
}}

func declare(name string, set func(*method)) stages.Entry {
	m := method{Name: name, Help: "for tests", Dest: stages.AnyQube, Access: stages.Read, Arg: anything, Payload: anything}
	set(&m)
	if m.Read == nil && m.Change == nil && m.Work == nil {
		m.Read = echo
	}
	return stages.Declare(m)
}

func echo(_ qube.View, g grant) (messages.Reply, error) {
	return messages.Text(g.Arg() + " " + g.Payload()), nil
}

func tag(tx qube.Tx, g grant) (messages.Reply, error) {
	t, err := qube.ParseTag(g.Arg())
	if err != nil {
		return messages.Empty, exception.New(exception.QubesInvalidTagError, "not a tag")
	}
	return messages.Text("tagged " + t.Shown()), tx.AddTag(g.Dest().ID(), t)
}

// works makes a Work of orders of that kind.
func works(kind messages.OrderKind) func(*method) {
	return func(m *method) {
		m.Access = stages.Execute
		m.Work = func(_ qube.View, g grant) (messages.Order, error) {
			return messages.Order{Kind: kind, Qube: g.Dest().ID(), Args: map[string]string{"do": g.Arg(), "with": g.Payload()}}, nil
		}
	}
}

// doors are the kinds of actors that a call can crash: crash.KIND does.
var doors = []string{"sanitizer", "permission", "action", "ledger", "qube"}

func catalogue() *stages.Catalogue {
	crash := func(g grant) (messages.Reply, error) { crashing(g.Arg(), g.Payload()); return messages.Empty, nil }
	return stages.NewCatalogue(
		declare("test.Echo", func(*method) {}),
		declare("test.Long", func(m *method) {
			m.Read = func(qube.View, grant) (messages.Reply, error) { return messages.Text(longText), nil }
		}),
		declare("test.Tag", func(m *method) { m.Access, m.Change = stages.Write, tag }),
		declare("test.Work", works("work")),
		declare("test.Internal", func(m *method) { m.Socket = stages.Internal }),
		declare("test.Misc", func(m *method) { m.Socket = stages.Misc }),
		declare("crash.sanitizer", func(m *method) {
			m.Payload.Read = nil
			m.PayloadFor = func(arg string) stages.Field[string] {
				return stages.Field[string]{Read: func(u untrusted.Bytes) (string, error) {
					crashing(arg, must(u.Printable(messages.MaxRequest)))
					return "", nil
				}}
			}
		}),
		declare("crash.permission", func(m *method) {
			m.Requires = func(_ qube.View, _ qube.Qube, arg string) bool { crashing(arg, ""); return true }
		}),
		declare("crash.action", func(m *method) {
			m.Read = func(_ qube.View, g grant) (messages.Reply, error) { return crash(g) }
		}),
		declare("crash.ledger", func(m *method) {
			m.Access, m.Change = stages.Write, func(tx qube.Tx, g grant) (messages.Reply, error) {
				_ = tx.AddTag(g.Dest().ID(), must(qube.ParseTag("half"))) // which must not stay
				return crash(g)
			}
		}),
		declare("exit.sanitizer", func(m *method) {
			m.Arg.Read = func(untrusted.Bytes) (string, error) { runtime.Goexit(); return "", nil }
		}),
		declare("exit.permission", func(m *method) {
			m.Requires = func(qube.View, qube.Qube, string) bool { runtime.Goexit(); return true }
		}),
		declare("exit.action", func(m *method) {
			m.Read = func(qube.View, grant) (messages.Reply, error) { runtime.Goexit(); return messages.Empty, nil }
		}),
		declare("exit.ledger", func(m *method) {
			m.Access, m.Change = stages.Write, func(qube.Tx, grant) (messages.Reply, error) { runtime.Goexit(); return messages.Empty, nil }
		}),
		declare("crash.qube", works("crash.qube")),
		declare("crash.work", works("crash.work")),
	)
}

// longText is more than the kernel buffers for a client that does not read.
var longText = strings.Repeat("a long reply ", 1<<17)

// base are Settings that serve the above to everyone, and log into j.
func base(j *journal) Settings {
	return Settings{
		Catalogue: catalogue(), Gate: stages.NewGate(judges.Everyone{}), Book: bookView{newBook()}, Worker: doer(obey),
		Log: zap.New(zapcore.NewCore(telemetry.Encoder(false), j, zap.DebugLevel)),
	}
}

// journal is all that was logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Sync() error { return nil }
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

type line map[string]any

// lines are those about event; about all if it is empty.
func (j *journal) lines(event telemetry.Event) []line {
	var all []line
	for text := range strings.Lines(j.text()) {
		l := line{}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			panic(err)
		}
		if event == "" || l[telemetry.KeyEvent] == string(event) {
			all = append(all, l)
		}
	}
	return all
}

// column is what each of lines has under key.
func column(lines []line, key telemetry.Key) []any {
	values := make([]any, len(lines))
	for i, l := range lines {
		values[i] = l[key]
	}
	return values
}

// secret is what clients send and nothing may tell: letters, which no encoder escapes.
const secret = "QxWmVzJKpTyr"

// disguises are the ways in which bytes are turned into text by accident.
func disguises(s string) map[string]string {
	forms := map[string]string{
		"plain": s, "upper case": strings.ToUpper(s), "lower case": strings.ToLower(s),
		"hexadecimal": hex.EncodeToString([]byte(s)), "HEXADECIMAL": strings.ToUpper(hex.EncodeToString([]byte(s))),
		"decimal": strings.Trim(fmt.Sprint([]byte(s)), "[]"), "JSON numbers": strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(s)), "[]"), " ", ","),
		"Go bytes": strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(s)), "[]byte{"), "}"),
	}
	for before := range 3 { // base64 depends on the distance from the start; its middle on nothing else
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + s))
		forms[fmt.Sprint("base64 at ", before)] = encoded[4 : len(encoded)-4]
	}
	return forms
}

// discreet checks that a log says nothing that clients sent, and nothing that is not in the schema.
func discreet(t testing.TB, j *journal) {
	text := j.text()
	for form, hidden := range disguises(secret) {
		if at := strings.Index(text, hidden); at >= 0 {
			assert.Fail(t, "the log tells what a client sent", "%s: ...%s...", form, text[max(0, at-200):min(len(text), at+100)])
		}
	}
	fields, events := map[string]bool{}, map[string]bool{}
	for _, f := range telemetry.Fields {
		fields[f.Key] = true
	}
	for _, e := range telemetry.Events {
		events[string(e.Event)] = true
	}
	for _, l := range j.lines("") {
		assert.True(t, events[l[telemetry.KeyEvent].(string)], "an event that is not in the schema: %v", l)
		for key := range l {
			assert.True(t, fields[key], "a field that is not in the schema: %s", key)
		}
	}
}

// Answers.

// incidentOf is the incident of an answer that must be one.
func incidentOf(t testing.TB, a messages.Answer) string {
	assert.Equal(t, string(exception.QubesInternalError), a.Type, "%q", a)
	if !assert.Len(t, a.Fields, 1) {
		return ""
	}
	return a.Fields[0]
}

func ok(content string) messages.Answer { return messages.Answer{Content: []byte(content)} }

// answerOf is how a client reads the frame of err.
func answerOf(err error) messages.Answer {
	var e *exception.Exception
	if !errors.As(err, &e) {
		panic("not an exception")
	}
	return must(messages.ParseAnswer(e.AppendFrame(nil)))
}

var denied = answerOf(exception.Denied)
