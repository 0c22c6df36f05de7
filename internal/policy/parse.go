package policy

import (
	"slices"
	"strings"
	"unicode"
)

// field is a word of a line, and its column in it.
type field struct {
	text   string
	column int
}

// fields splits a line at white space, of any length and kind.
func fields(line string) (all []field) {
	start := -1
	for i, r := range line {
		switch space := unicode.IsSpace(r); {
		case space && start >= 0:
			all = append(all, field{line[start:i], start + 1})
			start = -1
		case !space && start < 0:
			start = i
		}
	}
	if start >= 0 {
		all = append(all, field{line[start:], start + 1})
	}
	return all
}

// wrong is an error about f; load adds file and line.
func (f field) wrong(reason Reason, read, expected string) *LoadError {
	return &LoadError{At: Position{Column: f.column}, Reason: reason, Read: read, Text: shown(f.text), Expected: expected}
}

// binding is the service and the argument that a file in the short format is for; the zero one is of a file in the full
// format.
type binding struct{ service, argument string }

// rule reads a line that is not a directive: SERVICE ARGUMENT SOURCE TARGET ACTION [PARAM=VALUE]..., or from SOURCE on if
// it is bound (spec: policy.md 2, 3).
func rule(all []field, bound binding) (Rule, *LoadError) {
	least, expected := 5, "at least five fields: SERVICE ARGUMENT SOURCE TARGET ACTION"
	if bound != (binding{}) {
		least, expected = 3, "at least three fields: SOURCE TARGET ACTION"
	}
	if len(all) < least {
		line := field{"", all[0].column}
		return Rule{}, line.wrong(FieldCount, "rule of "+counted(len(all)), expected)
	}
	if bound == (binding{}) {
		var err *LoadError
		if bound, err = bind(all[0], all[1]); err != nil {
			return Rule{}, err
		}
		all = all[2:]
	}
	r := Rule{Service: bound.service, Argument: bound.argument}
	var err *LoadError
	if r.Source, err = token(all[0], "source", asSource); err != nil {
		return Rule{}, err
	}
	if r.Target, err = token(all[1], "target", asTarget); err != nil {
		return Rule{}, err
	}
	if r.Effect, err = effect(all[2], all[3:]); err != nil {
		return Rule{}, err
	}
	if r.Action == Allow && r.Target.Kind == Default && r.Redirect.IsZero() {
		return Rule{}, all[1].wrong(DefaultNeeds, "target", "a parameter target=, since allow has to lead somewhere")
	}
	return r, nil
}

func counted(fields int) string {
	return []string{"no field", "one field", "two fields", "three fields", "four fields"}[fields]
}

// bind reads a service and an argument.
func bind(service, argument field) (binding, *LoadError) {
	b := binding{service.text, argument.text}
	switch {
	case b.service != "*" && !among(b.service, "-._"):
		return b, service.wrong(ServiceChars, "service", "* or letters, digits, '-', '.' and '_'")
	case b.argument == "*":
		return b, nil
	case b.argument[0] != '+':
		return b, argument.wrong(ArgumentNoPlus, "argument", "* or a '+' with the argument after it")
	case !among(b.argument, "+-._"):
		return b, argument.wrong(ArgumentChars, "argument", "letters, digits, '+', '-', '.' and '_' after the first '+'")
	case b.service == "*":
		return b, argument.wrong(WildNeedsWild, "argument", "* because the service is *")
	}
	return b, nil
}

// among says whether s has only ASCII letters, digits and the others.
func among(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(others, c) >= 0) {
			return false
		}
	}
	return true
}

// place is where a token stands.
type place uint8

const (
	asSource   place = 1 << iota
	asTarget         // of a rule
	asRedirect       // target=, default_target=
	asRequest        // of a caller
)

// places says which kinds may stand where (spec: policy.md 2).
var places = [kinds]place{
	Name:       asSource | asTarget | asRedirect | asRequest,
	UUID:       asSource | asTarget | asRedirect | asRequest,
	AdminVM:    asSource | asTarget | asRedirect | asRequest,
	AnyVM:      asSource | asTarget,
	All:        asSource | asTarget,
	Default:    asTarget | asRequest,
	Type:       asSource | asTarget,
	Tag:        asSource | asTarget,
	DispVM:     asTarget | asRedirect | asRequest,
	DispVMName: asSource | asTarget | asRedirect | asRequest,
	DispVMUUID: asSource | asTarget | asRedirect | asRequest,
	DispVMTag:  asSource | asTarget,
}

