package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

var update = flag.Bool("update", false, "write the golden files anew")

// mixed is a scenario whose first second is not measured.
var mixed = &scenario.Scenario{
	Name: "mixed", Target: scenario.Target{Socket: "/run/sallyport/qubesd.sock"}, Warmup: time.Second,
	Load: scenario.Load{Poisson: true, Stages: []scenario.Stage{{Name: "ramp", To: 500, For: time.Second}, {From: 500, To: 500, For: 2 * time.Second}}},
	Mix: []scenario.Item{
		{Name: "read", Weight: 4, Steps: []scenario.Call{{Method: "admin.vm.List"}}},
		{Name: "set", Weight: 1, Steps: []scenario.Call{{Method: "admin.vm.feature.Get"}, {Method: "admin.vm.feature.Set"}}},
	},
}

var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// result is what a run of mixed might have found.
func result() *measure.Result {
	r := measure.NewRecorder(time.Second)
	for n := range 3000 {
		at := time.Duration(n) * time.Millisecond
		k := measure.Key{Method: "admin.vm.List", Source: "dom0", Outcome: measure.OK}
		s := measure.Sample{Intended: at, Connected: at + 20*time.Microsecond, First: at + time.Duration(n)*time.Microsecond, Done: at + time.Duration(n+10)*time.Microsecond}
		switch {
		case n%100 == 0:
			k.Outcome, k.Type = measure.Unexpected, "QubesVMNotFoundError"
		case n%100 == 1:
			k.Outcome, s.Connected, s.First = measure.Refused, 0, 0
		case n%5 == 0:
			k.Method, k.Source = "admin.vm.feature.Get", "work"
		}
		r.Begun(at, time.Duration(n)*time.Nanosecond)
		r.Add(k, s)
	}
	r.Beside(measure.Key{Method: "flood", Outcome: measure.Timeout})
	r.Beside(measure.Key{Method: "oversize", Outcome: measure.OK, Type: "ProtocolError"})
	r.Read()
	result := r.Result()
	result.Began, result.Took = began, 2*time.Second
	return result
}

// document has all that a document may have, and is the same on all machines.
func document() Document {
	r := result()
	r.Invalid = []string{"the tool was the bottleneck: <b>it rained</b>"}
	d := Of(mixed, r)
	d.Machine = Machine{2, "Linux 6.1", "go1.26"}
	d.Verdicts = []Verdict{
		{Threshold: "p99(admin.vm.List) < 5ms", Value: "2.975ms", Held: true},
		{Threshold: "errors < 0.1%", Value: "2% (40 of 2000)", Why: "it is 2% (40 of 2000), and was to be < 0.1%"},
	}
	return d
}

// micro is what the histogram itself says, found in another way than figures are.
func micro(h distribution) Times {
	at := func(p float64) float64 {
		return float64(time.Duration(h.ValueAtPercentile(p)).Nanoseconds()) / float64(time.Microsecond)
	}
	return Times{at(50), at(90), at(99), at(99.9), at(99.99), at(100)}
}

