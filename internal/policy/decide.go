package policy

import (
	"cmp"
	"slices"
	"strings"
)

// Request is what a qube asks for.
type Request struct {
	Service         string
	Argument        string // with its plus; "+" is the empty one
	Source          string // a name or uuid:...
	Target          string // a name, uuid:... or a keyword; empty is @default
	RequestedSource string // a RemoteVM that Source relays for; empty: none
}

// Call splits what a caller calls, SERVICE[+ARGUMENT], as a Request has it (spec: policy.md 4).
func Call(name string) (service, argument string) {
	if i := strings.IndexByte(name, '+'); i >= 0 {
		return name[:i], name[i:]
	}
	return name, "+"
}

// Verdict is what comes of a request.
type Verdict = Action

// Stage is where a denied request was denied.
type Stage uint8

// The stages.
const (
	Granted   Stage = iota // not denied
	AtRequest              // the request itself, before any rule
	NoRule                 // no rule matches
	AtRule                 // by the rule that decides
	AtExecute              // by what the rule that allows leads to
)

var stages = [...]string{Granted: "", AtRequest: "request", NoRule: "no-rule", AtRule: "rule", AtExecute: "execute"}

// String is the stage's name in vectors.
func (s Stage) String() string { return stages[s] }

// Why is the reason of a denial, in one word.
type Why string

// The reasons of denials.
const (
	Malformed         Why = "malformed"                 // a service, argument or source that is none
	NotCallable       Why = "token-not-allowed-here"    // a keyword that is no target for callers
	NotDisposable     Why = "not-a-disposable-template" // @dispvm: of another qube, or of none
	SourceNotRemote   Why = "source-not-remote"         // a requested source that is no RemoteVM
	WrongRelay        Why = "wrong-relay"               // a requested source that another qube relays for
	NoRuleMatches     Why = "no-rule"
	DenyRule          Why = "deny-rule"
	NoTarget          Why = "no-target"         // allowed, but to @default or to a qube that is not
	NoDefaultDispVM   Why = "no-default-dispvm" // allowed to @dispvm, and the source has no default
	AutostartRefused  Why = "autostart"         // autostart=no, and the target does not run
	AskWithoutTargets Why = "ask-no-targets"    // ask, and nothing is left to choose from
	Loopback          Why = "loopback"          // the target is the source
	NoRelay           Why = "no-relay"          // a RemoteVM without a relay or transport
)

// Decision is what a policy says to a request.
type Decision struct {
	Verdict Verdict
	Stage   Stage
	Why     Why   // of a denial
	Rule    *Rule // the first that matches; nil if none was asked or none matches
	Notify  bool  // the user has to be told

	// Of Allow and Ask.
	User      string // empty: the default one
	Autostart bool

	// Of Allow. Target is what the call is for: a name, uuid:, @dispvm:NAME or @dispvm:uuid:.
	Target Token

	// Of Ask: what a person may choose from, sorted by bytes, and the one that is offered first, if it is among them.
	Targets       []string
	DefaultTarget string

	request     Token  // the target that was asked for, after @default took the place of what does not exist
	where       Token  // where the call goes: Target or its relay
	identity    Token  // of where, by uuid; zero if there is none to tell
	service     string // RemoteVM: what the relay is called for
	impersonate string // the requested source
}

// RequestedTarget is the target that was asked for: @default in place of an empty one and of a qube that does not exist.
func (d *Decision) RequestedTarget() Token { return d.request }

// Response is what the policy daemon answers, line by line (spec: policy.md 4.9). Ask has no answer until a person gave
// one: it is a denial.
func (d *Decision) Response() []string {
	if d.Verdict != Allow {
		return []string{"result=deny"}
	}
	user := d.User
	if user == "" || d.service != "" { // the relay's user is not the remote's
		user = "DEFAULT"
	}
	lines := []string{"user=" + user, "result=allow", "target=" + d.where.String()}
	if !d.identity.IsZero() {
		lines = append(lines, "target_uuid="+d.identity.String())
	}
	lines = append(lines, "autostart="+map[bool]string{true: "True", false: "False"}[d.Autostart], "requested_target="+d.request.String())
	if d.service != "" {
		lines = append(lines, "service="+d.service)
	}
	if d.impersonate != "" {
		lines = append(lines, "policy_source="+d.impersonate)
	}
	return lines
}

// Decide is the reference: it asks rule after rule. Compiled decides alike, and faster.
func (p *Policy) Decide(r Request, sys System) Decision {
	var q question
	if why := q.resolve(r, sys); why != "" {
		return q.deny(AtRequest, why, nil)
	}
	for i := range p.rules {
		if q.matches(&p.rules[i]) {
			return p.conclude(&q, &p.rules[i])
		}
	}
	return q.deny(NoRule, NoRuleMatches, nil)
}

