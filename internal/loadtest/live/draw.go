package live

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
)

// The styles are of the terminal's own colours, which its user can read on its background, be that light or dark. What
// they say, words say too.
var (
	strong = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	bad    = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	good   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	tinted = lipgloss.NewStyle().Foreground(lipgloss.Magenta)
)

// block is lines that belong together. Where there is no room for all blocks, those of the highest rank go first.
type block struct {
	rank  int
	lines []string
}

// draw gives the picture, of lines that are as many and as wide as the terminal's at most.
func (r *run) draw(width, height int, paused bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	above := []block{
		{3, append(r.what(width), r.bar(width))},
		{0, r.rate(width)},
		{1, r.times(width)},
		{5, r.sparklines(width)},
	}
	below := []block{
		{2, append(r.lag(width), r.invalid(width)...)},
		{4, keys(width, paused)},
	}
	const fewest = 4
	lists := block{6, r.lists(width, max(fewest, height-lines(above)-lines(below)))}
	picture := fitting(slices.Concat(above, []block{lists}, below), height)
	for i := range picture {
		picture[i] = cut(picture[i], width)
	}
	return strings.Join(picture, "\n")
}

// lines is how many there are.
func lines(blocks []block) (n int) {
	for _, b := range blocks {
		n += len(b.lines)
	}
	return n
}

// fitting stacks blocks in as many lines as there are. What is left over is put between them.
func fitting(blocks []block, height int) (stacked []string) {
	for len(blocks) > 1 && lines(blocks) > height {
		least := slices.MaxFunc(blocks, func(a, b block) int { return a.rank - b.rank })
		blocks = slices.DeleteFunc(blocks, func(b block) bool { return b.rank == least.rank })
	}
	spare := height - lines(blocks)
	for _, b := range blocks {
		if spare > 0 && len(stacked) > 0 && len(b.lines) > 0 {
			stacked = append(stacked, "")
			spare--
		}
		stacked = append(stacked, b.lines...)
	}
	return stacked[:min(len(stacked), max(height, 0))]
}

// what says what runs.
func (r *run) what(width int) []string {
	lines := flow(width, strong.Render(r.name), "at "+r.target)
	number, s := r.stage()
	stage := fmt.Sprintf("stage %d of %d", number, len(r.load.Stages))
	if s.Name != "" {
		stage += ", " + report.Printable(s.Name)
	}
	unit := "arrivals/s"
	if r.load.Closed {
		unit = "workers"
	}
	load := fmt.Sprintf("%.0f %s", s.From, unit)
	if s.From != s.To {
		load = fmt.Sprintf("%.0f %s (%.0f to %.0f)", r.load.At(min(r.now.At, r.now.Of-1)), unit, s.From, s.To)
	}
	parts := []string{r.model, stage, load}
	if r.now.At < r.warmup {
		parts = append(parts, "warm-up, which is not measured")
	}
	return append(lines, flow(width, parts...)...)
}

// bar says how much of the run is over.
func (r *run) bar(width int) string {
	at := min(r.now.At, r.now.Of)
	said := fmt.Sprintf(" %v of %v", at.Round(time.Second), r.now.Of)
	columns := max(0, width-len(said)-2)
	done := int(float64(columns) * at.Seconds() / max(r.now.Of.Seconds(), 1e-9))
	return "[" + good.Render(strings.Repeat("█", done)) + faint.Render(strings.Repeat("░", columns-done)) + "]" + said
}

// rate says how many calls there were in the last second.
func (r *run) rate(width int) []string {
	all, wrong := r.now.Recent.Count()
	errors := fmt.Sprintf("errors %.0f/s", r.perSecond(wrong))
	if wrong > 0 {
		errors = bad.Render(fmt.Sprintf("%s (%s)", errors, share(wrong, all)))
	}
	parts := []string{"as expected " + strong.Render(fmt.Sprintf("%.0f/s", r.perSecond(all-wrong))), errors, fmt.Sprintf("%d under way", r.now.InFlight)}
	if !r.load.Closed {
		parts = slices.Insert(parts, 0, fmt.Sprintf("offered %.0f/s", r.perSecond(r.now.Recent.Due)))
	}
	return flow(width, parts...)
}

func share(part, of uint64) string { return fmt.Sprintf("%.3g %%", 100*float64(part)/float64(of)) }

