package inventory

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/messages/qube"
)

// The keys of records and what their values hold, as JSON. One fact is one record, so that a change writes what it
// changed and no more.
//
//	host                        Host
//	global/PROPERTY             text
//	label/NAME                  labelFact, of labels that are not built in
//	qube/UUID                   qubeFact
//	property/UUID/PROPERTY      text
//	feature/UUID/NAME           featureFact
//	tag/UUID/TAG                true
//	notes/UUID                  text
//	volume/UUID/NAME            qube.Volume
//	firewall/UUID               the rules' lines
//	runtime/UUID                runtimeFact
//	intent/UUID                 qube.Intent
//	event/SLOT                  batchFact, of the history
const hostKey = "host"

type (
	qubeFact struct {
		Name  string `json:"name"`
		Class string `json:"class"`
		Label string `json:"label"`
		QID   int    `json:"qid"`
	}
	runtimeFact struct {
		State   string    `json:"state"`
		XID     int       `json:"xid,omitempty"`
		Started time.Time `json:"started,omitzero"`
		Console string    `json:"console,omitempty"`
	}
	featureFact struct {
		Place int    `json:"n"`
		Value string `json:"v"`
	}
	labelFact struct {
		Index int    `json:"index"`
		Color string `json:"color"`
	}
)

func globalKey(p qube.PropertyName) string { return "global/" + p.Shown() }
func labelKey(l qube.LabelName) string     { return "label/" + l.Shown() }
func qubeKey(id qube.UUID) string          { return "qube/" + id.Shown() }
func notesKey(id qube.UUID) string         { return "notes/" + id.Shown() }
func firewallKey(id qube.UUID) string      { return "firewall/" + id.Shown() }
func runtimeKey(id qube.UUID) string       { return "runtime/" + id.Shown() }
func intentKey(id qube.UUID) string        { return "intent/" + id.Shown() }
func tagKey(id qube.UUID, t qube.Tag) string {
	return "tag/" + id.Shown() + "/" + t.Shown()
}
func featureKey(id qube.UUID, f qube.FeatureName) string {
	return "feature/" + id.Shown() + "/" + f.Shown()
}
func volumeKey(id qube.UUID, v qube.VolumeName) string {
	return "volume/" + id.Shown() + "/" + v.Shown()
}
func propertyKey(id qube.UUID, p qube.PropertyName) string {
	return "property/" + id.Shown() + "/" + p.Shown()
}

func runtimeOf(r qube.Runtime) runtimeFact {
	return runtimeFact{string(r.State), r.XID, r.Started, r.Console}
}

func linesOf(rules []qube.FirewallRule) []string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = r.Shown()
	}
	return lines
}

// encode is for facts of ours, which all have a JSON form.
func encode(v any) []byte { return must(json.Marshal(v)) }

// builder makes a snapshot of records in any order.
type builder struct {
	snapshot *Snapshot
	qubes    map[qube.UUID]*record
	events   map[int]happening // by slot
}

func newBuilder() *builder {
	s := empty()
	dom0, _ := s.find(qube.Dom0UUID)
	return &builder{s, map[qube.UUID]*record{qube.Dom0UUID: dom0}, map[int]happening{}}
}

func (b *builder) qube(id qube.UUID) *record {
	r := b.qubes[id]
	if r == nil {
		r = &record{id: id, runtime: qube.Runtime{State: qube.Halted}}
		b.qubes[id] = r
	}
	return r
}

// segments is how many segments follow the kind in a record's key.
var segments = map[string]int{
	hostKey: 0, "global": 1, "label": 1, "qube": 1, "property": 2, "feature": 2, "tag": 2, "notes": 1, "volume": 2, "firewall": 1, "runtime": 1, "intent": 1,
	"event": 1,
}

