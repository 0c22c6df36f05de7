// Package measure keeps what a load test found, in memory that does not grow with the length of the run: histograms by
// method, source, outcome and exception type, and a series of windows in time. Results of several threads or machines
// merge exactly.
//
//	driver ─Add→ Recorder ─Result→ merged ─→ report, verdicts
//
// It knows neither scenarios nor sockets.
package measure

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Outcome is how a call ended.
type Outcome string

// The outcomes. All but OK are errors.
const (
	OK         Outcome = "ok"         // the reply was the expected one, be it an exception
	Unexpected Outcome = "unexpected" // a whole reply, but another than the expected
	Garbage    Outcome = "garbage"    // bytes that are no reply
	Empty      Outcome = "empty"      // the server closed and had said nothing
	Timeout    Outcome = "timeout"    // no whole reply in time
	Missing    Outcome = "missing"    // there is no such socket or host
	Refused    Outcome = "refused"    // nobody listens
	Reset      Outcome = "reset"      // the connection broke
	Failed     Outcome = "failed"     // anything else that the system said, such as no descriptor left
	Shed       Outcome = "shed"       // never begun: as many calls were under way as the scenario allows
)

// Outcomes are all of them, OK first.
var Outcomes = []Outcome{OK, Unexpected, Garbage, Empty, Timeout, Missing, Refused, Reset, Failed, Shed}

// Timed reports whether such a call counts in latencies: one that was answered, or for whose answer the client waited in
// vain. A refusal in a microsecond makes no server fast.
func (o Outcome) Timed() bool { return o == OK || o == Unexpected || o == Timeout }

// Key is what calls are told apart by. Its number of values is bounded by the scenario, by MostGroups and by MostTypes.
type Key struct {
	Method  string // or the name of a plain request
	Source  string
	Outcome Outcome
	Type    string // of an exception; empty: none was read
}

// What a server calls its exceptions is up to it, so that a hostile one could fill memory with their types.
const (
	MostTypes = 64        // that are told apart by a Recorder, or in a Window; more of them are counted under Other
	Other     = "(other)" // the type of exceptions that are not told apart
)

// typed gives the type that one counts under beside those that are known.
func typed[V any](known map[string]V, kind string) string {
	if _, is := known[kind]; is || len(known) < MostTypes {
		return kind
	}
	return Other
}

// Sample is one call. All times are since the run began.
type Sample struct {
	Intended  time.Duration // when it was due
	Connected time.Duration // zero: never
	First     time.Duration // of the reply's bytes; zero: none came
	Done      time.Duration
}

// Highest is the longest time that is told apart from longer ones.
const Highest = 10 * time.Minute

// lowest is the shortest, in nanoseconds.
const lowest = 100

// NewHistogram makes a histogram of nanoseconds from 100 ns to Highest, to three digits: about 200 KiB.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(lowest, int64(Highest), 3) }

// Group is what was measured of the calls of one Key. Times count from the intended start, so that a call that could not
// begin in time, since the server stalled, is as slow as its caller found it.
type Group struct {
	Count     uint64 // also of those that are not Timed, which the histograms leave out
	Total     *hdrhistogram.Histogram
	Connected *hdrhistogram.PackedHistogram // to two digits
	First     *hdrhistogram.PackedHistogram
}

func newGroup() *Group {
	return &Group{Total: NewHistogram(), Connected: newPacked(), First: newPacked()}
}

func (g *Group) add(o Outcome, s Sample) {
	if g.Count++; !o.Timed() {
		return
	}
	record(g.Total, s.Done-s.Intended)
	if s.Connected > 0 {
		record(g.Connected, s.Connected-s.Intended)
	}
	if s.First > 0 {
		record(g.First, s.First-s.Intended)
	}
}

func newPacked() *hdrhistogram.PackedHistogram {
	return hdrhistogram.NewPacked(lowest, int64(Highest), 2)
}

func record(h interface{ RecordValue(int64) error }, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, 0), Highest))) // which is in range
}

// Merge adds what other holds.
func (g *Group) Merge(other *Group) {
	g.Count += other.Count
	g.Total.Merge(other.Total)
	g.Connected.Merge(other.Connected)
	g.First.Merge(other.First)
}

// Window is what ended in one span of the run, by outcome.
type Window struct {
	From   time.Duration // since the run began
	Width  time.Duration
	Counts map[Outcome]uint64
	Types  map[string]uint64             // of exceptions, be they expected; at most MostTypes, and Other
	Total  *hdrhistogram.PackedHistogram // of the Timed ones
	Lag    time.Duration                 // the longest time that the tool was late
	Due    uint64                        // calls that the tool began in it, or had to shed
}

// NewWindow is one in which nothing ended yet.
func NewWindow(from, width time.Duration) *Window {
	return &Window{From: from, Width: width, Counts: map[Outcome]uint64{}, Types: map[string]uint64{}, Total: newPacked()}
}

