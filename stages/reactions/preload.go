package reactions

import (
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

var preloaded = []qube.Reaction{{On: "domain-pre-delete", React: forgetPreloaded}}

// forgetPreloaded takes a disposable that goes from its template's lists (spec: model.md 6, Preload features).
func forgetPreloaded(tx qube.Tx, e qube.Event) error {
	name, err := qube.ParseName(e.Arg("vm"))
	going, ok := tx.Qube(name)
	if err != nil || !ok || going.Class() != qube.DispVM {
		return nil
	}
	template, ok := tx.Template(going)
	if !ok {
		return nil
	}
	for _, list := range action.PreloadLists {
		if err := action.Unlist(tx, template, list, name); err != nil {
			return err
		}
	}
	return nil
}
