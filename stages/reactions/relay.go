package reactions

import (
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// A remote qube has one tag relayvm-NAME once its relayvm was set (spec: extensions.md 5).
var relay = []qube.Reaction{
	{On: "property-set:relayvm", React: mirrors(properties.Relayvm, false)},
	{On: "property-reset:relayvm", React: mirrors(properties.Relayvm, false)},
}
