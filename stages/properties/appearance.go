package properties

import (
	"sallyport/messages/qube"
)

// appearance is what a person sees of a qube.
var appearance = []*Property{
	{
		Name: named("label"), Of: ofAll, Type: label, Load: Basic,
		fact:    func(q qube.Qube) string { return q.Label().Shown() },
		normal:  labelNamed,
		rules:   []rule{aLabel},
		effects: []effect{tellIcon},
		Help:    "Colour label of the qube.",
	},
	{
		Name: icon, Of: []qube.Class{qube.TemplateVM, qube.StandaloneVM, qube.DispVM, qube.RemoteVM}, Type: str, Load: Basic,
		set:       computed,
		byDefault: iconOf,
		Help:      "Icon name derived from class and label.",
	},
	{
		Name: icon, Of: []qube.Class{qube.AppVM}, Type: str, Load: Basic,
		set:       computed,
		byDefault: appIconOf,
		Help:      "Icon name derived from class and label.",
	},
	{
		Name: icon, Of: []qube.Class{qube.AdminVM}, Type: str, Load: Basic,
		set:       computed,
		byDefault: always("adminvm-black"),
		Help:      "Fixed icon name.",
	},
	{
		Name: keyboardLayout, Of: []qube.Class{qube.AdminVM}, Type: str, Load: Basic,
		byDefault: always(plainKeyboard),
		rules:     []rule{keyboard},
		effects:   []effect{ifChanged(tellGUIClients)},
		Help:      "X keyboard layout as layout+variant+options.",
	},
	{
		Name: keyboardLayout, Of: ofLocal, Type: str, Load: Basic,
		byDefault: keyboardOf,
		rules:     []rule{keyboard},
		effects:   []effect{ifChanged(tellGUIClients)},
		Help:      "X keyboard layout as layout+variant+options.",
	},
}
