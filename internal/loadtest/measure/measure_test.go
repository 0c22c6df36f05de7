package measure

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func draw(t *rapid.T) (Key, Sample) {
	k := Key{
		Method:  rapid.SampledFrom([]string{"a", "b"}).Draw(t, "method"),
		Source:  rapid.SampledFrom([]string{"", "dom0"}).Draw(t, "source"),
		Outcome: rapid.SampledFrom([]Outcome{OK, Unexpected, Shed}).Draw(t, "outcome"),
	}
	if k.Outcome == Unexpected {
		k.Type = "QubesException"
	}
	s := Sample{Intended: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "intended"))}
	s.Connected = s.Intended + time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "connect"))
	s.First = s.Connected + time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "first"))
	s.Done = s.First + time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "done"))
	return k, s
}

// look is all of a result that can be compared.
func look(r *Result) string {
	var all []string
	for _, k := range r.Keys() {
		g := r.Groups[k]
		for _, h := range []interface{ Encode() ([]byte, error) }{g.Connected, g.First} {
			encoded, err := h.Encode()
			all = append(all, fmt.Sprint(encoded, err))
		}
		total, err := g.Total.EncodeV2()
		all = append(all, fmt.Sprint(k, g.Count, total, err))
	}
	lag, err := r.Lag.EncodeV2()
	all = append(all, fmt.Sprint(r.Due, r.Messages, r.Beside, lag, err))
	for _, w := range r.Windows {
		if len(w.Counts) == 0 && w.Due == 0 {
			continue
		}
		encoded, err := w.Total.Encode()
		all = append(all, fmt.Sprint(w.From, w.Width, w.Counts, w.Types, encoded, err, w.Lag, w.Due))
	}
	return fmt.Sprint(all)
}

// TestMergesExactly: what several recorders found together is what one would have found, whatever their number, and
// whoever took what.
func TestMergesExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alone, parts := NewRecorder(time.Minute), []*Recorder{NewRecorder(time.Minute), NewRecorder(time.Minute), NewRecorder(time.Minute)}
		for range rapid.IntRange(0, 20).Draw(t, "calls") {
			k, s := draw(t)
			lag := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "lag"))
			part := parts[rapid.IntRange(0, 2).Draw(t, "part")]
			for _, r := range []*Recorder{alone, part} {
				r.Begun(s.Intended, lag)
				r.Add(k, s)
				if k.Outcome == OK {
					r.Read()
					r.Beside(Key{Method: k.Method, Outcome: Reset})
				}
			}
		}
		together := NewResult()
		for _, p := range parts {
			together.Merge(p.Result())
		}
		whole := NewResult()
		whole.Merge(alone.Result())
		require.Equal(t, look(whole), look(together))
	})
}

// TestFigures: latencies count from the intended start; what was not answered counts, but makes nobody fast; the warm-up is
// seen in windows, and measured nowhere.
func TestFigures(t *testing.T) {
	r := NewRecorder(time.Second)
	ok := Key{Method: "m", Outcome: OK}
	add := func(k Key, intended, done time.Duration) {
		r.Begun(intended, time.Millisecond)
		r.Add(k, Sample{Intended: intended, Connected: intended + time.Millisecond, Done: done})
	}
	add(ok, 0, 100*time.Millisecond) // warm-up
	add(ok, time.Second, 1500*time.Millisecond)
	add(Key{Method: "m", Outcome: Unexpected, Type: "X"}, time.Second, 1700*time.Millisecond)
	add(Key{Method: "m", Outcome: Refused}, 2*time.Second, 2*time.Second)
	recent := r.Recent()
	n, errors := recent.Count()
	assert.Equal(t, []uint64{4, 2}, []uint64{n, errors})
	n, _ = r.Recent().Count()
	assert.Zero(t, n)
	result := r.Result()
	g, errors := result.Of(func(k Key) bool { return k.Method == "m" })
	assert.Equal(t, []uint64{3, 2, 3}, []uint64{g.Count, errors, result.Due})
	assert.EqualValues(t, 2, g.Total.TotalCount(), "a refusal in no time is no latency")
	assert.InDelta(t, 500e6, g.Total.Min(), 1e6)
	assert.InDelta(t, 700e6, g.Total.Max(), 1e6)
	assert.InDelta(t, 1e6, g.Connected.Max(), 1e4)
	assert.Zero(t, g.First.TotalCount())
	assert.Len(t, result.Windows, 3)
	assert.Equal(t, time.Second, result.Over)
	for took, want := range map[time.Duration]float64{995 * time.Millisecond: 10 / 0.995, 500 * time.Millisecond: 10, 2 * time.Second: 5, 0: 10} {
		result.Took = took
		assert.InDelta(t, want, result.PerSecond(10), 1e-9, "%v", took)
	}
	assert.Equal(t, map[string]uint64{"X": 1}, result.Windows[1].Types)
}

