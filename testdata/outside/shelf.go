package main

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"sallyport/messages/qube"
)

// language is a qube that has words for features. It never changes.
type language struct {
	qube.Plain
	words map[qube.FeatureName]qube.FeatureValue
}

func (l language) Feature(n qube.FeatureName) (qube.FeatureValue, bool) {
	word, ok := l.words[n]
	return word, ok
}

// page is one moment of all languages: a qube.View. It never changes.
type page struct {
	qube.View
	revision qube.Revision
	all      []qube.Qube
}

func (p page) Revision() qube.Revision { return p.revision }

// shelf is a qube.Book that is kept in memory.
type shelf struct {
	qube.NoEvents
	published atomic.Pointer[page]
	newest    *page // of the goroutine that fills groups
}

func newShelf(names ...string) *shelf {
	s := &shelf{newest: &page{}}
	for i, name := range names {
		n, err := qube.ParseName(name)
		check(err)
		id, err := qube.ParseUUID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1))
		check(err)
		s.newest.all = append(s.newest.all, language{Plain: qube.Plain{IsNamed: n, HasID: id, IsA: qube.AppVM}})
	}
	s.newest.View = qube.Only(s.newest.all...)
	s.published.Store(s.newest)
	return s
}

func (s *shelf) View() qube.View   { return s.published.Load() }
func (s *shelf) Begin() qube.Group { return &group{shelf: s} }

// group is changes that are published together.
type group struct {
	qube.NoEvents
	shelf *shelf
	last  *page // nil if nothing was changed
}

func (g *group) Try(change func(qube.Tx) error) error {
	t := &tx{page: *g.shelf.newest}
	if err := change(t); err != nil {
		return err
	}
	t.revision++
	g.last, g.shelf.newest = &t.page, &t.page
	return nil
}

func (g *group) Commit() error {
	if g.last != nil { // one that is to last would be written to a disk first
		g.shelf.published.Store(g.last)
	}
	return nil
}

// tx is a change in the making.
type tx struct {
	page
	qube.ReadOnly // but for features
}

func (t *tx) SetFeature(id qube.UUID, n qube.FeatureName, v qube.FeatureValue) error {
	t.all = slices.Clone(t.all)
	for i, q := range t.all {
		if l := q.(language); l.ID() == id {
			if l.words = maps.Clone(l.words); l.words == nil {
				l.words = map[qube.FeatureName]qube.FeatureValue{}
			}
			l.words[n] = v
			t.all[i] = l
		}
	}
	t.View = qube.Only(t.all...)
	return nil
}
