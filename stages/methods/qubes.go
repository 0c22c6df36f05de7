package methods

import (
	"fmt"
	"iter"
	"slices"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/action"
	"sallyport/stages/properties"
)

type nothing = struct{}

// plain is the grant of a method that takes neither argument nor payload.
type plain = stages.Grant[nothing, nothing]

var qubes = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vmclass.List", Dest: stages.OnlyAdminVM, Access: stages.Read, Scope: stages.Global,
		Help:  "list the classes that a qube can have",
		Gives: "CLASS LF each",
		Arg:   stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			return action.Lines(slices.Values(qube.Classes), g.Keeps, action.Shown), nil
		},
	}),
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.List", Dest: stages.AnyQube, Access: stages.Read, Scope: stages.Global,
		Help:  "list all qubes, or the destination, with class, state and UUID",
		Gives: "NAME class=CLASS state=STATE uuid=UUID LF each",
		Arg:   stages.None, Payload: stages.None,
		PerItem: func(_ qube.Qube, item qube.Noun) stages.Subject { // spec: extensions.md 3
			return stages.Subject{Service: "admin.vm.List", Dest: item.(qube.Qube)}
		},
		Read: listQubes,
	}),
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.CurrentState", Dest: stages.AnyQube, Access: stages.Read,
		Help:  "tell a qube's power state, memory and CPU time",
		Gives: "mem=KIB mem_static_max=KIB cputime=NS power_state=STATE",
		Arg:   stages.None, Payload: stages.None,
		Read: func(v qube.View, g plain) (messages.Reply, error) {
			u, most := v.Usage(g.Dest()), 0
			if stateOf(g.Dest()) != qube.Halted && g.Dest().Class() != qube.RemoteVM {
				most = properties.Int(v, g.Dest(), properties.Maxmem) << 10
			}
			return messages.Text(fmt.Sprintf("mem=%d mem_static_max=%d cputime=%d power_state=%s",
				u.MemoryKiB, most, u.CPUNanos, stateOf(g.Dest()))), nil
		},
	}),
}

// listQubes lists all for dom0 as destination, and otherwise the destination alone (spec: methods.yaml admin.vm.List).
func listQubes(v qube.View, g plain) (messages.Reply, error) {
	if g.Dest().Class() != qube.AdminVM {
		return action.Lines(only(g.Dest()), g.Keeps, qubeLine), nil
	}
	all := func() any { return action.Lines(v.Qubes(), g.Keeps, qubeLine) }
	if shared, ok := v.(qube.Memo); ok && g.KeepsAll() { // the list of all is asked for far more often than it changes
		return shared.Memo("admin.vm.List", all).(messages.Reply), nil
	}
	return all().(messages.Reply), nil
}

func qubeLine(b []byte, q qube.Qube) []byte {
	b = append(b, q.Shown()...)
	b = append(b, " class="...)
	b = append(b, q.Class()...)
	b = append(b, " state="...)
	b = append(b, stateOf(q)...)
	b = append(b, " uuid="...)
	return append(b, q.ID().Shown()...)
}

// stateOf is the power state as clients are told: dom0 and remote qubes always run (spec: model.md 4).
func stateOf(q qube.Qube) qube.PowerState {
	if c := q.Class(); c == qube.AdminVM || c == qube.RemoteVM {
		return qube.Running
	}
	return q.State()
}

func only(q qube.Qube) iter.Seq[qube.Qube] {
	return func(yield func(qube.Qube) bool) { yield(q) }
}