// Merge adds what other holds, whose span is the same or within.
func (w *Window) Merge(other *Window) {
	for o, n := range other.Counts {
		w.Counts[o] += n
	}
	for kind, n := range other.Types {
		w.Types[typed(w.Types, kind)] += n
	}
	w.Total.Merge(other.Total)
	w.Lag = max(w.Lag, other.Lag)
	w.Due += other.Due
}

// Count is how many calls ended in it, and how many of them in error.
func (w *Window) Count() (all, errors uint64) {
	for o, n := range w.Counts {
		if all += n; o != OK {
			errors += n
		}
	}
	return all, errors
}

// Result is what a run found. What is not a Recorder's belongs to one goroutine.
type Result struct {
	Began    time.Time
	Took     time.Duration // that was measured: without the warm-up
	Over     time.Duration // since Began, until the last of the calls that were measured had ended
	Due      uint64        // calls that were to begin in that time; of a closed model, those that did
	Groups   map[Key]*Group
	Lag      *hdrhistogram.Histogram // how late the tool itself began calls
	Windows  []*Window               // by time, without gaps, at most MostWindows, all of one width
	Messages uint64                  // events that subscribers read
	Beside   map[Key]uint64          // what clients got that misbehave, by misdeed; apart from all else
	Notes    []string                // what else is to be known
	Invalid  []string                // why the run says nothing about the server; none: it does
	Agents   []Agent                 // that made it together; none: one machine made it
}

// Agent is what is to be known of a machine that made a part of a load.
type Agent struct {
	Name   string                  // HOST:PORT, as it was reached
	Due    uint64                  // calls that it was to begin
	Lag    *hdrhistogram.Histogram // how late it began them
	Within time.Duration           // it began its part at most so long after it was told to, when all were
	Lost   string                  // why nothing is known of what it measured; empty: all is
}

// What keeps a Result small, however long the run is.
const (
	MostGroups  = 200 // Keys; of more of them, source and type are counted under Other, and beyond twice as many methods
	MostName    = 256 // bytes of what whoever records takes from a reply, or a list of sources, for a Key
	MostWindows = 600 // when there are more, each two become one
)

// FirstWidth is how long a window is at first.
const FirstWidth = time.Second

// mostShown is how many bytes are shown of what others said.
const mostShown = 500

// Shown is what may be shown of text that is somebody else's: no more than 500 bytes, and nothing that a terminal obeys.
func Shown(text string) string {
	if len(text) > mostShown {
		text = text[:mostShown] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// PerSecond is how many of n calls that were measured ended in a second. If many ended late, beyond a hundredth of the time,
// that counts, too: else a server that works off in peace what came too fast would seem to keep up.
func (r *Result) PerSecond(n uint64) float64 {
	lasted := r.Took
	if r.Over > lasted+lasted/100 {
		lasted = r.Over
	}
	if lasted <= 0 {
		return 0
	}
	return float64(n) / lasted.Seconds()
}

// NewResult is one without any call.
func NewResult() *Result {
	return &Result{Groups: map[Key]*Group{}, Beside: map[Key]uint64{}, Lag: NewHistogram()}
}

// folded gives the key that one counts under beside those that are known; see MostGroups.
func folded[V any](known map[Key]V, k Key) Key {
	for _, most := range []int{MostGroups, 2 * MostGroups} {
		if _, is := known[k]; is {
			return k
		}
		if len(known) >= most {
			k = Key{Method: k.Method, Source: Other, Outcome: k.Outcome}
		}
		if len(known) >= most && most > MostGroups {
			k.Method = Other
		}
	}
	return k
}

// group finds the group of a key, or makes it.
func (r *Result) group(k Key) *Group {
	k = folded(r.Groups, k)
	g := r.Groups[k]
	if g == nil {
		g = newGroup()
		r.Groups[k] = g
	}
	return g
}

// beside counts what clients got that misbehave.
func (r *Result) beside(k Key, n uint64) {
	if _, known := r.Beside[k]; !known && len(r.Beside) >= MostGroups {
		k.Type = Other
	}
	r.Beside[k] += n
}

// window finds the window of a time, or makes it and those before it.
func (r *Result) window(at time.Duration) *Window {
	width := FirstWidth
	if len(r.Windows) > 0 {
		width = r.Windows[0].Width
	}
	for at >= width*MostWindows {
		r.widen()
		width *= 2
	}
	for time.Duration(len(r.Windows))*width <= at {
		r.Windows = append(r.Windows, NewWindow(time.Duration(len(r.Windows))*width, width))
	}
	return r.Windows[at/width]
}

// widen makes one window of each two.
func (r *Result) widen() {
	var wide []*Window
	for i, w := range r.Windows {
		if i%2 == 0 {
			wide = append(wide, NewWindow(w.From, 2*w.Width))
		}
		wide[i/2].Merge(w)
	}
	r.Windows = wide
}

// Merge adds what another thread or machine found at the same time.
func (r *Result) Merge(other *Result) {
	if r.Began.IsZero() || !other.Began.IsZero() && other.Began.Before(r.Began) {
		r.Began = other.Began
	}
	r.Took, r.Over, r.Due, r.Messages = max(r.Took, other.Took), max(r.Over, other.Over), r.Due+other.Due, r.Messages+other.Messages
	for k, g := range other.Groups {
		r.group(k).Merge(g)
	}
	for k, n := range other.Beside {
		r.beside(k, n)
	}
	r.Lag.Merge(other.Lag)
	for _, w := range other.Windows {
		for len(r.Windows) > 0 && r.Windows[0].Width < w.Width {
			r.widen()
		}
		r.window(w.From).Merge(w)
	}
	r.Notes, r.Invalid = united(r.Notes, other.Notes), united(r.Invalid, other.Invalid)
	r.Agents = append(r.Agents, other.Agents...)
}

// united has each text once.
func united(texts, more []string) []string {
	for _, text := range more {
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// Keys are the keys of all groups, in an order that does not change.
func (r *Result) Keys() []Key { return sorted(r.Groups) }

func sorted[V any](by map[Key]V) []Key {
	return slices.SortedFunc(maps.Keys(by), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Type, b.Type))
	})
}

// Counts are how many calls of each Key there were, of as many Keys as a Result has at most.
type Counts map[Key]uint64

// Merge adds what other holds.
func (c Counts) Merge(other Counts) {
	for k, n := range other {
		c[folded(c, k)] += n
	}
}

// Counts are those of all groups.
func (r *Result) Counts() Counts {
	counts := make(Counts, len(r.Groups))
	for k, g := range r.Groups {
		counts[k] = g.Count
	}
	return counts
}

// Of merges the groups whose key is kept, and says how many of the calls were errors.
func (r *Result) Of(keep func(Key) bool) (g *Group, errors uint64) {
	g = newGroup()
	for k, other := range r.Groups {
		if !keep(k) {
			continue
		}
		g.Merge(other)
		if k.Outcome != OK {
			errors += other.Count
		}
	}
	return g, errors
}

// Recorder is what one thread of a driver adds its calls to, while somebody else looks on. Safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	from   time.Duration // the warm-up's end: what was due before is not measured
	result *Result
	recent *Window                       // since Recent was called
	lags   *hdrhistogram.PackedHistogram // since Lags was called
	types  map[string]bool               // of exceptions, that are told apart
}

