package methods

import (
	"iter"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/action"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
	"sallyport/stages/sanitize"
)

type featureGrant = stages.Grant[qube.FeatureName, nothing]

var features = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.feature.List", Dest: stages.AnyQube, Access: stages.Read,
		Help:  "list the names of a qube's features, as first set",
		Gives: "FEATURE LF each",
		Arg:   stages.None, Payload: stages.None,
		Read: func(_ qube.View, g plain) (messages.Reply, error) {
			names := func(yield func(qube.FeatureName) bool) {
				for name := range g.Dest().Features() {
					if !yield(name) {
						return
					}
				}
			}
			return action.Lines(names, g.Keeps, action.Shown), nil
		},
	}),
	lookup("admin.vm.feature.Get", "tell a feature's value",
		func(_ qube.View, dest qube.Qube) iter.Seq[qube.Qube] { return only(dest) }),
	lookup("admin.vm.feature.CheckWithTemplate", "tell a feature's value, looking in the templates too",
		func(v qube.View, dest qube.Qube) iter.Seq[qube.Qube] { return action.Chain(dest, v.Template) }),
	lookup("admin.vm.feature.CheckWithNetvm", "tell a feature's value, looking in the net qubes too",
		func(v qube.View, dest qube.Qube) iter.Seq[qube.Qube] { return action.Chain(dest, v.Netvm) }),
	lookup("admin.vm.feature.CheckWithAdminVM", "tell a feature's value, looking in dom0 too",
		func(v qube.View, dest qube.Qube) iter.Seq[qube.Qube] { return andDom0(v, only(dest)) }),
	lookup("admin.vm.feature.CheckWithTemplateAndAdminVM", "tell a feature's value, looking in the templates and dom0 too",
		func(v qube.View, dest qube.Qube) iter.Seq[qube.Qube] {
			return andDom0(v, action.Chain(dest, v.Template))
		}),
	stages.Declare(stages.Method[qube.FeatureName, nothing]{
		Name: "admin.vm.feature.Remove", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
		Help: "remove a feature",
		Arg:  sanitize.FeatureToFind, Payload: stages.None,
		Change: func(tx qube.Tx, g featureGrant) (messages.Reply, error) {
			return messages.Empty, action.RemoveFeature(tx, g.Dest(), g.Arg())
		},
	}),
	stages.Declare(stages.Method[qube.FeatureName, qube.FeatureValue]{
		Name: "admin.vm.feature.Set", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
		Help: "set a feature; an empty value means false",
		Arg:  sanitize.FeatureName, Payload: sanitize.FeatureValue,
		Change: setFeature,
	}),
	stages.Declare(stages.Method[qube.FeatureName, qube.FeatureValue]{
		Name: "dest.feat.Set", Dest: stages.NotAdminVM, Access: stages.Read | stages.Write, Scope: stages.Global,
		Help: "give a feature that a qube has already a new value",
		Arg:  sanitize.FeatureWord, Payload: sanitize.FeatureValue,
		Requires: func(_ qube.View, dest qube.Qube, name qube.FeatureName) bool {
			_, has := dest.Feature(name)
			return has // absent looks prohibited, to dom0 too
		},
		Change: setFeature,
	}),
}

// lookup declares a method that tells a feature's value from the first of places that has it.
func lookup(name, help string, places func(qube.View, qube.Qube) iter.Seq[qube.Qube]) stages.Entry {
	return stages.Declare(stages.Method[qube.FeatureName, nothing]{
		Name: name, Dest: stages.AnyQube, Access: stages.Read, Help: help, Gives: "the value",
		Arg: sanitize.FeatureToFind, Payload: stages.None,
		Read: func(v qube.View, g featureGrant) (messages.Reply, error) {
			value, err := action.FeatureIn(places(v, g.Dest()), g.Dest(), g.Arg())
			return messages.Text(value.Shown()), err
		},
	})
}