// TestFigures: every figure in JSON is the histogram's own, and every call is in a group of each kind.
func TestFigures(t *testing.T) {
	r := result()
	var b bytes.Buffer
	require.NoError(t, Of(mixed, r).WriteJSON(&b))
	d, err := ReadJSON(&b)
	require.NoError(t, err)

	all, errors := r.Of(func(measure.Key) bool { return true })
	assert.Equal(t, []uint64{2000, 40}, []uint64{d.Overall.Count, d.Overall.Errors})
	assert.Equal(t, all.Count, d.Overall.Count)
	assert.Equal(t, errors, d.Overall.Errors)
	assert.Equal(t, []Times{micro(all.Total), micro(all.Connected), micro(all.First)}, []Times{d.Overall.Times, d.Overall.Connect, d.Overall.FirstByte})
	assert.True(t, all.Total.Equals(d.Overall.Histogram.Histogram))
	assert.Equal(t, micro(r.Lag), d.Lag)

	counts := map[By]uint64{}
	for _, g := range d.Groups {
		want, errors := r.Of(func(k measure.Key) bool {
			return map[By]string{Method: k.Method, Source: k.Source, Outcome: string(k.Outcome), Exception: k.Type}[g.By] == g.Name
		})
		counts[g.By] += g.Count
		assert.Equal(t, []uint64{want.Count, errors}, []uint64{g.Count, g.Errors}, g.Name)
		if g.Name == "refused" {
			assert.Equal(t, Times{}, g.Times, "a refusal has no time")
			continue
		}
		assert.Equal(t, []Times{micro(want.Total), micro(want.Connected), micro(want.First)}, []Times{g.Times, g.Connect, g.FirstByte}, g.Name)
		if g.By == Method {
			assert.True(t, want.Total.Equals(g.Histogram.Histogram), g.Name)
		}
	}
	assert.Equal(t, map[By]uint64{Method: 2000, Source: 2000, Outcome: 2000, Exception: 20}, counts)

	require.Len(t, d.Windows, 4, "the last call ends in the fourth second")
	var ended uint64
	for i, w := range d.Windows {
		ended += w.Count
		assert.Equal(t, []float64{float64(i) - 1, 1}, []float64{w.From, w.Width})
		assert.Equal(t, micro(r.Windows[i].Total), w.Times)
		assert.Equal(t, micros(int64(r.Windows[i].Lag)), w.LagMax)
		assert.Equal(t, r.Windows[i].Counts, w.Outcomes)
		assert.Equal(t, r.Windows[i].Total.TotalCount(), w.Histogram.TotalCount())
	}
	assert.EqualValues(t, 3000, ended, "with those of the warm-up")
	own := Of(mixed, r)
	r.Merge(result())
	assert.Equal(t, plain(d), plain(own), "what r becomes later is nothing to a document")
	assert.Equal(t, bins(d.Windows[0].Histogram), bins(own.Windows[0].Histogram))
	assert.True(t, d.Overall.Histogram.Equals(own.Overall.Histogram.Histogram))
	assert.Equal(t, []float64{1000, 980}, []float64{d.Offered, d.Reached})
	assert.Equal(t, []Beside{{"flood", measure.Timeout, "", 1}, {"oversize", measure.OK, "ProtocolError", 1}}, d.Beside)
	assert.Equal(t, Load{"open", "poisson", []Stage{{"ramp", 0, 500, 1}, {"", 500, 500, 2}}}, d.Load)
	assert.Equal(t, []Item{{"read", 4, []string{"admin.vm.List"}}, {"set", 1, []string{"admin.vm.feature.Get", "admin.vm.feature.Set"}}}, d.Mix)
	assert.NotZero(t, d.Machine.CPUs)
	assert.Contains(t, d.Machine.Kernel, "Linux ")
}

// TestKeys: the names that others rely on, in their order.
func TestKeys(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteJSON(&b))
	assert.True(t, strings.HasPrefix(b.String(), "{\n  \"overall\": {\n    \"count\": "))
	var d struct {
		Overall map[string]any
		Groups  []map[string]any
		Windows []map[string]any
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &d))
	keys := func(m map[string]any) (names []string) {
		for name := range m {
			names = append(names, name)
		}
		return names
	}
	percentiles := []string{"p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us"}
	figures := append([]string{"count", "errors", "connect", "first_byte"}, percentiles...)
	assert.ElementsMatch(t, append([]string{"histogram"}, figures...), keys(d.Overall))
	assert.ElementsMatch(t, percentiles, keys(d.Overall["connect"].(map[string]any)))
	for _, g := range d.Groups {
		want := append([]string{"by", "name"}, figures...)
		if g["by"] == "method" {
			want = append(want, "histogram")
		}
		assert.ElementsMatch(t, want, keys(g))
	}
	assert.Subset(t, keys(d.Windows[0]), append([]string{"from_seconds", "seconds", "count", "errors", "histogram"}, percentiles...))
}

