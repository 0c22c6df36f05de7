package policy

import (
	"iter"
	"slices"
	"strconv"
)

// World is the least that has to be for a request to be decided in some way: a few qubes, and the request. The analysis
// makes one to prove that something can happen.
type World struct {
	Qubes   []Facts
	Request Request
}

// System is the qubes of the world.
func (w *World) System() *Table { return NewTable(w.Qubes...) }

// strange are words that no rule of some policies has, and the classes that make a difference to them: those that they
// name, and one that they do not.
type strange struct {
	service, argument, source, target, sourceUUID, targetUUID string
	classes                                                   []string
}

func strangeTo(policies ...*Policy) strange {
	known := map[string]bool{}
	for _, p := range policies {
		for i := range p.rules {
			r := &p.rules[i]
			for _, word := range []string{r.Service, r.Argument, r.Source.Value, r.Target.Value, r.Redirect.Value, r.DefaultTarget.Value} {
				known[word] = true
			}
		}
	}
	other := func(word string) string {
		free := word
		for n := 2; known[free]; n++ {
			free = word + strconv.Itoa(n)
		}
		return free
	}
	id := func(n int) string {
		for ; ; n += 2 {
			if u := "ffffffff-0000-4000-8000-" + strconv.Itoa(100_000_000_000+n); !known[u] {
				return u
			}
		}
	}
	var classes []string
	unnamed := false
	for _, class := range Classes {
		if class != adminVM && (known[class] || !unnamed) {
			classes, unnamed = append(classes, class), unnamed || !known[class]
		}
	}
	return strange{other("other.Service"), other("+other"), other("some-source"), other("some-target"), id(1), id(2), classes}
}

// worlds are all ways in which one request can match all of the rules, the least of each: nobody has a tag, a name or a
// property that the rules do not ask for. A rule that matches in such a world matches in every world in which the request
// takes that way, since a rule asks for what is there and never for what is not. So if something can be first to match in
// any world, it is first in one of these: that is what makes the analysis exact. A qube has exactly one class, so each is
// tried that
// makes a difference.
func worlds(s strange, rules ...*Rule) iter.Seq[*World] {
	return func(yield func(*World) bool) {
		service, argument := "*", "*"
		for _, r := range rules {
			if !agree(&service, r.Service, "*") || !agree(&argument, r.Argument, "*") {
				return
			}
		}
		agree(&service, s.service, "*")
		agree(&argument, s.argument, "*")
		for _, source := range s.sources(rules) {
			for _, target := range s.targets(rules) {
				if w := s.world(source, target); w != nil {
					w.Request.Service, w.Request.Argument = service, argument
					if !yield(w) {
						return
					}
				}
			}
		}
	}
}

// agree makes *have what want says, unless either is open or they are alike already.
func agree(have *string, want, open string) bool {
	if *have == open {
		*have = want
	}
	return want == open || *have == want
}

// shape is what rules ask of one qube. Empty is whatever there is.
type shape struct {
	dom0              bool
	name, uuid, class string
	tags              []string
}

// asks adds what a token asks of a qube; false if no such qube is that.
func (s *shape) asks(t Token) bool {
	switch t.Kind {
	case All:
		return true
	case AnyVM:
		return !s.dom0
	case AdminVM:
		return s.dom0
	case Name:
		return !s.dom0 && agree(&s.name, t.Value, "")
	case UUID:
		return !s.dom0 && agree(&s.uuid, t.Value, "")
	case Type:
		return s.dom0 == (t.Value == adminVM) && slices.Contains(Classes, t.Value) && agree(&s.class, t.Value, "")
	case Tag:
		s.tags = append(s.tags, t.Value)
		return true
	}
	return false
}

// each is s with each class that it may be of.
func (s shape) each(classes []string) (all []shape) {
	if s.dom0 {
		s.name, s.uuid, s.class = dom0, dom0UUID, adminVM
	}
	if s.class != "" {
		return []shape{s}
	}
	for _, s.class = range classes {
		all = append(all, s)
	}
	return all
}

// sources are the qubes that all rules have as a source.
func (s strange) sources(rules []*Rule) (all []shape) {
next:
	for _, q := range []shape{{}, {dom0: true}} {
		for _, r := range rules {
			if !q.asks(r.Source) {
				continue next
			}
		}
		all = append(all, q.each(s.classes)...)
	}
	return all
}

