package serverside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/report"
)

// bounds of the histograms here, in seconds.
var bounds = []float64{10e-6, 20e-6, 40e-6, 80e-6}

// exposed is a daemon's metrics, as its own library writes them.
type exposed struct{ *prometheus.HistogramVec }

func expose() exposed {
	return exposed{prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: family, Buckets: bounds}, []string{"method", "stage"})}
}

// call counts a call that was so many microseconds at each stage, the first a microsecond less than the next.
func (e exposed) call(method string, micros int) {
	for i, stage := range report.ServerStages {
		e.WithLabelValues(method, stage).Observe(float64(micros+i) / 1e6)
	}
}

func (e exposed) text() string {
	registry := prometheus.NewRegistry()
	registry.MustRegister(e)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Body.String()
}

// served are metrics that say what each scrape is told next; the last again and again.
func served(t *testing.T, texts ...string) *Metrics {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/metrics", r.URL.Path)
		_, _ = io.WriteString(w, texts[min(int(n.Add(1)), len(texts))-1])
	}))
	t.Cleanup(s.Close)
	m, err := NewMetrics(s.URL)
	require.NoError(t, err)
	return m
}

func joined(t *testing.T, m *Metrics, calls map[string]int) report.Server {
	_ = m.Begin(t.Context()) // Join tells
	return m.Join(t.Context(), measured(time.Now(), calls))
}

// TestMetricsAreTheDifference between two scrapes, by method, and percentiles are bounds.
func TestMetricsAreTheDifference(t *testing.T) {
	e := expose()
	for range 20 {
		e.call("a", 2)
	}
	before := e.text()
	for range 9 {
		e.call("a", 12)
	}
	late := e.text() // the daemon counts after its answer
	e.call("a", 31)
	e.call("b", 2)
	e.call("another's", 2)
	s := joined(t, served(t, before, late, e.text()), map[string]int{"a": 10, "b": 1})
	assert.Empty(t, s.Notes)
	assert.Equal(t, []uint64{11, 11}, []uint64{s.Calls, s.Measured})
	require.Len(t, s.Methods, 2)
	read := s.Methods[0].Stages[0]
	assert.InDelta(t, (9*12+31)/10., read.Mean, 1e-6)
	read.Mean = 0
	assert.Equal(t, report.ServerStage{Stage: "read", Count: 10, Times: report.Times{P50: 20, P90: 20, P99: 40, P999: 40, P9999: 40, Max: 40}}, read)
	assert.Equal(t, "b", s.Methods[1].Name)
	assert.EqualValues(t, 10, s.Methods[1].Stages[5].Max)
	assert.EqualValues(t, 11, s.Stages[5].Count)
	assert.EqualValues(t, 40, s.Stages[5].Max)
}

// sums are those of histograms.
var sums = regexp.MustCompile(`(_sum\{.*\} ).*`)

// TestMetricsTellWhatIsNotWhole, and join nothing where that would be wrong.
func TestMetricsTellWhatIsNotWhole(t *testing.T) {
	some, more, other, slow := expose(), expose(), expose(), expose()
	slow.call("a", 70)
	for range 3 {
		some.call("a", 5)
	}
	for range 5 {
		more.call("a", 5)
	}
	other.call("b", 5)
	restarted := "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 2\n" + more.text()
	for name, c := range map[string]struct {
		texts []string
		calls uint64
		notes string
	}{
		"a counter that has gone back":          {[]string{more.text(), some.text()}, 0, "started again while the load lasted: nothing is joined"},
		"one whose sum has not":                 {[]string{some.text(), slow.text()}, 0, "started again while the load lasted: nothing is joined"},
		"one that is gone":                      {[]string{more.text(), other.text()}, 0, "started again while the load lasted: nothing is joined"},
		"another process, though there is more": {[]string{some.text(), restarted}, 0, "started again while the load lasted: nothing is joined"},
		"none":                                  {[]string{"", other.text()}, 0, "the metrics have none of these calls in sallyport_stage_seconds"},
		"too few":                               {[]string{some.text(), more.text()}, 2, "1 of the calls are not in the metrics"},
		"too many":                              {[]string{"", more.text()}, 5, "2 calls in the metrics were not measured"},
		"beyond":                                {[]string{more.text(), sumOf(more, "a", 1000, 3)}, 3, "3 calls took longer than the highest bound"},
		"no text of metrics":                    {[]string{"", "<html>"}, 0, "no metrics of Prometheus: line 1: nothing is joined"},
		"none from the beginning":               {[]string{"\x00", some.text()}, 0, "could not be read when measuring began"},
		"a stage is missing":                    {[]string{"", strings.ReplaceAll(some.text(), `stage="reply"`, `stage="moon"`)}, 0, "no histogram that can be read"},
		"buckets that fall":                     {[]string{"", strings.ReplaceAll(some.text(), `le="2e-05"} 3`, `le="2e-05"} 2`)}, 0, "no histogram that can be read"},
		"sums that are no number":               {[]string{"", sums.ReplaceAllString(some.text(), "${1}NaN")}, 0, "no histogram that can be read"},
		"sums without end":                      {[]string{"", sums.ReplaceAllString(some.text(), "${1}1e308")}, 0, "no histogram that can be read"},
		"too much":                              {[]string{"", strings.Repeat("# a comment\n", mostScrape/12+1)}, 0, "more than 16777216 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for calls that do not come
			s := joined(t, served(t, c.texts...), map[string]int{"a": 3})
			assert.Equal(t, c.calls, s.Calls)
			assert.EqualValues(t, 3, s.Measured)
			require.NotEmpty(t, s.Notes)
			assert.Contains(t, s.Notes[0], c.notes)
			assert.NotContains(t, s.Notes[0], "\x00")
			assert.NotContains(t, s.Notes[0], "html")
		})
	}
}

