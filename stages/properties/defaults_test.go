package properties

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
)

// TestMemory is what a qube has by default (spec: properties.yaml QubesVM.memory, QubesVM.maxmem; model.md 13).
func TestMemory(t *testing.T) {
	const qubes = `
qubes:
  - {name: plain, class: TemplateVM}
  - {name: linux, class: TemplateVM, features: {os: Linux}, properties: {memory: 300}}
  - {name: other, class: TemplateVM, features: {os: Windows}, properties: {maxmem: 1234}}
  - {name: a, class: AppVM, properties: {template: plain}}
  - {name: b, class: AppVM, properties: {template: linux, memory: 500, template_for_dispvms: true}, features: {os: x}}
  - {name: c, class: DispVM, properties: {template: b}}
  - {name: d, class: AppVM, properties: {template: other}}
  - {name: e, class: AppVM, properties: {template: other, maxmem: 0}}
  - {name: g, class: AppVM, properties: {template: other, template_for_dispvms: true}}
  - {name: h, class: DispVM, properties: {template: g}}
  - {name: hvm, class: StandaloneVM, properties: {virt_mode: hvm}}
  - {name: agent, class: StandaloneVM, properties: {virt_mode: hvm}, features: {qrexec: "1"}}
  - {name: mute, class: StandaloneVM, properties: {virt_mode: hvm}, features: {qrexec: "1", supported-service.x: "1"}}
  - {name: writer, class: StandaloneVM, properties: {virt_mode: hvm}, features: {qrexec: "1", supported-service.x: "1", supported-service.meminfo-writer: "1"}}
`
	type pair struct{ memory, most int }
	for host, want := range map[string]map[string]pair{
		"simulated: {host_memory_mib: 32000}": {
			"a": {400, 4000}, "b": {500, 3000}, "c": {500, 3000}, "d": {400, 1234}, "e": {400, 0}, "h": {400, 1234}, "plain": {400, 4000},
			"hvm": {400, 0}, "agent": {400, 4000}, "mute": {400, 0}, "writer": {400, 4000}, "dom0": {0, 4096},
		},
		"simulated: {host_memory_mib: 2001}": {
			"a": {400, 1000}, "b": {500, 1000}, "c": {500, 1000}, "d": {400, 1234}, "e": {400, 0}, "h": {400, 1234}, "plain": {400, 1000}, "dom0": {0, 4096},
		},
	} {
		v := opened(t, host+qubes).View()
		for name, p := range want {
			q := theQube(t, v, name)
			assert.Equal(t, p, pair{Int(v, q, Memory), Int(v, q, Maxmem)}, "%s, %s", name, host)
		}
	}
}

