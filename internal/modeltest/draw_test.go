package modeltest

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
)

func one[T any](d *rand.Rand, from []T) T { return from[d.IntN(len(from))] }

// draw gives a call that is interesting in this world: often about what is there, sometimes about what was, or never.
func (w *world) draw(d *rand.Rand, gone []string) call {
	pick := func(from ...string) string { return one(d, from) }
	often := func() bool { return d.IntN(10) < 8 }
	names := w.names()
	someone := func() string {
		if often() {
			return pick(names...)
		}
		return pick(append(slices.Clone(gone), "nosuch", "dom0")...)
	}
	c := call{source: "dom0"}
	if d.IntN(4) == 0 {
		c.source = pick(append(slices.Clone(names), "nosuch")...)
	}
	c.dest = someone()
	if v := w.qubes[c.dest]; v != nil && d.IntN(10) == 0 {
		c.dest = "uuid:" + v.uuid
	}
	dest := w.find(c.dest)
	system := func() {
		if d.IntN(20) > 0 {
			c.dest = "dom0"
		}
	}
	switch pick("list", "property", "property", "property", "property", "set", "set", "set", "set", "set", "global", "global", "global", "feature", "tag", "label", "notes", "create", "create", "create", "disposable", "remove", "lifecycle", "lifecycle", "lifecycle", "lifecycle") {
	case "list":
		c.method = pick("admin.vm.List", "admin.vm.CurrentState", "admin.vm.property.GetAll", "admin.vm.property.List", "admin.vm.tag.List", "admin.vm.feature.List")
		if d.IntN(20) == 0 {
			c.arg, c.payload = pick("", "x"), pick("", "x")
		}
	case "property":
		c.method = pick("admin.vm.property.Get", "admin.vm.property.GetDefault", "admin.vm.property.Reset", "admin.vm.property.Reset")
		c.arg = w.drawProperty(d, dest)
	case "set":
		c.method = "admin.vm.property.Set"
		c.arg = w.drawProperty(d, dest)
		c.payload = w.drawValue(d, c.arg, names, gone)
	case "global":
		c.method = pick("admin.property.Set", "admin.property.Set", "admin.property.Set", "admin.property.Reset", "admin.property.Get", "admin.property.GetDefault", "admin.property.GetAll", "admin.property.List")
		system()
		if strings.Contains(c.method, "List") || strings.Contains(c.method, "All") {
			break
		}
		c.arg = "nosuch"
		if d.IntN(20) > 0 {
			c.arg = one(d, globalProperties).name
		}
		if c.method == "admin.property.Set" {
			c.payload = w.drawValue(d, c.arg, names, gone)
		}
	case "feature":
		c.arg = pick("a", "a", "b.c", "qrexec", "tag-created-vm-with", "servicevm")
		if d.IntN(2) == 0 {
			c.arg = ""
		}
		c.method = "admin.vm.feature." + pick("Get", "CheckWithTemplate", "CheckWithNetvm", "CheckWithAdminVM", "CheckWithTemplateAndAdminVM", "Remove", "Set", "Set", "Set")
		c.arg = cmp.Or(c.arg, pick("a", "a", "b.c", "qrexec", "service.cups", "service.", "service..", "service."+strings.Repeat("x", 49), "vm-config.x", "vm-config.1", "custom-persist.x",
			"net.fake-ip", "net.fake-gateway", "net.fake-netmask", "preload-dispvm", "prohibit-start", "tag-created-vm-with", "check-updates", "bad/name", ""))
		if c.arg == "servicevm" && strings.HasSuffix(c.method, "et") { // what follows is left open
			c.method = "admin.vm.feature.CheckWithNetvm"
		}
		if c.method == "admin.vm.feature.Set" {
			c.payload = pick("", "1", "x y")
		}
		if c.method == "admin.vm.feature.Set" && c.arg != "tag-created-vm-with" { // whose words must be tags
			c.payload = pick("", "1", "x y", "/etc/x", "10.0.0.1", "a\nb", "ä", "%s")
		}
	case "tag":
		c.method = "admin.vm.tag." + pick("Get", "Set", "Set", "Remove")
		c.arg = pick("x", "y", "y", "created-by-dom0", "created-by-"+someone(), "disp-created-by-dom0", "guivm-dom0", "audiovm-dom0", "backup-restore-in-progress", "a.b", "a b"[:1], "é", "")
		if dest != nil && len(dest.tags) > 0 && c.method == "admin.vm.tag.Remove" && often() {
			c.arg = pick(dest.sortedTags()...)
		}
		if strings.HasPrefix(c.arg, "guivm-") && c.method == "admin.vm.tag.Set" || strings.HasPrefix(c.arg, "audiovm-") && c.method == "admin.vm.tag.Set" {
			c.arg = "x"
		}
	case "label":
		c.method = "admin.label." + pick("List", "Get", "Index", "Create", "Remove")
		system()
		if c.method != "admin.label.List" {
			c.arg = pick("red", "01", "9", "9", "teal", "teal", "pink", "nosuch", "77", "a/b", "")
		}
		if c.method == "admin.label.Create" {
			c.payload = pick("0x008080", "0xABCdef", " 0x008080\n", "0X008080", "0x00808", "", "red")
		}
	case "notes":
		c.method = "admin.vm.notes." + pick("Get", "Set")
		if c.method == "admin.vm.notes.Set" {
			c.payload = pick("", "hello\n\tworld", "a\x00b\rc", "\xff\xfe", "käse 字", strings.Repeat("x", 3000))
		}
	case "create":
		w.drawCreation(d, &c, someone)
		system()
	case "disposable":
		c.method = "admin.vm.CreateDisposable"
		for _, v := range w.all() {
			if w.value(v, "template_for_dispvms") == "True" && d.IntN(2) == 0 {
				c.dest = v.name
			}
		}
		c.arg = pick("", "", "", "", "", "preload", "x")
		c.payload = pick("", "", "", "uuid", "uuid", "name")
	case "remove":
		c.method = "admin.vm.Remove"
	case "lifecycle":
		var running []string
		for _, v := range w.all() {
			if v.networked() && v.active() {
				running = append(running, v.name)
			}
		}
		if len(running) > 0 && d.IntN(2) == 0 {
			c.dest = one(d, running)
			dest = w.qubes[c.dest]
		}
		c.method = "admin.vm." + pick("Start", "Start", "Start", "Shutdown", "Kill", "Pause", "Unpause", "Suspend", "Resume", "Console")
		if dest != nil && (dest.state == "Paused" || dest.state == "Suspended") && d.IntN(2) == 0 {
			c.method = "admin.vm." + pick("Unpause", "Resume")
		}
		if c.method == "admin.vm.Shutdown" {
			c.arg = pick("", "", "force", "wait", "force+wait", "wait+force+wait", "force+", "bogus")
		}
	}
	return c
}

