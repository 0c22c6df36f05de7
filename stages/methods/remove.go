package methods

import (
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/registry"
)

var removals = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.Remove", Dest: stages.AnyQube, Access: stages.Read | stages.Write, Scope: stages.Global,
		Help: "remove a qube that is halted and not in use",
		Arg:  stages.None, Payload: stages.None,
		Change: func(tx qube.Tx, g plain) (messages.Reply, error) {
			return messages.Empty, registry.Remove(tx, g.Dest())
		},
	}),
}
