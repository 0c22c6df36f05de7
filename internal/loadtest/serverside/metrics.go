package serverside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
)

// Metrics are a daemon's, as they are served to Prometheus. One goroutine uses them at a time.
type Metrics struct {
	url    string
	client *http.Client
	before scrape
	missed error // why there is no scrape of before
}

// NewMetrics are those at address, an http URL; without a path, it is that of /metrics. An error says what was expected.
func NewMetrics(address string) (*Metrics, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("expected the URL of a daemon's metrics, such as http://127.0.0.1:9100/metrics")
	}
	if u.Path == "" {
		u.Path = "/metrics"
	}
	return &Metrics{url: u.String(), missed: errors.New("they were not read before"), client: &http.Client{
		Timeout:       scrapeFor,
		Transport:     &http.Transport{DisableKeepAlives: true}, // nothing of it lasts as long as a load
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

const (
	scrapeFor  = 5 * time.Second
	mostScrape = 16 << 20 // bytes
	settleFor  = time.Second
)

// Begin remembers what the metrics are now, when measuring begins.
func (m *Metrics) Begin(ctx context.Context) error {
	m.before, m.missed = m.scrape(ctx)
	return m.missed
}

// Join says what has changed since Begin, now that the run is over. It waits for the calls that the daemon has not counted
// yet, since it does so after its answer. It knows methods, not sources: calls of other clients count, too. So do those
// that were under way when the warm-up was over. If a count is less than it was, nothing is joined.
func (m *Metrics) Join(ctx context.Context, r *measure.Result) report.Server {
	measured := measuredOf(r)
	if m.missed != nil {
		return nothing(report.ServerMetrics, measured, "the daemon's metrics could not be read when measuring began", m.missed)
	}
	for ended := time.Now(); ; time.Sleep(look) {
		now, err := m.scrape(ctx)
		var found map[string][]buckets
		if err == nil {
			found, err = now.since(m.before, measured)
		}
		if err != nil {
			return nothing(report.ServerMetrics, measured, "the daemon's metrics", err)
		}
		if s := serverSince(found, measured); s.Calls >= s.Measured || time.Since(ended) >= settleFor {
			return s
		}
	}
}

func serverSince(found map[string][]buckets, measured map[string]*method) report.Server {
	s := serverOf(report.ServerMetrics, measured, found)
	if s.Calls == 0 && s.Measured > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("the metrics have none of these calls in %s", family))
	}
	var beyond uint64
	for _, all := range found {
		beyond += all[len(all)-1].beyond()
	}
	if beyond > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%d calls took longer than the highest bound", beyond))
	}
	return s
}

// The metrics that count.
const (
	family  = "sallyport_stage_seconds" // a histogram with the labels method and stage
	process = "process_start_time_seconds"
)

// scrape is what metrics said at one time.
type scrape struct {
	started float64
	methods map[string][]buckets // of each method, in the order of report.ServerStages
}

func (m *Metrics) scrape(ctx context.Context) (scrape, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil {
		return scrape{}, err
	}
	response, err := m.client.Do(request)
	if err != nil {
		return scrape{}, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return scrape{}, fmt.Errorf("%s answers with status %d", m.url, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, mostScrape+1))
	if err == nil && len(text) > mostScrape {
		err = fmt.Errorf("more than %d bytes of metrics", mostScrape)
	}
	var s scrape
	if err == nil {
		s, err = parse(text)
	}
	if err != nil {
		return scrape{}, fmt.Errorf("%s: %w", m.url, err)
	}
	return s, nil
}

// parse reads the text format of Prometheus. Its errors have none of the text in them.
func parse(text []byte) (scrape, error) {
	families, err := (&expfmt.TextParser{}).TextToMetricFamilies(bytes.NewReader(text))
	var bad expfmt.ParseError
	if errors.As(err, &bad) {
		err = fmt.Errorf("no metrics of Prometheus: line %d", bad.Line)
	}
	if err != nil {
		return scrape{}, err
	}
	s := scrape{methods: map[string][]buckets{}}
	for _, metric := range families[process].GetMetric() {
		s.started = metric.GetGauge().GetValue()
	}
	var first []float64 // bounds, which all histograms of a family share
	for _, metric := range families[family].GetMetric() {
		labels := map[string]string{}
		for _, l := range metric.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		b, ok := bucketsOf(metric.GetHistogram())
		if first == nil {
			first = b.bounds
		}
		if !ok || !slices.Equal(b.bounds, first) {
			return scrape{}, errStrange
		}
		if i := slices.Index(report.ServerStages, labels["stage"]); i >= 0 {
			if s.methods[labels["method"]] == nil {
				s.methods[labels["method"]] = make([]buckets, len(report.ServerStages))
			}
			s.methods[labels["method"]][i] = b
		}
	}
	for _, all := range s.methods {
		if slices.ContainsFunc(all, func(b buckets) bool { return b.counts == nil }) {
			return scrape{}, errStrange
		}
	}
	return s, nil
}

