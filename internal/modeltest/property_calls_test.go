package modeltest

import (
	"slices"
	"strings"
)

// property is what the calls on properties do: of v, or, if it is nil, of the system.
func (w *world) property(verb string, v *vm, name, payload string) outcome {
	if verb == "List" || verb == "GetAll" {
		list := globalProperties
		if v != nil {
			list = propertiesOf(v)
		}
		var words []string
		for _, p := range list {
			if verb == "List" {
				words = append(words, p.name)
			} else {
				text := strings.ReplaceAll(w.get(v, p), `\`, `\\`)
				words = append(words, p.name+" "+strings.ReplaceAll(text, "\n", `\n`))
			}
		}
		return says(lines(words))
	}
	p, has := globalProperty(name)
	if v != nil {
		p, has = propertyOf(v, name)
	}
	if !has {
		if verb == "Set" { // of other qubes it may be known what it takes
			return fails("QubesNoSuchPropertyError", "QubesValueError")
		}
		return fails("QubesNoSuchPropertyError")
	}
	switch verb {
	case "Get":
		return says(w.get(v, p))
	case "GetDefault":
		value, found := w.defaultOf(v, p)
		if !found {
			return says("")
		}
		return says("type=" + p.kind + " " + value)
	case "Set":
		value, wrong := parse(p, payload)
		switch {
		case wrong != "":
			return fails(wrong)
		case p.fixed || p.once:
			return fails("QubesPropertyValueError")
		case v == nil:
			return w.setGlobal(p, value)
		}
		return w.setProperty(v, p, value)
	}
	if v == nil {
		return w.resetGlobal(p)
	}
	return w.resetProperty(v, p)
}

func (w *world) defaultOf(v *vm, p property) (string, bool) {
	if v == nil {
		return w.globalDefault(p.name)
	}
	return w.fallback(v, p.name)
}

// get is the answer to Get.
func (w *world) get(v *vm, p property) string {
	value, set := w.globals[p.name]
	if v != nil {
		value, set = v.explicit(p)
	}
	if !set {
		value, _ = w.defaultOf(v, p)
	}
	return "default=" + truth(!set) + " type=" + p.kind + " " + value
}

func told(subject, what, property string, args ...string) event {
	return event{subject: subject, name: "property-" + what + ":" + property, args: append([]string{"name=" + property}, args...)}
}

// set are the events before and after a property is set, and what comes between them.
func set(subject string, p property, value, old string, between ...event) []event {
	args := []string{"newvalue=" + shown(p.kind, value), "oldvalue=" + shown(p.kind, old)}
	return slices.Concat([]event{told(subject, "pre-set", p.name, args...)}, between, []event{told(subject, "set", p.name, args...)})
}

// reset are the events of a reset, and what comes between them.
func reset(subject string, p property, old string, between ...event) []event {
	arg := "oldvalue=" + old
	return slices.Concat(
		[]event{told(subject, "pre-reset", p.name, arg), told(subject, "pre-del", p.name, arg)}, between,
		[]event{told(subject, "reset", p.name, arg), told(subject, "del", p.name, arg)})
}

// reference says what is wrong with a value that should name a qube (spec: properties.yaml).
func (w *world) reference(p property, value string, holder *vm) string {
	v := w.qubes[value]
	disposables := slices.Contains([]string{"default_dispvm", "management_dispvm"}, p.name) || p.name == "template" && holder.class == "DispVM"
	templates := p.name == "default_template" || p.name == "template" && holder.class == "AppVM"
	switch {
	case value == "" && p.name != "template":
		return ""
	case v == nil, v.class == "RemoteVM", templates && v.class != "TemplateVM", disposables && w.value(v, "template_for_dispvms") != "True":
		return "QubesPropertyValueError"
	case slices.Contains([]string{"guivm", "audiovm", "relayvm"}, p.name) && strings.Contains(value, "."):
		return "QubesPropertyValueError"
	}
	return ""
}

// network says why v cannot use value for its network.
func (w *world) network(v *vm, value string) string {
	n := w.qubes[value]
	switch {
	case n == nil:
		return ""
	case n.class == "AdminVM", w.value(n, "provides_network") != "True", w.upstream(n, v):
		return "QubesValueError"
	case v.active() && !n.active():
		return "QubesVMNotStartedError"
	}
	return ""
}

// dispvmsNeed says that v must stay a template of disposables (spec: model.md 5).
func (w *world) dispvmsNeed(v *vm) bool {
	for _, p := range []string{"default_dispvm", "management_dispvm"} {
		if w.global(p) == v.name {
			return true
		}
		for _, q := range w.qubes {
			if value, set := q.props[p]; set && value == v.name {
				return true
			}
		}
	}
	return slices.ContainsFunc(w.based(v), func(q *vm) bool { return q.class == "DispVM" })
}

func still(v *vm) bool { return v.state == "Halted" || v.state == "Running" }

func (w *world) setProperty(v *vm, p property, value string) outcome {
	old := w.value(v, p.name)
	pre := func(value string) []event { return set(v.name, p, value, old)[:1] }
	if p.kind == "label" {
		l, found := w.findLabel(strings.TrimPrefix(value, "label-"))
		if !found || value == "" {
			return fails("QubesLabelNotFoundError")
		}
		var icon []event
		if !v.is("AdminVM", "RemoteVM") {
			icon = []event{told(v.name, "reset", "icon")}
		}
		return changes(func() { v.label = l.name }, set(v.name, p, l.name, old, icon...)...)
	}
	if p.kind == "vm" {
		if wrong := w.reference(p, value, v); wrong != "" {
			return fails(wrong)
		}
	}
	value, wrong := refuses(p, value)
	if wrong != "" {
		return fails(wrong)
	}
	switch p.name {
	case "netvm":
		if !still(v) {
			return outcome{skip: true}
		}
		if wrong := w.network(v, value); wrong != "" {
			return fails(wrong).telling(maybe(pre(value)...)...)
		}
	case "template":
		if v.state != "Halted" {
			return fails("QubesVMNotHaltedError").telling(maybe(pre(value)...)...)
		}
		if slices.ContainsFunc(w.based(v), (*vm).active) {
			return fails("QubesVMInUseError").telling(maybe(pre(value)...)...)
		}
	case "maxmem":
		if v.active() && value != old {
			return fails("QubesVMNotHaltedError").telling(maybe(pre(value)...)...)
		}
	case "kernel":
		if strings.Contains(value, "/") {
			return fails("QubesPropertyValueError")
		}
		if value != "" && !slices.Contains(w.kernels, value) {
			return fails("QubesPropertyValueError").telling(pre(value)...)
		}
	case "provides_network":
		if value == "False" && len(w.clients(v)) > 0 {
			return fails("QubesValueError").telling(maybe(pre(value)...)...)
		}
	case "template_for_dispvms":
		if value == "False" && w.dispvmsNeed(v) {
			return fails("QubesVMInUseError").telling(maybe(pre(value)...)...)
		}
	}
	then, between := w.effects(v, p, value, old, false)
	return changes(func() { v.props[p.name] = value; then() }, set(v.name, p, value, old, between...)...)
}

// effects are what follows from a new value, which is told before the value itself.
func (w *world) effects(v *vm, p property, value, old string, isReset bool) (then func(), events []event) {
	then = func() {}
	tell := func(subject *vm, property string, args ...string) {
		events = append(events, told(subject.name, "reset", property, args...))
	}
	switch p.name {
	case "guivm", "audiovm", "relayvm":
		return w.mirror(v, p.name, value)
	case "template_for_dispvms":
		tell(v, "icon")
	case "netvm":
		if v.active() && value != "" {
			events = append(events, maybe(event{subject: value, name: "net-domain-connect", args: []string{"vm=" + v.name}})...)
		}
	case "provides_network":
		servicevm, has := v.feature("servicevm")
		name := "domain-feature-%:servicevm"
		is := func(what string, args ...string) event {
			return event{subject: v.name, name: strings.Replace(name, "%", what, 1), args: append([]string{"feature=servicevm"}, args...)}
		}
		if value == "True" {
			args := w.featureArgs(v, "servicevm", "1")
			again := []event{is("pre-set", args...), is("set", args...)}
			if servicevm == "1" {
				again = maybe(again...)
			}
			events, then = append(events, again...), func() { v.setFeature("servicevm", "1") }
		} else {
			events = append(events, event{subject: v.name, name: "domain-feature-pre-delete:servicevm", args: []string{"feature=servicevm"}, maybe: !has})
			if has {
				events = append(events, is("delete"))
			}
			then = func() { v.dropFeature("servicevm") }
		}
		icon := told(v.name, "reset", "icon")
		icon.maybe = (servicevm != "") == (value == "True")
		events = append(events, icon)
		if value != old {
			tell(v, "gateway")
			tell(v, "gateway6")
		}
	case "ip", "ip6":
		six := strings.TrimPrefix(p.name, "ip")
		if value == old {
			break
		}
		if w.value(v, "provides_network") == "True" {
			tell(v, "gateway"+six)
		}
		tell(v, "visible_ip"+six)
		for _, q := range w.clients(v) {
			tell(q, "visible_gateway"+six)
		}
	case "keyboard_layout":
		if value == old {
			break
		}
		for _, q := range w.all() {
			if q.follows(p.name) && q.networked() && w.value(q, "guivm") == v.name {
				tell(q, p.name, "oldvalue="+old)
			}
		}
	case "appvm_default_bootmode":
		for _, q := range w.based(v) {
			if (value != old || isReset) && q.follows("bootmode") {
				tell(q, "bootmode")
			}
		}
	}
	if v.class == "TemplateVM" && slices.Contains(inherited, p.name) && value != old {
		for _, q := range w.based(v) {
			if q.follows(p.name) {
				tell(q, p.name)
			}
		}
	}
	return then, events
}

// mirror keeps the tag that says what a reference says (spec: extensions.md 5): guivm's only where it changes, the others'
// anew each time.
func (w *world) mirror(v *vm, name, value string) (then func(), events []event) {
	tag := name + "-" + value
	tags := v.tagged(name + "-")
	for _, t := range tags {
		if t != tag {
			events = append(events, untag(v, t))
		} else if name == "audiovm" {
			events = append(events, untag(v, t))
		} else if name == "relayvm" {
			events = append(events, maybe(untag(v, t))...)
		}
	}
	if value != "" {
		add := tagged(v, tag)
		if v.tags[tag] && name == "relayvm" {
			add.maybe = true
		}
		if !v.tags[tag] || name != "guivm" {
			events = append(events, add)
		}
	}
	return func() {
		for _, t := range tags {
			delete(v.tags, t)
		}
		if value != "" {
			v.tags[tag] = true
		}
	}, events
}

func (w *world) resetProperty(v *vm, p property) outcome {
	old := w.value(v, p.name)
	value, found := w.fallback(v, p.name)
	events := reset(v.name, p, shown(p.kind, old))
	drop := func() { delete(v.props, p.name) }
	switch {
	case p.fixed:
		return changes(func() {}, events...)
	case p.once:
		return fails("QubesPropertyValueError").telling(maybe(events[:2]...)...)
	case p.name == "template":
		return fails("QubesValueError").telling(maybe(events[:2]...)...)
	case !found:
		return fails("QubesPropertyValueError", "QubesValueError").telling(maybe(events[:2]...)...)
	}
	then, between := w.effects(v, p, value, old, true)
	switch p.name {
	case "provides_network":
		if len(w.clients(v)) > 0 {
			return fails("QubesValueError").telling(maybe(events[:2]...)...)
		}
		between = maybe(between...)
	case "template_for_dispvms":
		if w.dispvmsNeed(v) {
			return fails("QubesVMInUseError").telling(maybe(events[:2]...)...)
		}
		between = maybe(between...)
	case "netvm":
		if !still(v) {
			return outcome{skip: true}
		}
		inner := set(v.name, p, value, old, between...)
		if value == old {
			return changes(drop, events...)
		}
		if wrong := w.network(v, value); wrong != "" {
			return fails(wrong).telling(maybe(events[0], inner[0], events[1])...)
		}
		return changes(drop, slices.Concat(events[:1], inner[:1], events[1:2], inner[1:], events[2:])...)
	case "guivm", "audiovm", "relayvm", "ip", "appvm_default_bootmode":
	default:
		between = maybe(between...)
	}
	return changes(func() { drop(); then() }, reset(v.name, p, shown(p.kind, old), between...)...)
}

func (w *world) setGlobal(p property, value string) outcome {
	old := w.global(p.name)
	if _, found := w.globals[p.name]; !found {
		if _, found := w.globalDefault(p.name); !found {
			old = unknown
		}
	}
	pre := set("", p, value, old)[:1]
	if p.kind == "vm" {
		if wrong := w.reference(p, value, nil); wrong != "" {
			return fails(wrong)
		}
	}
	then := func() {}
	var between []event
	follower := func(name string) (list []*vm) {
		for _, v := range w.all() {
			if v.follows(name) {
				list = append(list, v)
			}
		}
		return list
	}
	switch p.name {
	case "default_kernel":
		if strings.Contains(value, "/") {
			return fails("QubesPropertyValueError").telling(maybe(pre...)...)
		}
		if value != "" && !slices.Contains(w.kernels, value) {
			return fails("QubesPropertyValueError").telling(pre...)
		}
	case "default_pool", "default_pool_kernel", "default_pool_private", "default_pool_root", "default_pool_volatile":
		if !slices.Contains(w.pools, value) {
			return fails("QubesPropertyValueError")
		}
	case "default_netvm":
		return w.setDefaultNetvm(p, value, old)
	case "default_guivm", "default_audiovm":
		if strings.Contains(value, ".") {
			return fails("QubesPropertyValueError").telling(maybe(pre...)...)
		}
		name := strings.TrimPrefix(p.name, "default_")
		var all []func()
		for _, v := range follower(name) {
			then, events := w.mirror(v, name, value)
			all = append(all, then)
			between = slices.Concat(between, events, set(v.name, property{name: name, kind: "vm"}, value, old)[1:])
		}
		then = func() {
			for _, f := range all {
				f()
			}
		}
	case "default_dispvm":
		for _, v := range follower(p.name) {
			e := told(v.name, "reset", p.name, "oldvalue="+shown("vm", old))
			if v.class == "DispVM" { // whose own default it is not
				e.maybe = true
			}
			between = append(between, e)
		}
	case "clockvm":
		const name = "service.clocksync"
		was, is := w.qubes[old], w.qubes[value]
		if was == is {
			return outcome{skip: true}
		}
		if is != nil {
			if _, has := is.feature(name); !has {
				args := []string{"feature=" + name, "value=1"}
				between = append(between, event{subject: value, name: "domain-feature-pre-set:" + name, args: args}, event{subject: value, name: "domain-feature-set:" + name, args: args})
			}
		}
		lost := ""
		if was != nil {
			if lost, _ = was.feature(name); lost != "" {
				args := []string{"feature=" + name}
				between = append(between, event{subject: old, name: "domain-feature-pre-delete:" + name, args: args}, event{subject: old, name: "domain-feature-delete:" + name, args: args})
			}
		}
		then = func() {
			if is != nil {
				if _, has := is.feature(name); !has {
					is.setFeature(name, "1")
				}
			}
			if lost != "" {
				was.dropFeature(name)
			}
		}
	}
	o := changes(func() { w.globals[p.name] = value; then() }, set("", p, value, old, between...)...)
	if p.kind == "int" && (value == "0" || value[0] == '-') { // spec: properties.yaml, SAFER: either way
		o.answers = append(o.answers, "QubesPropertyValueError")
		o = o.telling(maybe(pre...)...)
	}
	return o
}

// unknown is the old value where there was none.
const unknown = "~"

func (w *world) setDefaultNetvm(p property, value, old string) outcome {
	n, netvm := w.qubes[value], property{name: "netvm", kind: "vm"}
	pre := set("", p, value, old)[:1]
	var before, after []event
	for _, v := range w.all() {
		if !v.follows("netvm") || v.class == "TemplateVM" {
			continue
		}
		if !still(v) {
			return outcome{skip: true}
		}
		if n != nil && (n.class == "AdminVM" || w.value(n, "provides_network") != "True") {
			return fails("QubesPropertyValueError", "QubesValueError").telling(maybe(pre...)...)
		}
		for q := n; q != nil; { // what v would be upstream of
			if q == v || q.follows("netvm") && q.class != "TemplateVM" {
				return fails("QubesPropertyValueError").telling(maybe(pre...)...)
			}
			q = w.netvm(q)
		}
		events := set(v.name, netvm, value, old)
		before = append(before, events[0])
		if value != old {
			if v.active() && n != nil {
				after = append(after, maybe(event{subject: value, name: "net-domain-connect", args: []string{"vm=" + v.name}})...)
			}
			after = append(after, events[1])
		}
		after = append(after, told(v.name, "reset", "netvm", "oldvalue="+shown("vm", old)))
	}
	if n != nil && (n.class == "AdminVM" || w.value(n, "provides_network") != "True") {
		return fails("QubesPropertyValueError", "QubesValueError").telling(maybe(pre...)...)
	}
	for _, v := range w.all() {
		if v.follows("netvm") && v.class != "TemplateVM" && v.active() && n != nil && !n.active() {
			return fails("QubesVMNotStartedError").telling(maybe(append(pre, before...)...)...)
		}
	}
	return changes(func() { w.globals[p.name] = value }, set("", p, value, old, append(before, after...)...)...)
}

func (w *world) resetGlobal(p property) outcome {
	old := w.global(p.name)
	_, set := w.globals[p.name]
	_, has := w.globalDefault(p.name)
	text := shown(p.kind, old)
	if !set && !has {
		text = unknown
	}
	if p.fixed {
		return changes(func() {}, reset("", p, text)...)
	}
	if p.name == "default_netvm" || p.name == "clockvm" && old != "" {
		for _, v := range w.all() {
			if !still(v) {
				return outcome{skip: true}
			}
		}
	}
	var between []event
	if p.name == "default_dispvm" {
		for _, v := range w.all() {
			if v.follows(p.name) {
				between = append(between, maybe(told(v.name, "reset", p.name, "oldvalue=*"))...)
			}
		}
	}
	o := changes(func() { delete(w.globals, p.name) }, reset("", p, text, between...)...)
	if !has && p.name != "default_template" {
		o.answers = append(o.answers, "QubesPropertyValueError", "QubesValueError")
		o = o.telling(maybe(o.ok[:2]...)...)
	}
	return o
}
