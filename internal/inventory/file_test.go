package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/yamlfile"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// parsed is the inventory of a file with that text.
func parsed(t require.TestingT, text string) *Snapshot {
	s, err := read(text)
	require.NoError(t, err)
	return s
}

// read is what a file with that text makes, or its fault.
func read(text string) (*Snapshot, error) {
	root, err := yamlfile.Read("f.yaml", []byte(text))
	return fromFile(root, err, properties.Schema{})
}

func named(t require.TestingT, v qube.View, name string) qube.Qube {
	q, ok := v.Qube(must(qube.ParseName(name)))
	require.True(t, ok, name)
	return q
}

func tagsOf(q qube.Qube) (tags []string) {
	for tag := range q.Tags() {
		tags = append(tags, tag.Shown())
	}
	return tags
}

// example is the format as it is documented (design: 8), with the qubes that it refers to.
const example = `version: 1
global: {default_template: fedora, default_netvm: sys-firewall}
labels: [{name: teal, color: "0x008080"}]        # besides the built-in eight
pools:  [{name: big, driver: file, options: {dir_path: /srv/big}}]
kernels: ["6.6.1-1.fc37"]                         # versions that the built-in linux-kernel pool offers
simulated: {host_memory_mib: 32404, host_cpus: 4, start_order: [sys-net, work], start_delay: 0ms, guest_shutdown_delay: 50ms}
qubes:
  - name: work
    class: AppVM            # AppVM TemplateVM StandaloneVM DispVM RemoteVM
    uuid: 99e663cd-a765-4c11-ac33-66fb1bcea8c7    # optional
    qid: 5                  # optional
    label: blue
    properties: {template: fedora, netvm: sys-firewall, memory: 800}   # only what is not default; "" is None
    features: {service.cups: "1"}
    tags: [work]
    notes: "text"
    state: Running          # simulated hypervisor only; default Halted; xid by start_order
  - {name: fedora, class: TemplateVM}
  - {name: sys-net, class: AppVM, properties: {provides_network: true, netvm: ""}}
  - {name: sys-firewall, class: AppVM, properties: {provides_network: true, netvm: sys-net}}
`

func TestTheDocumentedExample(t *testing.T) {
	s := parsed(t, example)
	work := named(t, s, "work")
	assert.Equal(t, "99e663cd-a765-4c11-ac33-66fb1bcea8c7", work.ID().Shown())
	assert.Equal(t, []any{qube.AppVM, "blue", qube.Running, 5, "text"}, []any{work.Class(), work.Label().Shown(), work.State(), work.(*record).qid, work.Notes().Shown()})
	assert.Equal(t, "memory=800 netvm=sys-firewall template=fedora", properties2text(work.(*record).properties))
	assert.Equal(t, []string{"audiovm-dom0", "guivm-dom0", "work"}, tagsOf(work))
	cups, _ := work.Feature(must(qube.ParseFeatureName("service.cups")))
	assert.Equal(t, "1", cups.Shown())
	teal, _ := s.LabelByIndex(9)
	assert.Equal(t, qube.Label{Name: must(qube.ParseLabelName("teal")), Index: 9, Color: must(qube.ParseColor("0x008080"))}, teal)
	assert.Equal(t, "default_netvm=sys-firewall default_template=fedora", properties2text(s.globals))
	assert.Equal(t, Host{
		MemoryMiB: 32404, CPUs: 4, StartOrder: []string{"sys-net", "work"}, StartDelay: "0s", GuestDelay: "50ms",
		Kernels: []string{"6.6.1-1.fc37"}, Pools: []qube.Pool{{Name: "big", Driver: "file", Options: map[string]string{"dir_path": "/srv/big"}}},
	}, s.host)
	assert.Equal(t, dump(s), dump(rebuilt(t, s)))
}

func TestTheLeastFile(t *testing.T) {
	assert.Equal(t, dump(must(Empty())), strings.Replace(dump(parsed(t, "version: 1")), `,"start_delay":"0s","guest_shutdown_delay":"0s"`, "", 1))
}

func TestFilesAreReadFromDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "i.yaml")
	_, err := FromFile(path, properties.Schema{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("version: 1\nqubes: [{name: a, class: RemoteVM}]"), 0o600))
	s, err := FromFile(path, properties.Schema{})
	require.NoError(t, err)
	named(t, s, "a")
	require.NoError(t, os.WriteFile(path, []byte("version: 1\nqubes: [{name: a}]"), 0o600))
	_, err = FromFile(path, properties.Schema{})
	require.EqualError(t, err, path+":2: qubes[0]: expected the key class")
}

