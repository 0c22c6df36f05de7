package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/hypervisor/simulated"
	state "sallyport/internal/inventory"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/methods"
	judges "sallyport/stages/permission"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// These tests start and stop qubes through the doors of a daemon, with the real methods, work, inventory and simulated
// hypervisor, on virtual time.

// disk is a store in memory, which outlives a daemon. Once it is dead, nothing gets on it.
type disk struct {
	mu       sync.Mutex
	revision qube.Revision
	records  map[string]state.Record
	fate     *fate
}

func (d *disk) Load() (qube.Revision, iter.Seq2[state.Record, error], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := slices.Collect(maps.Values(d.records))
	return d.revision, func(yield func(state.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}, nil
}

func (d *disk) Commit(_, next qube.Revision, records []state.Record) error {
	if d.fate.strikes() {
		return errors.New("killed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.records == nil {
		d.records = map[string]state.Record{}
	}
	for _, r := range records {
		if r.Deleted {
			delete(d.records, r.Key)
		} else {
			d.records[r.Key] = r
		}
	}
	d.revision = next
	return nil
}

func (d *disk) Close() error { return nil }

// fate kills a daemon before it takes its nth step: neither its disk nor its hypervisor sees anything of it after that.
type fate struct {
	mu   sync.Mutex
	left int // steps; negative: it lives
	dead bool
}

func (f *fate) strikes() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		f.dead = true
	}
	f.left--
	return f.dead
}

// mortal is the hypervisor as a daemon sees it that may be killed.
type mortal struct {
	lifecycle.Driver
	fate *fate
}

var errKilled = errors.New("the daemon was killed")

func (m mortal) Create(ctx context.Context, d lifecycle.Domain) (qube.Runtime, error) {
	if m.fate.strikes() {
		return qube.Runtime{}, errKilled
	}
	return m.Driver.Create(ctx, d)
}

func (m mortal) act(ctx context.Context, id qube.UUID, what func(context.Context, qube.UUID) error) error {
	if m.fate.strikes() {
		return errKilled
	}
	return what(ctx, id)
}

func (m mortal) Unpause(ctx context.Context, id qube.UUID) error {
	return m.act(ctx, id, m.Driver.Unpause)
}
func (m mortal) Pause(ctx context.Context, id qube.UUID) error {
	return m.act(ctx, id, m.Driver.Pause)
}
func (m mortal) Destroy(ctx context.Context, id qube.UUID) error {
	return m.act(ctx, id, m.Driver.Destroy)
}
func (m mortal) RequestShutdown(ctx context.Context, id qube.UUID) error {
	return m.act(ctx, id, m.Driver.RequestShutdown)
}

// noting is a book that notes what subscribers are told.
type noting struct {
	qube.Book
	site *site
}

func (b noting) Begin() qube.Group { return notingGroup{b.Book.Begin(), b} }

type notingGroup struct {
	qube.Group
	book noting
}

func (g notingGroup) Commit() error {
	if err := g.Group.Commit(); err != nil {
		return err
	}
	s := g.book.site
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range g.Group.Events() {
		s.events = append(s.events, b.Events...)
	}
	return nil
}

// site is what outlives a daemon: a disk, a hypervisor, and what subscribers were told.
type site struct {
	t      testing.TB
	file   string
	disk   *disk
	driver *simulated.Driver // nil: none yet, or it did not survive
	mu     sync.Mutex
	events []qube.Event
}

// heard is what was told so far.
func (s *site) heard() []qube.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// forget has heard begin anew.
func (s *site) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

const hostFile = `version: 1
simulated: {host_memory_mib: 1000000, start_delay: 100ms, guest_shutdown_delay: 50ms}
qubes:
  - {name: tpl, class: TemplateVM, label: black}
`

// powered runs test in a bubble of virtual time, at a site with these qubes, each an entry of an inventory file.
func powered(t *testing.T, qubes []string, test func(s *site)) {
	text := hostFile
	for _, q := range qubes {
		text += "  - {" + q + "}\n"
	}
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	synctest.Test(t, func(t *testing.T) { test(&site{t: t, file: path, disk: &disk{}}) })
}