var expectedThere = map[place]string{
	asSource:   "a name, uuid:, *, @anyvm, @adminvm, @tag:, @type: or @dispvm:",
	asTarget:   "a name, uuid:, *, @anyvm, @adminvm, @default, @tag:, @type:, @dispvm, @dispvm: or @dispvm:@tag:",
	asRedirect: "a name, uuid:, @adminvm, @dispvm or @dispvm:",
}

// token reads a token of a rule. All words for dom0 become one, but a redirect to its uuid stays one (spec: policy.md 4.5).
func token(f field, read string, where place) (Token, *LoadError) {
	t, reason := parseToken(f.text)
	switch {
	case reason != "":
		return Token{}, f.wrong(reason, read, expectedThere[where])
	case places[t.Kind]&where == 0:
		return Token{}, f.wrong(TokenNotHere, read, expectedThere[where])
	case t.isDom0() && (where != asRedirect || t.Kind == Name):
		return Token{Kind: AdminVM}, nil
	}
	return t, nil
}

// parseToken reads any token. The reason is empty if it is one.
func parseToken(word string) (Token, Reason) {
	for k, w := range words {
		if word == w && Kind(k) != Name {
			if slices.Contains(valued, Kind(k)) {
				return Token{}, TokenEmpty
			}
			return Token{Kind: Kind(k)}, ""
		}
	}
	for _, k := range valued {
		if value, ok := strings.CutPrefix(word, words[k]); ok {
			if k == DispVMName && value[0] == '@' {
				return Token{}, TokenUnknown
			}
			return Token{k, value}, ""
		}
	}
	switch {
	case word == "":
		return Token{}, TokenEmpty
	case word[0] == '@':
		return Token{}, TokenUnknown
	}
	return Token{Name, word}, ""
}

// effect reads an action and its parameters.
func effect(action field, params []field) (Effect, *LoadError) {
	a := slices.Index(actions[:], action.text)
	if a < 0 {
		return Effect{}, action.wrong(ActionUnknown, "action", "deny, allow or ask")
	}
	e, seen := Action(a).plain(), map[string]bool{}
	for _, f := range params {
		key, value, ok := strings.Cut(f.text, "=")
		p, known := parameters[key]
		switch {
		case !ok:
			return Effect{}, f.wrong(ParamSyntax, "parameter", "NAME=VALUE; nothing may follow the parameters, no comment either")
		case !known || !slices.Contains(p.actions, e.Action):
			return Effect{}, f.wrong(ParamNotAllowed, "parameter of "+e.Action.String(), allowed(e.Action))
		case seen[key]:
			return Effect{}, f.wrong(ParamDuplicate, "parameter", key+"= once")
		}
		seen[key] = true
		if err := p.read(&e, field{value, f.column + len(key) + 1}); err != nil {
			return Effect{}, err
		}
	}
	return e, nil
}

// parameters are all there are, and the actions that have them (spec: policy.md 2).
var parameters = map[string]struct {
	actions []Action
	read    func(*Effect, field) *LoadError
}{
	"target":         {[]Action{Allow, Ask}, redirect("target=", func(e *Effect) *Token { return &e.Redirect })},
	"default_target": {[]Action{Ask}, redirect("default_target=", func(e *Effect) *Token { return &e.DefaultTarget })},
	"user":           {[]Action{Allow, Ask}, func(e *Effect, f field) *LoadError { e.User = f.text; return nil }},
	"notify":         {[]Action{Deny, Allow, Ask}, yesNo("notify=", func(e *Effect) *bool { return &e.Notify })},
	"autostart":      {[]Action{Allow, Ask}, yesNo("autostart=", func(e *Effect) *bool { return &e.Autostart })},
}

func allowed(a Action) string {
	var names []string
	for name, p := range parameters {
		if slices.Contains(p.actions, a) {
			names = append(names, name+"=")
		}
	}
	slices.Sort(names)
	return "one of " + strings.Join(names, ", ")
}

func redirect(read string, to func(*Effect) *Token) func(*Effect, field) *LoadError {
	return func(e *Effect, f field) (err *LoadError) {
		*to(e), err = token(f, read, asRedirect)
		return err
	}
}

func yesNo(read string, to func(*Effect) *bool) func(*Effect, field) *LoadError {
	return func(e *Effect, f field) *LoadError {
		if f.text != "yes" && f.text != "no" {
			return f.wrong(ParamValue, read, "yes or no")
		}
		*to(e) = f.text == "yes"
		return nil
	}
}