// sumOf is e with so many calls more.
func sumOf(e exposed, method string, micros, n int) string {
	for range n {
		e.call(method, micros)
	}
	return e.text()
}

// TestMetricsThatCannotBeReached, or are elsewhere.
func TestMetricsThatCannotBeReached(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:9100", "ftp://a/b", "http://", ":"} {
		_, err := NewMetrics(address)
		assert.ErrorContains(t, err, "expected the URL", address)
	}
	s := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/metrics", http.StatusFound))
	m, err := NewMetrics(s.URL + "/elsewhere")
	require.NoError(t, err)
	assert.ErrorContains(t, m.Begin(t.Context()), "/elsewhere answers with status 302", "it follows nobody")
	s.Close()
	assert.ErrorContains(t, m.Begin(t.Context()), "connection refused")
	joined := m.Join(t.Context(), measured(time.Now(), map[string]int{"a": 1}))
	require.Len(t, joined.Notes, 1)
	assert.Contains(t, joined.Notes[0], "connection refused: nothing is joined")
}

// TestNotesQuoteOnlyWhatPrints: no server moves the cursor of who reads what it answered.
func TestNotesQuoteOnlyWhatPrints(t *testing.T) {
	s := nothing(report.ServerMetrics, nil, "it", errors.New("a\x1b[2J\nb\u202ec"+strings.Repeat("é", 1000)))
	assert.Equal(t, []string{"it: a?[2J?b?c" + strings.Repeat("é", mostNote-9) + ": nothing is joined"}, s.Notes)
}

// TestASilentServerIsNotWaitedForLong: the client has a limit, and so has who asks.
func TestASilentServerIsNotWaitedForLong(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	m, err := NewMetrics(s.URL)
	require.NoError(t, err)
	assert.Equal(t, scrapeFor, m.client.Timeout)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, m.Begin(ctx), context.DeadlineExceeded)
}

// TestPercentilesAreBounds: each is the smallest bound that so many calls do not exceed.
func TestPercentilesAreBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := expose()
		all := rapid.SliceOfN(rapid.IntRange(1, 75), 1, 200).Draw(t, "micros")
		for _, micros := range all {
			e.call("a", micros)
		}
		text := e.text()
		s, err := parse([]byte(text))
		require.NoError(t, err)
		stage := s.methods["a"][0].stage("read")
		for percentile, got := range map[float64]float64{50: stage.P50, 90: stage.P90, 99: stage.P99, 99.9: stage.P999, 100: stage.Max} {
			want := math.Inf(1)
			for _, bound := range bounds {
				within := 0
				for _, micros := range all {
					if float64(micros)/1e6 <= bound {
						within++
					}
				}
				if float64(within) >= float64(len(all))*percentile/100 {
					want = min(want, bound*1e6)
				}
			}
			assert.InDelta(t, want, got, 1e-9, percentile)
		}
	})
}

// FuzzMetrics: what a server says is refused, or is histograms whose differences make sense and can be written.
func FuzzMetrics(f *testing.F) {
	e := expose()
	e.call("a", 5)
	f.Add(e.text(), e.text())
	f.Add("", fmt.Sprintf("# TYPE %[1]s histogram\n%[1]s_bucket{method=\"a\",stage=\"read\",le=\"1\"} 1e300\n%[1]s_sum{method=\"a\",stage=\"read\"} 1e308\n", family))
	f.Add("", "# TYPE x summary\nx{quantile=\"0.5\"} 1\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		before, err := parse([]byte(first))
		if err != nil {
			return
		}
		now, err := parse([]byte(second))
		if err != nil {
			return
		}
		calls := map[string]*method{}
		for name := range now.methods {
			calls[name] = &method{measured: 1}
		}
		found, err := now.since(before, calls)
		if err != nil {
			return
		}
		s := serverSince(found, calls)
		for _, stage := range s.Stages {
			if math.IsNaN(stage.Mean) || math.IsInf(stage.Mean, 0) || stage.Mean < 0 || stage.P50 > stage.P99 && stage.P99 > 0 {
				t.Fatalf("%+v", stage)
			}
		}
	})
}
