package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/verdict"
)

// servedCalls is what a run of s finds where a share of calls is not answered.
func servedCalls(s *scenario.Scenario, lost float64, lostAs measure.Outcome, invalid ...string) *measure.Result {
	r := measure.NewRecorder(s.Warmup)
	every := time.Duration(float64(time.Second) / s.Load.Stages[0].From)
	for n, due := 0, time.Duration(0); due < s.Load.Duration(); n, due = n+1, due+every {
		k := measure.Key{Method: "m", Outcome: measure.OK}
		if float64(n%100) < 100*lost {
			k.Outcome = lostAs
		}
		r.Begun(due, 0)
		r.Add(k, measure.Sample{Intended: due, Done: due + time.Millisecond})
	}
	result := r.Result()
	result.Took, result.Invalid = s.Load.Duration()-s.Warmup, invalid
	return result
}

// searched is a search from 100 to 10,000 calls/s, and what it told.
func searched(t *testing.T, ctx context.Context, run func(context.Context, *scenario.Scenario) (*measure.Result, error)) (capacityJSON, string, error) {
	s, err := scenario.Simple(scenario.Options{Call: "admin.vm.List", Rate: 1, Duration: time.Second, Target: scenario.Target{Socket: "nowhere"}}, scenario.Checks{})
	require.NoError(t, err)
	var told bytes.Buffer
	c := capacity{
		Range: verdict.Range{From: 100, To: 10_000, Precision: 0.02}, s: s, duration: 100 * time.Millisecond, warmup: 10 * time.Millisecond,
		run: run, stdout: &told,
	}
	file := filepath.Join(t.TempDir(), "capacity.json")
	failed := c.search(ctx, file)
	var d capacityJSON
	text, err := os.ReadFile(file)
	if err == nil {
		require.NoError(t, json.Unmarshal(text, &d))
	}
	return d, told.String(), failed
}

func codeOf(t *testing.T, err error) int {
	if err == nil {
		return 0
	}
	var f *failure
	require.ErrorAs(t, err, &f)
	return f.code
}

func TestCapacity(t *testing.T) {
	// upTo is a server that loses calls beyond a rate.
	upTo := func(most float64, as measure.Outcome, invalid ...string) func(context.Context, *scenario.Scenario) (*measure.Result, error) {
		return func(_ context.Context, s *scenario.Scenario) (*measure.Result, error) {
			if s.Load.Stages[0].From > most {
				return servedCalls(s, 0.5, as, invalid...), nil
			}
			return servedCalls(s, 0, as), nil
		}
	}
	late := "the tool was the bottleneck: it slept"
	shed := "calls were never begun"
	calls := 0
	for name, c := range map[string]struct {
		run          func(context.Context, *scenario.Scenario) (*measure.Result, error)
		code         int
		found        verdict.Found
		above, below float64 // of the rate
		told, never  string
	}{
		"an edge":            {upTo(1000, measure.Timeout), 0, verdict.TheEdge, 980, 1000, "FAILED   p50 1.00 ms, p99 1.00 ms, the tool late by 0.06 µs, errors 5", "INVALID"},
		"no edge":            {upTo(1e9, measure.Timeout), 0, verdict.AllHeld, 10_000, 10_000, "capacity: at least 10000 calls/s: more were not to be tried\n", "FAILED"},
		"all beyond":         {upTo(50, measure.Timeout), exitMissed, verdict.NoneHeld, 0, 0, "capacity: less than 100 calls/s, the least that was to be tried\n", "held "},
		"the tool is late":   {upTo(1000, measure.OK, late), exitInvalid, verdict.Unfinished, 800, 800, "capacity: at least 800 calls/s: at 1600, the tool was the bottleneck\n", "FAILED"},
		"always":             {upTo(50, measure.OK, late), exitInvalid, verdict.Unfinished, 0, 0, "capacity: unknown: at 100, the tool was the bottleneck\n", "held "},
		"late, and shedding": {upTo(1000, measure.Shed, late, shed), exitInvalid, verdict.Unfinished, 800, 800, "INVALID  p50 1.00 ms, p99 1.00 ms, the tool late by 0.06 µs, errors 58.3 %; the tool was the bottleneck: it slept; calls", "FAILED"},
		"shedding":           {upTo(1000, measure.Shed, shed), 0, verdict.TheEdge, 980, 1000, "errors < 1%: it is 58.33% (84 of 144); calls were never begun\n", "INVALID"},
		"late now and then": {func(ctx context.Context, s *scenario.Scenario) (*measure.Result, error) {
			if calls++; calls%3 > 0 {
				return servedCalls(s, 0.5, measure.Timeout, late), nil
			}
			return upTo(1000, measure.Timeout)(ctx, s)
		}, 0, verdict.TheEdge, 980, 1000, "INVALID  ", "bottleneck\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d, told, err := searched(t, t.Context(), c.run)
			assert.Equal(t, c.code, codeOf(t, err), told)
			assert.Equal(t, c.found, d.Found)
			assert.GreaterOrEqual(t, d.Rate, c.above)
			assert.LessOrEqual(t, d.Rate, c.below)
			if c.found == verdict.TheEdge {
				assert.Greater(t, d.Beyond, 1000.0)
				assert.Less(t, d.Beyond, 1021.0)
			}
			assert.Contains(t, told, c.told)
			assert.NotContains(t, told, c.never)
			assert.Contains(t, told, "admin.vm.List: what is to hold: errors < 1%, p99 < 100ms, since no --threshold says otherwise\n")
			assert.Equal(t, len(d.Probes)+3, strings.Count(told, "\n"))
			assert.Equal(t, usualThresholds, d.Thresholds)
			assert.Equal(t, []string{"admin.vm.List", "nowhere"}, []string{d.Scenario, d.Target})
			for _, p := range d.Probes {
				assert.NotZero(t, p.Overall.Count)
				assert.Nil(t, p.Overall.Histogram.Histogram)
				assert.Len(t, p.Verdicts, 2)
				assert.InDelta(t, 0.09, p.Seconds, 1e-9, "the warm-up counts")
				assert.InDelta(t, 0.09*p.Rate, p.Overall.Count, 1)
				if len(p.Invalid) == 0 {
					assert.Equal(t, p.Held, len(p.Why) == 0)
				}
			}
		})
	}
}

