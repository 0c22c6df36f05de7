package properties

import (
	"sallyport/messages/qube"
)

// power is how a qube is started, stopped, kept and saved.
var power = []*Property{
	{
		Name: named("autostart"), Of: ofLocal, Type: boolean, Load: Basic,
		byDefault: always(no),
		Help:      "Start this qube when dom0 boots.",
	},
	{
		Name: named("debug"), Of: ofLocal, Type: boolean, Load: Basic,
		byDefault: always(no),
		Help:      "Enable debugging aids for this qube.",
	},
	{
		Name: defaultUser, Of: ofLocal, Type: str, Load: Basic,
		byDefault: fromTemplate(defaultUser, always("user")),
		rules:     []rule{userName},
		effects:   []effect{tellBased},
		Help:      "Account used to run programs in the qube.",
	},
	{
		Name: QrexecTimeout, Of: ofLocal, Type: integer, Load: Basic,
		byDefault: fromTemplate(QrexecTimeout, fromSystem(DefaultQrexecTimeout)),
		rules:     []rule{positive},
		effects:   []effect{tellBased},
		Help:      "Seconds to wait for the qrexec agent after start.",
	},
	{
		Name: ShutdownTimeout, Of: ofLocal, Type: integer, Load: Basic,
		byDefault: fromTemplate(ShutdownTimeout, fromSystem(defaultShutdownTimeout)),
		rules:     []rule{positive},
		effects:   []effect{tellBased},
		Help:      "Seconds to wait for a clean shutdown.",
	},
	{
		Name: named("xid"), Of: ofLocal, Type: integer, Load: Basic,
		set:       computed,
		byDefault: xidOf,
		Help:      "Hypervisor id of the running qube, -1 if not running.",
	},
	{
		Name: named("start_time"), Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: startTime,
		Help:      "Unix time when the qube was started.",
	},
	{
		Name: named("stubdom_xid"), Of: ofLocal, Type: integer, Load: Basic,
		set:       computed,
		byDefault: always("-1"),
		Help:      "Hypervisor id of the device-model stub domain, -1 if none.",
	},
	{
		Name: named("stubdom_uuid"), Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: none,
		Help:      "UUID of the device-model stub domain.",
	},
	{
		Name: named("backup_timestamp"), Of: ofLocal, Type: integer, Load: Basic,
		byDefault: none,
		Help:      "Unix time of the last backup of this qube.",
	},
	{
		Name: named("include_in_backups"), Of: []qube.Class{qube.TemplateVM, qube.AppVM, qube.StandaloneVM}, Type: boolean, Load: Basic,
		byDefault: always(yes),
		Help:      "Whether the qube is part of the default backup selection.",
	},
	{
		Name: named("include_in_backups"), Of: []qube.Class{qube.AdminVM}, Type: boolean, Load: Basic,
		byDefault: always(yes),
		Help:      "Whether dom0 is part of the default backup selection.",
	},
	{
		Name: named("include_in_backups"), Of: []qube.Class{qube.DispVM}, Type: boolean, Load: Basic,
		byDefault: func(r reading) string { return truth(!r.flag(AutoCleanup)) },
		Help:      "Whether the qube is part of the default backup selection.",
	},
	{
		Name: named("include_in_backups"), Of: []qube.Class{qube.RemoteVM}, Type: boolean, Load: Basic,
		byDefault: always(no),
		Help:      "Whether the qube is part of the default backup selection.",
	},
	{
		Name: InstalledByRPM, Of: ofLocal, Type: boolean, Load: Basic,
		byDefault: always(no),
		Help:      "Image is owned by the package manager; such a qube cannot be removed by the API.",
	},
	{
		Name: named("updateable"), Of: ofLocal, Type: boolean, Load: Basic,
		set:       computed,
		byDefault: func(r reading) string { return truth(!r.has(Template)) },
		Help:      "Whether software in this qube persists when updated from inside.",
	},
	{
		Name: named("updateable"), Of: []qube.Class{qube.AdminVM}, Type: boolean, Load: Basic,
		set:       computed,
		byDefault: always(yes),
		Help:      "Always true: dom0 updates itself.",
	},
}
