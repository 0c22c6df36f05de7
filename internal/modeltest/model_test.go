// Package modeltest compares the daemon with a model of it: long random sequences of calls, on a daemon that is whole but
// for its process, give the answers and the events that a few maps and slices say they should. The model was written from
// the specification alone and shares no code with the daemon. Where the specification leaves something open, the model
// does, too: then an event is marked maybe, or more than one answer is allowed.
package modeltest

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// TestMain makes the test long if it is asked to.
func TestMain(m *testing.M) {
	flag.Parse()
	checks := "12"
	if os.Getenv("SALLYPORT_LONG") != "" {
		checks = "3000"
	}
	if given := flag.Lookup("rapid.checks"); given.Value.String() == given.DefValue {
		if err := flag.Set("rapid.checks", checks); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// hostMiB is the memory of the host, as in the fixture.
const hostMiB = 32404

// TestTheDaemonIsAsTheModelSays calls, compares, and at times disconnects, resumes and restarts.
func TestTheDaemonIsAsTheModelSays(t *testing.T) {
	calls, accepted := map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := begin(t)
		defer p.end()
		for i, seed := range rapid.SliceOfN(rapid.Uint64(), 60, 150).Draw(t, "steps") {
			p.step(rand.New(rand.NewPCG(seed, uint64(i))))
		}
		p.compareAll()
		p.resume()
		for method, n := range p.calls {
			calls[""], calls[method] = calls[""]+n, calls[method]+n
			accepted[""], accepted[method] = accepted[""]+p.accepted[method], accepted[method]+p.accepted[method]
		}
	})
	for _, method := range slices.Sorted(maps.Keys(calls)) {
		t.Logf("%6d calls, of which %6d were answered with OK: %s", calls[method], accepted[method], cmp.Or(method, "all"))
	}
}

// play is a daemon beside its model.
type play struct {
	t               *rapid.T
	world           *world
	daemon          *daemon
	plain, numbered *subscriber
	away            bool    // numbered is
	owed            []event // to numbered
	gone            []string
	calls, accepted map[string]int // by method
}

func begin(t *rapid.T) *play {
	p := &play{t: t, calls: map[string]int{}, accepted: map[string]int{}, daemon: newDaemon(t), world: &world{
		qubes: map[string]*vm{}, labels: slices.Clone(builtIn), kernels: []string{"dummy", "other"}, pools: []string{"varlibqubes", "big"},
		globals: map[string]string{"default_template": "test-template", "default_kernel": "dummy", "default_pool": "varlibqubes"}, hostMiB: hostMiB,
	}}
	for _, v := range []*vm{
		newVM("dom0", "AdminVM", "black"), newVM("test-template", "TemplateVM", "black"), newVM("test-vm1", "AppVM", "red"),
		newVM("mgmt", "AppVM", "green"), newVM("net", "StandaloneVM", "red"), newVM("a.dot", "AppVM", "blue"),
		newVM("dvm", "AppVM", "red"), newVM("firewall", "AppVM", "green"), newVM("far", "RemoteVM", "gray"),
	} {
		p.world.qubes[v.name] = v
		switch v.class {
		case "AdminVM":
			v.state, v.uuid = "Running", zeroUUID
		case "AppVM":
			v.props["template"] = "test-template"
		}
		if v.class == "RemoteVM" {
			v.state = "Running"
			p.learn(v)
		}
		if v.networked() {
			v.tags["guivm-dom0"], v.tags["audiovm-dom0"] = true, true
			p.learn(v)
		}
	}
	for _, name := range []string{"net", "firewall"} {
		p.world.qubes[name].props["provides_network"] = "True"
		p.world.qubes[name].setFeature("servicevm", "1")
	}
	p.world.qubes["firewall"].props["netvm"] = "net"
	p.world.qubes["net"].props["netvm"] = ""
	p.world.qubes["dvm"].props["template_for_dispvms"] = "True"
	p.plain, p.numbered = p.daemon.subscribe(false), p.daemon.subscribe(true)
	return p
}

