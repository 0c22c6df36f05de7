package properties

import (
	"strconv"

	"sallyport/messages/qube"
)

// system is the properties of the system.
var system = []*Property{
	{
		Name: DefaultGuivm, Type: vm, Load: OfSystem,
		byDefault: always(qube.Dom0.Shown()),
		rules:     []rule{localQube, withoutDot},
		effects:   []effect{onSet(setForFollowers(Guivm))},
		Help:      "Default GUI qube.",
	},
	{
		Name: DefaultAudiovm, Type: vm, Load: OfSystem,
		byDefault: always(qube.Dom0.Shown()),
		rules:     []rule{localQube, withoutDot},
		effects:   []effect{onSet(setForFollowers(Audiovm))},
		Help:      "Default audio qube.",
	},
	{
		Name: DefaultNetvm, Type: vm, Load: OfSystem,
		byDefault: none,
		rules:     []rule{localQube, aNetworkForAll, noLoopForAll, runningNetworkForAll},
		effects:   []effect{onSet(tellNetworkFollowers)},
		Help:      "Default network provider.",
	},
	{
		Name: DefaultTemplate, Type: vm, Load: OfSystem,
		rules: []rule{aTemplate},
		Help:  "Template for new AppVMs when none is given.",
	},
	{
		Name: named("updatevm"), Type: vm, Load: OfSystem,
		byDefault: none,
		rules:     []rule{localQube},
		Help:      "Qube used as update proxy for dom0.",
	},
	{
		Name: named("clockvm"), Type: vm, Load: OfSystem,
		byDefault: none,
		rules:     []rule{localQube},
		effects:   []effect{onSet(moveClock)},
		Help:      "Qube used as clock source.",
	},
	{
		Name: defaultKernel, Type: str, Load: OfSystem,
		rules: []rule{noSlash, aKernel},
		Help:  "Kernel for qubes that do not choose one.",
	},
	{
		Name: DefaultDispvm, Type: vm, Load: OfSystem,
		byDefault: none,
		rules:     []rule{ofDisposables},
		effects:   []effect{tellFollowers(DefaultDispvm)},
		Help:      "Default disposable template.",
	},
	{
		Name: ManagementDispvm, Type: vm, Load: OfSystem,
		byDefault: none,
		rules:     []rule{ofDisposables},
		Help:      "Default disposable template for management.",
	},
	{
		Name: DefaultPool, Type: str, Load: OfSystem,
		byDefault: defaultPoolOf,
		rules:     []rule{aPool},
		Help:      "Storage pool for new volumes.",
	},
	{
		Name: named("default_pool_kernel"), Type: str, Load: OfSystem,
		byDefault: same(DefaultPool),
		rules:     []rule{aPool},
		Help:      "Storage pool for new kernel volumes.",
	},
	{
		Name: named("default_pool_private"), Type: str, Load: OfSystem,
		byDefault: same(DefaultPool),
		rules:     []rule{aPool},
		Help:      "Storage pool for new private volumes.",
	},
	{
		Name: named("default_pool_root"), Type: str, Load: OfSystem,
		byDefault: same(DefaultPool),
		rules:     []rule{aPool},
		Help:      "Storage pool for new root volumes.",
	},
	{
		Name: named("default_pool_volatile"), Type: str, Load: OfSystem,
		byDefault: same(DefaultPool),
		rules:     []rule{aPool},
		Help:      "Storage pool for new volatile volumes.",
	},
	{
		Name: DefaultQrexecTimeout, Type: integer, Load: OfSystem,
		byDefault: always("60"),
		rules:     []rule{positive},
		Help:      "Default seconds to wait for the qrexec agent.",
	},
	{
		Name: defaultShutdownTimeout, Type: integer, Load: OfSystem,
		byDefault: always("60"),
		rules:     []rule{positive},
		Help:      "Default seconds to wait for a clean shutdown.",
	},
	{
		Name: StatsInterval, Type: integer, Load: OfSystem,
		byDefault: always("3"),
		Help:      "Seconds between two rounds of admin.vm.Stats.",
	},
	{
		Name: CheckUpdatesVM, Type: boolean, Load: OfSystem,
		byDefault: always(yes),
		Help:      "Let new qubes check for updates by themselves.",
	},
	{
		Name: Maxmem, Type: integer, Load: OfSystem,
		set:       computed,
		byDefault: func(r reading) string { return strconv.FormatUint(r.view.Host().MemoryMiB, 10) },
		Help:      "Total memory of the machine in MiB.",
	},
	{
		Name: named("no_cpus"), Type: integer, Load: OfSystem,
		set:       computed,
		byDefault: func(r reading) string { return strconv.Itoa(r.view.Host().CPUs) },
		Help:      "Number of CPUs of the machine.",
	},
}
