package properties

import (
	"sallyport/messages/qube"
)

// resources is what a qube is made of when it starts.
var resources = []*Property{
	{
		Name: Memory, Of: ofLocal, Type: integer, Load: Basic,
		byDefault: fromTemplate(Memory, always("400")),
		rules:     []rule{positive},
		effects:   []effect{tellBased},
		Help:      "Memory in MiB given to the qube at start.",
	},
	{
		Name: Maxmem, Of: ofLocal, Type: integer, Load: Basic,
		byDefault: maxmemOf,
		rules:     []rule{notNegative, haltedToChange},
		effects:   []effect{tellBased},
		Help:      "Upper memory limit in MiB for the balancer; 0 turns balancing off.",
	},
	{
		Name: Maxmem, Of: []qube.Class{qube.AdminVM}, Type: integer, Load: Basic,
		set:       computed,
		byDefault: always("4096"),
		Help:      "Memory limit of dom0 in MiB.",
	},
	{
		Name: VCPUs, Of: ofLocal, Type: integer, Load: Basic,
		byDefault: fromTemplate(VCPUs, always("2")),
		rules:     []rule{positive},
		effects:   []effect{tellBased},
		Help:      "Number of virtual CPUs.",
	},
	{
		Name: named("stubdom_mem"), Of: ofLocal, Type: integer, Load: Basic,
		byDefault: none,
		rules:     []rule{positive},
		Help:      "Memory in MiB for the device-model stub domain.",
	},
	{
		Name: virtMode, Of: ofLocal, Type: str, Load: Basic,
		byDefault: fromTemplate(virtMode, always("pvh")),
		normal:    lowerCase,
		rules:     []rule{virtualization},
		Help:      "Virtualisation mode.",
	},
	{
		Name: Kernel, Of: ofLocal, Type: str, Load: Basic,
		byDefault: fromTemplate(Kernel, fromSystem(defaultKernel)),
		rules:     []rule{noSlash, aKernel},
		effects:   []effect{tellBased},
		Help:      "Name of the dom0-provided kernel, empty for the in-qube kernel.",
	},
	{
		Name: kernelopts, Of: ofLocal, Type: str, Load: Referring,
		byDefault: kernelOptions,
		rules:     []rule{atMost(512)},
		effects:   []effect{tellBased},
		Help:      "Kernel command line.",
	},
	{
		Name: bootmode, Of: ofLocal, Type: str, Load: Referring,
		byDefault: bootMode,
		Help:      "Selected boot mode.",
	},
	{
		Name: appvmBootmode, Of: []qube.Class{qube.TemplateVM}, Type: str, Load: Referring,
		byDefault: appvmBootMode,
		effects:   []effect{tellBootModes},
		Help:      "Boot mode that app qubes of this template use by default.",
	},
	{
		Name: named("devices_denied"), Of: []qube.Class{qube.AdminVM, qube.TemplateVM, qube.AppVM, qube.StandaloneVM, qube.DispVM}, Type: str, Load: Basic,
		byDefault: always(""),
		normal:    sortedCodes,
		rules:     []rule{wholeCodes, deviceCodes},
		Help:      "Device interface codes that may not be attached to this qube.",
	},
}
