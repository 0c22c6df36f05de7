package methods_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/permission"
)

// TestWhatIsNotThereLooksForbidden: dest.feat.Set answers everybody, dom0 too, with one constant, byte for byte, whether
// the qube or the feature is not there or the call is not permitted (design: 2, invariant 4).
func TestWhatIsNotThereLooksForbidden(t *testing.T) {
	denied := string(exception.Denied.AppendFrame(nil))
	const nobody = "uuid:11111111-2222-4333-8444-555555555555"
	for _, judge := range []stages.Judge{permission.Everyone{}, permission.OnlyDom0{}} {
		for _, source := range []string{"dom0", "work", "away"} {
			s := start(t)
			s.gate = stages.NewGate(judge, permission.AdminExtension...)
			for _, c := range []struct{ feature, dest string }{
				{"absent", "work"}, {"gui", "base"}, {"gui", "ghost"}, {"absent", "ghost"}, {"gui", nobody}, {"absent", nobody},
				{"GUI", "work"}, {strings.Repeat("x", 64), "work"},
			} {
				for _, value := range []string{"", "1"} {
					assert.Equal(t, denied, string(s.frame(source, "dest.feat.Set+"+c.feature, c.dest, value)), "%s %+v", source, c)
				}
			}
			want := ok
			if judge == (permission.OnlyDom0{}) && source != "dom0" {
				want = "PermissionDenied"
			}
			for _, dest := range []string{"work", "away"} {
				assert.Equal(t, want, s.call(source, "dest.feat.Set+gui", dest, "new"))
			}
			value := "1"
			if want == ok {
				value = "new"
			}
			assert.Equal(t, ok+value, s.dom0("admin.vm.feature.Get+gui", "work", ""))
		}
	}
}

// TestAbsentQubesLookForbidden to every source but dom0, whatever it may do (design: 7).
func TestAbsentQubesLookForbidden(t *testing.T) {
	s := start(t)
	denied := string(exception.Denied.AppendFrame(nil))
	for _, call := range []string{"admin.vm.List", "admin.vm.CurrentState", "admin.vm.feature.Get+gui", "admin.vm.tag.Set+x", "admin.vm.notes.Get"} {
		for _, dest := range []string{"ghost", "uuid:11111111-2222-4333-8444-555555555555"} {
			assert.Equal(t, denied, string(s.frame("work", call, dest, "")), call)
			assert.Equal(t, "QubesVMNotFoundError", s.dom0(call, dest, ""), call)
		}
	}
}

// TestHiddenFeatureGrammar: what has a wrong form is refused before anybody looks, and the same for all.
func TestHiddenFeatureGrammar(t *testing.T) {
	s := start(t)
	for _, source := range []string{"dom0", "work"} {
		for _, c := range []struct{ call, dest, value string }{
			{"dest.feat.Set", "work", "1"},
			{"dest.feat.Set+", "work", "1"},
			{"dest.feat.Set+in-base", "base", "1"},
			{"dest.feat.Set+a1", "work", "1"},
			{"dest.feat.Set+a.b", "work", "1"},
			{"dest.feat.Set+" + strings.Repeat("x", 65), "work", "1"},
			{"dest.feat.Set+gui", "work", "\n"},
			{"dest.feat.Set+gui", "work", "\x7f"},
			{"dest.feat.Set+gui", "dom0", "1"},
			{"dest.feat.Set+gui", "uuid:00000000-0000-0000-0000-000000000000", "1"},
		} {
			assert.Equal(t, "ProtocolError", s.call(source, c.call, c.dest, c.value), "%s %+v", source, c)
		}
	}
	assert.Equal(t, ok+"1", s.dom0("admin.vm.feature.Get+gui", "work", ""))
}

// TestWhatVanishesBetweenTheDoors is judged again, and answered as if it had never been there (design: 6).
func TestWhatVanishesBetweenTheDoors(t *testing.T) {
	s := start(t)
	for _, source := range []string{"dom0", "dvm"} {
		require.Equal(t, ok, s.dom0("admin.vm.feature.Set+gui", "work", "1"))
		a, err := s.permitted(source, "dest.feat.Set+gui", "work", "2")
		require.NoError(t, err)
		require.Equal(t, ok, s.dom0("admin.vm.feature.Remove+gui", "work", ""))
		_, err = s.act(a)
		var e *exception.Exception
		require.ErrorAs(t, err, &e)
		assert.Equal(t, exception.Denied, e)
		assert.Equal(t, "QubesFeatureNotFoundError", s.dom0("admin.vm.feature.Get+gui", "work", ""))
	}
}

// TestHandlersSeeWhatIsWritten, as the nouns that the method declares, and only after their grammar has read them
// (spec: extensions.md 1; SAFER for notes).
func TestHandlersSeeWhatIsWritten(t *testing.T) {
	type seen struct{ source, dest, arg, payload string }
	var last *seen
	shown := func(v any) string {
		if n, is := v.(qube.Noun); is {
			return n.Shown()
		}
		return ""
	}
	var all []string
	for _, m := range specification(t).Methods {
		all = append(all, m.Name)
	}
	s := start(t, stages.Handler{Methods: all, Check: func(f stages.Facts) (stages.Filter, error) {
		last = &seen{f.Source.Shown(), f.Dest.Shown(), shown(f.Arg), shown(f.Payload)}
		return nil, exception.New(exception.QubesVMInUseError, "enough seen")
	}})
	for _, c := range []struct {
		call, dest, payload string
		want                *seen // nil if the handler is not reached
	}{
		{"admin.vm.feature.Set+a", "base", "v", &seen{"work", "base", "a", "v"}},
		{"admin.vm.feature.Set+service.", "base", "v", &seen{"work", "base", "service.", "v"}},
		{"admin.vm.feature.Set+a", "base", "\n", nil},
		{"admin.vm.feature.Remove+a", "base", "", &seen{"work", "base", "a", ""}},
		{"admin.vm.feature.Get+a/b", "base", "", nil},
		{"admin.vm.tag.Set+a", "base", "", &seen{"work", "base", "a", ""}},
		{"admin.vm.tag.Remove+a.b", "base", "", nil},
		{"admin.vm.notes.Set", "base", "a\rb", &seen{"work", "base", "", "a_b"}},
		{"admin.vm.notes.Set", "away", "", &seen{"work", "away", "", ""}},
		{"admin.label.Create+new", "dom0", " 0x123456", &seen{"work", "dom0", "new", "0x123456"}},
		{"admin.label.Create+9", "dom0", "0x123456", nil},
		{"admin.label.Get+nosuch", "dom0", "", &seen{"work", "dom0", "nosuch", ""}}, // SAFER: before it is looked up
		{"admin.label.Remove+red", "dom0", "", &seen{"work", "dom0", "red", ""}},
		{"admin.vm.List", "ghost", "", nil},
	} {
		last = nil
		said := s.call("work", c.call, c.dest, c.payload)
		assert.Equal(t, c.want, last, c.call)
		if c.want != nil {
			assert.Equal(t, "QubesVMInUseError", said, "a handler may refuse with any exception")
		}
	}
}
