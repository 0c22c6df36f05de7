package methods_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/permission"
	"sallyport/stages/properties"
)

// line is how admin.vm.List shows a qube of the system.
func (s *system) line(name, class, state string) string {
	return fmt.Sprintf("%s class=%s state=%s uuid=%s\n", name, class, state, s.uuid(name).Shown())
}

// TestQubesAreListedInOrder: dom0, then by the bytes of the names (spec: model.md 1). What cannot be halted runs.
func TestQubesAreListedInOrder(t *testing.T) {
	s := start(t)
	assert.Equal(t, ok+s.line("dom0", "AdminVM", "Running")+
		s.line("Zoo", "StandaloneVM", "Paused")+
		s.line("a.dot", "StandaloneVM", "Halted")+
		s.line("away", "RemoteVM", "Running")+
		s.line("bare", "TemplateVM", "Halted")+
		s.line("base", "TemplateVM", "Halted")+
		s.line("busy", "StandaloneVM", "Running")+
		s.line("disp1", "DispVM", "Halted")+
		s.line("dvm", "AppVM", "Halted")+
		s.line("sys-firewall", "AppVM", "Running")+
		s.line("sys-net", "AppVM", "Running")+
		s.line("work", "AppVM", "Halted"), s.dom0("admin.vm.List", "dom0", ""))
	assert.Equal(t, ok+s.line("away", "RemoteVM", "Running"), s.dom0("admin.vm.List", "away", ""))
}

// TestFeaturesAreListedAsFirstSet: a feature keeps its place when it is overwritten, and loses it when it is removed
// (spec: model.md 10).
func TestFeaturesAreListedAsFirstSet(t *testing.T) {
	s := start(t)
	s.dom0("admin.vm.feature.Set+b", "work", "1")
	s.dom0("admin.vm.feature.Set+a", "work", "1")
	assert.Equal(t, ok+"gui\nHidden\nhidden\nb\na\n", s.dom0("admin.vm.feature.List", "work", ""))
	s.dom0("admin.vm.feature.Set+gui", "work", "")
	assert.Equal(t, ok+"gui\nHidden\nhidden\nb\na\n", s.dom0("admin.vm.feature.List", "work", ""))
	s.dom0("admin.vm.feature.Remove+gui", "work", "")
	s.dom0("admin.vm.feature.Set+gui", "work", "1")
	assert.Equal(t, ok+"Hidden\nhidden\nb\na\ngui\n", s.dom0("admin.vm.feature.List", "work", ""))
}

func TestTagsAreListedSorted(t *testing.T) {
	s := start(t)
	for _, tag := range []string{"b", "Z", "a", "b-1", "_"} {
		assert.Equal(t, ok, s.dom0("admin.vm.tag.Set+"+tag, "work", ""))
	}
	assert.Equal(t, ok+"Z\n_\na\naudiovm-dom0\nb\nb-1\nguivm-dom0\noffice\n", s.dom0("admin.vm.tag.List", "work", ""))
}

// TestListsAreFiltered: handlers give filters, and an item is listed if all of them keep it (spec: extensions.md 1).
func TestListsAreFiltered(t *testing.T) {
	lists := map[string]string{
		"admin.vmclass.List": "dom0", "admin.vm.List": "dom0", "admin.label.List": "dom0",
		"admin.vm.feature.List": "base", "admin.vm.tag.List": "work",
	}
	names := make([]string, 0, len(lists))
	for name := range lists {
		names = append(names, name)
	}
	var unwanted [2]string // letters; nil filters where empty
	keepers := make([]stages.Handler, 2)
	for i := range keepers {
		keepers[i] = stages.Handler{Methods: names, Check: func(stages.Facts) (stages.Filter, error) {
			if unwanted[i] == "" {
				return nil, nil
			}
			return func(item qube.Noun) bool { return !strings.ContainsAny(item.Shown(), unwanted[i]) }, nil
		}}
	}
	s := start(t, keepers...)
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringMatching("[a-zA-Z]{0,3}")
		unwanted = [2]string{letters.Draw(t, "first"), letters.Draw(t, "second")}
		for list, dest := range lists {
			filtered := s.dom0(list, dest, "")
			all := unwanted
			unwanted = [2]string{}
			want := ok
			for line := range strings.Lines(strings.TrimPrefix(s.dom0(list, dest, ""), ok)) {
				if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); !strings.ContainsAny(name, all[0]+all[1]) {
					want += line
				}
			}
			unwanted = all
			require.Equal(t, want, filtered, list)
		}
	})
}

