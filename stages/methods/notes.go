package methods

import (
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/sanitize"
)

var notes = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.notes.Get", Dest: stages.NotAdminVM, Access: stages.Read,
		Help:  "tell a qube's notes",
		Gives: "UTF-8 text",
		Arg:   stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			return messages.Text(g.Dest().Notes().Shown()), hasNotes(g.Dest())
		},
	}),
	stages.Declare(stages.Method[nothing, qube.Notes]{
		Name: "admin.vm.notes.Set", Dest: stages.NotAdminVM, Access: stages.Read | stages.Write,
		Help: "replace a qube's notes; an empty payload clears them",
		Arg:  stages.None, Payload: sanitize.Notes,
		Change: func(tx qube.Tx, g stages.Grant[nothing, qube.Notes]) (messages.Reply, error) {
			if err := hasNotes(g.Dest()); err != nil {
				return messages.Empty, err
			}
			return messages.Empty, tx.SetNotes(g.Dest().ID(), g.Payload())
		},
	}),
}

// hasNotes refuses remote qubes, which have none (spec: methods.yaml admin.vm.notes.Set, SAFER).
func hasNotes(q qube.Qube) error {
	if q.Class() == qube.RemoteVM {
		return exception.New(exception.QubesNotImplementedError, "the remote qube %s has no notes", q)
	}
	return nil
}
