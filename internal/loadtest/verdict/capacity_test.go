package verdict

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server is a simulated one with a queue (M/M/1): the time that 99 % of calls stay below is ln(100)/(serves-rate). A run
// measures it with noise, and now and then something else slows the machine, and a run does not hold at any rate.
type server struct {
	chance  *rand.Rand
	serves  float64 // calls per second
	below   float64 // seconds: the threshold
	noise   float64 // the standard deviation of the measured time's logarithm
	badLuck float64 // the share of runs
}

func (s server) edge() float64 { return s.serves - math.Log(100)/s.below }

func (s server) probe(_ context.Context, rate float64) (bool, error) {
	if rate >= s.serves || s.chance.Float64() < s.badLuck {
		return false, nil
	}
	return math.Log(100)/(s.serves-rate)*math.Exp(s.noise*s.chance.NormFloat64()) < s.below, nil
}

// TestSearchRepeats: every search of the same server finds the same, whatever noise and luck do. The goal is 5 %.
func TestSearchRepeats(t *testing.T) {
	for name, s := range map[string]server{
		"no noise":       {serves: 5000, below: 0.005},
		"steep":          {serves: 5000, below: 0.050, noise: 0.3, badLuck: 0.05},
		"far from steep": {serves: 5000, below: 0.005, noise: 0.1, badLuck: 0.05}, // full to 82 %
		"half full":      {serves: 5000, below: 0.002, noise: 0.02, badLuck: 0.02},
	} {
		t.Run(name, func(t *testing.T) {
			var rates []float64
			most := 0
			for seed := range uint64(200) {
				s.chance = rand.New(rand.NewPCG(seed, 1))
				c, err := Search(t.Context(), Range{From: 10 + s.chance.Float64(), To: 1e6}, s.probe)
				require.NoError(t, err)
				require.Equal(t, TheEdge, c.Found)
				require.Greater(t, c.Beyond(), c.Rate)
				require.LessOrEqual(t, c.Beyond(), c.Rate*(1+defaultPrecision)*(1+1e-9))
				rates, most = append(rates, c.Rate/s.edge()), max(most, len(c.Probes))
			}
			slices.Sort(rates)
			assert.InDelta(t, 1, rates[0]/rates[100], 0.035)
			assert.InDelta(t, 1, rates[199]/rates[100], 0.035)
			assert.InDelta(t, 1, rates[100], 0.05, "it is another rate than the edge")
			assert.Less(t, most, 70)
		})
	}
}

func always(context.Context, float64) (bool, error) { return true, nil }
func never(context.Context, float64) (bool, error)  { return false, nil }

func TestSearchWithoutAnEdge(t *testing.T) {
	c, err := Search(t.Context(), Range{From: 100, To: 500}, never)
	require.NoError(t, err)
	assert.Equal(t, Capacity{0, NoneHeld, []Probe{{100, false}, {100, false}}}, c)

	c, err = Search(t.Context(), Range{From: 100, To: 500}, always)
	require.NoError(t, err)
	assert.Equal(t, Capacity{500, AllHeld, []Probe{{100, true}, {200, true}, {400, true}, {500, true}, {500, true}, {500, true}}}, c)

	c, err = Search(t.Context(), Range{From: 100, To: 100}, always)
	require.NoError(t, err)
	assert.Equal(t, Capacity{100, AllHeld, []Probe{{100, true}, {100, true}, {100, true}}}, c)

	held := true // once, by luck
	c, err = Search(t.Context(), Range{From: 100, To: 100}, func(context.Context, float64) (bool, error) {
		defer func() { held = false }()
		return held, nil
	})
	require.NoError(t, err)
	assert.Equal(t, NoneHeld, c.Found)
}

// TestSearchIsBounded, and what ends it early leaves what was found.
func TestSearchIsBounded(t *testing.T) {
	c, err := Search(t.Context(), Range{From: 1, To: 1e300, Most: 7}, always)
	require.NoError(t, err)
	assert.Equal(t, Unfinished, c.Found)
	assert.Zero(t, c.Beyond())
	assert.Equal(t, 64.0, c.Rate)
	assert.Len(t, c.Probes, 7)

	broken := errors.New("broken")
	c, err = Search(t.Context(), Range{From: 1, To: 100}, func(_ context.Context, rate float64) (bool, error) {
		if rate > 10 {
			return false, broken
		}
		return true, nil
	})
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, Capacity{8, Unfinished, []Probe{{1, true}, {2, true}, {4, true}, {8, true}}}, c)

	ctx, stop := context.WithCancel(t.Context())
	c, err = Search(ctx, Range{From: 1, To: 100}, func(_ context.Context, rate float64) (bool, error) {
		if rate > 10 {
			stop()
		}
		return true, nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, Capacity{8, Unfinished, []Probe{{1, true}, {2, true}, {4, true}, {8, true}}}, c, "a run that was cut short says nothing")
}

func TestSearchRefuses(t *testing.T) {
	for _, r := range []Range{{}, {From: 2, To: 1}, {From: -1, To: 1}, {From: 1, To: math.Inf(1)}, {From: math.NaN(), To: 1}, {From: 1, To: 2, Precision: -1}, {From: 1, To: 2, Most: -1}} {
		_, err := Search(t.Context(), r, always)
		assert.Error(t, err, r)
	}
}