// anyResult draws what a run of mixed could have found.
func anyResult(t *rapid.T) *measure.Result {
	r := measure.NewRecorder(time.Second)
	word := rapid.SampledFrom([]string{"", "a", "b", "é, ü", "\x00"})
	for range rapid.IntRange(0, 20).Draw(t, "calls") {
		k := measure.Key{Method: word.Draw(t, "method"), Source: word.Draw(t, "source"), Outcome: rapid.SampledFrom(measure.Outcomes).Draw(t, "outcome"), Type: word.Draw(t, "type")}
		s := measure.Sample{Intended: time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "due"))}
		s.Done = s.Intended + time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "lasted"))
		s.Connected, s.First = (s.Intended+s.Done)/2, s.Done
		r.Begun(s.Intended, time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "late")))
		r.Add(k, s)
	}
	result := r.Result()
	result.Began, result.Took = began.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "began"))), time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "took"))
	result.Invalid = rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "invalid")
	return result
}

// TestRoundTrip: what is read is what was written, distributions too.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Of(mixed, anyResult(t))
		d.Verdicts = []Verdict{{"a < b", "c", rapid.Bool().Draw(t, "held"), "d"}}
		var b bytes.Buffer
		require.NoError(t, d.WriteJSON(&b))
		written := b.String()
		read, err := ReadJSON(&b)
		require.NoError(t, err)
		var again bytes.Buffer
		require.NoError(t, read.WriteJSON(&again))
		assert.Equal(t, written, again.String())

		same := func(a, b Histogram) {
			if a.Histogram != nil || b.Histogram != nil {
				assert.True(t, a.Equals(b.Histogram))
			}
		}
		same(d.Overall.Histogram, read.Overall.Histogram)
		for i := range d.Groups {
			same(d.Groups[i].Histogram, read.Groups[i].Histogram)
		}
		for i := range d.Windows {
			assert.Equal(t, bins(d.Windows[i].Histogram), bins(read.Windows[i].Histogram))
		}
		assert.Equal(t, plain(d), plain(read))
	})
}

func bins(p Packed) map[int64]int64 {
	m := map[int64]int64{}
	for value, count := range p.ForEachBucket {
		m[value] += count
	}
	return m
}

// plain is d without what does not compare: histograms, and what is empty or none.
func plain(d Document) Document {
	if len(d.Invalid) == 0 {
		d.Invalid = nil
	}
	d.Overall.Histogram = Histogram{}
	d.Groups = append([]Group{}, d.Groups...)
	for i := range d.Groups {
		d.Groups[i].Histogram = Histogram{}
	}
	d.Windows = append([]Window{}, d.Windows...)
	for i := range d.Windows {
		w := &d.Windows[i]
		if w.Histogram = (Packed{}); len(w.Outcomes) == 0 {
			w.Outcomes = nil
		}
		if len(w.Exceptions) == 0 {
			w.Exceptions = nil
		}
	}
	return d
}

// TestReadRefuses what is no document, or contradicts itself, and says where.
func TestReadRefuses(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteJSON(&b))
	whole := b.String()
	old, count := `"format": 1,`, `"count": 2000,`
	require.Contains(t, whole, old)
	require.Contains(t, whole, count)
	dense, err := Histogram{measure.NewHistogram()}.MarshalText()
	require.NoError(t, err)
	narrow, err := Histogram{hdrhistogram.New(100, 1000, 3)}.MarshalText()
	require.NoError(t, err)
	for want, text := range map[string]string{
		"EOF":                             "",
		"unexpected EOF":                  whole[:len(whole)/2],
		"format: expected 1, found 0":     "{}",
		"format: expected 1, found 2":     strings.Replace(whole, old, `"format": 2,`, 1),
		"something follows":               whole + "{}",
		"overall: 40 errors of 39 calls":  strings.Replace(whole, count, `"count": 39,`, 1),
		"overall: 1980 calls in the hist": strings.Replace(whole, count, `"count": 1979,`, 1),
		"groups[0].by: expected one of":   strings.Replace(whole, `"by": "method"`, `"by": "moon"`, 1),
		"groups[0].histogram: expected":   withoutMethodHistogram(t),
		"histogram: illegal base64":       strings.Replace(whole, `"histogram": "`, `"histogram": "!`, 1),
		"windows[0].histogram: expected":  `{"overall": {"histogram": "` + string(dense) + `"}, "windows": [{"seconds": 1}], "format": 1}`,
		"overall.histogram: expected":     `{"format": 1}`,
		"to 2 digits":                     `{"windows": [{"histogram": "` + string(dense) + `"}], "format": 1}`,
		"to 3 digits":                     `{"overall": {"histogram": "` + string(narrow) + `"}, "format": 1}`,
		"cannot unmarshal":                `{"overall": {"count": -1}}`,
		"windows[0].seconds: expected":    strings.Replace(whole, `"seconds": 1,`, `"seconds": 0,`, 1),
	} {
		_, err := ReadJSON(strings.NewReader(text))
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "no report of a load test: ")
	}
}