// aim is a way to write a target.
type aim struct {
	kind      Kind  // Name, AdminVM, Default, DispVM, DispVMName
	qube      shape // of Name and DispVMName; of DispVM the default, if it has a name
	defaulted bool  // DispVM: the source has a default
}

// asks adds what the target of a rule asks.
func (a *aim) asks(t Token) bool {
	if a.kind == Name {
		return a.qube.asks(t)
	}
	switch t.Kind {
	case All:
		return true
	case AnyVM:
		return a.kind != AdminVM
	case AdminVM, Default, DispVM:
		return a.kind == t.Kind
	case DispVMName:
		return (a.kind == DispVMName || a.defaulted) && agree(&a.qube.name, t.Value, "")
	case DispVMUUID:
		return a.kind == DispVMName && agree(&a.qube.uuid, t.Value, "")
	case DispVMTag:
		a.qube.tags = append(a.qube.tags, t.Value)
		return a.kind == DispVMName || a.defaulted
	}
	return false
}

// targets are the targets that all rules have.
func (s strange) targets(rules []*Rule) (all []aim) {
next:
	for _, a := range []aim{{kind: Name}, {kind: AdminVM}, {kind: Default}, {kind: DispVM}, {kind: DispVM, defaulted: true}, {kind: DispVMName}, {kind: Name, qube: shape{dom0: true}}} {
		for _, r := range rules {
			if !a.asks(r.Target) {
				continue next
			}
		}
		if a.kind != Name {
			all = append(all, a)
			continue
		}
		for _, a.qube = range a.qube.each(s.classes) {
			all = append(all, a)
		}
	}
	return all
}

// world puts a source and a target into one; nil if they can not both be.
func (s strange) world(source shape, a aim) *World {
	admin := Facts{Name: dom0, UUID: dom0UUID, Class: adminVM, PowerState: "Running"}
	from := Facts{Name: fill(source.name, s.source), UUID: fill(source.uuid, s.sourceUUID), Class: source.class, Tags: source.tags, PowerState: "Running"}
	caller := &from
	if source.dom0 {
		admin.Tags = source.tags
		caller = &admin
	}
	w := &World{Request: Request{Target: words[a.kind]}}
	to := Facts{Name: fill(a.qube.name, s.target), UUID: fill(a.qube.uuid, s.targetUUID), Class: a.qube.class, Tags: a.qube.tags, PowerState: "Running"}
	there := &to
	switch {
	case a.kind == AdminVM || a.kind == Default || a.kind == DispVM && !a.defaulted:
		there = nil
	case a.qube.dom0 || to.Name == dom0 || to.UUID == dom0UUID:
		if a.kind != Name && (a.kind != DispVM || len(to.Tags) > 0) {
			return nil // dom0 is no template for disposables
		}
		there = &admin
	case to.Name == from.Name || to.UUID == from.UUID: // one of them asked for by the rules: it is the same qube
		name, id := source.name, source.uuid
		if !agree(&name, a.qube.name, "") || !agree(&id, a.qube.uuid, "") || a.kind == Name && source.class != a.qube.class {
			return nil
		}
		from.Name, from.UUID = fill(name, s.source), fill(id, s.sourceUUID)
		there = &from
	}
	if there != nil && there != &to {
		there.Tags = slices.Concat(there.Tags, to.Tags)
	}
	switch a.kind {
	case Name:
		w.Request.Target = there.Name
	case DispVM:
		if a.defaulted {
			caller.DefaultDispVM = there.Name
			there.DisposableTemplate = there != &admin
		}
	case DispVMName:
		w.Request.Target = disposable(there.Name).String()
		there.DisposableTemplate = true
	}
	w.Request.Source = caller.Name
	w.Qubes = []Facts{admin}
	if caller == &from {
		w.Qubes = append(w.Qubes, from)
	}
	if there == &to {
		to.Class = fill(to.Class, Classes[0])
		w.Qubes = append(w.Qubes, to)
	}
	return w
}

func fill(word, empty string) string {
	if word == "" {
		return empty
	}
	return word
}
