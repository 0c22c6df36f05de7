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
	"sallyport/stages/properties"
)

// ofEachClass is a qube of each class of testdata/system.yaml.
var ofEachClass = []string{"dom0", "base", "work", "Zoo", "disp1", "away"}

// holders are all that have properties: what to put before the method's last word, the destination, and the properties.
func holders(s *system) map[[2]string][]*properties.Property {
	all := map[[2]string][]*properties.Property{{"admin.property.", "dom0"}: properties.OfTheSystem()}
	for _, name := range ofEachClass {
		n, _ := qube.ParseName(name)
		q, _ := s.book.View().Qube(n)
		all[[2]string{"admin.vm.property.", name}] = properties.Of(q.Class())
	}
	return all
}

// badValues are what no value of a type is, and why.
func badValues(p *properties.Property) []string {
	control := []string{"\x00", "\x01", "\x7f", "\xff", "é", "a\nb", "a\rb", "a\tb", "\v\f"}
	switch {
	case p.Type.Wire == "int":
		return append(control, "", "x", "1.5", "0x1", "1__0", "_1", "1_", "+", "--1", "٣", "9223372036854775808", "1 2", strings.Repeat("1", 5000))
	case p.Type.Wire == "bool":
		return append(control, "", "maybe", " on", "on ", "2", "True\n")
	case p.Type.Wire == "vm":
		return append(control, "-x", "none", "default", "Domain-0", "a b", "a-dm", "a/b", strings.Repeat("x", 32), "uuid:00000000-0000-0000-0000-000000000000")
	case p.Type.Wants == "an IPv4 address":
		return append(control, "", "1.2.3", "1.2.3.256", "01.2.3.4", "::1", "1.2.3.4/8")
	case p.Type.Wants == "an IPv6 address":
		return append(control, "", "zz", "1.2.3.4", "fe80::1%eth0")
	case p.Type.Wants == "a UUID":
		return append(control, "", "xx", "f4db6e78-9ddd-4455-9804-7ef0b55c3e2g")
	}
	return control
}

// aValue is in the grammar of a type.
func aValue(p *properties.Property) string {
	switch {
	case p.Type.Wire == "int":
		return "5"
	case p.Type.Wire == "bool":
		return "True"
	case p.Type.Wants == "an IPv4 address":
		return "10.0.0.1"
	case p.Type.Wants == "an IPv6 address":
		return "fd00::1"
	case p.Type.Wants == "a UUID":
		return "f4db6e78-9ddd-4455-9804-7ef0b55c3e2c"
	}
	return "x"
}

// TestEveryPropertyRefuses what it has to refuse, with the type that the specification says, and stays as it was
// (spec: methods.yaml admin.vm.property.Set; properties.yaml).
func TestEveryPropertyRefuses(t *testing.T) {
	s := start(t)
	for at, all := range holders(s) {
		before := s.dom0(at[0]+"GetAll", at[1], "")
		for _, p := range all {
			name := p.Name.Shown()
			for _, bad := range badValues(p) {
				assert.Equal(t, "QubesValueError", s.dom0(at[0]+"Set+"+name, at[1], bad), "%s of %s: %q", name, at[1], bad)
			}
			if !p.Settable() {
				assert.Equal(t, "QubesPropertyValueError", s.dom0(at[0]+"Set+"+name, at[1], aValue(p)), "%s of %s", name, at[1])
			}
			if p.Type.Wire == "vm" {
				assert.Equal(t, "QubesPropertyValueError", s.dom0(at[0]+"Set+"+name, at[1], "nosuch"), "%s of %s", name, at[1])
				assert.Equal(t, "QubesPropertyValueError", s.dom0(at[0]+"Set+"+name, at[1], "away"), "%s of %s", name, at[1])
			}
			for _, method := range []string{"Get", "GetDefault", "Set", "Reset", "Help"} {
				assert.Equal(t, "ProtocolError", s.dom0(at[0]+method, at[1], ""), method)
				for _, unknown := range []string{"nosuch", strings.ToUpper(name), name + "x", "a/b"} {
					assert.Equal(t, "QubesNoSuchPropertyError", s.dom0(at[0]+method+"+"+unknown, at[1], ""), method)
				}
			}
		}
		assert.Equal(t, before, s.dom0(at[0]+"GetAll", at[1], ""), at[0])
		for _, p := range all {
			name := p.Name.Shown()
			reset := s.dom0(at[0]+"Reset+"+name, at[1], "")
			switch _, known := p.Default(s.book.View(), s.qube(at[1])); {
			case name == "template":
				assert.Equal(t, "QubesValueError", reset, at[1])
			case !known && name != "default_template" && name != "default_kernel":
				assert.Equal(t, "QubesPropertyValueError", reset, "%s of %s has no default", name, at[1])
			case !p.Settable():
				assert.Equal(t, ok, reset, "%s of %s", name, at[1])
			}
		}
	}
}

