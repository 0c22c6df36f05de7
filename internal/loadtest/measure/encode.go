package measure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// MostEncoded is how many bytes the encoding of a Result has at most.
const MostEncoded = 64 << 20

// The limits of what is decoded. Nothing that was measured reaches them.
const (
	mostGroups = 2*MostGroups + 10 // as many as there are outcomes
	mostBeside = MostGroups + 10*10
	mostTexts  = 1000
	mostAgents = 1000
	mostWindow = 1 << 20 // bytes of a Window
	mostCount  = 1 << 52 // so that sums of thousands stay in range
	mostWidth  = FirstWidth << 22
)

// format is the version of the encoding.
const format = 1

// encoded is a Result as it goes from machine to machine, in JSON, exactly: what is decoded merges as what was encoded
// would. Times are nanoseconds since the run began. A histogram is HdrHistogram V2, compressed, in base64: a group's
// total and every lag to three digits, all others to two; one without anything in it is left out. Methods, sources and types are escaped as in the query of a URL,
// since they may have any bytes.
type encoded struct {
	Format   int            `json:"format"`
	Began    time.Time      `json:"began"`
	Took     time.Duration  `json:"took"`
	Over     time.Duration  `json:"over"`
	Due      uint64         `json:"due"`
	Groups   encodedGroups  `json:"groups"`
	Lag      sparse         `json:"lag,omitzero"`
	Windows  encodedWindows `json:"windows"`
	Messages uint64         `json:"messages"`
	Beside   encodedBeside  `json:"beside"`
	Notes    encodedTexts   `json:"notes"`   // in UTF-8
	Invalid  encodedTexts   `json:"invalid"` // likewise
	Agents   encodedAgents  `json:"agents"`
}

type encodedKey struct {
	Method  name    `json:"method"`
	Source  name    `json:"source"`
	Outcome Outcome `json:"outcome"`
	Type    name    `json:"type"`
}

type encodedGroup struct {
	encodedKey
	Count     uint64 `json:"count"`
	Total     sparse `json:"total,omitzero"`
	Connected Packed `json:"connected,omitzero"`
	First     Packed `json:"first,omitzero"`
}

type encodedCount struct {
	encodedKey
	Count uint64 `json:"count"`
}

type encodedWindow struct {
	From   time.Duration      `json:"from"`
	Width  time.Duration      `json:"width"`
	Counts map[Outcome]uint64 `json:"counts"`
	Types  map[name]uint64    `json:"types"`
	Total  Packed             `json:"total,omitzero"`
	Lag    time.Duration      `json:"lag"`
	Due    uint64             `json:"due"`
}

type encodedAgent struct {
	Name   string        `json:"name"`
	Due    uint64        `json:"due"`
	Lag    sparse        `json:"lag,omitzero"`
	Within time.Duration `json:"within"`
	Lost   string        `json:"lost"`
}

// The lists of what is encoded, which end at their limits while they are decoded: a few bytes become a large histogram.
type (
	encodedGroups  []encodedGroup
	encodedWindows []*Window
	encodedBeside  []encodedCount
	encodedTexts   []string
	encodedAgents  []encodedAgent
)

// UnmarshalJSON is as DecodeList.
func (l *encodedGroups) UnmarshalJSON(data []byte) (err error) {
	*l, err = DecodeList[encodedGroup](data, "groups", mostGroups)
	return err
}

// UnmarshalJSON is as DecodeList.
func (l *encodedWindows) UnmarshalJSON(data []byte) (err error) {
	*l, err = DecodeList[*Window](data, "windows", MostWindows)
	return err
}

// UnmarshalJSON is as DecodeList.
func (l *encodedBeside) UnmarshalJSON(data []byte) (err error) {
	*l, err = DecodeList[encodedCount](data, "groups beside", mostBeside)
	return err
}

// UnmarshalJSON is as DecodeList.
func (l *encodedTexts) UnmarshalJSON(data []byte) (err error) {
	*l, err = DecodeList[string](data, "notes, and reasons to be invalid", mostTexts)
	return err
}

// UnmarshalJSON is as DecodeList.
func (l *encodedAgents) UnmarshalJSON(data []byte) (err error) {
	*l, err = DecodeList[encodedAgent](data, "agents", mostAgents)
	return err
}

// DecodeList decodes a list in JSON, or null, of at most most elements. What comes after these is not looked at: more of
// them are an error, which says what they are, and so is a field that elements do not have.
func DecodeList[T any](data []byte, what string, most int) (list []T, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if begin, err := d.Token(); err != nil || begin == nil {
		return nil, err
	} else if begin != json.Delim('[') {
		return nil, fmt.Errorf("%s: expected a list", what)
	}
	for d.More() {
		if len(list) == most {
			return nil, fmt.Errorf("expected at most %d %s", most, what)
		}
		var element T
		if err := d.Decode(&element); err != nil {
			return nil, err
		}
		list = append(list, element)
	}
	return list, nil
}

