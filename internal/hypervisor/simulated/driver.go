package simulated

import (
	"context"
	"maps"
	"slices"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/lifecycle"
)

var _ lifecycle.Driver = (*Driver)(nil)

var (
	errMemory  = exception.New(exception.QubesMemoryError, "the host has not enough memory left")
	errRefused = exception.New(exception.QubesException, "the qube could not be started: the simulated hypervisor was told to refuse")
	errExists  = exception.New(exception.QubesException, "the qube could not be started: the hypervisor has it already")
	errNotHere = exception.New(exception.QubesVMNotRunningError, "the qube is not running")
	errDied    = exception.New(exception.QubesVMError, "the qube's guest has died before it could be used")
)

// Create is part of lifecycle.Driver.
func (d *Driver) Create(ctx context.Context, of lifecycle.Domain) (qube.Runtime, error) {
	if err := ctx.Err(); err != nil {
		return qube.Runtime{}, context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.feature(of.ID, startFails) {
	case "create":
		return qube.Runtime{}, errRefused
	case "hang":
		d.mu.Unlock()
		<-ctx.Done()
		d.mu.Lock()
		return qube.Runtime{}, context.Cause(ctx)
	}
	taken := Dom0MiB + of.MemoryMiB
	for _, v := range d.domains {
		taken += v.memory
	}
	if _, there := d.domains[of.ID]; there {
		return qube.Runtime{}, errExists
	}
	if taken > d.settings.MemoryMiB {
		return qube.Runtime{}, errMemory
	}
	return d.add(of).now, nil
}

// do does something to a domain that is there.
func (d *Driver) do(ctx context.Context, id qube.UUID, what func(*domain)) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v, there := d.domains[id]
	if !there {
		return errNotHere
	}
	what(v)
	return nil
}

// Unpause is part of lifecycle.Driver.
func (d *Driver) Unpause(ctx context.Context, id qube.UUID) error {
	return d.do(ctx, id, func(v *domain) {
		switch {
		case !v.begun && v.now.State == qube.Transient:
			d.boot(id, v)
		case v.now.State == qube.Paused:
			v.now.State = qube.Running
			d.run(v)
		}
	})
}

// Pause is part of lifecycle.Driver.
func (d *Driver) Pause(ctx context.Context, id qube.UUID) error {
	return d.do(ctx, id, func(v *domain) { d.still(v, qube.Paused) })
}

// still has a guest stop for a while.
func (d *Driver) still(v *domain, state qube.PowerState) {
	d.rest(v)
	v.now.State = state
}

// Suspend is part of lifecycle.Driver.
func (d *Driver) Suspend(ctx context.Context, id qube.UUID) (supported bool, err error) {
	err = d.do(ctx, id, func(v *domain) {
		if supported = d.feature(id, noSuspend) == ""; supported {
			d.still(v, qube.Suspended)
		}
	})
	return supported, err
}

// Resume is part of lifecycle.Driver.
func (d *Driver) Resume(ctx context.Context, id qube.UUID) error {
	return d.do(ctx, id, func(v *domain) {
		if v.now.State == qube.Suspended {
			v.now.State = qube.Running
			d.run(v)
		}
	})
}

// RequestShutdown is part of lifecycle.Driver. A guest that is paused or sleeps does not hear it.
func (d *Driver) RequestShutdown(ctx context.Context, id qube.UUID) error {
	return d.do(ctx, id, func(v *domain) {
		if v.now.State == qube.Running || v.now.State == qube.Transient {
			d.react(id, v)
		}
	})
}

// Destroy is part of lifecycle.Driver.
func (d *Driver) Destroy(ctx context.Context, id qube.UUID) error {
	if err := d.do(ctx, id, func(v *domain) { d.remove(id, v) }); err != errNotHere {
		return err
	}
	return nil
}

// Usable is part of lifecycle.Driver.
func (d *Driver) Usable(ctx context.Context, id qube.UUID) error {
	var usable, gone chan struct{}
	if d.do(ctx, id, func(v *domain) { usable, gone = v.usable, v.gone }) == errNotHere {
		return errDied
	}
	select {
	case <-usable:
		return nil
	case <-gone:
		return errDied
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Gone is part of lifecycle.Driver.
func (d *Driver) Gone(ctx context.Context, id qube.UUID) error {
	var gone chan struct{}
	if d.do(ctx, id, func(v *domain) { gone = v.gone }) == errNotHere {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// State is part of lifecycle.Driver.
func (d *Driver) State(ctx context.Context, id qube.UUID) (qube.Runtime, error) {
	now := qube.Runtime{State: qube.Halted}
	err := d.do(ctx, id, func(v *domain) { now = v.now })
	if err == errNotHere {
		err = nil
	}
	return now, err
}

// List is part of lifecycle.Driver.
func (d *Driver) List(context.Context) ([]qube.UUID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.domains)), nil
}

// Changed is part of lifecycle.Driver.
func (d *Driver) Changed(ctx context.Context) ([]qube.UUID, error) {
	for {
		d.mu.Lock()
		changed := d.changed
		d.changed = nil
		d.mu.Unlock()
		if len(changed) > 0 {
			return changed, nil
		}
		select {
		case <-d.news:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Usage is part of lifecycle.Driver.
func (d *Driver) Usage(id qube.UUID) qube.Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id == qube.Dom0UUID {
		return qube.Usage{MemoryKiB: Dom0MiB << 10, CPUNanos: uint64(d.sinceThen(d.began)), VCPUs: d.settings.CPUs}
	}
	v, there := d.domains[id]
	if !there {
		return qube.Usage{}
	}
	return qube.Usage{MemoryKiB: uint64(v.memory) << 10, CPUNanos: uint64(v.used + d.sinceThen(v.since)), VCPUs: v.vcpus}
}

// Die ends a qube unasked, as a guest does that crashes. It is for drills and tests; of a qube that is not there it does
// nothing.
func (d *Driver) Die(id qube.UUID) {
	d.unasked(id, func(v *domain) { d.remove(id, v) })
}

// Freeze pauses a qube unasked, as a hypervisor does whose disk is full.
func (d *Driver) Freeze(id qube.UUID) {
	d.unasked(id, func(v *domain) { d.still(v, qube.Paused) })
}

func (d *Driver) unasked(id qube.UUID, what func(*domain)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, there := d.domains[id]; there {
		what(v)
		d.tell(id)
	}
}

// Put puts a qube into a state, unasked, whatever it did before: Halted is not there. It is for tests.
func (d *Driver) Put(of lifecycle.Domain, now qube.Runtime) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, there := d.domains[of.ID]; there {
		d.remove(of.ID, v)
	}
	if now.State != qube.Halted {
		d.goOn(of, now)
	}
	d.tell(of.ID)
}
