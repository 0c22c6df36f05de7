package sanitize

import (
	"strings"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// How is how a qube is to be shut down.
type How struct {
	Force bool // also if it is paused, or other qubes need it
	Wait  bool // until it has
	text  string
}

// Shown is the text of the wire, as a policy rule may name it.
func (h How) Shown() string { return h.text }

var howChars = untrusted.NewCharset("forcewait+")

// Shutdown is force and wait, in any order and number, with + between them (spec: methods.yaml admin.vm.Shutdown).
var Shutdown = stages.Field[How]{
	Want: stages.Optional, Doc: "force or wait, or both with + between them",
	Read: func(u untrusted.Bytes) (How, error) {
		text, err := u.Word(howChars, 0, messages.MaxHeader)
		h := How{text: text}
		if err != nil || text == "" {
			return h, err
		}
		for piece := range strings.SplitSeq(text, "+") {
			switch piece {
			case "force":
				h.Force = true
			case "wait":
				h.Wait = true
			default:
				return How{}, exception.New(exception.ProtocolError, "a shutdown takes force and wait, with + between them")
			}
		}
		return h, nil
	},
}
