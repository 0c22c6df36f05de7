package stages_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
)

var (
	work   = box("work", "11111111", "")
	vault  = box("vault", "22222222", "open")
	denied = string(exception.Denied.AppendFrame(nil))
)

// TestVerdicts goes through every way in which a call can meet the second door (design: 2, 7). Whatever is refused gets
// the same bytes, whether what it named exists or not, and as many questions are asked on the way.
func TestVerdicts(t *testing.T) {
	for n := 0; ; n++ {
		digits := n // each choice takes one, so that n counts through all combinations
		choice := func(options int) int { d := digits % options; digits /= options; return d }
		verdict{
			source:   []string{"dom0", "work", "gone"}[choice(3)],
			dest:     []string{"dom0", "vault", "uuid:22222222-0000-4000-8000-000000000000", "ghost"}[choice(4)],
			claims:   []string{"nothing", "its own", "another's", "nobody's", "any"}[choice(5)],
			requires: []string{"nothing", "what is there", "what is not"}[choice(3)],
			socket:   stages.Socket(choice(3)),
			decided:  choice(2) > 0, allowed: choice(2) > 0, vetoed: choice(2) > 0,
		}.check(t)
		if digits > 0 || t.Failed() {
			return
		}
	}
}

type verdict struct {
	source, dest             string
	claims                   string // the sources that the peer may claim
	requires                 string // the method
	socket                   stages.Socket
	decided, allowed, vetoed bool // by the peer; by policy; by a handler
}

func (c verdict) check(t *testing.T) {
	at := func(text string) string { return fmt.Sprintf("%s: %+v", text, c) }
	known, there, admin := c.source != "gone", c.dest != "ghost", c.source == "dom0"
	p := &messages.Peer{Any: c.claims == "any", Decided: c.decided, Sources: map[string][]qube.Name{
		"its own": {must(qube.ParseName(c.source))}, "another's": {vault.Name()}, "nobody's": {{}},
	}[c.claims]}
	m := readMethod("t.Read")
	m.Socket = c.socket
	required := 0
	if c.requires != "nothing" {
		m.Requires = func(_ qube.View, dest qube.Qube, arg qube.Tag) bool {
			required++
			assert.Equal(t, []any{there, "x"}, []any{dest != qube.Nobody, arg.Shown()}, at("asked of another"))
			return c.requires == "what is there"
		}
	}
	judge := &policy{allows: func(s stages.Subject) bool {
		assert.Equal(t, []any{"t.Read", known, there, "x"}, []any{s.Service, s.Source != qube.Nobody, s.Dest != qube.Nobody, s.Arg}, at("asked of another"))
		return c.allowed
	}}
	veto := exception.New(exception.QubesVMInUseError, "a handler says no")
	gate := stages.NewGate(judge, stages.Handler{Methods: []string{"t.Read"}, Check: func(f stages.Facts) (stages.Filter, error) {
		assert.Equal(t, []any{"t.Read", c.source, "x", "1"}, []any{f.Method, f.Source.Shown(), f.Arg.(qube.Tag).Shown(), f.Payload.(qube.FeatureValue).Shown()}, at("other facts"))
		assert.NotEqual(t, qube.Nobody, f.Dest, at("a handler is asked of what is there"))
		if c.vetoed {
			return nil, veto
		}
		return nil, nil
	}})
	a, err := gate.Judge(sanitized(t, m, c.source, c.dest), p, qube.Only(work, vault))

	var want exception.Type
	switch {
	case !known && p.Any:
		want = exception.QubesVMNotFoundError
	case !known, c.claims != "any" && c.claims != "its own", c.socket == stages.Internal && !admin,
		!admin && !c.decided && !c.allowed, c.requires == "what is not", !there && !(admin && c.requires == "nothing"):
		want = exception.PermissionDenied
		assert.Equal(t, denied, frame(t, err), at("refusals differ"))
	case !there:
		want = exception.QubesVMNotFoundError
	case c.vetoed:
		want = exception.QubesVMInUseError
	default:
		reply, err := a.Read()
		assert.NoError(t, err, at("permitted"))
		assert.Equal(t, "x of "+a.Dest().Shown()+" from "+c.source+": 1", string(reply.Body), at("permitted"))
		assert.Contains(t, []string{c.dest, "vault"}, a.Dest().Shown(), at("permitted"))
		assert.Equal(t, c.source, a.Source().Shown(), at("permitted"))
	}
	assert.Equal(t, want, typeOf(t, err), at("another answer"))
	assert.Equal(t, want == "", a != stages.Authorized{}, at("permission comes without an error"))
	if known || !p.Any { // a peer that may claim any source may know that one does not exist
		asked := func(yes bool) int { return map[bool]int{true: 1}[yes] }
		assert.Equal(t, []int{asked(!admin && !c.decided), asked(!admin), asked(m.Requires != nil)}, []int{judge.verdicts, judge.masks, required},
			at("the number of questions tells something"))
	}
}