// drawProperty is mostly one that dest has.
func (w *world) drawProperty(d *rand.Rand, dest *vm) string {
	if d.IntN(30) == 0 {
		return one(d, []string{"nosuch", ""})
	}
	// Those that hang together are drawn more often.
	favourites := []string{"memory", "maxmem", "vcpus", "netvm", "netvm", "provides_network", "provides_network", "template", "template_for_dispvms", "template_for_dispvms", "label", "guivm", "audiovm", "default_dispvm", "management_dispvm", "kernel", "autostart", "include_in_backups", "auto_cleanup", "ip"}
	if d.IntN(2) == 0 {
		return one(d, favourites)
	}
	if dest != nil && d.IntN(10) > 0 {
		return one(d, propertiesOf(dest)).name
	}
	return one(d, vmProperties).name
}

// drawValue is mostly one that the property may have.
func (w *world) drawValue(d *rand.Rand, name string, names, gone []string) string {
	pick := func(from ...string) string { return one(d, from) }
	kind := "str"
	for _, p := range append(slices.Clone(globalProperties), vmProperties...) {
		if p.name == name {
			kind = p.kind
		}
	}
	switch {
	case name == "label":
		return pick("blue", "2", "label-3", "label-x", "teal", "9", "nosuch", "")
	case kind == "vm":
		var fit []string
		for _, v := range w.all() {
			switch {
			case strings.Contains(name, "netvm") && w.value(v, "provides_network") == "True",
				strings.Contains(name, "dispvm") && w.value(v, "template_for_dispvms") == "True",
				strings.Contains(name, "template") && v.class == "TemplateVM",
				name == "template" && w.value(v, "template_for_dispvms") == "True":
				fit = append(fit, v.name)
			}
		}
		if len(fit) > 0 && d.IntN(2) == 0 {
			return pick(fit...)
		}
		if d.IntN(10) > 1 {
			return pick(append(slices.Clone(names), "")...)
		}
		return pick(append(slices.Clone(gone), "nosuch", "-bad", "none", "None")...)
	case kind == "bool":
		return pick("True", "True", "1", "on", "YES", "False", "False", "0", "off", "maybe", "", " on")
	case kind == "int":
		return pick("1", "3", "400", "500", "777", " 500 ", "+5", "0", "-1", "x", "", "9999999999999999999999", "1.5")
	case name == "ip":
		return pick("10.1.2.3", "10.1.2.4", "1.2.3", "", "::1")
	case name == "ip6":
		return pick("FD09::1", "fd09::2", "zz", "")
	case strings.Contains(name, "kernel") && !strings.Contains(name, "opts") && !strings.Contains(name, "pool"):
		return pick("other", "other", "", "nosuch", "a/b")
	case strings.Contains(name, "pool"):
		return pick("big", "nosuch", "")
	case name == "virt_mode":
		return pick("PV", "hvm", "zzz")
	case name == "keyboard_layout":
		return pick("us+dvorak+ctrl:nocaps,x", "de++", "us", "1s++", "")
	case name == "mac":
		return pick("00:16:3E:5E:6C:01", "xx")
	case name == "devices_denied":
		return pick("u123456b******u123456", "zz", "x123456", "")
	case name == "uuid":
		return pick("f4db6e78-9ddd-4455-9804-7ef0b55c3e2c")
	}
	return pick("a_b", `a\b`, "%s", "a b", "a\rb", "\x01", "\xff", strings.Repeat("x", 513))
}

