// Package judge is the second door's judge: it asks a compiled qrexec policy about every source but dom0, on the view that
// it is handed, so that a verdict is right the instant a tag changes (spec: policy.md 4, 5; design: 7).
//
//	files ─Keeper→ Judge ─Allows, Mask→ the gate
//
// A Judge holds rules and nothing else; a Keeper loads them, watches their files, and swaps them. Nothing that a client sent
// is kept here.
package judge

import (
	"strings"
	"sync"
	"sync/atomic"

	"sallyport/internal/policy"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/permission"
)

// Judge decides by the newest policy that it was given, and denies everything until then. It is a stages.Judge, and may be
// used by many goroutines.
type Judge struct{ now atomic.Pointer[rules] }

// New makes a Judge without a policy.
func New() *Judge {
	j := &Judge{}
	j.now.Store(newRules(&policy.Policy{}, 0))
	return j
}

// Use makes p the policy, from the next verdict on. One goroutine calls it at a time.
func (j *Judge) Use(p *policy.Policy) {
	j.now.Store(newRules(p, j.Generation()+1))
}

// Generation counts the policies so far.
func (j *Judge) Generation() uint64 { return j.now.Load().generation }

// Allows gives the verdict of the policy on a call of the Admin API: whether a rule allows it and has it run in dom0, which is
// where the daemon is (spec: policy.md 5).
//
// A rule that says ask is a no. In a call, that is refused with the constant of every refusal: another exception would tell
// that the destination exists, which the rules for an absent one have to hide (design: 2, invariant 4). Whoever writes the
// policy learns what it says from "sallyport policy why".
func (j *Judge) Allows(v qube.View, s stages.Subject) bool { return j.now.Load().allow(v, s) }

// Mask shows what source may list, the qube that it was permitted to act on, and what that one refers to (design: 7).
func (j *Judge) Mask(v qube.View, source, dest qube.Qube) qube.View {
	m := &mask{rules: j.now.Load(), view: v, source: source}
	return permission.Masked(v, permission.Sight{
		Qube: m.sees, Dest: dest,
		Labels:  func() bool { return m.lists("admin.label.List", "") },
		Pools:   func() bool { return m.lists("admin.pool.List", "") },
		Kernels: func() bool { return m.lists("admin.pool.volume.List", "linux-kernel") },
	})
}

// rules is one policy, ready to be asked.
type rules struct {
	compiled   *policy.Compiled
	generation uint64
	arguments  map[string]string // those that a rule names, without and with the plus
}

// otherArgument stands for every argument that no rule names: they all match the same rules, and no rule can name it, since
// it has a colon.
const otherArgument = "+:"

func newRules(p *policy.Policy, generation uint64) *rules {
	r := &rules{policy.Compile(p), generation, map[string]string{"": "+"}}
	for i := range p.Rules() {
		if plain, named := strings.CutPrefix(p.Rules()[i].Argument, "+"); named {
			r.arguments[plain] = p.Rules()[i].Argument
		}
	}
	return r
}

// allow asks about a qube that is not there as if it were a strange one, which costs as much, and then denies, whatever the
// rules say (design: 7).
func (r *rules) allow(v qube.View, s stages.Subject) bool {
	argument, named := r.arguments[s.Arg]
	if !named {
		argument = otherArgument
	}
	sys := systems.Get().(*system)
	*sys = system{v, known(s.Source), known(s.Dest)}
	request := policy.Request{Service: s.Service, Argument: argument, Source: sys.source.Name, Target: sys.dest.Name}
	if s.Source.Class() == qube.RemoteVM { // which asks through its relay (spec: policy.md 4.3)
		request.Source, _ = relayOf(v, s.Source)
		request.RequestedSource = sys.source.Name
	}
	target, allowed := r.compiled.Allows(request, sys)
	*sys = system{} // a view that may be old soon
	systems.Put(sys)
	return allowed && isDom0(target) && s.Source.Name() != (qube.Name{}) && s.Dest.Name() != (qube.Name{})
}

// systems are spare ones, so that a verdict allocates nothing.
var systems = sync.Pool{New: func() any { return new(system) }}

// stranger is what a qube is called that is not there. No qube can be, and no rule has any effect by naming it.
const stranger = "?"

// word is what a request calls q.
func word(q qube.Qube) string {
	if q.Name() == (qube.Name{}) {
		return stranger
	}
	return q.Shown()
}

// isDom0 reports whether a call for t runs in dom0.
func isDom0(t policy.Token) bool {
	return t == policy.Token{Kind: policy.Name, Value: qube.Dom0.Shown()} || t == policy.Token{Kind: policy.UUID, Value: qube.Dom0UUID.Shown()}
}