// badFiles are files with one thing wrong, and all that is said of them after the name of the file.
var badFiles = []struct{ text, says string }{
	// The shape of a file.
	{"", "1: expected the key version"},
	{"version: 2", "1: version: expected a whole number from 1 to 1"},
	{"version: 1\nqubs: []", "2: qubs: expected one of the keys version, global, labels, pools, kernels, simulated, qubes"},
	{"version: 1\nqubes: {}", "2: qubes: expected a list"},
	{"version: 1\nqubes: [work]", "2: qubes[0]: expected a mapping"},
	{"version: 1\nglobal: [a]", "2: global: expected a mapping"},
	{"version: 1\nlabels: [{name: a}]", "2: labels[0]: expected the key color"},
	{"version: 1\nlabels: [{name: a, color: 0x008080, x: 1}]", "2: labels[0].x: expected one of the keys name, color"},
	{"version: 1\npools: [{name: a}]", "2: pools[0]: expected the key driver"},
	{"version: 1\npools: [{name: a, driver: b, options: [c]}]", "2: pools[0].options: expected a mapping"},
	{"version: 1\nkernels: 6.6.1", "2: kernels: expected a list"},
	{"version: 1\nsimulated: {host_memory: 1}", "2: simulated.host_memory: expected one of the keys host_memory_mib, host_cpus, start_order, start_delay, guest_shutdown_delay"},
	{"version: 1\nsimulated: {host_memory_mib: 0}", "2: simulated.host_memory_mib: expected a whole number from 1 to 1073741824"},
	{"version: 1\nsimulated: {host_cpus: many}", "2: simulated.host_cpus: expected a whole number from 1 to 65536"},
	{"version: 1\nsimulated:\n  start_delay: -1s", "3: simulated.start_delay: expected a duration such as 30s or 1m30s"},
	{"version: 1\nsimulated:\n  guest_shutdown_delay: 50", "3: simulated.guest_shutdown_delay: expected a duration such as 30s or 1m30s"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, memory: 1}", "3: qubes[0].memory: expected one of the keys name, class, uuid, qid, label, properties, features, tags, notes, state"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, name: b}", "3: qubes[0].name: expected this key once, but it is on line 3 too"},

	// References to what the host offers.
	{"version: 1\nkernels: [\"6.6\"]\nglobal: {default_kernel: \"6.7\"}", `3: global.default_kernel: expected a kernel that is installed, or ""`},
	{"version: 1\nglobal: {default_pool: big}", "2: global.default_pool: expected a pool that exists"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {kernel: nosuch}}", `3: qubes[0].properties.kernel: expected a kernel that is installed, or ""`},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {vcpus: 0}}", "3: qubes[0].properties.vcpus: expected a whole number above 0"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {virt_mode: banana}}", "3: qubes[0].properties.virt_mode: expected one of pvh, hvm, pv"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {ip: \"::1\"}}", "3: qubes[0].properties.ip: expected an IPv4 address"},

	// Values.
	{"version: 1\nqubes:\n  - {name: 1a, class: RemoteVM}", "3: qubes[0].name: expected a qube's name"},
	{"version: 1\nqubes:\n  - {name: none, class: RemoteVM}", "3: qubes[0].name: expected a qube's name"},
	{"version: 1\nqubes:\n  - {class: RemoteVM}", "3: qubes[0]: expected the key name"},
	{"version: 1\nqubes:\n  - name: a", "3: qubes[0]: expected the key class"},
	{"version: 1\nqubes:\n  - name: a\n    class: AdminVM", "4: qubes[0].class: expected one of AppVM, TemplateVM, StandaloneVM, DispVM, RemoteVM"},
	{"version: 1\nqubes:\n  - name: a\n    class: RemoteVM\n    uuid: 99E663CD-a765-4c11-ac33-66fb1bcea8c7", "5: qubes[0].uuid: expected a UUID in lower case"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, qid: 0}", "3: qubes[0].qid: expected a whole number from 1 to 9999"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, qid: 10000}", "3: qubes[0].qid: expected a whole number from 1 to 9999"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, label: a b}", "3: qubes[0].label: expected a label's name"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, state: NA}", "3: qubes[0].state: expected one of Halted, Transient, Running, Paused, Suspended, Halting, Dying, Crashed"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, tags: [a.b]}", "3: qubes[0].tags[0]: expected a tag"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, features: {a/b: x}}", `3: qubes[0].features."a/b": expected a feature's name`},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, features: {a: 1}}", "3: qubes[0].features.a: expected text: put it in quotes"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, features: {a: é}}", "3: qubes[0].features.a: expected a feature's value, printable ASCII"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, notes: \"\\r\"}", "3: qubes[0].notes: expected text without control characters"},
	{"version: 1\nlabels: [{name: a, color: blue}]", `2: labels[0].color: expected a colour such as "0x008080"`},
	{"version: 1\nlabels: [{name: a/b, color: \"0x008080\"}]", "2: labels[0].name: expected a label's name"},

	// What must be there once, and what refers to it.
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM}\n  - {name: b, class: RemoteVM}\n  - {name: a, class: RemoteVM}", "5: qubes[2].name: expected a name that no other qube has"},
	{"version: 1\nqubes:\n  - {name: dom0}\n  - {name: dom0}", "4: qubes[1].name: expected a name that no other qube has"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, qid: 7}\n  - {name: b, class: RemoteVM, qid: 7}", "4: qubes[1].qid: expected a qid that no other qube has"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, uuid: 99e663cd-a765-4c11-ac33-66fb1bcea8c7}\n  - {name: b, class: RemoteVM, uuid: 99e663cd-a765-4c11-ac33-66fb1bcea8c7}", "4: qubes[1].uuid: expected a UUID that no other qube has"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, uuid: 00000000-0000-0000-0000-000000000000}", "3: qubes[0].uuid: expected a UUID that no other qube has"},
	{"version: 1\nlabels:\n  - {name: a, color: \"0x008080\"}\n  - {name: a, color: \"0x008081\"}", "4: labels[1].name: expected a label that does not exist yet"},
	{"version: 1\nlabels: [{name: red, color: \"0x008080\"}]", "2: labels[0].name: expected a label that does not exist yet"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, label: teal}", "3: qubes[0].label: expected a label that is built in or of this file"},
	{"version: 1\nqubes:\n  - {name: dom0, label: teal}", "3: qubes[0].label: expected a label that is built in or of this file"},
	{"version: 1\nsimulated:\n  start_order: [dom0, a]", "3: simulated.start_order[1]: expected a qube of this file"},
	{"version: 1\nglobal:\n  clockvm: a", "3: global.clockvm: expected a qube that exists"},
	{"version: 1\nqubes:\n  - name: a\n    class: StandaloneVM\n    properties:\n      netvm: b", "6: qubes[0].properties.netvm: expected a qube that exists"},

	// Properties.
	{"version: 1\nglobal: {no_cpus: 4}", "2: global.no_cpus: expected a property of the system that can be set"},
	{"version: 1\nglobal: {check_updates_vm: maybe}", "2: global.check_updates_vm: expected true or false"},
	{"version: 1\nglobal: {stats_interval: 1.5}", "2: global.stats_interval: expected a whole number"},
	{"version: 1\nglobal: {default_kernel: é}", "2: global.default_kernel: expected printable ASCII"},
	{"version: 1\nglobal: {updatevm: a b}", `2: global.updatevm: expected a qube's name, or ""`},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {memori: 1}}", "3: qubes[0].properties.memori: expected a property of a StandaloneVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, properties: {memory: 1}}", "3: qubes[0].properties.memory: expected a property of a RemoteVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {template: a}}", "3: qubes[0].properties.template: expected a property of a StandaloneVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {klass: AppVM}}", "3: qubes[0].properties.klass: expected a property of a StandaloneVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {memory: much}}", "3: qubes[0].properties.memory: expected a whole number"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {debug: maybe}}", "3: qubes[0].properties.debug: expected true or false"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {kernelopts: [a]}}", "3: qubes[0].properties.kernelopts: expected text"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {kernelopts: }}", "3: qubes[0].properties.kernelopts: expected text"},
	{"version: 1\nglobal: {default_template: a}\nqubes:\n  - {name: a, class: StandaloneVM}", "2: global.default_template: expected a TemplateVM"},
	{"version: 1\nglobal: {default_netvm: a}\nqubes:\n  - {name: a, class: StandaloneVM}", "2: global.default_netvm: expected a qube that provides network"},
	{"version: 1\nglobal: {default_dispvm: a}\nqubes:\n  - {name: a, class: StandaloneVM}", "2: global.default_dispvm: expected a qube with template_for_dispvms"},
	{"version: 1\nglobal: {management_dispvm: a}\nqubes:\n  - {name: a, class: StandaloneVM, properties: {template_for_dispvms: false}}", "2: global.management_dispvm: expected a qube with template_for_dispvms"},
	{"version: 1\nglobal: {default_guivm: a}\nqubes:\n  - {name: a, class: RemoteVM}", "2: global.default_guivm: expected a local qube"},
	{"version: 1\nglobal: {default_audiovm: a}\nqubes:\n  - {name: a, class: RemoteVM}", "2: global.default_audiovm: expected a local qube"},
	{"version: 1\nglobal: {clockvm: a}\nqubes:\n  - {name: a, class: RemoteVM}", "2: global.clockvm: expected a local qube"},
	{"version: 1\nglobal: {updatevm: a}\nqubes:\n  - {name: a, class: RemoteVM}", "2: global.updatevm: expected a local qube"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {netvm: dom0}}", "3: qubes[0].properties.netvm: expected a qube that provides network"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {guivm: b}}\n  - {name: b, class: RemoteVM}", "3: qubes[0].properties.guivm: expected a local qube"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {audiovm: b}}\n  - {name: b, class: RemoteVM}", "3: qubes[0].properties.audiovm: expected a local qube"},
	{"version: 1\nqubes:\n  - {name: a, class: RemoteVM, properties: {relayvm: a}}", "3: qubes[0].properties.relayvm: expected a local qube"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {default_dispvm: a}}", "3: qubes[0].properties.default_dispvm: expected a qube with template_for_dispvms"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {management_dispvm: a}}", "3: qubes[0].properties.management_dispvm: expected a qube with template_for_dispvms"},
	{"version: 1\nqubes:\n  - {name: a.b, class: StandaloneVM}\n  - {name: c, class: StandaloneVM, properties: {guivm: a.b}}", "4: qubes[1]: expected guivm without a dot in its name"},
	{"version: 1\nglobal: {default_audiovm: a.b}\nqubes:\n  - {name: a.b, class: StandaloneVM}", "4: qubes[0]: expected audiovm without a dot in its name"},

	{"version: 1\nqubes:\n  - {name: a, class: TemplateVM, properties: {template_for_dispvms: true}}", "3: qubes[0].properties.template_for_dispvms: expected a property of a TemplateVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {auto_cleanup: true}}", "3: qubes[0].properties.auto_cleanup: expected a property of a StandaloneVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {appvm_default_bootmode: x}}", "3: qubes[0].properties.appvm_default_bootmode: expected a property of a StandaloneVM that can be set"},
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {relayvm: dom0}}", "3: qubes[0].properties.relayvm: expected a property of a StandaloneVM that can be set"},

	// Templates.
	{"version: 1\nqubes:\n  - {name: a, class: AppVM}", "3: qubes[0]: expected a TemplateVM as template, here or in global.default_template"},
	{"version: 1\nqubes:\n  - {name: a, class: AppVM, properties: {template: \"\"}}\n  - {name: t, class: TemplateVM}", "3: qubes[0]: expected a TemplateVM as template, here or in global.default_template"},
	{"version: 1\nqubes:\n  - {name: a, class: AppVM, properties: {template: s}}\n  - {name: s, class: StandaloneVM}", "3: qubes[0]: expected a TemplateVM as template, here or in global.default_template"},
	{"version: 1\nqubes:\n  - {name: d, class: DispVM}", "3: qubes[0]: expected a qube with template_for_dispvms as template, here or in global.default_dispvm"},
	{"version: 1\nqubes:\n  - {name: d, class: DispVM, properties: {template: t}}\n  - {name: t, class: TemplateVM}", "3: qubes[0]: expected a qube with template_for_dispvms as template, here or in global.default_dispvm"},

	// Net qubes.
	{"version: 1\nqubes:\n  - {name: a, class: StandaloneVM, properties: {netvm: a, provides_network: true}}", "3: qubes[0]: expected a netvm that does not lead back to the qube"},
	{"version: 1\nglobal: {default_netvm: a}\nqubes:\n  - {name: a, class: StandaloneVM, properties: {provides_network: true}}", "4: qubes[0]: expected a netvm that does not lead back to the qube"},
	{"version: 1\nqubes:\n" + // c is led to a loop, but is no part of it
		"  - {name: c, class: StandaloneVM, properties: {netvm: a}}\n" +
		"  - {name: b, class: StandaloneVM, properties: {netvm: a, provides_network: true}}\n" +
		"  - {name: a, class: StandaloneVM, properties: {netvm: b, provides_network: true}}", "5: qubes[2]: expected a netvm that does not lead back to the qube"},

	// dom0.
	{"version: 1\nqubes:\n  - {name: dom0, class: AppVM}", "3: qubes[0]: expected only label, features and tags of dom0"},
	{"version: 1\nqubes:\n  - {name: dom0, uuid: 00000000-0000-0000-0000-000000000000}", "3: qubes[0]: expected only label, features and tags of dom0"},
	{"version: 1\nqubes:\n  - {name: dom0, qid: 1}", "3: qubes[0]: expected only label, features and tags of dom0"},
	{"version: 1\nqubes:\n  - {name: dom0, properties: {debug: true}}", "3: qubes[0]: expected only label, features and tags of dom0"},
	{"version: 1\nqubes:\n  - {name: dom0, notes: n}", "3: qubes[0]: expected only label, features and tags of dom0"},
	{"version: 1\nqubes:\n  - {name: dom0, state: Running}", "3: qubes[0]: expected only label, features and tags of dom0"},
}

