package methods

import (
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/sanitize"
)

// power are the methods that start and stop qubes: each refuses what its caller can see to be in vain, and orders the rest
// from the qube's actor, which asks the same again when its turn has come.
var power = []stages.Entry{
	powers("admin.vm.Start", "start a qube, and its netvm before it", lifecycle.MayStart, func(v qube.View, g plain) messages.Order {
		o := lifecycle.Start(v, g.Dest(), messages.Order{})
		if g.Source().Class() != qube.AdminVM { // who may not know of the netvm
			o.Args[messages.Discreet] = ""
		}
		return o
	}),
	stages.Declare(stages.Method[sanitize.How, nothing]{
		Name: "admin.vm.Shutdown", Dest: stages.AnyQube, Access: stages.Read | stages.Execute,
		Help: "ask a qube to shut down",
		Arg:  sanitize.Shutdown, Payload: stages.None,
		Work: shutdown,
	}),
	powers("admin.vm.Pause", "stop a qube where it is", lifecycle.MayPause, order(messages.QubePause)),
	powers("admin.vm.Unpause", "let a paused qube run on", lifecycle.MayUnpause, order(messages.QubeUnpause)),
	powers("admin.vm.Suspend", "put a qube to sleep", lifecycle.MaySuspend, order(messages.QubeSuspend)),
	powers("admin.vm.Resume", "wake a qube, or let a paused one run on", lifecycle.MayResume, order(messages.QubeResume)),
	powers("admin.vm.Kill", "end a qube at once, whatever it does", lifecycle.MayKill, func(_ qube.View, g plain) messages.Order {
		return messages.Order{Kind: messages.QubeKill, Qube: g.Dest().ID(), Urgent: true}
	}),
}

// consoles is apart from power, since the specification has it elsewhere.
var consoles = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.Console", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
		Help:  "tell the path of a running qube's console",
		Gives: "a path",
		Arg:   stages.None, Payload: stages.None,
		// It changes nothing, but who is told the path may write to the console, so that a Read may not tell it.
		Change: func(_ qube.Tx, g plain) (messages.Reply, error) {
			if err := lifecycle.MayOpenConsole(g.Dest()); err != nil {
				return messages.Empty, err
			}
			return messages.Text(g.Dest().Runtime().Console), nil
		},
	}),
}

// powers declares a method without argument and payload.
func powers(name, help string, may func(qube.Qube) error, order func(qube.View, plain) messages.Order) stages.Entry {
	return stages.Declare(stages.Method[nothing, nothing]{
		Name: name, Dest: stages.AnyQube, Access: stages.Read | stages.Execute,
		Help: help,
		Arg:  stages.None, Payload: stages.None,
		Work: func(v qube.View, g plain) (messages.Order, error) {
			if err := may(g.Dest()); err != nil {
				return messages.Order{}, err
			}
			return order(v, g), nil
		},
	})
}

func order(kind messages.OrderKind) func(qube.View, plain) messages.Order {
	return func(_ qube.View, g plain) messages.Order { return messages.Order{Kind: kind, Qube: g.Dest().ID()} }
}

func shutdown(v qube.View, g stages.Grant[sanitize.How, nothing]) (messages.Order, error) {
	if err := lifecycle.MayShutdown(g.Dest()); err != nil {
		return messages.Order{}, err
	}
	o := messages.Order{Kind: messages.QubeShutdown, Qube: g.Dest().ID(), Args: map[string]string{}}
	if g.Arg().Force {
		o.Args["force"] = ""
	}
	if g.Arg().Wait {
		o.Args["wait"] = ""
		o.Patience = lifecycle.ShutdownPatience(v, g.Dest())
	}
	return o, nil
}
