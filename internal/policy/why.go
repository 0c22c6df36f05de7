package policy

import (
	"slices"
	"strings"
)

// Explanation is why a request is decided as it is.
type Explanation struct {
	Decision
	Misses []Miss // rules that would have decided, but for one field; in order
	Change *Change
}

// Miss is a rule that all fields of a request match but one.
type Miss struct {
	Rule  *Rule
	Field string // service, argument, source or target
}

// Change is the smallest one to a policy after which a request is decided otherwise: one line more.
type Change struct {
	Line   string
	Before *Rule // nil: behind all rules
	Then   Decision
}

// Explain says why p decides a request as it does. There is no Change for what was denied before any rule, nor for what
// no line can name.
func Explain(p *Policy, r Request, sys System) Explanation {
	e := Explanation{Decision: p.Decide(r, sys)}
	var q question
	if q.resolve(r, sys) != "" {
		return e
	}
	last := len(p.rules)
	for i := range p.rules {
		if &p.rules[i] == e.Rule {
			last = i
			break
		}
		if field := q.misses(&p.rules[i]); field != "" {
			e.Misses = append(e.Misses, Miss{&p.rules[i], field})
		}
	}
	e.Change = p.change(&q, e.Decision, last)
	return e
}

// misses is the only field of r that q does not match; empty if it is not only one.
func (q *question) misses(r *Rule) (field string) {
	for _, f := range []struct {
		name    string
		matches bool
	}{
		{"service", r.Service == "*" || r.Service == q.Service},
		{"argument", r.Argument == "*" || r.Argument == q.Argument},
		{"source", q.sourceIs(r.Source)},
		{"target", q.targetIs(r.Target)},
	} {
		switch {
		case f.matches:
		case field != "":
			return ""
		default:
			field = f.name
		}
	}
	return field
}

// change looks for a line in front of the rule with that number that changes d: it denies what was allowed, and allows
// anything else, a call of the Admin API by leading it to dom0 (spec: policy.md 5).
func (p *Policy) change(q *question, d Decision, number int) *Change {
	effects := []string{"deny"}
	if d.Verdict != Allow {
		effects = []string{"allow", "allow target=" + dom0}
		if strings.HasPrefix(q.Service, "admin.") {
			effects = effects[1:]
		}
	}
	arguments := []string{q.Argument, "*"} // not every argument can be written
	for _, argument := range arguments {
		for _, effect := range effects {
			line := strings.Join([]string{q.Service, argument, q.source.text.String(), q.target.text.String(), effect}, " ")
			one, err := Parse("line", line)
			if err != nil || len(one.rules) != 1 {
				continue
			}
			with := &Policy{rules: slices.Insert(slices.Clone(p.rules), number, one.rules[0])}
			then := with.Decide(q.Request, q.sys)
			if then.Verdict == d.Verdict {
				continue
			}
			c := &Change{Line: line, Then: then}
			if number < len(p.rules) {
				c.Before = &p.rules[number]
			}
			return c
		}
	}
	return nil
}