func TestBadFiles(t *testing.T) {
	for _, bad := range badFiles {
		_, err := read(bad.text)
		assert.EqualError(t, err, "f.yaml:"+bad.says, bad.text)
		var e *yamlfile.Error
		assert.ErrorAs(t, err, &e)
	}
}

// TestPropertiesOfFiles: what a file may set is kept as it stands on the wire.
func TestPropertiesOfFiles(t *testing.T) {
	s := parsed(t, `
version: 1
global: {check_updates_vm: false, stats_interval: 07, default_netvm: "", clockvm: dom0}
qubes:
  - name: a
    class: StandaloneVM
    properties: {autostart: True, debug: "false", memory: 0400, netvm: "", default_user: 12, guivm: "", template_for_dispvms: true}
  - {name: b, class: DispVM, properties: {template: a, auto_cleanup: true}}
  - {name: c, class: RemoteVM, properties: {relayvm: dom0, remote_name: x y, transport_rpc: ""}}
`)
	for name, want := range map[string]string{
		"a":    "autostart=True debug=False default_user=12 guivm= memory=400 netvm= template_for_dispvms=True",
		"b":    "auto_cleanup=True template=a",
		"c":    "relayvm=dom0 remote_name=x y transport_rpc=",
		"dom0": "",
	} {
		assert.Equal(t, want, properties2text(named(t, s, name).(*record).properties), name)
	}
	assert.Equal(t, "check_updates_vm=False clockvm=dom0 default_netvm= stats_interval=7", properties2text(s.globals))
}

