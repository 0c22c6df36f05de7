package methods

import (
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
	"sallyport/stages/sanitize"
)

// drills are declared like any other method: each crashes where its own kind of function runs, so that what is rehearsed
// is the way of a real call.
var drills = []stages.Entry{
	crash("sanitizer", func(m *stages.Method[nothing, nothing]) {
		m.Arg.Read = func(untrusted.Bytes) (nothing, error) { panic(rehearsed) }
	}),
	crash("permission", func(m *stages.Method[nothing, nothing]) {
		m.Requires = func(qube.View, qube.Qube, nothing) bool { panic(rehearsed) }
	}),
	crash("action", func(m *stages.Method[nothing, nothing]) {
		m.Read = func(qube.View, plain) (messages.Reply, error) { panic(rehearsed) }
	}),
	crash("ledger", func(m *stages.Method[nothing, nothing]) {
		m.Access |= stages.Write
		m.Change = func(qube.Tx, plain) (messages.Reply, error) { panic(rehearsed) }
	}),
	crash("qube", func(m *stages.Method[nothing, nothing]) {
		m.Work = func(_ qube.View, g plain) (messages.Order, error) {
			return messages.Order{Kind: messages.DrillCrash, Qube: g.Dest().ID()}, nil
		}
	}),
	stages.Declare(stages.Method[sanitize.Span, nothing]{
		Name: "drill.Stall", Dest: stages.AnyQube, Access: stages.Execute,
		Help: "rehearse: hold the destination's actor for a while",
		Arg:  sanitize.Duration, Payload: stages.None,
		Work: func(_ qube.View, g stages.Grant[sanitize.Span, nothing]) (messages.Order, error) {
			return messages.Order{Kind: messages.DrillStall, Qube: g.Dest().ID(), Args: map[string]string{"for": g.Arg().Shown()}}, nil
		},
	}),
}

const rehearsed = "a rehearsed crash"

// crash declares drill.Crash for one actor. Where set gives it nothing to do, it reads.
func crash(actor string, set func(*stages.Method[nothing, nothing])) stages.Entry {
	m := stages.Method[nothing, nothing]{
		Name: "drill.Crash+" + actor, Dest: stages.AnyQube, Access: stages.Execute,
		Help: "rehearse: panic in the " + actor + " actor while it handles this call",
		Arg:  stages.None, Payload: stages.None,
	}
	set(&m)
	if m.Change == nil && m.Work == nil && m.Read == nil {
		m.Read = func(qube.View, plain) (messages.Reply, error) { return messages.Empty, nil }
	}
	return stages.Declare(m)
}
