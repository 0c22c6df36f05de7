package methods_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"sallyport/internal/daemontest"
	"sallyport/internal/hypervisor/simulated"
	"sallyport/internal/inventory"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages/lifecycle"
	"sallyport/stages/properties"
)

// vectorGroups are the groups of core.yaml, all of which are played.
var vectorGroups = []string{"framing", "dispatch", "list", "property_get", "property_set", "property_set_dom0", "property_reset", "global", "labels", "tags", "features", "create", "disposable_remove", "lifecycle"}

// vectors is core.yaml: what the reference answered.
type vectors struct {
	About   string
	Fixture struct {
		VMs           []fixedQube
		AllHalted     bool `yaml:"all_halted"`
		App           map[string]string
		Pools         []string
		HostMemoryMiB int `yaml:"host_memory_mib"`
		Policy        string
	}
	Notation map[string]string
	Groups   []group
}

// group is steps that build on one another, on a system of their own.
type group struct {
	Name  string
	Steps []step
}

type fixedQube struct {
	Name, Klass, Label, Template string
	QID                          int
}

// step is one request and the reference's answer.
type step struct {
	Raw                        *string // all of the request, instead of the next five
	Method, Arg, Dest, Payload string
	Src                        string // dom0 if empty
	Setup                      string // something done in the server, and no request

	OK        *string
	Exception string
	Silent    bool
	Safer     string // what to say instead of nothing
	Frames    string // of an event stream
}

// exceptions is differences.yaml: all that is not as in core.yaml, and why.
type exceptions struct {
	Differences []difference
}

type difference struct {
	place     `yaml:",inline"`
	Reference string
	Ours      string
	Reason    string
}

// place is a step of core.yaml, counted from 0 in its group. The method is there for people, and must be right too.
type place struct {
	Group  string
	Step   int
	Method string
}

// readYAML reads a file of the project's testdata, all of it.
func readYAML(t *testing.T, name string, into any) {
	data, err := os.ReadFile("../../testdata/" + name)
	require.NoError(t, err)
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	require.NoError(t, d.Decode(into), name)
}

// latin1 is text of core.yaml as bytes.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// request is the step's bytes.
func (s step) request() []byte {
	if s.Raw != nil {
		return []byte(latin1(*s.Raw))
	}
	source := s.Src
	if source == "" {
		source = qube.Dom0.Shown()
	}
	return messages.FormatRequest(latin1(s.Method+"+"+s.Arg), source, s.Dest, []byte(latin1(s.Payload)))
}

// calls is the method that the step calls; empty if the frame is broken.
func (s step) calls() string {
	method, _, _ := strings.Cut(s.Method, "+")
	if s.Raw != nil {
		method, _, _ = strings.Cut(*s.Raw, " ")
		method, _, _ = strings.Cut(method, "+")
	}
	return method
}

// wants is what a server that is never silent should say (design: 2, invariant 5), as said puts it.
func (s step) wants(uuids *strings.Replacer) string {
	content, isOK := strings.CutPrefix(s.Safer, "ok (")
	switch {
	case s.OK != nil:
		return ok + latin1(uuids.Replace(*s.OK))
	case s.Exception != "":
		return s.Exception
	case isOK:
		return ok + strings.TrimSuffix(content, ")")
	case s.Safer != "":
		return s.Safer
	case s.Silent:
		return "ProtocolError"
	}
	return "nothing that this test understands"
}

// TestVectors plays what was recorded of the reference to a daemon, over its socket. All that may differ is in
// differences.yaml.
func TestVectors(t *testing.T) {
	var all vectors
	var but exceptions
	readYAML(t, "vectors/core.yaml", &all)
	readYAML(t, "vectors/differences.yaml", &but)
	but.check(t)
	assert.Len(t, all.Groups, len(vectorGroups), "every group is played")
	var sum count
	for _, name := range vectorGroups {
		i := slices.IndexFunc(all.Groups, func(g group) bool { return g.Name == name })
		require.GreaterOrEqual(t, i, 0, "core.yaml has no group %s", name)
		t.Run(name, func(t *testing.T) {
			n := play(t, all.Groups[i], but)
			t.Logf("%s: %v", name, n)
			sum = count{sum.ran + n.ran, sum.differ + n.differ}
		})
	}
	t.Logf("in all: %v", sum)
}

// count says what became of steps.
type count struct{ ran, differ int }

func (c count) String() string {
	return fmt.Sprintf("%d steps ran, of which %d differ as wanted", c.ran, c.differ)
}