// MarshalJSON encodes r as of format 1; see MostEncoded.
func (r *Result) MarshalJSON() ([]byte, error) {
	e := encoded{Format: format, Began: r.Began, Took: r.Took, Over: r.Over, Due: r.Due, Lag: some(r.Lag), Windows: r.Windows, Messages: r.Messages, Notes: r.Notes, Invalid: r.Invalid}
	for _, k := range r.Keys() {
		g := r.Groups[k]
		e.Groups = append(e.Groups, encodedGroup{encodeKey(k), g.Count, some(g.Total), somePacked(g.Connected), somePacked(g.First)})
	}
	for _, k := range sorted(r.Beside) {
		e.Beside = append(e.Beside, encodedCount{encodeKey(k), r.Beside[k]})
	}
	for _, a := range r.Agents {
		e.Agents = append(e.Agents, encodedAgent{a.Name, a.Due, some(a.Lag), a.Within, a.Lost})
	}
	return json.Marshal(e)
}

// UnmarshalJSON makes r what was encoded. The data may come from anybody: what no Result could be is an error, which may
// quote it.
func (r *Result) UnmarshalJSON(data []byte) error {
	var e encoded
	if err := strictly(data, &e); err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return err
	}
	*r = Result{Began: e.Began, Took: e.Took, Over: e.Over, Due: e.Due, Groups: map[Key]*Group{}, Lag: e.Lag.all(), Windows: e.Windows, Messages: e.Messages, Beside: map[Key]uint64{}, Notes: e.Notes, Invalid: e.Invalid}
	for _, g := range e.Groups {
		r.Groups[g.key()] = &Group{g.Count, g.Total.all(), g.Connected.all(), g.First.all()}
	}
	for _, b := range e.Beside {
		r.Beside[b.key()] = b.Count
	}
	for _, a := range e.Agents {
		r.Agents = append(r.Agents, Agent{a.Name, a.Due, a.Lag.all(), a.Within, a.Lost})
	}
	return nil
}

// check finds what no Result could be, and what merging relies on.
func (e *encoded) check() error {
	switch {
	case e.Format != format:
		return fmt.Errorf("format: expected %d, found %d", format, e.Format)
	case e.Took < 0 || e.Over < 0:
		return errors.New("took, over: expected no less than 0")
	}
	errs := []error{counted(e.Due, e.Lag.count()), counted(e.Messages, 0)}
	groups := map[Key]bool{}
	for _, g := range e.Groups {
		errs = append(errs, g.check(), counted(g.Count, g.Total.count(), g.Connected.count(), g.First.count()))
		groups[g.key()] = true
	}
	if len(groups) < len(e.Groups) {
		errs = append(errs, errors.New("groups: expected each once"))
	}
	for i, w := range e.Windows {
		if w == nil || w.Width != e.Windows[0].Width || w.From != time.Duration(i)*w.Width || !aWidth(w.Width) {
			return fmt.Errorf("windows[%d]: expected one of %v, doubled some times, after the one before", i, FirstWidth)
		}
	}
	for _, b := range e.Beside {
		errs = append(errs, b.check(), counted(b.Count, 0))
	}
	for _, a := range e.Agents {
		errs = append(errs, counted(a.Due, a.Lag.count()))
	}
	return errors.Join(errs...)
}

func aWidth(w time.Duration) bool {
	for ok := FirstWidth; ok <= mostWidth; ok *= 2 {
		if w == ok {
			return true
		}
	}
	return false
}

// counted checks a number of calls, of which some are in histograms.
func counted(n uint64, among ...int64) error {
	for _, some := range among {
		if n > mostCount || uint64(some) > n {
			return fmt.Errorf("count: expected at most %d, and no less than histograms have", uint64(mostCount))
		}
	}
	return nil
}

func encodeKey(k Key) encodedKey {
	return encodedKey{name(k.Method), name(k.Source), k.Outcome, name(k.Type)}
}

func (k encodedKey) key() Key {
	return Key{string(k.Method), string(k.Source), k.Outcome, string(k.Type)}
}

func (k encodedKey) check() error {
	if !slices.Contains(Outcomes, k.Outcome) {
		return fmt.Errorf("outcome: expected one of %v", Outcomes)
	}
	return nil
}

// MarshalJSON encodes c as a part of a Result is.
func (c Counts) MarshalJSON() ([]byte, error) {
	all := []encodedCount{}
	for _, k := range sorted(c) {
		all = append(all, encodedCount{encodeKey(k), c[k]})
	}
	return json.Marshal(all)
}

// UnmarshalJSON makes c what was encoded; see that of Result.
func (c *Counts) UnmarshalJSON(data []byte) error {
	all, err := DecodeList[encodedCount](data, "groups", mostGroups)
	if err != nil {
		return err
	}
	*c = Counts{}
	for _, one := range all {
		if err := errors.Join(one.check(), counted(one.Count, 0)); err != nil {
			return err
		}
		(*c)[one.key()] = one.Count
	}
	return nil
}

// MarshalJSON encodes w as a part of a Result.
func (w *Window) MarshalJSON() ([]byte, error) {
	e := encodedWindow{w.From, w.Width, w.Counts, map[name]uint64{}, somePacked(w.Total), w.Lag, w.Due}
	for kind, n := range w.Types {
		e.Types[name(kind)] = n
	}
	return json.Marshal(e)
}

