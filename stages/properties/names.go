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
	Maxmem             = named("maxmem")
	Memory             = named("memory")
	Netvm              = named("netvm")
	ProvidesNetwork    = named("provides_network")
	QrexecTimeout      = named("qrexec_timeout")
	ShutdownTimeout    = named("shutdown_timeout")
	Template           = named("template")
	TemplateForDispvms = named("template_for_dispvms")
	VCPUs              = named("vcpus")

	CheckUpdatesVM  = named("check_updates_vm")
	DefaultTemplate = named("default_template")
	StatsInterval   = named("stats_interval")
)

func named(s string) qube.PropertyName {
	n, err := qube.ParsePropertyName(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return n
}
