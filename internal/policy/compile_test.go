package policy_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/policy"
)

// same requires that the index finds what the reference finds.
func same(t require.TestingT, p *policy.Policy, c *policy.Compiled, r policy.Request, sys policy.System) policy.Decision {
	want := p.Decide(r, sys)
	if got := c.Decide(r, sys); !assert.ObjectsAreEqual(want, got) {
		assert.Equal(t, want, got, "%+v\n%s", r, p)
		require.FailNow(t, "the index finds another rule")
	}
	target, ok := c.Allows(r, sys)
	require.Equal(t, want.Verdict == policy.Allow, ok)
	require.Equal(t, want.Target, target)
	return want
}

// TestTheIndexDecidesAsTheReference over random policies, systems and requests.
func TestTheIndexDecidesAsTheReference(t *testing.T) {
	decisions := 100_000
	if os.Getenv("SALLYPORT_LONG") != "" {
		decisions = 5_000_000
	}
	seed := uint64(1)
	if os.Getenv("SALLYPORT_LONG") != "" {
		seed = rand.Uint64()
		t.Logf("seed %d", seed)
	}
	random := rand.New(rand.NewPCG(seed, 2))
	verdicts, stages := map[string]int{}, map[string]int{}
	for done := 0; done < decisions; {
		p, err := policy.Parse("p", rules(random.IntN))
		require.NoError(t, err)
		c := policy.Compile(p)
		for range 10 {
			sys := system(random.IntN)
			for range 25 {
				d := same(t, p, c, request(random.IntN), sys)
				verdicts[d.Verdict.String()]++
				stages[d.Stage.String()]++
				done++
			}
		}
	}
	for _, v := range []string{"allow", "deny", "ask"} {
		assert.Greater(t, verdicts[v], decisions/50, "%s: the test has gone blind", v)
	}
	for _, s := range []string{"request", "no-rule", "rule", "execute"} {
		assert.Greater(t, stages[s], decisions/200, "%s: the test has gone blind", s)
	}
}

// TestTheIndexDecidesAlikeProperty is the same in a form that shrinks.
func TestTheIndexDecidesAlikeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }
		p, err := policy.Parse("p", rules(d))
		require.NoError(t, err)
		c, sys := policy.Compile(p), system(d)
		for range 10 {
			same(t, p, c, request(d), sys)
		}
	})
}

func FuzzTheIndexDecidesAsTheReference(f *testing.F) {
	f.Add([]byte("any bytes will do, since they are only dice that were thrown before"))
	f.Fuzz(func(t *testing.T, thrown []byte) {
		d := func(n int) int {
			if len(thrown) < 2 {
				return 0
			}
			k := int(thrown[0])<<8 | int(thrown[1])
			thrown = thrown[2:]
			return k % n
		}
		p, err := policy.Parse("p", rules(d))
		require.NoError(t, err)
		c, sys := policy.Compile(p), system(d)
		for range 10 {
			same(t, p, c, request(d), sys)
		}
	})
}

// TestADecisionSeesATagAtOnce: nothing of a system is kept.
func TestADecisionSeesATagAtOnce(t *testing.T) {
	p, err := policy.Parse("p", "x * work @tag:mine allow\n")
	require.NoError(t, err)
	c, r := policy.Compile(p), policy.Request{Service: "x", Argument: "+", Source: "work", Target: "vault"}
	with := policy.NewTable(policy.Facts{Name: "work"}, policy.Facts{Name: "vault", Tags: []string{"mine"}})
	without := policy.NewTable(policy.Facts{Name: "work"}, policy.Facts{Name: "vault"})
	for range 3 {
		assert.Equal(t, policy.Allow, c.Decide(r, with).Verdict)
		assert.Equal(t, policy.Deny, c.Decide(r, without).Verdict)
	}
}

// TestADecisionAllocatesNothing, whatever the rules look like, unless a person has to choose.
func TestADecisionAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for name, make := range sizes {
		t.Run(name, func(t *testing.T) {
			c, sys, requests := make(t, 2000)
			decided := map[policy.Verdict]int{}
			for _, r := range requests[:200] {
				decided[c.Decide(r, sys).Verdict]++
				assert.Zero(t, testing.AllocsPerRun(20, func() { c.Decide(r, sys) }), "%+v", r)
				assert.Zero(t, testing.AllocsPerRun(20, func() { c.Allows(r, sys) }), "%+v", r)
			}
			assert.Positive(t, decided[policy.Allow], "the test has gone blind")
			assert.Positive(t, decided[policy.Deny], "the test has gone blind")
		})
	}
}

// TestAskingWhetherARelayIsCalledAllocatesNothing: what it would be called for is not written.
func TestAskingWhetherARelayIsCalledAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	p, err := policy.Parse("p", "x * work far allow\n")
	require.NoError(t, err)
	c, r := policy.Compile(p), policy.Request{Service: "x", Argument: "+", Source: "work", Target: "far"}
	sys := policy.NewTable(policy.Facts{Name: "work"}, policy.Facts{Name: "relay"},
		policy.Facts{Name: "far", Class: "RemoteVM", Relay: "relay", Transport: "x.Proxy"})
	target, ok := c.Allows(r, sys)
	assert.True(t, ok)
	assert.Equal(t, policy.Token{Kind: policy.Name, Value: "far"}, target)
	assert.Zero(t, testing.AllocsPerRun(20, func() { c.Allows(r, sys) }))
}
