package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sallyport/internal/bench/terms"
)

// The measure of the issue "The permission stage", section "Numbers", that concerns a whole daemon: what it costs to be
// judged. Single decisions and compiling are Go benchmarks of internal/policy and internal/judge.

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
