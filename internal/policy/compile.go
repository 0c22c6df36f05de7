package policy

import "sync"

// Compiled is a policy with an index. It decides as Policy does, in a time that hardly depends on how many rules there
// are: a rule that is asked for by name, uuid, class or keyword is found at once, and only the tags that a policy and a
// qube have in common are looked at. It never changes.
//
// Three buckets concern a request: the rules for its service and its argument, those for its service and any argument, and
// those for any service. Nothing is merged, so that the index is as large as the policy. In each bucket the rules are
// grouped by the token of their source, and in each group by that of their target; of rules with the same tokens only the
// first can ever decide. The smallest number that is found is the first match.
type Compiled struct {
	policy   *Policy
	services map[string]*service
	any      *bucket // rules for any service
}

// service is the rules for one service.
type service struct {
	any       *bucket // argument
	arguments map[string]*bucket
}

// none is the number of no rule: behind all.
const none = int32(1<<31 - 1)

// few is how many rules or tags are asked one after the other, since a look-up costs as much.
const few, fewTags = 8, 2

// bucket is some rules for the same service and argument, in order. There are few, or they have an index.
type bucket struct {
	few      []cell
	bySource *index[*group]
}

// cell is a rule's number and what it asks.
type cell struct {
	rule           int32
	source, target Token
}

// group is the rules of a bucket that have the same source.
type group struct {
	few      []cell
	byTarget *index[int32]
}

// index finds what stands under tokens. Each of these maps and lists is empty where a policy has no such token.
type index[T any] struct {
	words         [kinds]T // of kinds without a value
	names, uuids  map[string]T
	types         map[string]T
	templates     map[string]T // @dispvm:NAME
	templateUUIDs map[string]T
	tags          tagged[T]
	templateTags  tagged[T]
}

// tagged is what stands under tags, the one with the first rule first.
type tagged[T any] struct {
	list  []under[T]
	index map[string]T // if the list is long
}

type under[T any] struct {
	tag string
	at  T
}

// Compile makes the index of p.
func Compile(p *Policy) *Compiled {
	c := &Compiled{policy: p, services: map[string]*service{}}
	type key struct{ service, argument string }
	cells := map[key][]cell{}
	for i := range p.rules {
		r := &p.rules[i]
		switch r.Source.Kind {
		case DispVMName, DispVMUUID, DispVMTag:
			continue // what is to be is never a source
		}
		k := key{r.Service, r.Argument}
		cells[k] = append(cells[k], cell{int32(i), r.Source, r.Target})
	}
	for k, list := range cells {
		b := newBucket(list)
		if k.service == "*" {
			c.any = b
			continue
		}
		s := c.services[k.service]
		if s == nil {
			s = &service{}
			c.services[k.service] = s
		}
		if k.argument == "*" {
			s.any = b
			continue
		}
		if s.arguments == nil {
			s.arguments = map[string]*bucket{}
		}
		s.arguments[k.argument] = b
	}
	return c
}

func newBucket(list []cell) *bucket {
	if list = distinct(list); len(list) <= few {
		return &bucket{few: list}
	}
	sources, order := map[Token][]cell{}, []Token(nil)
	for _, c := range list {
		if sources[c.source] == nil {
			order = append(order, c.source)
		}
		sources[c.source] = append(sources[c.source], c)
	}
	x := &index[*group]{}
	for _, t := range order {
		x.add(t, newGroup(sources[t]))
	}
	x.finish()
	return &bucket{bySource: x}
}

func newGroup(list []cell) *group {
	if len(list) <= few {
		return &group{few: list}
	}
	x := &index[int32]{}
	for i := range x.words {
		x.words[i] = none
	}
	for _, c := range list {
		x.add(c.target, c.rule)
	}
	x.finish()
	return &group{byTarget: x, few: list[:1]}
}