// add takes one record in. Every noun passes its Parse function again: a store is not trusted to hold what we wrote.
func (b *builder) add(rec Record) error {
	kind, rest, _ := strings.Cut(rec.Key, "/")
	subject, word, _ := strings.Cut(rest, "/")
	p := parser{rec: rec}
	if n, ok := segments[kind]; !ok || n != strings.Count(rec.Key, "/") {
		p.fail(errors.New("an unknown kind of record"))
	}
	switch kind {
	case hostKey:
		p.value(&b.snapshot.host)
	case "global":
		name := parse(&p, subject, qube.ParsePropertyName)
		b.snapshot.globals[name] = parse(&p, p.text(), qube.ParsePropertyValue)
	case "label":
		var f labelFact
		p.value(&f)
		l := qube.Label{Name: parse(&p, subject, qube.ParseLabelName), Index: f.Index, Color: parse(&p, f.Color, qube.ParseColor)}
		b.snapshot.labels = append(slices.Clip(b.snapshot.labels), l)
	case "qube":
		var f qubeFact
		p.value(&f)
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		r.name, r.class, r.qid = parse(&p, f.Name, qube.ParseName), qube.Class(f.Class), f.QID
		r.label = parse(&p, f.Label, qube.ParseLabelName)
		if !slices.Contains(qube.Classes, r.class) || r.qid < 0 || r.qid >= mostNumber {
			p.fail(qube.ErrGrammar)
		}
	case "property":
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		r.properties = withProperty(r.properties, parse(&p, word, qube.ParsePropertyName), parse(&p, p.text(), qube.ParsePropertyValue))
	case "feature":
		var f featureFact
		p.value(&f)
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		r.features = r.features.with(feature{parse(&p, word, qube.ParseFeatureName), parse(&p, f.Value, qube.ParseFeatureValue), f.Place})
	case "tag":
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		r.tags = append(r.tags, parse(&p, word, qube.ParseTag))
		var there bool
		if p.value(&there); !there {
			p.fail(errors.New("a tag that is not there"))
		}
	case "notes":
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		r.notes = parse(&p, p.text(), qube.ParseNotes)
	case "volume":
		var v qube.Volume
		p.value(&v)
		r, name := b.qube(parse(&p, subject, qube.ParseUUID)), qube.VolumeName(word)
		if !slices.Contains(qube.VolumeNames, name) {
			p.fail(qube.ErrGrammar)
		}
		r.volumes = withVolume(r.volumes, name, v)
	case "firewall":
		var lines []string
		p.value(&lines)
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		for _, line := range lines {
			r.firewall = append(r.firewall, parse(&p, line, qube.ParseFirewallRule))
		}
	case "runtime":
		var f runtimeFact
		p.value(&f)
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		r.runtime = qube.Runtime{State: qube.PowerState(f.State), XID: f.XID, Started: f.Started, Console: f.Console}
		if !slices.Contains(qube.PowerStates, r.runtime.State) {
			p.fail(qube.ErrGrammar)
		}
	case "intent":
		r := b.qube(parse(&p, subject, qube.ParseUUID))
		if p.value(&r.intent); r.intent.Kind == "" {
			p.fail(errors.New("an intent to do nothing"))
		}
	case "event":
		var f batchFact
		p.value(&f)
		n := parse(&p, subject, strconv.Atoi)
		if n < 0 || n >= historyChanges || len(f.Events)+len(f.Before) == 0 || f.Revision < uint64(len(f.Events)) {
			p.fail(qube.ErrGrammar)
		}
		h := f.happening(&p)
		h.slot = n
		h.measured(len(rec.Value))
		b.events[n] = h
	}
	if p.err != nil {
		return fmt.Errorf("inventory: record %q of the store: %w", rec.Key, p.err)
	}
	return nil
}

