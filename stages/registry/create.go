// Package registry is how qubes come and go (spec: model.md 6, 8).
package registry

import (
	"maps"
	"slices"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
	"sallyport/stages/storage"
)

// Wanted is what a qube shall be created as.
type Wanted struct {
	Class    qube.Class
	Name     qube.Name
	Label    qube.LabelName
	Template qube.Name // zero: the system's default, for a class that has templates

	// Pool is for all volumes that can be moved, Pools for single ones. Empty: where new volumes go.
	Pool  string
	Pools map[qube.VolumeName]string
}

// Create makes a qube for by, and tells of it (spec: methods.yaml admin.vm.Create.{class}). tx shows what by may see.
func Create(tx qube.Tx, by qube.Qube, w Wanted) (qube.Qube, error) {
	if _, taken := tx.System().Qube(w.Name); taken {
		return nil, exception.New(exception.QubesVMAlreadyExistsError, "there is a qube %s already", w.Name)
	}
	var template qube.Qube
	if w.Template != (qube.Name{}) {
		var ok bool
		if template, ok = tx.Qube(w.Template); !ok {
			return nil, exception.New(exception.QubesVMNotFoundError, "no such template: %s", w.Template)
		}
	}
	if _, ok := tx.Label(w.Label); !ok {
		return nil, exception.New(exception.QubesLabelNotFoundError, "no such label: %s", w.Label)
	}
	for _, pool := range append(slices.Collect(maps.Values(w.Pools)), w.Pool) {
		if pool != "" && !storage.HasPool(tx, pool) {
			return nil, exception.New(exception.QubesException, "there is no such pool")
		}
	}
	template, err := templateFor(tx, w.Class, template)
	if err != nil {
		return nil, err
	}
	made, err := register(tx, qube.NewQube{Name: w.Name, Class: w.Class, Label: w.Label}, template)
	if err != nil {
		return nil, err
	}
	if err := tagCreator(tx, made, reactions.CreatedBy, by); err != nil {
		return nil, err
	}
	return made, store(tx, made, w.Pool, w.Pools)
}

// templateFor checks that a qube of the class can be based on given, or finds the system's default for it. It is nil for a
// class without templates.
func templateFor(tx qube.Tx, class qube.Class, given qube.Qube) (qube.Qube, error) {
	var byDefault qube.PropertyName
	switch class {
	case qube.AdminVM:
		return nil, exception.New(exception.QubesPropertyValueError, "there is one qube of class AdminVM, and it is there already")
	case qube.AppVM:
		byDefault = properties.DefaultTemplate
	case qube.DispVM:
		byDefault = properties.DefaultDispvm
	default:
		return nil, nil
	}
	template := given
	if template == nil {
		name, err := qube.ParseName(properties.Global(tx.System(), byDefault).Shown())
		var ok bool
		if template, ok = tx.System().Qube(name); err != nil || !ok {
			return nil, exception.New(exception.QubesValueError, "no template is given, and property %s of the system names none", byDefault)
		}
	}
	if class == qube.AppVM && template.Class() != qube.TemplateVM {
		return nil, exception.New(exception.QubesPropertyValueError, "qube %s is no TemplateVM", template)
	}
	if class == qube.DispVM && !isDisposableTemplate(tx.System(), template) {
		return nil, exception.New(exception.QubesValueError, "qube %s is no template for disposables", template)
	}
	return template, nil
}

func isDisposableTemplate(v qube.View, q qube.Qube) bool {
	return q.Class() != qube.AdminVM && q.Class() != qube.RemoteVM && properties.Flag(v, q, properties.TemplateForDispvms)
}

var (
	checkUpdates = known(qube.ParseFeatureName("check-updates"))
	isTrue       = known(qube.ParsePropertyValue("True"))
)

// register makes the qube with all that it has before anybody is told of it, and tells.
func register(tx qube.Tx, n qube.NewQube, template qube.Qube) (qube.Qube, error) {
	own := n.Properties
	n.Properties = map[qube.PropertyName]qube.PropertyValue{}
	if n.Class == qube.DispVM {
		n.Properties = copied(template)
	}
	maps.Copy(n.Properties, own)
	if template != nil {
		name, err := qube.ParsePropertyValue(template.Shown())
		if err != nil {
			return nil, err
		}
		n.Properties[properties.Template] = name
	}
	made, err := tx.AddQube(n)
	if err != nil {
		return nil, err
	}
	if n.Class == qube.DispVM {
		if err := copyRest(tx, made, template); err != nil {
			return nil, err
		}
	}
	if n.Class != qube.RemoteVM && properties.Global(tx.System(), properties.CheckUpdatesVM).Shown() == "False" {
		if err := tx.SetFeature(made.ID(), checkUpdates, qube.FeatureValue{}); err != nil {
			return nil, err
		}
	}
	first, err := reactions.First(tx.System(), made)
	if err != nil {
		return nil, err
	}
	for _, tag := range first {
		if err := tx.AddTag(made.ID(), tag); err != nil {
			return nil, err
		}
	}
	return made, tx.Fire(about("domain-add", made))
}

// about is an event of the system that is about a qube.
func about(name string, q qube.Qube) qube.Event {
	return qube.Event{Name: name, Args: []qube.EventArg{{Key: "vm", Value: q.Shown()}}}
}

// tagCreator gives a new qube the tag that says who created it.
func tagCreator(tx qube.Tx, made qube.Qube, prefix string, by qube.Qube) error {
	tag, err := qube.ParseTag(prefix + by.Shown())
	if err != nil { // a dot, which names may have and tags may not (spec: model.md 2, SAFER)
		return exception.New(exception.QubesException, "qube %s cannot create qubes: its name makes no tag", by)
	}
	return action.AddTag(tx, made, tag)
}

// store gives a new qube its volumes, and tells.
func store(tx qube.Tx, made qube.Qube, pool string, pools map[qube.VolumeName]string) error {
	if made.Class() == qube.RemoteVM {
		return nil // which has none
	}
	if err := storage.Create(tx, made, pool, pools); err != nil {
		return err
	}
	return tx.Fire(qube.Event{Subject: made.Name(), Name: "domain-create-on-disk"})
}

// known is for nouns of ours.
func known[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