// party is a qube as a request names it, with what the System knows of it.
type party struct {
	text       Token
	name, uuid string // of the qube; of one that is unknown, only as named
	known      bool
	dom0       bool
	qube       Qube
}

// find looks up the qube that t names. A keyword for dom0 is in no table of qubes, so that it has neither type nor tags
// (spec: policy.md 4.5).
func find(t Token, sys System) (p party) {
	p.find(t, sys)
	return p
}

// find is find, in place of p, which names nothing yet.
func (p *party) find(t Token, sys System) {
	p.text = t
	switch t.Kind {
	case Name:
		p.name = t.Value
		p.qube, p.known = sys.Named(t.Value)
	case UUID:
		p.uuid = t.Value
		p.qube, p.known = sys.Identified(t.Value)
	}
	if p.known {
		p.name, p.uuid = p.qube.Name, p.qube.UUID
	}
	p.dom0 = t.isDom0() || p.name == dom0
}

// question is a request with all that rules ask about it. It points to nothing on the stack, so that it may live there.
type question struct {
	Request
	sys    System
	source party
	target party // @dispvm: the template that it means
}

// resolve is what comes before the rules (spec: policy.md 4.1, 4.2, 4.3).
func (q *question) resolve(r Request, sys System) Why {
	q.Request, q.sys = r, sys
	requested, why := requestedTarget(r.Target)
	q.target.text = requested
	source := named(r.Source)
	switch {
	case r.Source == "@adminvm":
		source = Token{Name, dom0}
	case r.Source == "" || r.Source == "*" || r.Source[0] == '@':
		return Malformed
	}
	if r.Service == "" || r.Argument == "" || r.Argument[0] != '+' {
		return Malformed
	}
	if why != "" {
		return why
	}
	q.source.find(source, sys)
	if r.RequestedSource != "" {
		if why := q.relayed(); why != "" {
			return why
		}
	}
	q.target.find(requested, sys)
	switch requested.Kind {
	case Name, UUID:
		if !q.target.known && !q.target.dom0 {
			q.target = party{text: Token{Kind: Default}}
		}
	case DispVM:
		if q.source.known {
			if name := sys.DefaultDispVM(q.source.qube); name != "" {
				q.target.name = name
				q.target.qube, q.target.known = sys.Named(name)
				q.target.known = q.target.known && sys.DisposableTemplate(q.target.qube)
			}
		}
	case DispVMName, DispVMUUID:
		q.target = find(requested.template(), sys)
		q.target.text, q.target.dom0 = requested, false
		if !q.target.known || !sys.DisposableTemplate(q.target.qube) {
			return NotDisposable
		}
	}
	return ""
}

// requestedTarget reads the target of a request.
func requestedTarget(word string) (Token, Why) {
	switch {
	case word == "":
		return Token{Kind: Default}, ""
	case word[0] != '@' && word != "*":
		return named(word), ""
	}
	t, reason := parseToken(word)
	if reason != "" || places[t.Kind]&asRequest == 0 {
		return Token{Kind: Default}, NotCallable // what a caller wrote, and no grammar accepted, is kept nowhere
	}
	return t, ""
}

// relayed puts the requested source in the place of the one that relays for it.
func (q *question) relayed() Why {
	remote := find(named(q.RequestedSource), q.sys)
	if !remote.known || remote.qube.Class != remoteVM {
		return SourceNotRemote
	}
	relay, _ := q.sys.Relay(remote.qube)
	if relay == "" || !q.source.known || q.source.name != relay {
		return WrongRelay
	}
	q.source = remote
	return ""
}

// matches says whether a rule is for this question.
func (q *question) matches(r *Rule) bool {
	return q.matchesButTarget(r) && q.targetIs(r.Target)
}

func (q *question) matchesButTarget(r *Rule) bool {
	return (r.Service == "*" || r.Service == q.Service) && (r.Argument == "*" || r.Argument == q.Argument) && q.sourceIs(r.Source)
}

// sourceIs says whether a rule's token covers the source.
func (q *question) sourceIs(t Token) bool {
	switch t.Kind {
	case All:
		return true
	case AnyVM:
		return !q.source.dom0
	}
	return q.source.is(t, q.sys)
}