// play plays one group to a daemon of its own.
func play(t *testing.T, g group, but exceptions) (n count) {
	plant := newPlant()
	book := opened(t, "../../testdata/vectors/fixture.yaml", plant)
	plant.Begin(book.View, simulated.Settings{MemoryMiB: int(book.View().Host().MemoryMiB)})
	call := served(t, book, lifecycle.NewWorker(plant))
	met := map[place]bool{}
	for i, s := range g.Steps {
		at := place{g.Name, i, s.calls()}
		if s.Setup != "" {
			plant.setUp(t, book, call, i, s.Setup)
			continue
		}
		n.ran++
		if s.Frames != "" {
			assert.Equal(t, s.Frames, framesIn(t, call(s.request())), "%v", at)
			continue
		}
		uuids := uuidsIn(book.View())
		got, want := said(t, call(s.request())), s.wants(uuids)
		if d, wanted := but.differs(at); wanted {
			assert.Equal(t, uuids.Replace(d.Reference), want, "%v: the reference's answer, in differences.yaml and in core.yaml", at)
			assert.Equal(t, uuids.Replace(d.Ours), got, "%v: our answer, in differences.yaml and in fact", at)
			n.differ, met[at] = n.differ+1, true
			continue
		}
		assert.Equal(t, want, got, "%v", at)
	}
	for at := range but.places() {
		assert.True(t, at.Group != g.Name || met[at], "differences.yaml has %v, which did not occur", at)
	}
	return n
}

// framesIn says of a stream of one event and an exception what core.yaml says of it.
func framesIn(t *testing.T, stream []byte) string {
	r := bufio.NewReader(bytes.NewReader(stream))
	e, err := messages.ReadEvent(r)
	require.NoError(t, err)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	return e.Name + " event then exception " + said(t, rest)
}

// uuidsIn puts UUIDs where core.yaml has <uuid:NAME>.
func uuidsIn(v qube.View) *strings.Replacer {
	var pairs []string
	for q := range v.Qubes() {
		pairs = append(pairs, "<uuid:"+q.Shown()+">", q.ID().Shown())
	}
	return strings.NewReplacer(pairs...)
}

func (e exceptions) places() iter.Seq[place] {
	return func(yield func(place) bool) {
		for _, d := range e.Differences {
			if !yield(d.place) {
				return
			}
		}
	}
}

// check finds what play would not: entries for groups that there are not, for one step twice, and without a reason.
func (e exceptions) check(t *testing.T) {
	seen := map[place]bool{}
	for at := range e.places() {
		assert.Contains(t, vectorGroups, at.Group, "differences.yaml has %v", at)
		assert.False(t, seen[at], "differences.yaml has %v twice", at)
		seen[at] = true
	}
	for _, d := range e.Differences {
		assert.NotEmpty(t, d.Reason, "%v", d.place)
		assert.NotEqual(t, d.Reference, d.Ours, "%v is no difference", d.place)
	}
}

func (e exceptions) differs(at place) (difference, bool) {
	for _, d := range e.Differences {
		if d.place == at {
			return d, true
		}
	}
	return difference{}, false
}

// served starts a daemon on book, and gives a way to call it: each call is a connection.
func served(t *testing.T, book qube.Book, power *lifecycle.Worker) func(request []byte) (frame []byte) {
	dir := daemontest.Dir(t)
	path := filepath.Join(dir, "s")
	daemon := daemontest.Start(t, path, book, power)
	t.Cleanup(func() {
		assert.NoError(t, daemon.Close(context.Background()))
		assert.NoError(t, os.RemoveAll(dir))
	})
	return func(request []byte) []byte { return daemontest.Frame(t, path, request) }
}

// TestVectorsFixture: fixture.yaml says what core.yaml says.
func TestVectorsFixture(t *testing.T) {
	var all vectors
	readYAML(t, "vectors/core.yaml", &all)
	s, err := inventory.FromFile("../../testdata/vectors/fixture.yaml", properties.Schema{})
	require.NoError(t, err)
	require.True(t, all.Fixture.AllHalted)
	qubes := 0
	for q := range s.Qubes() {
		i := slices.IndexFunc(all.Fixture.VMs, func(vm fixedQube) bool { return vm.Name == q.Shown() })
		require.GreaterOrEqual(t, i, 0, q.Shown())
		vm := all.Fixture.VMs[i]
		template := ""
		if of, ok := s.Template(q); ok {
			template = of.Shown()
		}
		assert.Equal(t, []string{vm.Klass, vm.Label, vm.Template}, []string{q.Class().Shown(), q.Label().Shown(), template}, vm.Name)
		qubes++
	}
	assert.Len(t, all.Fixture.VMs, qubes)
}
