// Package methods is every API method, declared once. Start here: All is the contents page.
package methods

import (
	"slices"

	"sallyport/stages"
)

// All are the methods that a daemon serves, in the order of the specification.
func All() []stages.Entry {
	return slices.Concat(
		qubes,           // admin.vmclass.List, admin.vm.List, admin.vm.CurrentState
		propertyMethods, // admin.vm.property.*, admin.property.*
		labels,          // admin.label.*
		features,        // admin.vm.feature.*, dest.feat.Set
		tags,            // admin.vm.tag.*
		notes,           // admin.vm.notes.*
		creations,       // admin.vm.Create.*, admin.vm.CreateInPool.*, admin.vm.CreateDisposable
		removals,        // admin.vm.Remove
		devices,         // admin.deviceclass.List, admin.vm.device.*
		volumes(),       // admin.vm.volume.*
		firewall,        // admin.vm.firewall.*
		power,           // admin.vm.Start, Shutdown, Pause, Unpause, Suspend, Resume, Kill
		consoles,        // admin.vm.Console
		events,          // admin.Events, admin.vm.Stats
		policyFiles,     // policy.*
	)
}

// Drill are the methods with which an operator rehearses faults. A daemon serves them only when told to.
func Drill() []stages.Entry { return drills }
