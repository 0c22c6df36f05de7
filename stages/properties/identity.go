package properties

import (
	"strconv"

	"sallyport/messages/qube"
)

// identity is who a qube is. It is decided when the qube is made, and never again.
var identity = []*Property{
	{
		Name: named("name"), Of: ofAllButDom0, Type: str, Load: Basic,
		set:  once,
		fact: qube.Qube.Shown,
		Help: "Name of the qube.",
	},
	{
		Name: named("qid"), Of: ofAllButDom0, Type: integer, Load: Basic,
		set:  once,
		fact: func(q qube.Qube) string { return strconv.Itoa(q.QID()) },
		Help: "Persistent numeric identifier of the qube, distinct from the hypervisor id.",
	},
	{
		Name: named("uuid"), Of: ofAllButDom0, Type: uuid, Load: Basic,
		set:  once,
		fact: func(q qube.Qube) string { return q.ID().Shown() },
		Help: "UUID of the qube, lower-case 8-4-4-4-12.",
	},
	{
		Name: named("klass"), Of: ofAll, Type: str, Load: Basic,
		set:       computed,
		byDefault: func(r reading) string { return r.q.Class().Shown() },
		Help:      "Class of the qube, such as AppVM.",
	},
	{
		Name: named("name"), Of: []qube.Class{qube.AdminVM}, Type: str, Load: Basic,
		set:       computed,
		byDefault: func(r reading) string { return r.q.Shown() },
		Help:      "Fixed name of the administrative domain.",
	},
	{
		Name: named("qid"), Of: []qube.Class{qube.AdminVM}, Type: integer, Load: Basic,
		set:       computed,
		byDefault: always("0"),
		Help:      "Fixed numeric identifier 0.",
	},
	{
		Name: named("uuid"), Of: []qube.Class{qube.AdminVM}, Type: str, Load: Basic,
		set:       computed,
		byDefault: func(r reading) string { return r.q.ID().Shown() },
		Help:      "Fixed all-zero UUID.",
	},
	{
		Name: dispid, Of: []qube.Class{qube.DispVM}, Type: integer, Load: Basic,
		set:  once,
		Help: "Number of the disposable, used in its name and address.",
	},
}