// targetIs says whether a rule's token covers the target (spec: policy.md 4.5).
func (q *question) targetIs(t Token) bool {
	switch t.Kind {
	case All:
		return true
	case AnyVM:
		return !q.target.dom0
	}
	switch q.target.text.Kind {
	case Default:
		return t.Kind == Default
	case DispVM:
		switch t.Kind {
		case DispVM:
			return true
		case DispVMName: // textually: the uuid of the default is another text
			return t.Value == q.target.name
		}
		return t.Kind == DispVMTag && q.target.known && q.sys.HasTag(q.target.qube, t.Value)
	case DispVMName, DispVMUUID:
		switch t.Kind {
		case DispVMName:
			return t.Value == q.target.name
		case DispVMUUID:
			return t.Value == q.target.uuid
		}
		return t.Kind == DispVMTag && q.sys.HasTag(q.target.qube, t.Value)
	}
	return q.target.is(t, q.sys)
}

// is says whether a token of one qube, a class or a tag means p.
func (p *party) is(t Token, sys System) bool {
	switch t.Kind {
	case Name:
		return t.Value == p.name
	case UUID:
		return t.Value == p.uuid
	case AdminVM:
		return p.dom0
	case Type:
		return p.known && p.qube.Class == t.Value
	case Tag:
		return p.known && sys.HasTag(p.qube, t.Value)
	}
	return false
}

// deny is a denial with notification.
func (q *question) deny(s Stage, why Why, r *Rule) Decision {
	return Decision{Stage: s, Why: why, Rule: r, Notify: true, request: q.target.text}
}

// conclude is what follows when r decides (spec: policy.md 4.6, 4.8).
func (p *Policy) conclude(q *question, r *Rule) Decision {
	switch r.Action {
	case Allow:
		return q.allow(r)
	case Ask:
		kept := *q // which the search for candidates keeps for longer than a stack lasts
		return p.ask(&kept, r)
	}
	d := q.deny(AtRule, DenyRule, r)
	d.Notify = r.Notify
	return d
}

// route is where a rule that allows leads.
type route struct {
	target    party
	relay     party  // of a target that is a RemoteVM
	transport string // what the relay is called for; empty: there is none
}

// allow is a rule that allows, if it leads anywhere (spec: policy.md 4.6, 4.9).
func (q *question) allow(r *Rule) Decision {
	var to route
	if stage, why := q.follow(&r.Effect, &to); why != "" {
		d := q.deny(stage, why, r)
		d.Notify = why != AutostartRefused || r.Notify
		return d
	}
	d := Decision{Verdict: Allow, Rule: r, Notify: r.Notify, User: r.User, Autostart: r.Autostart, Target: to.target.text, request: q.target.text}
	d.impersonate = q.RequestedSource
	where := &to.target
	if to.transport != "" {
		d.service = to.transport + "+" + q.target.text.String() + "+" + q.Service + q.Argument
		where = &to.relay
	}
	d.where = where.text
	switch {
	case where.dom0:
		d.where = Token{Name, dom0}
	case where.known && where.disposable():
		d.identity = Token{DispVMUUID, where.uuid}
	case where.known:
		d.identity = Token{UUID, where.uuid}
	}
	return d
}

// follow finds out where the effect of a rule that allows leads, or why it leads nowhere.
func (q *question) follow(e *Effect, to *route) (Stage, Why) {
	var why Why
	switch to.target, why = q.destination(e.Redirect); {
	case why != "":
		return AtRule, why
	case !e.Autostart && !q.runs(&to.target):
		return AtRule, AutostartRefused
	case to.target.text == q.source.text: // textually: a name and a uuid are two texts
		return AtExecute, Loopback
	}
	if to.target.known && to.target.qube.Class == remoteVM && !to.target.disposable() {
		name, transport := q.sys.Relay(to.target.qube)
		to.relay, to.transport = find(Token{Name, name}, q.sys), transport
		if name == "" || transport == "" || !to.relay.known {
			return AtExecute, NoRelay
		}
	}
	return Granted, ""
}

// destination is where a call goes, or why it goes nowhere.
func (q *question) destination(redirect Token) (party, Why) {
	var target party
	if redirect.IsZero() {
		target = q.target
	} else {
		target.find(redirect, q.sys)
	}
	switch target.text.Kind {
	case AdminVM:
		return party{text: Token{Name, dom0}, name: dom0, dom0: true}, ""
	case Name, UUID:
		if !target.known && !target.dom0 {
			return party{}, NoTarget
		}
	case Default:
		return party{}, NoTarget
	case DispVM:
		name := ""
		if q.source.known {
			name = q.sys.DefaultDispVM(q.source.qube)
		}
		if name == "" {
			return party{}, NoDefaultDispVM
		}
		target = find(Token{Name, name}, q.sys) // which may be no template: whoever starts it will notice
		target.text, target.dom0 = Token{DispVMName, name}, false
	case DispVMName, DispVMUUID:
		text := target.text
		target = find(text.template(), q.sys)
		target.text, target.dom0 = text, false
		if !target.known || !q.sys.DisposableTemplate(target.qube) {
			return party{}, NotDisposable
		}
	}
	return target, ""
}

