package judge

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/properties"
)

// many are 500 qubes with two or three tags each, as an inventory.
func many(t testing.TB) (qube.View, []qube.Qube) {
	var b strings.Builder
	b.WriteString("version: 1\nglobal: {default_template: q0}\nqubes:\n  - {name: dom0}\n")
	for i := range 500 {
		tags := []string{fmt.Sprintf("admin%d", i%10), fmt.Sprintf("owned%d", i/10%10), "other"}[i%2:]
		fmt.Fprintf(&b, "  - {name: q%d, class: %s, tags: [%s]}\n", i, []string{"TemplateVM", "AppVM", "StandaloneVM"}[i%3], strings.Join(tags, ", "))
	}
	file := filepath.Join(t.TempDir(), "inventory.yaml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	s, err := inventory.FromFile(file, properties.Schema{})
	require.NoError(t, err)
	return s, slices.Collect(s.Qubes())
}

// someRules are as an administrator writes them: services with forty rules each, for names, tags, classes and arguments, and
// a default at the end.
func someRules(rules int, random *rand.Rand) string {
	var b strings.Builder
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
			to = []string{"@adminvm", "@type:AppVM", "@anyvm"}[random.IntN(3)]
		}
		fmt.Fprintf(&b, "admin.S%d %s %s %s %s\n", random.IntN(max(rules/40, 1)), arg, from, to, []string{"allow target=dom0", "deny"}[random.IntN(2)])
	}
	b.WriteString("* * @anyvm @anyvm deny notify=no\n")
	return b.String()
}

// BenchmarkDecide reports percentiles of single verdicts on calls of a qube, the clock's own time included.
func BenchmarkDecide(b *testing.B) {
	v, qubes := many(b)
	for _, rules := range []int{100, 10_000} {
		b.Run(fmt.Sprint(rules), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			j := using(b, someRules(rules, random))
			subjects := make([]stages.Subject, 4096)
			for i := range subjects {
				subjects[i] = stages.Subject{Service: fmt.Sprintf("admin.S%d", random.IntN(max(rules/40, 1))), Arg: fmt.Sprintf("p%d", random.IntN(20)),
					Source: qubes[1+random.IntN(500)], Dest: qubes[random.IntN(501)]}
			}
			took := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				j.Allows(v, subjects[i%len(subjects)])
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