// TestTagsThatFollowFromProperties: guivm- and audiovm- of every local qube (spec: model.md 11; extensions.md 5).
func TestTagsThatFollowFromProperties(t *testing.T) {
	const qubes = `
qubes:
  - {name: a, class: StandaloneVM, tags: [t, a, t]}
  - {name: b, class: StandaloneVM, properties: {guivm: a}}
  - {name: c, class: StandaloneVM, properties: {guivm: "", audiovm: dom0}}
  - {name: d, class: RemoteVM, tags: [t]}
  - {name: dom0, tags: [z, t]}
`
	for globals, want := range map[string]map[string][]string{
		"": {
			"a": {"a", "audiovm-dom0", "guivm-dom0", "t"}, "b": {"audiovm-dom0", "guivm-a"}, "c": {"audiovm-dom0"},
			"d": {"t"}, "dom0": {"t", "z"},
		},
		"global: {default_guivm: b, default_audiovm: \"\"}": {
			"a": {"a", "guivm-b", "t"}, "b": {"guivm-a"}, "c": {"audiovm-dom0"}, "d": {"t"}, "dom0": {"t", "z"},
		},
	} {
		s := parsed(t, "version: 1\n"+globals+qubes)
		for name, tags := range want {
			assert.Equal(t, tags, tagsOf(named(t, s, name)), "%s with %s", name, globals)
		}
	}
}