// andDom0 is places, and dom0 at the end.
func andDom0(v qube.View, places iter.Seq[qube.Qube]) iter.Seq[qube.Qube] {
	return func(yield func(qube.Qube) bool) {
		for q := range places {
			if !yield(q) {
				return
			}
		}
		if dom0, ok := v.Qube(qube.Dom0); ok {
			yield(dom0)
		}
	}
}

// setFeature checks the value first, so that a refused one leaves nothing behind (spec: model.md 10, SAFER).
func setFeature(tx qube.Tx, g stages.Grant[qube.FeatureName, qube.FeatureValue]) (messages.Reply, error) {
	dest, name, value := g.Dest(), g.Arg(), g.Payload()
	if name == reactions.SetCreatedGuivm && g.Source().Class() != qube.AdminVM { // dom0 may name what is yet to come
		if err := namesQube(tx, name, value); err != nil {
			return messages.Empty, err
		}
	}
	if dest.Class() != qube.RemoteVM { // whose features are unchecked
		if err := validFeature(tx, dest, name, value); err != nil {
			return messages.Empty, err
		}
		if name == meminfoWriter {
			return messages.Empty, setMeminfoWriter(tx, dest, value)
		}
	}
	return messages.Empty, action.SetFeature(tx, dest, name, value)
}

// namesQube fails for a value that names nobody whom v shows: whether there is one is not told in any other way
// (design: 7; SAFER).
func namesQube(v qube.View, feature qube.FeatureName, value qube.FeatureValue) error {
	name, err := qube.ParseName(value.Shown())
	if _, there := v.Qube(name); value != (qube.FeatureValue{}) && (err != nil || !there) {
		return exception.New(exception.QubesValueError, "feature %s: expected a qube that exists", feature)
	}
	return nil
}

var (
	meminfoWriter = known(qube.ParseFeatureName("service.meminfo-writer"))
	maxmemZero    = known(qube.ParsePropertyValue("0"))
)

// setMeminfoWriter turns memory balancing on or off, which is the property maxmem and no feature (spec: model.md 10). The
// rules of that property are its own.
func setMeminfoWriter(tx qube.Tx, dest qube.Qube, value qube.FeatureValue) error {
	if _, there := dest.Feature(meminfoWriter); there {
		if err := action.RemoveFeature(tx, dest, meminfoWriter); err != nil {
			return err
		}
	}
	if value != (qube.FeatureValue{}) {
		return properties.Reset(tx, dest, properties.Maxmem)
	}
	return properties.Set(tx, dest, properties.Maxmem, maxmemZero)
}

// validFeature is what a value must be for a name that means something (spec: model.md 10).
func validFeature(v qube.View, dest qube.Qube, name qube.FeatureName, value qube.FeatureValue) error {
	if rest, ok := name.Cut("service."); ok {
		return validService(rest)
	}
	if rest, ok := name.Cut("vm-config."); ok && !validConfigName(rest) {
		return exception.New(exception.QubesValueError, "after vm-config. comes a letter, and up to 52 bytes in all")
	}
	if rest, ok := name.Cut("custom-persist."); ok {
		if len(rest) < 1 || len(rest) > 54 {
			return exception.New(exception.QubesValueError, "after custom-persist. come 1 to 54 bytes")
		}
		if !validPersist(value.Shown()) {
			return exception.New(exception.QubesValueError, "%s is an absolute path, or file or dir, owner, group, octal mode and path, with ':' between", name)
		}
	}
	if rest, ok := name.Cut("preload-dispvm-"); ok {
		return validPreload(v, dest, rest, value)
	}
	if rest, ok := name.Cut("net.fake-"); ok && fakeAddresses[rest] && value != (qube.FeatureValue{}) && !isIPv4(value.Shown()) {
		return exception.New(exception.QubesValueError, "%s is an IPv4 address", name)
	}
	return nil
}
