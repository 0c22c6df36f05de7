package stages_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// flaw is one thing wrong with a request: a field, and what it holds.
type flaw struct {
	field, holds string
	want         exception.Type
}

func (w words) with(arg string, flaws ...flaw) words {
	for _, f := range flaws {
		switch f.field {
		case "dest-type":
			w.destType = f.holds
		case "source":
			w.source = f.holds
		case "dest":
			w.dest = f.holds
		case "method":
			w.call = f.holds
		case "argument":
			arg = f.holds
		case "payload":
			w.payload = f.holds
		}
	}
	w.call += "+" + arg
	return w
}

// What a method needs or refuses, each with all that can be wrong with a call, in the order in which it is checked
// (spec: methods.yaml common_checks.order).
var orders = []struct {
	method method
	good   words
	arg    string
	flaws  []flaw
}{
	{
		method: method{Name: "t.Needs", Dest: stages.NotAdminVM, Arg: anyTag, Payload: anyValue},
		good:   words{"t.Needs", "work", "name", "uuid:99e663cd-a765-4c11-ac33-66fb1bcea8c7", "1"}, arg: "x",
		flaws: []flaw{
			{"dest-type", "keyword", exception.ProtocolError},
			{"source", "w\xe4rk", exception.ProtocolError},
			{"source", "1bad", exception.QubesValueError},
			{"source", "", exception.QubesValueError},
			{"source", "uuid:99E663CD-a765-4c11-ac33-66fb1bcea8c7", exception.QubesVMInvalidUUIDError},
			{"dest", "uuid:\xe4", exception.ProtocolError},
			{"dest", "none", exception.QubesValueError},
			{"dest", "work\n", exception.QubesValueError},
			{"dest", "uuid:00000000-0000-0000-0000-0000000000_0", exception.QubesVMInvalidUUIDError},
			{"dest", "uuid:99e663cda-765-4c11-ac33-66fb1bcea8c7", exception.QubesVMInvalidUUIDError},
			{"dest", "uuid:", exception.QubesVMInvalidUUIDError},
			{"argument", "\xe4", exception.ProtocolError},
			{"method", "t.Unknown", exception.ProtocolError},
			{"method", "", exception.ProtocolError},
			{"payload", "", exception.ProtocolError},
			{"argument", "", exception.ProtocolError},
			{"dest", "dom0", exception.ProtocolError},
			{"dest", "uuid:00000000-0000-0000-0000-000000000000", exception.ProtocolError},
			{"argument", "a.b", exception.QubesInvalidTagError},
			{"payload", "\n", exception.QubesPropertyValueError},
		},
	},
	{
		method: method{Name: "t.Refuses", Dest: stages.OnlyAdminVM,
			Arg:     stages.Field[qube.Tag]{Read: func(untrusted.Bytes) (qube.Tag, error) { return qube.Tag{}, nil }},
			Payload: stages.Field[qube.FeatureValue]{Read: func(untrusted.Bytes) (qube.FeatureValue, error) { return qube.FeatureValue{}, nil }}},
		good: words{"t.Refuses", "dom0", "name", "dom0", ""},
		flaws: []flaw{
			{"dest-type", "tag", exception.ProtocolError},
			{"payload", "1", exception.ProtocolError},
			{"argument", "x", exception.ProtocolError},
			{"dest", "work", exception.ProtocolError},
		},
	},
}

// TestTheFirstFlawIsReported: a call in which two things are wrong is answered like one in which only the first of them
// is.
func TestTheFirstFlawIsReported(t *testing.T) {
	for _, o := range orders {
		m := o.method
		m.Help, m.Access = "reads", stages.Read
		m.Read = func(qube.View, grant) (messages.Reply, error) { return messages.Empty, nil }
		catalogue := stages.NewCatalogue(stages.Declare(m))
		sanitize := func(t require.TestingT, flaws ...flaw) error {
			_, err := catalogue.Sanitize(stages.Admin, o.good.with(o.arg, flaws...).request())
			return err
		}
		require.NoError(t, sanitize(t))
		for _, f := range o.flaws {
			assert.Equal(t, f.want, typeOf(t, sanitize(t, f)), "%+v", f)
		}
		for i, first := range o.flaws {
			for _, second := range o.flaws[i+1:] {
				if first.field != second.field {
					assert.Equal(t, frame(t, sanitize(t, first)), frame(t, sanitize(t, first, second)), "%+v, %+v", first, second)
				}
			}
		}
	}
}

