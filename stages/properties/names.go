package properties

import (
	"slices"

	"sallyport/messages/qube"
)

// The names of properties that other packages speak of.
var (
	AutoCleanup        = named("auto_cleanup")
	Audiovm            = named("audiovm")
	DefaultDispvm      = named("default_dispvm")
	Guivm              = named("guivm")
	InstalledByRPM     = named("installed_by_rpm")
	IsPreload          = named("is_preload")
	Kernel             = named("kernel")
	ManagementDispvm   = named("management_dispvm")
	Maxmem             = named("maxmem")
	Memory             = named("memory")
	Netvm              = named("netvm")
	ProvidesNetwork    = named("provides_network")
	QrexecTimeout      = named("qrexec_timeout")
	Relayvm            = named("relayvm")
	ShutdownTimeout    = named("shutdown_timeout")
	Template           = named("template")
	TemplateForDispvms = named("template_for_dispvms")
	TransportRPC       = named("transport_rpc")
	VCPUs              = named("vcpus")

	CheckUpdatesVM       = named("check_updates_vm")
	DefaultAudiovm       = named("default_audiovm")
	DefaultGuivm         = named("default_guivm")
	DefaultNetvm         = named("default_netvm")
	DefaultPool          = named("default_pool")
	DefaultPoolKernel    = named("default_pool_kernel")
	DefaultPoolPrivate   = named("default_pool_private")
	DefaultPoolRoot      = named("default_pool_root")
	DefaultPoolVolatile  = named("default_pool_volatile")
	DefaultTemplate      = named("default_template")
	DefaultQrexecTimeout = named("default_qrexec_timeout")
	StatsInterval        = named("stats_interval")
)

// The names that only this package speaks of.
var (
	appvmBootmode   = named("appvm_default_bootmode")
	bootmode        = named("bootmode")
	defaultUser     = named("default_user")
	dispid          = named("dispid")
	gateway         = named("gateway")
	gateway6        = named("gateway6")
	icon            = named("icon")
	ip              = named("ip")
	ip6             = named("ip6")
	kernelopts      = named("kernelopts")
	keyboardLayout  = named("keyboard_layout")
	virtMode        = named("virt_mode")
	visibleGateway  = named("visible_gateway")
	visibleGateway6 = named("visible_gateway6")
	visibleIP       = named("visible_ip")
	visibleIP6      = named("visible_ip6")

	defaultKernel          = named("default_kernel")
	defaultShutdownTimeout = named("default_shutdown_timeout")
)

// The classes that most properties are of.
var (
	ofLocal      = []qube.Class{qube.TemplateVM, qube.AppVM, qube.StandaloneVM, qube.DispVM}
	ofAllButDom0 = slices.Concat(ofLocal, []qube.Class{qube.RemoteVM})
	ofAll        = qube.Classes
)

func named(s string) qube.PropertyName {
	n, err := qube.ParsePropertyName(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return n
}
