package policy

import "slices"

// Reach is whether a rule can decide at all.
type Reach struct {
	Rule    *Rule
	Witness *World  // in which it decides; nil: it never does, whatever qubes there are
	By      []*Rule // without a Witness: the rules that decide in its place, in their order; none: nothing ever matches it
}

// Reaches gives for each rule of p a witness, or the rules that hide it. It is exact: a rule without a witness decides
// nothing in any system.
func Reaches(p *Policy) []Reach {
	c, s, all := Compile(p), strangeTo(p), make([]Reach, len(p.rules))
	dead := map[Rule][]int32{} // what hides rules that match the same
	for i := range p.rules {
		r := &all[i]
		r.Rule = &p.rules[i]
		matches := r.Rule.bare()
		matches.Effect = Effect{}
		hiders, known := dead[matches]
		if known {
			r.By = p.numbered(hiders)
			continue
		}
		for w := range worlds(s, r.Rule) {
			first := c.decider(w)
			if first == int32(i) {
				r.Witness = w
				break
			}
			if !slices.Contains(hiders, first) {
				hiders = append(hiders, first)
			}
		}
		if r.Witness == nil {
			slices.Sort(hiders)
			dead[matches] = hiders
			r.By = p.numbered(hiders)
		}
	}
	return all
}

func (p *Policy) numbered(numbers []int32) (rules []*Rule) {
	for _, n := range numbers {
		rules = append(rules, &p.rules[n])
	}
	return rules
}

// decider is the number of the first rule that matches in w.
func (c *Compiled) decider(w *World) int32 {
	var s search
	if s.resolve(w.Request, w.System()) != "" {
		return none
	}
	return s.first(c)
}

// Defect is what is wrong with a rule that loads.
type Defect string

// The defects.
const (
	Hidden         Defect = "hidden"          // other rules decide in its place
	Impossible     Defect = "impossible"      // no request matches it
	UnknownService Defect = "unknown-service" // that nobody offers
	UnknownName    Defect = "unknown-name"    // of a qube that is not
	UnknownTag     Defect = "unknown-tag"     // that no qube has
	UnknownClass   Defect = "unknown-class"   // that no qube can be of
	NotATemplate   Defect = "not-a-template"  // @dispvm: of a qube that is no disposable template
)

// Finding is one defect of one rule.
type Finding struct {
	Defect Defect
	Rule   *Rule
	Word   string  // Unknown...: what is not known
	By     []*Rule // Hidden: by these
	// Offers says of a Hidden rule that it may still change what a person is offered by a rule that asks: without it, the
	// rule does nothing at all (spec: policy.md 4.8).
	Offers bool
}

// Knowledge is what Lint may compare a policy with; what is not given is not compared.
type Knowledge struct {
	Service func(name string) bool // whether there is such a service
	System  System
}

// Lint finds what is wrong with the rules of p, in their order. It is exact: what it finds is so.
func Lint(p *Policy, k Knowledge) (all []Finding) {
	asks := asking(p)
	look := newLook(k.System)
	for _, reach := range Reaches(p) {
		r := reach.Rule
		switch {
		case reach.Witness != nil:
		case len(reach.By) > 0:
			all = append(all, Finding{Defect: Hidden, Rule: r, By: reach.By, Offers: asks.offers(r)})
		default:
			all = append(all, Finding{Defect: Impossible, Rule: r})
		}
		if k.Service != nil && r.Service != "*" && !k.Service(r.Service) {
			all = append(all, Finding{Defect: UnknownService, Rule: r, Word: r.Service})
		}
		for _, t := range []Token{r.Source, r.Target, r.Redirect, r.DefaultTarget} {
			if d := look.defect(t); d != "" {
				all = append(all, Finding{Defect: d, Rule: r, Word: t.String()})
			}
		}
	}
	return all
}

// asked are the services and arguments of rules that ask, and let a person choose from what other rules name.
type asked []binding

func asking(p *Policy) (all asked) {
	seen := map[binding]bool{}
	for i := range p.rules {
		r := &p.rules[i]
		if b := (binding{r.Service, r.Argument}); r.Action == Ask && r.Redirect.IsZero() && !seen[b] {
			seen[b] = true
			all = append(all, b)
		}
	}
	return all
}

// offers says whether a rule may count where one of them asks.
func (a asked) offers(r *Rule) bool {
	meet := func(a, b string) bool { return a == b || a == "*" || b == "*" }
	return slices.ContainsFunc(a, func(b binding) bool { return meet(b.service, r.Service) && meet(b.argument, r.Argument) })
}

// look knows a system by what rules name.
type look struct {
	sys  System
	tags map[string]bool
}

func newLook(sys System) look {
	l := look{sys, map[string]bool{}}
	if sys == nil {
		return l
	}
	for q := range sys.Qubes() {
		for _, tag := range sys.AppendTags(nil, q) {
			l.tags[tag] = true
		}
	}
	return l
}

// defect is what is wrong with a token, if anything is.
func (l *look) defect(t Token) Defect {
	if t.Kind == Type && !slices.Contains(Classes, t.Value) {
		return UnknownClass
	}
	if l.sys == nil || t.IsZero() {
		return ""
	}
	switch t.Kind {
	case Name, UUID:
		if p := find(t, l.sys); !p.known && !p.dom0 {
			return UnknownName
		}
	case DispVMName, DispVMUUID:
		p := find(t.template(), l.sys)
		if !p.known {
			return UnknownName
		}
		if !l.sys.DisposableTemplate(p.qube) {
			return NotATemplate
		}
	case Tag, DispVMTag:
		if !l.tags[t.Value] {
			return UnknownTag
		}
	}
	return ""
}
