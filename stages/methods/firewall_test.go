package methods_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// firewallVectors is firewall.yaml: what the reference makes of single rules.
type firewallVectors struct {
	Note    string
	Vectors []struct {
		Rule       string
		Normalized *string
		Get        *string
		QDB        any
		Valid      bool
		Silent     bool
		Upstream   string `yaml:"upstream_error"`
	}
}

// stricter are rules that the reference takes as they are and we do not (spec: firewall.md 3, SAFER).
var stricter = map[string]struct{ ours, reason string }{
	"action=accept proto=tcp dstports=+80": {"ProtocolError", "a port is digits only"},
	"action=accept proto=tcp dstports=1_0": {"ProtocolError", "a port is digits only"},
	"action=accept dst4=01.2.3.4":          {"ProtocolError", "a host name is not digits and dots only"},
	"action=accept dstname=1.2.3":          {"ProtocolError", "a host name is not digits and dots only"},
	"action=accept dst4=1.2.3.4/032":       {ok + "action=accept dst4=1.2.3.4/32\n", "a prefix is a plain number"},
}

func TestFirewallVectors(t *testing.T) {
	var all firewallVectors
	readYAML(t, "vectors/firewall.yaml", &all)
	s, met := start(t), map[string]bool{}
	for _, v := range all.Vectors {
		want := "ProtocolError"
		if v.Valid {
			want = ok
		}
		got := s.dom0("admin.vm.firewall.Set", "work", v.Rule+"\n")
		if v.Valid && got == ok && v.Get != nil {
			want, got = ok+*v.Get, s.dom0("admin.vm.firewall.Get", "work", "")
		}
		if ours, differs := stricter[v.Rule]; differs {
			met[v.Rule] = true
			assert.NotEqual(t, want, got, "%q is no difference", v.Rule)
			want = ours.ours
		}
		assert.Equal(t, want, got, "%q", v.Rule)
	}
	assert.Len(t, met, len(stricter))
}

// TestFirewall is spec: firewall.md 1, 2.
func TestFirewall(t *testing.T) {
	s := start(t)
	get := func() string { return s.dom0("admin.vm.firewall.Get", "work", "") }
	set := func(payload string) string { return s.dom0("admin.vm.firewall.Set", "work", payload) }
	assert.Equal(t, ok+"action=accept\n", get(), "nothing was set")
	assert.Equal(t, ok, set("dsthost=1.2.3.4 action=drop comment=a b\naction=accept"))
	assert.Equal(t, []string{"work firewall-changed"}, s.told)
	assert.Equal(t, ok+"action=drop dst4=1.2.3.4/32 comment=a b\naction=accept\n", get())
	for _, bad := range []string{"", "\n", "action=accept\n\naction=drop", "action=accept\r", "action=accept\x0baction=drop", "action=accept\xff",
		"action=drop\nsome=thing", "action=accept\tproto=tcp"} {
		s.unchanged(func() { assert.Equal(t, "ProtocolError", set(bad), "%q", bad) })
	}
	assert.Equal(t, ok, set("action=drop expire=1\naction=accept expire=253402300799"))
	assert.Equal(t, ok+"action=accept expire=253402300799\n", get(), "what has expired is not shown")
	assert.Equal(t, ok, set("action=drop expire=1"))
	assert.Equal(t, ok, get(), "nor is the default in its place")
	for _, dest := range []string{"away", "dom0"} {
		want := map[string]string{"away": "QubesException", "dom0": "ProtocolError"}[dest]
		assert.Equal(t, want, s.dom0("admin.vm.firewall.Get", dest, ""))
		assert.Equal(t, want, s.dom0("admin.vm.firewall.Set", dest, "action=drop"))
	}
	assert.Equal(t, ok, set(strings.Repeat("action=drop comment=x\n", 2000)))
}