// NewRecorder makes a Recorder that does not measure what is due before from.
func NewRecorder(from time.Duration) *Recorder {
	return &Recorder{from: from, result: NewResult(), recent: NewWindow(0, 0), lags: newLags(), types: map[string]bool{}}
}

// Add counts a call that has ended.
func (r *Recorder) Add(k Key, s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.Type = r.typed(k.Type)
	for _, w := range r.windows(s.Done) {
		w.Counts[k.Outcome]++
		if k.Type != "" {
			w.Types[typed(w.Types, k.Type)]++
		}
		if k.Outcome.Timed() {
			record(w.Total, s.Done-s.Intended)
		}
	}
	if s.Intended >= r.from {
		r.result.Over = max(r.result.Over, s.Done-r.from)
		r.result.group(k).add(k.Outcome, s)
	}
}

// Begun counts a call that the tool has begun, or had to shed, late by lag.
func (r *Recorder) Begun(intended, lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.windows(intended + lag) {
		w.Due++
		w.Lag = max(w.Lag, lag)
	}
	if intended >= r.from {
		r.result.Due++
		record(r.result.Lag, lag)
		record(r.lags, lag)
	}
}

// Read counts an event that a subscriber has read.
func (r *Recorder) Read() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Messages++
}

// Beside counts what a client got that misbehaves.
func (r *Recorder) Beside(k Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.Type = r.typed(k.Type)
	r.result.beside(k, 1)
}

// typed gives the type under which an exception is counted; empty: there was none.
func (r *Recorder) typed(kind string) string {
	if kind == "" {
		return ""
	}
	kind = typed(r.types, kind)
	r.types[kind] = true
	return kind
}

func (r *Recorder) windows(at time.Duration) [2]*Window {
	return [2]*Window{r.result.window(at), r.recent}
}

// Recent is what ended since it was called the last time. From and Width are for the caller to set. Who looks on keeps who
// adds calls waiting as shortly as can be, here and in Lags and Counts.
func (r *Recorder) Recent() *Window {
	recent := NewWindow(0, 0) // before the lock
	r.mu.Lock()
	defer r.mu.Unlock()
	recent, r.recent = r.recent, recent
	return recent
}

// Lags are how late the tool began calls since it was called the last time, without the warm-up, as exactly as in the
// result.
func (r *Recorder) Lags() *hdrhistogram.PackedHistogram {
	next := newLags()
	r.mu.Lock()
	defer r.mu.Unlock()
	lags := r.lags
	r.lags = next
	return lags
}

func newLags() *hdrhistogram.PackedHistogram {
	return hdrhistogram.NewPacked(lowest, int64(Highest), 3)
}

// Counts are how many calls of each Key there were so far, without the warm-up.
func (r *Recorder) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result.Counts()
}

// Result gives what was recorded, and ends the Recorder.
func (r *Recorder) Result() *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.result
	r.result = NewResult()
	return result
}