// TestRefusalsNameTheSourceForTheLog: only one that exists, and that the caller may speak for.
func TestRefusalsNameTheSourceForTheLog(t *testing.T) {
	gate := stages.NewGate(&policy{allows: func(stages.Subject) bool { return false }})
	var refusal *stages.Refusal
	_, err := gate.Judge(sanitized(t, readMethod("t.Read"), "work", "vault"), &messages.Peer{Any: true}, qube.Only(work, vault))
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, work.Name(), refusal.Source)
	assert.Equal(t, exception.Denied.Error(), err.Error())

	_, err = gate.Judge(sanitized(t, readMethod("t.Read"), "work", "vault"), &messages.Peer{}, qube.Only(work, vault))
	assert.Error(t, err)
	assert.NotErrorAs(t, err, &refusal)
}

// TestAHandlersRefusalIsTheOneThereIs: in words of its own, it would tell that the destination is there.
func TestAHandlersRefusalIsTheOneThereIs(t *testing.T) {
	refuse := stages.Handler{Methods: []string{"t.Read"}, Check: func(stages.Facts) (stages.Filter, error) {
		return nil, exception.New(exception.PermissionDenied, "this handler has its own opinion")
	}}
	gate := stages.NewGate(&policy{allows: always}, refuse)
	_, handled := gate.Judge(sanitized(t, readMethod("t.Read"), "work", "vault"), &messages.Peer{Any: true}, qube.Only(work, vault))
	_, absent := gate.Judge(sanitized(t, readMethod("t.Read"), "work", "vault"), &messages.Peer{Any: true}, qube.Only(work))
	assert.Equal(t, frame(t, absent), frame(t, handled))
}

// TestZeroStatesOpenOntoAnException: Go lets anyone write one (design: 2).
func TestZeroStatesOpenOntoAnException(t *testing.T) {
	peer, v := &messages.Peer{Any: true}, qube.Only(work, vault)
	good := sanitized(t, readMethod("t.Read"), "dom0", "vault")
	read, err := stages.NewGate(&policy{}).Judge(good, peer, v)
	require.NoError(t, err)
	changed, err := stages.NewGate(&policy{}).Judge(sanitized(t, changeMethod("t.Change"), "dom0", "vault"), peer, v)
	require.NoError(t, err)
	tx := &change{moment: moment{v, 0}}
	for name, open := range map[string]func() error{
		"Judge of a zero Sanitized": func() error { _, err := stages.NewGate(&policy{}).Judge(stages.Sanitized{}, peer, v); return err },
		"Judge by no gate":          func() error { _, err := (*stages.Gate)(nil).Judge(good, peer, v); return err },
		"Judge by a zero gate":      func() error { _, err := new(stages.Gate).Judge(good, peer, v); return err },
		"Read of a zero Authorized": func() error { _, err := stages.Authorized{}.Read(); return err },
		"Change of a zero one":      func() error { _, err := stages.Authorized{}.Change(tx); return err },
		"Work of a zero one":        func() error { _, err := stages.Authorized{}.Work(); return err },
		"Change of a call to Read":  func() error { _, err := read.Change(tx); return err },
		"Work of a call to Read":    func() error { _, err := read.Work(); return err },
		"Read of a call to Change":  func() error { _, err := changed.Read(); return err },
		"Work of a call to Change":  func() error { _, err := changed.Work(); return err },
		"Sanitize by no catalogue's": func() error {
			_, err := new(stages.Catalogue).Sanitize(stages.Admin, words{"t.Read+x", "dom0", "name", "dom0", ""}.request())
			return err
		},
	} {
		assert.NotEmpty(t, typeOf(t, open()), name)
	}
	assert.Empty(t, tx.done)
	assert.Nil(t, stages.Sanitized{}.Entry())
	assert.Equal(t, stages.Reads, stages.Authorized{}.Kind())
	assert.Empty(t, stages.Authorized{}.Source().Shown()+stages.Authorized{}.Dest().Shown())
}

