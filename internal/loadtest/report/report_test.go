package report

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

func result() *measure.Result {
	r := measure.NewRecorder(0)
	for n := range 1000 {
		k := measure.Key{Method: "a", Source: "dom0", Outcome: measure.OK}
		switch {
		case n%100 == 0:
			k.Outcome, k.Type = measure.Unexpected, "QubesException"
		case n%100 == 1:
			k.Outcome = measure.Refused
		case n%2 == 0:
			k.Method = "b"
		}
		at := time.Duration(n) * time.Millisecond
		r.Begun(at, time.Microsecond)
		r.Add(k, measure.Sample{Intended: at, Done: at + time.Duration(n)*time.Microsecond})
	}
	r.Beside(measure.Key{Method: "flood", Outcome: measure.Timeout})
	result := r.Result()
	result.Took, result.Invalid = time.Second, []string{"it rained"}
	return result
}

// TestJSON: the overall figures come first; every figure is the histogram's own, and every call is in a group of each kind.
func TestJSON(t *testing.T) {
	r := result()
	var b bytes.Buffer
	require.NoError(t, Of(&scenario.Scenario{Name: "s"}, r).WriteJSON(&b))
	assert.True(t, strings.HasPrefix(b.String(), "{\n  \"overall\": {"))
	var d Document
	require.NoError(t, json.Unmarshal(b.Bytes(), &d))
	all, _ := r.Of(func(measure.Key) bool { return true })
	want := func(p float64) float64 { return float64(all.Total.ValueAtPercentile(p)) / 1000 }
	assert.Equal(t, Figures{1000, 20, want(50), want(90), want(99), want(99.9), want(99.99), float64(all.Total.Max()) / 1000}, d.Overall)
	counts := map[string]uint64{}
	for _, g := range d.Groups {
		counts[g.By] += g.Count
	}
	assert.Equal(t, map[string]uint64{"method": 1000, "source": 1000, "outcome": 1000, "exception": 10}, counts)
	assert.Equal(t, []any{1000.0, 980.0}, []any{d.Offered, d.Reached})
	assert.Equal(t, []Beside{{"flood", measure.Timeout, "", 1}}, d.Beside)
}

func TestSummary(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Of(&scenario.Scenario{Name: "s"}, result()).WriteSummary(&b))
	assert.Regexp(t, `(?s)^s: 1000 calls/s offered, 980 as expected, for 1\.0 s\n.*\n +all +1000 +20 +\d+ µs .*\n +method b +490 +0 .*\n +outcome refused +10 +10 +- .*INVALID: it rained\n$`, b.String())
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	assert.Error(t, Of(&scenario.Scenario{}, result()).WriteSummary(full))
	assert.Error(t, Of(&scenario.Scenario{}, result()).WriteJSON(full))
}