func TestDom0InAFile(t *testing.T) {
	s := parsed(t, "version: 1\nlabels: [{name: teal, color: \"0x008080\"}]\nqubes: [{name: dom0, label: teal, features: {b: \"1\", a: x}, tags: [t]}]")
	dom0 := named(t, s, "dom0")
	assert.Equal(t, []any{qube.AdminVM, qube.Dom0UUID, "teal", qube.Running}, []any{dom0.Class(), dom0.ID(), dom0.Label().Shown(), dom0.State()})
	assert.Contains(t, dump(s), "  feature b=\"1\" true\n  feature a=\"x\" true\n  tag t true\n")
	assert.Equal(t, "black", named(t, parsed(t, "version: 1\nqubes: [{name: dom0}]"), "dom0").Label().Shown())
}

// TestIteratorsStop when they are told to: otherwise they panic.
func TestIteratorsStop(t *testing.T) {
	s := parsed(t, example)
	for range s.Qubes() {
		break
	}
	for q := range s.Qubes() {
		if q.Name() != qube.Dom0 {
			break
		}
	}
	for range s.Labels() {
		break
	}
	for range named(t, s, "work").Features() {
		break
	}
	for range named(t, s, "work").Tags() {
		break
	}
}

// TestQIDs: the lowest that nobody has, in the order of the file (spec: model.md 3).
func TestQIDs(t *testing.T) {
	s := parsed(t, `
version: 1
qubes:
  - {name: a, class: RemoteVM}
  - {name: b, class: RemoteVM, qid: 1}
  - {name: dom0}
  - {name: c, class: RemoteVM}
  - {name: d, class: RemoteVM, qid: 3}
  - {name: e, class: RemoteVM}
`)
	for name, qid := range map[string]int{"dom0": 0, "a": 2, "b": 1, "c": 4, "d": 3, "e": 5} {
		assert.Equal(t, qid, named(t, s, name).(*record).qid, name)
	}
}

