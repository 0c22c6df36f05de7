package inventory

import (
	"errors"
	"maps"
	"slices"
	"strconv"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// tx is one change in the making: a snapshot of its own that grows with it, the records that make it durable, and the
// events that tell of it. It is a qube.Tx. Dropping it undoes the change.
type tx struct {
	Snapshot  // a copy; what it points to is shared and never written
	inventory *Inventory
	records   []Record
	events    []qube.Event
	touched   []qube.UUID // who is another for a view of the past
	released  []int       // numbers of disposables that are no more
	depth     int         // of reactions to reactions
}

// System is t: the mask is somebody else's.
func (t *tx) System() qube.Tx { return t }

// deepest is how many reactions can follow from one another. More is a circle of ours.
const deepest = 16

// Fire keeps e for subscribers, and has the reactions follow: see qube.Writer.
func (t *tx) Fire(e qube.Event) error {
	if t.depth++; t.depth > deepest {
		return errors.New("inventory: reactions that follow from one another without end, the last to " + e.Name)
	}
	defer func() { t.depth-- }()
	if e.Pre {
		t.events = append(t.events, e)
	}
	for _, r := range t.inventory.reactions {
		if r.Matches(e.Name) {
			if err := r.React(t, e); err != nil {
				return err
			}
		}
	}
	if !e.Pre {
		t.events = append(t.events, e)
	}
	return nil
}

// update replaces the qube with id by what change makes of a copy of it.
func (t *tx) update(id qube.UUID, change func(*record)) {
	r, _ := t.find(id) // whoever calls has found it
	t.byName, _, _ = t.byName.Insert([]byte(r.name.Shown()), r.changed(change))
}

func (t *tx) write(key string, value any) {
	t.records = append(t.records, Record{Key: key, Value: encode(value)})
}

// touch notes that the past was another as far as id is concerned.
func (t *tx) touch(id qube.UUID) {
	if !slices.Contains(t.touched, id) {
		t.touched = append(t.touched, id)
	}
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
	r, err := t.known(id)
	if err != nil {
		return err
	}
	t.refer(id, name, r.properties[name], value)
	t.update(id, func(r *record) { r.properties = withProperty(r.properties, name, value) })
	t.write(propertyKey(id, name), value.Shown())
	return nil
}

// refer notes what a property of id refers to now.
func (t *tx) refer(id qube.UUID, name qube.PropertyName, old, value qube.PropertyValue) {
	t.refs = t.refs.changed(id, name, old, value)
	if slices.Contains(qube.References, name) {
		t.touch(id)
	}
}

// ResetProperty gives a property its default back.
func (t *tx) ResetProperty(id qube.UUID, name qube.PropertyName) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	old, set := r.properties[name]
	if !set {
		return nil
	}
	t.refer(id, name, old, qube.PropertyValue{})
	t.update(id, func(r *record) {
		r.properties = withProperty(r.properties, name, qube.PropertyValue{})
		delete(r.properties, name)
	})
	t.erase(propertyKey(id, name))
	return nil
}

// SetGlobal sets a property of the system explicitly.
func (t *tx) SetGlobal(name qube.PropertyName, value qube.PropertyValue) error {
	t.globals = withProperty(t.globals, name, value)
	t.write(globalKey(name), value.Shown())
	return nil
}

// ResetGlobal gives a property of the system its default back.
func (t *tx) ResetGlobal(name qube.PropertyName) error {
	if _, set := t.globals[name]; set {
		t.globals = maps.Clone(t.globals)
		delete(t.globals, name)
		t.erase(globalKey(name))
	}
	return nil
}

// SetLabel gives a qube another label.
func (t *tx) SetLabel(id qube.UUID, label qube.LabelName) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	if _, there := t.Label(label); !there {
		return exception.New(exception.QubesLabelNotFoundError, "no such label: %s", label)
	}
	t.update(r.id, func(r *record) { r.label = label })
	t.writeQube(id)
	return nil
}

// AddQube registers a qube; see qube.NewQube for what it chooses itself.
func (t *tx) AddQube(n qube.NewQube) (qube.Qube, error) {
	r := &record{
		name: n.Name, id: n.ID, class: n.Class, label: n.Label, runtime: qube.Runtime{State: qube.Halted},
		properties: maps.Clone(n.Properties),
	}
	if r.id == (qube.UUID{}) {
		r.id = t.inventory.newUUID()
	}
	if r.class == qube.DispVM {
		if err := t.number(r); err != nil {
			return nil, err
		}
	}
	_, named := t.byName.Get([]byte(r.name.Shown()))
	_, known := t.byID.Get([]byte(r.id.Shown()))
	if named || known {
		return nil, exception.New(exception.QubesVMAlreadyExistsError, "there is a qube %s already", r.name)
	}
	qid, free := t.qids.free()
	if !free {
		return nil, exception.New(exception.QubesException, "there are as many qubes as there can be")
	}
	r.qid, t.qids = qid, t.qids.with(qid)
	t.byName, _, _ = t.byName.Insert([]byte(r.name.Shown()), r)
	t.byID, _, _ = t.byID.Insert([]byte(r.id.Shown()), r.name)
	t.writeQube(r.id)
	t.touch(r.id)
	for p, v := range r.properties {
		t.refs = t.refs.changed(r.id, p, qube.PropertyValue{}, v)
		t.write(propertyKey(r.id, p), v.Shown())
	}
	return r, nil
}