// TestPropertiesOfOtherClasses are not there, which is told after permission only (spec: extensions.md 7, SAFER).
func TestPropertiesOfOtherClasses(t *testing.T) {
	s := start(t)
	names := map[string]*properties.Property{}
	for at, all := range holders(s) {
		if at[0] == "admin.vm.property." {
			for _, p := range all {
				names[p.Name.Shown()] = p
			}
		}
	}
	only := start(t)
	only.gate = stages.NewGate(permission.OnlyDom0{})
	for _, dest := range ofEachClass {
		for name, p := range names {
			if _, err := properties.Find(s.qube(dest), p.Name); err == nil {
				continue
			}
			for method, payload := range map[string]string{"Get": "", "GetDefault": "", "Set": aValue(p), "Reset": "", "Help": ""} {
				assert.Equal(t, "QubesNoSuchPropertyError", s.dom0("admin.vm.property."+method+"+"+name, dest, payload), "%s of %s", name, dest)
				assert.Equal(t, "PermissionDenied", only.call("work", "admin.vm.property."+method+"+"+name, dest, payload), "%s of %s", name, dest)
			}
		}
	}
}

// TestUUIDsOfBothTypes: the same name has another grammar for dom0 (spec: properties.yaml AdminVM.uuid, any.uuid).
func TestUUIDsOfBothTypes(t *testing.T) {
	s := start(t)
	assert.Equal(t, "QubesPropertyValueError", s.dom0("admin.vm.property.Set+uuid", "dom0", "x"))
	assert.Equal(t, "QubesValueError", s.dom0("admin.vm.property.Set+uuid", "work", "x"))
	assert.Equal(t, "QubesPropertyValueError", s.dom0("admin.vm.property.Set+uuid", "work", "{F4DB6E789DDD445598047EF0B55C3E2C}"))
}

// TestAllIsEach: GetAll has what List names and Get gives, line by line.
func TestAllIsEach(t *testing.T) {
	s := start(t)
	require.Equal(t, ok, s.dom0("admin.vm.property.Set+kernelopts", "work", `a\b`))
	for at, all := range holders(s) {
		want, names := ok, ok
		for _, p := range all {
			name := p.Name.Shown()
			got, is := strings.CutPrefix(s.dom0(at[0]+"Get+"+name, at[1], ""), ok)
			require.True(t, is, name)
			want += name + " " + strings.ReplaceAll(got, `\`, `\\`) + "\n"
			names += name + "\n"
			assert.Equal(t, ok+p.Help, s.dom0(at[0]+"Help+"+name, at[1], ""))
			if strings.HasPrefix(got, "default=True ") {
				if byDefault := s.dom0(at[0]+"GetDefault+"+name, at[1], ""); byDefault != ok { // there is a default
					assert.Equal(t, ok+strings.TrimPrefix(got, "default=True "), byDefault, "%s of %s", name, at[1])
				}
			}
		}
		assert.Equal(t, want, s.dom0(at[0]+"GetAll", at[1], ""))
		assert.Equal(t, names, s.dom0(at[0]+"List", at[1], ""))
	}
}

// TestPropertiesAreFiltered: a handler's filter is asked of each name (spec: extensions.md 1).
func TestPropertiesAreFiltered(t *testing.T) {
	s := start(t, stages.Handler{Methods: []string{"admin.vm.property.List", "admin.vm.property.GetAll"}, Check: func(stages.Facts) (stages.Filter, error) {
		return func(item qube.Noun) bool { return item.Shown() == "name" }, nil
	}})
	assert.Equal(t, ok+"name\n", s.dom0("admin.vm.property.List", "work", ""))
	assert.Equal(t, ok+"name default=False type=str work\n", s.dom0("admin.vm.property.GetAll", "work", ""))
}

// TestHandlersSeeNewValues, as they were read (spec: extensions.md 1).
func TestHandlersSeeNewValues(t *testing.T) {
	var seen []string
	s := start(t, stages.Handler{Methods: []string{"admin.vm.property.Set"}, Check: func(f stages.Facts) (stages.Filter, error) {
		seen = append(seen, f.Arg.(qube.Noun).Shown()+"="+f.Payload.(qube.Noun).Shown())
		return nil, exception.Denied
	}})
	for _, c := range [][2]string{{"memory", " +5_0\n"}, {"debug", "ON"}, {"uuid", "x"}, {"netvm", "nosuch"}} {
		assert.Equal(t, "PermissionDenied", s.dom0("admin.vm.property.Set+"+c[0], "work", c[1]))
	}
	assert.Equal(t, []string{"memory=50", "debug=True", "uuid=x", "netvm=nosuch"}, seen)
}
