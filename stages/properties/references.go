package properties

import (
	"sallyport/messages/qube"
)

// references is the qubes and services that a qube is served by.
var references = []*Property{
	{
		Name: Template, Of: []qube.Class{qube.AppVM}, Type: vm, Load: Referring,
		set:   bound,
		rules: []rule{notNone, aTemplate, halted, noRunningDisposables},
		Help:  "Template the qube is based on.",
	},
	{
		Name: Template, Of: []qube.Class{qube.DispVM}, Type: vm, Load: Referring,
		set:   bound,
		rules: []rule{notNone, ofDisposables, halted},
		Help:  "Disposable template the qube is based on.",
	},
	{
		Name: Guivm, Of: ofLocal, Type: vm, Load: Referring,
		asSystem: DefaultGuivm,
		rules:    []rule{localQube, withoutDot},
		Help:     "Qube that displays the windows of this qube.",
	},
	{
		Name: Audiovm, Of: ofLocal, Type: vm, Load: Referring,
		asSystem: DefaultAudiovm,
		rules:    []rule{localQube, withoutDot},
		Help:     "Qube that provides audio.",
	},
	{
		Name: DefaultDispvm, Of: []qube.Class{qube.TemplateVM, qube.AppVM, qube.StandaloneVM}, Type: vm, Load: Referring,
		asSystem: DefaultDispvm,
		rules:    []rule{ofDisposables},
		Help:     "Disposable template used for @dispvm calls made by this qube.",
	},
	{
		Name: DefaultDispvm, Of: []qube.Class{qube.DispVM}, Type: vm, Load: Referring,
		byDefault: same(Template),
		rules:     []rule{ofDisposables},
		Help:      "Disposable template used for @dispvm calls made by this qube.",
	},
	{
		Name: DefaultDispvm, Of: []qube.Class{qube.AdminVM}, Type: vm, Load: Referring,
		asSystem: DefaultDispvm,
		rules:    []rule{ofDisposables},
		Help:     "Disposable template used for @dispvm calls made by dom0.",
	},
	{
		Name: ManagementDispvm, Of: ofLocal, Type: vm, Load: Referring,
		byDefault: fromTemplate(ManagementDispvm, fromSystem(ManagementDispvm)),
		rules:     []rule{ofDisposables},
		effects:   []effect{tellBased},
		Help:      "Disposable template used for managing this qube.",
	},
	{
		Name: Relayvm, Of: []qube.Class{qube.RemoteVM}, Type: vm, Load: Referring,
		byDefault: none,
		rules:     []rule{localQube, withoutDot},
		Help:      "Local qube that relays calls to the remote one.",
	},
	{
		Name: TransportRPC, Of: []qube.Class{qube.RemoteVM}, Type: str, Load: Basic,
		byDefault: none,
		Help:      "Name of the qrexec service the relay uses as transport.",
	},
	{
		Name: named("remote_name"), Of: []qube.Class{qube.RemoteVM}, Type: str, Load: Basic,
		byDefault: none,
		Help:      "Name of the qube on the remote host.",
	},
}
