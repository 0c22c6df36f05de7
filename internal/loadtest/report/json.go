package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"sallyport/internal/loadtest/measure"
)

// Histogram and Packed are distributions as measure encodes them.
type (
	Histogram = measure.Histogram
	Packed    = measure.Packed
)

// WriteJSON writes d, exactly.
func (d Document) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// ReadJSON reads what WriteJSON wrote, and nothing after it. What it returns without an error has a histogram overall, of
// each method and in each window, and its counts do not contradict each other. An error says what is wrong, and where; it has no text
// of the document in it.
func ReadJSON(r io.Reader) (Document, error) {
	var d Document
	decoder := json.NewDecoder(r)
	if err := decoder.Decode(&d); err != nil {
		return Document{}, fmt.Errorf("no report of a load test: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Document{}, errors.New("no report of a load test: something follows its end")
	}
	if err := d.check(); err != nil {
		return Document{}, fmt.Errorf("no report of a load test: %w", err)
	}
	return d, nil
}

func (d Document) check() error {
	if d.Format != format {
		return fmt.Errorf("format: expected %d, found %d", format, d.Format)
	}
	if d.Overall.Histogram.Histogram == nil {
		return errors.New("overall.histogram: expected one, found none")
	}
	if err := d.Overall.check(); err != nil {
		return fmt.Errorf("overall: %w", err)
	}
	for i, g := range d.Groups {
		if !slices.Contains(Bys, g.By) {
			return fmt.Errorf("groups[%d].by: expected one of %v", i, Bys)
		}
		if g.By == Method && g.Histogram.Histogram == nil {
			return fmt.Errorf("groups[%d].histogram: expected one of a method, found none", i)
		}
		if err := g.Figures.check(); err != nil {
			return fmt.Errorf("groups[%d]: %w", i, err)
		}
	}
	for i, s := range d.Server {
		if err := s.check(); err != nil {
			return fmt.Errorf("server[%d].%w", i, err)
		}
	}
	for i, w := range d.Windows {
		if w.Histogram.PackedHistogram == nil {
			return fmt.Errorf("windows[%d].histogram: expected one, found none", i)
		}
		if w.Width <= 0 {
			return fmt.Errorf("windows[%d].seconds: expected more than 0, found %v", i, w.Width)
		}
		if err := checkCounts(w.Count, w.Errors, w.Histogram.TotalCount()); err != nil {
			return fmt.Errorf("windows[%d]: %w", i, err)
		}
	}
	return nil
}

func (f Figures) check() error {
	var timed int64
	if f.Histogram.Histogram != nil {
		timed = f.Histogram.TotalCount()
	}
	return checkCounts(f.Count, f.Errors, timed)
}

func checkCounts(count, errors uint64, timed int64) error {
	if errors > count {
		return fmt.Errorf("%d errors of %d calls", errors, count)
	}
	if uint64(timed) > count {
		return fmt.Errorf("%d calls in the histogram of %d calls", timed, count)
	}
	return nil
}
