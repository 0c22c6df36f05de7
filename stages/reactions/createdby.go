package reactions

import (
	"strings"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

var createdBy = []qube.Reaction{{On: "domain-tag-add:" + CreatedBy + "*", React: tagCreated}}

// CreatedBy is what the tag that says who created a qube begins with, and DispCreatedBy what a second one of disposables
// begins with.
const (
	CreatedBy     = "created-by-"
	DispCreatedBy = "disp-" + CreatedBy
)

// SaysWho reports whether a tag says who created a qube. Such a tag is authority, and what follows from it differs by
// whether there is such a qube: nobody but dom0 may have one given (spec: model.md 11, SAFER).
func SaysWho(tag qube.Tag) bool {
	_, created := tag.Cut(CreatedBy)
	_, disposable := tag.Cut(DispCreatedBy)
	return created || disposable
}

var tagCreatedWith = known(qube.ParseFeatureName("tag-created-vm-with"))

// tagCreated gives a qube the tags that its creator wants on all that it creates (spec: extensions.md 4).
func tagCreated(tx qube.Tx, e qube.Event) error {
	created, ok := subject(tx, e)
	if !ok || created.Class() == qube.RemoteVM { // which has no extensions
		return nil
	}
	creator, err := creatorOf(tx, e)
	if err != nil {
		return err
	}
	with, _ := creator.Feature(tagCreatedWith)
	for _, word := range strings.Fields(with.Shown()) {
		tag, err := qube.ParseTag(word)
		if err != nil {
			return exception.New(exception.QubesInvalidTagError, "feature %s of qube %s names something that is no tag", tagCreatedWith, creator)
		}
		if SaysWho(tag) {
			return exception.New(exception.QubesInvalidTagError, "feature %s of qube %s names a tag that says who created a qube", tagCreatedWith, creator)
		}
		if err := action.AddTag(tx, created, tag); err != nil {
			return err
		}
	}
	return nil
}

// creatorOf is the qube that a tag of CreatedBy names. The reference leaves its caller without an answer where there is
// none (SAFER: say so).
func creatorOf(v qube.View, e qube.Event) (qube.Qube, error) {
	name, err := qube.ParseName(strings.TrimPrefix(e.Arg("tag"), CreatedBy))
	creator, ok := v.Qube(name)
	if err != nil || !ok {
		return nil, exception.New(exception.QubesVMNotFoundError, "no qube has the name that follows created-by-")
	}
	return creator, nil
}
