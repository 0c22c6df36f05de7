package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sallyport/internal/policy"
)

// sizes make policies of a given number of rules, with a system and requests: as administrators write them, and as
// somebody would who wants decisions to be slow.
var sizes = map[string]func(t testing.TB, rules int) (*policy.Compiled, policy.System, []policy.Request){
	// Hundreds of services, each with rules for names, tags, classes and arguments, and a default at the end.
	"realistic": func(t testing.TB, rules int) (*policy.Compiled, policy.System, []policy.Request) {
		random, b := rand.New(rand.NewPCG(1, 1)), strings.Builder{}
		services := max(rules/40, 1)
		for i := range rules - 1 {
			arg, from, to := "*", fmt.Sprintf("q%d", random.IntN(500)), fmt.Sprintf("q%d", random.IntN(500))
			if i%4 == 0 {
				arg = fmt.Sprintf("+p%d", random.IntN(10))
			}
			if i%3 == 0 {
				from = fmt.Sprintf("@tag:admin%d", random.IntN(10))
			}
			switch i % 5 {
			case 0:
				to = fmt.Sprintf("@tag:owned%d", random.IntN(10))
			case 1:
				to = pick(random.IntN, "@adminvm", "@type:AppVM", "@anyvm")
			}
			fmt.Fprintf(&b, "admin.S%d %s %s %s %s\n", random.IntN(services), arg, from, to, pick(random.IntN, "allow target=dom0", "deny"))
		}
		b.WriteString("* * @anyvm @anyvm deny notify=no\n")
		return ready(t, b.String(), func() policy.Request {
			return policy.Request{Service: fmt.Sprintf("admin.S%d", random.IntN(services)), Argument: fmt.Sprintf("+p%d", random.IntN(20)),
				Source: fmt.Sprintf("q%d", random.IntN(500)), Target: fmt.Sprintf("q%d", random.IntN(500))}
		})
	},
	// Every rule for every service, by names that do not match until the last one does.
	"one bucket of names": func(t testing.TB, rules int) (*policy.Compiled, policy.System, []policy.Request) {
		random, b := rand.New(rand.NewPCG(1, 2)), strings.Builder{}
		for i := range rules - 1 {
			fmt.Fprintf(&b, "* * %s q%d %s\n", pick(random.IntN, "@anyvm", fmt.Sprintf("q%d", i%500)), random.IntN(5000), pick(random.IntN, "allow", "deny"))
		}
		b.WriteString("* * * @anyvm deny\n")
		return ready(t, b.String(), func() policy.Request {
			return policy.Request{Service: "s", Argument: "+", Source: fmt.Sprintf("q%d", random.IntN(500)), Target: fmt.Sprintf("q%d", random.IntN(500))}
		})
	},
	// Every rule by two tags: qubes have a few of them each, the policy knows thousands.
	"one bucket of tags": func(t testing.TB, rules int) (*policy.Compiled, policy.System, []policy.Request) {
		random, b := rand.New(rand.NewPCG(1, 3)), strings.Builder{}
		for i := range rules {
			from := fmt.Sprintf("@tag:x%d", i)
			if i%3 == 0 {
				from = fmt.Sprintf("@tag:admin%d", random.IntN(10))
			}
			fmt.Fprintf(&b, "* * %s @tag:%s%d %s\n", from, pick(random.IntN, "owned", "y"), random.IntN(max(rules/10, 10)), pick(random.IntN, "allow", "deny"))
		}
		return ready(t, b.String(), func() policy.Request {
			return policy.Request{Service: "s", Argument: "+", Source: fmt.Sprintf("q%d", random.IntN(500)), Target: fmt.Sprintf("q%d", random.IntN(500))}
		})
	},
}

// ready compiles the rules and makes 500 qubes, with two or three tags each, and requests.
func ready(t testing.TB, text string, request func() policy.Request) (*policy.Compiled, policy.System, []policy.Request) {
	p, err := policy.Parse("p", text)
	require.NoError(t, err)
	var all []policy.Facts
	for i := range 500 {
		all = append(all, policy.Facts{Name: fmt.Sprintf("q%d", i), UUID: uuid(i), Class: policy.Classes[i%4],
			Tags: []string{fmt.Sprintf("admin%d", i%10), fmt.Sprintf("owned%d", i/10%10), "other"}[i%2:]})
	}
	requests := make([]policy.Request, 4096)
	for i := range requests {
		requests[i] = request()
	}
	return policy.Compile(p), policy.NewTable(append(all, policy.Facts{Name: "dom0", UUID: uuid(9999)})...), requests
}

// BenchmarkDecide reports percentiles of single decisions, the clock's own time included.
func BenchmarkDecide(b *testing.B) {
	for _, kind := range []string{"realistic", "one bucket of names", "one bucket of tags"} {
		for _, rules := range []int{100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", kind, rules), func(b *testing.B) {
				c, sys, requests := sizes[kind](b, rules)
				took := make([]time.Duration, 0, 1<<20)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					start := time.Now()
					c.Allows(requests[i%len(requests)], sys)
					if len(took) < cap(took) {
						took = append(took, time.Since(start))
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
				b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			})
		}
	}
}

func BenchmarkReference(b *testing.B) {
	c, sys, requests := sizes["realistic"](b, 10_000)
	for i := 0; b.Loop(); i++ {
		c.Policy().Decide(requests[i%len(requests)], sys)
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, kind := range []string{"realistic", "one bucket of names", "one bucket of tags"} {
		b.Run(kind, func(b *testing.B) {
			c, _, _ := sizes[kind](b, 10_000)
			for b.Loop() {
				policy.Compile(c.Policy())
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	c, _, _ := sizes["realistic"](b, 10_000)
	text := c.Policy().String()
	for b.Loop() {
		if _, err := policy.Parse("p", text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClock is what BenchmarkDecide's percentiles have of the clock.
func BenchmarkClock(b *testing.B) {
	took := make([]time.Duration, 0, 1<<20)
	for b.Loop() {
		start := time.Now()
		if len(took) < cap(took) {
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}
