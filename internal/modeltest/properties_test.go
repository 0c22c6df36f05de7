package modeltest

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// property is what the specification says of one (spec: properties.yaml).
type property struct {
	name    string
	kind    string // str, int, bool, vm or label
	classes string // letters of the classes that have it: Admin, Template, aPp, Standalone, Disp, Remote
	late    bool   // of load stage 4
	fixed   bool   // computed: cannot be set
	once    bool   // set at creation, and never after
}

var letters = map[string]string{"AdminVM": "A", "TemplateVM": "T", "AppVM": "P", "StandaloneVM": "S", "DispVM": "D", "RemoteVM": "R"}

// vmProperties are those of qubes, by name.
var vmProperties = []property{
	{name: "appvm_default_bootmode", kind: "str", classes: "T", late: true},
	{name: "audiovm", kind: "vm", classes: "TPSD", late: true},
	{name: "auto_cleanup", kind: "bool", classes: "D"},
	{name: "autostart", kind: "bool", classes: "TPSD"},
	{name: "backup_timestamp", kind: "int", classes: "TPSD"},
	{name: "bootmode", kind: "str", classes: "TPSD", late: true},
	{name: "debug", kind: "bool", classes: "TPSD"},
	{name: "default_dispvm", kind: "vm", classes: "ATPSD", late: true},
	{name: "default_user", kind: "str", classes: "TPSD"},
	{name: "devices_denied", kind: "str", classes: "ATPSD"},
	{name: "dispid", kind: "int", classes: "D", once: true},
	{name: "dns", kind: "str", classes: "TPSD", fixed: true},
	{name: "gateway", kind: "str", classes: "TPSD", fixed: true},
	{name: "gateway6", kind: "str", classes: "TPSD", fixed: true},
	{name: "guivm", kind: "vm", classes: "TPSD", late: true},
	{name: "icon", kind: "str", classes: "ATPSDR", fixed: true},
	{name: "include_in_backups", kind: "bool", classes: "ATPSDR"},
	{name: "installed_by_rpm", kind: "bool", classes: "TPSD"},
	{name: "ip", kind: "str", classes: "TPSD"},
	{name: "ip6", kind: "str", classes: "TPSD"},
	{name: "is_preload", kind: "bool", classes: "D", fixed: true},
	{name: "kernel", kind: "str", classes: "TPSD"},
	{name: "kernelopts", kind: "str", classes: "TPSD", late: true},
	{name: "keyboard_layout", kind: "str", classes: "ATPSD"},
	{name: "klass", kind: "str", classes: "ATPSDR", fixed: true},
	{name: "label", kind: "label", classes: "ATPSDR"},
	{name: "mac", kind: "str", classes: "TPSD"},
	{name: "management_dispvm", kind: "vm", classes: "TPSD", late: true},
	{name: "maxmem", kind: "int", classes: "ATPSD"},
	{name: "memory", kind: "int", classes: "TPSD"},
	{name: "name", kind: "str", classes: "ATPSDR", once: true},
	{name: "netvm", kind: "vm", classes: "TPSD", late: true},
	{name: "provides_network", kind: "bool", classes: "TPSD"},
	{name: "qid", kind: "int", classes: "ATPSDR", once: true},
	{name: "qrexec_timeout", kind: "int", classes: "TPSD"},
	{name: "relayvm", kind: "vm", classes: "R", late: true},
	{name: "remote_name", kind: "str", classes: "R"},
	{name: "shutdown_timeout", kind: "int", classes: "TPSD"},
	{name: "start_time", kind: "str", classes: "TPSD", fixed: true},
	{name: "stubdom_mem", kind: "int", classes: "TPSD"},
	{name: "stubdom_uuid", kind: "str", classes: "TPSD", fixed: true},
	{name: "stubdom_xid", kind: "int", classes: "TPSD", fixed: true},
	{name: "template", kind: "vm", classes: "PD", late: true},
	{name: "template_for_dispvms", kind: "bool", classes: "PS"},
	{name: "transport_rpc", kind: "str", classes: "R"},
	{name: "updateable", kind: "bool", classes: "ATPSD", fixed: true},
	{name: "uuid", kind: "str", classes: "ATPSDR", once: true},
	{name: "vcpus", kind: "int", classes: "TPSD"},
	{name: "virt_mode", kind: "str", classes: "TPSD"},
	{name: "visible_gateway", kind: "str", classes: "TPSD", fixed: true},
	{name: "visible_gateway6", kind: "str", classes: "TPSD", fixed: true},
	{name: "visible_ip", kind: "str", classes: "TPSD", fixed: true},
	{name: "visible_ip6", kind: "str", classes: "TPSD", fixed: true},
	{name: "visible_netmask", kind: "str", classes: "TPSD", fixed: true},
	{name: "xid", kind: "int", classes: "TPSD", fixed: true},
}