// TestActionsSeeTheMaskedView: what the source may not see is absent from all that looks, and only from that
// (design: 2.4).
func TestActionsSeeTheMaskedView(t *testing.T) {
	secret := box("secret", "33333333", "")
	all := qube.Only(work, vault, secret)
	for _, c := range []struct {
		source string
		sees   bool
	}{{"work", false}, {"dom0", true}} {
		judge := &policy{allows: always, mask: func(v qube.View, source, dest qube.Qube) qube.View {
			require.Equal(t, []string{"work", "vault"}, []string{source.Shown(), dest.Shown()})
			return qube.Only(work, vault)
		}}
		looks := 0
		look := func(v qube.View) {
			looks++
			_, ok := v.Qube(secret.Name())
			assert.Equal(t, c.sees, ok, c.source)
		}
		gate := stages.NewGate(judge, stages.Handler{Methods: []string{"t.Read", "t.Change"}, Check: func(f stages.Facts) (stages.Filter, error) {
			look(f.View)
			return nil, nil
		}})
		requires := func(v qube.View, _ qube.Qube, _ qube.Tag) bool { look(v); return true }

		r := readMethod("t.Read")
		r.Requires = requires
		r.Read = func(v qube.View, _ grant) (messages.Reply, error) { look(v); return messages.Empty, nil }
		a, err := gate.Judge(sanitized(t, r, c.source, "vault"), &messages.Peer{Any: true}, all)
		require.NoError(t, err)
		_, err = a.Read()
		require.NoError(t, err)
		require.Equal(t, 3, looks)

		w := changeMethod("t.Change")
		w.Requires = requires
		w.Change = func(tx qube.Tx, g grant) (messages.Reply, error) {
			look(tx)
			return messages.Empty, tx.AddTag(g.Dest().ID(), g.Arg())
		}
		a, err = gate.Judge(sanitized(t, w, c.source, "vault"), &messages.Peer{Any: true}, moment{all, 1})
		require.NoError(t, err)
		tx := &change{moment: moment{all, 2}}
		_, err = a.Change(tx)
		require.NoError(t, err)
		require.Equal(t, 8, looks, "two more at the gate, two when judged again, one in the change")
		assert.Equal(t, []string{vault.ID().Shown() + " x"}, tx.done)
	}
}

// TestAnUnmaskedTxIsTheLedgersOwn: where the source may see everything, nothing is put around it.
func TestAnUnmaskedTxIsTheLedgersOwn(t *testing.T) {
	tx := &change{moment: moment{qube.Only(work, vault), 1}}
	m := changeMethod("t.Change")
	m.Change = func(got qube.Tx, _ grant) (messages.Reply, error) {
		assert.Same(t, tx, got)
		return messages.Text("done"), nil
	}
	for _, source := range []string{"dom0", "work"} {
		a, err := stages.NewGate(&policy{allows: always}).Judge(sanitized(t, m, source, "vault"), &messages.Peer{Any: true}, tx.moment)
		require.NoError(t, err)
		reply, err := a.Change(tx)
		require.NoError(t, err)
		assert.Equal(t, messages.Text("done"), reply)
	}
}

