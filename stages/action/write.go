package action

import "sallyport/messages/qube"

// The writes of tags and features with the events that they are told by (spec: events.md 4). Methods, properties and
// reactions all write through them.

// AddTag adds a tag. One that is there already is no event (spec: model.md 11).
func AddTag(tx qube.Tx, q qube.Qube, tag qube.Tag) error {
	if now, ok := tx.System().QubeByID(q.ID()); ok && now.HasTag(tag) {
		return nil
	}
	if err := tx.AddTag(q.ID(), tag); err != nil {
		return err
	}
	return tx.Fire(tagEvent(q, "domain-tag-add:", tag))
}

// RemoveTag fails if the tag is not there.
func RemoveTag(tx qube.Tx, q qube.Qube, tag qube.Tag) error {
	if err := tx.RemoveTag(q.ID(), tag); err != nil {
		return err
	}
	return tx.Fire(tagEvent(q, "domain-tag-delete:", tag))
}

func tagEvent(q qube.Qube, what string, tag qube.Tag) qube.Event {
	return qube.Event{Subject: q.Name(), Name: what + tag.Shown(), Args: []qube.EventArg{{Key: "tag", Value: tag.Shown()}}}
}

// Connected is an event of a net qube: that it has a client now which runs.
func Connected(netvm, client qube.Qube) qube.Event {
	return qube.Event{
		Subject: netvm.Name(), Name: "net-domain-connect", Args: []qube.EventArg{{Key: "vm", Value: client.Shown()}}, Other: client.Name(),
	}
}

// SetFeature announces, sets and tells. Whoever calls has checked the value.
func SetFeature(tx qube.Tx, q qube.Qube, name qube.FeatureName, value qube.FeatureValue) error {
	args := []qube.EventArg{{Key: "feature", Value: name.Shown()}, {Key: "value", Value: value.Shown()}}
	if now, ok := tx.System().QubeByID(q.ID()); ok {
		if old, set := now.Feature(name); set {
			args = append(args, qube.EventArg{Key: "oldvalue", Value: old.Shown()})
		}
	}
	if err := tx.Fire(qube.Event{Subject: q.Name(), Name: "domain-feature-pre-set:" + name.Shown(), Args: args, Pre: true}); err != nil {
		return err
	}
	if err := tx.SetFeature(q.ID(), name, value); err != nil {
		return err
	}
	return tx.Fire(qube.Event{Subject: q.Name(), Name: "domain-feature-set:" + name.Shown(), Args: args})
}

// RemoveFeature announces the removal, also of a feature that is not there, which fails then
// (spec: methods.yaml admin.vm.feature.Remove).
func RemoveFeature(tx qube.Tx, q qube.Qube, name qube.FeatureName) error {
	args := []qube.EventArg{{Key: "feature", Value: name.Shown()}}
	if err := tx.Fire(qube.Event{Subject: q.Name(), Name: "domain-feature-pre-delete:" + name.Shown(), Args: args, Pre: true}); err != nil {
		return err
	}
	if err := tx.RemoveFeature(q.ID(), name); err != nil {
		return err
	}
	return tx.Fire(qube.Event{Subject: q.Name(), Name: "domain-feature-delete:" + name.Shown(), Args: args})
}
