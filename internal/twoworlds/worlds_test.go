package twoworlds

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// pair is two worlds, and what a source that may see events is told in each.
type pair struct {
	t      *testing.T
	worlds [2]*world // without what is hidden, and with it
	events [2]*subscriber
	calls  int
}

func newPair(t *testing.T, k kind, rules string) *pair {
	p := &pair{t: t}
	for i := range p.worlds {
		p.worlds[i] = begin(t, options{inventory: k.inventory(i == 1), judge: obeying(rules)})
		p.events[i] = p.worlds[i].subscribe(source)
	}
	return p
}

// same makes a call in both worlds, which must not differ by what comes of it.
func (p *pair) same(r request) {
	var replies, logs, events [2]string
	p.calls++
	for i, w := range p.worlds {
		replies[i] = secrets.ReplaceAllString(w.call(r), "…")
		events[i] = strings.Join(p.events[i].sinceLast("mgmt"), "\n")
		logs[i] = strings.Join(w.logged(source, p.calls)[p.calls-1:], "\n")
	}
	what := fmt.Sprintf("%+v", r)
	assert.Equal(p.t, replies[0], replies[1], "the replies to %s differ", what)
	assert.Equal(p.t, events[0], events[1], "the events of %s differ", what)
	assert.Equal(p.t, logs[0], logs[1], "the log lines of %s differ", what)
}

// secrets are random, of course.
var secrets = regexp.MustCompile(`[A-Z0-9]{32}`)

// look compares all that the source can read of what it sees.
func (p *pair) look() {
	for _, q := range []string{"dom0", "base", "mgmt", "work", "dvm", "net", "alone", "spare", "idle", "far"} {
		for _, read := range []string{
			"admin.vm.List", "admin.vm.property.GetAll", "admin.vm.feature.List", "admin.vm.tag.List", "admin.vm.volume.List", "admin.vm.notes.Get",
		} {
			p.same(request{source, read, q, ""})
		}
	}
	for _, read := range []string{"admin.property.GetAll", "admin.label.List", "admin.vmclass.List"} {
		p.same(request{source, read, "dom0", ""})
	}
}

func named(s, name string) string { return strings.ReplaceAll(s, "{X}", name) }

func call(method, arg string) string {
	if arg == "" || strings.Contains(method, "+") {
		return method
	}
	return method + "+" + arg
}

// TestEveryMethodIsAsked: what a method can name is in the table, or why there is nothing.
func TestEveryMethodIsAsked(t *testing.T) {
	for _, e := range methods.All() {
		a, there := calls[e.Name]
		if !assert.True(t, there, "%s has no calls: say how its argument and payload can name something", e.Name) {
			continue
		}
		takes := e.Arg != stages.Forbidden || e.Payload != stages.Forbidden
		assert.Equal(t, takes, len(a.names) > 0 || a.nothing != "", "%s: say how its argument and payload can name something, or why not", e.Name)
		assert.False(t, len(a.names) > 0 && a.nothing != "", "%s", e.Name)
	}
	for name := range calls {
		assert.True(t, slices.ContainsFunc(methods.All(), func(e stages.Entry) bool { return e.Name == name }), "%s is no method", name)
	}
}

// TestCallsOfTheTableAreWell: with a visible destination, no call of the table is malformed or denied, so that what the
// other tests see is no refusal that everybody gets.
func TestCallsOfTheTableAreWell(t *testing.T) {
	for _, e := range methods.All() {
		if strings.HasSuffix(e.Name, "."+qube.AdminVM.Shown()) {
			continue // of which there can be only one
		}
		w := begin(t, options{inventory: kind{}.inventory(false), judge: obeying(allowsRest), quiet: true})
		a := calls[e.Name]
		frame := w.call(request{source, call(e.Name, a.arg), a.dest, a.payload})
		assert.NotContains(t, frame, "PermissionDenied", e.Name)
		assert.NotContains(t, frame, "ProtocolError", e.Name)
		w.stop()
	}
}

