package modeltest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// items reads the payload of a creation (spec: model.md 6): its values by key, and all that can be said against it.
func items(class, template, payload string, inPool bool) (values map[string]string, wrong []string) {
	values = map[string]string{}
	if !slices.Contains([]string{"AppVM", "TemplateVM", "StandaloneVM", "AdminVM", "DispVM", "RemoteVM"}, class) {
		return values, []string{"ProtocolError"}
	}
	against := func(ok bool, as string) {
		if !ok {
			wrong = append(wrong, as)
		}
	}
	against(template == "" || class == "AppVM" || class == "DispVM", "ProtocolError")
	for _, item := range strings.Split(payload, " ") {
		key, value, found := strings.Cut(item, "=")
		_, again := values[key]
		against(found && !again, "ProtocolError")
		values[key] = value
		volume, ofVolume := strings.CutPrefix(key, "pool:")
		switch {
		case key == "name":
			against(isName(value), "QubesValueError")
		case key == "label":
			against(labelText.MatchString(value) && !digits.MatchString(value), "QubesInvalidLabelError")
		case key == "pool", ofVolume:
			against(inPool, "ProtocolError")
			against(!ofVolume || slices.Contains([]string{"root", "private", "volatile", "kernel"}, volume), "ProtocolError")
		default:
			against(false, "ProtocolError")
		}
	}
	_, pool := values["pool"]
	for key := range values {
		against(!pool || !strings.HasPrefix(key, "pool:"), "ProtocolError")
	}
	_, named := values["name"]
	_, labelled := values["label"]
	against(named && labelled, "ProtocolError")
	return values, wrong
}

func (w *world) create(source *vm, class, template, payload string) outcome {
	values, _ := items(class, template, payload, true)
	name, color := values["name"], values["label"]
	l, found := w.findLabel(color)
	switch {
	case w.qubes[name] != nil:
		return fails("QubesVMAlreadyExistsError")
	case template != "" && w.qubes[template] == nil:
		return fails("QubesVMNotFoundError")
	case !found: // the reference says so before it looks at anything else, and calls it a missing key
		return fails("QubesLabelNotFoundError", "ProtocolError")
	}
	v := newVM(name, class, l.name)
	snapshots := map[string][]string{"AppVM": {"root"}, "DispVM": {"root", "private"}}[class]
	ofSnapshot := false
	for key, pool := range values {
		volume, ofVolume := strings.CutPrefix(key, "pool:")
		if (ofVolume || key == "pool") && !slices.Contains(w.pools, pool) {
			return fails("QubesException")
		}
		ofSnapshot = ofSnapshot || ofVolume && slices.Contains(snapshots, volume)
	}
	switch class {
	case "AppVM":
		if template == "" {
			template = w.global("default_template")
		}
		if template == "" {
			return fails("QubesValueError")
		}
		if w.qubes[template].class != "TemplateVM" {
			return fails("QubesPropertyValueError")
		}
		v.props["template"] = template
	case "DispVM":
		if template == "" {
			template = w.global("default_dispvm")
		}
		if template == "" {
			return fails("QubesValueError")
		}
		t := w.qubes[template]
		if t.is("RemoteVM", "AdminVM") {
			return fails("QubesValueError", "QubesPropertyValueError")
		}
		if w.value(t, "template_for_dispvms") != "True" {
			return fails("QubesValueError")
		}
		w.copyTo(v, t)
	case "RemoteVM":
		v.state = "Running"
	}
	if class == "AdminVM" {
		return fails("QubesPropertyValueError")
	}
	if ofSnapshot || strings.Contains(source.name, ".") {
		return fails("QubesException")
	}
	tag := "created-by-" + source.name
	events := []event{{name: "domain-add", args: []string{"vm=" + name}}}
	if class == "RemoteVM" {
		v.tags[tag] = true
		return changes(func() { w.add(v) }, append(events, tagged(v, tag))...)
	}
	w.atCreation(v)
	extra := w.extraTags(source, v)
	v.addTags(append(extra, tag))
	events = append(events, around(v, tag, extra)...)
	return changes(func() { w.add(v) }, append(events, event{subject: name, name: "domain-create-on-disk"})...)
}

// add makes v one of the world. What was drawn for it is learnt afterwards: see learn.
func (w *world) add(v *vm) {
	v.qid = w.freeQID()
	v.dispid = -1
	w.qubes[v.name] = v
}