// FuzzSanitize: whatever comes is a call, or is answered with one of few constants: no byte of it is quoted.
func FuzzSanitize(f *testing.F) {
	catalogue := stages.NewCatalogue(stages.Declare(readMethod("t.Needs")), stages.Declare(changeMethod("t.Change")))
	constants := map[string]bool{}
	for _, flaw := range orders[0].flaws {
		if _, err := catalogue.Sanitize(stages.Admin, orders[0].good.with(orders[0].arg, flaw).request()); err != nil {
			constants[frame(f, err)] = true
		}
	}
	f.Fuzz(func(t *testing.T, call, source, destType, dest, payload string) {
		s, err := catalogue.Sanitize(stages.Admin, words{call, source, destType, dest, payload}.request())
		if err != nil {
			require.Contains(t, constants, frame(t, err))
			require.Zero(t, s)
			return
		}
		require.Contains(t, call, s.Entry().Name+"+")
	})
}

// loose takes any argument, or none.
func loose(name string) method {
	m := readMethod(name)
	m.Arg.Want, m.Payload.Want = stages.Optional, stages.Optional
	m.Arg.Read = func(u untrusted.Bytes) (qube.Tag, error) {
		for _, arg := range []string{"", "one", "a+b"} {
			if u.Is(arg) {
				return must(qube.ParseTag(map[string]string{"": "nothing", "one": "one", "a+b": "a-plus-b"}[arg])), nil
			}
		}
		return qube.Tag{}, exception.New(exception.QubesInvalidTagError, "not a tag")
	}
	return m
}

// TestMethodsAreFoundByName is spec: wire.md 2, rules 3 to 5, and 1: a method is served on one socket.
func TestMethodsAreFoundByName(t *testing.T) {
	fixed := func(name string) method {
		m := readMethod(name)
		m.Arg.Want, m.Arg.Read = stages.Forbidden, func(u untrusted.Bytes) (qube.Tag, error) {
			assert.Zero(t, u.Len(), "the argument is part of the name")
			return must(qube.ParseTag("fixed")), nil
		}
		return m
	}
	hidden := readMethod("t.Hidden")
	hidden.Socket = stages.Internal
	catalogue := stages.NewCatalogue(stages.Declare(loose("t.Loose")), stages.Declare(fixed("t.Fixed+one")), stages.Declare(fixed("t.Fixed+two")), stages.Declare(hidden))
	gate := stages.NewGate(&policy{})
	for call, want := range map[string]string{
		"t.Loose":         "nothing of dom0 from dom0: 1",
		"t.Loose+":        "nothing of dom0 from dom0: 1",
		"t.Loose+one":     "one of dom0 from dom0: 1",
		"t.Loose+a+b":     "a-plus-b of dom0 from dom0: 1",
		"t.Fixed+one":     "fixed of dom0 from dom0: 1",
		"t.Fixed+two":     "fixed of dom0 from dom0: 1",
		"t.Fixed":         "",
		"t.Fixed+":        "",
		"t.Fixed+three":   "",
		"t.Fixed+one+":    "",
		"t.Fixed+one+two": "",
		"t.Hidden+x":      "",
		"t.loose":         "",
		"+t.Loose":        "",
		" t.Loose":        "",
	} {
		r := words{call, "dom0", "keyword", "adminvm", "1"}.request()
		s, err := catalogue.Sanitize(stages.Admin, r)
		if want == "" {
			assert.Equal(t, exception.ProtocolError, typeOf(t, err), call)
			assert.Empty(t, catalogue.Named(stages.Admin, r), call)
			continue
		}
		require.NoError(t, err, call)
		assert.Equal(t, catalogue.Named(stages.Admin, r), s.Entry().Name)
		a, err := gate.Judge(s, &messages.Peer{Any: true}, qube.Only())
		require.NoError(t, err, call)
		reply, err := a.Read()
		require.NoError(t, err, call)
		assert.Equal(t, want, string(reply.Body), call)
	}
	_, err := catalogue.Sanitize(stages.Internal, words{"t.Hidden+x", "dom0", "name", "dom0", "1"}.request())
	assert.NoError(t, err)
	assert.Equal(t, "t.Fixed+two", catalogue.Named(stages.Admin, words{call: "t.Fixed+two"}.request()))
}

// TestDestinations is spec: wire.md 2, rules 3 and 4.
func TestDestinations(t *testing.T) {
	catalogue := stages.NewCatalogue(stages.Declare(readMethod("t.Read")))
	gate := stages.NewGate(&policy{})
	for _, c := range []struct {
		destType, dest string
		want           exception.Type
	}{
		{"keyword", "adminvm", ""},
		{"name", "dom0", ""},
		{"name", "uuid:00000000-0000-0000-0000-000000000000", ""},
		{"name", "adminvm", exception.QubesVMNotFoundError}, // a qube may have this name
		{"keyword", "dom0", exception.ProtocolError},
		{"keyword", "dispvm", exception.ProtocolError},
		{"keyword", "adminvm ", exception.ProtocolError},
		{"tag", "adminvm", exception.ProtocolError},
		{"Name", "dom0", exception.ProtocolError},
		{"", "dom0", exception.ProtocolError},
	} {
		s, err := catalogue.Sanitize(stages.Admin, words{"t.Read+x", "dom0", c.destType, c.dest, "1"}.request())
		if err == nil {
			_, err = gate.Judge(s, &messages.Peer{Any: true}, qube.Only())
		}
		assert.Equal(t, c.want, typeOf(t, err), "%+v", c)
	}
}

