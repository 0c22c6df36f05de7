package verdict

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sallyport/internal/loadtest/measure"
)

// Threshold is what a figure of a result is to be: FIGURE[(SELECTOR)] OP LIMIT, such as p99(admin.vm.List) < 5ms. It is
// comparable; Parse makes it.
type Threshold struct {
	Figure   Figure
	Selector Selector
	Op       Op
	Limit    Limit
}

// Figure is what is looked at: p50, p99.9 or any other percentile of the time that calls took, or one of the constants.
// Times count from when a call was due, to three digits.
type Figure string

// The figures that are no percentiles.
const (
	Max    Figure = "max"
	Mean   Figure = "mean"
	Errors Figure = "errors" // the share of calls that were errors; of outcomes and types, the share among all calls
	Count  Figure = "count"  // of calls
	Rate   Figure = "rate"   // what ended as expected, as a share of what was due, or per second
)

// Selector says which calls count: those whose By is Name. The zero Selector is all calls.
type Selector struct {
	By   By
	Name string
}

// By is what calls are told apart by.
type By string

// What calls are told apart by.
const (
	Method  By = "method" // or the name of a plain request; what a selector is that does not say
	Source  By = "source"
	Outcome By = "outcome"
	Type    By = "exception" // its type
)

// Op is how a figure compares with its limit.
type Op string

// Limit is a number with its unit.
type Limit struct {
	Number float64
	Unit   Unit
}

// Unit is what a Limit counts.
type Unit string

// The units. A Span's number is in nanoseconds.
const (
	One       Unit = "" // calls, or a share from 0 to 1
	Percent   Unit = "%"
	PerSecond Unit = "/s"
	Span      Unit = "ns"
)

// Parse reads a threshold. Its error says what was expected, and has nothing of text in it.
func Parse(text string) (Threshold, error) {
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return Threshold{}, errors.New("a figure, one of < <= > >=, and a limit, such as p99(admin.vm.List) < 5ms or errors <= 0.1%")
	}
	left, op, right := text[:at], text[at:at+1], text[at+1:]
	if rest, found := strings.CutPrefix(right, "="); found {
		op, right = op+"=", rest
	}
	t := Threshold{Op: Op(op)}
	figure, rest, selected := strings.Cut(left, "(")
	var err error
	if t.Figure, err = parseFigure(strings.TrimSpace(figure)); err != nil {
		return Threshold{}, err
	}
	if selected {
		inner, closed := strings.CutSuffix(strings.TrimSpace(rest), ")")
		if !closed {
			return Threshold{}, errors.New(`a ")" after the selector, and nothing between it and the < or >`)
		}
		if t.Selector, err = parseSelector(strings.TrimSpace(inner)); err != nil {
			return Threshold{}, err
		}
	}
	if err := t.makesSense(); err != nil {
		return Threshold{}, err
	}
	if t.Limit, err = t.parseLimit(strings.TrimSpace(right)); err != nil {
		return Threshold{}, err
	}
	return t, nil
}

func parseFigure(s string) (Figure, error) {
	switch f := Figure(s); f {
	case Max, Mean, Errors, Count, Rate:
		return f, nil
	}
	if digits, found := strings.CutPrefix(s, "p"); found {
		p, err := strconv.ParseFloat(digits, 64)
		_, places, _ := strings.Cut(digits, ".")
		if err != nil || strings.Trim(digits, "0123456789.") != "" || len(places) > 5 || p <= 0 || p >= 100 {
			return "", errors.New("after p a percentile above 0 and below 100, such as p50 or p99.9, with up to five places; the slowest call is max")
		}
		return Figure("p" + strconv.FormatFloat(p, 'f', -1, 64)), nil
	}
	return "", errors.New("a figure before the < or >: p50, p99.9 or another percentile, max, mean, errors, count or rate")
}

// percentile is that of a figure, if it is one.
func (f Figure) percentile() (float64, bool) {
	digits, found := strings.CutPrefix(string(f), "p")
	p, err := strconv.ParseFloat(digits, 64)
	return p, found && err == nil
}

