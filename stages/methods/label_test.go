package methods_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestLabels is spec: model.md 9, as a script.
func TestLabels(t *testing.T) {
	s := start(t)
	longest := strings.Repeat("x", 255)
	for _, step := range []struct{ call, payload, want string }{
		{"admin.label.Index+teal", "", ok + "9"},
		{"admin.label.Get+teal", "", ok + "0x008080"},
		// By index, as the reference reads numbers.
		{"admin.label.Get+1", "", ok + "0xcc0000"},
		{"admin.label.Get+01", "", ok + "0xcc0000"},
		{"admin.label.Index+0_9", "", ok + "9"},
		{"admin.label.Index+0", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+-1", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+1__0", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+_1", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+1_", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+1.0", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+0x1", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+18446744073709551617", "", "QubesLabelNotFoundError"},
		{"admin.label.Index+1_0", "", "QubesLabelNotFoundError"},
		// Names are exact.
		{"admin.label.Get+Red", "", "QubesLabelNotFoundError"},
		{"admin.label.Get+r/d", "", "QubesInvalidLabelError"},
		{"admin.label.Get+" + longest, "", "QubesLabelNotFoundError"},
		{"admin.label.Get+" + longest + "x", "", "QubesInvalidLabelError"},
		// What may be created.
		{"admin.label.Create+mine", "\t0xABcd01 \n", ok},
		{"admin.label.Get+mine", "", ok + "0xABcd01"},
		{"admin.label.Index+1_0", "", ok + "10"},
		{"admin.label.Create+mine", "0x000000", "QubesLabelInUseError"},
		{"admin.label.Create+teal", "0x000000", "QubesLabelInUseError"},
		{"admin.label.Create+black", "0x000000", "QubesLabelInUseError"},
		{"admin.label.Create+12", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+1a", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+-1", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+1_0", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+.a", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+a/b", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+" + longest + "x", "0x000000", "QubesInvalidLabelError"},
		{"admin.label.Create+other", "0x00000", "QubesInvalidLabelValueError"},
		{"admin.label.Create+other", "0x0000000", "QubesInvalidLabelValueError"},
		{"admin.label.Create+other", "0X000000", "QubesInvalidLabelValueError"},
		{"admin.label.Create+other", "0x00000g", "QubesInvalidLabelValueError"},
		{"admin.label.Create+other", "0x 00000", "QubesInvalidLabelValueError"},
		{"admin.label.Create+other", "  ", "QubesInvalidLabelValueError"},
		{"admin.label.Create+1", "x", "QubesInvalidLabelError"}, // the name is checked first
		{"admin.label.Create+" + longest, "0x000000", ok},
		{"admin.label.Remove+" + longest, "", ok},
		{"admin.label.Create+A.b_c-9", "0x000000", ok},
		{"admin.label.Index+A.b_c-9", "", ok + "11"},
		// What may be removed.
		{"admin.label.Remove+red", "", "ProtocolError"},
		{"admin.label.Remove+8", "", "ProtocolError"},
		{"admin.label.Remove+teal", "", "QubesLabelInUseError"},
		{"admin.label.Remove+09", "", "QubesLabelInUseError"},
		{"admin.label.Remove+nosuch", "", "QubesLabelNotFoundError"},
		{"admin.label.Remove+12", "", "QubesLabelNotFoundError"},
		{"admin.label.Remove+10", "", ok},
		{"admin.label.List", "", ok + "red\norange\nyellow\ngreen\ngray\nblue\npurple\nblack\nteal\nA.b_c-9\n"},
		// A hole stays, the highest index is used again.
		{"admin.label.Create+mine", "0x000000", ok},
		{"admin.label.Index+mine", "", ok + "12"},
		{"admin.label.Remove+mine", "", ok},
		{"admin.label.Create+again", "0x000000", ok},
		{"admin.label.Index+again", "", ok + "12"},
		{"admin.label.List", "", ok + "red\norange\nyellow\ngreen\ngray\nblue\npurple\nblack\nteal\nA.b_c-9\nagain\n"},
	} {
		require.Equal(t, step.want, s.dom0(step.call, "dom0", step.payload), step.call)
	}
}

// TestLabelsAgainstAList: whatever is created and removed, the labels are those of a list that does the same.
func TestLabelsAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := start(t)
		at := map[int]string{9: "teal"} // besides the built-in ones
		index := func(name string) int {
			for i, n := range at {
				if n == name {
					return i
				}
			}
			return 0
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d", "teal"}).Draw(t, "name")
			switch i := index(name); {
			case rapid.Bool().Draw(t, "create"):
				want := "QubesLabelInUseError"
				if i == 0 {
					highest := 8
					for i := range at {
						highest = max(highest, i)
					}
					at[highest+1], want = name, ok
				}
				require.Equal(t, want, s.dom0("admin.label.Create+"+name, "dom0", "0x000000"))
			case i == 0:
				require.Equal(t, "QubesLabelNotFoundError", s.dom0("admin.label.Remove+"+name, "dom0", ""))
			case name == "teal":
				require.Equal(t, "QubesLabelInUseError", s.dom0("admin.label.Remove+"+name, "dom0", ""))
			default:
				require.Equal(t, ok, s.dom0("admin.label.Remove+"+name, "dom0", ""))
				delete(at, i)
			}
			want := ok + "red\norange\nyellow\ngreen\ngray\nblue\npurple\nblack\n"
			for i := range 50 {
				if at[i] != "" {
					want += at[i] + "\n"
				}
			}
			assert.Equal(t, want, s.dom0("admin.label.List", "dom0", ""))
		}
	})
}
