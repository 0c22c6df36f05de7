package methods

import (
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/preload"
	"sallyport/stages/registry"
	"sallyport/stages/sanitize"
)

// creations are one method for each class (spec: model.md 6), and that of disposables.
var creations = func() (all []stages.Entry) {
	for _, class := range qube.Classes {
		all = append(all, create("admin.vm.Create.", "create a qube of class ", class, sanitize.Creation))
	}
	for _, class := range qube.Classes {
		all = append(all, create("admin.vm.CreateInPool.", "create, in storage pools that are named, a qube of class ", class, sanitize.CreationInPool))
	}
	return append(all, createDisposable)
}()

// create declares a method that creates qubes of one class.
func create(prefix, help string, class qube.Class, payload stages.Field[sanitize.NewQube]) stages.Entry {
	template := sanitize.NoTemplate
	if class == qube.AppVM || class == qube.DispVM {
		template = sanitize.Template
	}
	return stages.Declare(stages.Method[qube.Name, sanitize.NewQube]{
		Name: prefix + class.Shown(), Dest: stages.OnlyAdminVM, Access: stages.Read | stages.Write, Scope: stages.Global,
		Help: help + class.Shown(),
		Arg:  template, Payload: payload,
		Change: func(tx qube.Tx, g stages.Grant[qube.Name, sanitize.NewQube]) (messages.Reply, error) {
			p := g.Payload()
			_, err := registry.Create(tx, g.Source(), registry.Wanted{
				Class: class, Name: p.Name, Label: p.Label, Template: g.Arg(), Pool: p.Pool, Pools: p.Pools,
			})
			return messages.Empty, err
		},
	})
}

var createDisposable = stages.Declare(stages.Method[string, string]{
	Name: "admin.vm.CreateDisposable", Dest: stages.AnyQube, Access: stages.Read | stages.Write, Scope: stages.Global,
	Help:  "hand out a disposable based on the destination, and tell its name; or have some made in advance",
	Gives: "the name, or uuid: and the UUID; nothing for preload",
	Arg:   sanitize.Preload, Payload: sanitize.AsUUID,
	Work: func(v qube.View, g stages.Grant[string, string]) (messages.Order, error) {
		if g.Arg() != "" {
			return preload.Ask(v, g.Dest(), g.Source()), nil
		}
		return preload.Take(v, g.Dest(), g.Source(), g.Payload() != ""), nil
	},
})