// TestTwoWorlds: whatever is named in destination, argument or payload, it makes no difference whether it is absent, or
// present and hidden (design: 2, invariant 4).
func TestTwoWorlds(t *testing.T) {
	for _, k := range hiddenKinds {
		t.Run(k.what, func(t *testing.T) { twoWorlds(t, k, byName) })
	}
	t.Run("whose policy names nobody", func(t *testing.T) { twoWorlds(t, hiddenQubes[0], byTag) })
}

func twoWorlds(t *testing.T, k kind, rules string) {
	p := newPair(t, k, rules)
	for _, e := range methods.All() {
		p.dest(k, e)
		p.named(k, e)
	}
	p.look()
}

// dest calls e of what is hidden.
func (p *pair) dest(k kind, e stages.Entry) {
	a := calls[e.Name]
	if k.qube != "" && e.Dest != stages.OnlyAdminVM {
		for _, dest := range []string{hiddenName, "uuid:" + hiddenID} {
			p.same(request{source, call(e.Name, a.arg), dest, a.payload})
			for _, n := range a.names { // also where more than one thing is hidden
				if n.what == aQube && n.dest == a.dest {
					p.same(request{source, call(e.Name, named(n.arg, hiddenName)), dest, named(n.payload, hiddenName)})
				}
			}
		}
	}
}

// named calls e with argument and payload that name what is hidden.
func (p *pair) named(k kind, e stages.Entry) {
	for _, n := range calls[e.Name].names {
		if n.what.fits(k) {
			p.same(request{source, call(e.Name, named(n.arg, hiddenName)), n.dest, named(n.payload, hiddenName)})
		}
	}
}

// fits reports whether k is what w names.
func (w what) fits(k kind) bool {
	switch w {
	case aLabel:
		return k.label != ""
	case aPool:
		return k.pool != ""
	case aKernel:
		return k.kernel != ""
	case oneQube:
		return k.what == hiddenQubes[0].what
	}
	return k.qube != ""
}

// TestTheTestCanSee: to a source that may see it, what is not hidden makes a difference, of each kind and in each place.
func TestTheTestCanSee(t *testing.T) {
	for _, c := range []struct {
		kind
		request
	}{
		{hiddenQubes[0], request{source, "admin.vm.List", hiddenName, ""}},
		{hiddenQubes[0], request{source, "admin.vm.List", "uuid:" + hiddenID, ""}},
		{hiddenQubes[0], request{source, "admin.vm.Create.AppVM+" + hiddenName, "dom0", "name=new label=red"}},
		{hiddenQubes[0], request{source, "admin.vm.property.Set+template", "work", hiddenName}},
		{hiddenQubes[1], request{source, "admin.vm.property.Set+netvm", "work", hiddenName}},
		{hiddenQubes[2], request{source, "admin.property.Set+default_dispvm", "dom0", hiddenName}},
		{hiddenQubes[1], request{source, "admin.vm.feature.Set+set-created-guivm", "mgmt", hiddenName}},
		{hiddenLabel, request{source, "admin.vm.Create.AppVM", "dom0", "name=new label=" + hiddenName}},
		{hiddenLabel, request{source, "admin.vm.property.Set+label", "work", hiddenName}},
		{hiddenLabel, request{source, "admin.label.Get+" + hiddenName, "dom0", ""}},
		{hiddenPool, request{source, "admin.vm.CreateInPool.AppVM", "dom0", "name=new label=red pool=" + hiddenName}},
		{hiddenPool, request{source, "admin.property.Set+default_pool", "dom0", hiddenName}},
		{hiddenKernel, request{source, "admin.vm.property.Set+kernel", "work", hiddenName}},
		{hiddenKernel, request{source, "admin.property.Set+default_kernel", "dom0", hiddenName}},
	} {
		var replies [2]string
		for i := range replies {
			w := begin(t, options{inventory: c.kind.inventory(i == 1), judge: obeying(allowsRest), quiet: true})
			replies[i] = w.call(c.request)
			w.stop()
		}
		require.NotEqual(t, replies[0], replies[1], "%+v", c.request)
	}
}