// build finishes: every fact belongs to a qube, nobody shares what has to be one's own, and every order is the one that
// views promise.
func (b *builder) build(revision qube.Revision) (*Snapshot, error) {
	s := b.snapshot
	s.revision = revision
	slices.SortFunc(s.labels, func(a, b qube.Label) int { return cmp.Compare(a.Index, b.Index) })
	labels, qids := map[qube.LabelName]bool{}, map[int]bool{}
	for i, l := range s.labels {
		if labels[l.Name] || l.Index < 1 || i > 0 && l.Index == s.labels[i-1].Index {
			return nil, fmt.Errorf("inventory: the store has a label %s whose name or index is another's", l.Shown())
		}
		labels[l.Name] = true
	}
	byName, byID := s.byName.Txn(), s.byID.Txn()
	for _, r := range sortedByName(b.qubes) {
		dom0 := r.id == qube.Dom0UUID
		switch {
		case r.name == (qube.Name{}):
			return nil, fmt.Errorf("inventory: the store has facts of a qube %s that it does not have", r.id.Shown())
		case dom0 != (r.name == qube.Dom0) || dom0 != (r.class == qube.AdminVM):
			return nil, fmt.Errorf("inventory: the store has a qube %s that is dom0 only in part", r.name.Shown())
		case !labels[r.label]:
			return nil, fmt.Errorf("inventory: the store has a qube %s with a label that it does not have", r.name.Shown())
		case qids[r.qid]:
			return nil, fmt.Errorf("inventory: the store has two qubes with the qid %d", r.qid)
		}
		qids[r.qid] = true
		s.qids = s.qids.with(r.qid)
		if n, err := strconv.Atoi(r.properties[propDispid].Shown()); err == nil && 0 <= n && n < maxNumber {
			s.dispids = s.dispids.with(n)
		}
		for p, v := range r.properties {
			s.refs = s.refs.changed(r.id, p, qube.PropertyValue{}, v)
		}
		slices.SortFunc(r.tags, func(a, b qube.Tag) int { return strings.Compare(a.Shown(), b.Shown()) })
		if other, taken := byName.Insert([]byte(r.name.Shown()), r); taken && other != r {
			return nil, fmt.Errorf("inventory: the store has two qubes named %s", r.name.Shown())
		}
		byID.Insert([]byte(r.id.Shown()), r.name)
	}
	s.byName, s.byID = byName.Commit(), byID.Commit()
	return s, nil
}

func sortedByName(qubes map[qube.UUID]*record) []*record {
	return slices.SortedFunc(maps.Values(qubes), func(a, b *record) int { return strings.Compare(a.name.Shown(), b.name.Shown()) })
}

// parser keeps the first error of a record.
type parser struct {
	rec Record
	err error
}

func (p *parser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *parser) value(into any) {
	if err := json.Unmarshal(p.rec.Value, into); err != nil {
		p.fail(err)
	}
}

func (p *parser) text() (s string) {
	p.value(&s)
	return s
}

func parse[T any](p *parser, s string, parse func(string) (T, error)) T {
	v, err := parse(s)
	if err != nil {
		p.fail(err)
	}
	return v
}

// facts are the records that make this snapshot: what a new store is filled with.
func (s *Snapshot) facts() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		put := func(key string, v any) bool { return yield(Record{Key: key, Value: encode(v)}) }
		ok := put(hostKey, s.host)
		for _, p := range slices.SortedFunc(maps.Keys(s.globals), func(a, b qube.PropertyName) int { return strings.Compare(a.Shown(), b.Shown()) }) {
			ok = ok && put(globalKey(p), s.globals[p].Shown())
		}
		for _, l := range s.labels[qube.BuiltinLabels:] {
			ok = ok && put(labelKey(l.Name), labelFact{l.Index, l.Color.Shown()})
		}
		for r := range s.records() {
			ok = ok && put(qubeKey(r.id), qubeFact{r.name.Shown(), string(r.class), r.label.Shown(), r.qid})
			if r.runtime != (qube.Runtime{State: qube.Halted}) {
				ok = ok && put(runtimeKey(r.id), runtimeOf(r.runtime))
			}
			if r.intent.Kind != "" {
				ok = ok && put(intentKey(r.id), r.intent)
			}
			for p, v := range r.properties {
				ok = ok && put(propertyKey(r.id, p), v.Shown())
			}
			for _, f := range r.features.all() {
				ok = ok && put(featureKey(r.id, f.name), featureFact{f.place, f.value.Shown()})
			}
			for _, t := range r.tags {
				ok = ok && put(tagKey(r.id, t), true)
			}
			if r.notes != (qube.Notes{}) {
				ok = ok && put(notesKey(r.id), r.notes.Shown())
			}
			for name, v := range r.volumes {
				ok = ok && put(volumeKey(r.id, name), v)
			}
			if len(r.firewall) > 0 {
				ok = ok && put(firewallKey(r.id), linesOf(r.firewall))
			}
		}
	}
}