// app is the entry of a qube with these properties and features.
func app(name, properties, features string) string {
	return "name: " + name + ", class: AppVM, label: red, properties: {template: tpl, qrexec_timeout: 60, shutdown_timeout: 60, " +
		"template_for_dispvms: True" + properties + "}, features: {" + features + "}"
}

// house is a hall at a site.
type house struct {
	*hall
	site      *site
	inventory *state.Inventory
}

// open begins a daemon that is killed when fate strikes; nil: never.
func (s *site) open(f *fate, change func(*Settings)) *house {
	h := &house{site: s}
	survived := s.driver != nil
	if !survived {
		s.driver = simulated.New(systemClock{})
	}
	s.disk.fate = nil
	inv, _, err := state.Open(s.disk, func() (*state.Snapshot, error) { return state.FromFile(s.file, properties.Schema{}) }, state.Options{Reactions: reactions.All(), Meter: s.driver})
	require.NoError(s.t, err)
	s.disk.fate = f
	if !survived {
		host := inv.Snapshot().Simulation()
		s.driver.Begin(inv.View, simulated.Settings{
			MemoryMiB: int(host.MemoryMiB), StartDelay: must(time.ParseDuration(host.StartDelay)), ShutdownDelay: must(time.ParseDuration(host.GuestDelay)),
		})
	}
	h.inventory = inv
	h.hall = newHall(s.t, func(set *Settings) {
		set.Book = noting{inv, s}
		set.Catalogue, set.Gate = stages.NewCatalogue(methods.All()...), stages.NewGate(judges.Everyone{})
		power := lifecycle.NewWorker(mortal{s.driver, f})
		set.Worker, set.Attendants = power, map[string]Attendant{"power": power}
		change(set)
	})
	if err := h.attend(); f == nil {
		assert.NoError(s.t, err)
	}
	return h
}

func (h *house) qube(name string) qube.Qube {
	q, ok := h.inventory.View().Qube(must(qube.ParseName(name)))
	if !ok {
		return nil
	}
	return q
}

func (h *house) state(name string) qube.PowerState {
	synctest.Wait()
	return h.qube(name).State()
}

// power makes a call admin.vm.WHAT, and settled is its answer once it has had time enough.
func (h *house) power(what, dest string) *caller { return h.call("admin.vm."+what, dest, "") }

func (h *house) settled(what, dest string) string {
	c := h.power(what, dest)
	time.Sleep(time.Second)
	return typeOf(c.answer())
}

func typeOf(a messages.Answer) string {
	switch {
	case a.Type != "":
		return a.Type
	case a.Content == nil:
		return "unanswered"
	}
	return "OK"
}

// names are what was told of a qube since the last time, in order.
func (s *site) names(subject string) (names []string) {
	synctest.Wait()
	for _, e := range s.heard() {
		if e.Subject.Shown() == subject {
			names = append(names, e.Name)
		}
	}
	s.forget()
	return names
}

var (
	spawns   = []string{"domain-pre-spawn", "property-reset:xid", "property-reset:stubdom_xid", "property-reset:start_time", "domain-spawn"}
	starts   = slices.Concat([]string{"domain-pre-start"}, spawns, []string{"domain-pre-unpaused", "domain-unpaused", "domain-start"})
	stops    = []string{"domain-stopped", "property-reset:xid", "property-reset:stubdom_xid", "property-reset:start_time", "domain-shutdown"}
	cutShort = slices.Concat([]string{"domain-pre-start"}, spawns, []string{"domain-pre-unpaused", "domain-unpaused", "domain-start-failed"}, stops)
)