// runs says whether a call to p starts nothing. A new disposable is always started.
func (q *question) runs(p *party) bool {
	return p.dom0 || p.known && !p.disposable() && q.sys.Running(p.qube)
}

func (p *party) disposable() bool { return p.text.Kind == DispVMName || p.text.Kind == DispVMUUID }

// ask is a question to a person, if there is something to choose from.
func (p *Policy) ask(q *question, r *Rule) Decision {
	candidates := p.candidates(q, r)
	if !r.Autostart {
		candidates = slices.DeleteFunc(candidates, func(c party) bool { return !q.runs(&c) })
	}
	if len(candidates) == 0 {
		return q.deny(AtRule, AskWithoutTargets, r)
	}
	d := Decision{Verdict: Ask, Rule: r, Notify: r.Notify, User: r.User, Autostart: r.Autostart, request: q.target.text}
	preferred := Token{}
	if !r.DefaultTarget.IsZero() {
		if c, why := q.destination(r.DefaultTarget); why == "" {
			preferred = c.canonical()
		}
	}
	for _, c := range candidates {
		d.Targets = append(d.Targets, c.text.String())
		if c.canonical() == preferred {
			d.DefaultTarget = c.text.String()
		}
	}
	return d
}

// canonical is p by name.
func (p *party) canonical() Token {
	switch {
	case p.disposable():
		return Token{DispVMName, p.name}
	case p.dom0:
		return Token{Name, dom0}
	}
	return Token{Name, p.name}
}

// candidates are what a person may choose from, sorted as they are written (spec: policy.md 4.8).
func (p *Policy) candidates(q *question, r *Rule) []party {
	if !r.Redirect.IsZero() {
		if c, why := q.destination(r.Redirect); why == "" {
			return []party{c}
		}
		return nil
	}
	// By name, whatever the rules write: a qube that is denied by uuid is not offered by name.
	offered := map[Token]bool{}
	for i := len(p.rules) - 1; i >= 0; i-- {
		r := &p.rules[i]
		if !q.matchesButTarget(r) {
			continue
		}
		t := r.Target
		if !r.Redirect.IsZero() {
			t = r.Redirect
		}
		for _, c := range q.expand(t) {
			if r.Action == Deny {
				delete(offered, c)
			} else {
				offered[c] = true
			}
		}
	}
	var all []party
	for t := range offered {
		c, why := q.destination(t)
		if why != "" || c.known && c.name == q.source.name && !c.disposable() || c.known && !c.disposable() && q.sys.Internal(c.qube) {
			continue
		}
		if t.Kind == DispVM && offered[c.text] {
			continue // the default is offered by name already
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b party) int { return cmp.Compare(a.text.String(), b.text.String()) })
	return all
}

// expand is what a token of a rule offers: names of qubes that exist, new disposables, @dispvm.
func (q *question) expand(t Token) []Token {
	switch t.Kind {
	case AdminVM:
		return []Token{{Name, dom0}}
	case Name, UUID:
		if p := find(t, q.sys); p.known {
			return []Token{p.canonical()}
		}
		return nil
	case DispVM:
		return []Token{t}
	case DispVMName, DispVMUUID:
		if p := find(t.template(), q.sys); p.known && q.sys.DisposableTemplate(p.qube) {
			return []Token{{DispVMName, p.name}}
		}
		return nil
	case Default:
		return nil
	}
	var all []Token
	for qube := range q.sys.Qubes() {
		one := party{text: Token{Name, qube.Name}, name: qube.Name, uuid: qube.UUID, known: true, dom0: qube.Name == dom0, qube: qube}
		every := t.Kind == All || t.Kind == AnyVM && !one.dom0
		if every || one.is(t, q.sys) {
			all = append(all, one.text)
		}
		tagged := t.Kind == DispVMTag && q.sys.HasTag(qube, t.Value)
		if (every || tagged) && !one.dom0 && q.sys.DisposableTemplate(qube) {
			all = append(all, Token{DispVMName, qube.Name})
		}
	}
	if t.Kind == All || t.Kind == AnyVM {
		all = append(all, Token{Kind: DispVM})
	}
	return all
}