// globalProperties are those of the system, by name.
var globalProperties = []property{
	{name: "check_updates_vm", kind: "bool"},
	{name: "clockvm", kind: "vm"},
	{name: "default_audiovm", kind: "vm"},
	{name: "default_dispvm", kind: "vm"},
	{name: "default_guivm", kind: "vm"},
	{name: "default_kernel", kind: "str"},
	{name: "default_netvm", kind: "vm"},
	{name: "default_pool", kind: "str"},
	{name: "default_pool_kernel", kind: "str"},
	{name: "default_pool_private", kind: "str"},
	{name: "default_pool_root", kind: "str"},
	{name: "default_pool_volatile", kind: "str"},
	{name: "default_qrexec_timeout", kind: "int"},
	{name: "default_shutdown_timeout", kind: "int"},
	{name: "default_template", kind: "vm"},
	{name: "management_dispvm", kind: "vm"},
	{name: "maxmem", kind: "int", fixed: true},
	{name: "no_cpus", kind: "int", fixed: true},
	{name: "stats_interval", kind: "int"},
	{name: "updatevm", kind: "vm"},
}

func propertyOf(v *vm, name string) (property, bool) {
	i := slices.IndexFunc(vmProperties, func(p property) bool { return p.name == name && strings.Contains(p.classes, letters[v.class]) })
	if i < 0 {
		return property{}, false
	}
	p := vmProperties[i]
	if v.class == "AdminVM" && (p.once || p.name == "maxmem") { // dom0's own are computed
		p.once, p.fixed = false, true
		if p.name == "uuid" {
			p.kind = "str"
		}
	}
	return p, true
}

func globalProperty(name string) (property, bool) {
	i := slices.IndexFunc(globalProperties, func(p property) bool { return p.name == name })
	if i < 0 {
		return property{}, false
	}
	return globalProperties[i], true
}

// propertiesOf are v's, in the order of listings: by stage, then name.
func propertiesOf(v *vm) (list []property) {
	for _, late := range []bool{false, true} {
		for _, p := range vmProperties {
			if p, has := propertyOf(v, p.name); has && p.late == late {
				list = append(list, p)
			}
		}
	}
	return list
}

// explicit is a value that was set.
func (v *vm) explicit(p property) (string, bool) {
	if p.fixed {
		return "", false
	}
	switch p.name {
	case "name":
		return v.name, true
	case "uuid":
		return v.uuid, true
	case "qid":
		return strconv.Itoa(v.qid), true
	case "dispid":
		return strconv.Itoa(v.dispid), true
	case "label":
		return v.label, true
	}
	value, set := v.props[p.name]
	return value, set
}

// value is in effect.
func (w *world) value(v *vm, name string) string {
	p, has := propertyOf(v, name)
	if !has {
		return ""
	}
	if value, set := v.explicit(p); set {
		return value
	}
	value, _ := w.fallback(v, name)
	return value
}

// isSet says that v has a property that is set explicitly.
func (v *vm) isSet(name string) bool {
	p, has := propertyOf(v, name)
	if !has {
		return false
	}
	_, set := v.explicit(p)
	return set
}

// follows says that v has the property, and it is at its default.
func (v *vm) follows(name string) bool {
	_, has := propertyOf(v, name)
	return has && !v.isSet(name)
}

