package properties

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/inventory"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// nowhere is a store that keeps nothing.
type nowhere struct{}

func (nowhere) Load() (qube.Revision, iter.Seq2[inventory.Record, error], error) { return 0, nil, nil }
func (nowhere) Commit(_, _ qube.Revision, _ []inventory.Record) error            { return nil }
func (nowhere) Close() error                                                     { return nil }

// opened is an inventory of a file with that text.
func opened(t testing.TB, text string) *inventory.Inventory {
	path := filepath.Join(t.TempDir(), "i.yaml")
	require.NoError(t, os.WriteFile(path, []byte("version: 1\n"+text), 0o600))
	book, _, err := inventory.Open(nowhere{}, func() (*inventory.Snapshot, error) { return inventory.FromFile(path, Schema{}) }, inventory.Options{})
	require.NoError(t, err)
	return book
}

// some is a system with something of everything.
const some = `
global: {default_netvm: sys-net, default_template: base, default_kernel: "6.6"}
kernels: ["6.6", "6.7"]
pools: [{name: big, driver: file}]
simulated: {host_memory_mib: 32000, host_cpus: 8}
qubes:
  - {name: base, class: TemplateVM, label: black}
  - {name: sys-net, class: AppVM, properties: {provides_network: true, netvm: ""}, state: Running}
  - {name: sys-two, class: StandaloneVM, properties: {provides_network: true, netvm: ""}}
  - {name: alone, class: StandaloneVM, properties: {netvm: ""}}
  - {name: work, class: AppVM}
  - {name: busy, class: AppVM, state: Running}
  - {name: dvm, class: AppVM, properties: {template_for_dispvms: true, vcpus: 3}}
  - {name: disp1, class: DispVM, properties: {template: dvm}}
  - {name: a.dot, class: StandaloneVM, properties: {netvm: sys-two}}
  - {name: away, class: RemoteVM}
`

func theQube(t require.TestingT, v qube.View, name string) qube.Qube {
	if name == "" {
		return qube.Nobody
	}
	q, ok := qubeNamed(v, name)
	require.True(t, ok, name)
	return q
}

// do sets a property, or resets it, of a qube or, for "", of the system, and tells what subscribers are told.
func do(t require.TestingT, book qube.Book, name, property string, value *string) (events []string, err error) {
	p, group := named(property), book.Begin()
	err = group.Try(func(tx qube.Tx) error {
		q := theQube(t, tx, name)
		switch {
		case name == "" && value == nil:
			return ResetGlobal(tx, p)
		case name == "":
			return SetGlobal(tx, p, valueOf(*value))
		case value == nil:
			return Reset(tx, q, p)
		}
		return Set(tx, q, p, valueOf(*value))
	})
	require.NoError(t, group.Commit())
	for _, b := range group.Events() {
		for _, e := range b.Events {
			var s strings.Builder
			s.WriteString(e.Subject.Shown() + " " + e.Name)
			for _, a := range e.Args {
				s.WriteString(" " + a.Key + "=" + a.Value)
			}
			events = append(events, strings.TrimSpace(s.String()))
		}
	}
	return events, err
}

func typeOf(err error) exception.Type {
	var e *exception.Exception
	if errors.As(err, &e) {
		return e.Type()
	}
	if err != nil {
		return exception.Type("not an exception: " + err.Error())
	}
	return ""
}

