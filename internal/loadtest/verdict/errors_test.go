package verdict

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"gonum.org/v1/gonum/stat/distuv"
)

// erring draws a side of runs of n calls, whose shares of errors scatter around one: between is the standard deviation of
// the logarithm, of each run, or of each window of an only run.
func erring(chance *rand.Rand, runs, n, windows int, share, between float64) (side []Sample) {
	draw := func(n int) Tally {
		of := min(1, share*math.Exp(between*chance.NormFloat64()))
		return Tally{uint64(n), uint64(distuv.Binomial{N: float64(n), P: of, Src: chance}.Rand())}
	}
	for range runs {
		s := Sample{Calls: draw(n)}
		if windows > 0 {
			s.Calls = Tally{}
		}
		for range windows {
			w := draw(n / windows)
			s.Tallies = append(s.Tallies, w)
			s.Calls = Tally{s.Calls.Count + w.Count, s.Calls.Errors + w.Errors}
		}
		side = append(side, s)
	}
	return side
}

// TestErrorAlarms counts alarms over 1,000 pairs of equal sides: 1 % at most; and over 1,000 in which one has more errors.
func TestErrorAlarms(t *testing.T) {
	const pairs = 1000
	for name, f := range map[string]struct {
		runs, calls, windows   int
		share, between, higher float64
		finds                  int
	}{
		"rare":                   {5, 10_000, 0, 0.0005, 0, 0.01, 990},
		"runs":                   {5, 10_000, 0, 0.01, 0, 0.03, 990},
		"runs that differ":       {5, 10_000, 0, 0.02, 0.3, 0.2, 950},
		"runs that differ a lot": {10, 10_000, 0, 0.02, 1, 0.3, 500},
		"windows":                {1, 30_000, 30, 0.01, 0, 0.02, 990},
		"windows that differ":    {1, 30_000, 30, 0.01, 0.5, 0.05, 950},
		"calls":                  {1, 10_000, 0, 0.01, 0, 0.02, 990},
	} {
		t.Run(name, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(1, 2))
			found, more := map[Change]int{}, 0
			for range pairs {
				a := erring(chance, f.runs, f.calls, f.windows, f.share, f.between)
				found[Compare(a, erring(chance, f.runs, f.calls, f.windows, f.share, f.between), Options{}).Errors.Change]++
				if Compare(a, erring(chance, f.runs, f.calls, f.windows, f.higher, f.between), Options{}).Errors.Change == More {
					more++
				}
			}
			t.Log(found, more)
			assert.LessOrEqual(t, found[More]+found[Fewer], pairs/100, "of equal sides")
			assert.GreaterOrEqual(t, more, f.finds)
		})
	}
}

func TestErrors(t *testing.T) {
	runs := func(errors ...uint64) (side []Sample) {
		for _, n := range errors {
			side = append(side, Sample{Calls: Tally{1000, n}})
		}
		return side
	}
	none, some := runs(0, 0, 0, 0, 0), runs(50, 51, 52, 53, 54)
	c := Compare(none, some, Options{})
	assert.True(t, c.Worse(), "without any time")
	assert.Equal(t, NotEnough, c.Change)
	assert.Equal(t, Shares{A: 0, B: 0.052, Low: c.Errors.Low, High: c.Errors.High, Units: Runs, Change: More}, c.Errors)
	assert.Less(t, c.Errors.Low, 0.052)
	assert.Less(t, 0.052, c.Errors.High)
	back := Compare(some, none, Options{})
	assert.Equal(t, Fewer, back.Errors.Change)
	assert.False(t, back.Worse())
	assert.InDelta(t, -c.Errors.Low, back.Errors.High, 1e-12)
	assert.Equal(t, NotEnough, Compare(none, runs(0, 0, 0, 0, 260), Options{}).Errors.Change, "all were in one run")
	many := func(side []Sample) []Sample {
		for i := range side {
			side[i].Calls.Count *= 100
		}
		return side
	}
	assert.Equal(t, Same, Compare(many(runs(0, 0, 0, 0, 0)), many(runs(0, 1, 2, 0, 0)), Options{}).Errors.Change)
	assert.Less(t, Compare(none, some, Options{Family: 50}).Errors.Low, c.Errors.Low)
	for _, c := range []struct {
		a, b  []Sample
		least Units
		units Units
	}{
		{nil, nil, "", Calls}, {none, nil, "", Calls}, {[]Sample{{}}, some, "", Calls},
		{runs(0), some, Windows, Calls}, {runs(0), runs(500), Windows, Calls}, {runs(0), runs(1), "", Calls},
	} {
		found := Compare(c.a, c.b, Options{Least: c.least}).Errors
		assert.Equal(t, NotEnough, found.Change)
		assert.Equal(t, c.units, found.Units)
	}
	assert.Equal(t, More, Compare(runs(0), runs(500), Options{}).Errors.Change)
	slow := Compare([]Sample{{Total: normal(1, time.Millisecond)[0].Total}}, []Sample{{Total: normal(2, 2*time.Millisecond)[0].Total}}, Options{})
	assert.True(t, slow.Worse())
}

// TestWilson: his interval of 15 of 148 with 95 %, of none, and of one call.
func TestWilson(t *testing.T) {
	low, high := wilson(15.0/148, 148, 1.96)
	assert.InDelta(t, 0.0624, low, 0.0001)
	assert.InDelta(t, 0.1605, high, 0.0001)
	low, high = wilson(0, 20, 1.96)
	assert.Zero(t, low)
	assert.InDelta(t, 0.1611, high, 0.0001)
	low, high = wilson(1, 1, 1000)
	assert.InDelta(t, 0, low, 1e-5)
	assert.Equal(t, 1.0, high)
}