// TestOneQubeIsFilteredToo (spec: extensions.md 3).
func TestOneQubeIsFilteredToo(t *testing.T) {
	s := start(t, stages.Handler{Methods: []string{"admin.vm.List"}, Check: func(stages.Facts) (stages.Filter, error) {
		return func(item qube.Noun) bool { return item.(qube.Qube).Class() != qube.AppVM }, nil
	}})
	assert.Equal(t, ok, s.dom0("admin.vm.List", "work", ""))
	assert.Equal(t, ok+s.line("base", "TemplateVM", "Halted"), s.dom0("admin.vm.List", "base", ""))
}

// metered is a Meter that says the same of all.
type metered qube.Usage

func (m metered) Usage(qube.UUID) qube.Usage { return qube.Usage(m) }

// TestTheListIsAsNewAsItsView: what is kept with a snapshot is not kept with the next, nor given to whoever sees less.
func TestTheListIsAsNewAsItsView(t *testing.T) {
	s := start(t)
	all := s.dom0("admin.vm.List", "dom0", "")
	assert.Equal(t, all, s.dom0("admin.vm.List", "dom0", ""))
	require.Equal(t, ok, s.dom0("admin.vm.Create.TemplateVM", "dom0", "name=anew label=red"))
	more := s.dom0("admin.vm.List", "dom0", "")
	assert.Contains(t, more, "\nanew class=TemplateVM state=Halted uuid=")
	assert.Equal(t, len(strings.Split(all, "\n"))+1, len(strings.Split(more, "\n")))
	s.gate = stages.NewGate(permission.OnlyDom0{}, permission.AdminExtension...)
	s.peer.Decided = true
	assert.NotContains(t, s.call("work", "admin.vm.List", "dom0", ""), "anew")
	s.gate = stages.NewGate(permission.Everyone{}, stages.Handler{Methods: []string{"admin.vm.List"}, Check: func(stages.Facts) (stages.Filter, error) {
		return func(item qube.Noun) bool { return item.Shown() != "anew" }, nil
	}})
	assert.NotContains(t, s.call("work", "admin.vm.List", "dom0", ""), "anew")
	assert.Equal(t, more, func() string {
		s.gate = stages.NewGate(permission.Everyone{})
		return s.call("work", "admin.vm.List", "dom0", "")
	}())
}

// TestCurrentState is spec: methods.yaml admin.vm.CurrentState: what a qube uses is the meter's to say, what it may have at
// most is its property maxmem.
func TestCurrentState(t *testing.T) {
	s := start(t)
	var err error
	s.book, _, err = inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) {
		return inventory.FromFile("testdata/system.yaml", properties.Schema{})
	}, inventory.Options{Meter: metered{MemoryKiB: 300, CPUNanos: 7}})
	require.NoError(t, err)
	state := func(qube string) string { return s.dom0("admin.vm.CurrentState", qube, "") }
	for qube, want := range map[string]string{
		"dom0":         "mem=300 mem_static_max=4194304 cputime=7 power_state=Running",
		"work":         "mem=0 mem_static_max=0 cputime=0 power_state=Halted",
		"away":         "mem=0 mem_static_max=0 cputime=0 power_state=Running",
		"Zoo":          "mem=300 mem_static_max=1048576 cputime=7 power_state=Paused",
		"sys-firewall": "mem=300 mem_static_max=4096000 cputime=7 power_state=Running",
		"sys-net":      "mem=300 mem_static_max=3072000 cputime=7 power_state=Running", // of its Linux template
	} {
		assert.Equal(t, ok+want, state(qube), qube)
	}
	// What a qube may have at most follows the properties of its template at once.
	require.Equal(t, ok, s.dom0("admin.vm.feature.Set+service.meminfo-writer", "base", ""))
	assert.Equal(t, ok+"mem=300 mem_static_max=0 cputime=7 power_state=Running", state("sys-net"))
	require.Equal(t, ok, s.dom0("admin.vm.feature.Set+service.meminfo-writer", "busy", "1"))
	assert.Equal(t, ok+"mem=300 mem_static_max=4096000 cputime=7 power_state=Running", state("busy"))
}
