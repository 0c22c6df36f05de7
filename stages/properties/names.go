package properties

import "sallyport/messages/qube"

// The names of properties that other packages speak of.
var (
	AutoCleanup        = named("auto_cleanup")
	Audiovm            = named("audiovm")
	DefaultDispvm      = named("default_dispvm")
	Guivm              = named("guivm")
	InstalledByRPM     = named("installed_by_rpm")
	IsPreload          = named("is_preload")
	Kernel             = named("kernel")
	Maxmem             = named("maxmem")
	Memory             = named("memory")
	ManagementDispvm   = named("management_dispvm")
	Netvm              = named("netvm")
	ProvidesNetwork    = named("provides_network")
	QrexecTimeout      = named("qrexec_timeout")
	Relayvm            = named("relayvm")
	ShutdownTimeout    = named("shutdown_timeout")
	Template           = named("template")
	TemplateForDispvms = named("template_for_dispvms")
	VCPUs              = named("vcpus")

	CheckUpdatesVM      = named("check_updates_vm")
	Clockvm             = named("clockvm")
	DefaultAudiovm      = named("default_audiovm")
	DefaultGuivm        = named("default_guivm")
	DefaultNetvm        = named("default_netvm")
	DefaultPool         = named("default_pool")
	DefaultPoolKernel   = named("default_pool_kernel")
	DefaultPoolPrivate  = named("default_pool_private")
	DefaultPoolRoot     = named("default_pool_root")
	DefaultPoolVolatile = named("default_pool_volatile")
	DefaultTemplate     = named("default_template")
	StatsInterval       = named("stats_interval")
	Updatevm            = named("updatevm")
)

// GlobalReferences are the properties of the system whose value is a qube.
var GlobalReferences = []qube.PropertyName{
	DefaultGuivm, DefaultAudiovm, DefaultNetvm, DefaultTemplate, Updatevm, Clockvm, DefaultDispvm, ManagementDispvm,
}

// CopiedToDisposable are the properties whose explicit value a new disposable takes over from its template
// (spec: properties.yaml copied_to_disposable): all that disposables have and that can be set.
var CopiedToDisposable = []qube.PropertyName{
	Audiovm, AutoCleanup, named("autostart"), named("backup_timestamp"), named("bootmode"), named("debug"), DefaultDispvm,
	named("default_user"), named("devices_denied"), Guivm, named("include_in_backups"), InstalledByRPM, named("ip"),
	named("ip6"), Kernel, named("kernelopts"), named("keyboard_layout"), named("mac"), ManagementDispvm, Maxmem, Memory, Netvm,
	ProvidesNetwork, QrexecTimeout, ShutdownTimeout, named("stubdom_mem"), VCPUs, named("virt_mode"),
}

func named(s string) qube.PropertyName {
	n, err := qube.ParsePropertyName(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return n
}
