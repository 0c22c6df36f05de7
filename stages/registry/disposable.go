package registry

import (
	"slices"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// DisposableTemplate is what a disposable that source asks for is based on: dest, or, if that is dom0, source's
// default_dispvm (spec: model.md 6, CreateDisposable). v is to show everything.
func DisposableTemplate(v qube.View, source, dest qube.Qube) (qube.Qube, error) {
	template, ok := dest, true
	if dest.Class() == qube.AdminVM {
		template, ok = properties.Reference(v, source, properties.DefaultDispvm)
	}
	if !ok || !isDisposableTemplate(v, template) {
		return nil, exception.New(exception.QubesException, "there is no template for such a disposable")
	}
	return template, nil
}

// Disposable makes a disposable for by: named by its number, with its template's label, and removed when it stops
// (spec: methods.yaml admin.vm.CreateDisposable).
func Disposable(tx qube.Tx, by, template qube.Qube) (qube.Qube, error) {
	made, err := Unclaimed(tx, template)
	if err != nil {
		return nil, err
	}
	return made, TagUser(tx, made, by)
}

// Unclaimed makes a disposable that is nobody's yet.
func Unclaimed(tx qube.Tx, template qube.Qube) (qube.Qube, error) {
	made, err := register(tx, qube.NewQube{
		Class: qube.DispVM, Label: template.Label(),
		Properties: map[qube.PropertyName]qube.PropertyValue{properties.AutoCleanup: isTrue},
	}, template)
	if err != nil {
		return nil, err
	}
	return made, store(tx, made, "", nil)
}

// TagUser gives a disposable the tags that say for whom it was made.
func TagUser(tx qube.Tx, disposable, by qube.Qube) error {
	if err := tagCreator(tx, disposable, reactions.CreatedBy, by); err != nil {
		return err
	}
	return tagCreator(tx, disposable, reactions.DispCreatedBy, by)
}

// copied are the properties that a new disposable takes over from its template (spec: model.md 6).
func copied(template qube.Qube) map[qube.PropertyName]qube.PropertyValue {
	taken := map[qube.PropertyName]qube.PropertyValue{}
	for _, p := range properties.Of(qube.DispVM) {
		if value, set := template.Property(p.Name); set && p.Copied() && p.Name != properties.Template {
			taken[p.Name] = value
		}
	}
	return taken
}

// copyRest copies firewall rules, features and tags: not what is about preloading, nor who created the template, which
// would hand authority on (SAFER), nor what First gives the disposable anyway.
func copyRest(tx qube.Tx, made, template qube.Qube) error {
	if err := tx.SetFirewall(made.ID(), slices.Collect(template.Firewall())); err != nil {
		return err
	}
	for name, value := range template.Features() {
		if _, preload := name.Cut("preload-dispvm"); preload {
			continue
		}
		if err := tx.SetFeature(made.ID(), name, value); err != nil {
			return err
		}
	}
	for tag := range template.Tags() {
		if reactions.SaysWho(tag) || reactions.IsFirst(tag) {
			continue
		}
		if err := tx.AddTag(made.ID(), tag); err != nil {
			return err
		}
	}
	return nil
}
