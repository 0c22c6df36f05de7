package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
)

// memory is a Store that keeps what it is given, until it is told to fail.
type memory struct {
	revision qube.Revision
	records  map[string]string
	fail     error // of the next Commit and all after it, as the contract says
	commits  int
}

func (m *memory) Load() (qube.Revision, iter.Seq2[Record, error], error) {
	return m.revision, func(yield func(Record, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(m.records)) {
			if !yield(Record{Key: key, Value: []byte(m.records[key])}, nil) {
				return
			}
		}
	}, nil
}

func (m *memory) Commit(base, next qube.Revision, records []Record) error {
	if m.fail != nil {
		return m.fail
	}
	if base != m.revision {
		m.fail = errors.New("a commit after a conflict")
		return ErrConflict
	}
	if m.records == nil {
		m.records = map[string]string{}
	}
	for _, r := range records {
		if r.Deleted {
			delete(m.records, r.Key)
		} else {
			m.records[r.Key] = string(r.Value)
		}
	}
	m.revision = next
	m.commits++
	return nil
}

func (m *memory) Close() error { return nil }

// opened is an inventory in store, which begins with initial if it is empty.
func opened(t require.TestingT, store Store, initial *Snapshot) *Inventory {
	inv, _, err := Open(store, func() (*Snapshot, error) { return initial, nil }, Options{})
	require.NoError(t, err)
	return inv
}

// reopened is what a daemon that starts now finds in store, which stays as it is.
func reopened(t require.TestingT, store *memory) *Inventory {
	again := opened(t, &memory{revision: store.revision, records: maps.Clone(store.records)}, nil)
	require.Equal(t, store.revision, again.View().Revision())
	return again
}

// rebuilt is the snapshot that the facts of s make.
func rebuilt(t require.TestingT, s *Snapshot) *Snapshot {
	b := newBuilder()
	for rec := range s.facts() {
		require.NoError(t, b.add(rec), rec.Key)
	}
	again, err := b.build(s.revision)
	require.NoError(t, err)
	return again
}

// dump is all that can be seen of s, in order, as text.
func dump(s *Snapshot) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	host, _ := json.Marshal(s.host)
	line("revision %d host %s", s.revision, host)
	line("globals %s", properties2text(s.globals))
	for l := range s.Labels() {
		byName, _ := s.Label(l.Name)
		byIndex, _ := s.LabelByIndex(l.Index)
		line("label %s %d %s %t", l.Shown(), l.Index, l.Color.Shown(), l == byName && l == byIndex)
	}
	for q := range s.Qubes() {
		byName, _ := s.Qube(q.Name())
		byID, _ := s.QubeByID(q.ID())
		r := q.(*record)
		line("qube %s %s %s %v %d %s %t", q.Shown(), q.ID().Shown(), q.Class(), q.Runtime(), r.qid, q.Label().Shown(), q == byName && q == byID)
		intent, open := q.Intent()
		line("  intent %v %t qid %t", intent, open, s.qids.has(r.qid))
		for by, p := range s.Referrers(q.Name()) {
			line("  named by %s as %s", by.Shown(), p.Shown())
		}
		line("  properties %s", properties2text(r.properties))
		for f, v := range q.Features() {
			found, ok := q.Feature(f)
			line("  feature %s=%q %t", f.Shown(), v.Shown(), ok && found == v)
		}
		for tag := range q.Tags() {
			line("  tag %s %t", tag.Shown(), q.HasTag(tag))
		}
		line("  notes %q", q.Notes().Shown())
		shown := func(q qube.Qube, ok bool) string {
			if !ok {
				return "-"
			}
			return q.Shown()
		}
		line("  template %s netvm %s usage %v", shown(s.Template(q)), shown(s.Netvm(q)), s.Usage(q))
	}
	return b.String()
}

func properties2text(p map[qube.PropertyName]qube.PropertyValue) string {
	var all []string
	for n, v := range p {
		all = append(all, n.Shown()+"="+v.Shown())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