// copyTo gives a new disposable what it takes over from its template (spec: model.md 6).
func (w *world) copyTo(v, t *vm) {
	for name, value := range t.props {
		if _, has := propertyOf(v, name); has && name != "template" {
			v.props[name] = value
		}
	}
	v.props["template"] = t.name
	for _, f := range t.features {
		if !strings.HasPrefix(f.name, "preload-dispvm") {
			v.setFeature(f.name, f.value)
		}
	}
	for tag := range maps.Keys(t.tags) {
		if !strings.HasPrefix(tag, "created-by-") && !strings.HasPrefix(tag, "disp-created-by-") {
			v.tags[tag] = true
		}
	}
}

// atCreation is what every new qube of a class with a network gets.
func (w *world) atCreation(v *vm) {
	if w.global("check_updates_vm") == "False" {
		v.setFeature("check-updates", "")
	}
	for _, name := range []string{"guivm", "audiovm"} {
		then, _ := w.mirror(v, name, w.value(v, name))
		then()
	}
}

func (w *world) createDisposable(source, dest *vm, arg, payload string) outcome {
	t := dest
	if dest.name == "dom0" {
		t = w.qubes[w.value(source, "default_dispvm")]
	}
	preload := event{subject: dest.name, name: "domain-preload-dispvm-start", args: []string{"reason=*", "delay=~"}, maybe: true}
	if t == nil || w.value(t, "template_for_dispvms") != "True" {
		if arg == "preload" {
			return fails("QubesException", "QubesValueError").telling(preload)
		}
		return fails("QubesException")
	}
	if arg == "preload" {
		preload.subject = t.name
		return fails("QubesValueError").telling(preload)
	}
	if strings.Contains(source.name, ".") {
		return fails("QubesException")
	}
	v := newVM("", "DispVM", t.label)
	w.copyTo(v, t)
	v.props["auto_cleanup"] = "True"
	w.atCreation(v)
	tag := "created-by-" + source.name
	v.addTags(w.extraTags(source, v))
	v.addTags([]string{tag, "disp-" + tag})
	return outcome{
		answers: []string{ok + map[bool]string{false: "disp", true: "uuid:"}[payload == "uuid"] + volatile},
		then: func(content string) {
			v.name = strings.TrimPrefix(content, "uuid:")
			w.add(v)
		},
		ok: w.disposableEvents(source, v, t),
	}
}

// disposableEvents are told of a new disposable, whose name is nobody's to say.
func (w *world) disposableEvents(source, v, t *vm) []event {
	bare := newVM("*", "DispVM", "")
	w.copyTo(bare, t)
	w.atCreation(bare)
	tag := "created-by-" + source.name
	events := []event{{name: "domain-add", args: []string{"vm=*"}}, {subject: "*", name: "domain-create-on-disk"}}
	events = append(events, around(bare, tag, w.extraTags(source, bare))...)
	return append(events, tagged(bare, "disp-"+tag))
}

func (w *world) remove(v *vm) outcome {
	is := func(what string) event { return event{name: "domain-" + what, args: []string{"vm=" + v.name}} }
	switch {
	case v.name == "dom0", w.value(v, "installed_by_rpm") == "True":
		return fails("QubesVMInUseError")
	case v.class != "RemoteVM" && v.state != "Halted":
		return fails("QubesVMNotHaltedError")
	case w.inUse(v):
		return fails("QubesVMInUseError").telling(is("pre-delete"))
	}
	return changes(func() { delete(w.qubes, v.name) }, is("pre-delete"), is("delete"))
}

func plain(v *vm, name string, args ...string) event {
	return event{subject: v.name, name: "domain-" + name, args: args}
}

// numbers are the events of a domain that came or went.
func numbers(v *vm) (events []event) {
	for _, p := range []string{"xid", "stubdom_xid", "start_time"} {
		events = append(events, told(v.name, "reset", p))
	}
	return events
}

// lifecycle is what the calls on power states do (spec: model.md 4).
func (w *world) lifecycle(verb string, v *vm, arg string) outcome {
	if v.is("AdminVM", "RemoteVM") {
		switch {
		case verb == "Start":
			return fails("QubesVMNotHaltedError")
		case verb == "Console" && v.class == "RemoteVM":
			return fails("QubesVMNotRunningError")
		case verb == "Console":
			return outcome{skip: true}
		}
		return fails("QubesVMError")
	}
	become := func(state string, events ...event) outcome {
		return changes(func() { v.state = state }, events...)
	}
	switch verb {
	case "Console":
		if v.active() {
			return says(volatile)
		}
		return fails("QubesVMNotRunningError")
	case "Start":
		return w.start(v)
	case "Shutdown":
		return w.shutdown(v, slices.Contains(strings.Split(arg, "+"), "force"))
	case "Kill":
		if !v.active() {
			return fails("QubesVMNotStartedError")
		}
		return w.stop(v)
	case "Pause":
		if !v.active() {
			return fails("QubesVMNotRunningError")
		}
		done := plain(v, "paused")
		done.maybe = v.state != "Running"
		return become("Paused", plain(v, "pre-paused"), done)
	case "Unpause":
		if v.state != "Paused" {
			return fails("QubesVMNotPausedError")
		}
		return become("Running", plain(v, "pre-unpaused"), plain(v, "unpaused"))
	case "Suspend":
		if !v.active() {
			return fails("QubesVMNotRunningError")
		}
		return become("Suspended")
	case "Resume":
		switch v.state {
		case "Suspended":
			return become("Running", plain(v, "resumed"))
		case "Paused":
			return become("Running", plain(v, "pre-unpaused"), plain(v, "unpaused"))
		}
		return fails("QubesVMNotPausedError")
	}
	panic("no such call: " + verb)
}