// TestTheLifeOfAQube: the events of each call are those of the specification, in its order (spec: events.md 5).
func TestTheLifeOfAQube(t *testing.T) {
	powered(t, []string{app("work", "", "")}, func(s *site) {
		h := s.open(nil, plainly)
		for _, step := range []struct {
			call, answer string
			state        qube.PowerState
			events       []string
		}{
			{"Shutdown", "QubesVMNotStartedError", qube.Halted, nil},
			{"Start", "OK", qube.Running, starts},
			{"Start", "OK", qube.Running, nil},
			{"Pause", "OK", qube.Paused, []string{"domain-pre-paused", "domain-paused"}},
			{"Pause", "OK", qube.Paused, []string{"domain-pre-paused"}},
			{"Shutdown", "QubesVMNotRunningError", qube.Paused, []string{"domain-pre-shutdown", "domain-shutdown-failed"}},
			{"Unpause", "OK", qube.Running, []string{"domain-pre-unpaused", "domain-unpaused"}},
			{"Unpause", "QubesVMNotPausedError", qube.Running, nil},
			{"Suspend", "OK", qube.Suspended, nil},
			{"Resume", "OK", qube.Running, []string{"domain-resumed"}},
			{"Pause", "OK", qube.Paused, []string{"domain-pre-paused", "domain-paused"}},
			{"Resume", "OK", qube.Running, []string{"domain-pre-unpaused", "domain-unpaused"}},
			{"Shutdown+wait", "OK", qube.Halted, append([]string{"domain-pre-shutdown"}, stops...)},
			{"Kill", "QubesVMNotStartedError", qube.Halted, nil},
			{"Start", "OK", qube.Running, starts},
			{"Kill", "OK", qube.Halted, stops},
			{"Start", "OK", qube.Running, starts},
			{"Shutdown", "OK", qube.Halted, append([]string{"domain-pre-shutdown"}, stops...)},
			{"Start", "OK", qube.Running, starts},
			{"Pause", "OK", qube.Paused, []string{"domain-pre-paused", "domain-paused"}},
			{"Shutdown+force", "OK", qube.Halted, append([]string{"domain-pre-shutdown"}, stops...)},
		} {
			assert.Equal(t, step.answer, h.settled(step.call, "work"), step.call)
			assert.Equal(t, step.state, h.state("work"), step.call)
			assert.Equal(t, step.events, s.names("work"), step.call)
			_, open := h.qube("work").Intent()
			assert.False(t, open, step.call)
		}
		h.end()
	})
}

// TestAKillCutsAHangingStart: both callers are answered, and the qube is halted.
func TestAKillCutsAHangingStart(t *testing.T) {
	for _, how := range []string{"hang", "never"} {
		t.Run(how, func(t *testing.T) {
			powered(t, []string{app("work", "", "simulated.start-fails: "+how)}, func(s *site) {
				h := s.open(nil, plainly)
				start := h.power("Start", "work")
				time.Sleep(time.Second)
				assert.Equal(t, unanswered, start.answer())
				assert.Equal(t, qube.Transient, h.state("work"))
				kill := h.power("Kill", "work")
				assert.Equal(t, ok(""), kill.answer())
				assert.Equal(t, answerOf(errCut), start.answer())
				assert.Equal(t, qube.Halted, h.state("work"))
				want := []string{"domain-pre-start", "domain-pre-spawn", "domain-start-failed"}
				if how == "never" {
					want = cutShort
				}
				assert.Equal(t, want, s.names("work"))
				assert.Equal(t, "QubesVMNotStartedError", h.settled("Kill", "work"))
				h.end()
			})
		})
	}
}

// TestStartsThatFail: the caller learns why, and nothing is left.
func TestStartsThatFail(t *testing.T) {
	for feature, want := range map[string]struct {
		answer string
		events []string
	}{
		"simulated.start-fails: create": {"QubesException", []string{"domain-pre-start", "domain-pre-spawn", "domain-start-failed"}},
		"simulated.start-fails: boot":   {"QubesVMError", cutShort},
		"simulated.start-fails: never":  {"QubesVMError", cutShort},
		"prohibit-start: broken":        {"QubesException", []string{"domain-start-failed"}},
	} {
		t.Run(feature, func(t *testing.T) {
			powered(t, []string{app("work", "", feature)}, func(s *site) {
				h := s.open(nil, plainly)
				c := h.power("Start", "work")
				time.Sleep(time.Minute)
				assert.Equal(t, want.answer, typeOf(c.answer()))
				assert.Equal(t, qube.Halted, h.state("work"))
				assert.Equal(t, want.events, s.names("work"))
				h.end()
			})
		})
	}
}

