package policy_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/policy"
)

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("p", text)
	require.NoError(t, err)
	return p
}

// rounds is how often a random test is done.
func rounds(short int) int {
	if os.Getenv("SALLYPORT_LONG") != "" {
		return 50 * short
	}
	return short
}

// real says that the source of a request exists: no qube calls that is not.
func real(r policy.Request, sys policy.System) bool {
	_, named := sys.Named(r.Source)
	_, identified := sys.Identified(strings.TrimPrefix(r.Source, "uuid:"))
	return named || identified
}

// TestReachesIsExact: a witness is one, and a rule without one decides nothing in random systems.
func TestReachesIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	dead, live := 0, 0
	for range rounds(300) {
		p := parse(t, rules(random.IntN))
		decides := map[*policy.Rule]bool{}
		for _, r := range policy.Reaches(p) {
			if r.Witness == nil {
				dead++
				continue
			}
			live++
			decides[r.Rule] = true
			require.Equal(t, r.Rule, p.Decide(r.Witness.Request, r.Witness.System()).Rule, "%s\n%+v\n%s", r.Rule, r.Witness, p)
			require.Empty(t, r.By)
		}
		for range 10 {
			sys := system(random.IntN)
			for range 50 {
				r := request(random.IntN)
				if d := p.Decide(r, sys); d.Rule != nil && real(r, sys) {
					require.True(t, decides[d.Rule], "%s decides %+v, and was called dead in\n%s", d.Rule, r, p)
				}
			}
		}
	}
	assert.Greater(t, dead, live/10, "the test has gone blind")
	assert.Greater(t, live, dead/10, "the test has gone blind")
}

// alike are rules for all calls between qubes of one class.
const alike = `x * @type:AppVM @type:AppVM deny
x * @type:DispVM @type:DispVM deny
x * @type:StandaloneVM @type:StandaloneVM deny
x * @type:TemplateVM @type:TemplateVM deny
x * @type:RemoteVM @type:RemoteVM deny
`

// TestLintFinds what it should, and nothing where nothing is wrong.
func TestLintFinds(t *testing.T) {
	sys := policy.NewTable(policy.Facts{Name: "work", Tags: []string{"mine"}}, policy.Facts{Name: "dvm", DisposableTemplate: true}, policy.Facts{Name: "dom0"})
	known := policy.Knowledge{System: sys, Service: func(name string) bool { return name == "x" }}
	for _, c := range []struct {
		text string
		want []string
	}{
		{"x * work @anyvm allow\nx * work @tag:mine deny", nil}, // dom0 may have the tag
		{"x * work @anyvm allow\nx * work @type:AppVM deny", []string{"2 hidden  1"}},
		{"x * work @anyvm allow\nx * work @adminvm deny\nx * work * deny", []string{"3 hidden  12"}},
		{"x * @anyvm * allow\nx * @adminvm * deny\nx * @tag:mine work deny", []string{"3 hidden  12"}},
		{"x * @type:AppVM * deny\nx * @type:DispVM * deny\nx * @type:StandaloneVM * deny\nx * @type:TemplateVM * deny\nx * @type:RemoteVM * deny\nx * @anyvm * allow",
			[]string{"6 hidden  12345"}},
		{"x +a * * deny\nx * * * allow\nx +b * * deny\nx + * * deny", []string{"3 hidden  2", "4 hidden  2"}},
		{"x * work @dispvm deny\nx * work @dispvm:dvm deny", nil}, // work may ask for dvm by name
		{"x * work @dispvm:@tag:mine deny\nx * work @anyvm allow\nx * work @dispvm:dvm deny", []string{"3 hidden  2"}},
		{"* * @anyvm @anyvm deny\nx * work work allow", []string{"2 hidden  1"}},
		{alike + "x * work work allow", []string{"6 hidden  12345"}}, // a qube is of its own class
		{alike + "x * uuid:1 uuid:1 allow", []string{"6 hidden  12345", "6 unknown-name uuid:1 ", "6 unknown-name uuid:1 "}},
		{alike + "x * work vault allow", []string{"6 unknown-name vault "}}, // and not of another's
		{"x * @dispvm:dvm * deny", []string{"1 impossible  "}},
		{"x * @type:AdminVM work allow\nx * dom0 work allow", []string{"2 hidden  1"}},
		{"x * work @type:Foo allow", []string{"1 impossible  ", "1 unknown-class @type:Foo "}},
		{"y * work * allow\n* * * * deny", []string{"1 unknown-service y "}},
		{"x * nobody @tag:none allow target=gone\nx * work uuid:1 ask target=@dispvm:work",
			[]string{"1 unknown-name nobody ", "1 unknown-tag @tag:none ", "1 unknown-name gone ", "2 unknown-name uuid:1 ", "2 not-a-template @dispvm:work "}},
		{"x * @anyvm * ask target=work\nx * work * deny", []string{"2 hidden  1"}},
		{"x * @anyvm * ask\nx * work * deny", []string{"2 hidden offers 1"}},
		{"x * @dispvm:dvm @adminvm deny\nx * @anyvm dvm allow target=dom0 user=any", []string{"1 impossible  "}},
	} {
		var got []string
		for _, f := range policy.Lint(parse(t, c.text), known) {
			word := f.Word
			if f.Offers {
				word = "offers"
			}
			s := strings.TrimPrefix(f.Rule.At.String(), "p:") + " " + string(f.Defect) + " " + word + " "
			for _, by := range f.By {
				s += strings.TrimPrefix(by.At.String(), "p:")
			}
			got = append(got, s)
		}
		assert.Equal(t, c.want, got, c.text)
	}
	assert.Empty(t, policy.Lint(parse(t, "y * nobody @tag:none allow target=gone"), policy.Knowledge{}), "what is not known is not found")
}

