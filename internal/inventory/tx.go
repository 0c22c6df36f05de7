package inventory

import (
	"slices"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// tx is one change in the making: a snapshot of its own that grows with it, and the records that make it durable. It is
// a qube.Tx. Dropping it undoes the change.
type tx struct {
	Snapshot // a copy; what it points to is shared and never written
	records  []Record
}

// update replaces the qube with id by what change makes of a copy of it.
func (t *tx) update(id qube.UUID, change func(*record)) {
	r, _ := t.find(id) // whoever calls has found it
	t.byName, _, _ = t.byName.Insert([]byte(r.name.Shown()), r.changed(change))
}

func (t *tx) write(key string, value any) {
	t.records = append(t.records, Record{Key: key, Value: encode(value)})
}
func (t *tx) erase(key string) { t.records = append(t.records, Record{Key: key, Deleted: true}) }

func (t *tx) known(id qube.UUID) (*record, error) {
	r, ok := t.find(id)
	if !ok {
		return nil, exception.New(exception.QubesVMNotFoundError, "no such qube: %s", qube.ByID(id))
	}
	return r, nil
}

// SetFeature keeps the place of a feature that is there already (spec: model.md 10).
func (t *tx) SetFeature(id qube.UUID, name qube.FeatureName, value qube.FeatureValue) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	features, f := r.features.set(name, value)
	t.update(id, func(r *record) { r.features = features })
	t.write(featureKey(id, name), featureFact{f.place, f.value.Shown()})
	return nil
}

// RemoveFeature fails if the feature is not set.
func (t *tx) RemoveFeature(id qube.UUID, name qube.FeatureName) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	if _, there := r.features.find(name); !there {
		return exception.New(exception.QubesFeatureNotFoundError, "qube %s has no feature %s", r.name, name)
	}
	t.update(id, func(r *record) { r.features = r.features.without(name) })
	t.erase(featureKey(id, name))
	return nil
}

// SetProperty sets a property explicitly. Whoever calls has checked the value against the property's definition.
func (t *tx) SetProperty(id qube.UUID, name qube.PropertyName, value qube.PropertyValue) error {
	if _, err := t.known(id); err != nil {
		return err
	}
	t.update(id, func(r *record) { r.properties = withProperty(r.properties, name, value) })
	t.write(propertyKey(id, name), value.Shown())
	return nil
}

// ResetProperty gives a property its default back.
func (t *tx) ResetProperty(id qube.UUID, name qube.PropertyName) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	if _, set := r.properties[name]; !set {
		return nil
	}
	t.update(id, func(r *record) {
		r.properties = withProperty(r.properties, name, qube.PropertyValue{})
		delete(r.properties, name)
	})
	t.erase(propertyKey(id, name))
	return nil
}

// AddTag does nothing if the tag is there already (spec: model.md 11).
func (t *tx) AddTag(id qube.UUID, tag qube.Tag) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	i, there := r.tagAt(tag)
	if there {
		return nil
	}
	t.update(id, func(r *record) { r.tags = slices.Insert(slices.Clone(r.tags), i, tag) })
	t.write(tagKey(id, tag), true)
	return nil
}

// RemoveTag fails if the tag is not there.
func (t *tx) RemoveTag(id qube.UUID, tag qube.Tag) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	i, there := r.tagAt(tag)
	if !there {
		return exception.New(exception.QubesTagNotFoundError, "qube %s has no tag %s", r.name, tag)
	}
	t.update(id, func(r *record) { r.tags = slices.Delete(slices.Clone(r.tags), i, i+1) })
	t.erase(tagKey(id, tag))
	return nil
}

// SetNotes replaces the notes; empty ones are none.
func (t *tx) SetNotes(id qube.UUID, notes qube.Notes) error {
	if _, err := t.known(id); err != nil {
		return err
	}
	t.update(id, func(r *record) { r.notes = notes })
	if notes == (qube.Notes{}) {
		t.erase(notesKey(id))
	} else {
		t.write(notesKey(id), notes.Shown())
	}
	return nil
}

// AddLabel fails if the name or the index is taken.
func (t *tx) AddLabel(l qube.Label) error {
	_, named := t.Label(l.Name)
	_, numbered := t.LabelByIndex(l.Index)
	if named || numbered {
		return exception.New(exception.QubesLabelInUseError, "label %s exists already", l)
	}
	i, _ := slices.BinarySearchFunc(t.labels, l.Index, func(a qube.Label, index int) int { return a.Index - index })
	t.labels = slices.Insert(slices.Clone(t.labels), i, l)
	t.write(labelKey(l.Name), labelFact{l.Index, l.Color.Shown()})
	return nil
}

// RemoveLabel fails if there is no such label, if it is built in, or if a qube has it (spec: model.md 9).
func (t *tx) RemoveLabel(name qube.LabelName) error {
	l, ok := t.Label(name)
	if !ok {
		return exception.New(exception.QubesLabelNotFoundError, "no such label: %s", name)
	}
	if l.Index <= BuiltinLabels {
		return exception.New(exception.ProtocolError, "a built-in label cannot be removed")
	}
	for r := range t.Snapshot.records() {
		if r.label == name {
			return exception.New(exception.QubesLabelInUseError, "label %s is in use", l)
		}
	}
	t.labels = slices.DeleteFunc(slices.Clone(t.labels), func(x qube.Label) bool { return x.Index == l.Index })
	t.erase(labelKey(name))
	return nil
}