// TestAChangeIsJudgedAgain when the inventory or the policy has moved on between the doors: it is then answered as the
// gate would answer now, about the very qubes that it was permitted for (design: 6).
func TestAChangeIsJudgedAgain(t *testing.T) {
	const before = qube.Revision(7)
	busy := exception.New(exception.QubesVMInUseError, "a handler says no")
	type later struct {
		qubes   []qube.Qube
		same    bool // the revision
		policy  uint64
		refuses bool // the handler, from now on
	}
	closed := box("vault", "22222222", "")
	renamed := box("safe", "22222222", "open")
	recreated := box("vault", "44444444", "open")
	for name, c := range map[string]struct {
		later      later
		requires   bool           // the tag, instead of the policy
		work, dom0 exception.Type // the answers
	}{
		"nothing moved":                       {later{[]qube.Qube{work, vault}, true, 0, true}, false, "", ""},
		"the revision moved":                  {later{[]qube.Qube{work, vault}, false, 0, false}, false, "", ""},
		"the policy moved":                    {later{[]qube.Qube{work, vault}, true, 1, false}, false, "", ""},
		"the tag was taken away":              {later{[]qube.Qube{work, closed}, false, 0, false}, false, exception.PermissionDenied, ""},
		"the policy forbids it now":           {later{[]qube.Qube{work, closed}, true, 1, false}, false, exception.PermissionDenied, ""},
		"what is required was taken away":     {later{[]qube.Qube{work, closed}, false, 0, false}, true, exception.PermissionDenied, exception.PermissionDenied},
		"dest was removed":                    {later{[]qube.Qube{work}, false, 0, false}, false, exception.PermissionDenied, exception.QubesVMNotFoundError},
		"dest was removed, which is required": {later{[]qube.Qube{work}, false, 0, false}, true, exception.PermissionDenied, exception.PermissionDenied},
		"dest was removed and made again":     {later{[]qube.Qube{work, recreated}, false, 0, false}, false, exception.PermissionDenied, exception.QubesVMNotFoundError},
		"dest was renamed":                    {later{[]qube.Qube{work, renamed}, false, 0, false}, false, "", ""},
		"source was removed and made again":   {later{[]qube.Qube{box("work", "55555555", ""), vault}, false, 0, false}, false, exception.PermissionDenied, ""},
		"a handler forbids it now":            {later{[]qube.Qube{work, vault}, false, 0, true}, false, exception.QubesVMInUseError, exception.QubesVMInUseError},
	} {
		for source, want := range map[string]exception.Type{"work": c.work, "dom0": c.dom0} {
			t.Run(name+" for "+source, func(t *testing.T) {
				open := must(qube.ParseTag("open"))
				m := changeMethod("t.Change")
				judge := &policy{allows: func(s stages.Subject) bool { return s.Dest.HasTag(open) }}
				if c.requires {
					m.Requires = func(_ qube.View, dest qube.Qube, _ qube.Tag) bool { return dest.HasTag(open) }
					judge.allows = always
				}
				refuses := false
				gate := stages.NewGate(judge, stages.Handler{Methods: []string{"t.Change"}, Check: func(stages.Facts) (stages.Filter, error) {
					if refuses {
						return nil, busy
					}
					return nil, nil
				}})
				peer := &messages.Peer{Sources: []qube.Name{work.Name(), qube.Dom0}}
				a, err := gate.Judge(sanitized(t, m, source, "vault"), peer, moment{qube.Only(work, vault), before})
				require.NoError(t, err)
				require.Equal(t, stages.Changes, a.Kind())

				tx := &change{moment: moment{qube.Only(c.later.qubes...), before + 1}}
				if c.later.same {
					tx.revision = before
				}
				judge.generation, refuses = c.later.policy, c.later.refuses
				_, err = a.Change(tx)
				assert.Equal(t, want, typeOf(t, err))
				switch want {
				case "":
					assert.Equal(t, []string{vault.ID().Shown() + " x"}, tx.done)
					assert.Equal(t, c.later.qubes[len(c.later.qubes)-1].Name(), a.Dest(), "as it is called now")
				case exception.PermissionDenied:
					assert.Equal(t, denied, frame(t, err))
					fallthrough
				default:
					assert.Empty(t, tx.done)
				}
			})
		}
	}
}

// TestFiltersOfHandlers: an item stays if all filters of the handlers that name the method keep it (spec: extensions.md
// 1). Handlers come on top of policy for dom0 too, and see the sanitized facts.
func TestFiltersOfHandlers(t *testing.T) {
	hide := func(name string) stages.Filter { return func(item qube.Noun) bool { return item.Shown() != name } }
	var order []string
	handler := func(name string, filter stages.Filter, methods ...string) stages.Handler {
		return stages.Handler{Methods: methods, Check: func(stages.Facts) (stages.Filter, error) {
			order = append(order, name)
			return filter, nil
		}}
	}
	gate := stages.NewGate(&policy{allows: always},
		handler("first", hide("vault"), "t.Other", "t.List"),
		handler("elsewhere", hide("work"), "t.Other"),
		handler("no filter", nil, "t.List"),
		handler("last", hide("dom0"), "t.List"))
	list := func(_ qube.View, g grant) (messages.Reply, error) {
		text := ""
		for _, q := range []qube.Qube{work, vault, qube.Plain{IsNamed: qube.Dom0}} {
			if g.Keeps(q) {
				text += q.Shown() + " "
			}
		}
		return messages.Text(text), nil
	}
	for name, want := range map[string]string{"t.List": "work ", "t.Other": "dom0 ", "t.Unhandled": "work vault dom0 "} {
		m := readMethod(name)
		m.Read = list
		for _, source := range []string{"work", "dom0"} {
			a, err := gate.Judge(sanitized(t, m, source, "vault"), &messages.Peer{Any: true}, qube.Only(work, vault))
			require.NoError(t, err)
			reply, err := a.Read()
			require.NoError(t, err)
			assert.Equal(t, want, string(reply.Body), name)
		}
		if name == "t.List" {
			assert.Equal(t, []string{"first", "no filter", "last"}, order[len(order)-3:], "in the order given")
		}
	}
}