// since is what has come to the methods that were measured.
func (s scrape) since(before scrape, measured map[string]*method) (map[string][]buckets, error) {
	if s.started != before.started {
		return nil, errRestarted
	}
	found := map[string][]buckets{}
	for name := range measured {
		now, was := s.methods[name], before.methods[name]
		if was != nil && now == nil {
			return nil, errRestarted
		}
		for i, b := range now {
			if was != nil {
				var ok bool
				if b, ok = b.minus(was[i]); !ok {
					return nil, errRestarted
				}
			}
			found[name] = append(found[name], b)
		}
	}
	return found, nil
}

var (
	errRestarted = errors.New("the daemon was started again while the load lasted")
	errStrange   = fmt.Errorf("%s is no histogram that can be read", family)
)

// buckets are a histogram whose bounds rise.
type buckets struct {
	bounds []float64 // in microseconds, of all but the last bucket
	counts []uint64  // of each bucket alone
	count  uint64    // of all
	sum    float64   // microseconds
}

// mostSum is more than all calls of a daemon take together, in microseconds.
const mostSum = 1e18

// bucketsOf reads a histogram, whose buckets are cumulative, if it is one.
func bucketsOf(h *dto.Histogram) (b buckets, ok bool) {
	b = buckets{count: h.GetSampleCount(), sum: h.GetSampleSum() * 1e6}
	if h == nil || !(b.sum >= 0 && b.sum < mostSum) || b.count > math.MaxInt64 {
		return buckets{}, false
	}
	var below uint64
	last := 0.0
	for _, x := range h.GetBucket() {
		bound, cumulative := math.Round(x.GetUpperBound()*1e9)/1e3, x.GetCumulativeCount() // whole nanoseconds
		if math.IsInf(bound, 1) {
			break
		}
		if !(bound > last) || cumulative < below || cumulative > b.count {
			return buckets{}, false
		}
		b.bounds, b.counts = append(b.bounds, bound), append(b.counts, cumulative-below)
		below, last = cumulative, bound
	}
	b.counts = append(b.counts, b.count-below)
	return b, true
}

// minus is what has come since, unless that would be less than nothing, or is no longer the same histogram.
func (b buckets) minus(before buckets) (since buckets, ok bool) {
	if !slices.Equal(b.bounds, before.bounds) || b.sum < before.sum {
		return buckets{}, false
	}
	since = buckets{bounds: b.bounds, sum: b.sum - before.sum}
	for i, n := range b.counts {
		if n < before.counts[i] {
			return buckets{}, false
		}
		since.counts = append(since.counts, n-before.counts[i])
		since.count += n - before.counts[i]
	}
	return since, true
}

func (b buckets) plus(other buckets) buckets {
	both := buckets{bounds: b.bounds, count: b.count + other.count, sum: b.sum + other.sum}
	for i, n := range b.counts {
		both.counts = append(both.counts, n+other.counts[i])
	}
	return both
}

// beyond is how many are above the highest bound.
func (b buckets) beyond() uint64 { return b.counts[len(b.counts)-1] }

// at is the upper bound of the bucket that has a percentile; zero if it has none, or there is nothing.
func (b buckets) at(percentile float64) float64 {
	rank, below := uint64(math.Ceil(float64(b.count)*percentile/100)), uint64(0)
	for i, bound := range b.bounds {
		if below += b.counts[i]; below >= rank && rank > 0 {
			return bound
		}
	}
	return 0
}

func (b buckets) stage(name string) report.ServerStage {
	s := report.ServerStage{Stage: name, Count: b.count, Times: report.Times{P50: b.at(50), P90: b.at(90), P99: b.at(99), P999: b.at(99.9), P9999: b.at(99.99), Max: b.at(100)}}
	if b.count > 0 {
		s.Mean = b.sum / float64(b.count)
	}
	return s
}