// TestDiffIsExact: a witness is one, and what random requests show was found. It is told once.
func TestDiffIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	changed := 0
	type pair struct{ old, new *policy.Rule }
	for range rounds(150) {
		lines := strings.SplitAfter(rules(random.IntN), "\n")
		before := parse(t, strings.Join(lines, ""))
		for range 1 + random.IntN(3) { // some lines go, come, move
			i, j := random.IntN(len(lines)), random.IntN(len(lines))
			switch random.IntN(3) {
			case 0:
				lines[i] = ""
			case 1:
				lines[i] += line(random.IntN) + "\n"
			default:
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
		after := parse(t, strings.Join(lines, ""))
		all, complete := policy.Diff(before, after)
		require.True(t, complete)
		told := map[pair]bool{}
		for _, d := range all {
			require.Equal(t, d.Old, before.Decide(d.Witness.Request, d.Witness.System()).Rule)
			require.Equal(t, d.New, after.Decide(d.Witness.Request, d.Witness.System()).Rule)
			require.False(t, told[pair{d.Old, d.New}])
			told[pair{d.Old, d.New}] = true
		}
		for range 10 {
			sys := system(random.IntN)
			for range 50 {
				r := request(random.IntN)
				was, is := before.Decide(r, sys), after.Decide(r, sys)
				if was.Stage != policy.AtRequest && real(r, sys) && effect(was.Rule) != effect(is.Rule) {
					changed++
					require.True(t, told[pair{was.Rule, is.Rule}], "%+v: was %v, is %v, and was not told\n%s\n%s", r, was.Rule, is.Rule, before, after)
				}
			}
		}
	}
	assert.Greater(t, changed, 300, "the test has gone blind")
}

// effect is what a rule says; no rule denies.
func effect(r *policy.Rule) string {
	if r == nil {
		return "deny"
	}
	return r.Effect.String()
}

// TestOfEqualPoliciesNothingDiffers, even if they say it in other words.
func TestOfEqualPoliciesNothingDiffers(t *testing.T) {
	all, complete := policy.Diff(parse(t, "x * a b allow\nx * c d deny\n* * * * deny"), parse(t, "x * c d deny\nx * a b allow\n"))
	assert.True(t, complete)
	assert.Empty(t, all)
}

// TestADifferenceMayTakeTwoRules: a request that both match, and neither alone shows.
func TestADifferenceMayTakeTwoRules(t *testing.T) {
	for _, c := range []struct{ before, after, target string }{
		{"x * work @dispvm deny\nx * work @dispvm:dvm allow", "x * work @dispvm:dvm allow", "@dispvm"}, // the default
		{"x * work @tag:a deny\nx * work @tag:b allow", "x * work @tag:b allow", "some-target"},
		{"x * uuid:1 @anyvm deny\nx * work vault allow", "x * work vault allow", "vault"},
	} {
		all, complete := policy.Diff(parse(t, c.before), parse(t, c.after))
		assert.True(t, complete)
		if assert.Len(t, all, 1, c.before) {
			assert.Equal(t, "p:1", all[0].Old.At.String())
			assert.Equal(t, "p:1", all[0].New.At.String())
			assert.Equal(t, c.target, all[0].Witness.Request.Target)
		}
	}
}

// TestALargePolicyIsComparedByWhatMoved: were all its rules compared with all, there would be no end.
func TestALargePolicyIsComparedByWhatMoved(t *testing.T) {
	var lines []string
	for i := range 6000 {
		lines = append(lines, fmt.Sprintf("x * q%d q%d %s\n", i, i, []string{"allow", "deny"}[i%2]))
	}
	before := parse(t, "x * q1 @anyvm ask\n"+strings.Join(lines, "")+"x * q2 @anyvm ask\n")
	after := parse(t, "x * q2 @anyvm ask\n"+strings.Join(lines, "")+"x * q1 @anyvm ask\n")
	all, complete := policy.Diff(before, after)
	assert.True(t, complete)
	assert.Len(t, all, 2, "from q1 to q1, and from q2 to q2")
}

// TestExplain on the questions that administrators have.
func TestExplain(t *testing.T) {
	sys, _ := readVectors(t)
	p := parse(t, `admin.vm.Start * mgmt @tag:created-by-mgmt allow target=dom0
admin.vm.Start +x mgmt vault allow target=dom0
admin.vm.Stop * mgmt vault allow target=dom0
admin.vm.Start * work vault allow target=dom0
admin.vm.Stop * work vault allow target=dom0
admin.vm.Start * * * deny
admin.vm.Start * mgmt vault allow target=dom0
q.S * work * allow
`)
	e := policy.Explain(p, policy.Request{Service: "admin.vm.Start", Argument: "+", Source: "mgmt", Target: "vault"}, sys)
	assert.Equal(t, policy.DenyRule, e.Why)
	assert.Equal(t, "p:6", e.Rule.At.String())
	var misses []string
	for _, m := range e.Misses {
		misses = append(misses, m.Rule.At.String()+" "+m.Field)
	}
	assert.Equal(t, []string{"p:1 target", "p:2 argument", "p:3 service", "p:4 source"}, misses)
	assert.Equal(t, "admin.vm.Start + mgmt vault allow target=dom0", e.Change.Line)
	assert.Equal(t, e.Rule, e.Change.Before)
	assert.Equal(t, policy.Allow, e.Change.Then.Verdict)

	for _, c := range []struct{ service, argument, source, target, line string }{
		{"q.S", "+", "work", "vault", "q.S + work vault deny"},
		{"q.S", "+a:b", "work", "vault", "q.S * work vault deny"},                  // an argument that no line can have
		{"q.S", "+", "vault", "nosuch", "q.S + vault @default allow target=dom0"},  // which is the only way
		{"q.S", "+", "mgmt", "@dispvm", "q.S + mgmt @dispvm allow"},                // nothing decides
		{"q.S", "+", "work", "work", "q.S + work work allow target=dom0"},          // allowed already, but to itself
		{"q.S", "+", "work", "@dispvm:work", ""},                                   // denied before any rule
		{"a b", "+", "mgmt", "work", ""},                                           // a service that no line can have
		{"admin.vm.Stop", "+", "mgmt", "vault", "admin.vm.Stop + mgmt vault deny"}, // which is allowed
		{"admin.vm.List", "+", "mgmt", "dom0", "admin.vm.List + mgmt dom0 allow target=dom0"},
	} {
		e := policy.Explain(p, policy.Request{Service: c.service, Argument: c.argument, Source: c.source, Target: c.target}, sys)
		if c.line == "" {
			assert.Nil(t, e.Change, "%+v", c)
		} else if assert.NotNil(t, e.Change, "%+v", c) {
			assert.Equal(t, c.line, e.Change.Line)
			assert.NotEqual(t, e.Verdict, e.Change.Then.Verdict)
		}
	}
}

// TestExplanationsHold: whatever is asked, the line changes what it promises to, put where it says.
func TestExplanationsHold(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	changes := 0
	for range rounds(200) {
		p, sys := parse(t, rules(random.IntN)), system(random.IntN)
		for range 10 {
			r := request(random.IntN)
			e := policy.Explain(p, r, sys)
			require.Equal(t, p.Decide(r, sys), e.Decision)
			for _, m := range e.Misses {
				require.NotEqual(t, e.Rule, m.Rule)
			}
			if e.Change == nil {
				continue
			}
			changes++
			text, put := "", false
			for i := range p.Rules() {
				if one := &p.Rules()[i]; one == e.Change.Before {
					text, put = text+e.Change.Line+"\n", true
				}
				text += p.Rules()[i].String() + "\n"
			}
			if !put {
				text += e.Change.Line + "\n"
			}
			require.Equal(t, e.Change.Then.Verdict, parse(t, text).Decide(r, sys).Verdict)
			require.NotEqual(t, e.Verdict, e.Change.Then.Verdict)
		}
	}
	assert.Greater(t, changes, 500, "the test has gone blind")
}

// BenchmarkLint is of 10,000 rules, as they are written and where each is hidden by many.
func BenchmarkLint(b *testing.B) {
	realistic, _, _ := sizes["realistic"](b, 10_000)
	hidden := parse(b, "* * @anyvm * deny\n* * @adminvm * deny\n"+strings.Repeat("* * * * allow\n", 9_998))
	for name, p := range map[string]*policy.Policy{"realistic": realistic.Policy(), "hidden": hidden} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				policy.Lint(p, policy.Knowledge{})
				b.ReportMetric(time.Since(start).Seconds(), "s")
			}
		})
	}
}

// BenchmarkDiff is of 10,000 rules, ten of which moved.
func BenchmarkDiff(b *testing.B) {
	c, _, _ := sizes["realistic"](b, 10_000)
	lines := strings.SplitAfter(c.Policy().String(), "\n")
	for i := range 10 {
		lines[i*900], lines[i*900+50] = lines[i*900+50], lines[i*900]
	}
	after := parse(b, strings.Join(lines, ""))
	for b.Loop() {
		_, complete := policy.Diff(c.Policy(), after)
		require.True(b, complete)
	}
}