func TestAPayloadsGrammarMayDependOnTheArgument(t *testing.T) {
	m := readMethod("t.Depends")
	m.Payload.Read = nil
	m.PayloadFor = func(arg qube.Tag) stages.Field[qube.FeatureValue] {
		return stages.Field[qube.FeatureValue]{Read: func(u untrusted.Bytes) (qube.FeatureValue, error) {
			if !u.Is(arg.Shown()) {
				return qube.FeatureValue{}, exception.New(exception.QubesPropertyValueError, "not the argument again")
			}
			return qube.ParseFeatureValue(arg.Shown())
		}}
	}
	catalogue := stages.NewCatalogue(stages.Declare(m))
	_, err := catalogue.Sanitize(stages.Admin, words{"t.Depends+same", "dom0", "name", "work", "same"}.request())
	assert.NoError(t, err)
	_, err = catalogue.Sanitize(stages.Admin, words{"t.Depends+same", "dom0", "name", "work", "other"}.request())
	assert.Equal(t, exception.QubesPropertyValueError, typeOf(t, err))
}

// TestIncompleteMethodsAreNotDeclared: they stop the daemon before it answers a call.
func TestIncompleteMethodsAreNotDeclared(t *testing.T) {
	read, change := readMethod("t.Read"), changeMethod("t.Change")
	work := func(qube.View, grant) (messages.Order, error) { return messages.Order{}, nil }
	for flaw, spoil := range map[string]func(*method){
		"no name":                func(m *method) { m.Name = "" },
		"no help":                func(m *method) { m.Help = "" },
		"no access":              func(m *method) { m.Access = 0 },
		"nothing to do":          func(m *method) { m.Read = nil },
		"a read and a change":    func(m *method) { m.Access, m.Change = stages.Write, change.Change },
		"a read and a work":      func(m *method) { m.Work = work },
		"a change and a work":    func(m *method) { m.Read, m.Change, m.Work = nil, change.Change, work },
		"a read that may write":  func(m *method) { m.Access |= stages.Write },
		"no grammar of argument": func(m *method) { m.Arg.Read = nil },
		"no grammar of payload":  func(m *method) { m.Payload.Read = nil },
		"two of payload":         func(m *method) { m.PayloadFor = func(qube.Tag) stages.Field[qube.FeatureValue] { return anyValue } },
		"two arguments":          func(m *method) { m.Name += "+one" },
	} {
		m := read
		assert.NotPanics(t, func() { stages.Declare(m) })
		spoil(&m)
		assert.Panics(t, func() { stages.Declare(m) }, flaw)
	}
	assert.Panics(t, func() { stages.NewCatalogue(stages.Declare(read), stages.Declare(readMethod(read.Name))) }, "declared twice")
	fixed := readMethod(read.Name + "+one")
	fixed.Arg = read.Arg
	fixed.Arg.Want = stages.Forbidden
	assert.Panics(t, func() { stages.NewCatalogue(stages.Declare(read), stages.Declare(fixed)) }, "one call, two methods")
}

// TestEntriesSayWhatWasDeclared: policies, references and listings are made of them.
func TestEntriesSayWhatWasDeclared(t *testing.T) {
	m := changeMethod("t.Change")
	m.Socket, m.Dest, m.Access, m.Scope = stages.Misc, stages.NotAdminVM, stages.Write|stages.Execute, stages.Global
	m.Arg.Doc, m.Payload.Doc, m.Payload.Want = "a tag", "a value", stages.Optional
	work := readMethod("t.Work")
	work.Read, work.Work = nil, func(qube.View, grant) (messages.Order, error) { return messages.Order{}, nil }

	var names []string
	for e := range stages.NewCatalogue(stages.Declare(work), stages.Declare(m), stages.Declare(readMethod("t.Read"))).Entries() {
		names = append(names, e.Name)
		if e.Name == m.Name {
			assert.Equal(t, []any{m.Socket, m.Dest, m.Access, m.Scope, "reads", stages.Required, stages.Optional, "a tag", "a value", stages.Changes},
				[]any{e.Socket, e.Dest, e.Access, e.Scope, e.Help, e.Arg, e.Payload, e.ArgDoc, e.PayloadDoc, e.Kind})
		}
	}
	assert.Equal(t, []string{"t.Work", "t.Change", "t.Read"}, names, "in the order of declaration")
	assert.Equal(t, stages.Reads, stages.Declare(readMethod("t.Read")).Kind)
	assert.Equal(t, stages.Works, stages.Declare(work).Kind)
}
