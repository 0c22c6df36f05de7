package policy

import (
	"strings"
	"sync"
)

// Compiled is a policy with an index. It decides as Policy does, in a time that hardly depends on how many rules there
// are: a rule that is asked for by name, uuid, class or keyword is found at once, and only the tags that a policy and a
// qube have in common are looked at. It never changes.
//
// Three buckets concern a request: the rules for its service and its argument, those for its service and any argument, and
// those for any service. Nothing is merged, so that the index is as large as the policy. In each bucket the rules are
// grouped by the token of their source, and in each group by that of their target; of rules with the same tokens only the
// first can ever decide. The smallest number that is found is the first match.
//
// Which way a look-up takes depends on the bytes of the word and on the rules, never on whether there is such a qube.
type Compiled struct {
	policy   *Policy
	effects  []*Effect // of each rule; rules that do the same share one, so that few are looked at and stay in the cache
	services map[string]*service
	any      *bucket // rules for any service
}

// service is the rules for one service.
type service struct {
	any       *bucket // argument
	arguments wordMap[*bucket]
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

// index finds what stands under tokens. Each of these maps and lists is empty where a policy has no such token. What most
// decisions look at stands together at the beginning.
type index[T any] struct {
	names, uuids  wordMap[T]
	types         wordMap[T]
	tags          tagged[T]
	keywords      [kinds]T   // of kinds without a value
	templates     wordMap[T] // @dispvm:NAME
	templateUUIDs wordMap[T]
	templateTags  tagged[T]
}

// tagged is what stands under tags, the one with the first rule first.
type tagged[T any] struct {
	list  []under[T]
	index wordMap[T] // if the list is long
}

type under[T any] struct {
	tag string
	at  T
}

// wordMap finds what stands under a word. Most words that are looked up are not there: their marks tell so at once, unless
// another word has the same. The zero one is empty.
type wordMap[T any] struct {
	marks uint64 // of all words
	under map[string]T
}

// mark is one bit that a word sets. What tells words apart is mostly at their ends.
func mark(word string) uint64 {
	if len(word) < 2 {
		return 1
	}
	return 1 << ((word[len(word)-1] + 11*word[len(word)-2] + 29*byte(len(word))) % 64)
}

func (w *wordMap[T]) put(word string, at T) {
	if w.under == nil {
		w.under = map[string]T{}
	}
	w.marks |= mark(word)
	w.under[word] = at
}

func (w *wordMap[T]) find(word string) (at T, found bool) {
	if w.marks&mark(word) == 0 {
		return at, false
	}
	at, found = w.under[word]
	return at, found
}

// Compile makes the index of p.
func Compile(p *Policy) *Compiled {
	c := &Compiled{policy: p, services: map[string]*service{}}
	type key struct{ service, argument string }
	cells := map[key][]cell{}
	effects := map[Effect]*Effect{}
	once := map[string]string{} // each word, copied close to the others: the rules' own lie scattered in the text of files
	word := func(s string) string {
		if _, found := once[s]; !found {
			once[s] = strings.Clone(s)
		}
		return once[s]
	}
	token := func(t Token) Token { return Token{t.Kind, word(t.Value)} }
	for i := range p.rules {
		r := &p.rules[i]
		if effects[r.Effect] == nil {
			effects[r.Effect] = &r.Effect
		}
		c.effects = append(c.effects, effects[r.Effect])
		switch r.Source.Kind {
		case DispVMName, DispVMUUID, DispVMTag:
			continue // what is to be is never a source
		}
		k := key{word(r.Service), word(r.Argument)}
		cells[k] = append(cells[k], cell{int32(i), token(r.Source), token(r.Target)})
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
		s.arguments.put(k.argument, b)
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
	for i := range x.keywords {
		x.keywords[i] = none
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
	switch t.Kind {
	case Name:
		x.names.put(t.Value, at)
	case UUID:
		x.uuids.put(t.Value, at)
	case Type:
		x.types.put(t.Value, at)
	case DispVMName:
		x.templates.put(t.Value, at)
	case DispVMUUID:
		x.templateUUIDs.put(t.Value, at)
	case Tag:
		x.tags.list = append(x.tags.list, under[T]{t.Value, at})
	case DispVMTag:
		x.templateTags.list = append(x.templateTags.list, under[T]{t.Value, at})
	default:
		x.keywords[t.Kind] = at
	}
}

// finish makes the maps of long lists.
func (x *index[T]) finish() {
	for _, t := range []*tagged[T]{&x.tags, &x.templateTags} {
		if len(t.list) <= fewTags {
			continue
		}
		for _, u := range t.list {
			t.index.put(u.tag, u.at)
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
func (c *Compiled) Allows(r Request, sys System) (target Token, ok bool) {
	var s search
	if s.resolve(r, sys) != "" {
		return Token{}, false
	}
	number := s.first(c)
	if number == none || c.effects[number].Action != Allow {
		return Token{}, false
	}
	effect, here := c.effects[number], Token{Name, dom0}
	if (effect.Redirect == here || effect.Redirect.Kind == AdminVM) && effect.Autostart { // as all rules of the Admin API say: a yes is to cost what a no costs
		if s.source.text == here {
			return Token{}, false
		}
		return here, true
	}
	var to route
	if _, why := s.follow(effect, &to); why != "" {
		return Token{}, false
	}
	return to.target.text, true
}

// Policy is what was compiled.
func (c *Compiled) Policy() *Policy { return c.policy }

// search is one search for the first rule that matches.
type search struct {
	question
	best  int32  // of those found
	lists *lists // if an index asked for tags
}

// first is the number of the rule that decides.
func (s *search) first(c *Compiled) int32 {
	s.best = none
	if service := c.services[s.Service]; service != nil {
		if b, found := service.arguments.find(s.Argument); found {
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

// lists are the tags of the source and of the target, for as long as a search lasts. They are empty until somebody asks.
type lists struct{ source, target []string }

var spare = sync.Pool{New: func() any { return new(lists) }}

// sourceTags are the tags of the source, asked for once.
func (s *search) sourceTags() []string {
	l := s.kept()
	if len(l.source) == 0 {
		l.source = s.sys.AppendTags(l.source, s.source.qube)
	}
	return l.source
}

// targetTags are those of the target, or of the template of one that is to be.
func (s *search) targetTags() []string {
	l := s.kept()
	if len(l.target) == 0 {
		l.target = s.sys.AppendTags(l.target, s.target.qube)
	}
	return l.target
}

func (s *search) kept() *lists {
	if s.lists == nil {
		s.lists = spare.Get().(*lists)
	}
	return s.lists
}

// release gives back what was borrowed.
func (s *search) release() {
	if l := s.lists; l != nil {
		clear(l.source) // strings of an inventory that may be gone soon
		clear(l.target)
		l.source, l.target = l.source[:0], l.target[:0]
		spare.Put(l)
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
	s.group(x.keywords[All])
	if p.dom0 {
		s.group(x.keywords[AdminVM])
	} else {
		s.group(x.keywords[AnyVM])
	}
	s.from(&x.names, p.name)
	s.from(&x.uuids, p.uuid)
	if !p.known {
		return
	}
	s.from(&x.types, p.qube.Class)
	if x.tags.index.under != nil {
		for _, tag := range s.sourceTags() {
			s.from(&x.tags.index, tag)
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

// from looks among rules whose source is word.
func (s *search) from(w *wordMap[*group], word string) {
	if g, found := w.find(word); found {
		s.group(g)
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
	s.found(x.keywords[All])
	if !p.dom0 {
		s.found(x.keywords[AnyVM])
	}
	switch p.text.Kind {
	case Default:
		s.found(x.keywords[Default])
	case DispVM:
		s.found(x.keywords[DispVM])
		s.to(&x.templates, p.name)
		s.tagged(&x.templateTags, p)
	case DispVMName, DispVMUUID:
		s.to(&x.templates, p.name)
		s.to(&x.templateUUIDs, p.uuid)
		s.tagged(&x.templateTags, p)
	default:
		if p.dom0 {
			s.found(x.keywords[AdminVM])
		}
		s.to(&x.names, p.name)
		s.to(&x.uuids, p.uuid)
		if p.known {
			s.to(&x.types, p.qube.Class)
		}
		s.tagged(&x.tags, p)
	}
}

func (s *search) found(rule int32) { s.best = min(s.best, rule) }

// to looks for the rule whose target is word.
func (s *search) to(w *wordMap[int32], word string) {
	if rule, found := w.find(word); found {
		s.found(rule)
	}
}

// tagged looks for the target, or the template of one that is to be, by its tags.
func (s *search) tagged(t *tagged[int32], p *party) {
	switch {
	case !p.known:
	case t.index.under != nil:
		for _, tag := range s.targetTags() {
			s.to(&t.index, tag)
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
