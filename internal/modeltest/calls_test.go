package modeltest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// call is one request.
type call struct{ source, method, arg, dest, payload string }

func (c call) String() string {
	return fmt.Sprintf("%s: %s+%s %s %q", c.source, c.method, c.arg, c.dest, c.payload)
}

// outcome is what a call should bring about.
type outcome struct {
	answers  []string // any of these: OK and the content, or an exception's type
	ok, fail []event  // what subscribers are told then
	then     func(content string)
	skip     bool // the specification says too little
}

// ok is how an answer that is none of the exceptions begins.
const ok = "OK "

func says(content string) outcome { return outcome{answers: []string{ok + content}} }

func fails(types ...string) outcome { return outcome{answers: types} }

// telling adds events that come although the call fails.
func (o outcome) telling(events ...event) outcome {
	o.fail = append(o.fail, events...)
	return o
}

func changes(then func(), events ...event) outcome {
	return outcome{answers: []string{ok}, ok: events, then: func(string) { then() }}
}

// allows reports whether the answer is one of those.
func (o outcome) allows(answer string) bool {
	return slices.ContainsFunc(o.answers, func(want string) bool {
		if !strings.Contains(want, volatile) {
			return want == answer
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), regexp.QuoteMeta(volatile), `[^ \n]*`)
		return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(answer)
	})
}

// find is the qube of a destination.
func (w *world) find(dest string) *vm {
	uuid, byUUID := strings.CutPrefix(dest, "uuid:")
	if !byUUID {
		return w.qubes[dest]
	}
	for _, v := range w.qubes {
		if v.uuid == uuid {
			return v
		}
	}
	return nil
}

// expect says what c should bring about, in the order of the doors: what can be told of the words alone, whether source
// and destination exist, what the method does.
func (w *world) expect(c call) outcome {
	early := w.early(c)
	source, dest := w.qubes[c.source], w.find(c.dest)
	system := strings.HasPrefix(c.method, "admin.property.") || strings.HasPrefix(c.method, "admin.label.") ||
		strings.HasPrefix(c.method, "admin.vm.Create.") || strings.HasPrefix(c.method, "admin.vm.CreateInPool.")
	if system && dest != w.qubes["dom0"] || strings.HasPrefix(c.method, "admin.vm.notes.") && dest == w.qubes["dom0"] {
		early = append(early, "ProtocolError")
	}
	if source == nil {
		return fails(append(append(early, w.catalogued(c)...), "QubesVMNotFoundError")...)
	}
	if dest == nil && c.source == "dom0" {
		return fails(append(append(early, w.catalogued(c)...), "QubesVMNotFoundError")...)
	}
	if dest == nil {
		return fails(append(append(early, w.catalogued(c)...), "PermissionDenied")...)
	}
	if len(early) > 0 {
		return fails(early...)
	}
	switch verb, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(c.method, "admin."), "vm."), "."); verb {
	case "List":
		return w.list(dest)
	case "CurrentState":
		return w.currentState(dest)
	case "property":
		holder := dest
		if strings.HasPrefix(c.method, "admin.property.") {
			holder = nil
		}
		return w.property(rest, holder, c.arg, c.payload)
	case "feature":
		return w.feature(rest, dest, c.arg, c.payload)
	case "tag":
		return w.tag(rest, source, dest, c.arg)
	case "label":
		return w.label(rest, c.arg, c.payload)
	case "notes":
		return w.notes(rest, dest, c.payload)
	case "Create", "CreateInPool":
		o := w.create(source, rest, c.arg, c.payload)
		if strings.Contains(source.name, ".") && o.then == nil { // of which no tag can tell; when that is said, is left open
			o.answers = append(o.answers, "QubesException")
		}
		return o
	case "CreateDisposable":
		return w.createDisposable(source, dest, c.arg, c.payload)
	case "Remove":
		return w.remove(dest)
	default:
		return w.lifecycle(verb, dest, c.arg)
	}
}

var (
	tagText     = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	featureText = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	valueText   = regexp.MustCompile(`^[ -~]*$`)
	labelText   = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	digits      = regexp.MustCompile(`^[0-9]+$`)
	colorText   = regexp.MustCompile(`^0x[0-9A-Fa-f]{6}$`)
)