func truth(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// fallback is the default, and whether there is one.
func (w *world) fallback(v *vm, name string) (string, bool) {
	fromTemplate := func(otherwise string) (string, bool) {
		if t := w.template(v); t != nil {
			if _, has := propertyOf(t, name); has {
				return w.value(t, name), true
			}
		}
		return otherwise, true
	}
	online := func() bool { return w.netvm(v) != nil || w.value(v, "provides_network") == "True" }
	ofNetvm := func(name string) string {
		if n := w.netvm(v); n != nil {
			return w.value(n, name)
		}
		return ""
	}
	if what, visible := strings.CutPrefix(name, "visible_"); visible {
		if fake, found := w.featureOfChain(v, "net.fake-"+what); found && fake != "" {
			return fake, true
		}
	}
	switch name {
	case "autostart", "debug", "installed_by_rpm", "provides_network", "template_for_dispvms", "auto_cleanup", "is_preload":
		return "False", true
	case "backup_timestamp", "stubdom_mem", "stubdom_uuid", "transport_rpc", "remote_name", "relayvm", "devices_denied",
		"gateway6", "visible_gateway6", "ip6": // without the feature ipv6
		return "", true
	case "default_user":
		return fromTemplate("user")
	case "memory":
		return fromTemplate("400")
	case "vcpus":
		return fromTemplate("2")
	case "kernel":
		return fromTemplate(w.global("default_kernel"))
	case "qrexec_timeout", "shutdown_timeout":
		return fromTemplate(w.global("default_" + name))
	case "virt_mode":
		return fromTemplate("pvh")
	case "management_dispvm":
		return fromTemplate(w.global(name))
	case "kernelopts":
		if w.value(v, "kernel") == "" {
			return "", true
		}
		return fromTemplate("swiotlb=2048")
	case "maxmem":
		if v.class == "AdminVM" {
			return "4096", true
		}
		if qrexec, _ := w.featureOfChain(v, "qrexec"); w.value(v, "virt_mode") == "hvm" && qrexec == "" {
			return "0", true
		}
		return fromTemplate(strconv.Itoa(min(w.hostMiB/2, 4000)))
	case "bootmode", "appvm_default_bootmode":
		return "default", true
	case "default_dispvm":
		if v.class == "DispVM" {
			return v.props["template"], true
		}
		return w.global(name), true
	case "guivm", "audiovm":
		return w.global("default_" + name), true
	case "netvm":
		if v.class == "TemplateVM" {
			return "", true
		}
		return w.global("default_netvm"), true
	case "include_in_backups":
		return truth(v.class != "RemoteVM" && !(v.class == "DispVM" && w.value(v, "auto_cleanup") == "True")), true
	case "keyboard_layout":
		seen := map[*vm]bool{}
		for q := v; q != nil && !seen[q] && q.class != "AdminVM"; {
			seen[q] = true
			q = w.qubes[w.value(q, "guivm")]
			if q != nil && q.isSet(name) {
				return q.props[name], true
			}
		}
		return "us++", true
	case "mac":
		return "00:16:3e:5e:6c:00", true
	case "dns":
		if online() {
			return "10.139.1.1 10.139.1.2", true
		}
		return "", true
	case "ip":
		if !online() {
			return "", true
		}
		id, net := v.qid, "10.137."
		if v.class == "DispVM" {
			id, net = v.dispid, "10.138."
		}
		if id < 255 {
			return net + "0." + strconv.Itoa(id), true
		}
		return net + strconv.Itoa((id-1)/254) + "." + strconv.Itoa((id-1)%254+1), true
	case "gateway":
		if w.value(v, "provides_network") == "True" {
			return w.value(v, "visible_ip"), true
		}
		return "", true
	case "visible_ip":
		return w.value(v, "ip"), true
	case "visible_ip6":
		return w.value(v, "ip6"), true
	case "visible_gateway":
		return ofNetvm("gateway"), true
	case "visible_netmask":
		if w.netvm(v) != nil {
			return "255.255.255.255", true
		}
		return "", true
	case "klass":
		return v.class, true
	case "updateable":
		return truth(!v.is("AppVM", "DispVM")), true
	case "stubdom_xid":
		return "-1", true
	case "xid":
		if v.active() {
			return volatile, true
		}
		return "-1", true
	case "start_time":
		if v.active() {
			return volatile, true
		}
		return "", true
	case "icon":
		servicevm, _ := v.feature("servicevm")
		switch {
		case v.class == "AdminVM":
			return "adminvm-black", true
		case v.class == "TemplateVM", v.class == "AppVM" && w.value(v, "template_for_dispvms") == "True":
			return "templatevm-" + v.label, true
		case servicevm != "":
			return "servicevm-" + v.label, true
		}
		return cmp.Or(map[string]string{"DispVM": "dispvm-", "StandaloneVM": "standalonevm-", "RemoteVM": "remotevm-"}[v.class], "appvm-") + v.label, true
	case "name", "qid", "uuid":
		if v.class == "AdminVM" {
			return map[string]string{"name": "dom0", "qid": "0", "uuid": zeroUUID}[name], true
		}
	}
	return "", false
}

// volatile stands for a value that only the hypervisor knows.
const volatile = "<volatile>"

func (w *world) globalDefault(name string) (string, bool) {
	switch name {
	case "check_updates_vm":
		return "True", true
	case "default_audiovm", "default_guivm":
		return "dom0", true
	case "default_qrexec_timeout", "default_shutdown_timeout":
		return "60", true
	case "stats_interval":
		return "3", true
	case "default_template", "default_kernel":
		return "", false
	case "maxmem":
		return strconv.Itoa(w.hostMiB), true
	case "no_cpus":
		return "4", true
	case "default_pool":
		return "varlibqubes", true // the file pool at /var/lib/qubes, in this fixture
	case "default_pool_kernel", "default_pool_private", "default_pool_root", "default_pool_volatile":
		return w.global("default_pool"), true
	}
	return "", true
}

// shown is a value in an event: what is nothing is None; what may be either is left open.
func shown(kind, value string) string {
	switch {
	case value == volatile:
		return "*"
	case value == "" && (kind == "vm" || kind == "int"):
		return "None"
	case value == "":
		return "?"
	}
	return value
}

var nameSyntax = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,30}$`)

// isName says what a qube may be called (spec: model.md 2).
func isName(text string) bool {
	return nameSyntax.MatchString(text) && !strings.HasSuffix(text, "-dm") && !slices.Contains([]string{"Domain-0", "none", "default"}, text)
}

var (
	uuidText = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
	macText  = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$`)
	userText = regexp.MustCompile(`^[A-Za-z0-9_+,.-]*$`)
	keysText = regexp.MustCompile(`^[A-Za-z]+\+[A-Za-z0-9_-]*\+[A-Za-z0-9_:,-]*$`)
	denyText = regexp.MustCompile(`^([bump*][0-9a-f*]{6})*$`)
)

