package properties

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// change is one property on its way from one value to another. What it reads is the system before the change, without a
// mask.
type change struct {
	reading
	p        *Property
	seen     qube.View // as whoever changes it may see it
	old, new string
	oldKnown bool
	oldSet   bool
	reset    bool
}

// changed reports whether the effective value is another one.
func (c *change) changed() bool { return c.old != c.new }

// begin looks at p as it is.
func begin(tx qube.Tx, q qube.Qube, p *Property) (*change, error) {
	c := &change{reading: reading{all, tx.System(), q}, p: p, seen: tx}
	if len(p.Of) > 0 {
		now, there := c.view.QubeByID(q.ID()) // what was done to it in this transaction counts
		if !there {
			return nil, exception.New(exception.QubesVMNotFoundError, "no such qube: %s", q)
		}
		c.q = now
	}
	c.old, c.oldSet, c.oldKnown = c.get(p)
	return c, nil
}

// broken is the first rule, of those that are asked, which the change breaks.
func (c *change) broken(asked func(rule) bool) (rule, bool) {
	for _, rules := range [][]rule{c.p.Type.rules, c.p.rules} {
		for _, r := range rules {
			if asked(r) && !r.holds(c) {
				return r, true
			}
		}
	}
	return rule{}, false
}

// ask asks the rules that shall be asked now.
func (c *change) ask(late bool) error {
	r, broken := c.broken(func(r rule) bool { return r.late == late && (r.reset || !c.reset) })
	if broken {
		return r.refusal(c.p.Name, phrase(r.wants))
	}
	return nil
}

// after has the effects follow, once the change is made.
func (c *change) after(tx qube.Tx) error {
	system := tx.System()
	for _, e := range c.p.effects {
		if err := e(system, c); err != nil {
			return err
		}
	}
	return nil
}

func set(tx qube.Tx, q qube.Qube, p *Property, value qube.PropertyValue) error {
	value, err := p.Type.value(p.Name, value.Shown())
	if err != nil {
		return err
	}
	if !p.Settable() {
		return exception.New(exception.QubesPropertyValueError, "property %s cannot be set", p.Name)
	}
	c, err := begin(tx, q, p)
	if err != nil {
		return err
	}
	c.new = value.Shown()
	if p.normal != nil {
		c.new = p.normal(tx, c.new)
	}
	if err := c.ask(false); err != nil {
		return err
	}
	args := append([]qube.EventArg{{Key: "newvalue", Value: p.told(c.new, true)}}, c.oldvalue()...)
	if err := tx.Fire(c.naming(p.event(c.q.Name(), "property-pre-set", args...))); err != nil {
		return err
	}
	if err := c.ask(true); err != nil {
		return err
	}
	if err := store(tx, c.q, p, valueOf(c.new)); err != nil {
		return err
	}
	if err := c.after(tx); err != nil {
		return err
	}
	return tx.Fire(p.event(c.q.Name(), "property-set", args...))
}

func store(tx qube.Tx, q qube.Qube, p *Property, value qube.PropertyValue) error {
	switch {
	case len(p.Of) == 0:
		return tx.SetGlobal(p.Name, value)
	case p.Type == label:
		name, err := qube.ParseLabelName(value.Shown())
		if err != nil {
			return err // a rule has found the label
		}
		return tx.SetLabel(q.ID(), name)
	}
	return tx.SetProperty(q.ID(), p.Name, value)
}

// reset succeeds for what is computed, too, and then changes nothing (spec: methods.yaml admin.vm.property.Reset).
func reset(tx qube.Tx, q qube.Qube, p *Property) error {
	switch {
	case p.set == once || p.fact != nil: // without it the qube would be broken (spec: properties.yaml any.label, SAFER)
		return exception.New(exception.QubesPropertyValueError, "property %s cannot be reset", p.Name)
	case p.set == bound:
		return exception.New(exception.QubesValueError, "property %s cannot be reset", p.Name)
	}
	c, err := begin(tx, q, p)
	if err != nil {
		return err
	}
	c.reset = true
	c.new, _ = c.otherwise(p)
	if err := c.ask(false); err != nil {
		return err
	}
	// The pair of set events of a reset netvm is the reference's (spec: properties.yaml QubesVM.netvm).
	var asSet []qube.EventArg
	if p.Name == Netvm && c.changed() {
		asSet = append([]qube.EventArg{{Key: "newvalue", Value: p.told(c.new, false)}}, c.oldvalue()...)
	}
	for _, what := range []string{"property-pre-reset", "property-pre-set", "property-pre-del"} {
		if err := c.tell(tx, what, asSet); err != nil {
			return err
		}
	}
	if err := c.ask(true); err != nil {
		return err
	}
	if len(p.Of) == 0 {
		err = tx.ResetGlobal(p.Name)
	} else {
		err = tx.ResetProperty(c.q.ID(), p.Name)
	}
	if err != nil {
		return err
	}
	if err := c.after(tx); err != nil {
		return err
	}
	for _, what := range []string{"property-set", "property-reset", "property-del"} {
		if err := c.tell(tx, what, asSet); err != nil {
			return err
		}
	}
	return nil
}

// tell fires one of the events of a reset; those of a set only if there is something to say in them.
func (c *change) tell(tx qube.Tx, what string, asSet []qube.EventArg) error {
	args := c.oldvalue()
	if what == "property-pre-set" || what == "property-set" {
		if asSet == nil {
			return nil
		}
		args = asSet
	}
	return tx.Fire(c.naming(c.p.event(c.q.Name(), what, args...)))
}

// naming adds to an announcement the qube that shall be referred to, since that may be refused yet. What was refers to it
// now, and may be asked for.
func (c *change) naming(e qube.Event) qube.Event {
	if e.Pre && c.p.Type.IsReference() && e.Arg("newvalue") != "" {
		e.Other, _ = qube.ParseName(c.new) // of None, nobody
	}
	return e
}

// oldvalue is the old value as events tell it: not at all where there was none (spec: properties.yaml notes.event_kwargs).
func (c *change) oldvalue() []qube.EventArg {
	if !c.oldKnown {
		return nil
	}
	return []qube.EventArg{{Key: "oldvalue", Value: c.p.told(c.old, c.oldSet)}}
}

// told is a value as events tell it: None is a word there. Text is None only where it was not set.
func (p *Property) told(text string, set bool) string {
	if text == "" && (p.Type != str || !set) {
		return "None"
	}
	return text
}
