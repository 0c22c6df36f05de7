package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/actors"
)

// TestMetricsHaveTheTimesOfStages, by method, whether or not the log has lines of calls.
func TestMetricsHaveTheTimesOfStages(t *testing.T) {
	p := underPolicy(t, nil, "--log-level", "warn", "--http", "127.0.0.1:"+freePort(t))
	for range 3 {
		p.must("admin.vm.List", "dom0", "")
	}
	a, err := p.call("no.such.Method", "dom0", "")
	require.NoError(t, err)
	assert.Equal(t, "ProtocolError", a.Type)
	p.eventually("each call is counted, once it is over", func() bool {
		_, metrics := p.get("/metrics")
		return assert.ObjectsAreEqual([]int{3, 3, 3, 3, 3, 3}, countsOf(metrics, "admin.vm.List")) && countsOf(metrics, "")[5] == 1
	})
	assert.Equal(t, 0, p.terminate())
}

// countsOf are how many calls of a method metrics have, by stage; -1: none is told.
func countsOf(metrics, method string) (all []int) {
	for _, stage := range []string{"read", "sanitize", "permission", "action", "reply", "total"} {
		n := -1
		for line := range strings.Lines(metrics) {
			_, _ = fmt.Sscanf(line, fmt.Sprintf("sallyport_stage_seconds_count{method=%q,stage=%q} %%d", method, stage), &n)
		}
		all = append(all, n)
	}
	return all
}

// TestStagesAreToldApart: each time is in the histogram of its own stage.
func TestStagesAreToldApart(t *testing.T) {
	s := newStageTimes()
	s.observe(actors.Timing{Method: "m", Read: 1 * time.Second, Sanitize: 2 * time.Second, Permission: 3 * time.Second, Action: 4 * time.Second, Reply: 5 * time.Second, Total: 6 * time.Second})
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for i, stage := range []string{"read", "sanitize", "permission", "action", "reply", "total"} {
		assert.Contains(t, w.Body.String(), fmt.Sprintf("sallyport_stage_seconds_sum{method=%q,stage=%q} %d\n", "m", stage, i+1))
	}
}

// BenchmarkStages is what a call pays for them.
func BenchmarkStages(b *testing.B) {
	s := newStageTimes()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.observe(actors.Timing{Method: "admin.vm.feature.Get", Read: 22 * time.Microsecond, Sanitize: 7 * time.Microsecond, Permission: 4 * time.Microsecond, Action: 3 * time.Microsecond, Reply: 67 * time.Microsecond, Total: 106 * time.Microsecond})
		}
	})
}