// UnmarshalJSON makes w what was encoded; see that of Result. From and Width may be any.
func (w *Window) UnmarshalJSON(data []byte) error {
	if len(data) > mostWindow {
		return fmt.Errorf("a window: expected at most %d bytes", mostWindow)
	}
	var e encodedWindow
	if err := strictly(data, &e); err != nil {
		return err
	}
	if len(e.Types) > MostTypes+1 {
		return fmt.Errorf("types: expected at most %d", MostTypes)
	}
	if e.Lag < 0 {
		return errors.New("lag: expected no less than 0")
	}
	*w = Window{e.From, e.Width, map[Outcome]uint64{}, map[string]uint64{}, e.Total.all(), e.Lag, e.Due}
	var all uint64
	for o, n := range e.Counts {
		if err := errors.Join((encodedKey{Outcome: o}).check(), counted(n, 0)); err != nil {
			return err
		}
		w.Counts[o] = n
		all += n
	}
	for kind, n := range e.Types {
		if err := counted(n, 0); err != nil {
			return err
		}
		w.Types[string(kind)] = n
	}
	return errors.Join(counted(e.Due, 0), counted(min(all, mostCount), e.Total.count()))
}

// strictly decodes data, which is one value of JSON.
func strictly(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("no encoded result: %w", err)
	}
	return nil
}

// name is text of any bytes.
type name string

// MarshalText is what encoding/json asks for.
func (n name) MarshalText() ([]byte, error) { return []byte(url.QueryEscape(string(n))), nil }

// UnmarshalText is the reverse of MarshalText.
func (n *name) UnmarshalText(text []byte) error {
	s, err := url.QueryUnescape(string(text))
	if err != nil {
		return errors.New("a name: expected one that is escaped as in a URL")
	}
	*n = name(s)
	return nil
}

// Histogram is a distribution of nanoseconds to three digits, as NewHistogram makes them. Its text is HdrHistogram V2,
// compressed and in base64, as other programs read it.
type Histogram struct{ *hdrhistogram.Histogram }

// Packed is one to two digits.
type Packed struct{ *hdrhistogram.PackedHistogram }

// MarshalText is what encoding/json asks for.
func (h Histogram) MarshalText() ([]byte, error) { return h.EncodeV2() }

// MarshalText is what encoding/json asks for.
func (p Packed) MarshalText() ([]byte, error) { return p.EncodeV2() }

// UnmarshalText refuses histograms of another range, which could not be merged exactly.
func (h *Histogram) UnmarshalText(text []byte) error {
	p, err := hdrhistogram.DecodePacked(text) // first, since all the room of the range is to be taken for nothing else
	if err == nil {
		if err := sameRange(p, 3); err != nil {
			return err
		}
		h.Histogram, err = hdrhistogram.Decode(text)
	}
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	return nil
}

// sparse is a Histogram that takes no room when it is empty, as another machine's might be many times.
type sparse struct{ Histogram }

// UnmarshalText leaves out what has nothing in it.
func (s *sparse) UnmarshalText(text []byte) error {
	if p, err := hdrhistogram.DecodePacked(text); err == nil && p.TotalCount() == 0 {
		return sameRange(p, 3)
	}
	return s.Histogram.UnmarshalText(text)
}

// UnmarshalText refuses histograms of another range, which could not be merged exactly.
func (p *Packed) UnmarshalText(text []byte) (err error) {
	if p.PackedHistogram, err = hdrhistogram.DecodePacked(text); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	return sameRange(p, 2)
}

func sameRange(h interface {
	LowestTrackableValue() int64
	HighestTrackableValue() int64
	SignificantFigures() int64
}, digits int64) error {
	if h.LowestTrackableValue() != lowest || h.HighestTrackableValue() != int64(Highest) || h.SignificantFigures() != digits {
		return fmt.Errorf("histogram: expected one from %d to %d, to %d digits", lowest, int64(Highest), digits)
	}
	return nil
}

// some leaves out h if there is nothing in it.
func some(h *hdrhistogram.Histogram) sparse {
	if h.TotalCount() == 0 {
		return sparse{}
	}
	return sparse{Histogram{h}}
}

func somePacked(p *hdrhistogram.PackedHistogram) Packed {
	if p.TotalCount() == 0 {
		return Packed{}
	}
	return Packed{p}
}

// all is h, also if it was left out.
func (h Histogram) all() *hdrhistogram.Histogram {
	if h.Histogram == nil {
		return NewHistogram()
	}
	return h.Histogram
}

func (p Packed) all() *hdrhistogram.PackedHistogram {
	if p.PackedHistogram == nil {
		return newPacked()
	}
	return p.PackedHistogram
}

// count is how many values there are in it.
func (h Histogram) count() int64 {
	if h.Histogram == nil {
		return 0
	}
	return h.TotalCount()
}

func (p Packed) count() int64 {
	if p.PackedHistogram == nil {
		return 0
	}
	return p.TotalCount()
}
