package report

import (
	"encoding/csv"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// WriteCSV writes a line for each window, after one with the names of the columns, which mean what they do in JSON.
func (d Document) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"from_seconds", "count", "errors", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"}) // Error tells
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	for _, x := range d.Windows {
		_ = c.Write([]string{
			number(x.From), strconv.FormatUint(x.Count, 10), strconv.FormatUint(x.Errors, 10),
			number(x.P50), number(x.P90), number(x.P99), number(x.P999), number(x.Max),
		})
	}
	c.Flush()
	return c.Error()
}

// WriteHLog writes a log of HdrHistogram, format 1.3, with absolute times: an interval for each window but those of the
// warm-up, and one over the whole run for each method, whose tag is its name, with %XX for what a tag may not have.
// Values are nanoseconds, and the column of the maximum is in milliseconds.
func (d Document) WriteHLog(w io.Writer) error {
	log := hdrhistogram.NewHistogramLogWriter(w)
	if err := log.OutputLogFormatVersion(); err != nil {
		return err
	}
	if err := log.OutputComment("nanoseconds from when a call was due; what has a tag is the whole run of one method"); err != nil {
		return err
	}
	if err := log.OutputStartTime(d.Began.UnixMilli()); err != nil {
		return err
	}
	if err := log.OutputLegend(); err != nil {
		return err
	}
	at := func(seconds float64) int64 {
		return d.Began.Add(time.Duration(seconds * float64(time.Second))).UnixMilli()
	}
	for _, x := range d.Windows {
		if x.From < 0 {
			continue
		}
		h := x.Histogram.Clone()
		h.SetStartTimeMs(at(x.From))
		h.SetEndTimeMs(at(x.From + x.Width))
		if err := log.OutputIntervalPackedHistogram(h); err != nil {
			return err
		}
	}
	for _, g := range d.Groups {
		if g.By != Method {
			continue
		}
		h := g.Histogram.Clone()
		h.SetTag(url.PathEscape(g.Name))
		h.SetStartTimeMs(at(0))
		h.SetEndTimeMs(at(d.Seconds))
		if err := log.OutputIntervalHistogram(h); err != nil {
			return err
		}
	}
	return nil
}