// learn asks for what is drawn for a new qube: nobody else can know it.
func (p *play) learn(v *vm) {
	get := func(property string) string {
		answer := p.daemon.call(call{source: "dom0", method: "admin.vm.property.Get", arg: property, dest: v.name})
		_, value, found := strings.Cut(strings.TrimPrefix(answer, "OK default=False type="), " ")
		require.True(p.t, found, "%s of %s: %s", property, v.name, answer)
		return value
	}
	v.uuid = get("uuid")
	require.Regexp(p.t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, v.uuid)
	for _, q := range p.world.qubes {
		require.True(p.t, q == v || q.uuid != v.uuid, "%s and %s have one UUID", q.name, v.name)
	}
	qid, err := strconv.Atoi(get("qid"))
	require.NoError(p.t, err)
	require.True(p.t, v.qid == 0 || v.qid == qid, "%s should have the qid %d, not %d", v.name, v.qid, qid)
	v.qid = qid
	if v.class == "DispVM" {
		v.dispid, err = strconv.Atoi(get("dispid"))
		require.NoError(p.t, err)
		require.True(p.t, v.dispid >= 0 && v.dispid <= 9999, "%s has the dispid %d", v.name, v.dispid)
	}
}

// end closes what begin opened, whatever happened.
func (p *play) end() {
	p.plain.disconnect()
	if !p.away {
		p.numbered.disconnect()
	}
	p.daemon.close()
}

// step is one call, or something that happens to the daemon or a subscriber. All that is drawn for it comes from d, so
// that rapid can leave out whole steps of a failing run.
func (p *play) step(d *rand.Rand) {
	switch d.IntN(40) {
	case 17:
		p.restart()
	case 13:
		p.leave()
	case 23:
		p.resume()
	default:
		p.call(p.world.draw(d, p.gone))
		p.compare(one(d, p.world.all()))
	}
}

func (p *play) call(c call) {
	o := p.world.expect(c)
	if o.skip {
		return
	}
	before := p.world.names()
	answer := p.daemon.call(c)
	p.t.Logf("%v -> %.100q", c, answer)
	p.calls[c.method]++
	require.True(p.t, o.allows(answer), "%v\nanswered %q\nwanted   %q", c, answer, o.answers)
	want, wasOK := o.fail, strings.HasPrefix(answer, ok)
	if wasOK {
		want = o.ok
		p.accepted[c.method]++
	}
	changed := wasOK && o.then != nil
	if changed {
		o.then(p.nameOf(strings.TrimPrefix(answer, ok)))
	}
	p.hear(c, want, wasOK)
	if !changed {
		return
	}
	for _, name := range before {
		if p.world.qubes[name] == nil {
			p.gone = append(p.gone, name)
		}
	}
	for _, v := range p.world.all() {
		if !slices.Contains(before, v.name) {
			p.learn(v)
			p.compare(v)
			if strings.HasPrefix(c.method, "admin.vm.CreateDisposable") {
				require.Equal(p.t, "disp"+strconv.Itoa(v.dispid), v.name)
			}
		}
	}
}

// nameOf is the name of a qube of which there may be only the UUID.
func (p *play) nameOf(content string) string {
	if !strings.HasPrefix(content, "uuid:") {
		return content
	}
	answer := p.daemon.call(call{source: "dom0", method: "admin.vm.property.Get", arg: "name", dest: content})
	return strings.TrimPrefix(answer, "OK default=False type=str ")
}

