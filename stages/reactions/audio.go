package reactions

import (
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// A qube has exactly one tag audiovm-NAME. It is taken away and given again even if it stays the same
// (spec: extensions.md 5).
var audio = []qube.Reaction{
	{On: "property-set:audiovm", React: mirrors(properties.Audiovm, true)},
	{On: "property-reset:audiovm", React: mirrors(properties.Audiovm, true)},
}
