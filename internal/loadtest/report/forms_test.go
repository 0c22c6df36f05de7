package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

func TestCSV(t *testing.T) {
	d := document()
	var b bytes.Buffer
	require.NoError(t, d.WriteCSV(&b))
	lines, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 1+len(d.Windows))
	assert.Equal(t, []string{"from_seconds", "count", "errors", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"}, lines[0])
	for i, w := range d.Windows {
		want := []float64{w.From, float64(w.Count), float64(w.Errors), w.P50, w.P90, w.P99, w.P999, w.Max}
		for column, text := range lines[i+1] {
			f, err := strconv.ParseFloat(text, 64)
			require.NoError(t, err)
			assert.Equal(t, want[column], f)
		}
	}
}

// TestHLog: the library's own reader finds each window that was measured, and each method.
func TestHLog(t *testing.T) {
	r := measure.NewRecorder(mixed.Warmup)
	r.Add(measure.Key{Method: "a, b", Outcome: measure.OK}, measure.Sample{Intended: 1e9, Done: 2e9})
	plain := result()
	plain.Merge(r.Result())
	d := Of(mixed, plain)
	var b bytes.Buffer
	require.NoError(t, d.WriteHLog(&b))
	log := hdrhistogram.NewHistogramLogReader(&b)
	for _, w := range d.Windows[1:] {
		h, err := log.NextIntervalHistogram()
		require.NoError(t, err)
		require.NotNil(t, h)
		assert.Equal(t, began.UnixMilli()+int64(w.From*1000), h.StartTimeMs())
		assert.Equal(t, began.UnixMilli()+int64(w.From*1000+1000), h.EndTimeMs())
		assert.Equal(t, w.Times, times(h))
		assert.Equal(t, w.Histogram.TotalCount(), h.TotalCount())
		assert.Empty(t, h.Tag())
	}
	for i, tag := range []string{"a%2C%20b", "admin.vm.List", "admin.vm.feature.Get"} {
		h, err := log.NextIntervalHistogram()
		require.NoError(t, err)
		require.NotNil(t, h)
		assert.Equal(t, tag, h.Tag())
		assert.Equal(t, began.UnixMilli(), h.StartTimeMs())
		assert.Equal(t, began.UnixMilli()+2000, h.EndTimeMs())
		assert.True(t, d.Groups[i].Histogram.Equals(h))
	}
	h, err := log.NextIntervalHistogram()
	require.NoError(t, err)
	assert.Nil(t, h)
	assert.Empty(t, d.Groups[0].Histogram.Tag(), "the document does not change")
}

// broken is a disk that is full after some bytes.
type broken struct{ left int }

var errFull = errors.New("full")

func (b *broken) Write(p []byte) (int, error) {
	if len(p) > b.left {
		n := b.left
		b.left = 0
		return n, errFull
	}
	b.left -= len(p)
	return len(p), nil
}

// TestWritersTell: whatever byte is the first that does not fit, each form says so.
func TestWritersTell(t *testing.T) {
	d := document()
	for form, write := range map[string]func(io.Writer) error{"JSON": d.WriteJSON, "CSV": d.WriteCSV, "HLog": d.WriteHLog, "HTML": d.WriteHTML, "summary": d.WriteSummary} {
		var whole bytes.Buffer
		require.NoError(t, write(&whole))
		for _, fits := range []int{0, 1, whole.Len() / 3, whole.Len() - 1} {
			assert.ErrorIs(t, write(&broken{fits}), errFull, "%s, of which %d of %d bytes fit", form, fits, whole.Len())
		}
		assert.NoError(t, write(&broken{whole.Len()}), form)
	}
}

// TestFullDisk: what cannot be written keeps neither the other forms back, nor what the file had.
func TestFullDisk(t *testing.T) {
	d, dir := document(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("a.json"), []byte("old"), 0o644))
	require.NoError(t, os.Symlink("/dev/full", at("full")))
	err := d.WriteAll(Files{JSON: at("a.json"), CSV: at("full"), HLog: at("no/such/place"), HTML: at("a.html")})
	assert.ErrorContains(t, err, at("full")+": ")
	assert.ErrorContains(t, err, "no space left on device")
	assert.ErrorContains(t, err, at("no/such/place")+": ")
	assert.NotContains(t, err.Error(), "a.json")
	info, err := os.Stat("/dev/full")
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeDevice, "it is still what it was")

	read, err := os.Open(at("a.json"))
	require.NoError(t, err)
	defer read.Close()
	_, err = ReadJSON(read)
	assert.NoError(t, err)
	page, err := os.ReadFile(at("a.html"))
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(page), "</html>\n"))

	assert.ErrorIs(t, save(at("a.html"), func(w io.Writer) error { fmt.Fprint(w, "half"); return errFull }), errFull)
	assert.Error(t, save(at("full"), func(w io.Writer) error { _, err := io.WriteString(w, "what fits a buffer"); return err }))
	again, err := os.ReadFile(at("a.html"))
	require.NoError(t, err)
	assert.Equal(t, page, again)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 3, "nothing is left over")
	info, err = os.Stat(at("a.html"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode())
	assert.NoError(t, d.WriteAll(Files{}))
}

