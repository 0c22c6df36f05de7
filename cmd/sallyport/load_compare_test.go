package main

import (
	"flag"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/verdict"
)

// made is a side of a comparison that was never run.
type made struct {
	runs     int
	seconds  int           // each, of 100 calls
	median   time.Duration // of admin.vm.List, and of three in four calls; admin.vm.feature.Get takes
	get      time.Duration
	errors   float64 // share of
	invalid  bool
	began    time.Duration // later than others
	scenario string
}

// write makes the files of a side in dir, which is always the same for the same name.
func (m made) write(t require.TestingT, dir string) {
	require.NoError(t, os.MkdirAll(dir, 0o700))
	seed := fnv.New64()
	_, _ = seed.Write([]byte(filepath.Base(dir)))
	chance := rand.New(rand.NewPCG(seed.Sum64(), 0))
	for run := range m.runs {
		differs := 1 + 0.01*chance.NormFloat64()
		r := measure.NewRecorder(time.Second)
		for n := range 100 * m.seconds {
			k, took := measure.Key{Method: "admin.vm.List", Source: "dom0", Outcome: measure.OK}, m.median
			if n%4 == 0 {
				k.Method, took = "admin.vm.feature.Get", m.get
			}
			if chance.Float64() < m.errors {
				k.Outcome = measure.Timeout
			}
			due := time.Second + time.Duration(n)*10*time.Millisecond
			took = time.Duration(float64(took) * differs * (1 + 0.05*chance.NormFloat64()))
			r.Begun(due, 0)
			r.Add(k, measure.Sample{Intended: due, Done: due + took})
		}
		result := r.Result()
		result.Began = time.Date(2026, 1, 1, 0, run, 0, 0, time.UTC).Add(m.began)
		result.Took = time.Duration(m.seconds) * time.Second
		if m.invalid {
			result.Invalid = []string{"the tool was the bottleneck"}
		}
		d := report.Of(&scenario.Scenario{Name: m.scenario, Warmup: time.Second}, result)
		d.Machine = report.Machine{} // else there would be a warning of files that another made
		require.NoError(t, d.WriteAll(report.Files{JSON: filepath.Join(dir, strconv.Itoa(run)+".json")}))
	}
}

func scriptRuns(ts *testscript.TestScript, neg bool, args []string) {
	var m made
	f := flag.NewFlagSet("runs", flag.ContinueOnError)
	f.IntVar(&m.seconds, "seconds", 12, "")
	f.DurationVar(&m.get, "get", 10*time.Millisecond, "")
	f.Float64Var(&m.errors, "errors", 0, "")
	f.BoolVar(&m.invalid, "invalid", false, "")
	f.DurationVar(&m.began, "began", 0, "")
	f.StringVar(&m.scenario, "scenario", "made", "")
	ts.Check(f.Parse(args))
	if neg || f.NArg() != 3 {
		ts.Fatalf("usage: runs [flags] DIR N MEDIAN")
	}
	var err error
	m.runs, err = strconv.Atoi(f.Arg(1))
	ts.Check(err)
	m.median, err = time.ParseDuration(f.Arg(2))
	ts.Check(err)
	m.write(checked{ts}, ts.MkAbs(f.Arg(0)))
}

// checked has a script fail as a test does.
type checked struct{ *testscript.TestScript }

func (c checked) Errorf(format string, args ...any) { c.Fatalf(format, args...) }
func (c checked) FailNow()                          { c.Fatalf("it failed") }

// TestFamily: the more intervals there are, the wider is each, so that all of them are right together.
func TestFamily(t *testing.T) {
	dir := t.TempDir()
	var sides []*loadSide
	for _, name := range []string{"a", "b", "c"} {
		m := made{runs: 3, seconds: 2, median: 10 * time.Millisecond, get: 10 * time.Millisecond}
		m.write(t, filepath.Join(dir, name))
		s, err := readSide(filepath.Join(dir, name))
		require.NoError(t, err)
		sides = append(sides, s)
	}
	tails := func(sides ...*loadSide) verdict.Metric {
		m := comparing{}.compare(sides).Others[0].Comparisons[0].Metrics[0]
		return verdict.Metric{Low: m.Low, High: m.High}
	}
	want := func(family int) verdict.Metric {
		m := verdict.Compare(sides[0].all(), sides[1].all(), verdict.Options{Family: family}).Metrics[0]
		return verdict.Metric{Low: m.Low, High: m.High}
	}
	assert.Equal(t, want(3), tails(sides[0], sides[1]), "all calls, and two methods")
	assert.Equal(t, want(6), tails(sides...))
	assert.NotEqual(t, want(3), want(6))
}

func TestShare(t *testing.T) {
	for text, want := range map[string]float64{"2%": 0.02, "0.5%": 0.005, "0.1": 0.1} {
		got, err := share(text)
		require.NoError(t, err)
		assert.InEpsilon(t, want, got, 1e-9)
	}
	for _, text := range []string{"", "%", "0", "-1%", "100%", "1", "NaN", "2 %x", "inf%"} {
		_, err := share(text)
		assert.Error(t, err, text)
	}
}