// TestDefaults is spec: properties.yaml, definition by definition.
func TestDefaults(t *testing.T) {
	book := opened(t, `
global: {default_netvm: sys-net, default_kernel: "6.6", default_guivm: gui, default_dispvm: dvm, default_qrexec_timeout: 70, management_dispvm: dvm}
kernels: ["6.6", "6.7"]
simulated: {host_memory_mib: 32000, host_cpus: 8}
qubes:
  - {name: base, class: TemplateVM, label: black, properties: {kernel: "6.7", default_user: root, vcpus: 4, kernelopts: quiet, virt_mode: HVM, appvm_default_bootmode: slow},
     features: {net.fake-gateway: 10.0.0.1, boot-mode.kernelopts.slow: "s"}}
  - {name: moded, class: TemplateVM, features: {boot-mode.appvm-default: default, boot-mode.active: unknown}}
  - {name: sys-net, class: AppVM, properties: {template: moded, provides_network: true, netvm: ""}, features: {ipv6: "1", servicevm: "1"}, qid: 300}
  - {name: work, class: AppVM, properties: {template: base}, label: blue, qid: 7, features: {net.fake-ip: 192.168.0.5}}
  - {name: dvm, class: AppVM, properties: {template: moded, template_for_dispvms: true, netvm: ""}}
  - {name: gui, class: StandaloneVM, properties: {keyboard_layout: de++, netvm: "", guivm: gui}}
  - {name: away, class: RemoteVM}
`)
	group := book.Begin()
	require.NoError(t, group.Try(func(tx qube.Tx) error {
		if _, err := tx.AddQube(qube.NewQube{Class: qube.DispVM, Label: theQube(t, tx, "work").Label(), Properties: map[qube.PropertyName]qube.PropertyValue{
			Template: valueOf("dvm"), Netvm: valueOf("sys-net"), AutoCleanup: valueOf(yes)}}); err != nil {
			return err
		}
		return tx.SetRuntime(theQube(t, tx, "work").ID(), qube.Runtime{State: qube.Running, XID: 12, Started: time.UnixMilli(1700000000250)})
	}))
	require.NoError(t, group.Commit())
	v := book.View()
	for name, want := range map[string]map[string]string{
		"work": {
			"kernel": "6.7", "default_user": "root", "vcpus": "4", "kernelopts": "quiet", "virt_mode": "hvm", "bootmode": "slow", "qrexec_timeout": "70", "shutdown_timeout": "60",
			"netvm": "sys-net", "ip": "10.137.0.7", "visible_ip": "192.168.0.5", "ip6": "fd09:24ef:4179::a89:7", "visible_ip6": "fd09:24ef:4179::a89:7", "dns": "10.139.1.1 10.139.1.2",
			"gateway": "", "gateway6": "", "visible_gateway": "10.0.0.1", "visible_gateway6": "fd09:24ef:4179::a89:12c", "visible_netmask": "255.255.255.255",
			"guivm": "gui", "audiovm": "dom0", "keyboard_layout": "de++", "default_dispvm": "dvm", "management_dispvm": "dvm",
			"icon": "appvm-blue", "updateable": no, "xid": "12", "start_time": "1700000000.25", "stubdom_xid": "-1", "klass": "AppVM", "qid": "7", "name": "work", "label": "blue",
			"mac": "00:16:3e:5e:6c:00", "include_in_backups": yes, "autostart": no, "template_for_dispvms": no,
		},
		"sys-net": {
			"netvm": "", "ip": "10.137.1.46", "gateway": "10.137.1.46", "ip6": "fd09:24ef:4179::a89:12c", "gateway6": "fd09:24ef:4179::a89:12c", "visible_gateway": "", "visible_netmask": "",
			"icon": "servicevm-red", "bootmode": "default", "kernel": "6.6", "kernelopts": "swiotlb=2048", "xid": "-1", "start_time": "",
		},
		"dvm":   {"ip": "", "ip6": "", "dns": "", "icon": "templatevm-red", "visible_ip": ""},
		"base":  {"netvm": "", "icon": "templatevm-black", "updateable": yes, "bootmode": "default"},
		"moded": {"appvm_default_bootmode": "default", "bootmode": "default"},
		"gui":   {"icon": "standalonevm-red", "updateable": yes, "keyboard_layout": "de++"},
		"away":  {"icon": "remotevm-red", "include_in_backups": no, "relayvm": "", "memory": "", "remote_name": ""},
		"dom0": {
			"icon": "adminvm-black", "keyboard_layout": "us++", "updateable": yes, "maxmem": "4096", "uuid": qube.Dom0UUID.Shown(), "qid": "0", "default_dispvm": "dvm", "name": "dom0", "memory": "",
		},
		"": {
			"maxmem": "32000", "no_cpus": "8", "default_pool": "varlibqubes", "default_pool_root": "varlibqubes", "stats_interval": "3", "check_updates_vm": yes, "default_template": "", "clockvm": "",
		},
	} {
		for property, value := range want {
			assert.Equal(t, value, Value(v, theQube(t, v, name), named(property)).Shown(), "%s of %s", property, name)
		}
	}
	for q := range v.Qubes() {
		if q.Class() == qube.DispVM {
			n := reading{all, v, q}.value(dispid)
			address := netOf(t, n)
			for property, value := range map[string]string{
				"include_in_backups": no, "default_dispvm": "dvm", "icon": "dispvm-blue", "ip": address, "is_preload": no, "name": "disp" + n,
			} {
				assert.Equal(t, value, Value(v, q, named(property)).Shown(), property)
			}
			assert.Contains(t, Value(v, q, ip6).Shown(), "fd09:24ef:4179::a8a:")
		}
	}
	template, ok := Reference(v, theQube(t, v, "work"), Template)
	require.True(t, ok)
	assert.Equal(t, "base", template.Shown())
	assert.True(t, Flag(v, theQube(t, v, "sys-net"), ProvidesNetwork))
	assert.Equal(t, "dvm", Global(v, DefaultDispvm).Shown())
}

// netOf is the address of a disposable of that number.
func netOf(t *testing.T, number string) string {
	s, err := inventory.Empty()
	require.NoError(t, err)
	q := disposable{Plain: qube.Plain{IsNamed: qube.Dom0, IsA: qube.DispVM}, number: valueOf(number)}
	return reading{all, s, q}.value(ip)
}

// disposable is one of that number, with a network.
type disposable struct {
	qube.Plain
	number qube.PropertyValue
}

func (d disposable) Property(p qube.PropertyName) (qube.PropertyValue, bool) {
	switch p {
	case dispid:
		return d.number, true
	case ProvidesNetwork:
		return valueOf(yes), true
	}
	return qube.PropertyValue{}, false
}

// TestAddresses: a number below 255 is the last byte; above, no byte is 0 or 255 (spec: properties.yaml QubesVM.ip).
func TestAddresses(t *testing.T) {
	for number, want := range map[string]string{
		"0": "10.138.0.0", "1": "10.138.0.1", "254": "10.138.0.254", "255": "10.138.1.1", "508": "10.138.1.254", "509": "10.138.2.1", "9999": "10.138.39.93",
	} {
		assert.Equal(t, want, netOf(t, number), number)
	}
}

// TestKeyboardsOfACircle: qubes that show one another have the plain layout, and asking ends.
func TestKeyboardsOfACircle(t *testing.T) {
	v := opened(t, `
qubes:
  - {name: a, class: StandaloneVM, properties: {guivm: b}}
  - {name: b, class: StandaloneVM, properties: {guivm: a}}
`).View()
	assert.Equal(t, plainKeyboard, Value(v, theQube(t, v, "a"), keyboardLayout).Shown())
}

// TestPools: the pool named default is the default, if there is one (spec: properties.yaml app.default_pool).
func TestPools(t *testing.T) {
	v := opened(t, "pools: [{name: default, driver: file}]").View()
	assert.Equal(t, "default", Global(v, DefaultPool).Shown())
}
