package methods_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// spec is testdata/spec/methods.yaml: what the specification says of each method.
type spec struct{ Methods []specified }

type specified struct {
	Name           string
	DestAdminVM    string `yaml:"dest_adminvm"`
	Arg, Payload   string
	Classification struct {
		Scope                string
		Read, Write, Execute bool
	}
}

// specification is that file, and, of the methods that it has not, what the policy's includes are made from.
func specification(t *testing.T) (s spec) {
	readYAML(t, "spec/methods.yaml", &s)
	var classes policyClasses
	readYAML(t, "spec/admin_policy_classes.yaml", &classes)
	for _, m := range classes.Generated {
		if _, known := s.find(m.Method); known {
			continue
		}
		also := specified{Name: m.Method, Arg: m.Arg, Payload: m.Payload,
			DestAdminVM: map[string]string{"adminvm": "true", "not-adminvm": "false", "any": "any"}[m.Dest]}
		also.Classification.Scope = m.Scope
		also.Classification.Read, also.Classification.Write, also.Classification.Execute = m.Read, m.Write, m.Execute
		s.Methods = append(s.Methods, also)
	}
	return s
}

// policyClasses is admin_policy_classes.yaml.
type policyClasses struct {
	Rule      string
	Generated []struct {
		Method, Dest, Arg, Payload, Scope, Include string
		Read, Write, Execute                       bool
	}
	HeaderOnly []struct{ Method, Include string } `yaml:"header_only"`
	Note       string                             `yaml:"header_order_note"`
}

// find gives what is said of a method. A name there may end in {class}, which stands for any.
func (s spec) find(method string) (specified, bool) {
	for _, m := range s.Methods {
		if prefix, ok := strings.CutSuffix(m.Name, "{class}"); ok && strings.HasPrefix(method, prefix) || m.Name == method {
			return m, true
		}
	}
	return specified{}, false
}

// unlike is all in which declarations differ from the specification, and why.
var unlike = map[string]string{
	"admin.Events: arg: forbidden, not optional":          "a subscriber that was away can go on from a revision (design: 6); without an argument it is the reference's",
	"admin.vm.notes.Set: payload: required, not optional": "the empty payload clears the notes (spec: model.md 12, SAFER)",
}

var (
	specWants = map[stages.Want]string{stages.Forbidden: "forbidden", stages.Optional: "optional", stages.Required: "required"}
	specDests = map[stages.Dest]string{stages.OnlyAdminVM: "true", stages.NotAdminVM: "false", stages.AnyQube: "any"}
	scopes    = map[stages.Scope]string{stages.Local: "local", stages.Global: "global"}
)

func TestDeclarationsAreTheSpecifications(t *testing.T) {
	all, met := specification(t), map[string]bool{}
	for _, e := range methods.All() {
		if !strings.HasPrefix(e.Name, "admin.") {
			continue
		}
		s, ok := all.find(e.Name)
		require.True(t, ok, "%s is not in the specification", e.Name)
		assert.Equal(t, stages.Admin, e.Socket, e.Name)
		for _, fact := range []struct{ name, spec, ours string }{
			{"dest_adminvm", s.DestAdminVM, specDests[e.Dest]},
			{"arg", s.Arg, specWants[e.Arg]},
			{"payload", s.Payload, specWants[e.Payload]},
			{"scope", s.Classification.Scope, scopes[e.Scope]},
			{"read", strconv.FormatBool(s.Classification.Read), strconv.FormatBool(e.Access&stages.Read != 0)},
			{"write", strconv.FormatBool(s.Classification.Write), strconv.FormatBool(e.Access&stages.Write != 0)},
			{"execute", strconv.FormatBool(s.Classification.Execute), strconv.FormatBool(e.Access&stages.Execute != 0)},
		} {
			if fact.spec != fact.ours {
				difference := e.Name + ": " + fact.name + ": " + fact.spec + ", not " + fact.ours
				assert.Contains(t, unlike, difference)
				met[difference] = true
			}
		}
	}
	for difference := range unlike {
		assert.True(t, met[difference], "there is no such difference any more: %s", difference)
	}
}

// fitting are payloads for methods that take not just any.
var fitting = map[string]string{
	"admin.vm.Create.":       "name=made label=red",
	"admin.vm.CreateInPool.": "name=made label=red",
	"admin.vm.firewall.Set":  "action=accept",
}