// distinct drops rules that ask what an earlier one asks.
func distinct(list []cell) []cell {
	type pair struct{ source, target Token }
	seen, kept := make(map[pair]bool, len(list)), list[:0]
	for _, c := range list {
		if p := (pair{c.source, c.target}); !seen[p] {
			seen[p] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// add puts what stands under t, which nothing stands under yet.
func (x *index[T]) add(t Token, at T) {
	put := func(m *map[string]T) {
		if *m == nil {
			*m = map[string]T{}
		}
		(*m)[t.Value] = at
	}
	switch t.Kind {
	case Name:
		put(&x.names)
	case UUID:
		put(&x.uuids)
	case Type:
		put(&x.types)
	case DispVMName:
		put(&x.templates)
	case DispVMUUID:
		put(&x.templateUUIDs)
	case Tag:
		x.tags.list = append(x.tags.list, under[T]{t.Value, at})
	case DispVMTag:
		x.templateTags.list = append(x.templateTags.list, under[T]{t.Value, at})
	default:
		x.words[t.Kind] = at
	}
}

// finish makes the maps of long lists.
func (x *index[T]) finish() {
	for _, t := range []*tagged[T]{&x.tags, &x.templateTags} {
		if len(t.list) <= fewTags {
			continue
		}
		t.index = make(map[string]T, len(t.list))
		for _, u := range t.list {
			t.index[u.tag] = u.at
		}
	}
}

// Decide is Policy.Decide.
func (c *Compiled) Decide(r Request, sys System) Decision {
	var s search
	if why := s.resolve(r, sys); why != "" {
		return s.deny(AtRequest, why, nil)
	}
	number := s.first(c)
	if number == none {
		return s.deny(NoRule, NoRuleMatches, nil)
	}
	return c.policy.conclude(&s.question, &c.policy.rules[number])
}

// Allows says whether a request is allowed without asking anybody, and for which target: what filters and calls that
// nobody waits at want to know (spec: policy.md 5). It allocates nothing, unless sys does.
// A call through a relay, which is written anew, is the exception.
func (c *Compiled) Allows(r Request, sys System) (target Token, ok bool) {
	var s search
	if s.resolve(r, sys) != "" {
		return Token{}, false
	}
	number := s.first(c)
	if number == none || c.policy.rules[number].Action != Allow {
		return Token{}, false
	}
	d := s.allow(&c.policy.rules[number])
	return d.Target, d.Verdict == Allow
}

// Policy is what was compiled.
func (c *Compiled) Policy() *Policy { return c.policy }

// search is one search for the first rule that matches.
type search struct {
	question
	best       int32 // of those found
	sourceTags *tags // if a long list asked for them
	targetTags *tags
}

// first is the number of the rule that decides.
func (s *search) first(c *Compiled) int32 {
	s.best = none
	if service := c.services[s.Service]; service != nil {
		if b := service.arguments[s.Argument]; b != nil {
			s.bucket(b)
		}
		if service.any != nil {
			s.bucket(service.any)
		}
	}
	if c.any != nil {
		s.bucket(c.any)
	}
	s.release()
	return s.best
}

// tags are a qube's tags, for as long as a search lasts.
type tags struct{ all []string }

var spare = sync.Pool{New: func() any { return new(tags) }}

// of gives q's tags, and keeps them at kept.
func (s *search) of(q Qube, kept **tags) []string {
	if *kept == nil {
		*kept = spare.Get().(*tags)
		(*kept).all = s.sys.AppendTags((*kept).all[:0], q)
	}
	return (*kept).all
}

func (s *search) release() {
	for _, t := range []*tags{s.sourceTags, s.targetTags} {
		if t != nil {
			clear(t.all) // strings of an inventory that may be gone soon
			spare.Put(t)
		}
	}
}

func (s *search) bucket(b *bucket) {
	for i := range b.few {
		c := &b.few[i]
		if c.rule >= s.best {
			return
		}
		if s.sourceIs(c.source) && s.targetIs(c.target) {
			s.best = c.rule
			return
		}
	}
	x := b.bySource
	if x == nil {
		return
	}
	p := &s.source
	s.group(x.words[All])
	if p.dom0 {
		s.group(x.words[AdminVM])
	} else {
		s.group(x.words[AnyVM])
	}
	s.group(x.names[p.name])
	if len(x.uuids) > 0 {
		s.group(x.uuids[p.uuid])
	}
	if !p.known {
		return
	}
	if len(x.types) > 0 {
		s.group(x.types[p.qube.Class])
	}
	if x.tags.index != nil {
		for _, tag := range s.of(p.qube, &s.sourceTags) {
			s.group(x.tags.index[tag])
		}
		return
	}
	for i := range x.tags.list {
		u := &x.tags.list[i]
		if u.at.few[0].rule >= s.best {
			return
		}
		if s.sys.HasTag(p.qube, u.tag) {
			s.group(u.at)
		}
	}
}

// group looks for the target among rules whose source is the right one.
func (s *search) group(g *group) {
	if g == nil || g.few[0].rule >= s.best {
		return
	}
	x := g.byTarget
	if x == nil {
		for i := range g.few {
			c := &g.few[i]
			if c.rule >= s.best {
				return
			}
			if s.targetIs(c.target) {
				s.best = c.rule
				return
			}
		}
		return
	}
	p := &s.target
	s.found(x.words[All])
	if !p.dom0 {
		s.found(x.words[AnyVM])
	}
	switch p.text.Kind {
	case Default:
		s.found(x.words[Default])
	case DispVM:
		s.found(x.words[DispVM])
		s.under(x.templates, p.name)
		s.tagged(&x.templateTags, p)
	case DispVMName, DispVMUUID:
		s.under(x.templates, p.name)
		s.under(x.templateUUIDs, p.uuid)
		s.tagged(&x.templateTags, p)
	default:
		if p.dom0 {
			s.found(x.words[AdminVM])
		}
		s.under(x.names, p.name)
		s.under(x.uuids, p.uuid)
		if p.known {
			s.under(x.types, p.qube.Class)
		}
		s.tagged(&x.tags, p)
	}
}

func (s *search) found(rule int32) { s.best = min(s.best, rule) }

func (s *search) under(m map[string]int32, value string) {
	if len(m) > 0 {
		if rule, ok := m[value]; ok {
			s.found(rule)
		}
	}
}

// tagged looks for the target, or the template of one that is to be, by its tags.
func (s *search) tagged(t *tagged[int32], p *party) {
	switch {
	case !p.known:
	case t.index != nil:
		for _, tag := range s.of(p.qube, &s.targetTags) {
			s.under(t.index, tag)
		}
	default:
		for i := range t.list {
			u := &t.list[i]
			if u.at >= s.best {
				return
			}
			if s.sys.HasTag(p.qube, u.tag) {
				s.best = u.at
				return
			}
		}
	}
}
