package permission

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
)

// AdminExtension are the handlers that the reference's admin extension registers (spec: extensions.md 2).
var AdminExtension = []stages.Handler{createdByTags, daemonsFeatures}

// createdByTags keeps the tags that say who created a qube out of the hands of everyone but dom0
// (spec: extensions.md 2; model.md 11, SAFER: disp-created-by- is protected alike; RemoteVM sources are no exception).
var createdByTags = stages.Handler{
	Methods: []string{"admin.vm.tag.Set", "admin.vm.tag.Remove"},
	Check: func(f stages.Facts) (stages.Filter, error) {
		tag := f.Arg.(qube.Tag)
		_, created := tag.Cut("created-by-")
		_, disposable := tag.Cut("disp-created-by-")
		if (created || disposable) && f.Source.Class() != qube.AdminVM {
			return nil, exception.Denied
		}
		return nil, nil
	},
}

// internalFeatures are those that the daemon keeps for itself, from dom0 too (spec: extensions.md 2).
var internalFeatures = map[string]bool{
	"deferred-netvm-original": true, "preload-dispvm": true,
	"preload-dispvm-completed": true, "preload-dispvm-in-progress": true,
}

var daemonsFeatures = stages.Handler{
	Methods: []string{"admin.vm.feature.Set", "admin.vm.feature.Remove", "dest.feat.Set"},
	Check: func(f stages.Facts) (stages.Filter, error) {
		if internalFeatures[f.Arg.(qube.FeatureName).Shown()] {
			return nil, exception.Denied
		}
		return nil, nil
	},
}
