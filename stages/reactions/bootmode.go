package reactions

import "sallyport/messages/qube"

// The features boot-mode.* decide on what properties are by default (spec: model.md 10).
var bootMode = []qube.Reaction{
	{On: "domain-feature-set:boot-mode.active", React: tellDefault("bootmode")},
	{On: "domain-feature-delete:boot-mode.active", React: tellDefault("bootmode")},
	{On: "domain-feature-set:boot-mode.appvm-default", React: tellDefault("appvm_default_bootmode")},
	{On: "domain-feature-delete:boot-mode.appvm-default", React: tellDefault("appvm_default_bootmode")},
}

// tellDefault tells that a property has another default.
func tellDefault(property string) func(qube.Tx, qube.Event) error {
	return func(tx qube.Tx, e qube.Event) error {
		q, ok := subject(tx, e)
		if !ok {
			return nil
		}
		if c := q.Class(); c == qube.AdminVM || c == qube.RemoteVM || property != "bootmode" && c != qube.TemplateVM {
			return nil // no such property
		}
		return tx.Fire(qube.Event{Subject: e.Subject, Name: "property-reset:" + property, Args: []qube.EventArg{{Key: "name", Value: property}}})
	}
}
