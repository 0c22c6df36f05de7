// Package lifecycle starts and stops qubes: the rules of who may be started and stopped when, and the work itself, as
// plain functions that run from top to bottom, one file for each concern. A method of the API gives an order; the actor of
// the qube hands it to a Worker; the work asks its desk for changes of the inventory and a Driver for everything outside.
//
// The inventory says of a qube what the hypervisor last said, and nothing else decides: whatever is cut off in the middle,
// by a crash, a Kill or the end of the daemon, is put in order by looking again (adopt.go). Only what cannot be seen by
// looking is an intent on disk: that a start was begun, and that a disposable that has stopped is to be removed.
package lifecycle

import (
	"context"

	"sallyport/messages/qube"
)

// Driver is a hypervisor. Its methods are called by many goroutines at once, but for one qube those that change it one at
// a time. Each returns soon after ctx ends, and then nobody knows what it has done: State tells.
//
// A qube is there for the hypervisor from Create until it has died or was destroyed. An error that a client may read is an
// exception; any other is an incident. Of a qube that is not there, Unpause, RequestShutdown, Pause, Suspend and
// Resume give a QubesVMNotRunningError.
type Driver interface {
	// Create makes the qube's domain, paused before its first instruction, and gives what is known of it, in the state
	// Transient. Without room for its memory, the error is a QubesMemoryError.
	Create(context.Context, Domain) (qube.Runtime, error)
	// Unpause lets a paused qube run on, or one that was just created begin.
	Unpause(context.Context, qube.UUID) error
	// Usable returns when the guest can be used, which is when its state turns from Transient to Running, or with a
	// QubesVMError when it is not there any more.
	Usable(context.Context, qube.UUID) error
	// RequestShutdown asks the guest to shut down, and returns when it was asked. It may take its time, or ignore it.
	RequestShutdown(context.Context, qube.UUID) error
	// Gone returns when the qube is not there any more.
	Gone(context.Context, qube.UUID) error
	// Destroy ends the qube at once, and returns when it is not there any more, which it may not have been before.
	Destroy(context.Context, qube.UUID) error
	Pause(context.Context, qube.UUID) error
	// Suspend puts the guest to sleep. A guest that cannot sleep is left as it is, and supported is false.
	Suspend(context.Context, qube.UUID) (supported bool, err error)
	// Resume wakes a guest that sleeps.
	Resume(context.Context, qube.UUID) error

	// State is what the hypervisor says of a qube now; one that is not there is Halted.
	State(context.Context, qube.UUID) (qube.Runtime, error)
	// List is the qubes that are there.
	List(context.Context) ([]qube.UUID, error)
	// Changed waits until something has happened to qubes that nobody asked for, or later than it was asked for: they died,
	// crashed, shut down, were paused by the hypervisor. It gives each of them once, however much has happened to it. One
	// goroutine calls it.
	Changed(context.Context) ([]qube.UUID, error)
	// Usage is what a qube uses of its host now; zero while it is not there. It answers from memory.
	Usage(qube.UUID) qube.Usage
}

// Domain is what a hypervisor is told of a qube that it shall create.
type Domain struct {
	ID        qube.UUID
	Name      qube.Name
	MemoryMiB int // at first
	MaxmemMiB int // the most that it may be given; 0: MemoryMiB
	VCPUs     int
}
