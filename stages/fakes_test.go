package stages_test

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// moment is an inventory at one revision.
type moment struct {
	qube.View
	revision qube.Revision
}

func (m moment) Revision() qube.Revision { return m.revision }

// change is a Tx on a moment that keeps what was written.
type change struct {
	moment
	qube.Writer
	done []string
}

func (c *change) AddTag(id qube.UUID, t qube.Tag) error {
	c.done = append(c.done, id.Shown()+" "+t.Shown())
	return nil
}

// tagged is a qube with one tag.
type tagged struct {
	qube.Plain
	tag string
}

func (q tagged) HasTag(t qube.Tag) bool { return t.Shown() == q.tag }

func box(name, id, tag string) qube.Qube {
	return tagged{qube.Plain{IsNamed: must(qube.ParseName(name)), HasID: uuid(id), IsA: qube.AppVM}, tag}
}

func uuid(id string) qube.UUID { return must(qube.ParseUUID(id + "-0000-4000-8000-000000000000")) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// policy is a Judge that counts what it is asked.
type policy struct {
	generation uint64
	allows     func(stages.Subject) bool
	mask       func(v qube.View, source, dest qube.Qube) qube.View

	verdicts, masks int
}

func (p *policy) Generation() uint64 { return p.generation }
func (p *policy) Allows(_ qube.View, s stages.Subject) bool {
	p.verdicts++
	return p.allows(s)
}
func (p *policy) Mask(v qube.View, source, dest qube.Qube) qube.View {
	p.masks++
	if p.mask == nil {
		return v
	}
	return p.mask(v, source, dest)
}

func always(stages.Subject) bool { return true }

// The fields that methods of these tests have.
var (
	anyTag = stages.Field[qube.Tag]{Want: stages.Required, Read: func(u untrusted.Bytes) (qube.Tag, error) {
		s, err := u.Word(untrusted.TagChars, 1, 9)
		if err != nil {
			return qube.Tag{}, exception.New(exception.QubesInvalidTagError, "not a tag")
		}
		return qube.ParseTag(s)
	}}
	anyValue = stages.Field[qube.FeatureValue]{Want: stages.Required, Read: func(u untrusted.Bytes) (qube.FeatureValue, error) {
		s, err := u.Printable(9)
		if err != nil {
			return qube.FeatureValue{}, exception.New(exception.QubesPropertyValueError, "not a value")
		}
		return qube.ParseFeatureValue(s)
	}}
)

type (
	method = stages.Method[qube.Tag, qube.FeatureValue]
	grant  = stages.Grant[qube.Tag, qube.FeatureValue]
)

// readMethod answers with what it was granted.
func readMethod(name string) method {
	return method{
		Name: name, Help: "reads", Dest: stages.AnyQube, Access: stages.Read, Arg: anyTag, Payload: anyValue,
		Read: func(_ qube.View, g grant) (messages.Reply, error) {
			return messages.Text(fmt.Sprintf("%s of %s from %s: %s", g.Arg().Shown(), g.Dest().Shown(), g.Source().Shown(), g.Payload().Shown())), nil
		},
	}
}

// changeMethod adds its argument to the destination's tags.
func changeMethod(name string) method {
	m := readMethod(name)
	m.Read, m.Access = nil, stages.Write
	m.Change = func(tx qube.Tx, g grant) (messages.Reply, error) {
		return messages.Empty, tx.AddTag(g.Dest().ID(), g.Arg())
	}
	return m
}

// words are the parts of a request.
type words struct{ call, source, destType, dest, payload string }

func (w words) request() messages.Request {
	seal := func(s string) untrusted.Bytes { return untrusted.Seal([]byte(s)) }
	return messages.Request{Call: seal(w.call), Source: seal(w.source), DestType: seal(w.destType), Dest: seal(w.dest), Payload: seal(w.payload)}
}

// sanitized is a call of m with argument "x" and payload "1".
func sanitized(t require.TestingT, m method, source, dest string) stages.Sanitized {
	s, err := stages.NewCatalogue(stages.Declare(m)).Sanitize(m.Socket, words{m.Name + "+x", source, "name", dest, "1"}.request())
	require.NoError(t, err)
	return s
}

// frame is err as the client gets it.
func frame(t require.TestingT, err error) string {
	var e *exception.Exception
	require.ErrorAs(t, err, &e)
	return string(e.AppendFrame(nil))
}

func typeOf(t require.TestingT, err error) exception.Type {
	var e *exception.Exception
	if err == nil {
		return ""
	}
	require.ErrorAs(t, err, &e)
	return e.Type()
}
