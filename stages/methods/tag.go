package methods

import (
	"strings"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/action"
	"sallyport/stages/sanitize"
)

type tagGrant = stages.Grant[qube.Tag, nothing]

var tags = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.tag.List", Dest: stages.AnyQube, Access: stages.Read,
		Help: "list a qube's tags, sorted",
		Arg:  stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			return action.Lines(g.Dest().Tags(), g.Keeps, action.Shown), nil
		},
	}),
	stages.Declare(stages.Method[qube.Tag, nothing]{
		Name: "admin.vm.tag.Get", Dest: stages.AnyQube, Access: stages.Read,
		Help: "tell whether a qube has a tag: 1 or 0",
		Arg:  sanitize.Tag, Payload: stages.None,
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
		Change: setTag,
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

// setTag adds the tag, and what follows from a tag that says who created the qube (spec: extensions.md 4, 5): the
// creator's feature tag-created-vm-with names more tags, and its set-created-guivm the qube's GUI domain.
func setTag(tx qube.Tx, g tagGrant) (messages.Reply, error) {
	dest := g.Dest().ID()
	creator, created := g.Arg().Cut("created-by-")
	if !created || g.Dest().HasTag(g.Arg()) || g.Dest().Class() == qube.RemoteVM {
		return messages.Empty, tx.AddTag(dest, g.Arg())
	}
	name, err := qube.ParseName(creator)
	by, ok := tx.Qube(name)
	if err != nil || !ok {
		return messages.Empty, exception.New(exception.QubesVMNotFoundError, "no qube has the name that follows created-by-")
	}
	if err := tx.AddTag(dest, g.Arg()); err != nil {
		return messages.Empty, err
	}
	with, _ := by.Feature(tagCreatedWith)
	for _, word := range strings.Fields(with.Shown()) {
		tag, err := qube.ParseTag(word)
		if err != nil {
			return messages.Empty, exception.New(exception.QubesInvalidTagError, "feature %s of qube %s names something that is no tag", tagCreatedWith, by)
		}
		if err := tx.AddTag(dest, tag); err != nil {
			return messages.Empty, err
		}
	}
	if guivm, ok := by.Feature(setCreatedGuivm); ok && guivm != (qube.FeatureValue{}) {
		return messages.Empty, setGuivm(tx, g.Dest(), guivm)
	}
	return messages.Empty, nil
}

var (
	tagCreatedWith  = known(qube.ParseFeatureName("tag-created-vm-with"))
	setCreatedGuivm = known(qube.ParseFeatureName("set-created-guivm"))
	propGuivm       = known(qube.ParsePropertyName("guivm"))
)

// setGuivm makes the qube that value names dest's GUI domain; dest keeps exactly one guivm- tag (spec: extensions.md 5).
// dom0 has no such property.
func setGuivm(tx qube.Tx, dest qube.Qube, value qube.FeatureValue) error {
	if dest.Class() == qube.AdminVM {
		return nil
	}
	name, err := qube.ParseName(value.Shown())
	guivm, ok := tx.Qube(name)
	if err != nil || !ok || guivm.Class() == qube.RemoteVM {
		return exception.New(exception.QubesVMNotFoundError, "feature %s names no qube that can be a GUI domain", setCreatedGuivm)
	}
	tag, err := qube.ParseTag("guivm-" + name.Shown())
	if err != nil { // a dot, which names may have and tags may not (spec: model.md 2)
		return exception.New(exception.QubesException, "qube %s cannot be a GUI domain: its name makes no tag", guivm)
	}
	if now, ok := tx.QubeByID(dest.ID()); ok { // with the tags that it was given just now
		dest = now
	}
	for old := range dest.Tags() {
		if _, is := old.Cut("guivm-"); is && old != tag {
			if err := tx.RemoveTag(dest.ID(), old); err != nil {
				return err
			}
		}
	}
	if err := tx.AddTag(dest.ID(), tag); err != nil {
		return err
	}
	text, err := qube.ParsePropertyValue(name.Shown())
	if err != nil {
		return err
	}
	return tx.SetProperty(dest.ID(), propGuivm, text)
}

// known is for nouns of ours.
func known[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
