// Package simulated is a hypervisor that runs nothing: it keeps the states of qubes, takes the time that a real one would
// take, and fails where it is told to. It is the default driver, so that clients can be used on any machine.
//
// It plays the part of a hypervisor that survives the daemon: at the start it is told what ran, and has it run on. How
// long things take is in the inventory file (simulated); a qube's own features say otherwise for it, and are read when
// they are needed, so that they can be set while it runs:
//
//	simulated.start-delay     how long its guest takes until it can be used: 100ms
//	simulated.start-fails     create: its domain is not made; hang: it is not made, and nobody is told; boot: its guest
//	                          dies when it should be usable; never: its guest never can be used
//	simulated.shutdown        ignore: its guest does not react to a request
//	simulated.shutdown-delay  how long its guest takes to shut down: 2s
//	simulated.crash-after     its guest crashes when it has been usable for so long: 1m
//	simulated.no-suspend      anything: its guest cannot sleep
//
// A value that is no duration where one belongs counts as none.
//
// Memory: a qube has all of its memory from its creation on until it is gone, and dom0 has 4 GiB. A qube for which the
// host has not enough left cannot be created. Nothing is balanced.
package simulated

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"sallyport/messages/qube"
	"sallyport/stages/lifecycle"
)

// Clock is the time, which tests hand in. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	// AfterFunc calls fn on a goroutine of its own after d. stop is like time.Timer's Stop.
	AfterFunc(d time.Duration, fn func()) (stop func() bool)
}

// Settings say how the host is and how long things take.
type Settings struct {
	MemoryMiB     int
	CPUs          int
	StartOrder    []string      // names of qubes: those that run at first are numbered in this order, before all others
	StartDelay    time.Duration // from the first instruction of a guest until it can be used
	ShutdownDelay time.Duration // from a request until the guest has shut down
}

// Dom0MiB is the memory of dom0.
const Dom0MiB = 4096

// busy is the part of a processor that a running guest uses.
const busy = 10 // percent

// Driver is the hypervisor. It is a lifecycle.Driver and an inventory.Meter. Safe for concurrent use.
type Driver struct {
	clock Clock
	began time.Time

	mu       sync.Mutex
	settings Settings
	view     func() qube.View
	domains  map[qube.UUID]*domain
	lastXID  int
	changed  []qube.UUID // unasked, each once
	news     chan struct{}
}

// domain is a qube that is there.
type domain struct {
	now      qube.Runtime
	begun    bool // its guest has
	memory   int  // MiB
	vcpus    int
	used     time.Duration // processor time before since
	since    time.Time     // when it began to run, if it runs
	usable   chan struct{} // closed when it can be used
	gone     chan struct{} // closed when it is not there any more
	timers   []func() bool // that end with it
	reacting bool          // to a request to shut down
}

// New makes a driver of a host on which nothing runs, until Begin says otherwise.
func New(c Clock) *Driver {
	return &Driver{clock: c, began: c.Now(), domains: map[qube.UUID]*domain{}, news: make(chan struct{}, 1)}
}

// Begin gives the driver its settings and the inventory, and has run on what that says was running. It is called once,
// before anything but Usage.
func (d *Driver) Begin(view func() qube.View, s Settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings, d.view = s, view
	v := view()
	var running []qube.Qube
	for q := range v.Qubes() {
		if q.Class() != qube.AdminVM && q.Class() != qube.RemoteVM && existed(q.Runtime()) {
			running = append(running, q)
			d.lastXID = max(d.lastXID, q.Runtime().XID)
		}
	}
	place := func(q qube.Qube) int {
		if i := slices.Index(s.StartOrder, q.Shown()); i >= 0 {
			return i
		}
		return len(s.StartOrder)
	}
	slices.SortStableFunc(running, func(a, b qube.Qube) int { return place(a) - place(b) })
	for _, q := range running {
		d.goOn(lifecycle.DomainOf(v, q), q.Runtime())
	}
}

// existed reports whether there was a domain: a start that had got no further than its announcement has none.
func existed(r qube.Runtime) bool {
	return r.State != qube.Halted && (r.State != qube.Transient || r.XID != 0)
}

