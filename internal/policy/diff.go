package policy

import "slices"

// Difference is a kind of request that two policies decide differently: the rules that decide it, and a witness.
type Difference struct {
	Old, New *Rule // nil: no rule, which denies
	Witness  *World
	Was, Is  Decision // in the witness
}

// MaxWorlds is how many worlds and pairs of rules Diff tries. Policies of some thousand rules that have hardly a rule in common reach it.
const MaxWorlds = 4_000_000

// Diff finds the decisions that change from one policy to another: each pair of rules of which one decided and another
// decides now, with another effect, once. complete is false if MaxWorlds was reached before everything was tried. Not
// told is what changes only in the targets that a person is offered by a rule that asks as it did.
//
// Rules that both policies have, in the same order, can not change a decision between themselves: were the one asked
// first before, it would be asked first now. So a changed decision has a rule of its own on one side at least.
func Diff(before, after *Policy) (all []Difference, complete bool) {
	old, new := Compile(before), Compile(after)
	s, tried := strangeTo(before, after), 0
	seen := map[[2]int32]bool{}
	try := func(rules ...*Rule) (more bool) {
		tried++ // most rules have no world in common, which takes time too
		for w := range worlds(s, rules...) {
			if tried++; tried > MaxWorlds {
				return false
			}
			was, is := old.decider(w), new.decider(w)
			pair := [2]int32{was, is}
			if seen[pair] || before.effect(was) == after.effect(is) {
				continue
			}
			seen[pair] = true
			d := Difference{Old: before.rule(was), New: after.rule(is), Witness: w}
			d.Was, d.Is = before.Decide(w.Request, w.System()), after.Decide(w.Request, w.System())
			all = append(all, d)
		}
		return tried <= MaxWorlds
	}
	removed, added := unlike(before.rules, after.rules)
	for _, one := range []struct {
		changed []*Rule
		others  *Policy
	}{{removed, after}, {added, before}} {
		others := one.others.byService()
		for _, r := range one.changed {
			if !try(r) {
				return all, false
			}
			for _, o := range others.meeting(r) {
				if o.Effect != r.Effect && !try(r, o) {
					return all, false
				}
			}
		}
	}
	return all, true
}

// rule is the rule with that number; nil if it is none's.
func (p *Policy) rule(number int32) *Rule {
	if number == none {
		return nil
	}
	return &p.rules[number]
}

// effect is what follows from the rule with that number. No rule denies.
func (p *Policy) effect(number int32) Effect {
	if r := p.rule(number); r != nil {
		return r.Effect
	}
	return Deny.plain()
}

// services are the rules of a policy by their service.
type services map[string][]*Rule

func (p *Policy) byService() services {
	s := services{}
	for i := range p.rules {
		r := &p.rules[i]
		s[r.Service] = append(s[r.Service], r)
		if r.Service != "*" {
			s[""] = append(s[""], r) // all that are for one service
		}
	}
	return s
}

// meeting are the rules that may match what r matches.
func (s services) meeting(r *Rule) []*Rule {
	if r.Service == "*" {
		return slices.Concat(s["*"], s[""])
	}
	return slices.Concat(s["*"], s[r.Service])
}

// unlike are the rules that only one of two lists has, when as many as can be found quickly are taken to be the same in
// both, in the same order.
func unlike(old, new []Rule) (removed, added []*Rule) {
	start := 0
	for start < min(len(old), len(new)) && old[start].Same(&new[start]) {
		start++
	}
	end := 0
	for end < min(len(old), len(new))-start && old[len(old)-1-end].Same(&new[len(new)-1-end]) {
		end++
	}
	old, new = old[start:len(old)-end], new[start:len(new)-end]

	// In between, the longest increasing run of rules that both have, each at its first place.
	at := map[Rule]int{}
	for i := range new {
		if k := new[i].bare(); at[k] == 0 {
			at[k] = i + 1
		}
	}
	var ends []int // ends[n]: the old rule with which the best run of n+1 ends
	place, previous := make([]int, len(old)), make([]int, len(old))
	for i := range old {
		k := old[i].bare()
		place[i] = at[k]
		delete(at, k)
		if place[i] == 0 {
			continue
		}
		n, _ := slices.BinarySearchFunc(ends, place[i], func(j, want int) int { return place[j] - want })
		previous[i] = -1
		if n > 0 {
			previous[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		} else {
			ends[n] = i
		}
	}
	keptOld, keptNew := make([]bool, len(old)), make([]bool, len(new))
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = previous[i] {
			keptOld[i], keptNew[place[i]-1] = true, true
		}
	}
	return left(old, keptOld), left(new, keptNew)
}

func left(rules []Rule, kept []bool) (all []*Rule) {
	for i := range rules {
		if !kept[i] {
			all = append(all, &rules[i])
		}
	}
	return all
}