// early is what can be said against c without knowing what exists: any of these.
func (w *world) early(c call) (types []string) {
	against := func(ok bool, as string) {
		if !ok {
			types = append(types, as)
		}
	}
	for i := range len(c.arg) {
		if c.arg[i] >= 0x80 {
			return []string{"ProtocolError"}
		}
	}
	method := strings.TrimPrefix(strings.TrimPrefix(c.method, "admin."), "vm.")
	_, needsArg := map[string]bool{
		"property.Get": true, "property.GetDefault": true, "property.Set": true, "property.Reset": true, "tag.Get": true,
		"tag.Set": true, "tag.Remove": true, "feature.Get": true, "feature.Set": true, "feature.Remove": true,
		"feature.CheckWithTemplate": true, "feature.CheckWithNetvm": true, "feature.CheckWithAdminVM": true,
		"feature.CheckWithTemplateAndAdminVM": true, "label.Get": true, "label.Index": true, "label.Create": true, "label.Remove": true,
	}[method]
	takesArg := needsArg || slices.Contains([]string{"Shutdown", "CreateDisposable"}, method) || strings.HasPrefix(method, "Create.") || strings.HasPrefix(method, "CreateInPool.")
	takesPayload := slices.Contains([]string{"property.Set", "feature.Set", "label.Create", "notes.Set", "CreateDisposable"}, method) ||
		strings.HasPrefix(method, "Create.") || strings.HasPrefix(method, "CreateInPool.")
	against(c.arg != "" || !needsArg, "ProtocolError")
	against(c.arg == "" || takesArg, "ProtocolError")
	against(c.payload == "" || takesPayload, "ProtocolError")
	if c.arg == "" && needsArg {
		return types
	}
	switch {
	case strings.HasPrefix(method, "tag.") && needsArg:
		against(tagText.MatchString(c.arg), "QubesInvalidTagError")
	case method == "feature.Set":
		against(featureText.MatchString(c.arg), "ProtocolError")
		against(valueText.MatchString(c.payload), "ProtocolError")
	case method == "label.Create":
		against(!digits.MatchString(c.arg) && labelText.MatchString(c.arg), "QubesInvalidLabelError")
		against(c.payload != "", "ProtocolError")
		against(c.payload == "" || colorText.MatchString(strings.TrimSpace(c.payload)), "QubesInvalidLabelValueError")
	case strings.HasPrefix(method, "label.") && needsArg:
		against(labelText.MatchString(c.arg), "QubesInvalidLabelError")
	case method == "Shutdown" && c.arg != "":
		for _, word := range strings.Split(c.arg, "+") {
			against(word == "force" || word == "wait", "ProtocolError")
		}
	case method == "CreateDisposable":
		against(c.arg == "" || c.arg == "preload", "PermissionDenied")
		against(c.payload == "" || c.payload == "uuid", "ProtocolError")
	case method == "notes.Set":
		against(utf8.ValidString(c.payload), "ProtocolError")
	case strings.HasPrefix(method, "Create"):
		verb, class, _ := strings.Cut(method, ".")
		_, wrong := items(class, c.arg, c.payload, verb == "CreateInPool")
		types = append(types, wrong...)
	}
	return types
}

// catalogued is what can be said against a feature's name, and a property's or its value, without knowing whose it is.
func (w *world) catalogued(c call) []string {
	if strings.HasPrefix(c.method, "admin.vm.feature.") && !featureText.MatchString(c.arg) {
		return []string{"QubesFeatureNotFoundError"}
	}
	verb, is := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(c.method, "admin."), "vm."), "property.")
	if !is || c.arg == "" {
		return nil
	}
	list := vmProperties
	if strings.HasPrefix(c.method, "admin.property.") {
		list = globalProperties
	}
	i := slices.IndexFunc(list, func(p property) bool { return p.name == c.arg })
	if i < 0 {
		return []string{"QubesNoSuchPropertyError"}
	}
	if _, wrong := parse(list[i], c.payload); verb == "Set" && wrong != "" {
		return []string{wrong}
	}
	return nil
}

