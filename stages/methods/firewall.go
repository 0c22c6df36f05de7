package methods

import (
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/sanitize"
)

var firewall = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.firewall.Get", Dest: stages.NotAdminVM, Access: stages.Read,
		Help:  "list the rules of a qube's firewall that are in force",
		Gives: "a rule LF each",
		Arg:   stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			if err := hasFirewall(g.Dest()); err != nil {
				return messages.Empty, err
			}
			var lines []byte
			now, set := time.Now(), false
			for rule := range g.Dest().Firewall() {
				if set = true; !rule.Expired(now) {
					lines = append(append(lines, rule.Shown()...), '\n')
				}
			}
			if !set { // spec: firewall.md 5
				lines = append(lines, "action=accept\n"...)
			}
			return messages.Reply{Body: lines}, nil
		},
	}),
	stages.Declare(stages.Method[nothing, []qube.FirewallRule]{
		Name: "admin.vm.firewall.Set", Dest: stages.NotAdminVM, Access: stages.Read | stages.Write,
		Help: "replace the rules of a qube's firewall",
		Arg:  stages.None, Payload: sanitize.Firewall,
		Change: func(tx qube.Tx, g stages.Grant[nothing, []qube.FirewallRule]) (messages.Reply, error) {
			if err := hasFirewall(g.Dest()); err != nil {
				return messages.Empty, err
			}
			if err := tx.SetFirewall(g.Dest().ID(), g.Payload()); err != nil {
				return messages.Empty, err
			}
			return messages.Empty, tx.Fire(qube.Event{Subject: g.Dest().Name(), Name: "firewall-changed"})
		},
	}),
}

// hasFirewall fails for remote qubes, where the reference says nothing (spec: firewall.md 1, SAFER).
func hasFirewall(q qube.Qube) error {
	if q.Class() == qube.RemoteVM {
		return exception.New(exception.QubesException, "qube %s is a remote one, which has no firewall", q)
	}
	return nil
}
