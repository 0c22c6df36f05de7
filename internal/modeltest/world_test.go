package modeltest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// world is what a daemon should hold, as plainly as it can be said. Everything is looked for from the beginning, each time.
type world struct {
	qubes   map[string]*vm
	labels  []label
	globals map[string]string // explicit values
	kernels []string
	pools   []string
	hostMiB int
}

// vm is a qube. Values are in text, as on the wire; a reference to nothing is empty.
type vm struct {
	name, class, uuid string
	qid, dispid       int
	label             string
	props             map[string]string // explicit values, of all but name, uuid, qid, dispid and label
	tags              map[string]bool
	features          []feature // in the order in which they were first set
	notes             string
	state             string
}

type feature struct{ name, value string }

type label struct {
	name  string
	index int
	color string
}

// zeroUUID is dom0's.
const zeroUUID = "00000000-0000-0000-0000-000000000000"

// builtIn are the labels that are always there (spec: model.md 9).
var builtIn = []label{
	{"red", 1, "0xcc0000"}, {"orange", 2, "0xf57900"}, {"yellow", 3, "0xedd400"}, {"green", 4, "0x73d216"},
	{"gray", 5, "0x555555"}, {"blue", 6, "0x3465a4"}, {"purple", 7, "0x75507b"}, {"black", 8, "0x000000"},
}

func newVM(name, class, label string) *vm {
	return &vm{name: name, class: class, label: label, props: map[string]string{}, tags: map[string]bool{}, state: "Halted"}
}

// all is every qube in the order of listings: dom0 first, then by the bytes of names (spec: model.md 1).
func (w *world) all() []*vm {
	list := []*vm{w.qubes["dom0"]}
	for _, name := range slices.Sorted(maps.Keys(w.qubes)) {
		if name != "dom0" {
			list = append(list, w.qubes[name])
		}
	}
	return list
}

func (w *world) names() (names []string) {
	for _, v := range w.all() {
		names = append(names, v.name)
	}
	return names
}

func (v *vm) active() bool { return v.state != "Halted" }

func (v *vm) is(classes ...string) bool { return slices.Contains(classes, v.class) }

// networked says that the class has a network (spec: model.md 1).
func (v *vm) networked() bool { return !v.is("AdminVM", "RemoteVM") }

func (v *vm) feature(name string) (string, bool) {
	for _, f := range v.features {
		if f.name == name {
			return f.value, true
		}
	}
	return "", false
}

func (v *vm) setFeature(name, value string) {
	for i := range v.features {
		if v.features[i].name == name {
			v.features[i].value = value
			return
		}
	}
	v.features = append(v.features, feature{name, value})
}

func (v *vm) dropFeature(name string) {
	v.features = slices.DeleteFunc(v.features, func(f feature) bool { return f.name == name })
}

func (v *vm) sortedTags() []string { return slices.Sorted(maps.Keys(v.tags)) }

// tagged are v's tags of that prefix.
func (v *vm) tagged(prefix string) (tags []string) {
	for _, tag := range v.sortedTags() {
		if strings.HasPrefix(tag, prefix) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// findLabel looks for a name, then for an index (spec: model.md 9).
func (w *world) findLabel(text string) (label, bool) {
	for _, l := range w.labels {
		if l.name == text {
			return l, true
		}
	}
	if n, err := strconv.Atoi(text); err == nil {
		for _, l := range w.labels {
			if l.index == n {
				return l, true
			}
		}
	}
	return label{}, false
}

// freeQID is the lowest that nobody has (spec: model.md 3).
func (w *world) freeQID() int {
	for qid := 1; ; qid++ {
		taken := false
		for _, v := range w.qubes {
			taken = taken || v.qid == qid
		}
		if !taken {
			return qid
		}
	}
}

// template is what v is based on, if anything.
func (w *world) template(v *vm) *vm { return w.qubes[v.props["template"]] }

// based are the qubes whose template is v.
func (w *world) based(v *vm) (list []*vm) {
	for _, q := range w.all() {
		if q.props["template"] == v.name {
			list = append(list, q)
		}
	}
	return list
}

// chain is v, its template, the template's template...
func (w *world) chain(v *vm) (list []*vm) {
	for ; v != nil; v = w.template(v) {
		list = append(list, v)
	}
	return list
}

func (w *world) featureOfChain(v *vm, name string) (string, bool) {
	for _, q := range w.chain(v) {
		if value, found := q.feature(name); found {
			return value, true
		}
	}
	return "", false
}

// netvm is what v uses for its network, in effect.
func (w *world) netvm(v *vm) *vm {
	if !v.networked() {
		return nil
	}
	return w.qubes[w.value(v, "netvm")]
}

// clients are the qubes that use v for their network, in effect.
func (w *world) clients(v *vm) (list []*vm) {
	for _, q := range w.all() {
		if w.netvm(q) == v {
			list = append(list, q)
		}
	}
	return list
}

// upstream reports whether somebody who goes from v along netvms, in effect, comes to target. v itself counts.
func (w *world) upstream(v, target *vm) bool {
	for seen := 0; v != nil && seen <= len(w.qubes); seen++ {
		if v == target {
			return true
		}
		v = w.netvm(v)
	}
	return false
}

// global is a value of the system, in effect.
func (w *world) global(name string) string {
	if value, set := w.globals[name]; set {
		return value
	}
	text, _ := w.globalDefault(name)
	return text
}

// inUse says that v may not be removed for it is referred to (spec: model.md 8).
func (w *world) inUse(v *vm) bool {
	for _, p := range globalProperties {
		if p.kind == "vm" && w.global(p.name) == v.name {
			return true
		}
	}
	for _, q := range w.qubes {
		if q == v {
			continue
		}
		for _, p := range vmProperties {
			if p.kind != "vm" {
				continue
			}
			if value, set := q.props[p.name]; set && value == v.name {
				return true
			}
		}
	}
	return false
}

// event is one that subscribers should be told, or may be.
type event struct {
	subject, name string
	args          []string // key=value; see matches for what a value may be
	maybe         bool     // the specification leaves open whether it comes
}

func (e event) String() string {
	mark := ""
	if e.maybe {
		mark = " (maybe)"
	}
	return fmt.Sprintf("%s:%s {%s}%s", e.subject, e.name, strings.Join(e.args, ", "), mark)
}

func maybe(events ...event) []event {
	events = slices.Clone(events)
	for i := range events {
		events[i].maybe = true
	}
	return events
}

// matches compares with what came. A subject * is any. An expected value of * is any, of ? is None or nothing, and of ~ is that, any or no
// such key at all.
func (e event) matches(got event) bool {
	if e.subject != "*" && e.subject != got.subject || e.name != got.name {
		return false
	}
	at := 0
	for _, arg := range e.args {
		key, value, _ := strings.Cut(arg, "=")
		present := at < len(got.args) && strings.HasPrefix(got.args[at], key+"=")
		if !present {
			if value != "~" {
				return false
			}
			continue
		}
		_, came, _ := strings.Cut(got.args[at], "=")
		at++
		switch value {
		case "*", "~":
		case "?":
			if came != "" && came != "None" {
				return false
			}
		default:
			if came != value {
				return false
			}
		}
	}
	return at == len(got.args)
}

// agree reports whether the events that came are as expected.
func agree(want, got []event) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if len(got) > 0 && want[0].matches(got[0]) && agree(want[1:], got[1:]) {
		return true
	}
	return want[0].maybe && agree(want[1:], got)
}

// lines is each of them on a line.
func lines(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, "\n") + "\n"
}
