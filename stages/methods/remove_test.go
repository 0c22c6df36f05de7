package methods_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
)

// TestRemove is spec: model.md 8.
func TestRemove(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*system)
		dest   string
		want   string
		told   []string
	}{
		"dom0":              {nil, "dom0", "QubesVMInUseError", nil},
		"a running one":     {nil, "busy", "QubesVMNotHaltedError", nil},
		"a paused one":      {nil, "Zoo", "QubesVMNotHaltedError", nil},
		"a packaged one":    {func(s *system) { s.set("busy", "installed_by_rpm", "True") }, "busy", "QubesVMInUseError", nil},
		"a halted one":      {nil, "work", ok, []string{" domain-pre-delete vm=work", " domain-delete vm=work"}},
		"a remote one":      {nil, "away", ok, []string{" domain-pre-delete vm=away", " domain-delete vm=away"}},
		"a template":        {nil, "base", "QubesVMInUseError", []string{" domain-pre-delete vm=base"}},
		"a disposable":      {nil, "disp1", ok, []string{" domain-pre-delete vm=disp1", " domain-delete vm=disp1"}},
		"of a disposable":   {nil, "dvm", "QubesVMInUseError", []string{" domain-pre-delete vm=dvm"}},
		"a system's":        {func(s *system) { s.global("clockvm", "work") }, "work", "QubesVMInUseError", []string{" domain-pre-delete vm=work"}},
		"one's own":         {func(s *system) { s.set("work", "guivm", "work") }, "work", ok, []string{" domain-pre-delete vm=work", " domain-delete vm=work"}},
		"a relay":           {func(s *system) { s.set("away", "relayvm", "work") }, "work", "QubesVMInUseError", []string{" domain-pre-delete vm=work"}},
		"one to be started": {func(s *system) { s.intend("work") }, "work", "QubesVMNotHaltedError", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			if c.before != nil {
				c.before(s)
			}
			s.told = nil
			before := s.book.Snapshot()
			assert.Equal(t, c.want, s.dom0("admin.vm.Remove", c.dest, ""))
			assert.Equal(t, c.told, s.told)
			if c.want == ok {
				assert.Equal(t, "QubesVMNotFoundError", s.dom0("admin.vm.Remove", c.dest, ""))
			} else {
				assert.Same(t, before, s.book.Snapshot())
			}
		})
	}
}

// intend opens work on a qube.
func (s *system) intend(name string) {
	require.NoError(s.t, s.change(func(tx qube.Tx) error { return tx.SetIntent(s.uuid(name), qube.Intent{Kind: "start"}) }))
}

// TestRemovePreloaded: disposables that wait do not keep their template, and go with it; one that goes alone is taken from
// the lists (spec: model.md 6, 8).
func TestRemovePreloaded(t *testing.T) {
	s := start(t)
	name := strings.TrimPrefix(s.dom0("admin.vm.CreateDisposable", "dvm", ""), ok)
	list := func(value string) {
		f, err := qube.ParseFeatureName("preload-dispvm")
		require.NoError(t, err)
		v, err := qube.ParseFeatureValue(value)
		require.NoError(t, err)
		require.NoError(t, s.change(func(tx qube.Tx) error { return tx.SetFeature(s.uuid("dvm"), f, v) }))
	}
	s.set(name, "default_dispvm", "dvm")
	require.Equal(t, "QubesVMInUseError", s.dom0("admin.vm.Remove", "dvm", ""))
	list("disp1 " + name)
	require.Equal(t, ok, s.dom0("admin.vm.Remove", "disp1", ""))
	assert.Equal(t, ok+name, s.dom0("admin.vm.feature.Get+preload-dispvm", "dvm", ""))
	s.set(name, "guivm", "dvm")
	s.unchanged(func() {
		assert.Equal(t, "QubesVMInUseError", s.dom0("admin.vm.Remove", "dvm", ""), "no reference of preloading")
	})
	s.set(name, "guivm", "dom0")
	assert.Equal(t, ok, s.dom0("admin.vm.Remove", "dvm", ""))
	assert.Equal(t, "QubesVMNotFoundError", s.dom0("admin.vm.tag.List", name, ""))
}