// TestHangingStartsDelayNobody: 200 starts that take their time, and every other call is answered in no time.
func TestHangingStartsDelayNobody(t *testing.T) {
	var qubes []string
	for n := range 200 {
		qubes = append(qubes, app(fmt.Sprint("q", n), "", "simulated.start-delay: 30s"))
	}
	powered(t, append(qubes, app("work", "", "")), func(s *site) {
		h := s.open(nil, plainly)
		var hanging []*caller
		for n := range 200 {
			hanging = append(hanging, h.power("Start", fmt.Sprint("q", n)))
		}
		began := time.Now()
		assert.Equal(t, "OK", typeOf(h.call("admin.vm.feature.Set+x", "q7", "1").answer()))
		assert.Equal(t, "OK", typeOf(h.call("admin.vm.List", "dom0", "").answer()))
		assert.Equal(t, began, time.Now(), "no time has passed")
		assert.Equal(t, "OK", h.settled("Start", "work"))
		assert.Equal(t, unanswered, hanging[0].answer())
		time.Sleep(30 * time.Second)
		for _, c := range hanging {
			assert.Equal(t, ok(""), c.answer())
		}
		h.end()
	})
}

// TestShutdownsThatAreWaitedFor: the qube's desk is free meanwhile, and whoever waits learns what came of it.
func TestShutdownsThatAreWaitedFor(t *testing.T) {
	powered(t, []string{app("work", "", "simulated.shutdown: ignore")}, func(s *site) {
		h := s.open(nil, plainly)
		h.settled("Start", "work")
		s.names("work")
		late := h.power("Shutdown+wait", "work")
		time.Sleep(time.Minute - time.Second)
		assert.Equal(t, unanswered, late.answer())
		assert.Equal(t, "OK", typeOf(h.power("Pause", "work").answer()))
		assert.Equal(t, "OK", typeOf(h.power("Unpause", "work").answer()))
		time.Sleep(time.Second)
		assert.Equal(t, "QubesVMShutdownTimeoutError", typeOf(late.answer()))
		assert.Equal(t, []string{"domain-pre-shutdown", "domain-pre-paused", "domain-paused", "domain-pre-unpaused", "domain-unpaused", "domain-shutdown-failed"}, s.names("work"))
		again := h.power("Shutdown+wait", "work")
		time.Sleep(time.Second)
		assert.Equal(t, ok(""), h.power("Kill", "work").answer())
		assert.Equal(t, ok(""), again.answer(), "it has stopped, by whatever means")
		h.end()
	})
}

// TestNetvmsStartFirst, each before whoever needs it; if one fails, so do they, for the same reason.
func TestNetvmsStartFirst(t *testing.T) {
	nets := []string{
		app("net", ", provides_network: True", ""), app("firewall", ", provides_network: True, netvm: net", ""),
		app("work", ", netvm: firewall", ""),
	}
	powered(t, nets, func(s *site) {
		h := s.open(nil, plainly)
		assert.Equal(t, "OK", h.settled("Start", "work"))
		var order []string
		for _, e := range s.heard() {
			if e.Name == "domain-pre-start" || e.Name == "domain-start" {
				order = append(order, e.Name+" "+e.Subject.Shown())
			}
		}
		assert.Equal(t, []string{"domain-pre-start work", "domain-pre-start firewall", "domain-pre-start net",
			"domain-start net", "domain-start firewall", "domain-start work"}, order)
		assert.Equal(t, "QubesVMInUseError", h.settled("Shutdown", "net"))
		assert.Equal(t, "OK", h.settled("Shutdown+force", "net"))
		assert.Equal(t, qube.Halted, h.state("net"))
		h.end()
	})
	nets[0] = app("net", ", provides_network: True", "prohibit-start: no")
	powered(t, nets, func(s *site) {
		h := s.open(nil, plainly)
		c := h.power("Start", "work")
		assert.Contains(t, fmt.Sprint(c.answer()), "net")
		for _, q := range []string{"net", "firewall", "work"} {
			assert.Equal(t, qube.Halted, h.state(q))
		}
		h.end()
	})
}

