package reactions

import (
	"slices"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/properties"
)

// mirrors makes a qube's tags say where its property leads: PROPERTY-NAME, and no other tag that begins so. again has the
// tag taken away and given again even if it is the right one.
func mirrors(property qube.PropertyName, again bool) func(qube.Tx, qube.Event) error {
	return func(tx qube.Tx, e qube.Event) error {
		q, ok := subject(tx, e)
		if !ok {
			return nil
		}
		tag, err := mirrored(tx, q, property)
		if err != nil {
			return err
		}
		for _, old := range slices.Collect(q.Tags()) {
			if _, is := old.Cut(property.Shown() + "-"); is && (again || old != tag) {
				if err := action.RemoveTag(tx, q, old); err != nil {
					return err
				}
			}
		}
		if tag == (qube.Tag{}) {
			return nil
		}
		return action.AddTag(tx, q, tag)
	}
}

// mirrored is the tag that says where q's property leads; the zero Tag if it leads nowhere.
func mirrored(v qube.View, q qube.Qube, property qube.PropertyName) (qube.Tag, error) {
	to, ok := properties.Reference(v, q, property)
	if !ok {
		return qube.Tag{}, nil
	}
	return tagOf(property, to)
}

// tagOf fails for a name with a dot, which names may have and tags may not (spec: model.md 2, SAFER).
func tagOf(property qube.PropertyName, to qube.Qube) (qube.Tag, error) {
	tag, err := qube.ParseTag(property.Shown() + "-" + to.Shown())
	if err != nil {
		return tag, exception.New(exception.QubesException, "qube %s cannot be a %s: its name makes no tag", to, property)
	}
	return tag, nil
}

// First are the tags that a new qube has before anybody is told of it (spec: methods.yaml admin.vm.Create.{class} remarks).
func First(v qube.View, q qube.Qube) ([]qube.Tag, error) {
	if q.Class() == qube.RemoteVM { // which has no extensions
		return nil, nil
	}
	var tags []qube.Tag
	for _, property := range []qube.PropertyName{properties.Guivm, properties.Audiovm} {
		tag, err := mirrored(v, q, property)
		if err != nil {
			return nil, err
		}
		if tag != (qube.Tag{}) {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// IsFirst reports whether a tag is one that First gives, of whichever qube.
func IsFirst(tag qube.Tag) bool {
	_, gui := tag.Cut("guivm-")
	_, audio := tag.Cut("audiovm-")
	return gui || audio
}