// TestCapacityEnded: who ends a search is told what is known, and of the probe that was cut short, nothing.
func TestCapacityEnded(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	d, told, err := searched(t, ctx, func(_ context.Context, s *scenario.Scenario) (*measure.Result, error) {
		if s.Load.Stages[0].From == 800 {
			stop()
		}
		return servedCalls(s, 0, measure.OK), nil
	})
	assert.Equal(t, exitInvalid, codeOf(t, err))
	assert.Equal(t, 400.0, d.Rate)
	assert.Equal(t, verdict.Unfinished, d.Found)
	assert.Len(t, d.Probes, 3)
	assert.Contains(t, told, "capacity: at least 400 calls/s: the search was ended\n")
}

// TestCapacityFails: what cannot be begun, or written, is no finding.
func TestCapacityFails(t *testing.T) {
	_, _, err := searched(t, t.Context(), func(context.Context, *scenario.Scenario) (*measure.Result, error) { return nil, errors.New("no epoll") })
	assert.Equal(t, exitUsage, codeOf(t, err))
	assert.EqualError(t, err, "load: no epoll")
	d, told, err := searched(t, t.Context(), func(_ context.Context, s *scenario.Scenario) (*measure.Result, error) {
		if s.Load.Stages[0].From == 800 {
			return nil, errors.New("no epoll")
		}
		return servedCalls(s, 0, measure.OK), nil
	})
	assert.Equal(t, exitInvalid, codeOf(t, err))
	assert.Equal(t, "no epoll", d.Why)
	assert.Contains(t, told, "capacity: at least 400 calls/s: no epoll\n")

	s, err := scenario.Simple(scenario.Options{Call: "admin.vm.List", Rate: 1, Duration: time.Second, Thresholds: []string{"count > 1"}}, scenario.Checks{})
	require.NoError(t, err)
	var out bytes.Buffer
	c := capacity{Range: verdict.Range{From: 100, To: 200}, s: s, duration: 100 * time.Millisecond, stdout: &out,
		run: func(_ context.Context, s *scenario.Scenario) (*measure.Result, error) {
			return servedCalls(s, 0, measure.OK), nil
		}}
	assert.Equal(t, exitNoReply, codeOf(t, c.search(t.Context(), "no/such/place")))
	assert.Contains(t, out.String(), "what is to hold: count > 1\n")
	assert.Contains(t, out.String(), "capacity: at least 200 calls/s")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	c.stdout = full
	file := filepath.Join(t.TempDir(), "capacity.json")
	assert.Equal(t, exitNoReply, codeOf(t, c.search(t.Context(), file)))
	assert.FileExists(t, file)
}

// TestRounded: no rate is told with an exponent.
func TestRounded(t *testing.T) {
	for want, rate := range map[string]float64{"0.5": 0.5, "12.3": 12.345, "99.9": 99.94, "100": 100.2, "12445": 12445.08} {
		assert.Equal(t, want, rounded(rate))
	}
}