func (w *world) list(dest *vm) outcome {
	list := []*vm{dest}
	if dest.name == "dom0" {
		list = w.all()
	}
	var words []string
	for _, v := range list {
		words = append(words, fmt.Sprintf("%s class=%s state=%s uuid=%s", v.name, v.class, v.state, v.uuid))
	}
	return says(lines(words))
}

func (w *world) currentState(v *vm) outcome {
	mem, limit, cpu := "0", "0", "0"
	if v.active() && v.class != "RemoteVM" {
		n, _ := strconv.Atoi(w.value(v, "maxmem"))
		mem, limit, cpu = volatile, strconv.Itoa(n*1024), volatile
		if v.class == "AdminVM" {
			limit = volatile
		}
	}
	return says(fmt.Sprintf("mem=%s mem_static_max=%s cputime=%s power_state=%s", mem, limit, cpu, v.state))
}

// protected are features that nobody sets or removes by the API (spec: extensions.md 2).
var protected = []string{"deferred-netvm-original", "preload-dispvm", "preload-dispvm-completed", "preload-dispvm-in-progress"}

func (w *world) feature(verb string, v *vm, name, value string) outcome {
	look := func(places ...*vm) outcome {
		for _, q := range places {
			if value, found := q.feature(name); found {
				return says(value)
			}
		}
		return fails("QubesFeatureNotFoundError")
	}
	is := func(what string, args ...string) event {
		return event{subject: v.name, name: "domain-feature-" + what + ":" + name, args: append([]string{"feature=" + name}, args...)}
	}
	dom0 := w.qubes["dom0"]
	switch verb {
	case "List":
		var words []string
		for _, f := range v.features {
			words = append(words, f.name)
		}
		return says(lines(words))
	case "Get":
		return look(v)
	case "CheckWithTemplate":
		return look(w.chain(v)...)
	case "CheckWithAdminVM":
		return look(v, dom0)
	case "CheckWithTemplateAndAdminVM":
		return look(append(w.chain(v), dom0)...)
	case "CheckWithNetvm":
		var places []*vm
		for q := v; q != nil; q = w.netvm(q) {
			places = append(places, q)
		}
		return look(places...)
	}
	if slices.Contains(protected, name) {
		return fails("PermissionDenied")
	}
	if verb == "Remove" {
		if _, found := v.feature(name); !found {
			pre := is("pre-delete")
			pre.maybe = !featureText.MatchString(name) // then nobody can have it
			return fails("QubesFeatureNotFoundError").telling(pre)
		}
		return changes(func() { v.dropFeature(name) }, is("pre-delete"), is("delete"))
	}
	args := w.featureArgs(v, name, value)
	pre := is("pre-set", args...)
	if v.class != "RemoteVM" && !validFeature(name, value) {
		return fails("QubesValueError").telling(maybe(pre)...)
	}
	return changes(func() { v.setFeature(name, value) }, pre, is("set", args...))
}

func (w *world) featureArgs(v *vm, name, value string) []string {
	args := []string{"value=" + value}
	if old, found := v.feature(name); found {
		args = append(args, "oldvalue="+old)
	}
	return args
}

// validFeature is what the extensions allow (spec: model.md 10).
func validFeature(name, value string) bool {
	if rest, is := strings.CutPrefix(name, "service."); is {
		return rest != "" && rest != "." && rest != ".." && (len(rest) <= 48 || strings.HasPrefix(rest, "app-dispvm."))
	}
	if rest, is := strings.CutPrefix(name, "vm-config."); is {
		return len(rest) >= 1 && len(rest) <= 52 && regexp.MustCompile(`^[A-Za-z]`).MatchString(rest)
	}
	if rest, is := strings.CutPrefix(name, "custom-persist."); is {
		return len(rest) >= 1 && len(rest) <= 54 &&
			regexp.MustCompile(`^(/.*|(file|dir):[^:]+:[^:]+:[0-7]{1,4}:/.*)$`).MatchString(value)
	}
	if slices.Contains([]string{"net.fake-ip", "net.fake-gateway", "net.fake-netmask"}, name) {
		_, wrong := parse(property{name: "ip", kind: "str"}, value)
		return value == "" || wrong == ""
	}
	return true
}

