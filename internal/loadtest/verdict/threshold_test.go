package verdict

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/loadtest/measure"
)

// run is a result of 10 s in which 2,000 calls were due: 900 of a, of 1 to 900 ms; 90 of b, in error, of 1 s; 10 that were
// refused; and 1,000 of which nothing is known.
func run() *measure.Result {
	r := measure.NewRecorder(0)
	for range 2000 {
		r.Begun(0, 0)
	}
	for i := range 900 {
		r.Add(measure.Key{Method: "a", Source: "dom0", Outcome: measure.OK}, measure.Sample{Done: time.Duration(i+1) * time.Millisecond})
	}
	for range 90 {
		r.Add(measure.Key{Method: "b", Source: "work", Outcome: measure.Unexpected, Type: "QubesVMNotFoundError"}, measure.Sample{Done: time.Second})
	}
	for range 10 {
		r.Add(measure.Key{Method: "c", Source: "work", Outcome: measure.Refused}, measure.Sample{})
	}
	result := r.Result()
	result.Took = 10 * time.Second
	return result
}

func TestJudge(t *testing.T) {
	r := run()
	for _, c := range []struct {
		threshold, value string
		held             bool
	}{
		{"p50(a) < 451ms", "450.1ms", true},
		{"p50(a) < 449ms", "450.1ms", false},
		{"p50(method=a)>449ms", "450.1ms", true},
		{"p99.99(a) <= 1s", "900.2ms", true},
		{"max(source=work) >= 1s", "1s", true},
		{"max <= 1s", "1s", true},
		{"max < 1s", "1s", false},
		{"max > 1s", "1s", false},
		{"max < 1.002s", "1s", true},
		{"mean(a) < 451ms", "450.5ms", true},
		{"mean(a) < 450ms", "450.5ms", false},
		{"p1(exception=QubesVMNotFoundError) > 999ms", "1s", true},
		{"errors <= 10%", "10% (100 of 1000)", true},
		{"errors < 10 %", "10% (100 of 1000)", false},
		{"errors <= 0.1", "0.1 (100 of 1000)", true},
		{"errors(a) <= 0", "0 (0 of 900)", true},
		{"errors(source=work) < 99%", "100% (100 of 100)", false},
		{"errors(outcome=refused) <= 1%", "1% (10 of 1000)", true},
		{"errors(outcome=refused) < 1%", "1% (10 of 1000)", false},
		{"errors(outcome=timeout) <= 0", "0 (0 of 1000)", true},
		{"errors(exception=QubesVMNotFoundError) < 0.1", "0.09 (90 of 1000)", true},
		{"count > 999", "1000", true},
		{"count(b) > 90", "90", false},
		{"count(outcome=shed) <= 0", "0", true},
		{"count(outcome=shed) > 0", "0", false},
		{"rate >= 0.45", "0.45 (900 of 2000)", true},
		{"rate > 45%", "45% (900 of 2000)", false},
		{"rate(a) >= 90/s", "90/s", true},
		{"rate >= 91 /s", "90/s", false},
		{"rate(b) <= 0/s", "0/s", true},
	} {
		threshold, err := Parse(c.threshold)
		require.NoError(t, err, c.threshold)
		v := threshold.Judge(r)
		assert.Equal(t, c.value, v.Value, c.threshold)
		assert.Equal(t, c.held, v.Held, c.threshold)
		assert.Equal(t, c.held, v.Why == "", "%s: %s", c.threshold, v.Why)
	}
}