// TestWhatHappensUnasked is noticed: subscribers are told, and calls see it.
func TestWhatHappensUnasked(t *testing.T) {
	powered(t, []string{app("work", "", "simulated.crash-after: 10s")}, func(s *site) {
		h := s.open(nil, plainly)
		h.settled("Start", "work")
		s.names("work")
		s.driver.Freeze(h.qube("work").ID())
		assert.Equal(t, qube.Paused, h.state("work"))
		assert.Equal(t, []string{"domain-paused"}, s.names("work"))
		time.Sleep(10 * time.Second)
		assert.Equal(t, qube.Halted, h.state("work"))
		assert.Equal(t, stops, s.names("work"))
		h.settled("Start", "work")
		s.driver.Die(h.qube("work").ID())
		assert.Equal(t, qube.Halted, h.state("work"))
		h.end()
	})
}

// TestMemory: a qube for which the host has not enough left is not started.
func TestMemory(t *testing.T) {
	big := "name: %s, class: AppVM, label: red, properties: {template: tpl, memory: 600000, maxmem: 600000, qrexec_timeout: 60}"
	powered(t, []string{fmt.Sprintf(big, "a"), fmt.Sprintf(big, "b")}, func(s *site) {
		h := s.open(nil, plainly)
		assert.Equal(t, "OK", h.settled("Start", "a"))
		assert.Equal(t, "QubesMemoryError", h.settled("Start", "b"))
		assert.Equal(t, "OK", h.settled("Kill", "a"))
		assert.Equal(t, "OK", h.settled("Start", "b"))
		h.end()
	})
}

// TestACircleOfNetvms, which no property can be set to, keeps nobody waiting: all are halted at once.
func TestACircleOfNetvms(t *testing.T) {
	powered(t, []string{app("a", ", provides_network: True", ""), app("b", ", provides_network: True, netvm: a", "")}, func(s *site) {
		h := s.open(nil, plainly)
		group := h.inventory.Begin()
		assert.NoError(t, group.Try(func(tx qube.Tx) error {
			return tx.SetProperty(h.qube("a").ID(), must(qube.ParsePropertyName("netvm")), must(qube.ParsePropertyValue("b")))
		}))
		assert.NoError(t, group.Commit())
		assert.Equal(t, "QubesVMError", typeOf(h.power("Start", "a").answer()))
		assert.Equal(t, qube.Halted, h.state("a"))
		assert.Equal(t, qube.Halted, h.state("b"))
		h.end()
	})
}

const disposable = "name: disp7, class: DispVM, label: red, properties: {template: work, auto_cleanup: True, qrexec_timeout: 60}, state: %s, features: {%s}"

// TestDisposables are removed when they stop, before a Kill is answered, and when they do not start.
func TestDisposables(t *testing.T) {
	removed := []string{"domain-pre-delete", "domain-delete"}
	powered(t, []string{app("work", "", ""), fmt.Sprintf(disposable, "Running", "")}, func(s *site) {
		h := s.open(nil, plainly)
		s.names("")
		assert.Equal(t, ok(""), h.power("Kill", "disp7").answer())
		assert.Nil(t, h.qube("disp7"))
		assert.Equal(t, removed, s.names(""))
		h.end()
	})
	powered(t, []string{app("work", "", ""), fmt.Sprintf(disposable, "Halted", "simulated.start-fails: create")}, func(s *site) {
		h := s.open(nil, plainly)
		assert.Equal(t, "QubesException", h.settled("Start", "disp7"))
		assert.Nil(t, h.qube("disp7"))
		assert.Equal(t, removed, s.names(""))
		h.end()
	})
}

