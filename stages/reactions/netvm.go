package reactions

import (
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/properties"
)

// A paused qube cannot be connected to another network: what its netvm was is remembered until it runs on
// (spec: properties.yaml QubesVM.netvm).
var netvm = []qube.Reaction{
	{On: "property-set:netvm", React: deferNetvm},
	{On: "domain-unpaused", React: connectDeferred},
	{On: "domain-stopped", React: forgetDeferred},
}

// deferred holds the name of the netvm that a paused qube is connected to; empty for none.
var deferred = known(qube.ParseFeatureName("deferred-netvm-original"))

func deferNetvm(tx qube.Tx, e qube.Event) error {
	q, ok := subject(tx, e)
	if !ok || q.State() != qube.Paused || e.Arg("newvalue") == e.Arg("oldvalue") {
		return nil
	}
	if _, already := q.Feature(deferred); already {
		return nil
	}
	old, err := qube.ParseName(e.Arg("oldvalue"))
	if _, there := tx.Qube(old); err != nil || !there {
		old = qube.Name{} // None
	}
	value, err := qube.ParseFeatureValue(old.Shown())
	if err != nil {
		return err
	}
	return action.SetFeature(tx, q, deferred, value)
}

func connectDeferred(tx qube.Tx, e qube.Event) error {
	q, ok := subject(tx, e)
	if !ok {
		return nil
	}
	original, was := q.Feature(deferred)
	if !was {
		return nil
	}
	if err := action.RemoveFeature(tx, q, deferred); err != nil {
		return err
	}
	to, connected := properties.Reference(tx, q, properties.Netvm)
	if !connected || to.Shown() == original.Shown() {
		return nil
	}
	return tx.Fire(action.Connected(to, q))
}

// forgetDeferred: a qube that has stopped is connected to nothing.
func forgetDeferred(tx qube.Tx, e qube.Event) error {
	q, ok := subject(tx, e)
	if !ok {
		return nil
	}
	if _, was := q.Feature(deferred); !was {
		return nil
	}
	return action.RemoveFeature(tx, q, deferred)
}
