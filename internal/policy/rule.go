// Package policy is the qrexec policy language: it loads rules, decides by them, and explains what it decides (spec:
// policy.md 1, 2, 3, 4).
//
//	files ─Load→ Policy ─Compile→ Compiled ─Decide, Allows→ Decision
//	                └──Why, Lint, Diff: for the operator
//
// A Policy and a Compiled never change, and may be used by many goroutines. Neither knows which qubes there are: every
// decision asks a System, so that it is right the instant a tag changes. The package opens nothing but what Load is handed,
// prints nothing, and knows no daemon.
package policy

import (
	"strconv"
	"strings"
)

// Kind is what a Token is.
type Kind uint8

// The kinds of tokens.
const (
	Name       Kind = iota // a qube's name, which nobody has checked; dom0 only in requests and results
	UUID                   // uuid:VALUE
	AdminVM                // @adminvm, dom0
	AnyVM                  // @anyvm
	All                    // *
	Default                // @default
	Type                   // @type:VALUE
	Tag                    // @tag:VALUE
	DispVM                 // @dispvm
	DispVMName             // @dispvm:VALUE
	DispVMUUID             // @dispvm:uuid:VALUE
	DispVMTag              // @dispvm:@tag:VALUE
	kinds                  // how many there are
)

// words are how tokens are written: a whole word, or what stands before the value.
var words = [kinds]string{
	Name: "", UUID: "uuid:", AdminVM: "@adminvm", AnyVM: "@anyvm", All: "*", Default: "@default", Type: "@type:", Tag: "@tag:",
	DispVM: "@dispvm", DispVMName: "@dispvm:", DispVMUUID: "@dispvm:uuid:", DispVMTag: "@dispvm:@tag:",
}

// valued are the kinds that have a value; the longer prefix comes first. Whatever has none of the prefixes is a name.
var valued = []Kind{DispVMTag, DispVMUUID, DispVMName, UUID, Type, Tag}

// Token names one qube, several, or one that is to be. The zero Token names nothing, and stands for a parameter that was
// not given.
type Token struct {
	Kind  Kind
	Value string
}

const dom0, dom0UUID = "dom0", "00000000-0000-0000-0000-000000000000"

// String is how the token is written.
func (t Token) String() string { return words[t.Kind] + t.Value }

// IsZero says that the token names nothing.
func (t Token) IsZero() bool { return t == Token{} }

// isDom0 says whether t is one of the words for dom0.
func (t Token) isDom0() bool {
	return t.Kind == AdminVM || t.Kind == Name && t.Value == dom0 || t.Kind == UUID && t.Value == dom0UUID
}

// named is the token for a word that is a name or a uuid: whatever has no other meaning.
func named(word string) Token {
	if value, ok := strings.CutPrefix(word, words[UUID]); ok {
		return Token{UUID, value}
	}
	return Token{Name, word}
}

// disposable is the token for a new disposable of the template that word names.
func disposable(word string) Token {
	if value, ok := strings.CutPrefix(word, words[UUID]); ok {
		return Token{DispVMUUID, value}
	}
	return Token{DispVMName, word}
}

// template is the token of the template of a DispVMName or DispVMUUID.
func (t Token) template() Token {
	if t.Kind == DispVMUUID {
		return Token{UUID, t.Value}
	}
	return Token{Name, t.Value}
}

// Action is what a rule says.
type Action uint8

// The actions. The zero one is the safe one.
const (
	Deny Action = iota
	Allow
	Ask
)

var actions = [...]string{Deny: "deny", Allow: "allow", Ask: "ask"}

// String is how the action is written.
func (a Action) String() string { return actions[a] }

// Position is a place in a file. Line and Column count from one, Column in bytes; zero is no line in particular, and the whole line.
type Position struct {
	File         string
	Line, Column int
}

// String is FILE:LINE, or FILE:LINE:COLUMN.
func (p Position) String() string {
	s := p.File
	for _, n := range []int{p.Line, p.Column} {
		if n > 0 {
			s += ":" + strconv.Itoa(n)
		}
	}
	return s
}

// Rule is one rule as it was loaded. Nobody may change it.
type Rule struct {
	At       Position // of the line; the same line may stand in many rules, for many services
	Implied  bool     // by a legacy file: no line says it (spec: policy.md 3)
	Service  string   // "*" is any
	Argument string   // "*" is any; otherwise with its plus
	Source   Token
	Target   Token
	Effect
}

// Effect is what follows when a rule decides.
type Effect struct {
	Action        Action
	Redirect      Token  // target=; zero: none
	DefaultTarget Token  // of Ask; zero: none
	User          string // empty: the default one
	Notify        bool
	Autostart     bool // false for Deny
}

// plain is the effect of an action without parameters (spec: policy.md 2).
func (a Action) plain() Effect {
	return Effect{Action: a, Notify: a == Deny, Autostart: a != Deny}
}

// String is the rule in the format of a policy file, with single spaces and without parameters that say nothing. It
// loads as an equal rule.
func (r *Rule) String() string {
	fields := []string{r.Service, r.Argument, r.Source.String(), r.Target.String(), r.Effect.String()}
	return strings.Join(fields, " ")
}

// String is the action with its parameters.
func (e Effect) String() string {
	s, plain := e.Action.String(), e.Action.plain()
	redirect := func(key string, t Token) {
		switch {
		case t.Kind == AdminVM:
			s += " " + key + "=" + dom0 // as everybody writes it
		case !t.IsZero():
			s += " " + key + "=" + t.String()
		}
	}
	redirect("target", e.Redirect)
	redirect("default_target", e.DefaultTarget)
	if e.User != "" {
		s += " user=" + e.User
	}
	yes := func(key string, value, plain bool) {
		if value != plain {
			s += " " + key + "=" + map[bool]string{true: "yes", false: "no"}[value]
		}
	}
	yes("notify", e.Notify, plain.Notify)
	yes("autostart", e.Autostart, plain.Autostart)
	return s
}

// Same says whether two rules say the same, wherever they stand.
func (r *Rule) Same(o *Rule) bool { return r.bare() == o.bare() }

// bare is what the rule says.
func (r *Rule) bare() Rule {
	b := *r
	b.At, b.Implied = Position{}, false
	return b
}

// Policy is the rules in the order in which they are asked.
type Policy struct {
	rules  []Rule
	legacy []Position
}

// Rules are the rules in the order in which they are asked. Nobody may change them.
func (p *Policy) Rules() []Rule { return p.rules }

// Legacy are the places of !compat-4.0, each of which deserves a warning (spec: policy.md 3).
func (p *Policy) Legacy() []Position { return p.legacy }

// String is all rules, one on a line, as one file of them: it loads as an equal policy.
func (p *Policy) String() string {
	var b strings.Builder
	for i := range p.rules {
		b.WriteString(p.rules[i].String())
		b.WriteByte('\n')
	}
	return b.String()
}