// drawCreation is mostly a good one.
func (w *world) drawCreation(d *rand.Rand, c *call, someone func() string) {
	pick := func(from ...string) string { return one(d, from) }
	verb := pick("Create", "Create", "Create", "CreateInPool")
	class := pick("AppVM", "AppVM", "AppVM", "TemplateVM", "StandaloneVM", "DispVM", "DispVM", "RemoteVM", "AdminVM", "NoSuchVM")
	c.method = "admin.vm." + verb + "." + class
	if class == "AppVM" || class == "DispVM" || d.IntN(20) == 0 {
		c.arg = pick("", "", "T", "T", "T", someone())
		if c.arg == "T" {
			c.arg = ""
			for _, v := range w.all() {
				if (class == "AppVM" && v.class == "TemplateVM" || class == "DispVM" && w.value(v, "template_for_dispvms") == "True") && d.IntN(2) == 0 {
					c.arg = v.name
				}
			}
		}
	}
	name := pick("n1", "n2", "n3", "n4", "z.z", "a", "T1", pick("n5", "none", "-x", "a-dm", "dom0", "", strings.Repeat("a", 32), someone()))
	items := []string{"name=" + name, "label=" + pick("red", "red", "blue", "teal", "nosuch", "77", "")}
	if verb == "CreateInPool" {
		items = append(items, pick("pool=varlibqubes", "pool=big", "pool:private=big", "pool:root=varlibqubes", "pool:volatile=nosuch", "pool:foo=big"))
	}
	if d.IntN(10) == 0 {
		items = append(items, pick("extra=1", "extra", "", "name=n9", "pool=big", "label=blue\n", "x=é"))
	}
	if d.IntN(2) == 0 {
		slices.Reverse(items)
	}
	c.payload = strings.Join(items, " ")
}
