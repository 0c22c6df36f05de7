package permission

import "sallyport/messages/exception"

// Necessity is one way in which what a source may not see shows all the same, and has to.
type Necessity struct {
	Name    string
	Methods []string // that tell it; the test has a call of each
	// Type is the refusal by which it shows: the type only, with a text that names nobody. Empty: an answer tells.
	Type exception.Type
	Why  string
}

// Necessities is all of it: whatever else a source may not see shows in no reply, no event and no log line that it has any
// part in (design: 7). A test compares a system in which a thing is with one in which it is not, for every method, and lets
// them differ in this alone; it also sees to it that each of these is needed.
//
// What a qube has is not hidden in the first place, but shown to whoever may act on that qube, though it may name others:
// what its properties refer to and have referred to, its features, and its tags, such as guivm-NAME and created-by-NAME.
// Events tell of it as the calls do that ask for it, once it is so (see qube.Event.Other).
var Necessities = []Necessity{
	{
		"taken name",
		[]string{
			"admin.vm.Create.AppVM", "admin.vm.Create.TemplateVM", "admin.vm.Create.StandaloneVM", "admin.vm.Create.DispVM", "admin.vm.Create.RemoteVM",
			"admin.vm.CreateInPool.AppVM", "admin.vm.CreateInPool.TemplateVM", "admin.vm.CreateInPool.StandaloneVM", "admin.vm.CreateInPool.DispVM",
		},
		exception.QubesVMAlreadyExistsError,
		"two qubes cannot have one name",
	},
	{
		"taken label", []string{"admin.label.Create"}, exception.QubesLabelInUseError,
		"two labels cannot have one name",
	},
	{
		"label in use", []string{"admin.label.Remove"}, exception.QubesLabelInUseError,
		"the qube that has it would be left without one",
	},
	{
		"qube in use", []string{"admin.vm.Remove"}, exception.QubesVMInUseError,
		"whoever refers to it would be left without it",
	},
	{
		"net qube in use", []string{"admin.vm.Shutdown"}, exception.QubesVMInUseError,
		"qubes that run would lose their network; force goes ahead",
	},
	{
		"audio qube in use", []string{"admin.vm.Shutdown"}, exception.QubesVMInUseError,
		"qubes that run would lose their sound; force goes ahead",
	},
	{
		"display qube in use", []string{"admin.vm.Shutdown"}, exception.QubesVMError,
		"qubes that run would lose their display; force goes ahead",
	},
	{
		"network in use", []string{"admin.vm.property.Set", "admin.vm.property.Reset"}, exception.QubesValueError,
		"provides_network cannot become False while a qube has its network from there",
	},
	{
		"disposables in use", []string{"admin.vm.property.Set", "admin.vm.property.Reset"}, exception.QubesVMInUseError,
		"template_for_dispvms cannot become False, nor template be changed, while there are disposables",
	},
	{
		"running followers", []string{"admin.property.Set"}, exception.QubesVMNotStartedError,
		"default_netvm cannot become a halted qube while one that follows it runs",
	},
	{
		"memory of the host", []string{"admin.vm.Start"}, exception.QubesMemoryError,
		"what others use is not there for this one",
	},
	{
		"numbers", []string{"admin.vm.property.Get"}, "",
		"a new qube gets the lowest qid that is free, of which its addresses are made; and, which no call here shows, the hypervisor counts xids, and events have the revisions of everybody's changes",
	},
}
