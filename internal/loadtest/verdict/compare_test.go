package verdict

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
)

// atoms are as many times as stand for a distribution, each as likely as the others.
const atoms = 1 << 13

// source is a distribution of times.
type source [atoms]float64

// part is a share of lognormal times around a median.
type part struct {
	share  float64
	median time.Duration
	sigma  float64
}

func mixture(parts ...part) *source {
	var s source
	from := 0
	for i, p := range parts {
		n := int(math.Round(p.share * atoms))
		if i == len(parts)-1 {
			n = atoms - from
		}
		for j := range n {
			z := math.Sqrt2 * math.Erfinv(2*(float64(j)+0.5)/float64(n)-1)
			s[from+j] = float64(p.median) * math.Exp(p.sigma*z)
		}
		from += n
	}
	return &s
}

// shapes are what runs look like: a source for each of their windows, by chance.
func shapes(t *testing.T) map[string][]*source {
	return map[string][]*source{
		"lognormal": {mixture(part{1, 300 * time.Microsecond, 0.5})},
		// p90 and p99 are where one part ends and the next begins, which is as hard as it gets.
		"bimodal":  {mixture(part{0.90, 150 * time.Microsecond, 0.2}, part{0.09, time.Millisecond, 0.3}, part{0.01, 10 * time.Millisecond, 0.8})},
		"narrow":   {mixture(part{1, 200 * time.Microsecond, 0.02})},
		"recorded": recorded(t),
	}
}

// recorded are the windows of a run of 30 s, of 2,000 calls per second of three methods, against a daemon with the demo's
// qubes on two processors.
func recorded(t *testing.T) (sources []*source) {
	text, err := os.ReadFile("testdata/recorded.txt")
	require.NoError(t, err)
	for line := range bytes.Lines(text) {
		window, err := hdrhistogram.DecodePacked(bytes.TrimSpace(line))
		require.NoError(t, err)
		all, s := newBars(window, newPlain()), new(source)
		for i := range s {
			s[i] = all.quantile((float64(i) + 0.5) / atoms)
		}
		sources = append(sources, s)
	}
	return sources
}

// form is how much of a shape a side has.
type form struct {
	name    string
	runs    int
	calls   int     // of a run
	windows int     // of a run; none: it has none
	between float64 // by how much runs differ: the standard deviation of the logarithm
	drift   float64 // by how much windows do, each of which is half as much off as the one before, and by chance
	finds   int     // of 1,000 pairs in which one side is 5 % slower
	long    bool    // it is looked at only by who has time
}

// draw resamples a side whose calls all take slower times as long. The sources of a shape take turns by chance: from
// window to window, or where there is none, from call to call.
func (f form) draw(chance *rand.Rand, shape []*source, slower float64) (side []Sample) {
	any := func() *source { return shape[chance.IntN(len(shape))] }
	for range f.runs {
		run := Sample{Total: measure.NewHistogram()}
		factor, drift := slower*math.Exp(f.between*chance.NormFloat64()), 0.0
		for range f.windows {
			drift = drift/2 + f.drift*chance.NormFloat64()
			from, now, window := any(), factor*math.Exp(drift), newPlain()
			for range f.calls / f.windows {
				value := int64(now * from[chance.Uint64()%atoms])
				_, _ = run.Total.RecordValue(value), window.RecordValue(value)
			}
			run.Windows = append(run.Windows, pack(window))
		}
		for f.windows == 0 && run.Total.TotalCount() < int64(f.calls) {
			_ = run.Total.RecordValue(int64(factor * any()[chance.Uint64()%atoms]))
		}
		side = append(side, run)
	}
	return side
}

// TestAlarms counts alarms over 1,000 pairs of equal sides: 1 % at most; and over 1,000 in which one is 5 % slower: 99 % at
// least. SALLYPORT_LONG=1 looks at all forms of all shapes. It takes minutes with the race detector, which has nothing to find.
func TestAlarms(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long")
	}
	const pairs = 1000
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // what it makes is large, and soon forgotten
	t.Run("all", func(t *testing.T) {
		for name, shape := range shapes(t) {
			for i, f := range []form{
				{name: "10,000 calls", runs: 1, calls: 10_000, finds: 990},
				{name: "100,000 calls", runs: 1, calls: 100_000, finds: 990},
				{name: "10,000 calls in windows", runs: 1, calls: 10_000, windows: 30, finds: 930}, // too few where windows differ in truth
				{name: "100,000 calls in windows", runs: 1, calls: 100_000, windows: 30, finds: 990, long: true},
				{name: "windows that drift", runs: 1, calls: 10_000, windows: 60, drift: 0.01, finds: 950, long: true},
				{name: "windows that drift a lot", runs: 1, calls: 10_000, windows: 60, drift: 0.05, long: true},
				{name: "five runs", runs: 5, calls: 10_000, between: 0.005, finds: 990, long: true},
			} {
				if os.Getenv("SALLYPORT_LONG") == "" && (f.long || i > 0 && name != "recorded") {
					continue
				}
				t.Run(name+", "+f.name, func(t *testing.T) {
					t.Parallel()
					chance := rand.New(rand.NewPCG(uint64(f.calls), uint64(f.windows)))
					found := map[Change]int{}
					slower := 0
					for range pairs {
						a := f.draw(chance, shape, 1)
						found[Compare(a, f.draw(chance, shape, 1), Options{}).Change]++
						if Compare(a, f.draw(chance, shape, 1+Visible), Options{}).Change == Slower {
							slower++
						}
					}
					t.Log(found, slower)
					assert.LessOrEqual(t, found[Slower]+found[Faster], pairs/100, "of equal sides")
					assert.GreaterOrEqual(t, slower, f.finds, "of sides that are slower")
				})
			}
		}
	})
}