// lines is text as events are told, one a line.
func lines(s string) (all []string) {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

func to(s string) *string { return &s }

// TestSequences are the sequences that were recorded of the reference (spec: events.md 5; properties.yaml).
func TestSequences(t *testing.T) {
	type step struct {
		qube, property string
		value          *string // nil: reset
		refused        exception.Type
		events         string
	}
	for name, steps := range map[string][]step{
		"plain": {
			{"work", "memory", to("500"), "", `
				work property-pre-set:memory name=memory newvalue=500 oldvalue=400
				work property-set:memory name=memory newvalue=500 oldvalue=400`},
			{"work", "memory", to("500"), "", `
				work property-pre-set:memory name=memory newvalue=500 oldvalue=500
				work property-set:memory name=memory newvalue=500 oldvalue=500`},
			{"work", "memory", nil, "", `
				work property-pre-reset:memory name=memory oldvalue=500
				work property-pre-del:memory name=memory oldvalue=500
				work property-reset:memory name=memory oldvalue=500
				work property-del:memory name=memory oldvalue=500`},
			{"work", "memory", to("0"), exception.QubesPropertyValueError, ""},
			{"work", "klass", nil, "", `
				work property-pre-reset:klass name=klass oldvalue=AppVM
				work property-pre-del:klass name=klass oldvalue=AppVM
				work property-reset:klass name=klass oldvalue=AppVM
				work property-del:klass name=klass oldvalue=AppVM`},
			{"work", "stubdom_mem", to("1"), "", `
				work property-pre-set:stubdom_mem name=stubdom_mem newvalue=1 oldvalue=None
				work property-set:stubdom_mem name=stubdom_mem newvalue=1 oldvalue=None`},
			{"work", "debug", to("on"), "", `
				work property-pre-set:debug name=debug newvalue=True oldvalue=False
				work property-set:debug name=debug newvalue=True oldvalue=False`},
			{"", "default_template", nil, "", `
				property-pre-reset:default_template name=default_template oldvalue=base
				property-pre-del:default_template name=default_template oldvalue=base
				property-reset:default_template name=default_template oldvalue=base
				property-del:default_template name=default_template oldvalue=base`},
			{"", "default_template", to("base"), "", `
				property-pre-set:default_template name=default_template newvalue=base
				property-set:default_template name=default_template newvalue=base`},
		},
		"what announces itself before it is refused": {
			{"work", "kernel", to("5.0"), exception.QubesPropertyValueError, `
				work property-pre-set:kernel name=kernel newvalue=5.0 oldvalue=6.6`},
			{"", "default_kernel", to("5.0"), exception.QubesPropertyValueError, `
				property-pre-set:default_kernel name=default_kernel newvalue=5.0 oldvalue=6.6`},
			{"busy", "template", to("base"), exception.QubesVMNotHaltedError, `
				busy property-pre-set:template name=template newvalue=base oldvalue=base`},
			{"dvm", "template_for_dispvms", nil, exception.QubesVMInUseError, `
				dvm property-pre-reset:template_for_dispvms name=template_for_dispvms oldvalue=True
				dvm property-pre-del:template_for_dispvms name=template_for_dispvms oldvalue=True`},
		},
		"a template's": {
			{"base", "vcpus", to("4"), "", `
				base property-pre-set:vcpus name=vcpus newvalue=4 oldvalue=2
				busy property-reset:vcpus name=vcpus
				sys-net property-reset:vcpus name=vcpus
				work property-reset:vcpus name=vcpus
				base property-set:vcpus name=vcpus newvalue=4 oldvalue=2`},
			{"base", "vcpus", to("4"), "", `
				base property-pre-set:vcpus name=vcpus newvalue=4 oldvalue=4
				base property-set:vcpus name=vcpus newvalue=4 oldvalue=4`},
			{"base", "appvm_default_bootmode", nil, "", `
				base property-pre-reset:appvm_default_bootmode name=appvm_default_bootmode oldvalue=default
				base property-pre-del:appvm_default_bootmode name=appvm_default_bootmode oldvalue=default
				busy property-reset:bootmode name=bootmode
				dvm property-reset:bootmode name=bootmode
				sys-net property-reset:bootmode name=bootmode
				work property-reset:bootmode name=bootmode
				base property-reset:appvm_default_bootmode name=appvm_default_bootmode oldvalue=default
				base property-del:appvm_default_bootmode name=appvm_default_bootmode oldvalue=default`},
		},
		"provides_network": {
			{"alone", "provides_network", to("True"), "", `
				alone property-pre-set:provides_network name=provides_network newvalue=True oldvalue=False
				alone domain-feature-pre-set:servicevm feature=servicevm value=1
				alone domain-feature-set:servicevm feature=servicevm value=1
				alone property-reset:icon name=icon
				alone property-reset:gateway name=gateway
				alone property-reset:gateway6 name=gateway6
				alone property-set:provides_network name=provides_network newvalue=True oldvalue=False`},
			{"alone", "ip", to("10.0.0.1"), "", `
				alone property-pre-set:ip name=ip newvalue=10.0.0.1 oldvalue=10.137.0.4
				alone property-reset:gateway name=gateway
				alone property-reset:visible_ip name=visible_ip
				alone property-set:ip name=ip newvalue=10.0.0.1 oldvalue=10.137.0.4`},
			{"sys-two", "ip", to("10.0.0.2"), "", `
				sys-two property-pre-set:ip name=ip newvalue=10.0.0.2 oldvalue=10.137.0.3
				sys-two property-reset:gateway name=gateway
				sys-two property-reset:visible_ip name=visible_ip
				a.dot property-reset:visible_gateway name=visible_gateway
				sys-two property-set:ip name=ip newvalue=10.0.0.2 oldvalue=10.137.0.3`},
			{"sys-two", "provides_network", to("False"), exception.QubesValueError, ""},
			{"sys-two", "provides_network", nil, exception.QubesValueError, ""},
			{"sys-net", "provides_network", nil, exception.QubesValueError, ""}, // used by default
		},
		"netvm": {
			{"work", "netvm", to("sys-two"), "", `
				work property-pre-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				work property-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net`},
			{"work", "netvm", nil, "", `
				work property-pre-reset:netvm name=netvm oldvalue=sys-two
				work property-pre-set:netvm name=netvm newvalue=sys-net oldvalue=sys-two
				work property-pre-del:netvm name=netvm oldvalue=sys-two
				work property-set:netvm name=netvm newvalue=sys-net oldvalue=sys-two
				work property-reset:netvm name=netvm oldvalue=sys-two
				work property-del:netvm name=netvm oldvalue=sys-two`},
			{"busy", "netvm", to("sys-two"), exception.QubesVMNotStartedError, ""},
			{"busy", "netvm", to(""), "", `
				busy property-pre-set:netvm name=netvm newvalue=None oldvalue=sys-net
				busy property-set:netvm name=netvm newvalue=None oldvalue=sys-net`},
			{"busy", "netvm", to("sys-net"), "", `
				busy property-pre-set:netvm name=netvm newvalue=sys-net oldvalue=None
				sys-net net-domain-connect vm=busy
				busy property-set:netvm name=netvm newvalue=sys-net oldvalue=None`},
			{"sys-two", "netvm", to("sys-net"), "", `
				sys-two property-pre-set:netvm name=netvm newvalue=sys-net oldvalue=None
				sys-two property-set:netvm name=netvm newvalue=sys-net oldvalue=None`},
			{"sys-net", "netvm", nil, exception.QubesValueError, ""}, // it would be its own
			{"sys-net", "netvm", to("sys-two"), exception.QubesValueError, ""},
			{"work", "netvm", to("dom0"), exception.QubesValueError, ""},
			{"work", "netvm", to("away"), exception.QubesPropertyValueError, ""},
		},
		"what a qube looks like": {
			{"work", "label", to("2"), "", `
				work property-pre-set:label name=label newvalue=orange oldvalue=red
				work property-reset:icon name=icon
				work property-set:label name=label newvalue=orange oldvalue=red`},
			{"away", "label", to("label-3"), "", `
				away property-pre-set:label name=label newvalue=yellow oldvalue=red
				away property-set:label name=label newvalue=yellow oldvalue=red`},
			{"work", "label", nil, exception.QubesPropertyValueError, ""},
			{"alone", "keyboard_layout", to("de++"), "", `
				alone property-pre-set:keyboard_layout name=keyboard_layout newvalue=de++ oldvalue=us++
				alone property-set:keyboard_layout name=keyboard_layout newvalue=de++ oldvalue=us++`},
			{"dom0", "keyboard_layout", to("fr++"), "", `
				dom0 property-pre-set:keyboard_layout name=keyboard_layout newvalue=fr++ oldvalue=us++
				a.dot property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				base property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				busy property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				disp1 property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				dvm property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				sys-net property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				sys-two property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				work property-reset:keyboard_layout name=keyboard_layout oldvalue=us++
				dom0 property-set:keyboard_layout name=keyboard_layout newvalue=fr++ oldvalue=us++`},
		},
		"the system's": {
			{"", "default_dispvm", to("dvm"), "", `
				property-pre-set:default_dispvm name=default_dispvm newvalue=dvm oldvalue=None
				dom0 property-reset:default_dispvm name=default_dispvm oldvalue=None
				a.dot property-reset:default_dispvm name=default_dispvm oldvalue=None
				alone property-reset:default_dispvm name=default_dispvm oldvalue=None
				base property-reset:default_dispvm name=default_dispvm oldvalue=None
				busy property-reset:default_dispvm name=default_dispvm oldvalue=None
				dvm property-reset:default_dispvm name=default_dispvm oldvalue=None
				sys-net property-reset:default_dispvm name=default_dispvm oldvalue=None
				sys-two property-reset:default_dispvm name=default_dispvm oldvalue=None
				work property-reset:default_dispvm name=default_dispvm oldvalue=None
				property-set:default_dispvm name=default_dispvm newvalue=dvm oldvalue=None`},
			{"", "default_netvm", to("sys-two"), exception.QubesVMNotStartedError, `
				property-pre-set:default_netvm name=default_netvm newvalue=sys-two oldvalue=sys-net`},
			{"", "default_netvm", to("work"), exception.QubesPropertyValueError, ""},
			{"busy", "netvm", to("sys-net"), "", `
				busy property-pre-set:netvm name=netvm newvalue=sys-net oldvalue=sys-net
				busy property-set:netvm name=netvm newvalue=sys-net oldvalue=sys-net`},
			{"", "default_netvm", to("sys-two"), "", `
				property-pre-set:default_netvm name=default_netvm newvalue=sys-two oldvalue=sys-net
				disp1 property-pre-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				dvm property-pre-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				work property-pre-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				disp1 property-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				disp1 property-reset:netvm name=netvm oldvalue=sys-net
				dvm property-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				dvm property-reset:netvm name=netvm oldvalue=sys-net
				work property-set:netvm name=netvm newvalue=sys-two oldvalue=sys-net
				work property-reset:netvm name=netvm oldvalue=sys-net
				property-set:default_netvm name=default_netvm newvalue=sys-two oldvalue=sys-net`},
			{"", "clockvm", to("work"), "", `
				property-pre-set:clockvm name=clockvm newvalue=work oldvalue=None
				work domain-feature-pre-set:service.clocksync feature=service.clocksync value=1
				work domain-feature-set:service.clocksync feature=service.clocksync value=1
				property-set:clockvm name=clockvm newvalue=work oldvalue=None`},
			{"", "clockvm", to("busy"), "", `
				property-pre-set:clockvm name=clockvm newvalue=busy oldvalue=work
				busy domain-feature-pre-set:service.clocksync feature=service.clocksync value=1
				busy domain-feature-set:service.clocksync feature=service.clocksync value=1
				work domain-feature-pre-delete:service.clocksync feature=service.clocksync
				work domain-feature-delete:service.clocksync feature=service.clocksync
				property-set:clockvm name=clockvm newvalue=busy oldvalue=work`},
			{"", "clockvm", to("busy"), "", `
				property-pre-set:clockvm name=clockvm newvalue=busy oldvalue=busy
				property-set:clockvm name=clockvm newvalue=busy oldvalue=busy`},
			{"", "clockvm", nil, "", `
				property-pre-reset:clockvm name=clockvm oldvalue=busy
				property-pre-del:clockvm name=clockvm oldvalue=busy
				property-reset:clockvm name=clockvm oldvalue=busy
				property-del:clockvm name=clockvm oldvalue=busy`},
			{"", "default_pool", to("nosuch"), exception.QubesPropertyValueError, ""},
			{"", "default_pool", to("big"), "", `
				property-pre-set:default_pool name=default_pool newvalue=big oldvalue=varlibqubes
				property-set:default_pool name=default_pool newvalue=big oldvalue=varlibqubes`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			book := opened(t, some)
			for i, s := range steps {
				events, err := do(t, book, s.qube, s.property, s.value)
				assert.Equal(t, s.refused, typeOf(err), "%d: %s %s: %v", i, s.qube, s.property, err)
				assert.Equal(t, lines(s.events), events, "%d: %s %s", i, s.qube, s.property)
			}
		})
	}
}

// TestGUIFollowers: a new default is told as if each that follows it had been set (spec: properties.yaml
// app.default_guivm), and not when it is reset.
func TestGUIFollowers(t *testing.T) {
	for property, global := range map[string]string{"guivm": "default_guivm", "audiovm": "default_audiovm"} {
		book := opened(t, some)
		_, err := do(t, book, "work", property, to("alone"))
		require.NoError(t, err)
		events, err := do(t, book, "", global, to("alone"))
		require.NoError(t, err)
		var want []string
		for _, q := range []string{"a.dot", "alone", "base", "busy", "disp1", "dvm", "sys-net", "sys-two"} {
			want = append(want, q+" property-set:"+property+" name="+property+" newvalue=alone oldvalue=dom0")
		}
		assert.Equal(t, want, events[1:len(events)-1])
		events, err = do(t, book, "", global, nil)
		require.NoError(t, err)
		assert.Len(t, events, 4)
		_, err = do(t, book, "work", property, to("a.dot"))
		assert.Equal(t, exception.QubesPropertyValueError, typeOf(err), "it would make no tag")
	}
}

// TestInUse: who is in use is told, but not by whom (design: 7).
func TestInUse(t *testing.T) {
	for _, c := range []struct{ name, property, value string }{
		{"dvm", "template_for_dispvms", "False"}, {"sys-two", "provides_network", "False"},
	} {
		_, err := do(t, opened(t, some), c.name, c.property, &c.value)
		require.Error(t, err)
		for q := range opened(t, some).View().Qubes() {
			assert.NotContains(t, err.Error(), q.Shown()+" ")
		}
	}
	for _, global := range []string{"default_dispvm", "management_dispvm"} {
		book := opened(t, strings.Replace(some, "  - {name: disp1, class: DispVM, properties: {template: dvm}}\n", "", 1))
		_, err := do(t, book, "", global, to("dvm"))
		require.NoError(t, err)
		_, err = do(t, book, "dvm", "template_for_dispvms", to("False"))
		assert.Equal(t, exception.QubesVMInUseError, typeOf(err), global)
		_, err = do(t, book, "", global, to(""))
		require.NoError(t, err)
		_, err = do(t, book, "work", global, to("dvm"))
		require.NoError(t, err)
		_, err = do(t, book, "dvm", "template_for_dispvms", to("False"))
		assert.Equal(t, exception.QubesVMInUseError, typeOf(err), global)
		_, err = do(t, book, "work", global, nil)
		require.NoError(t, err)
		_, err = do(t, book, "dvm", "template_for_dispvms", to("False"))
		assert.NoError(t, err)
	}
}
