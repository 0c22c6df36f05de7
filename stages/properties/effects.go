package properties

import (
	"slices"

	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// What follows from a change, told before the change itself is (spec: events.md 1). The tags that mirror guivm, audiovm
// and relayvm are no effects: they follow from the events, whoever fires them.

// inOrder sorts as listings do, so that subscribers are told of qubes in that order.
func inOrder(qubes []qube.Qube) []qube.Qube {
	slices.SortFunc(qubes, func(a, b qube.Qube) int {
		switch {
		case a.Name().Less(b.Name()):
			return -1
		case b.Name().Less(a.Name()):
			return 1
		}
		return 0
	})
	return qubes
}

// referrers are the qubes whose property refers to c's, explicitly or because the system's does by default.
func (c *change) referrers(name, global qube.PropertyName) []qube.Qube {
	var qubes []qube.Qube
	for q, p := range c.view.Referrers(c.q.Name()) {
		if p == name {
			qubes = append(qubes, q)
		}
	}
	if c.system().value(global) == c.q.Shown() {
		qubes = append(qubes, c.followers(name)...)
	}
	return inOrder(qubes)
}

// followers are the qubes for which a property has the system's value by default.
func (c *change) followers(name qube.PropertyName) []qube.Qube {
	var qubes []qube.Qube
	for q := range c.view.Qubes() {
		if c.of(q).followsSystem(name) {
			qubes = append(qubes, q)
		}
	}
	return qubes
}

// followsSystem reports whether a property has the system's value by default, now.
func (r reading) followsSystem(name qube.PropertyName) bool {
	p, ok := r.find(name)
	return ok && p.asSystem != (qube.PropertyName{}) && r.follows(name)
}

// based are the qubes whose template c's is, and for which p is not set.
func (c *change) based(p *Property) []qube.Qube {
	var qubes []qube.Qube
	for q, by := range c.view.Referrers(c.q.Name()) {
		if by == Template && c.of(q).follows(p.Name) {
			qubes = append(qubes, q)
		}
	}
	return inOrder(qubes)
}

func resetEvent(of qube.Qube, name qube.PropertyName, args ...qube.EventArg) qube.Event {
	return (&Property{Name: name}).event(of.Name(), "property-reset", args...)
}

// tellBased tells of a template's change to whoever has its value by default (spec: properties.yaml QubesVM.memory).
func tellBased(tx qube.Tx, c *change) error {
	if !c.changed() || c.q.Class() != qube.TemplateVM {
		return nil
	}
	for _, q := range c.based(c.p) {
		if err := tx.Fire(resetEvent(q, c.p.Name)); err != nil {
			return err
		}
	}
	return nil
}

// tellBootModes does so for the modes that follow from the template's (spec: properties.yaml
// TemplateVM.appvm_default_bootmode).
func tellBootModes(tx qube.Tx, c *change) error {
	if !c.changed() && !c.reset {
		return nil
	}
	for _, q := range c.based(&Property{Name: bootmode}) {
		if err := tx.Fire(resetEvent(q, bootmode)); err != nil {
			return err
		}
	}
	return nil
}

// tell tells that a property of the same qube, which is computed from this one, may be another now.
func tell(name qube.PropertyName) effect {
	return func(tx qube.Tx, c *change) error { return tx.Fire(resetEvent(c.q, name)) }
}

// tellIcon is tell, of the classes that show what they are by it.
func tellIcon(tx qube.Tx, c *change) error {
	if c.q.Class() == qube.AdminVM || c.q.Class() == qube.RemoteVM {
		return nil
	}
	return tell(icon)(tx, c)
}

// ifChanged is an effect of another value only.
func ifChanged(effects ...effect) effect {
	return func(tx qube.Tx, c *change) error {
		for _, e := range effects {
			if !c.changed() {
				return nil
			}
			if err := e(tx, c); err != nil {
				return err
			}
		}
		return nil
	}
}

// ifProviding is an effect of those that provide network.
func ifProviding(e effect) effect {
	return func(tx qube.Tx, c *change) error {
		if !c.flag(ProvidesNetwork) {
			return nil
		}
		return e(tx, c)
	}
}

// onSet is an effect that a reset does not have.
func onSet(e effect) effect {
	return func(tx qube.Tx, c *change) error {
		if c.reset {
			return nil
		}
		return e(tx, c)
	}
}

// tellClients tells all that use the qube's network.
func tellClients(name qube.PropertyName) effect {
	return func(tx qube.Tx, c *change) error {
		for _, q := range c.referrers(Netvm, DefaultNetvm) {
			if err := tx.Fire(resetEvent(q, name)); err != nil {
				return err
			}
		}
		return nil
	}
}

// mirrorServicevm keeps the feature that says the same as provides_network (spec: model.md 10).
func mirrorServicevm(tx qube.Tx, c *change) error {
	if c.new == yes {
		return action.SetFeature(tx, c.q, servicevm, one)
	}
	if _, set := c.q.Feature(servicevm); !set {
		return nil
	}
	return action.RemoveFeature(tx, c.q, servicevm)
}

var one = func() qube.FeatureValue {
	v, err := qube.ParseFeatureValue("1")
	if err != nil {
		panic(err) // a constant of ours
	}
	return v
}()

// connect tells a net qube of a running client.
func connect(tx qube.Tx, c *change) error {
	to, ok := qubeNamed(c.view, c.new)
	if !ok || !c.changed() || c.q.State() != qube.Running {
		return nil
	}
	return tx.Fire(action.Connected(to, c.q))
}

// tellGUIClients tells all that are shown by the qube and have its keyboard by default.
func tellGUIClients(tx qube.Tx, c *change) error {
	for _, q := range c.referrers(Guivm, DefaultGuivm) {
		if !c.of(q).follows(keyboardLayout) || q.ID() == c.q.ID() {
			continue
		}
		if err := tx.Fire(resetEvent(q, keyboardLayout, c.oldvalue()...)); err != nil {
			return err
		}
	}
	return nil
}

// tellFollowers tells that a property has another default now, with the old one.
func tellFollowers(name qube.PropertyName) effect {
	return func(tx qube.Tx, c *change) error {
		for _, q := range c.followers(name) {
			if err := tx.Fire(resetEvent(q, name, c.oldvalue()...)); err != nil {
				return err
			}
		}
		return nil
	}
}

// setForFollowers tells that a property was set, for each qube that has the system's value by default.
func setForFollowers(name qube.PropertyName) effect {
	return func(tx qube.Tx, c *change) error {
		for _, q := range c.followers(name) {
			if err := tx.Fire(c.asSet(q, name, "property-set")); err != nil {
				return err
			}
		}
		return nil
	}
}

// asSet is an event of c's change as one of another qube's property.
func (c *change) asSet(of qube.Qube, name qube.PropertyName, what string) qube.Event {
	args := append([]qube.EventArg{{Key: "newvalue", Value: c.p.told(c.new, true)}}, c.oldvalue()...)
	return c.naming((&Property{Name: name}).event(of.Name(), what, args...))
}

// tellNetworkFollowers announces the new net qube to all that follow the default, and then tells each
// (spec: properties.yaml app.default_netvm).
func tellNetworkFollowers(tx qube.Tx, c *change) error {
	followers := c.followers(Netvm)
	for _, q := range followers {
		if err := tx.Fire(c.asSet(q, Netvm, "property-pre-set")); err != nil {
			return err
		}
	}
	for _, q := range followers {
		if c.changed() {
			if err := tx.Fire(c.asSet(q, Netvm, "property-set")); err != nil {
				return err
			}
		}
		if err := tx.Fire(resetEvent(q, Netvm, c.oldvalue()...)); err != nil {
			return err
		}
	}
	return nil
}

// moveClock gives the service to the new clock qube, and takes it from the old one (spec: properties.yaml app.clockvm).
func moveClock(tx qube.Tx, c *change) error {
	if now, ok := qubeNamed(c.view, c.new); ok {
		if _, set := now.Feature(clocksync); !set {
			if err := action.SetFeature(tx, now, clocksync, one); err != nil {
				return err
			}
		}
	}
	before, ok := qubeNamed(c.view, c.old)
	if !ok || !c.changed() {
		return nil
	}
	if v, _ := before.Feature(clocksync); v == (qube.FeatureValue{}) {
		return nil
	}
	return action.RemoveFeature(tx, before, clocksync)
}
