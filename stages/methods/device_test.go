package methods_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestDevices: there are none yet, and clients that clone can see that (spec: devices.md 1, 2.1).
func TestDevices(t *testing.T) {
	s := start(t)
	assert.Equal(t, ok+"block\npci\n", s.dom0("admin.deviceclass.List", "dom0", ""))
	for arg, want := range map[string]string{
		"": ok, "+sys-net+sda": ok, "+sys-net+2-1:0781": ok, "+_+_": ok, "+ghost+sda": ok,
		"+bogus": "ProtocolError", "+sys-net+": "ProtocolError", "++sda": "ProtocolError", "+sys-net+a\xff": "ProtocolError",
	} {
		for _, class := range []string{"block", "pci"} {
			assert.Equal(t, want, s.dom0("admin.vm.device."+class+".Assigned"+arg, "work", ""), arg)
		}
	}
	assert.Equal(t, "ProtocolError", s.dom0("admin.vm.device.nosuch.Assigned", "work", ""))
}
