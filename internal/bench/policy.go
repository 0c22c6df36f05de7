package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"sallyport/internal/bench/terms"
)

// The measures of the issue "The permission stage", section "Numbers": what it costs a daemon to judge, and single decisions,
// which are Go benchmarks of internal/policy.

const (
	policyRules   = 1000
	policyWorkers = 64
)

func policyPart(source string) string { return "policy-" + source }

// policySources are dom0, which no policy judges, and a qube that the last rule allows to read.
var policySources = []string{"dom0", terms.Qube(0)}

// policies measures the same reads, of the same server, by both sources, alternating.
func (b *bench) policies(ctx context.Context, k kind) error {
	dir, err := writePolicy(b.root)
	if err != nil {
		return err
	}
	s, err := start(ctx, b.root, k, setup{qubes: b.Qubes, policy: dir})
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	defer s.stop()
	for rep := range b.Starts * b.Rounds {
		b.note("policy: repetition %d of %d", rep+1, b.Starts*b.Rounds)
		for _, source := range rotate(policySources, rep) {
			if err := b.load(ctx, rep, policyPart(source), s, "get", policyWorkers, b.Qubes, "--source", source); err != nil {
				return err
			}
		}
	}
	return nil
}

// policyComparison is reads that a policy judges over those that none does.
func (b *bench) policyComparison() comparison {
	throughput := func(p point) float64 { return p.Load.PerSecond }
	judged := ratios(b.series(policyPart(policySources[1]), "warn", throughput), b.series(policyPart(policySources[0]), "warn", throughput))
	return comparison{fmt.Sprintf("Reads of a source that %s rules judge over those of dom0, %d workers", thousands(policyRules), policyWorkers), judged, atLeast(0.95)}
}

// writePolicy writes rules by names, tags, classes and arguments, a tenth of them for the method that is called; the last
// one allows it.
func writePolicy(root string) (dir string, err error) {
	dir = filepath.Join(root, "policy")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	var b strings.Builder
	for i := range policyRules - 1 {
		service, argument := fmt.Sprintf("admin.S%d", i%97), "*"
		if i%10 == 0 {
			service = "admin.vm.feature.Get"
		}
		if i%4 == 0 {
			argument = fmt.Sprintf("+feature-%d", i)
		}
		source := []string{terms.Qube(1 + i), fmt.Sprintf("@tag:admin-%d", i), "@type:DispVM"}[i%3]
		target := []string{terms.Qube(i), fmt.Sprintf("@tag:owned-%d", i), "@type:AppVM", "@anyvm", "@adminvm"}[i%5]
		fmt.Fprintf(&b, "%s %s %s %s allow target=dom0\n", service, argument, source, target)
	}
	fmt.Fprintf(&b, "admin.vm.feature.Get * %s @anyvm allow target=dom0\n", policySources[1])
	return dir, os.WriteFile(filepath.Join(dir, "30-bench.policy"), []byte(b.String()), 0o600)
}

// decision is what a Go benchmark reports, by its unit.
type decision map[string]float64

// The Go benchmarks of single decisions and of making ready to decide.
const (
	decisionBenchmarks = "^Benchmark(Decide|Compile|Parse)$"
	decisionPackage    = "sallyport/internal/policy"
)

// decide runs the Go benchmarks.
func (b *bench) decide(ctx context.Context) error {
	b.note("decisions")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", decisionBenchmarks, decisionPackage)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("decisions: %w: %s", err, out)
	}
	b.decisions = parseBenchmarks(string(out))
	return nil
}

// parseBenchmarks reads what go test says of benchmarks, by their names without what follows the last dash.
func parseBenchmarks(out string) map[string]decision {
	all := map[string]decision{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name = name[:i]
		}
		d := decision{}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				d[f[i+1]] = v
			}
		}
		all[name] = d
	}
	return all
}

// decisionNotes say what single decisions cost, and whether that is what was wanted.
func (b *bench) decisionNotes() []string {
	many, few := b.decisions["Decide/realistic/10000"], b.decisions["Decide/realistic/100"]
	compile, parse := b.decisions["Compile/realistic"], b.decisions["Parse"]
	if many == nil || few == nil || compile == nil || parse == nil {
		return nil
	}
	p50, p99, allocated := many["p50-ns"], many["p99-ns"], many["allocs/op"]
	more, ready := p50/few["p50-ns"], (compile["ns/op"]+parse["ns/op"])/1e6
	return []string{
		fmt.Sprintf("A decision by 10,000 rules, the clock's own time included: p50 %.0f ns, p99 %.0f ns, %.0f allocations; goal: at most 250 ns, 1,000 ns and none, %s.",
			p50, p99, allocated, metText(p50 <= 250 && p99 <= 1000 && allocated == 0)),
		fmt.Sprintf("A decision by 10,000 rules over one by 100: %.2f; goal: at most 2, %s.", more, metText(more <= 2)),
		fmt.Sprintf("Reading and compiling 10,000 rules: %.0f ms; goal: at most 50 ms, %s.", ready, metText(ready <= 50)),
	}
}