// ranks are the percentiles that are shown; 100 is the maximum.
var ranks = []struct {
	name string
	rank float64
	need int // the columns from which on it is shown
}{{"p50", 50, 0}, {"p90", 90, 57}, {"p99", 99, 0}, {"p99.9", 99.9, 48}, {"max", 100, 0}}

// since is a word for what r.soFar is of.
func (r *run) since() string {
	if r.warm {
		return "in warm-up"
	}
	return "so far"
}

// times is a table of how long calls took.
func (r *run) times(width int) []string {
	header, recent, all := fmt.Sprintf("%-12s", ""), fmt.Sprintf("%-12s", "last second"), fmt.Sprintf("%-12s", r.since())
	at := func(w *measure.Window, rank float64) string {
		if w.Total.TotalCount() == 0 {
			return fmt.Sprintf("%9s", "-")
		}
		return fmt.Sprintf("%9s", report.Span(micros(w.Total.ValueAtPercentile(rank))))
	}
	for _, p := range ranks {
		if width < p.need {
			continue
		}
		header += fmt.Sprintf("%9s", p.name)
		recent += at(r.now.Recent, p.rank)
		all += at(r.soFar, p.rank)
	}
	return []string{faint.Render(header), recent, all}
}

// sparklines show the last minutes, of which the right end is now.
func (r *run) sparklines(width int) []string {
	fast, slow := highest(r.rates), highest(r.slow)
	scales := [2]string{fmt.Sprintf("max %.0f/s", fast), "max " + report.Span(slow)}
	columns := max(0, width-5-1-max(ansi.StringWidth(scales[0]), ansi.StringWidth(scales[1])))
	return []string{
		"rate " + good.Render(sparkline(r.rates, fast, columns)) + " " + faint.Render(scales[0]),
		"p99  " + tinted.Render(sparkline(r.slow, slow, columns)) + " " + faint.Render(scales[1]),
	}
}

func highest(points []float64) (most float64) {
	for _, p := range points {
		if p > most { // which what is not a number is not
			most = p
		}
	}
	return most
}

var heights = []rune("▁▂▃▄▅▆▇█")

// sparkline is a column for each of the last points, and blanks where there are none yet.
func sparkline(points []float64, most float64, columns int) string {
	points = points[max(0, len(points)-columns):]
	line := []rune(strings.Repeat(" ", columns-len(points)))
	for _, p := range points {
		switch {
		case math.IsNaN(p):
			line = append(line, ' ')
		case most == 0:
			line = append(line, heights[0])
		default:
			line = append(line, heights[int(p/most*float64(len(heights)-1)+0.5)])
		}
	}
	return string(line)
}

// lag says how late the tool itself was.
func (r *run) lag(width int) []string {
	late := "the tool's lag " + span(r.now.Recent.Lag)
	if r.now.Recent.Lag > r.maxLag {
		late = bad.Render("LATE: " + late)
	}
	return flow(width, late, "at most "+span(r.soFar.Lag)+" "+r.since(), "max_lag "+span(r.maxLag))
}

func span(d time.Duration) string { return report.Span(micros(int64(d))) }

// mostReasons is how many lines they have.
const mostReasons = 4

// invalid says why the run would be so, if it ended now.
func (r *run) invalid(width int) (lines []string) {
	for _, why := range r.now.Invalid {
		for line := range strings.SplitSeq(ansi.Wordwrap("INVALID so far: "+why, max(width, 1), ""), "\n") {
			lines = append(lines, bad.Render(line))
		}
	}
	return lines[:min(len(lines), mostReasons)]
}

func keys(width int, paused bool) []string {
	pause := "p pauses"
	if paused {
		pause = strong.Render("paused, p goes on")
	}
	return flow(width, faint.Render("q or Ctrl-C ends the run"), faint.Render(pause))
}

// flow puts parts into as many lines as they need.
func flow(width int, parts ...string) (lines []string) {
	const between = "   "
	for _, p := range parts {
		if last := len(lines) - 1; last >= 0 && ansi.StringWidth(lines[last]+between+p) <= width {
			lines[last] += between + p
		} else {
			lines = append(lines, p)
		}
	}
	return lines
}

// cut leaves so many columns of a line at most, in either way in which terminals count them.
func cut(line string, columns int) string {
	for n := columns; ansi.StringWidth(line) > columns || ansi.StringWidthWc(line) > columns; n-- {
		line = ansi.Truncate(ansi.TruncateWc(line, max(n, 0), "…"), max(n, 0), "…")
	}
	return line
}
