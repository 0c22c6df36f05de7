package qube

// VolumeName names one of the volumes that a qube has.
type VolumeName string

// The volumes, which every qube has but dom0 and the remote ones.
const (
	RootVolume     VolumeName = "root"
	PrivateVolume  VolumeName = "private"
	VolatileVolume VolumeName = "volatile"
	KernelVolume   VolumeName = "kernel"
)

// VolumeNames are all of them, in the order of admin.vm.volume.List (spec: storage.md 1).
var VolumeNames = []VolumeName{RootVolume, PrivateVolume, VolatileVolume, KernelVolume}

// Shown is the volume's name.
func (n VolumeName) Shown() string { return string(n) }

// Volume is what is kept of a qube's volume. All else follows from the qube's class (spec: storage.md 3).
type Volume struct {
	Pool string `json:"pool"`
	Size uint64 `json:"size"` // bytes
}
