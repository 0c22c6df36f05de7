package methods_test

import (
	"cmp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// featureRules are the features that mean something, each with values that are and are not allowed
// (spec: model.md 6, 10). A qube of no class is work, an AppVM.
var featureRules = []struct{ name, value, dest, want string }{
	{"a", "", "", ok},
	{"a.b-c_D9", " ~", "", ok},
	{"..", "1", "", ok},
	{strings.Repeat("x", 255), "1", "", ok},
	{"service", "1", "", ok},
	{"xservice.", "1", "", ok},

	{"service.", "1", "", "QubesValueError"},
	{"service..", "1", "", "QubesValueError"},
	{"service...", "1", "", "QubesValueError"},
	{"service....", "1", "", ok},
	{"service.x", "", "", ok},
	{"service." + strings.Repeat("x", 48), "1", "", ok},
	{"service." + strings.Repeat("x", 49), "1", "", "QubesValueError"},
	{"service.app-dispvm", "1", "", ok},
	{"service.app-dispvm." + strings.Repeat("x", 200), "1", "", ok},
	{"service.app-dispvmx" + strings.Repeat("x", 48), "1", "", "QubesValueError"},
	{"service.", "1", "dom0", "QubesValueError"},

	{"vm-config.a", "", "", ok},
	{"vm-config.Z" + strings.Repeat("9", 51), "1", "", ok},
	{"vm-config.Z" + strings.Repeat("9", 52), "1", "", "QubesValueError"},
	{"vm-config.", "1", "", "QubesValueError"},
	{"vm-config.1a", "1", "", "QubesValueError"},
	{"vm-config._a", "1", "", "QubesValueError"},
	{"vm-config", "1", "", ok},

	{"custom-persist.a", "/", "", ok},
	{"custom-persist.a", "/a/b c:d", "", ok},
	{"custom-persist." + strings.Repeat("x", 54), "/a", "", ok},
	{"custom-persist." + strings.Repeat("x", 55), "/a", "", "QubesValueError"},
	{"custom-persist.", "/a", "", "QubesValueError"},
	{"custom-persist.a", "", "", "QubesValueError"},
	{"custom-persist.a", "a/b", "", "QubesValueError"},
	{"custom-persist.a", "file:user:group:0644:/a", "", ok},
	{"custom-persist.a", "dir:0:0:7777:/a:b:/c", "", ok},
	{"custom-persist.a", "dir:0:0:10000:/a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0:8:/a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0:0x1:/a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0:-1:/a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0::/a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0:755:a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0:755:", "", "QubesValueError"},
	{"custom-persist.a", "dir:0:0:755", "", "QubesValueError"},
	{"custom-persist.a", "dir::0:755:/a", "", "QubesValueError"},
	{"custom-persist.a", "dir:0::755:/a", "", "QubesValueError"},
	{"custom-persist.a", "link:0:0:755:/a", "", "QubesValueError"},
	{"custom-persist", "x", "", ok},

	{"preload-dispvm-max", "10", "dvm", ok}, // whose template has what it takes
	{"preload-dispvm-max", "", "dvm", ok},
	{"preload-dispvm-max", "-1", "dvm", "QubesValueError"},
	{"preload-dispvm-max", "1.5", "dvm", "QubesValueError"},
	{"preload-dispvm-max", "x", "dvm", "QubesValueError"},
	{"preload-dispvm-max", "1", "disp1", ok}, // two templates up
	{"preload-dispvm-max", "1", "sys-firewall", "QubesValueError"},
	{"preload-dispvm-max", "1", "dom0", ok},
	{"preload-dispvm-max", "x", "dom0", "QubesValueError"},
	{"preload-dispvm-delay", "", "", ok},
	{"preload-dispvm-delay", "-3", "", ok},
	{"preload-dispvm-delay", "0.5", "", ok},
	{"preload-dispvm-delay", "x", "", "QubesValueError"},
	{"preload-dispvm-delay", "nan", "", "QubesValueError"},
	{"preload-dispvm-delay", "-inf", "", "QubesValueError"},
	{"preload-dispvm-delay", "1e999", "", "QubesValueError"},
	{"preload-dispvm-threshold", "100", "dom0", ok},
	{"preload-dispvm-threshold", "", "dom0", ok},
	{"preload-dispvm-threshold", "1.5", "dom0", "QubesValueError"},
	{"preload-dispvm-threshold", "1.5", "", ok}, // only dom0's counts
	{"preload-dispvm-other", "x", "", ok},

	{"net.fake-ip", "192.168.1.2", "", ok},
	{"net.fake-gateway", "192.168.1.1", "", ok},
	{"net.fake-netmask", "255.255.255.0", "", ok},
	{"net.fake-ip", "", "", ok},
	{"net.fake-ip", "192.168.1", "", "QubesValueError"},
	{"net.fake-ip", "192.168.1.2/24", "", "QubesValueError"},
	{"net.fake-ip", "fe80::1", "", "QubesValueError"},
	{"net.fake-gateway", "x", "", "QubesValueError"},
	{"net.fake-netmask", "24", "", "QubesValueError"},
	{"net.fake-other", "x", "", ok},

	{"preload-dispvm", "x", "", "PermissionDenied"}, // the daemon's own (spec: extensions.md 2)
	{"preload-dispvm-completed", "x", "", "PermissionDenied"},
	{"preload-dispvm-in-progress", "x", "", "PermissionDenied"},
	{"deferred-netvm-original", "x", "", "PermissionDenied"},

	{"a b", "1", "", "ProtocolError"},
	{"a/b", "1", "", "ProtocolError"},
	{"a+b", "1", "", "ProtocolError"},
	{strings.Repeat("x", 256), "1", "", "ProtocolError"},
	{"a", "\t", "", "ProtocolError"},
	{"a", "\x7f", "", "ProtocolError"},
	{"a", "é", "", "ProtocolError"},
	{"preload-dispvm", "\n", "", "ProtocolError"}, // before anybody asks for permission
}

func TestFeatureRules(t *testing.T) {
	for _, rule := range featureRules {
		s := start(t)
		dest := rule.dest
		if dest == "" {
			dest = "work"
		}
		before, features := s.book.View().Revision(), s.dom0("admin.vm.feature.List", dest, "")
		require.Equal(t, rule.want, s.dom0("admin.vm.feature.Set+"+rule.name, dest, rule.value), "%+v", rule)
		if rule.want == ok {
			assert.Equal(t, ok+rule.value, s.dom0("admin.vm.feature.Get+"+rule.name, dest, ""), "%+v", rule)
			assert.Equal(t, before+2, s.book.View().Revision(), "the announcement and the event have one each")
			continue
		}
		assert.Equal(t, features, s.dom0("admin.vm.feature.List", dest, ""), "a refused value leaves nothing behind: %+v", rule)
		assert.Equal(t, before, s.book.View().Revision())
	}
}

// TestFeaturesOfRemoteQubesAreUnchecked (spec: model.md 10), but for what concerns the protocol and permission.
func TestFeaturesOfRemoteQubesAreUnchecked(t *testing.T) {
	s := start(t)
	for _, rule := range featureRules {
		want := rule.want
		if want == "QubesValueError" {
			want = ok
		}
		require.Equal(t, want, s.dom0("admin.vm.feature.Set+"+rule.name, "away", rule.value), "%+v", rule)
	}
	assert.Equal(t, ok, s.dom0("admin.vm.feature.Set+service.meminfo-writer", "away", ""))
	assert.Equal(t, ok, s.dom0("admin.vm.feature.Get+service.meminfo-writer", "away", ""))
	assert.Equal(t, "-", s.property("away", "maxmem"))
}

// TestEachNeedOfPreloading: of the three features, none may be missing or empty (spec: model.md 6).
func TestEachNeedOfPreloading(t *testing.T) {
	for _, feature := range []string{"qrexec", "supported-rpc.qubes.WaitForRunningSystem", "supported-rpc.qubes.WaitForSession"} {
		s := start(t)
		require.Equal(t, ok, s.dom0("admin.vm.feature.Set+"+feature, "dvm", ""))
		assert.Equal(t, "QubesValueError", s.dom0("admin.vm.feature.Set+preload-dispvm-max", "dvm", "1"), feature)
		require.Equal(t, ok, s.dom0("admin.vm.feature.Remove+"+feature, "dvm", ""))
		require.Equal(t, ok, s.dom0("admin.vm.feature.Remove+"+feature, "base", ""))
		assert.Equal(t, "QubesValueError", s.dom0("admin.vm.feature.Set+preload-dispvm-max", "dvm", "1"), feature)
		require.Equal(t, ok, s.dom0("admin.vm.feature.Set+"+feature, "dvm", "1"))
		assert.Equal(t, ok, s.dom0("admin.vm.feature.Set+preload-dispvm-max", "dvm", "1"), feature)
	}
}

// TestMeminfoWriter: this feature is never stored, but sets and resets a property (spec: model.md 10), under the rules
// of that property (spec: properties.yaml QubesVM.maxmem, AdminVM.maxmem).
func TestMeminfoWriter(t *testing.T) {
	s := start(t)
	set := func(dest, value string) string {
		return s.dom0("admin.vm.feature.Set+service.meminfo-writer", dest, value)
	}
	for _, step := range []struct{ dest, value, want, maxmem string }{
		{"work", "", ok, "0"},
		{"work", "", ok, "0"},
		{"work", "1", ok, "-"},
		{"work", "0", ok, "-"}, // which is true, like all that is not empty
		{"work", "", ok, "0"},
		{"dom0", "1", ok, "-"},
		{"dom0", "", "QubesPropertyValueError", "-"},
		{"busy", "", "QubesVMNotHaltedError", "1024"},
		{"busy", "1", ok, "-"},
		{"Zoo", "", "QubesVMNotHaltedError", "1024"},
	} {
		require.Equal(t, step.want, set(step.dest, step.value), "%+v", step)
		assert.Equal(t, step.maxmem, s.property(step.dest, "maxmem"), "%+v", step)
		want := "QubesFeatureNotFoundError"
		if step.want == "QubesVMNotHaltedError" && step.dest == "busy" {
			want = ok + "1" // of the inventory file; a refused call changes nothing
		}
		assert.Equal(t, want, s.dom0("admin.vm.feature.Get+service.meminfo-writer", step.dest, ""), "%+v", step)
	}
}

// TestLookups is where each method looks (spec: methods.yaml admin.vm.feature.CheckWith*).
func TestLookups(t *testing.T) {
	const dom0 = "in-dom0=d"
	type places struct{ own, templates, netvms string }
	all := map[string]places{
		"work":         {"in-work=w", "in-base=b", "in-firewall=f in-net=n"},
		"disp1":        {"in-disp1=1", "in-dvm=v in-base=b", "in-firewall=f in-net=n"},
		"sys-firewall": {"in-firewall=f", "", "in-net=n"},
		"base":         {"in-base=b", "", ""},
		"away":         {"", "", ""},
		"dom0":         {dom0, "", ""},
	}
	methods := map[string]func(places) string{
		"Get":                         func(p places) string { return p.own },
		"CheckWithTemplate":           func(p places) string { return p.own + " " + p.templates },
		"CheckWithNetvm":              func(p places) string { return p.own + " " + p.netvms },
		"CheckWithAdminVM":            func(p places) string { return p.own + " " + dom0 },
		"CheckWithTemplateAndAdminVM": func(p places) string { return p.own + " " + p.templates + " " + dom0 },
	}
	s := start(t)
	require.Equal(t, ok, s.dom0("admin.vm.feature.Set+in-work", "work", "w"))
	require.Equal(t, ok, s.dom0("admin.vm.feature.Set+in-disp1", "disp1", "1"))
	for method, searches := range methods {
		for dest, places := range all {
			found := map[string]string{}
			for _, feature := range strings.Fields(searches(places)) {
				name, value, _ := strings.Cut(feature, "=")
				found[name] = ok + value
			}
			for _, feature := range []string{"in-work", "in-disp1", "in-dvm", "in-base", "in-firewall", "in-net", "in-dom0"} {
				want := cmp.Or(found[feature], "QubesFeatureNotFoundError")
				assert.Equal(t, want, s.dom0("admin.vm.feature."+method+"+"+feature, dest, ""), "%s %s of %s", method, feature, dest)
			}
		}
		// An empty value ends the search; a name that no feature can have is simply not found.
		assert.Equal(t, ok, s.dom0("admin.vm.feature."+method+"+hidden", "work", ""), method)
		assert.Equal(t, "QubesFeatureNotFoundError", s.dom0("admin.vm.feature."+method+"+a/b", "work", ""), method)
		assert.Equal(t, "QubesFeatureNotFoundError", s.dom0("admin.vm.feature."+method+"+"+strings.Repeat("x", 256), "work", ""), method)
	}
}

func TestFeatureRemove(t *testing.T) {
	s := start(t)
	for _, step := range []struct{ name, dest, want string }{
		{"gui", "work", ok},
		{"gui", "work", "QubesFeatureNotFoundError"},
		{"in-base", "work", "QubesFeatureNotFoundError"}, // of the template
		{"a/b", "work", "QubesFeatureNotFoundError"},
		{"preload-dispvm", "work", "PermissionDenied"},
		{"deferred-netvm-original", "dom0", "PermissionDenied"},
		{"gui", "away", ok},
	} {
		assert.Equal(t, step.want, s.dom0("admin.vm.feature.Remove+"+step.name, step.dest, ""), "%+v", step)
	}
}

// TestFeaturesAgainstAMap: features are set, removed and found as in a map, whatever the rules make of a name.
func TestFeaturesAgainstAMap(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "service.", "vm-config.", "custom-persist.", "preload-dispvm-", "net.fake-"}).Draw(t, "prefix") +
			rapid.SampledFrom([]string{"a", "1", "ip", "max", "delay", "."}).Draw(t, "rest")
	})
	value := rapid.SampledFrom([]string{"", "1", "x", "/x", "1.2.3.4", "-1"})
	rapid.Check(t, func(t *rapid.T) {
		s, model := start(t), map[string]string{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			name, value := name.Draw(t, "name"), value.Draw(t, "value")
			_, there := model[name]
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				want := "QubesFeatureNotFoundError"
				if there {
					want = ok
				}
				require.Equal(t, want, s.dom0("admin.vm.feature.Remove+"+name, "bare", ""))
				delete(model, name)
			} else if said := s.dom0("admin.vm.feature.Set+"+name, "bare", value); said == ok {
				model[name] = value
			} else {
				require.Equal(t, "QubesValueError", said)
			}
			want := "QubesFeatureNotFoundError"
			if value, there := model[name]; there {
				want = ok + value
			}
			require.Equal(t, want, s.dom0("admin.vm.feature.Get+"+name, "bare", ""))
		}
		require.Len(t, strings.Fields(strings.TrimPrefix(s.dom0("admin.vm.feature.List", "bare", ""), ok)), len(model))
	})
}