// TestUUIDsAreDrawn: random ones of version 4 (spec: model.md 3).
func TestUUIDsAreDrawn(t *testing.T) {
	const text = "version: 1\nqubes: [{name: a, class: RemoteVM}, {name: b, class: RemoteVM}]"
	seen := map[qube.UUID]bool{}
	for range 20 {
		for q := range parsed(t, text).Qubes() {
			if q.ID() != qube.Dom0UUID {
				assert.False(t, seen[q.ID()])
				assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, q.ID().Shown())
				seen[q.ID()] = true
			}
		}
	}
}

// TestDefaultTemplates are what a qube without a template gets, for good.
func TestDefaultTemplates(t *testing.T) {
	s := parsed(t, `
version: 1
global: {default_template: new, default_dispvm: dvm, default_netvm: net}
qubes:
  - {name: old, class: TemplateVM}
  - {name: new, class: TemplateVM}
  - {name: a, class: AppVM}
  - {name: b, class: AppVM, properties: {template: old}}
  - {name: dvm, class: AppVM, properties: {template_for_dispvms: true, netvm: ""}}
  - {name: c, class: DispVM}
  - {name: d, class: DispVM, properties: {template: s}}
  - {name: s, class: StandaloneVM, properties: {template_for_dispvms: true}}
  - {name: net, class: StandaloneVM, properties: {provides_network: true, netvm: ""}}
  - {name: r, class: RemoteVM}
`)
	shown := func(q qube.Qube, ok bool) string {
		if !ok {
			return ""
		}
		return q.Shown()
	}
	for name, want := range map[string][3]string{ // template, explicit or not; the property; net qube
		"a": {"new", "new", "net"}, "b": {"old", "old", "net"}, "c": {"dvm", "dvm", "net"}, "d": {"s", "s", "net"},
		"dvm": {"new", "new", ""}, "s": {"", "", "net"}, "net": {"", "", ""}, "r": {"", "", ""}, "new": {"", "", ""}, "dom0": {"", "", ""},
	} {
		q := named(t, s, name)
		property, _ := q.Property(propTemplate)
		assert.Equal(t, want, [3]string{shown(s.Template(q)), property.Shown(), shown(s.Netvm(q))}, name)
	}
}