// hear compares what subscribers are told with what they should be. What comes later than the answer is waited for.
func (p *play) hear(c call, want []event, wasOK bool) {
	var got []event
	if last := slices.IndexFunc(want, func(e event) bool { return !e.maybe }); last >= 0 && wasOK && regexp.MustCompile(`Shutdown|Kill|Pause`).MatchString(c.method) {
		for i, e := range want {
			if !e.maybe {
				last = i
			}
		}
		got = p.plain.including(want[last])
	}
	mark := p.mark()
	got = append(got, p.plain.until(mark)...)
	require.True(p.t, agree(want, got), "%v\ntold\n%swanted\n%s", c, inLines(got), inLines(want))
	if !wasOK && p.away {
		got = maybe(got...) // what is announced and then refused is not kept; that something failed is
	}
	p.owed = append(p.owed, got...)
	p.owed = append(p.owed, mark)
	if !p.away {
		p.catchUp()
	}
}

// catchUp reads what numbered is owed, and nothing else.
func (p *play) catchUp() {
	var got []event
	for _, e := range p.owed {
		if strings.HasSuffix(e.name, ":mark") {
			got = append(got, p.numbered.including(e)...)
		}
	}
	require.True(p.t, agree(p.owed, got), "the subscriber with numbers was told\n%swanted\n%s", inLines(got), inLines(p.owed))
	p.owed = nil
}

// mark makes an event that ends what came before it.
func (p *play) mark() event {
	dom0, verb, name := p.world.qubes["dom0"], "Set", "domain-tag-add:mark"
	if dom0.tags["mark"] {
		verb, name = "Remove", "domain-tag-delete:mark"
	}
	require.Equal(p.t, ok, p.daemon.call(call{source: "dom0", method: "admin.vm.tag." + verb, arg: "mark", dest: "dom0"}))
	dom0.tags["mark"] = !dom0.tags["mark"]
	if !dom0.tags["mark"] {
		delete(dom0.tags, "mark")
	}
	return event{subject: "dom0", name: name, args: []string{"tag=mark"}}
}

// without is the lines of text that other has not.
func without(text, other string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return slices.Contains(strings.Split(other, "\n"), line) }), "\n")
}

func inLines(events []event) string {
	var text strings.Builder
	for _, e := range events {
		fmt.Fprintf(&text, "    %v\n", e)
	}
	return text.String()
}

func (p *play) leave() {
	if !p.away {
		p.numbered.disconnect()
		p.away = true
		p.t.Logf("the subscriber leaves")
	}
}

func (p *play) resume() {
	if p.away {
		p.t.Logf("the subscriber resumes")
		p.numbered.connect()
		p.away = false
		p.catchUp()
	}
}

// restart stops the daemon and starts it on what it stored.
func (p *play) restart() {
	p.t.Logf("restart")
	p.plain.disconnect()
	if !p.away {
		p.numbered.disconnect()
	}
	p.daemon.stop()
	p.daemon.start()
	p.plain.connect()
	if !p.away {
		p.numbered.connect()
		p.catchUp()
	}
	p.compareAll()
}

// compare asks for all there is to know of a qube.
func (p *play) compare(v *vm) {
	for _, method := range []string{"admin.vm.property.GetAll", "admin.vm.tag.List", "admin.vm.feature.List", "admin.vm.List", "admin.vm.CurrentState"} {
		c := call{source: "dom0", method: method, dest: v.name}
		o, answer := p.world.expect(c), p.daemon.call(c)
		require.True(p.t, o.allows(answer), "%v\nanswered\n%s\nwanted\n%s", c, without(answer, o.answers[0]), without(o.answers[0], answer))
	}
	for _, f := range v.features {
		require.Equal(p.t, ok+f.value, p.daemon.call(call{source: "dom0", method: "admin.vm.feature.Get", arg: f.name, dest: v.name}))
	}
}

func (p *play) compareAll() {
	for _, v := range p.world.all() {
		p.compare(v)
	}
	for _, method := range []string{"admin.property.GetAll", "admin.label.List"} {
		c := call{source: "dom0", method: method, dest: "dom0"}
		o, answer := p.world.expect(c), p.daemon.call(c)
		require.True(p.t, o.allows(answer), "%v\nanswered\n%s\nwanted\n%s", c, without(answer, o.answers[0]), without(o.answers[0], answer))
	}
}