// parse checks a value as can be done without knowing of any qube, and gives it in its canonical form.
func parse(p property, text string) (value, fails string) {
	bad := func(ok bool) string {
		if ok {
			return ""
		}
		return "QubesValueError"
	}
	for i := range len(text) {
		if text[i] >= 0x80 || p.kind == "str" && (text[i] < 0x20 || text[i] == 0x7f) {
			return "", bad(false)
		}
	}
	switch p.kind {
	case "vm":
		return text, bad(text == "" || isName(text))
	case "bool":
		on := slices.Contains([]string{"1", "yes", "true", "on"}, strings.ToLower(text))
		return truth(on), bad(on || slices.Contains([]string{"0", "no", "false", "off"}, strings.ToLower(text)))
	case "int":
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return strconv.FormatInt(n, 10), bad(err == nil)
	}
	switch {
	case p.name == "ip":
		a, err := netip.ParseAddr(text)
		return text, bad(err == nil && a.Is4())
	case p.name == "ip6":
		a, err := netip.ParseAddr(text)
		return a.String(), bad(err == nil && a.Is6())
	case p.name == "uuid" && p.once:
		return text, bad(uuidText.MatchString(text))
	}
	return text, ""
}

// refuses is what the setter has against a value of an ordinary property, or nothing; and the value that it makes of it.
func refuses(p property, value string) (stored, fails string) {
	ok := true
	switch p.name {
	case "memory", "vcpus", "qrexec_timeout", "shutdown_timeout", "stubdom_mem":
		ok = value != "0" && value[0] != '-'
	case "maxmem":
		ok = value[0] != '-'
	case "default_user":
		ok = userText.MatchString(value)
	case "mac":
		ok, value = macText.MatchString(value), strings.ToLower(value)
	case "virt_mode":
		value = strings.ToLower(value)
		ok = slices.Contains([]string{"hvm", "pv", "pvh"}, value)
	case "keyboard_layout":
		ok = keysText.MatchString(value)
	case "kernelopts":
		ok = len(value) <= 512
	case "devices_denied":
		if len(value)%7 != 0 {
			return "", "QubesValueError"
		}
		if ok = denyText.MatchString(value); ok {
			var codes []string
			for i := 0; i < len(value); i += 7 {
				codes = append(codes, value[i:i+7])
			}
			slices.Sort(codes)
			value = strings.Join(slices.Compact(codes), "")
		}
	}
	if !ok {
		return "", "QubesPropertyValueError"
	}
	return value, ""
}

// inherited are the properties whose change on a template is told of the qubes that follow it.
var inherited = []string{"default_user", "kernel", "kernelopts", "management_dispvm", "maxmem", "memory", "qrexec_timeout", "shutdown_timeout", "vcpus"}