func parseSelector(s string) (Selector, error) {
	by, name, found := strings.Cut(s, "=")
	sel := Selector{By(strings.TrimSpace(by)), strings.TrimSpace(name)}
	if !found {
		sel = Selector{Method, s}
	}
	switch {
	case sel.Name == "" || len(sel.Name) > 256 || strings.ContainsAny(sel.Name, "()=") ||
		strings.ContainsFunc(sel.Name, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }):
		return Selector{}, errors.New("between the parentheses a method's name, or source=, outcome= or exception= and a name")
	case sel.By == Outcome && !slices.Contains(measure.Outcomes, measure.Outcome(sel.Name)):
		return Selector{}, fmt.Errorf("an outcome, which is one of %s", list(measure.Outcomes))
	case !slices.Contains([]By{Method, Source, Outcome, Type}, sel.By):
		return Selector{}, errors.New("before the = one of method, source, outcome, exception")
	}
	return sel, nil
}

func list(outcomes []measure.Outcome) string {
	var names []string
	for _, o := range outcomes {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}

// makesSense refuses figures of calls that have none.
func (t Threshold) makesSense() error {
	if t.Selector.By != Outcome {
		return nil
	}
	outcome := measure.Outcome(t.Selector.Name)
	switch t.Figure {
	case Count:
	case Rate:
		return errors.New("for an outcome, count or errors: a rate is of what ended as expected")
	case Errors:
		if outcome == measure.OK {
			return errors.New("an outcome that is an error, which ok is not")
		}
	default:
		if timed := slices.DeleteFunc(slices.Clone(measure.Outcomes), func(o measure.Outcome) bool { return !o.Timed() }); !outcome.Timed() {
			return fmt.Errorf("for a time, an outcome whose times are measured, which is one of %s", list(timed))
		}
	}
	return nil
}

func (t Threshold) parseLimit(s string) (Limit, error) {
	number := func(unit Unit, most float64) (Limit, bool) {
		digits, found := strings.CutSuffix(s, string(unit))
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		return Limit{math.Abs(n), unit}, found && err == nil && n >= 0 && n <= most // Abs: of a zero below zero
	}
	allowed := map[Unit]float64{} // and its highest number
	var wanted string
	switch {
	case t.Figure == Errors:
		allowed[Percent], allowed[One] = 100, 1
		wanted = "a share, such as 0.1%, or 0.001"
	case t.Figure == Count:
		allowed[One] = math.MaxInt64
		wanted = "a number of calls, such as 1000"
	case t.Figure == Rate && t.Selector != Selector{}:
		allowed[PerSecond] = math.MaxInt64
		wanted = "calls per second, such as 500/s: how many of these calls were due is not known"
	case t.Figure == Rate:
		allowed[PerSecond], allowed[Percent], allowed[One] = math.MaxInt64, 100, 1
		wanted = "a share of the rate that is offered, such as 0.99 or 99%, or calls per second, such as 500/s"
	default:
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > measure.Highest {
			return Limit{}, fmt.Errorf("a time of at most %v, such as 5ms or 1.5s", measure.Highest)
		}
		return Limit{float64(d), Span}, nil
	}
	for unit, most := range allowed {
		if limit, ok := number(unit, most); ok {
			return limit, nil
		}
	}
	return Limit{}, errors.New(wanted)
}

// String is the threshold as Parse reads it.
func (t Threshold) String() string {
	name := string(t.Figure)
	if t.Selector != (Selector{}) {
		name += "(" + t.Selector.String() + ")"
	}
	return fmt.Sprintf("%s %s %s", name, t.Op, t.Limit)
}

func (s Selector) String() string {
	if s.By == Method {
		return s.Name
	}
	return string(s.By) + "=" + s.Name
}

func (l Limit) String() string {
	if l.Unit == Span {
		return time.Duration(l.Number).String()
	}
	return strconv.FormatFloat(l.Number, 'g', -1, 64) + string(l.Unit)
}

func (s Selector) selects(k measure.Key) bool {
	switch s.By {
	case Method:
		return k.Method == s.Name
	case Source:
		return k.Source == s.Name
	case Outcome:
		return string(k.Outcome) == s.Name
	case Type:
		return k.Type == s.Name
	}
	return true
}

// Verdict is what became of a threshold.
type Verdict struct {
	Threshold Threshold
	Value     string // what was measured, for people; empty: nothing was
	Held      bool
	Why       string // it did not hold; empty: it did
}

// Judge compares a result with the threshold. Where there is no call to look at, nothing holds: a name with a typo in it
// meets no threshold. But no call that ended in some outcome is something found, and its count is 0.
func (t Threshold) Judge(r *measure.Result) Verdict {
	v := Verdict{Threshold: t}
	number, value, why := t.measure(r)
	if v.Value = value; why != "" {
		v.Why = why
		return v
	}
	switch t.Op {
	case "<":
		v.Held = number < t.Limit.Number
	case "<=":
		v.Held = number <= t.Limit.Number
	case ">":
		v.Held = number > t.Limit.Number
	case ">=":
		v.Held = number >= t.Limit.Number
	}
	if !v.Held {
		v.Why = fmt.Sprintf("it is %s, and was to be %s %s", value, t.Op, t.Limit)
	}
	return v
}

// measure is the figure in the limit's unit, and for people; or why there is none.
func (t Threshold) measure(r *measure.Result) (number float64, value, why string) {
	g, wrong := r.Of(t.Selector.selects)
	total := g.Count
	switch t.Selector.By {
	case Outcome, Type: // are among all
		total = 0
		for _, other := range r.Groups {
			total += other.Count
		}
	}
	switch {
	case total == 0 && t.Selector == Selector{}:
		return 0, "", "no call has ended"
	case g.Count == 0 && (t.Selector.By != Outcome || total == 0 || t.Limit.Unit == Span):
		return 0, "", fmt.Sprintf("no call has the %s %s", t.Selector.By, t.Selector.Name)
	case t.Limit.Unit == Span && g.Total.TotalCount() == 0:
		return 0, "", fmt.Sprintf("none of %d calls was answered", g.Count)
	case t.Limit.Unit == PerSecond && r.Took <= 0, t.Figure == Rate && r.Due == 0:
		return 0, "", "nothing was measured"
	}
	switch t.Figure {
	case Count:
		return float64(g.Count), strconv.FormatUint(g.Count, 10), ""
	case Errors:
		return t.share(wrong, total)
	case Rate:
		if t.Limit.Unit == PerSecond {
			perSecond := r.PerSecond(g.Count - wrong)
			return perSecond, fmt.Sprintf("%.5g/s", perSecond), ""
		}
		return t.share(g.Count-wrong, r.Due)
	case Max:
		return t.span(g.Total, g.Total.Max())
	case Mean:
		return t.span(g.Total, int64(g.Total.Mean()))
	}
	p, _ := t.Figure.percentile()
	return t.span(g.Total, g.Total.ValueAtPercentile(p))
}

// share is part of whole in the limit's unit. It multiplies first: 1 of 1,000 is 0.1 %, not nearly so.
func (t Threshold) share(part, whole uint64) (number float64, value, why string) {
	scale := 1.0
	if t.Limit.Unit == Percent {
		scale = 100
	}
	number = scale * float64(part) / float64(whole)
	return number, fmt.Sprintf("%.4g%s (%d of %d)", number, t.Limit.Unit, part, whole), ""
}

// span is a time that h has. One that h does not tell apart from the limit is the limit, neither above nor below.
func (t Threshold) span(h *hdrhistogram.Histogram, nanos int64) (number float64, value, why string) {
	if h.ValuesAreEquivalent(nanos, int64(t.Limit.Number)) {
		nanos = int64(t.Limit.Number)
	}
	digit := time.Duration(1) // the last of four, one more than h knows: what is above the limit looks so
	for nanos >= 1e4*int64(digit) {
		digit *= 10
	}
	return float64(nanos), time.Duration(nanos).Round(digit).String(), ""
}
