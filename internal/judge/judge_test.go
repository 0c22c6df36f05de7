package judge

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"sallyport/internal/inventory"
	"sallyport/internal/policy"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/properties"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const vectorsDir = "../../testdata/vectors/"

// vectorsSystem is the system of the policy's vectors, as an inventory.
func vectorsSystem(t testing.TB) qube.View {
	s, err := inventory.FromFile(vectorsDir+"policy-system.yaml", properties.Schema{})
	require.NoError(t, err)
	return s
}

// vectors are the policies that the reference has executed, and the facts of their system.
func vectors(t testing.TB) (policies []*policy.Policy, requests []policy.Request, facts map[string]policy.Facts) {
	text, err := os.ReadFile(vectorsDir + "policy.yaml")
	require.NoError(t, err)
	var all struct {
		SystemInfo any `yaml:"system_info"`
		Vectors    []struct {
			Files   map[string]string
			Request struct{ Service, Argument, Source, Target string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &all))
	info, err := json.Marshal(all.SystemInfo)
	require.NoError(t, err)
	var domains struct {
		Domains map[string]policy.Facts `json:"domains"`
	}
	require.NoError(t, json.Unmarshal(info, &domains))
	for _, v := range all.Vectors {
		fs := fstest.MapFS{"p": {Mode: os.ModeDir | 0o755}}
		for name, text := range v.Files {
			fs["p/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
		if p, err := policy.Load(fs, policy.Sources{Dirs: []string{"/p"}}); err == nil {
			policies = append(policies, p)
			requests = append(requests, policy.Request{Service: v.Request.Service, Argument: v.Request.Argument, Source: v.Request.Source, Target: v.Request.Target})
		}
	}
	return policies, requests, domains.Domains
}

func named(t require.TestingT, v qube.View, name string) qube.Qube {
	n, err := qube.ParseName(name)
	require.NoError(t, err)
	q, there := v.Qube(n)
	require.True(t, there, name)
	return q
}

// TestAViewIsASystem: what a policy asks of an inventory is what the reference's system information says of it.
func TestAViewIsASystem(t *testing.T) {
	v := vectorsSystem(t)
	_, _, facts := vectors(t)
	sys := &system{v, known(qube.Nobody), known(qube.Nobody)}
	var found []string
	for q := range sys.Qubes() {
		found = append(found, q.Name)
		want := facts[q.Name]
		if q.Name == "std" {
			want.DefaultDispVM = ""
		}
		relay, transport := sys.Relay(q)
		got := policy.Facts{
			UUID: q.UUID, Class: q.Class, Tags: sys.AppendTags([]string{}, q), DisposableTemplate: sys.DisposableTemplate(q),
			DefaultDispVM: sys.DefaultDispVM(q), PowerState: "Halted", Relay: relay, Transport: transport,
		}
		if sys.Running(q) {
			got.PowerState = "Running"
		}
		if sys.Internal(q) {
			got.Internal = "1"
		}
		slices.Sort(want.Tags)
		assert.Equal(t, want, got, q.Name)
		for _, tag := range []string{"work", "mgmt", "dom0-tag", "not a tag"} {
			assert.Equal(t, slices.Contains(want.Tags, tag), sys.HasTag(q, tag), "%s of %s", tag, q.Name)
		}
		for _, find := range []func() (policy.Qube, bool){
			func() (policy.Qube, bool) { return sys.Named(q.Name) },
			func() (policy.Qube, bool) { return sys.Identified(q.UUID) },
		} {
			same, there := find()
			assert.True(t, there)
			assert.Equal(t, q, same)
		}
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(facts)), found)
	for _, nobody := range []string{"ghost", "", "@adminvm", "00000099-1111-4222-8333-000000000001"} {
		_, is := sys.Named(nobody)
		_, has := sys.Identified(nobody)
		assert.False(t, is || has, nobody)
	}
}

// TestJudgeAgreesWithTheReference: about every policy of the vectors, for all pairs of qubes, a verdict is the reference's,
// and that the call goes to dom0 (spec: policy.md 5).
func TestJudgeAgreesWithTheReference(t *testing.T) {
	v := vectorsSystem(t)
	policies, requests, facts := vectors(t)
	var all []policy.Facts
	for name, f := range facts {
		if f.Name = name; name == "std" {
			f.DefaultDispVM = ""
		}
		all = append(all, f)
	}
	table := policy.NewTable(all...)
	qubes := slices.Collect(v.Qubes())
	verdicts := map[bool]int{}
	for i, p := range policies {
		j := New()
		j.Use(p)
		for _, arg := range []string{requests[i].Argument, "+", "+nobody.names.it"} {
			for _, source := range qubes {
				for _, dest := range qubes {
					r := policy.Request{Service: requests[i].Service, Argument: arg, Source: source.Shown(), Target: dest.Shown()}
					if source.Class() == qube.RemoteVM {
						r.Source, r.RequestedSource = facts[source.Shown()].Relay, source.Shown()
					}
					d := p.Decide(r, table)
					want := d.Verdict == policy.Allow && (d.Target.String() == "dom0" || d.Target.String() == "uuid:"+qube.Dom0UUID.Shown())
					got := j.Allows(v, stages.Subject{Service: r.Service, Source: source, Dest: dest, Arg: arg[1:]})
					assert.Equal(t, want, got, "%s\n%+v: %s %s", p, r, d.Verdict, d.Target)
					verdicts[got]++
				}
			}
		}
	}
	assert.Greater(t, verdicts[true], 1000, "the test has gone blind")
	assert.Greater(t, verdicts[false], 1000, "the test has gone blind")
}

// using is a Judge of the rules.
func using(t require.TestingT, rules string) *Judge {
	p, err := policy.Parse("p", rules)
	require.NoError(t, err)
	j := New()
	j.Use(p)
	return j
}

// TestWhatAllowsACall of the Admin API: a rule that allows and redirects to dom0, or a call to dom0 itself.
func TestWhatAllowsACall(t *testing.T) {
	v := vectorsSystem(t)
	for rule, want := range map[string]bool{
		"s * mgmt work allow target=dom0":                                             true,
		"s * mgmt work allow target=@adminvm":                                         true,
		"s * mgmt work allow target=uuid:00000000-0000-0000-0000-000000000000":        true,
		"s * mgmt work allow target=dom0 autostart=no":                                true, // which starts nothing
		"s * mgmt work allow":                                                         false,
		"s * mgmt work allow target=vault":                                            false,
		"s * mgmt work allow target=remote1":                                          false,
		"s * mgmt work allow target=@dispvm":                                          false,
		"s * mgmt work ask target=dom0":                                               false, // nobody is asked
		"s * mgmt work ask target=dom0 default_target=dom0":                           false,
		"s * mgmt work deny":                                                          false,
		"other * mgmt work allow target=dom0":                                         false,
		"s +x mgmt work allow target=dom0":                                            true,
		"s +y mgmt work allow target=dom0":                                            false,
		"s + mgmt work allow target=dom0":                                             false,
		"s * @tag:mgmt @tag:created-by-mgmt allow target=dom0":                        true,
		"s * uuid:00000001-1111-4222-8333-000000000001 @type:AppVM allow target=dom0": true,
		"s * vault work allow target=dom0":                                            false,
		"":                                                                            false,
	} {
		assert.Equal(t, want, using(t, rule).Allows(v, stages.Subject{Service: "s", Source: named(t, v, "mgmt"), Dest: named(t, v, "work"), Arg: "x"}), rule)
	}
	toDom0 := stages.Subject{Service: "s", Source: named(t, v, "mgmt"), Dest: named(t, v, "dom0")}
	assert.True(t, using(t, "s * mgmt @adminvm allow").Allows(v, toDom0))
	assert.False(t, using(t, "s * mgmt @anyvm allow target=dom0").Allows(v, toDom0))
	assert.False(t, New().Allows(v, toDom0), "without a policy")
}

// TestWhoIsNotThereIsDenied, whatever the rules say (design: 7).
func TestWhoIsNotThereIsDenied(t *testing.T) {
	v := vectorsSystem(t)
	for _, rule := range []string{
		"s * * * allow target=dom0", "s * @anyvm @default allow target=dom0", "s * * @anyvm allow target=dom0", "s * ? ? allow target=dom0",
	} {
		j := using(t, rule)
		work := named(t, v, "work")
		assert.False(t, j.Allows(v, stages.Subject{Service: "s", Source: work, Dest: qube.Nobody}), rule)
		assert.False(t, j.Allows(v, stages.Subject{Service: "s", Source: qube.Nobody, Dest: work}), rule)
		assert.False(t, j.Allows(v, stages.Subject{Service: "s", Source: qube.Nobody, Dest: qube.Nobody}), rule)
	}
}

// TestARemoteVMCallsThroughItsRelay: which has to be there (spec: policy.md 4.3). The rules are those for the remote.
func TestARemoteVMCallsThroughItsRelay(t *testing.T) {
	v := vectorsSystem(t)
	may := func(rule, source string) bool {
		return using(t, rule).Allows(v, stages.Subject{Service: "s", Source: named(t, v, source), Dest: named(t, v, "work")})
	}
	assert.True(t, may("s * remote1 work allow target=dom0", "remote1"))
	assert.True(t, may("s * @type:RemoteVM work allow target=dom0", "remote1"))
	assert.False(t, may("s * relay work allow target=dom0", "remote1"))
	assert.False(t, may("s * * work allow target=dom0", "remote2"), "it has no relay")
}

// TestAVerdictAllocatesNothing, on whichever way it comes about.
func TestAVerdictAllocatesNothing(t *testing.T) {
	v := vectorsSystem(t)
	j := using(t, `s +a @tag:one @tag:two allow target=dom0
s +b mgmt @tag:created-by-mgmt allow target=dom0
s * @tag:t1 * deny
s * @tag:t2 * deny
s * @tag:t3 * deny
s * @tag:t4 * deny
s * @tag:t5 * deny
s * @tag:t6 * deny
s * @tag:t7 * deny
s * @tag:t8 * deny
s * @tag:mgmt @tag:work allow target=dom0
s * remote1 work allow target=dom0
s * @anyvm @anyvm deny
`)
	for _, c := range []struct {
		source, dest, arg string
		want              bool
	}{
		{"mgmt", "work", "b", true}, {"mgmt", "vault", "", true}, {"mgmt", "vault", "nobody.names.it", true}, {"personal", "vault", "x", false},
		{"mgmt", "dom0", "", false}, {"remote1", "work", "", true},
	} {
		s := stages.Subject{Service: "s", Source: named(t, v, c.source), Dest: named(t, v, c.dest), Arg: c.arg}
		assert.Equal(t, c.want, j.Allows(v, s), "%+v", c)
		assert.Zero(t, allocations(func() { j.Allows(v, s) }), "%+v", c)
		s.Dest = qube.Nobody
		assert.Zero(t, allocations(func() { j.Allows(v, s) }), "%+v of nobody", c)
	}
}

// TestTheMask shows whom the source may list, whom it acts on, and whom that one refers to (design: 7). What it refers to
// only because the system does, such as dvm, is the system's reference, and no more to be seen than the system's others.
func TestTheMask(t *testing.T) {
	v := vectorsSystem(t)
	const rules = "admin.vm.List * mgmt @tag:net allow target=dom0\nadmin.vm.List +x mgmt @anyvm allow target=dom0\nadmin.vm.List * mgmt vault ask target=dom0\n"
	for dest, want := range map[string][]string{
		"work": {"fedora", "sys-net", "work"},
		"std":  {"std", "sys-net"},
	} {
		j := using(t, rules)
		m := j.Mask(v, named(t, v, "mgmt"), named(t, v, dest))
		var sees []string
		for q := range m.Qubes() {
			sees = append(sees, q.Shown())
		}
		assert.Equal(t, want, sees, dest)
		j.Use(&policy.Policy{})
		again := 0
		for range m.Qubes() {
			again++
		}
		assert.Equal(t, len(want), again, "a view is as it was")
	}
	m := using(t, rules).Mask(v, named(t, v, "mgmt"), qube.Nobody)
	assert.Len(t, slices.Collect(m.Qubes()), 1)
}

// TestGenerations: every policy is another, so that calls between the doors are judged again.
func TestGenerations(t *testing.T) {
	j := New()
	assert.Zero(t, j.Generation())
	j.Use(&policy.Policy{})
	assert.EqualValues(t, 1, j.Generation())
	j.Use(&policy.Policy{})
	assert.EqualValues(t, 2, j.Generation())
}

// allocations is the least of many runs: the race detector has pools forget some of what they hold.
func allocations(fn func()) float64 {
	least := testing.AllocsPerRun(1, fn)
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, fn))
	}
	return least
}

func BenchmarkAllows(b *testing.B) {
	v := vectorsSystem(b)
	j := using(b, "s * @tag:mgmt @tag:work allow target=dom0")
	for name, dest := range map[string]qube.Qube{"allowed": named(b, v, "vault"), "denied": named(b, v, "std"), "absent": qube.Nobody} {
		b.Run(name, func(b *testing.B) {
			s := stages.Subject{Service: "s", Source: named(b, v, "mgmt"), Dest: dest, Arg: "nobody.names.it"}
			for b.Loop() {
				j.Allows(v, s)
			}
		})
	}
}
