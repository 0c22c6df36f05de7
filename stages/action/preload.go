package action

import (
	"slices"
	"strings"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// The features in which a template keeps the names of its preloaded disposables, with spaces between
// (spec: model.md 6, Preload features).
var (
	PreloadWaiting    = feature("preload-dispvm") // all that were made and not handed out, oldest first
	PreloadCompleted  = feature("preload-dispvm-completed")
	PreloadInProgress = feature("preload-dispvm-in-progress")

	// What a person sets: how many shall wait, how long after one was used the next is made, and, of dom0, how many MiB of
	// memory stay free.
	PreloadMax       = feature("preload-dispvm-max")
	PreloadDelay     = feature("preload-dispvm-delay")
	PreloadThreshold = feature("preload-dispvm-threshold")

	PreloadLists = []qube.FeatureName{PreloadWaiting, PreloadCompleted, PreloadInProgress}
)

func feature(s string) qube.FeatureName {
	n, err := qube.ParseFeatureName(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return n
}

// Listed are the names in a list of q.
func Listed(q qube.Qube, list qube.FeatureName) []qube.Name {
	value, _ := q.Feature(list)
	var names []qube.Name
	for _, word := range strings.Fields(value.Shown()) {
		if name, err := qube.ParseName(word); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// IsPreloaded reports whether q is a disposable that waits to be handed out (spec: properties.yaml DispVM.is_preload).
func IsPreloaded(v qube.View, q qube.Qube) bool {
	if q.Class() != qube.DispVM {
		return false
	}
	template, ok := v.Template(q)
	return ok && (slices.Contains(Listed(template, PreloadWaiting), q.Name()) ||
		slices.Contains(Listed(template, PreloadInProgress), q.Name()))
}

// List appends a name to a list of q.
func List(tx qube.Tx, q qube.Qube, list qube.FeatureName, name qube.Name) error {
	return setList(tx, q, list, func(names []qube.Name) []qube.Name { return append(names, name) })
}

// Unlist takes a name from a list of q. It is no change if the name is not there.
func Unlist(tx qube.Tx, q qube.Qube, list qube.FeatureName, name qube.Name) error {
	return setList(tx, q, list, func(names []qube.Name) []qube.Name {
		return slices.DeleteFunc(names, func(n qube.Name) bool { return n == name })
	})
}

func setList(tx qube.Tx, q qube.Qube, list qube.FeatureName, change func([]qube.Name) []qube.Name) error {
	now, ok := tx.System().QubeByID(q.ID())
	if !ok {
		return nil
	}
	before := Listed(now, list)
	after := change(slices.Clone(before))
	if slices.Equal(before, after) {
		return nil
	}
	var words []string
	for _, n := range after {
		words = append(words, n.Shown())
	}
	value, err := qube.ParseFeatureValue(strings.Join(words, " "))
	if err != nil {
		return err
	}
	return SetFeature(tx, now, list, value)
}

// preloadNeeds are what disposables say that they are up by.
var preloadNeeds = []qube.FeatureName{
	feature("qrexec"), feature("supported-rpc.qubes.WaitForRunningSystem"), feature("supported-rpc.qubes.WaitForSession"),
}

// CanPreload fails for a template whose disposables could not say that they are up.
func CanPreload(v qube.View, template qube.Qube) error {
	for _, f := range preloadNeeds {
		if has, err := FeatureIn(Chain(template, v.Template), template, f); err != nil || has == (qube.FeatureValue{}) {
			return exception.New(exception.QubesValueError, "preloading needs feature %s in qube %s or its template", f, template)
		}
	}
	return nil
}