func (w *world) tag(verb string, source, v *vm, tag string) outcome {
	switch verb {
	case "List":
		return says(lines(v.sortedTags()))
	case "Get":
		if v.tags[tag] {
			return says("1")
		}
		return says("0")
	}
	ours := strings.HasPrefix(tag, "created-by-") || strings.HasPrefix(tag, "disp-created-by-")
	if ours && source.name != "dom0" {
		return fails("PermissionDenied")
	}
	if verb == "Remove" {
		if !v.tags[tag] {
			return fails("QubesTagNotFoundError")
		}
		return changes(func() { delete(v.tags, tag) }, untag(v, tag))
	}
	if v.tags[tag] {
		return changes(func() {})
	}
	creator, by := strings.CutPrefix(tag, "created-by-")
	if !by || v.class == "RemoteVM" && w.qubes[creator] != nil {
		return changes(func() { v.tags[tag] = true }, tagged(v, tag))
	}
	if w.qubes[creator] == nil {
		o := fails("QubesVMNotFoundError")
		if v.class == "RemoteVM" { // for which there is no handler; refusing it all the same does no harm
			o = changes(func() { v.tags[tag] = true }, tagged(v, tag))
			o.answers = append(o.answers, "QubesVMNotFoundError")
		}
		return o
	}
	extra := w.extraTags(w.qubes[creator], v)
	return changes(func() { v.addTags(append(extra, tag)) }, around(v, tag, extra)...)
}

func tagged(v *vm, tag string) event {
	return event{subject: v.name, name: "domain-tag-add:" + tag, args: []string{"tag=" + tag}}
}

func untag(v *vm, tag string) event {
	return event{subject: v.name, name: "domain-tag-delete:" + tag, args: []string{"tag=" + tag}}
}

// around is the event of a created-by tag with those that follow from it: the specification gives two orders.
func around(v *vm, tag string, extra []string) (events []event) {
	for _, x := range extra {
		events = append(events, event{subject: v.name, name: "domain-tag-add:" + x, args: []string{"tag=" + x}, maybe: true})
	}
	return slices.Concat(events, []event{tagged(v, tag)}, events)
}

func (v *vm) addTags(tags []string) {
	for _, tag := range tags {
		v.tags[tag] = true
	}
}

// extraTags are those that a creator wants on what it creates and that v has not yet (spec: extensions.md 4).
func (w *world) extraTags(creator, v *vm) (tags []string) {
	if v.class == "RemoteVM" {
		return nil
	}
	wants, _ := creator.feature("tag-created-vm-with")
	for _, tag := range strings.Fields(wants) {
		if !v.tags[tag] && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func (w *world) label(verb, name, color string) outcome {
	if verb == "List" {
		var words []string
		for _, l := range w.labels {
			words = append(words, l.name)
		}
		return says(lines(words))
	}
	l, found := w.findLabel(name)
	if verb == "Create" {
		if found {
			return fails("QubesLabelInUseError")
		}
		index := max(8, w.labels[len(w.labels)-1].index) + 1
		return changes(func() { w.labels = append(w.labels, label{name, index, strings.TrimSpace(color)}) })
	}
	if !found {
		return fails("QubesLabelNotFoundError")
	}
	switch verb {
	case "Get":
		return says(l.color)
	case "Index":
		return says(strconv.Itoa(l.index))
	}
	if l.index <= 8 {
		return fails("ProtocolError")
	}
	for _, v := range w.qubes {
		if v.label == l.name {
			return fails("QubesLabelInUseError")
		}
	}
	return changes(func() { w.labels = slices.DeleteFunc(w.labels, func(o label) bool { return o == l }) })
}

func (w *world) notes(verb string, v *vm, text string) outcome {
	if v.class == "RemoteVM" {
		if verb == "Get" {
			return outcome{answers: []string{ok, "QubesNotImplementedError"}}
		}
		return fails("QubesNotImplementedError")
	}
	if verb == "Get" {
		return says(v.notes)
	}
	clean := strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' || r == 0x200b {
			return '_'
		}
		return r
	}, text)
	return changes(func() { v.notes = clean })
}