// TestHTMLNeedsNothing: the page names no other file, and has its data, its tables and the licence of what it contains.
func TestHTMLNeedsNothing(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteHTML(&b))
	page := b.String()
	assert.NotRegexp(t, `(?i)<(link|img|iframe|object|embed)|\ssrc=|\shref=|@import|url\(`, page)
	assert.Contains(t, page, `content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"`)
	assert.Contains(t, page, "uPlot (v1.6.32)")
	assert.Contains(t, page, "Copyright (c) 2022 Leon Sorokin")
	for _, text := range []string{"INVALID", "✓ held", "✗ <strong>FAILED</strong>", "p99(admin.vm.List) &lt; 5ms", "QubesVMNotFoundError", "flood", "/run/sallyport/qubesd.sock",
		"Linux 6.1", "ramp", "&lt;b&gt;it rained&lt;/b&gt;", "admin.vm.feature.Get, admin.vm.feature.Set"} {
		assert.Contains(t, page, text)
	}
	found := regexp.MustCompile(`(?s)<script type="application/json" id="plots">(.*?)</script>`).FindStringSubmatch(page)
	require.Len(t, found, 2)
	var plots struct {
		Time, Ranks series
		Histograms  []histogram
	}
	require.NoError(t, json.Unmarshal([]byte(found[1]), &plots))
	assert.Len(t, plots.Time.Columns, len(plots.Time.Names))
	assert.Len(t, plots.Time.Columns[0], 4)
	assert.Equal(t, []string{"rank", "all", "admin.vm.List", "admin.vm.feature.Get"}, plots.Ranks.Names)
	for i, g := range document().Groups[:2] {
		var sum int64
		for _, b := range plots.Histograms[i].Bins {
			sum += b.Count
		}
		assert.Equal(t, g.Histogram.TotalCount(), sum, "each call is in one bin")
	}
}

// TestHTMLEscapes: no name ends a script, or begins one.
func TestHTMLEscapes(t *testing.T) {
	evil := `</script><script>alert("'` + "`${1}`" + `')</script><!--<b onload=x>{{.}}`
	r := measure.NewRecorder(0)
	r.Add(measure.Key{Method: evil, Source: evil, Outcome: measure.Unexpected, Type: evil}, measure.Sample{Done: 1e6})
	r.Beside(measure.Key{Method: evil, Outcome: measure.OK, Type: evil})
	result := r.Result()
	result.Invalid = []string{evil}
	s := &scenario.Scenario{Name: evil, Target: scenario.Target{Addr: evil}, Load: scenario.Load{Stages: []scenario.Stage{{Name: evil}}}, Mix: []scenario.Item{{Name: evil, Steps: []scenario.Call{{Method: evil}}}}}
	d := Of(s, result)
	d.Verdicts = []Verdict{{evil, evil, false, evil}}
	var b bytes.Buffer
	require.NoError(t, d.WriteHTML(&b))
	assert.Equal(t, 2, strings.Count(b.String(), "<script"))
	assert.Equal(t, 2, strings.Count(b.String(), "</script"))
	for _, bad := range []string{"alert(\"", "<b onload", "<!--"} {
		assert.NotContains(t, b.String(), bad)
	}
}

// TestTableOverTime: neighbours are joined exactly, so that the table is short and has all calls.
func TestTableOverTime(t *testing.T) {
	r := measure.NewRecorder(0)
	for n := range time.Duration(100) {
		at := n * measure.FirstWidth
		r.Add(measure.Key{Outcome: measure.OK}, measure.Sample{Intended: at, Done: at + n*time.Millisecond})
		r.Add(measure.Key{Outcome: measure.Reset}, measure.Sample{Intended: at, Done: at + time.Millisecond})
		r.Begun(at, n*time.Microsecond)
	}
	d := Of(&scenario.Scenario{}, r.Result())
	before := d.Windows[0].Histogram.TotalCount()
	table := fewer(d.Windows)
	assert.Len(t, table, 25)
	for i, w := range table {
		last := d.Windows[4*i+3]
		assert.Equal(t, []float64{float64(4 * i), 4}, []float64{w.From, w.Width})
		assert.Equal(t, []uint64{8, 4}, []uint64{w.Count, w.Errors})
		assert.EqualValues(t, 4, w.Histogram.TotalCount())
		assert.Equal(t, []float64{last.Max, last.LagMax}, []float64{w.Max, w.LagMax}, "the fourth is the slowest")
		assert.Equal(t, d.Windows[4*i+1].P50, w.P50)
	}
	assert.Equal(t, before, d.Windows[0].Histogram.TotalCount(), "the document does not change")
}