func withoutMethodHistogram(t *testing.T) string {
	d := document()
	d.Groups[0].Histogram = Histogram{}
	var b bytes.Buffer
	require.NoError(t, d.WriteJSON(&b))
	return b.String()
}

// TestNamesFromOutsideAreShownOnlyIfTheyPrint: no server moves the cursor of who reads what it answered.
func TestNamesFromOutsideAreShownOnlyIfTheyPrint(t *testing.T) {
	r := measure.NewRecorder(0)
	for _, name := range []string{"\x1b[2J", "\xff", "a\nINVALID: b", strings.Repeat("x", 257), "\u202eevil"} {
		r.Add(measure.Key{Method: name, Source: name, Outcome: measure.Unexpected, Type: name}, measure.Sample{Done: 1})
		r.Beside(measure.Key{Method: "flood", Outcome: measure.Unexpected, Type: name})
	}
	d := Of(&scenario.Scenario{Name: "s"}, r.Result())
	assert.Len(t, d.Groups, 4, "they are one group of each kind")
	require.Len(t, d.Windows[0].Exceptions, 1)
	for _, n := range d.Windows[0].Exceptions {
		assert.EqualValues(t, 5, n)
	}
	var b bytes.Buffer
	require.NoError(t, d.WriteJSON(&b))
	require.NoError(t, d.WriteSummary(&b))
	for _, bad := range []string{"\x1b", `\u001b`, "\nINVALID", `\nINVALID`, "xxx", "evil", "\xff", `\ufffd`} {
		assert.NotContains(t, b.String(), bad)
	}
}

func golden(t *testing.T, name string, got []byte) {
	path := "testdata/" + name
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestSummary(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteSummary(&b))
	golden(t, "summary.txt", b.Bytes())
}

func TestSpan(t *testing.T) {
	for micros, want := range map[float64]string{
		0: "-", 0.127: "0.13 µs", 9.994: "9.99 µs", 9.996: "10.0 µs", 12.34: "12.3 µs", 99.96: "100 µs", 123.4: "123 µs", 999.4: "999 µs", 999.6: "1.00 ms",
		12_345: "12.3 ms", 999_999: "1.00 s", 600e6: "600 s", 5000e6: "5000 s",
	} {
		assert.Equal(t, want, Span(micros), fmt.Sprint(micros))
	}
}

// TestNothing: a run that was ended before its first call has a report, too.
func TestNothing(t *testing.T) {
	d := Of(&scenario.Scenario{Name: "s"}, measure.NewResult())
	for _, write := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return d.WriteSummary(b) },
		func(b *bytes.Buffer) error { return d.WriteCSV(b) },
		func(b *bytes.Buffer) error { return d.WriteHLog(b) },
		func(b *bytes.Buffer) error { return d.WriteHTML(b) },
		func(b *bytes.Buffer) error {
			require.NoError(t, d.WriteJSON(b))
			_, err := ReadJSON(b)
			return err
		},
	} {
		assert.NoError(t, write(&bytes.Buffer{}))
	}
}
