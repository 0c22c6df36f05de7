package methods

import (
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/action"
	"sallyport/stages/sanitize"
)

type tagGrant = stages.Grant[qube.Tag, nothing]

var tags = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.tag.List", Dest: stages.AnyQube, Access: stages.Read,
		Help:  "list a qube's tags, sorted",
		Gives: "TAG LF each",
		Arg:   stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			return action.Lines(g.Dest().Tags(), g.Keeps, action.Shown), nil
		},
	}),
	stages.Declare(stages.Method[qube.Tag, nothing]{
		Name: "admin.vm.tag.Get", Dest: stages.AnyQube, Access: stages.Read,
		Help:  "tell whether a qube has a tag: 1 or 0",
		Gives: "1 or 0",
		Arg:   sanitize.Tag, Payload: stages.None,
		Read: func(_ qube.View, g tagGrant) (messages.Reply, error) {
			if g.Dest().HasTag(g.Arg()) {
				return messages.Text("1"), nil
			}
			return messages.Text("0"), nil
		},
	}),
	stages.Declare(stages.Method[qube.Tag, nothing]{
		Name: "admin.vm.tag.Set", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
		Help: "give a qube a tag",
		Arg:  sanitize.Tag, Payload: stages.None,
		Change: func(tx qube.Tx, g tagGrant) (messages.Reply, error) {
			return messages.Empty, action.AddTag(tx, g.Dest(), g.Arg())
		},
	}),
	stages.Declare(stages.Method[qube.Tag, nothing]{
		Name: "admin.vm.tag.Remove", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
		Help: "take a tag from a qube",
		Arg:  sanitize.Tag, Payload: stages.None,
		Change: func(tx qube.Tx, g tagGrant) (messages.Reply, error) {
			return messages.Empty, action.RemoveTag(tx, g.Dest(), g.Arg())
		},
	}),
}

// known is for nouns of ours.
func known[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