// draws is how many random numbers are tried for a disposable (spec: model.md 3).
const draws = 100

// number gives a disposable its dispid, and, if it has none, its name.
func (t *tx) number(r *record) error {
	for range draws {
		id := t.inventory.random(maxNumber)
		name := r.name
		if name == (qube.Name{}) {
			name = must(qube.ParseName("disp" + strconv.Itoa(id)))
		}
		_, taken := t.byName.Get([]byte(name.Shown()))
		if t.dispids.has(id) || t.inventory.releasedLately(id) || taken && r.name == (qube.Name{}) {
			continue
		}
		r.name, t.dispids = name, t.dispids.with(id)
		r.properties = withProperty(r.properties, propDispid, must(qube.ParsePropertyValue(strconv.Itoa(id))))
		return nil
	}
	return exception.New(exception.QubesException, "no number is free for another disposable")
}

// RemoveQube unregisters a qube and forgets all that belonged to it. Whoever calls has made sure that nobody needs it.
func (t *tx) RemoveQube(id qube.UUID) error {
	r, err := t.known(id)
	if err != nil {
		return err
	}
	if r.id == qube.Dom0UUID {
		return exception.New(exception.QubesVMInUseError, "dom0 cannot be removed")
	}
	for p, v := range r.properties {
		t.refs = t.refs.changed(id, p, v, qube.PropertyValue{})
		t.erase(propertyKey(id, p))
	}
	for _, f := range r.features.all() {
		t.erase(featureKey(id, f.name))
	}
	for _, tag := range r.tags {
		t.erase(tagKey(id, tag))
	}
	for name := range r.volumes {
		t.erase(volumeKey(id, name))
	}
	t.erase(firewallKey(id))
	t.erase(notesKey(id))
	t.erase(runtimeKey(id))
	t.erase(intentKey(id))
	t.erase(qubeKey(id))
	if n, err := strconv.Atoi(r.properties[propDispid].Shown()); err == nil && r.class == qube.DispVM {
		t.dispids = t.dispids.without(n)
		t.released = append(t.released, n)
	}
	t.qids = t.qids.without(r.qid)
	t.byName, _, _ = t.byName.Delete([]byte(r.name.Shown()))
	t.byID, _, _ = t.byID.Delete([]byte(id.Shown()))
	t.touch(id)
	return nil
}

// SetRuntime says what the hypervisor said.
func (t *tx) SetRuntime(id qube.UUID, now qube.Runtime) error {
	if _, err := t.known(id); err != nil {
		return err
	}
	t.update(id, func(r *record) { r.runtime = now })
	t.write(runtimeKey(id), runtimeOf(now))
	return nil
}

// SetIntent opens work on a qube, or closes it.
func (t *tx) SetIntent(id qube.UUID, intent qube.Intent) error {
	if _, err := t.known(id); err != nil {
		return err
	}
	t.update(id, func(r *record) { r.intent = intent })
	if intent.Kind == "" {
		t.erase(intentKey(id))
	} else {
		t.write(intentKey(id), intent)
	}
	return nil
}

func (t *tx) writeQube(id qube.UUID) {
	r, _ := t.find(id)
	t.write(qubeKey(id), qubeFact{r.name.Shown(), string(r.class), r.label.Shown(), r.qid})
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
	t.touch(id)
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
	t.touch(id)
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

// SetVolume says where a volume is and how large.
func (t *tx) SetVolume(id qube.UUID, name qube.VolumeName, v qube.Volume) error {
	if _, err := t.known(id); err != nil {
		return err
	}
	t.update(id, func(r *record) { r.volumes = withVolume(r.volumes, name, v) })
	t.write(volumeKey(id, name), v)
	return nil
}

// SetFirewall replaces the rules of a qube's firewall.
func (t *tx) SetFirewall(id qube.UUID, rules []qube.FirewallRule) error {
	if _, err := t.known(id); err != nil {
		return err
	}
	t.update(id, func(r *record) { r.firewall = slices.Clone(rules) })
	if len(rules) == 0 {
		t.erase(firewallKey(id))
	} else {
		t.write(firewallKey(id), linesOf(rules))
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
	if l.Index <= qube.BuiltinLabels {
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