// start starts v and, before it, the netvm that it needs.
func (w *world) start(v *vm) outcome {
	if v.active() {
		return changes(func() {})
	}
	failed := plain(v, "start-failed", "reason=*")
	pre := plain(v, "pre-start", "start_guid=*", "mem_required=*")
	if prohibited, _ := v.feature("prohibit-start"); prohibited != "" {
		return fails("QubesException").telling(failed)
	}
	if v.tags["backup-restore-in-progress"] {
		return fails("QubesVMError").telling(maybe(pre, failed)...)
	}
	if !w.fits(v) {
		return outcome{skip: true}
	}
	events, then := []event{pre, {subject: v.name, name: "domain-verify-files", maybe: true}}, func() {}
	if n := w.netvm(v); n != nil && !n.active() {
		o := w.start(n)
		if len(o.answers) != 1 || o.answers[0] != ok {
			return outcome{skip: true}
		}
		events, then = append(events, o.ok...), func() { o.then("") }
	}
	events = append(events, plain(v, "pre-spawn", "start_guid=*"))
	events = append(append(events, numbers(v)...), plain(v, "spawn", "start_guid=*"))
	events = append(events, maybe(plain(v, "qdb-create"))...)
	events = append(events, plain(v, "pre-unpaused"), plain(v, "unpaused"))
	connect := event{name: "net-domain-connect", args: []string{"vm=" + v.name}, maybe: true}
	if n := w.netvm(v); n != nil {
		connect.subject = n.name
		events = append(events, connect)
	}
	events = append(events, plain(v, "start", "start_guid=*"))
	return changes(func() { then(); v.state = "Running" }, events...)
}

// fits says that there is surely memory for v and whatever it needs, and it is asked for something that makes sense.
func (w *world) fits(v *vm) bool {
	used := 4096
	for _, q := range w.all() {
		if q.networked() && (q.active() || w.upstream(v, q)) {
			m, _ := strconv.Atoi(w.value(q, "memory"))
			used += m
		}
	}
	vcpus, _ := strconv.Atoi(w.value(v, "vcpus"))
	return used < w.hostMiB && vcpus < 1000
}

// stop is the end of v, whatever ended it.
func (w *world) stop(v *vm, before ...event) outcome {
	events := append(before, plain(v, "stopped"))
	events = append(events, numbers(v)...)
	if w.value(v, "auto_cleanup") != "True" {
		return changes(func() { v.state = "Halted" }, append(events, plain(v, "shutdown"))...)
	}
	if w.inUse(v) {
		return outcome{skip: true}
	}
	gone := []event{{name: "domain-pre-delete", args: []string{"vm=" + v.name}}, {name: "domain-delete", args: []string{"vm=" + v.name}}}
	events = append(append(events, maybe(plain(v, "shutdown"))...), gone...)
	return changes(func() { delete(w.qubes, v.name) }, events...)
}

func (w *world) shutdown(v *vm, force bool) outcome {
	if !v.active() {
		return fails("QubesVMNotStartedError")
	}
	if v.state == "Suspended" {
		return outcome{skip: true}
	}
	pre := plain(v, "pre-shutdown", "force="+truth(force))
	var why []string
	for _, veto := range []struct{ property, as string }{{"netvm", "QubesVMInUseError"}, {"guivm", "QubesVMError"}, {"audiovm", "QubesVMInUseError"}} {
		for _, q := range w.all() {
			if q != v && q.networked() && q.active() && w.value(q, veto.property) == v.name && !force {
				why = append(why, veto.as)
			}
		}
	}
	if v.state == "Paused" && !force {
		why = append(why, "QubesVMNotRunningError")
	}
	if len(why) > 0 {
		return fails(why...).telling(pre, plain(v, "shutdown-failed", "reason=*"))
	}
	return w.stop(v, pre)
}
