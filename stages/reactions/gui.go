package reactions

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// A qube has exactly one tag guivm-NAME, of the qube that guivm leads to. That it leads elsewhere because of the system's
// default_guivm is told by an event of the qube, too (spec: properties.yaml app.default_guivm).
var gui = []qube.Reaction{
	{On: "property-set:guivm", React: mirrors(properties.Guivm, false)},
	{On: "property-reset:guivm", React: mirrors(properties.Guivm, false)},
	{On: "domain-tag-add:" + CreatedBy + "*", React: setCreatedsGuivm},
}

// SetCreatedGuivm is the feature of a creator that names the GUI domain of all that it creates. Whoever sets it has to see
// that qube: on creation, nobody asks for that any more.
var SetCreatedGuivm = known(qube.ParseFeatureName("set-created-guivm"))

// setCreatedsGuivm gives a qube the GUI domain that its creator wants for all that it creates (spec: extensions.md 5).
func setCreatedsGuivm(tx qube.Tx, e qube.Event) error {
	created, ok := subject(tx, e)
	if !ok || created.Class() == qube.RemoteVM || created.Class() == qube.AdminVM { // which have no such property
		return nil
	}
	creator, err := creatorOf(tx, e)
	if err != nil {
		return err
	}
	wanted, set := creator.Feature(SetCreatedGuivm)
	if !set || wanted == (qube.FeatureValue{}) {
		return nil
	}
	name, err := qube.ParseName(wanted.Shown())
	guivm, there := tx.Qube(name)
	if err != nil || !there || guivm.Class() == qube.RemoteVM {
		return exception.New(exception.QubesVMNotFoundError, "feature %s names no qube that can be a GUI domain", SetCreatedGuivm)
	}
	if _, err := tagOf(properties.Guivm, guivm); err != nil {
		return err
	}
	value, err := qube.ParsePropertyValue(name.Shown())
	if err != nil {
		return err
	}
	return properties.Set(tx, created, properties.Guivm, value)
}
