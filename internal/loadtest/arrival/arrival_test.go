package arrival

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func all(s *Schedule) (times []time.Duration) {
	for due, ok := s.Next(); ok; due, ok = s.Next() {
		times = append(times, due)
	}
	return times
}

func TestEvenlySpaced(t *testing.T) {
	assert.Equal(t, []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond}, all(New([]Stage{{4, 4, time.Second}}, nil)))
	assert.Empty(t, all(New([]Stage{{0, 0, time.Hour}}, nil)))
	// From nothing to 8 in a second: the nth comes at the root of n/4.
	times := all(New([]Stage{{0, 8, time.Second}, {8, 0, time.Second}}, nil))
	require.Len(t, times, 8)
	for n := range 4 {
		assert.InDelta(t, math.Sqrt(float64(n)/4), times[n].Seconds(), 1e-9)
		assert.InDelta(t, 2-math.Sqrt(1-float64(n)/4), times[4+n].Seconds(), 1e-9)
	}
}

// TestStages: in every span, there are as many arrivals as the rate's integral says, to one; and they come in order.
func TestStages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stages []Stage
		want := 0.0
		for range rapid.IntRange(1, 5).Draw(t, "stages") {
			s := Stage{
				float64(rapid.IntRange(0, 2000).Draw(t, "from")), float64(rapid.IntRange(0, 2000).Draw(t, "to")),
				time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond,
			}
			stages, want = append(stages, s), want+s.total()
		}
		times := all(New(stages, nil))
		require.InDelta(t, want, float64(len(times)), 1.001)
		require.True(t, slices.IsSorted(times))
		var began time.Duration
		count := 0.0
		for _, s := range stages {
			began, count = began+s.For, count+s.total()
			before := len(times)
			if i := slices.IndexFunc(times, func(at time.Duration) bool { return at >= began }); i >= 0 {
				before = i
			}
			require.InDelta(t, count, float64(before), 1.001)
		}
	})
}

// TestPoisson: the gaps of a constant rate are exponential, which their mean and variance tell, and a seed repeats them.
func TestPoisson(t *testing.T) {
	make := func(seed uint64) []time.Duration {
		return all(New([]Stage{{1000, 1000, 100 * time.Second}}, rand.New(rand.NewPCG(seed, 0))))
	}
	times := make(1)
	assert.Equal(t, times, make(1))
	assert.NotEqual(t, times, make(2))
	require.True(t, slices.IsSorted(times))
	assert.InDelta(t, 100_000, len(times), 5*math.Sqrt(100_000))
	var sum, squares float64
	for i := range times[1:] {
		gap := (times[i+1] - times[i]).Seconds() * 1000
		sum, squares = sum+gap, squares+gap*gap
	}
	n := float64(len(times) - 1)
	assert.InDelta(t, 1, sum/n, 0.02)
	assert.InDelta(t, 2, squares/n, 0.1, "an exponential's second moment")
}

// TestShares: what several drivers do together is what one would do alone.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		poisson, of := rapid.Bool().Draw(t, "poisson"), rapid.IntRange(1, 7).Draw(t, "of")
		schedule := func() *Schedule {
			var random *rand.Rand
			if poisson {
				random = rand.New(rand.NewPCG(1, 2))
			}
			return New([]Stage{{100, 400, time.Second}, {50, 50, time.Second}}, random)
		}
		var together []time.Duration
		for part := range of {
			together = append(together, all(schedule().Share(part, of))...)
		}
		slices.Sort(together)
		require.Equal(t, all(schedule()), together)
	})
}
