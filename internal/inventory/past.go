package inventory

import (
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"sallyport/messages/qube"
)

// A subscriber who was away is told what he would have been told, so it is judged on the views of that time. What a
// judgement asks is who was there: of which class, with which tags, and what they refer to. So that is all that the
// history keeps of the past: an old snapshot would keep alive whatever was large in it. Of a view of the past, a bare
// Snapshot, a change takes a few kilobytes, and only if somebody came, went, or has other tags or references now.

// someone is one qube at a moment of the past.
type someone struct {
	id   qube.UUID
	bare *record // nil: it was not there
}

// bareOf is r with what a view of the past shows of it.
func bareOf(r *record) *record {
	bare := &record{name: r.name, id: r.id, class: r.class, tags: r.tags, runtime: qube.Runtime{State: qube.Halted}}
	for _, p := range qube.References {
		if v, set := r.properties[p]; set {
			bare.properties = withProperty(bare.properties, p, v)
		}
	}
	return bare
}

// bare is s as a view of the past.
func (s *Snapshot) bare() *Snapshot {
	byName := iradix.New[*record]().Txn()
	for r := range s.records() {
		byName.Insert([]byte(r.name.Shown()), bareOf(r))
	}
	return &Snapshot{revision: s.revision, byName: byName.Commit(), byID: s.byID}
}

// who says who these are in s.
func (s *Snapshot) who(ids []qube.UUID) []someone {
	all := make([]someone, len(ids))
	for i, id := range ids {
		all[i].id = id
		if r, there := s.find(id); there {
			all[i].bare = bareOf(r)
		}
	}
	return all
}

// amended is a view of the past at another time, when these were others.
func (s *Snapshot) amended(others []someone, at qube.Revision) *Snapshot {
	byName, byID := s.byName.Txn(), s.byID.Txn()
	for _, o := range others { // all leave before any comes, since one may have the name that another had
		if r, there := s.find(o.id); there {
			byName.Delete([]byte(r.name.Shown()))
			byID.Delete([]byte(o.id.Shown()))
		}
	}
	for _, o := range others {
		if o.bare != nil {
			byName.Insert([]byte(o.bare.name.Shown()), o.bare)
			byID.Insert([]byte(o.id.Shown()), o.bare.name)
		}
	}
	return &Snapshot{revision: at, byName: byName.Commit(), byID: byID.Commit()}
}

// someoneFact is someone in a store.
type someoneFact struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"` // empty: it was not there
	Class      string            `json:"class,omitempty"`
	Tags       []string          `json:"tags,omitempty"`
	References map[string]string `json:"refs,omitempty"`
}

func (s someone) fact() someoneFact {
	f := someoneFact{ID: s.id.Shown()}
	if s.bare == nil {
		return f
	}
	f.Name, f.Class, f.Tags = s.bare.name.Shown(), s.bare.class.Shown(), s.bare.AppendTags(nil)
	for p, v := range s.bare.properties {
		if f.References == nil {
			f.References = map[string]string{}
		}
		f.References[p.Shown()] = v.Shown()
	}
	return f
}

func (f someoneFact) someone(p *parser) someone {
	s := someone{id: parse(p, f.ID, qube.ParseUUID)}
	if f.Name == "" {
		return s
	}
	s.bare = &record{
		name: parse(p, f.Name, qube.ParseName), id: s.id, class: qube.Class(f.Class), runtime: qube.Runtime{State: qube.Halted},
	}
	if !slices.Contains(qube.Classes, s.bare.class) {
		p.fail(qube.ErrGrammar)
	}
	for _, t := range f.Tags {
		s.bare.tags = append(s.bare.tags, parse(p, t, qube.ParseTag))
	}
	slices.SortFunc(s.bare.tags, func(a, b qube.Tag) int { return strings.Compare(a.Shown(), b.Shown()) })
	for name, v := range f.References {
		s.bare.properties = withProperty(s.bare.properties, parse(p, name, qube.ParsePropertyName), parse(p, v, qube.ParsePropertyValue))
	}
	return s
}
