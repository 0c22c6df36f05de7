package methods_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNotes is spec: model.md 12.
func TestNotes(t *testing.T) {
	s := start(t)
	for _, step := range []struct{ dest, set, want, then string }{
		{"work", "tab\tline\n~", ok, "tab\tline\n~"},
		{"work", "Grüße, Ωμέγα, Привет, 你好, かな", ok, "Grüße, Ωμέγα, Привет, 你好, かな"},
		{"work", "a\rb\x00c\x1bd\x08e\x7ff", ok, "a_b_c_d_e_f"},
		{"work", "\u00a0\u200b\u202e\u05d0\u0661\U0001f642\u2028\ue000\ufeff", ok, "_________"},
		{"work", "not\xffUTF-8", "ProtocolError", "_________"}, // and nothing changes
		{"work", strings.Repeat("x", 65000), ok, strings.Repeat("x", 65000)},
		{"work", "", ok, ""},
		{"base", "also templates", ok, "also templates"},
	} {
		require.Equal(t, step.want, s.dom0("admin.vm.notes.Set", step.dest, step.set))
		assert.Equal(t, ok+step.then, s.dom0("admin.vm.notes.Get", step.dest, ""))
	}
	assert.Equal(t, ok, s.dom0("admin.vm.notes.Get", "bare", ""), "nobody has noted anything")
	for dest, want := range map[string]string{"dom0": "ProtocolError", "away": "QubesNotImplementedError"} {
		assert.Equal(t, want, s.dom0("admin.vm.notes.Get", dest, ""))
		assert.Equal(t, want, s.dom0("admin.vm.notes.Set", dest, "x"))
		assert.Equal(t, want, s.dom0("admin.vm.notes.Set", dest, ""))
	}
}

func TestNotesOfAnInventoryFile(t *testing.T) {
	assert.Equal(t, ok+"remember", start(t).dom0("admin.vm.notes.Get", "work", ""))
}