// TestWorkIsStampedWithTheRevisionItWasJudgedOn, whatever the method says.
func TestWorkIsStampedWithTheRevisionItWasJudgedOn(t *testing.T) {
	m := readMethod("t.Work")
	m.Read, m.Work = nil, func(_ qube.View, g grant) (messages.Order, error) {
		return messages.Order{Kind: "test", Qube: g.Dest().ID(), Args: map[string]string{"tag": g.Arg().Shown()}, Revision: 1}, nil
	}
	a, err := stages.NewGate(&policy{allows: always}).Judge(sanitized(t, m, "work", "vault"), &messages.Peer{Any: true}, moment{qube.Only(work, vault), 7})
	require.NoError(t, err)
	assert.Equal(t, stages.Works, a.Kind())
	order, err := a.Work()
	require.NoError(t, err)
	assert.Equal(t, messages.Order{Kind: "test", Qube: vault.ID(), Args: map[string]string{"tag": "x"}, Revision: 7}, order)
}

// TestItemsArePermittedOneByOne: what a method lists is what the policy lets the source ask for item by item, whoever has
// decided on the call; dom0 gets all of it (spec: extensions.md 3, 7).
func TestItemsArePermittedOneByOne(t *testing.T) {
	m := readMethod("t.List")
	m.PerItem = func(dest qube.Qube, item qube.Noun) stages.Subject {
		return stages.Subject{Service: "t.Get", Dest: dest, Arg: item.Shown()}
	}
	m.Read = func(_ qube.View, g grant) (messages.Reply, error) {
		kept := fmt.Sprint(g.KeepsAll())
		for _, word := range []string{"a", "b", "c"} {
			if g.Keeps(must(qube.ParseTag(word))) {
				kept += " " + word
			}
		}
		return messages.Text(kept), nil
	}
	for _, c := range []struct {
		source  string
		decided bool
		want    string
	}{{"dom0", false, "true a b c"}, {"work", false, "false a c"}, {"work", true, "false a c"}} {
		judge := &policy{allows: func(s stages.Subject) bool {
			if s.Service == "t.List" {
				return true
			}
			assert.Equal(t, []string{"t.Get", "work", "vault"}, []string{s.Service, s.Source.Shown(), s.Dest.Shown()})
			return s.Arg != "b"
		}}
		a, err := stages.NewGate(judge).Judge(sanitized(t, m, c.source, "vault"), &messages.Peer{Any: true, Decided: c.decided}, qube.Only(work, vault))
		require.NoError(t, err)
		reply, err := a.Read()
		require.NoError(t, err)
		assert.Equal(t, c.want, string(reply.Body), c.source)
	}
}

// relayed is a RemoteVM that another qube relays for.
type relayed struct {
	qube.Plain
	through string
}

func (q relayed) Property(p qube.PropertyName) (qube.PropertyValue, bool) {
	if p.Shown() != "relayvm" {
		return qube.PropertyValue{}, false
	}
	return must(qube.ParsePropertyValue(q.through)), true
}

// TestARelayMaySpeakForItsRemotes, and for nobody else's (spec: policy.md 4.3).
func TestARelayMaySpeakForItsRemotes(t *testing.T) {
	remote := func(class qube.Class, through string) qube.Qube {
		return relayed{qube.Plain{IsNamed: must(qube.ParseName("away")), HasID: uuid("66666666"), IsA: class}, through}
	}
	for _, c := range []struct {
		away   qube.Qube
		claims qube.Name
		want   exception.Type
	}{
		{remote(qube.RemoteVM, "work"), work.Name(), ""},
		{remote(qube.RemoteVM, ""), must(qube.ParseName("away")), ""},
		{remote(qube.RemoteVM, "vault"), work.Name(), exception.PermissionDenied},
		{remote(qube.RemoteVM, ""), work.Name(), exception.PermissionDenied},
		{remote(qube.RemoteVM, ""), qube.Name{}, exception.PermissionDenied},
		{remote(qube.AppVM, "work"), work.Name(), exception.PermissionDenied},
	} {
		gate := stages.NewGate(&policy{allows: always})
		_, err := gate.Judge(sanitized(t, readMethod("t.Read"), "away", "vault"), &messages.Peer{Sources: []qube.Name{c.claims}}, qube.Only(work, vault, c.away))
		assert.Equal(t, c.want, typeOf(t, err), "%+v", c)
	}
}