// TestEveryMethodIsThere: the core of the specification is declared, whole.
func TestEveryMethodIsThere(t *testing.T) {
	var core spec
	readYAML(t, "spec/methods.yaml", &core)
	declared := map[string]bool{}
	for _, e := range methods.All() {
		declared[e.Name] = true
	}
	for _, m := range core.Methods {
		names := []string{m.Name}
		if family, ok := strings.CutSuffix(m.Name, "{class}"); ok {
			names = nil
			for _, c := range qube.Classes {
				names = append(names, family+c.Shown())
			}
		}
		for _, name := range names {
			assert.True(t, declared[name], name)
		}
	}
	assert.Greater(t, len(core.Methods), 50)
}

// TestCommonChecks breaks, one at a time, the rules that the specification has for every method
// (spec: methods.yaml common_checks).
func TestCommonChecks(t *testing.T) {
	s, all := start(t), specification(t)
	for _, e := range methods.All() {
		m, ok := all.find(e.Name)
		if !ok {
			continue
		}
		type call struct{ arg, payload, dest string }
		good := call{"", "", "dom0"}
		if m.Arg == "required" {
			good.arg = "x"
		}
		if m.Payload == "required" {
			good.payload = "x"
		}
		if m.DestAdminVM == "false" {
			good.dest = "work"
		}
		for prefix, payload := range fitting {
			if strings.HasPrefix(e.Name, prefix) {
				good.payload = payload
			}
		}
		says := func(c call) string { return s.dom0(e.Name+"+"+c.arg, c.dest, c.payload) }
		assert.NotEqual(t, "ProtocolError", says(good), e.Name)
		for rule, bad := range map[string]call{
			"arg: required":       {"", good.payload, good.dest},
			"arg: forbidden":      {"x", good.payload, good.dest},
			"payload: required":   {good.arg, "", good.dest},
			"payload: forbidden":  {good.arg, "x", good.dest},
			"dest_adminvm: true":  {good.arg, good.payload, "work"},
			"dest_adminvm: false": {good.arg, good.payload, "dom0"},
		} {
			has := []string{"arg: " + m.Arg, "payload: " + m.Payload, "dest_adminvm: " + m.DestAdminVM}
			if _, wanted := unlike[e.Name+": "+rule+", not optional"]; slices.Contains(has, rule) && !wanted {
				assert.Equal(t, "ProtocolError", says(bad), "%s, %s", e.Name, rule)
			}
		}
	}
}

// TestDrillsAreApart: a daemon has them only when it is told to rehearse.
func TestDrillsAreApart(t *testing.T) {
	for _, e := range methods.All() {
		assert.False(t, strings.HasPrefix(e.Name, "drill."), e.Name)
	}
	for _, e := range methods.Drill() {
		assert.True(t, strings.HasPrefix(e.Name, "drill."), e.Name)
	}
}

var update = flag.Bool("update", false, "write the golden file anew")

// TestSurface shows a change of the API to whoever reviews it.
func TestSurface(t *testing.T) {
	const golden = "testdata/api.txt"
	var b strings.Builder
	b.WriteString("# Every method, as clients and policies see it. Made by: go test ./stages/methods -run Surface -update\n")
	for e := range stages.NewCatalogue(append(methods.All(), methods.Drill()...)...).Entries() {
		var access []string
		for i, word := range []string{"read", "write", "execute"} {
			if e.Access&(1<<i) != 0 {
				access = append(access, word)
			}
		}
		fmt.Fprintf(&b, "\n%s: %s\n", e.Name, e.Help)
		fmt.Fprintf(&b, "  socket %s, dest %s, %s, %s, kind %s\n",
			map[stages.Socket]string{stages.Admin: "admin", stages.Internal: "internal", stages.Misc: "misc"}[e.Socket],
			map[stages.Dest]string{stages.OnlyAdminVM: "dom0", stages.NotAdminVM: "not dom0", stages.AnyQube: "any"}[e.Dest],
			strings.Join(access, "+"), scopes[e.Scope],
			map[stages.Kind]string{stages.Reads: "read", stages.Changes: "change", stages.Works: "work", stages.Streams: "stream"}[e.Kind])
		fmt.Fprintf(&b, "  arg %s: %s\n", specWants[e.Arg], e.ArgDoc)
		fmt.Fprintf(&b, "  payload %s: %s\n", specWants[e.Payload], e.PayloadDoc)
		fmt.Fprintf(&b, "  gives %s\n", cmp.Or(e.Gives, "nothing"))
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String(), "if that is wanted: go test ./stages/methods -run Surface -update")
}