// TestMemoryIsBounded by no length of a run, and no number of names.
func TestMemoryIsBounded(t *testing.T) {
	r := NewRecorder(0)
	for n := range 5000 {
		at := time.Duration(n) * time.Minute
		r.Add(Key{Method: "m", Outcome: Unexpected, Type: fmt.Sprint("t", n)}, Sample{Done: time.Hour})
		r.Beside(Key{Method: "m", Outcome: OK, Type: fmt.Sprint("t", n)})
		r.Add(Key{Method: fmt.Sprint("m", n), Outcome: OK}, Sample{Intended: at, Done: at})
	}
	result := r.Result()
	assert.LessOrEqual(t, len(result.Groups), mostGroups)
	assert.LessOrEqual(t, len(result.Windows), MostWindows)
	all, _ := result.Of(func(Key) bool { return true })
	assert.EqualValues(t, 10000, all.Count)
	assert.Len(t, result.Beside, MostTypes+1)
	merged := NewResult()
	for n := range 1000 {
		merged.Merge(&Result{Lag: NewHistogram(), Beside: map[Key]uint64{{Method: "m", Outcome: OK, Type: fmt.Sprint("t", n)}: 1}})
	}
	assert.Len(t, merged.Beside, MostGroups+1)
	var seen uint64
	for i, w := range result.Windows {
		n, _ := w.Count()
		assert.Equal(t, time.Duration(i)*w.Width, w.From)
		seen += n
		assert.LessOrEqual(t, len(w.Types), MostTypes+1)
	}
	assert.EqualValues(t, 10000, seen)
}

// TestTypesAreBounded: a server that calls each exception something else fills no memory, not even when several recorders
// are merged; and each call is counted.
func TestTypesAreBounded(t *testing.T) {
	const calls = 3 * MostTypes
	together, recent := NewResult(), NewWindow(0, 0)
	for part := range 3 {
		r := NewRecorder(0)
		for n := range calls {
			k := Key{Method: "m", Outcome: Unexpected, Type: fmt.Sprint("type", part, "-", n)}
			r.Add(k, Sample{Done: time.Duration(n) * time.Second})
			r.Beside(k)
		}
		recent.Merge(r.Recent())
		result := r.Result()
		types := map[string]bool{}
		for k := range result.Groups {
			types[k.Type] = true
		}
		assert.Len(t, types, MostTypes+1)
		assert.Len(t, result.Beside, MostTypes+1)
		together.Merge(result)
	}
	for range 8 {
		together.widen()
	}
	for _, w := range append(together.Windows, recent) {
		var all uint64
		for _, n := range w.Types {
			all += n
		}
		assert.Equal(t, w.Counts[Unexpected], all)
		assert.LessOrEqual(t, len(w.Types), MostTypes+1)
	}
	assert.EqualValues(t, 3*calls, recent.Counts[Unexpected])
	assert.NotZero(t, recent.Types[Other])
}

// TestALook takes nothing from what is found in the end.
func TestALook(t *testing.T) {
	r, k, lags := NewRecorder(time.Second), Key{Method: "m", Outcome: OK}, NewHistogram()
	for n, at := range []time.Duration{0, time.Second, 2 * time.Second} {
		r.Begun(at, time.Duration(n)*time.Millisecond)
		r.Add(k, Sample{Intended: at, Done: at})
		r.Lags().MergeInto(lags)
		assert.EqualValues(t, 1, r.Recent().Due)
	}
	for range 2 {
		assert.Equal(t, Counts{k: 2}, r.Counts(), "without the warm-up")
	}
	result := r.Result()
	assert.True(t, lags.Equals(result.Lag))
	assert.EqualValues(t, 2, lags.TotalCount())
	assert.EqualValues(t, 2, result.Groups[k].Count)
}

// TestCountsAreBounded: what threads tell of while they run has no more keys together than what they find in the end, so
// that another machine takes it.
func TestCountsAreBounded(t *testing.T) {
	together := Counts{}
	for part := range 4 {
		r := NewRecorder(0)
		for n := range 3 * MostGroups {
			r.Add(Key{Method: fmt.Sprint("m", part, "-", n), Outcome: OK}, Sample{})
		}
		together.Merge(r.Counts())
	}
	assert.LessOrEqual(t, len(together), mostGroups)
	var all uint64
	for _, n := range together {
		all += n
	}
	assert.EqualValues(t, 4*3*MostGroups, all)
	data, err := json.Marshal(together)
	require.NoError(t, err)
	var got Counts
	require.NoError(t, json.Unmarshal(data, &got))
	assert.Equal(t, together, got)
}