// TestNothingToJudge holds nothing, whatever was asked, and says what was missing.
func TestNothingToJudge(t *testing.T) {
	for _, c := range []struct {
		threshold string
		of        *measure.Result
		why       string
	}{
		{"p99(admin.vm.Lst) < 5ms", run(), "no call has the method admin.vm.Lst"},
		{"p99(source=nobody) > 0s", run(), "no call has the source nobody"},
		{"p99(outcome=timeout) < 5ms", run(), "no call has the outcome timeout"},
		{"errors(exception=Typo) <= 0", run(), "no call has the exception Typo"},
		{"count(nothing) <= 0", run(), "no call has the method nothing"},
		{"rate(nothing) <= 5/s", run(), "no call has the method nothing"},
		{"max(c) < 1s", run(), "none of 10 calls was answered"},
		{"errors <= 100%", measure.NewResult(), "no call has ended"},
		{"rate >= 0", measure.NewResult(), "no call has ended"},
		{"count(outcome=shed) <= 0", measure.NewResult(), "no call has the outcome shed"},
	} {
		threshold, err := Parse(c.threshold)
		require.NoError(t, err, c.threshold)
		assert.Equal(t, Verdict{threshold, "", false, c.why}, threshold.Judge(c.of))
	}
	threshold, err := Parse("p50(a) < 1ms")
	require.NoError(t, err)
	assert.Equal(t, "it is 450.1ms, and was to be < 1ms", threshold.Judge(run()).Why)
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Threshold{
		"p99(admin.vm.List) < 5ms":         {"p99", Selector{Method, "admin.vm.List"}, "<", Limit{5e6, Span}},
		" p99.90 ( source = work ) <=1.5s": {"p99.9", Selector{Source, "work"}, "<=", Limit{1.5e9, Span}},
		"errors<0.1%":                      {Errors, Selector{}, "<", Limit{0.1, Percent}},
		"rate >= 0.99":                     {Rate, Selector{}, ">=", Limit{0.99, One}},
		"rate(exception=X) > 1e3/s":        {Rate, Selector{Type, "X"}, ">", Limit{1000, PerSecond}},
		"count(outcome=refused) < 10":      {Count, Selector{Outcome, "refused"}, "<", Limit{10, One}},
		"max(my request) < 10m":            {Max, Selector{Method, "my request"}, "<", Limit{600e9, Span}},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestParseSaysWhatWasExpected(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "one of < <= > >=",
		"p99 = 5ms":                    "one of < <= > >=",
		"q99 < 5ms":                    "p50, p99.9 or another percentile, max, mean, errors, count or rate",
		"P99 < 5ms":                    "p50, p99.9 or another percentile",
		"< 5ms":                        "a figure before",
		"p100 < 5ms":                   "the slowest call is max",
		"p0 < 5ms":                     "above 0",
		"p < 5ms":                      "above 0",
		"p1e1 < 5ms":                   "above 0",
		"p99.999999 < 5ms":             "up to five places",
		"p99(a < 5ms":                  `a ")"`,
		"p99(a) b < 5ms":               `a ")"`,
		"p99() < 5ms":                  "a method's name",
		"p99(a\x1b[0m) < 5ms":          "a method's name",
		"p99(a\xff) < 5ms":             "a method's name",
		"p99(who=a) < 5ms":             "one of method, source, outcome, exception",
		"count(outcome=refusd) < 5":    "one of ok, unexpected, garbage",
		"p99(outcome=refused) < 5ms":   "ok, unexpected, timeout",
		"rate(outcome=refused) < 1/s":  "count or errors",
		"errors(outcome=ok) < 1":       "which ok is not",
		"p99 < 5":                      "such as 5ms",
		"p99 < -5ms":                   "such as 5ms",
		"p99 < 11m":                    "at most 10m0s",
		"p99 < 5 ms":                   "such as 5ms",
		"errors < 1ms":                 "a share",
		"errors < -1":                  "a share",
		"errors < 2":                   "a share",
		"errors < 101%":                "a share",
		"errors < NaN":                 "a share",
		"count < 5%":                   "a number of calls",
		"count < Inf":                  "a number of calls",
		"rate >= 500":                  "500/s",
		"rate(admin.vm.List) >= 0.99":  "how many of these calls were due is not known",
		"rate(admin.vm.List) >= 500 %": "how many of these calls were due is not known",
		"errors < 0.1% < 0.2%":         "a share",
	} {
		_, err := Parse(text)
		assert.ErrorContains(t, err, want, text)
	}
}

// FuzzParse: whatever is read is told as what is read again as the same, and can be judged.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"p99(admin.vm.List) < 5ms", "errors <= 0.1%", "rate >= 0.99", "rate(source=a) > 1e21/s", "p99.99(outcome=ok)>=1m", "count(exception=X)<1", "p.00001 < 0s"} {
		f.Add(text)
	}
	r := run()
	f.Fuzz(func(t *testing.T, text string) {
		threshold, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(threshold.String())
		require.NoError(t, err, threshold.String())
		require.Equal(t, threshold, again)
		v := threshold.Judge(r)
		require.Equal(t, v.Held, v.Why == "")
	})
}
