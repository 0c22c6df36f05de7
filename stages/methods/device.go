package methods

import (
	"slices"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/action"
	"sallyport/stages/sanitize"
)

// deviceClass is a kind of devices.
type deviceClass string

// Shown is its name.
func (c deviceClass) Shown() string { return string(c) }

// deviceClasses are those that come with the system (spec: devices.md 1; devices.yaml classes).
var deviceClasses = []deviceClass{"block", "pci"}

// devices are the classes, and what is assigned to a qube: nothing, as long as there are no devices.
var devices = func() []stages.Entry {
	all := []stages.Entry{stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.deviceclass.List", Dest: stages.OnlyAdminVM, Access: stages.Read, Scope: stages.Global,
		Help:  "list the classes of devices",
		Gives: "CLASS LF each",
		Arg:   stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			return action.Lines(slices.Values(deviceClasses), g.Keeps, action.Shown), nil
		},
	})}
	for _, class := range deviceClasses {
		all = append(all, stages.Declare(stages.Method[string, nothing]{
			Name: "admin.vm.device." + class.Shown() + ".Assigned", Dest: stages.AnyQube, Access: stages.Read,
			Help:  "list the devices of class " + class.Shown() + " that are assigned to a qube",
			Gives: "an assignment LF each",
			Arg:   sanitize.DeviceToFind, Payload: stages.None,
			Read: func(qube.View, stages.Grant[string, nothing]) (messages.Reply, error) {
				return messages.Empty, nil
			},
		}))
	}
	return all
}()
