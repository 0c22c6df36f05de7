package properties

import (
	"sallyport/messages/qube"
)

// disposables is templates of disposables, and disposables.
var disposables = []*Property{
	{
		Name: TemplateForDispvms, Of: []qube.Class{qube.AppVM, qube.StandaloneVM}, Type: boolean, Load: Basic,
		byDefault: always(no),
		rules:     []rule{noDisposables},
		effects:   []effect{tell(icon)},
		Help:      "Qube may serve as template of disposables.",
	},
	{
		Name: AutoCleanup, Of: []qube.Class{qube.DispVM}, Type: boolean, Load: Basic,
		byDefault: always(no),
		Help:      "Remove the qube automatically after shutdown.",
	},
	{
		Name: IsPreload, Of: []qube.Class{qube.DispVM}, Type: boolean, Load: Basic,
		set:       computed,
		byDefault: isPreload,
		Help:      "Whether this is a preloaded disposable waiting for use.",
	},
}