// TestKilledAnywhere: whatever a daemon was doing when it was killed, the next one puts in order: the inventory says what
// the hypervisor says, nothing is open, and who has followed the events believes the same.
func TestKilledAnywhere(t *testing.T) {
	for name, calls := range map[string][]string{
		"start":        {"Start work"},
		"kill":         {"Start work", "Kill work"},
		"shutdown":     {"Start work", "Shutdown+wait work"},
		"pause":        {"Start work", "Pause work", "Unpause work"},
		"disposable":   {"Start disp7", "Kill disp7"},
		"failed start": {"Start bad"},
	} {
		for how, survives := range map[string]bool{"killed": true, "power cut": false} {
			t.Run(name+", "+how, func(t *testing.T) {
				for steps, over := 0, false; !over; steps++ {
					qubes := []string{app("work", "", ""), app("bad", "", "simulated.start-fails: boot"), fmt.Sprintf(disposable, "Halted", "")}
					powered(t, qubes, func(s *site) {
						f := &fate{left: -1}
						h := s.open(f, plainly)
						f.left = steps
						for _, c := range calls {
							what, dest, _ := strings.Cut(c, " ")
							h.settled(what, dest)
						}
						f.mu.Lock()
						over = !f.dead
						f.dead, f.left = true, 0
						f.mu.Unlock()
						h.end()
						begun := slices.ContainsFunc(s.heard(), func(e qube.Event) bool {
							return e.Name == "domain-pre-start" && e.Subject.Shown() == "disp7"
						})
						if !survives {
							s.driver = nil
						}
						h = s.open(nil, plainly)
						for range 2 {
							h.inOrder()
							disp := h.qube("disp7")
							assert.False(t, begun && disp != nil && disp.State() == qube.Halted, "a disposable is left")
							time.Sleep(time.Second) // in which what goes on comes to its end
						}
						h.end()
					})
				}
			})
		}
	}
}

// inOrder checks that inventory, hypervisor and subscribers are of one mind.
func (h *house) inOrder() {
	synctest.Wait()
	believed := map[string]qube.PowerState{}
	for _, e := range h.site.heard() { // what a client makes of them (spec: events.md 6)
		if to, ok := map[string]qube.PowerState{
			"domain-pre-start": qube.Transient, "domain-start": qube.Running, "domain-shutdown": qube.Halted, "domain-paused": qube.Paused,
			"domain-unpaused": qube.Running, "domain-start-failed": qube.Halted, "domain-resumed": qube.Running,
		}[e.Name]; ok {
			believed[e.Subject.Shown()] = to
		}
	}
	for q := range h.inventory.View().Qubes() {
		if q.Class() == qube.AdminVM {
			continue
		}
		now, err := h.site.driver.State(context.Background(), q.ID())
		assert.NoError(h.t, err)
		assert.Equal(h.t, now, q.Runtime(), q.Shown())
		intent, open := q.Intent()
		assert.False(h.t, open, "%s: %v", q.Shown(), intent)
		if b, told := believed[q.Shown()]; told && q.State() != qube.Suspended && q.State() != qube.Halting { // of which nobody is told
			assert.Equal(h.t, q.State(), b, q.Shown())
		}
	}
}