// normal is a side of runs of 3,000 calls in 30 windows, whose times are spread by 5 % around the run's.
func normal(seed uint64, times ...time.Duration) (side []Sample) {
	chance := rand.New(rand.NewPCG(seed, 0))
	for _, at := range times {
		run := Sample{Total: measure.NewHistogram()}
		for range 30 {
			window := hdrhistogram.NewPacked(100, int64(measure.Highest), 2)
			for range 100 {
				value := int64(float64(at) * (1 + 0.05*chance.NormFloat64()))
				_, _ = run.Total.RecordValue(value), window.RecordValue(value)
			}
			run.Windows = append(run.Windows, window)
		}
		side = append(side, run)
	}
	return side
}

func changes(c Comparison) (all []Change) {
	for _, m := range c.Metrics {
		all = append(all, m.Change)
	}
	return all
}

func TestCompare(t *testing.T) {
	const ms = time.Millisecond
	a, b := normal(1, 10*ms), normal(2, 12*ms)
	c := Compare(a, b, Options{})
	assert.Equal(t, Slower, c.Change)
	assert.Equal(t, Windows, c.Units)
	assert.Equal(t, []Change{Slower, Slower, Slower, Slower}, changes(c))
	for i, name := range []string{"p50", "p90", "p99", "mean"} {
		m := c.Metrics[i]
		assert.Equal(t, name, m.Name)
		assert.InEpsilon(t, 1.2, m.Ratio, 0.02)
		assert.InEpsilon(t, float64(m.B)/float64(m.A), m.Ratio, 0.001)
		assert.Less(t, m.Low, m.Ratio)
		assert.Less(t, m.Ratio, m.High)
		back := Compare(b, a, Options{}).Metrics[i]
		assert.Equal(t, Faster, back.Change)
		assert.InEpsilon(t, 1/m.Ratio, back.Ratio, 1e-9, "it is not the same from the other side")
		assert.InEpsilon(t, 1/m.Low, back.High, 1e-9)
	}
	assert.Equal(t, Slower, Compare(a, b, Options{MinEffect: 0.1}).Change)
	assert.Equal(t, Same, Compare(a, b, Options{MinEffect: 0.3}).Change, "it is less than what would matter")
	assert.NotContains(t, changes(Compare(a, b, Options{MinEffect: 0.3})), Slower)
	assert.Equal(t, c, Compare(a, b, Options{}), "there is chance in it")
	assert.Equal(t, Same, Compare(a, normal(3, 10*ms), Options{}).Change)
	one, many := c.Metrics[0], Compare(a, b, Options{Family: 50}).Metrics[0]
	assert.Less(t, many.Low, one.Low, "who looks at many comparisons is not told to doubt each more")
	assert.Greater(t, many.High, one.High)
}

// TestUnits: what runs, windows and calls scatter is what counts, in this order.
func TestUnits(t *testing.T) {
	const ms = time.Millisecond
	single := normal(1, 10*ms)
	bare := []Sample{{Total: single[0].Total}}
	for _, c := range []struct {
		a, b   []Sample
		units  Units
		change Change
	}{
		{single, normal(2, 11*ms), Windows, Slower},
		{bare, normal(2, 11*ms), Calls, Slower},
		{normal(2, 11*ms), bare, Calls, Faster},
		{normal(1, 10*ms, 10*ms), normal(2, 11*ms), Windows, Slower},
		{normal(1, 10*ms, 10*ms, 10*ms, 10*ms, 10*ms), normal(2, 11*ms, 11*ms, 11*ms, 11*ms, 11*ms), Runs, Slower},
		{normal(1, 8*ms, 9*ms, 10*ms, 11*ms, 12*ms), normal(2, 11*ms, 12*ms, 13*ms, 14*ms, 15*ms), Runs, NotEnough}, // runs differ as much as sides
		{single, nil, Calls, NotEnough},
		{nil, nil, Calls, NotEnough},
		{single, []Sample{{Total: measure.NewHistogram()}, {}}, Calls, NotEnough},
	} {
		found := Compare(c.a, c.b, Options{})
		assert.Equal(t, c.units, found.Units)
		assert.Equal(t, c.change, found.Change)
		assert.Len(t, found.Metrics, 4)
	}
}