// goOn makes a domain that was there before the driver. One that an inventory file says is running has no number yet.
func (d *Driver) goOn(of lifecycle.Domain, was qube.Runtime) {
	v := d.add(of)
	if was.XID != 0 {
		v.now = was
	}
	v.now.State = was.State
	switch was.State {
	case qube.Transient:
		d.boot(of.ID, v)
	case qube.Halting:
		v.now.State = qube.Running
		d.run(v)
		d.react(of.ID, v)
	case qube.Running:
		d.run(v)
	case qube.Dying, qube.Crashed:
		d.remove(of.ID, v)
	}
	if was.State != qube.Transient {
		close(v.usable)
	}
}

// add makes a domain. All that is called with d.mu held has no comment that says so and a domain among its arguments.
func (d *Driver) add(of lifecycle.Domain) *domain {
	d.lastXID++
	v := &domain{
		memory: of.MemoryMiB, vcpus: of.VCPUs, usable: make(chan struct{}), gone: make(chan struct{}),
		now: qube.Runtime{
			State: qube.Transient, XID: d.lastXID, Started: d.clock.Now().UTC().Round(0), Console: fmt.Sprint("/dev/pts/", d.lastXID),
		},
	}
	d.domains[of.ID] = v
	return v
}

// after has something happen to a domain, unless it is gone by then.
func (d *Driver) after(wait time.Duration, id qube.UUID, v *domain, happens func()) {
	v.timers = append(v.timers, d.clock.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.domains[id] == v {
			happens()
		}
	}))
}

// boot has the guest begin.
func (d *Driver) boot(id qube.UUID, v *domain) {
	v.begun = true
	d.run(v)
	how := d.feature(id, startFails)
	d.after(d.duration(id, startDelay, d.settings.StartDelay), id, v, func() {
		switch how {
		case "never":
		case "boot":
			d.remove(id, v)
			d.tell(id)
		default:
			d.ready(id, v)
		}
	})
}

// ready is when the guest can be used.
func (d *Driver) ready(id qube.UUID, v *domain) {
	if v.now.State == qube.Transient {
		v.now.State = qube.Running
	}
	close(v.usable)
	if wait := d.duration(id, crashAfter, 0); wait > 0 {
		d.after(wait, id, v, func() {
			d.remove(id, v)
			d.tell(id)
		})
	}
}

// react has the guest shut down, once.
func (d *Driver) react(id qube.UUID, v *domain) {
	if v.reacting || d.feature(id, onShutdown) == "ignore" {
		return
	}
	v.reacting = true
	if v.now.State == qube.Running {
		v.now.State = qube.Halting
		d.tell(id)
	}
	d.after(d.duration(id, shutdownDelay, d.settings.ShutdownDelay), id, v, func() {
		d.remove(id, v)
		d.tell(id)
	})
}

// run and rest say whether the guest uses processors.
func (d *Driver) run(v *domain) { v.since = d.clock.Now() }

func (d *Driver) rest(v *domain) {
	v.used += d.sinceThen(v.since)
	v.since = time.Time{}
}

func (d *Driver) sinceThen(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return d.clock.Now().Sub(t) * busy / 100
}

// remove is the end of a domain.
func (d *Driver) remove(id qube.UUID, v *domain) {
	for _, stop := range v.timers {
		stop()
	}
	delete(d.domains, id)
	close(v.gone)
}

// tell has Changed give the qube.
func (d *Driver) tell(id qube.UUID) {
	if !slices.Contains(d.changed, id) {
		d.changed = append(d.changed, id)
	}
	select {
	case d.news <- struct{}{}:
	default: // it was told to look already
	}
}

// The features that are the simulator's.
const (
	startDelay    = "simulated.start-delay"
	startFails    = "simulated.start-fails"
	onShutdown    = "simulated.shutdown"
	shutdownDelay = "simulated.shutdown-delay"
	crashAfter    = "simulated.crash-after"
	noSuspend     = "simulated.no-suspend"
)

// feature is a qube's own feature now; empty if it has none.
func (d *Driver) feature(id qube.UUID, name string) string {
	f, err := qube.ParseFeatureName(name)
	if err != nil {
		panic(err) // a constant of ours
	}
	q, ok := d.view().QubeByID(id)
	if !ok {
		return ""
	}
	value, _ := q.Feature(f)
	return value.Shown()
}

func (d *Driver) duration(id qube.UUID, name string, otherwise time.Duration) time.Duration {
	v, err := time.ParseDuration(d.feature(id, name))
	if err != nil || v < 0 {
		return otherwise
	}
	return v
}
