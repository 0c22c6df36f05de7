// Package storage says what volumes a qube has, and in which pools (spec: storage.md 3).
package storage

import (
	"iter"
	"slices"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// Volume is one of a qube's volumes, as it is now.
type Volume struct {
	qube.Volume
	Kind
	Name qube.VolumeName
	ID   string // vid: unique in its pool
	From string // the vid of the volume that it is a snapshot of; empty: none
}

// Kind is what a volume is for.
type Kind struct {
	Writable    bool
	SaveOnStop  bool // what the qube writes is kept
	SnapOnStart bool // it begins as a copy of another qube's volume
	size        uint64
}

const gib = 1 << 30

// Kinds that several classes have.
var (
	keptRoot    = Kind{Writable: true, SaveOnStop: true, size: 10 * gib}
	keptPrivate = Kind{Writable: true, SaveOnStop: true, size: 2 * gib}
	snapshot    = Kind{Writable: true, SnapOnStart: true}
	volatile    = Kind{Writable: true, size: 10 * gib}
	kernel      = Kind{}
)

// kinds are those of each class that has volumes (spec: storage.yaml volume_kinds).
var kinds = map[qube.Class]map[qube.VolumeName]Kind{
	qube.TemplateVM: {
		qube.RootVolume: keptRoot, qube.PrivateVolume: keptPrivate, qube.VolatileVolume: volatile, qube.KernelVolume: kernel,
	},
	qube.StandaloneVM: {
		qube.RootVolume: keptRoot, qube.PrivateVolume: keptPrivate, qube.VolatileVolume: volatile, qube.KernelVolume: kernel,
	},
	qube.AppVM: {
		qube.RootVolume: snapshot, qube.PrivateVolume: keptPrivate, qube.VolatileVolume: volatile, qube.KernelVolume: kernel,
	},
	qube.DispVM: {
		qube.RootVolume: snapshot, qube.PrivateVolume: snapshot, qube.KernelVolume: kernel,
		qube.VolatileVolume: {Writable: true, size: 12 * gib},
	},
}

// Volumes are those of q, in the order of qube.VolumeNames. dom0 and remote qubes have none.
func Volumes(v qube.View, q qube.Qube) iter.Seq[Volume] {
	return func(yield func(Volume) bool) {
		for _, name := range qube.VolumeNames {
			if volume, ok := Of(v, q, name); ok && !yield(volume) {
				return
			}
		}
	}
}

// Of is a volume of q. v is to show q's templates, which a snapshot is of.
func Of(v qube.View, q qube.Qube, name qube.VolumeName) (Volume, bool) {
	return of(v, q, name, len(kinds))
}

// of goes no deeper than so many templates, which is further than classes allow.
func of(v qube.View, q qube.Qube, name qube.VolumeName, deep int) (Volume, bool) {
	kind, ok := kinds[q.Class()][name]
	if !ok || deep == 0 {
		return Volume{}, false
	}
	own := Volume{Name: name, Kind: kind, ID: folder(q) + name.Shown()}
	if name == qube.KernelVolume {
		own.ID = properties.Value(v, q, properties.Kernel).Shown()
	}
	stored, kept := q.Volume(name)
	own.Volume = qube.Volume{Pool: DefaultPool(v, name), Size: kind.size}
	if kept {
		own.Volume = stored
	}
	if base, based := v.Template(q); based && (kind.SnapOnStart || q.Class() == qube.DispVM) {
		source, ok := of(v, base, name, deep-1)
		switch {
		case ok && kind.SnapOnStart: // a snapshot is where its source is, and as large
			own.From, own.Volume = source.ID, source.Volume
			if source.From != "" { // of a root volume, the template at the end of the chain
				own.From = source.From
			}
		case ok && !kept:
			own.Pool = source.Pool
		}
	}
	return own, true
}

func folder(q qube.Qube) string {
	if q.Class() == qube.TemplateVM {
		return "vm-templates/" + q.Shown() + "/"
	}
	return "appvms/" + q.Shown() + "/"
}

// builtinPools are those of the reference's fresh installation (spec: storage.md 2, admin.pool.List).
var builtinPools = []string{"varlibqubes", "linux-kernel"}

// HasPool reports whether there is a pool of that name to be seen.
func HasPool(v qube.View, name string) bool {
	_, made := v.Pool(name)
	return made || slices.Contains(builtinPools, name)
}

// DefaultPool is where a new volume of that name goes (spec: storage.md 3). Kernels have a pool of their own, unless
// somebody chose another: the system's default_pool cannot hold them.
func DefaultPool(v qube.View, name qube.VolumeName) string {
	if name == qube.KernelVolume {
		if pool, set := v.Global(properties.DefaultPoolKernel); set {
			return pool.Shown()
		}
		return builtinPools[1]
	}
	for _, property := range []qube.PropertyName{defaultPools[name], properties.DefaultPool} {
		if pool := properties.Global(v, property).Shown(); pool != "" {
			return pool
		}
	}
	return builtinPools[0]
}

var defaultPools = map[qube.VolumeName]qube.PropertyName{
	qube.RootVolume: properties.DefaultPoolRoot, qube.PrivateVolume: properties.DefaultPoolPrivate,
	qube.VolatileVolume: properties.DefaultPoolVolatile,
}

// Create gives a new qube its volumes: in pool, if one is named, all that can be moved; in pools, single ones. The rest
// goes where new volumes go (spec: model.md 6).
func Create(tx qube.Tx, q qube.Qube, pool string, pools map[qube.VolumeName]string) error {
	for _, name := range qube.VolumeNames {
		volume, ok := Of(tx.System(), q, name)
		if !ok {
			continue
		}
		if volume.Writable && !volume.SnapOnStart && pool != "" {
			volume.Pool = pool
		}
		if single, named := pools[name]; named {
			if volume.SnapOnStart {
				return exception.New(exception.QubesException, "a volume that is a snapshot is in the pool of its source")
			}
			volume.Pool = single
		}
		if volume.SnapOnStart {
			continue // all of it follows from its source
		}
		if err := tx.SetVolume(q.ID(), name, volume.Volume); err != nil {
			return err
		}
	}
	return nil
}

// Import makes q's volume a copy of from, which is of's, and tells of it (spec: storage.md 1,
// admin.vm.volume.CloneTo). What is not kept when the qube stops is not written either.
func Import(tx qube.Tx, q qube.Qube, to Volume, of qube.Qube, from Volume) error {
	switch {
	case (to.Name == qube.KernelVolume) != (from.Name == qube.KernelVolume):
		return exception.New(exception.StoragePoolException, "a kernel is copied to a kernel's volume alone")
	case !from.SaveOnStop && from.Name != qube.KernelVolume:
		return exception.New(exception.StoragePoolException, "volume %s is not kept, so it cannot be copied", from.Name)
	case to.SaveOnStop:
		to.Size = from.Size
		if err := tx.SetVolume(q.ID(), to.Name, to.Volume); err != nil {
			return err
		}
	}
	return tx.Fire(qube.Event{Subject: q.Name(), Name: "domain-import-volume", Other: of.Name(), Args: []qube.EventArg{
		{Key: "name", Value: to.Name.Shown()}, {Key: "source", Value: "<Volume " + from.Pool + ":" + from.ID + ">"},
	}})
}