// TestFewCalls bound nothing, and are no alarm, however different they are.
func TestFewCalls(t *testing.T) {
	for n := range 8 {
		few, other := Sample{Total: measure.NewHistogram()}, Sample{Total: measure.NewHistogram()}
		for i := range n {
			require.NoError(t, few.Total.RecordValue(int64(i)))
			require.NoError(t, other.Total.RecordValue(int64(100*i)))
		}
		c := Compare([]Sample{few}, []Sample{other}, Options{})
		assert.Equal(t, []Change{NotEnough, NotEnough, NotEnough}, changes(c)[:3], n)
		for _, m := range c.Metrics {
			assert.False(t, math.IsNaN(m.Ratio+m.Low+m.High) || math.IsInf(m.Ratio+m.Low+m.High, 0), "%d calls: %+v", n, m)
		}
	}
}

// TestBounds: where the end of an interval would be among the last calls of all, or beyond, there is no interval.
func TestBounds(t *testing.T) {
	bare := func(seed uint64) []Sample {
		run := Sample{Total: measure.NewHistogram()}
		chance := rand.New(rand.NewPCG(seed, 0))
		for range 1100 { // 11 are above p99, and it may well be 10 more
			_ = run.Total.RecordValue(int64(1e6 * (1 + 0.05*chance.NormFloat64())))
		}
		return []Sample{run}
	}
	for _, m := range Compare(bare(1), bare(2), Options{}).Metrics {
		assert.Equal(t, m.Name != "p99", m.Low > 0 && m.High > 0, m)
	}
}

// TestTwoRuns that differ say so little about a third that no number is large enough.
func TestTwoRuns(t *testing.T) {
	differ := normal(1, time.Microsecond, time.Minute)
	for _, m := range Compare(differ, differ, Options{Family: 100}).Metrics {
		assert.Equal(t, Metric{m.Name, m.A, m.A, 1, 0, 0, NotEnough}, m)
	}
}

// TestSampleOf: a run that was written and read again is compared as what it found, without the warm-up.
func TestSampleOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		warmup := time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "warmup"))
		r := measure.NewRecorder(warmup)
		for range rapid.IntRange(0, 50).Draw(t, "calls") {
			at := time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "due"))
			k := measure.Key{Method: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "method"), Outcome: rapid.SampledFrom(measure.Outcomes).Draw(t, "outcome")}
			r.Add(k, measure.Sample{Intended: at, Done: at + time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "took"))})
		}
		result := r.Result()
		var b bytes.Buffer
		require.NoError(t, report.Of(&scenario.Scenario{Warmup: warmup}, result).WriteJSON(&b))
		d, err := report.ReadJSON(&b)
		require.NoError(t, err)

		all, errors := result.Of(func(measure.Key) bool { return true })
		s := SampleOf(d.Overall, d.Windows)
		assert.True(t, all.Total.Equals(s.Total))
		assert.Equal(t, Tally{all.Count, errors}, s.Calls)
		var measured []*measure.Window
		for _, w := range result.Windows {
			if w.From >= warmup {
				measured = append(measured, w)
			}
		}
		require.Len(t, s.Windows, len(measured))
		require.Len(t, s.Tallies, len(measured))
		for i, w := range measured {
			count, errors := w.Count()
			assert.Equal(t, Tally{count, errors}, s.Tallies[i])
			assert.Equal(t, newBars(w.Total, newPlain()), newBars(s.Windows[i], newPlain()))
		}
		for _, g := range d.Groups {
			if g.By == report.Method {
				want, errors := result.Of(func(k measure.Key) bool { return k.Method == g.Name })
				s := SampleOf(g.Figures, nil)
				assert.True(t, want.Total.Equals(s.Total))
				assert.Equal(t, Sample{Total: s.Total, Calls: Tally{want.Count, errors}}, s)
			}
		}
	})
}

// TestLeast: of less than that, nothing is judged, but the figures are told.
func TestLeast(t *testing.T) {
	const ms = time.Millisecond
	a, b := normal(1, 10*ms), normal(2, 12*ms)
	bare := []Sample{{Total: b[0].Total}}
	assert.Equal(t, Compare(a, b, Options{}), Compare(a, b, Options{Least: Windows}))
	for _, c := range []Comparison{Compare(a, b, Options{Least: Runs}), Compare(a, bare, Options{Least: Windows}), Compare(bare, a, Options{Least: Windows})} {
		assert.Equal(t, NotEnough, c.Change)
		assert.Equal(t, []Change{NotEnough, NotEnough, NotEnough, NotEnough}, changes(c))
		for _, m := range c.Metrics {
			assert.NotZero(t, m.Ratio)
			assert.Zero(t, m.High)
		}
	}
}

func TestStudent(t *testing.T) {
	for _, c := range []struct{ tail, freedom, want float64 }{
		{0.005, 1, 63.657}, {0.0005, 2, 31.599}, {0.0005, 8, 5.041}, {0.005, 58, 2.663}, {0.000625, 1e5, 3.2272},
	} {
		assert.InEpsilon(t, c.want, student(c.tail, c.freedom), 1e-3, c)
	}
}