// TestLoops: a qube on a loop is found if there is one, and no qube is asked twice where it leads, however long the way.
func TestLoops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "qubes")
		leads := rapid.SliceOfN(rapid.IntRange(-1, 50), n, n).Draw(t, "leads") // -1 and all from n on: nowhere
		if rapid.Bool().Draw(t, "downwards") {                                 // so that there is no loop
			for i := range leads {
				leads[i] = min(leads[i], i-1)
			}
		}
		qubes := make([]qube.Qube, n)
		for i := range qubes {
			qubes[i] = &record{id: must(qube.ParseUUID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)))}
		}
		asked := map[qube.Qube]int{}
		looped, found := onLoop(slices.Values(qubes), func(q qube.Qube) (qube.Qube, bool) {
			asked[q]++
			if to := leads[slices.Index(qubes, q)]; 0 <= to && to < n {
				return qubes[to], true
			}
			return nil, false
		})
		back := func(i int) bool { // i leads back to i
			at := leads[i]
			for range n {
				if at < 0 || at >= n || at == i {
					break
				}
				at = leads[at]
			}
			return at == i
		}
		if found {
			require.True(t, back(slices.Index(qubes, looped)))
			return
		}
		for i := range qubes {
			require.False(t, back(i), i)
			require.Equal(t, 1, asked[qubes[i]])
		}
	})
}

// TestDemo has what the README and the daemon's first lines show, and something of everything.
func TestDemo(t *testing.T) {
	s, err := Demo(properties.Schema{})
	require.NoError(t, err)
	assert.Equal(t, dump(s), dump(rebuilt(t, s)))
	var names []string
	classes, states := map[qube.Class]int{}, map[qube.PowerState]int{}
	for q := range s.Qubes() {
		names = append(names, q.Shown())
		classes[q.Class()]++
		states[q.State()]++
	}
	assert.Equal(t, []string{"dom0", "debian-13", "default-dvm", "disp1234", "fedora-42", "mail-archive", "personal", "sys-firewall", "sys-net", "vault", "work"}, names)
	assert.Equal(t, map[qube.Class]int{qube.AdminVM: 1, qube.TemplateVM: 2, qube.AppVM: 6, qube.StandaloneVM: 1, qube.DispVM: 1}, classes)
	assert.Equal(t, 5, states[qube.Running], "dom0, sys-net, sys-firewall, work, disp1234")

	work := named(t, s, "work")
	cups, has := work.Feature(must(qube.ParseFeatureName("service.cups")))
	assert.True(t, has)
	assert.Equal(t, "1", cups.Shown())
	_, has = work.Feature(must(qube.ParseFeatureName("service.crond")))
	assert.False(t, has, "the first lines show how to set it")
	template, _ := s.Template(work)
	firewall, _ := s.Netvm(work)
	net, _ := s.Netvm(firewall)
	assert.Equal(t, []string{"fedora-42", "sys-firewall", "sys-net"}, []string{template.Shown(), firewall.Shown(), net.Shown()})
	assert.NotEmpty(t, work.Notes().Shown())
	assert.Equal(t, []string{"audiovm-dom0", "guivm-dom0", "office"}, tagsOf(work))
	assert.Equal(t, "teal", named(t, s, "personal").Label().Shown())
	disposable, _ := s.Template(named(t, s, "disp1234"))
	assert.Equal(t, "default-dvm", disposable.Shown())
}

// FuzzFile: a file is refused in one line that says where, or it is a whole inventory.
func FuzzFile(f *testing.F) {
	for _, bad := range badFiles {
		f.Add([]byte(bad.text))
	}
	f.Add([]byte(example))
	f.Add(demo)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := read(string(data))
		if err != nil {
			var e *yamlfile.Error
			require.ErrorAs(t, err, &e, "%v", err)
			require.Regexp(t, `^f\.yaml:[1-9][0-9]*: .*expected `, err.Error())
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.Equal(t, dump(s), dump(rebuilt(t, s)))
		store := &memory{}
		opened(t, store, s)
		require.Equal(t, dump(s), dump(reopened(t, store).published.Load()))
		names := []string{}
		for q := range s.Qubes() {
			names = append(names, q.Shown())
		}
		require.Equal(t, "dom0", names[0])
		require.True(t, slices.IsSorted(names[1:]))
	})
}
