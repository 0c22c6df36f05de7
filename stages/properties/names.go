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
	Maxmem             = named("maxmem")
	Memory             = named("memory")
	Netvm              = named("netvm")
	ProvidesNetwork    = named("provides_network")
	QrexecTimeout      = named("qrexec_timeout")
	ShutdownTimeout    = named("shutdown_timeout")
	Template           = named("template")
	TemplateForDispvms = named("template_for_dispvms")
	VCPUs              = named("vcpus")

	appvmBootmode    = named("appvm_default_bootmode")
	bootmode         = named("bootmode")
	defaultUser      = named("default_user")
	dispid           = named("dispid")
	gateway          = named("gateway")
	gateway6         = named("gateway6")
	icon             = named("icon")
	ip               = named("ip")
	ip6              = named("ip6")
	kernel           = named("kernel")
	kernelopts       = named("kernelopts")
	keyboardLayout   = named("keyboard_layout")
	managementDispvm = named("management_dispvm")
	virtMode         = named("virt_mode")
	visibleGateway   = named("visible_gateway")
	visibleGateway6  = named("visible_gateway6")
	visibleIP        = named("visible_ip")
	visibleIP6       = named("visible_ip6")

	defaultAudiovm         = named("default_audiovm")
	defaultGuivm           = named("default_guivm")
	defaultKernel          = named("default_kernel")
	defaultNetvm           = named("default_netvm")
	defaultPool            = named("default_pool")
	defaultQrexecTimeout   = named("default_qrexec_timeout")
	defaultShutdownTimeout = named("default_shutdown_timeout")

	CheckUpdatesVM  = named("check_updates_vm")
	DefaultTemplate = named("default_template")
	StatsInterval   = named("stats_interval")
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