// TestPowerStates is the table of spec: model.md 4, in any order of calls and of what happens unasked.
func TestPowerStates(t *testing.T) {
	type outcome struct {
		answer string
		next   qube.PowerState
	}
	const is = "" // the state stays
	table := map[string]map[qube.PowerState]outcome{
		"Start":          {qube.Halted: {"OK", qube.Running}, qube.Running: {"OK", is}, qube.Paused: {"OK", is}, qube.Suspended: {"OK", is}},
		"Shutdown":       {qube.Halted: {"QubesVMNotStartedError", is}, qube.Running: {"OK", qube.Halted}, qube.Paused: {"QubesVMNotRunningError", is}, qube.Suspended: {"OK", is}},
		"Shutdown+force": {qube.Halted: {"QubesVMNotStartedError", is}, qube.Running: {"OK", qube.Halted}, qube.Paused: {"OK", qube.Halted}, qube.Suspended: {"OK", is}},
		"Pause":          {qube.Halted: {"QubesVMNotRunningError", is}, qube.Running: {"OK", qube.Paused}, qube.Paused: {"OK", is}, qube.Suspended: {"OK", qube.Paused}},
		"Unpause":        {qube.Halted: {"QubesVMNotPausedError", is}, qube.Running: {"QubesVMNotPausedError", is}, qube.Paused: {"OK", qube.Running}, qube.Suspended: {"QubesVMNotPausedError", is}},
		"Suspend":        {qube.Halted: {"QubesVMNotRunningError", is}, qube.Running: {"OK", qube.Suspended}, qube.Paused: {"OK", qube.Suspended}, qube.Suspended: {"OK", is}},
		"Resume":         {qube.Halted: {"QubesVMNotPausedError", is}, qube.Running: {"QubesVMNotPausedError", is}, qube.Paused: {"OK", qube.Running}, qube.Suspended: {"OK", qube.Running}},
		"Kill":           {qube.Halted: {"QubesVMNotStartedError", is}, qube.Running: {"OK", qube.Halted}, qube.Paused: {"OK", qube.Halted}, qube.Suspended: {"OK", qube.Halted}},
		"Console":        {qube.Halted: {"QubesVMNotRunningError", is}, qube.Running: {"OK", is}, qube.Paused: {"OK", is}, qube.Suspended: {"OK", is}},
		"(dies)":         {qube.Halted: {"", is}, qube.Running: {"", qube.Halted}, qube.Paused: {"", qube.Halted}, qube.Suspended: {"", qube.Halted}},
		"(freezes)":      {qube.Halted: {"", is}, qube.Running: {"", qube.Paused}, qube.Paused: {"", is}, qube.Suspended: {"", qube.Paused}},
	}
	calls := slices.Sorted(maps.Keys(table))
	rapid.Check(t, func(rt *rapid.T) {
		sequence := rapid.SliceOfN(rapid.SampledFrom(calls), 1, 30).Draw(rt, "sequence")
		powered(t, []string{app("work", "", "")}, func(s *site) {
			h := s.open(nil, plainly)
			now := qube.Halted
			for _, c := range sequence {
				want, got := table[c][now], ""
				switch c {
				case "(dies)":
					s.driver.Die(h.qube("work").ID())
				case "(freezes)":
					s.driver.Freeze(h.qube("work").ID())
				default:
					got = h.settled(c, "work")
				}
				now = cmp.Or(want.next, now)
				assert.Equal(rt, want.answer, got, c)
				assert.Equal(rt, now, h.state("work"), c)
				h.inOrder()
			}
			h.end()
		})
	})
}

// TestWorkThatCrashesWithAnOpenStart: the caller reads the incident, and the qube can be killed and started again.
func TestWorkThatCrashesWithAnOpenStart(t *testing.T) {
	powered(t, []string{app("work", "", "")}, func(s *site) {
		h := s.open(nil, func(set *Settings) {
			power := lifecycle.NewWorker(&clumsy{Driver: s.driver})
			set.Worker, set.Attendants = power, map[string]Attendant{"power": power}
		})
		incidentOf(t, h.power("Start", "work").answer())
		assert.Equal(t, "OK", h.settled("Kill", "work"))
		assert.Equal(t, "OK", h.settled("Start", "work"))
		h.end()
	})
}

// clumsy panics at its first Unpause.
type clumsy struct {
	lifecycle.Driver
	done bool
}

func (c *clumsy) Unpause(ctx context.Context, id qube.UUID) error {
	if !c.done {
		c.done = true
		panic(secret)
	}
	return c.Driver.Unpause(ctx, id)
}
