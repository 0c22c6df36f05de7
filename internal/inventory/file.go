package inventory

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/internal/yamlfile"
	"sallyport/messages/qube"
)

// An inventory file is what a person writes to fill an empty store (design: 8). What it says is checked as a whole, and
// every error names the file, the line, the key, and what was expected there.

//go:embed demo.yaml
var demo []byte

// Schema says which properties a file may set, and to what. It is called by one goroutine.
type Schema interface {
	// Parse reads the text of a property of that class's qubes, or of the system for the empty class, and gives it as it is
	// kept. known is false if there is no such property that can be set. wants says what a value has to be, for people, and
	// is empty if text is one.
	Parse(c qube.Class, name, text string) (value qube.PropertyValue, wants string, known bool)
	// Check says what a value has to be in the inventory that v shows, and nothing if it is that. q is qube.Nobody for a
	// property of the system.
	Check(v qube.View, q qube.Qube, name qube.PropertyName, value qube.PropertyValue) (wants string)
}

// Demo is the built-in inventory: a small Qubes system.
func Demo(schema Schema) (*Snapshot, error) {
	root, err := yamlfile.Read("demo.yaml", demo)
	return fromFile(root, err, schema)
}

// FromFile reads the inventory file at path.
func FromFile(path string, schema Schema) (*Snapshot, error) {
	root, err := yamlfile.ReadFile(path)
	return fromFile(root, err, schema)
}

func fromFile(root *yamlfile.Node, err error, schema Schema) (*Snapshot, error) {
	if err != nil {
		return nil, err
	}
	f, err := readFile(root)
	if err != nil {
		return nil, err
	}
	f.schema = schema
	return f.build()
}

// The shape of a file.
type (
	file struct {
		schema    Schema
		version   int
		globals   []yamlfile.Pair[string, string]
		labels    []labelEntry
		pools     []qube.Pool
		kernels   []string
		simulated simulated
		qubes     []qubeEntry
	}
	simulated struct {
		memory     int
		cpus       int
		startOrder []yamlfile.At[qube.Name]
		startDelay time.Duration
		guestDelay time.Duration
	}
	labelEntry struct {
		name  yamlfile.At[qube.LabelName]
		color qube.Color
	}
	qubeEntry struct {
		node       *yamlfile.Node
		name       yamlfile.At[qube.Name]
		class      qube.Class
		uuid       yamlfile.At[qube.UUID]
		qid        yamlfile.At[int]
		label      yamlfile.At[qube.LabelName]
		properties []yamlfile.Pair[string, string]
		features   []yamlfile.Pair[qube.FeatureName, qube.FeatureValue]
		tags       []qube.Tag
		notes      qube.Notes
		state      qube.PowerState
	}
)

// The properties that a file's tags and templates come from.
var (
	propGuivm   = must(qube.ParsePropertyName("guivm"))
	propAudiovm = must(qube.ParsePropertyName("audiovm"))

	propForDispvms = must(qube.ParsePropertyName("template_for_dispvms"))
	isTrue         = must(qube.ParsePropertyValue("True"))

	globalTemplate = must(qube.ParsePropertyName("default_template"))
	globalDispvm   = must(qube.ParsePropertyName("default_dispvm"))
	globalGuivm    = must(qube.ParsePropertyName("default_guivm"))
	globalAudiovm  = must(qube.ParsePropertyName("default_audiovm"))
)

// The readers of nouns.
var (
	aName      = yamlfile.Parsed(yamlfile.String, "a qube's name", qube.ParseName)
	aUUID      = yamlfile.Parsed(yamlfile.Text, "a UUID in lower case", qube.ParseUUID)
	aLabel     = yamlfile.Parsed(yamlfile.String, "a label's name", qube.ParseLabelName)
	aColor     = yamlfile.Parsed(yamlfile.Text, `a colour such as "0x008080"`, qube.ParseColor)
	aTag       = yamlfile.Parsed(yamlfile.Text, "a tag", qube.ParseTag)
	aFeature   = yamlfile.Parsed(yamlfile.String, "a feature's name", qube.ParseFeatureName)
	aValue     = yamlfile.Parsed(yamlfile.String, "a feature's value, printable ASCII", qube.ParseFeatureValue)
	someNotes  = yamlfile.Parsed(yamlfile.String, "text without control characters", qube.ParseNotes)
	creatable  = []qube.Class{qube.AppVM, qube.TemplateVM, qube.StandaloneVM, qube.DispVM, qube.RemoteVM}
	anyOptions = yamlfile.Pairs(yamlfile.String, yamlfile.Text)
)

func readFile(root *yamlfile.Node) (file, error) {
	f := file{simulated: simulated{memory: 32404, cpus: 4}}
	err := root.Fields(
		yamlfile.Required("version", &f.version, yamlfile.Between(1, 1)),
		yamlfile.Optional("global", &f.globals, yamlfile.Pairs(yamlfile.String, yamlfile.Text)),
		yamlfile.Optional("labels", &f.labels, yamlfile.List(yamlfile.Struct(func(l *labelEntry) []yamlfile.Field {
			return []yamlfile.Field{
				yamlfile.Required("name", &l.name, yamlfile.Placed(aLabel)),
				yamlfile.Required("color", &l.color, aColor),
			}
		}))),
		yamlfile.Optional("pools", &f.pools, yamlfile.List(readPool)),
		yamlfile.Optional("kernels", &f.kernels, yamlfile.List(yamlfile.Text)),
		yamlfile.Group("simulated",
			yamlfile.Optional("host_memory_mib", &f.simulated.memory, yamlfile.Between(1, 1<<30)),
			yamlfile.Optional("host_cpus", &f.simulated.cpus, yamlfile.Between(1, 1<<16)),
			yamlfile.Optional("start_order", &f.simulated.startOrder, yamlfile.List(yamlfile.Placed(aName))),
			yamlfile.Optional("start_delay", &f.simulated.startDelay, yamlfile.Duration),
			yamlfile.Optional("guest_shutdown_delay", &f.simulated.guestDelay, yamlfile.Duration),
		),
		yamlfile.Optional("qubes", &f.qubes, yamlfile.List(readQube)),
	)
	return f, err
}

func readPool(n *yamlfile.Node) (qube.Pool, error) {
	var p qube.Pool
	var options []yamlfile.Pair[string, string]
	err := n.Fields(
		yamlfile.Required("name", &p.Name, yamlfile.String),
		yamlfile.Required("driver", &p.Driver, yamlfile.String),
		yamlfile.Optional("options", &options, anyOptions),
	)
	for _, o := range options {
		if p.Options == nil {
			p.Options = map[string]string{}
		}
		p.Options[o.Key] = o.Value
	}
	return p, err
}

func readQube(n *yamlfile.Node) (qubeEntry, error) {
	q := qubeEntry{node: n, state: qube.Halted}
	q.label.Value = must(qube.ParseLabelName("red"))
	if err := n.Fields(
		yamlfile.Required("name", &q.name, yamlfile.Placed(aName)),
		yamlfile.Optional("class", &q.class, yamlfile.OneOf(creatable...)),
		yamlfile.Optional("uuid", &q.uuid, yamlfile.Placed(aUUID)),
		yamlfile.Optional("qid", &q.qid, yamlfile.Placed(yamlfile.Between(1, 9999))),
		yamlfile.Optional("label", &q.label, yamlfile.Placed(aLabel)),
		yamlfile.Optional("properties", &q.properties, yamlfile.Pairs(yamlfile.String, yamlfile.Text)),
		yamlfile.Optional("features", &q.features, yamlfile.Pairs(aFeature, aValue)),
		yamlfile.Optional("tags", &q.tags, yamlfile.List(aTag)),
		yamlfile.Optional("notes", &q.notes, someNotes),
		yamlfile.Optional("state", &q.state, yamlfile.OneOf(qube.PowerStates...)),
	); err != nil {
		return q, err
	}
	if q.name.Value == qube.Dom0 {
		if q.class != "" || q.uuid.Node != nil || q.qid.Node != nil || q.properties != nil || q.notes != (qube.Notes{}) || q.state != qube.Halted {
			return q, n.Expected("only label, features and tags of dom0")
		}
	} else if q.class == "" {
		return q, n.Expected("the key class")
	}
	return q, nil
}

// build makes the snapshot that the file describes.
func (f file) build() (*Snapshot, error) {
	b := newBuilder()
	b.snapshot.host = Host{
		MemoryMiB: uint64(f.simulated.memory), CPUs: f.simulated.cpus, Kernels: f.kernels, Pools: f.pools,
		StartDelay: f.simulated.startDelay.String(), GuestDelay: f.simulated.guestDelay.String(),
	}
	for _, l := range f.labels {
		if _, taken := b.snapshot.Label(l.name.Value); taken {
			return nil, l.name.Node.Expected("a label that does not exist yet")
		}
		b.snapshot.labels = append(slices.Clip(b.snapshot.labels), qube.Label{Name: l.name.Value, Index: len(b.snapshot.labels) + 1, Color: l.color})
	}
	names, err := f.declare(b)
	if err != nil {
		return nil, err
	}
	for _, g := range f.globals {
		v, wants, known := f.schema.Parse("", g.Key, g.Value)
		if !known {
			return nil, g.Node.Expected("a property of the system that can be set")
		}
		if wants != "" {
			return nil, g.Node.Expected("%s", wants)
		}
		b.snapshot.globals[must(qube.ParsePropertyName(g.Key))] = v
	}
	for _, q := range f.qubes {
		if err := f.setProperties(q, names[q.name.Value]); err != nil {
			return nil, err
		}
	}
	for _, q := range f.qubes {
		if err := f.fill(b, q, names); err != nil {
			return nil, err
		}
	}
	for _, n := range f.simulated.startOrder {
		if names[n.Value] == nil {
			return nil, n.Node.Expected("a qube of this file")
		}
		b.snapshot.host.StartOrder = append(b.snapshot.host.StartOrder, n.Value.Shown())
	}
	s, err := b.build(0)
	if err != nil {
		return nil, err
	}
	if err := f.checkProperties(s); err != nil {
		return nil, err
	}
	return s, f.checkNetworks(s)
}

// declare gives every qube its name, identity, class, label and state.
func (f file) declare(b *builder) (map[qube.Name]*record, error) {
	names := map[qube.Name]*record{qube.Dom0: b.qubes[qube.Dom0UUID]}
	declared, qids := map[qube.Name]bool{}, map[int]bool{}
	for _, q := range f.qubes {
		if q.qid.Node != nil && qids[q.qid.Value] {
			return nil, q.qid.Node.Expected("a qid that no other qube has")
		}
		qids[q.qid.Value] = true
	}
	free := 1
	for _, q := range f.qubes {
		if declared[q.name.Value] {
			return nil, q.name.Node.Expected("a name that no other qube has")
		}
		declared[q.name.Value] = true
		if _, ok := b.snapshot.Label(q.label.Value); !ok {
			return nil, q.label.Node.Expected("a label that is built in or of this file")
		}
		if q.name.Value == qube.Dom0 {
			if q.label.Node != nil {
				names[qube.Dom0].label = q.label.Value
			}
			continue
		}
		id := q.uuid.Value
		if q.uuid.Node == nil {
			id = NewUUID()
		} else if b.qubes[id] != nil {
			return nil, q.uuid.Node.Expected("a UUID that no other qube has")
		}
		qid := q.qid.Value
		for ; q.qid.Node == nil && qid == 0; free++ {
			if !qids[free] {
				qid = free
			}
		}
		r := b.qube(id)
		r.name, r.class, r.label, r.qid, r.runtime.State = q.name.Value, q.class, q.label.Value, qid, q.state
		names[r.name] = r
	}
	return names, nil
}

// setProperties gives a qube what the file sets.
func (f file) setProperties(q qubeEntry, r *record) error {
	for _, p := range q.properties {
		v, wants, known := f.schema.Parse(r.class, p.Key, p.Value)
		if !known {
			return p.Node.Expected("a property of a %s that can be set", r.class)
		}
		if wants != "" {
			return p.Node.Expected("%s", wants)
		}
		r.properties = withProperty(r.properties, must(qube.ParsePropertyName(p.Key)), v)
	}
	return nil
}

// checkProperties has every value fit in with all others.
func (f file) checkProperties(s *Snapshot) error {
	for _, g := range f.globals {
		name := must(qube.ParsePropertyName(g.Key))
		if wants := f.schema.Check(s, qube.Nobody, name, s.globals[name]); wants != "" {
			return g.Node.Expected("%s", wants)
		}
	}
	for _, q := range f.qubes {
		r, _ := s.byName.Get([]byte(q.name.Value.Shown()))
		for _, p := range q.properties {
			name := must(qube.ParsePropertyName(p.Key))
			if wants := f.schema.Check(s, r, name, r.properties[name]); wants != "" {
				return p.Node.Expected("%s", wants)
			}
		}
	}
	return nil
}

// fill gives a qube its template, features, tags and notes.
func (f file) fill(b *builder, q qubeEntry, names map[qube.Name]*record) error {
	r := names[q.name.Value]
	if err := f.giveTemplate(b, q, r, names); err != nil {
		return err
	}
	for i, x := range q.features {
		r.features = r.features.with(feature{x.Key, x.Value, i})
	}
	r.notes = q.notes
	r.tags = slices.Clone(q.tags)
	if r.class != qube.AdminVM && r.class != qube.RemoteVM { // spec: model.md 11, automatic tags
		for _, p := range [][2]qube.PropertyName{{propGuivm, globalGuivm}, {propAudiovm, globalAudiovm}} {
			if err := b.mirror(q.node, r, p[0], p[1]); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(r.tags, func(a, b qube.Tag) int { return strings.Compare(a.Shown(), b.Shown()) })
	r.tags = slices.Compact(r.tags)
	return nil
}

// giveTemplate gives a qube that needs a template the system's default, and checks what it has.
func (f file) giveTemplate(b *builder, q qubeEntry, r *record, names map[qube.Name]*record) error {
	if r.class != qube.AppVM && r.class != qube.DispVM {
		return nil
	}
	global, wants := globalTemplate, "a TemplateVM as template"
	if r.class == qube.DispVM {
		global, wants = globalDispvm, "a qube with template_for_dispvms as template"
	}
	v, set := r.properties[propTemplate]
	if !set {
		v = b.snapshot.globals[global]
	}
	t, err := qube.ParseName(v.Shown())
	of := names[t]
	if err != nil || of == nil || r.class == qube.AppVM && of.class != qube.TemplateVM || r.class == qube.DispVM && of.properties[propForDispvms] != isTrue {
		return q.node.Expected("%s, here or in global.%s", wants, global.Shown())
	}
	r.properties = withProperty(r.properties, propTemplate, v)
	return nil
}

// mirror adds the tag that says which qube another serves as GUI or audio domain; by default dom0 does.
func (b *builder) mirror(n *yamlfile.Node, r *record, prop, global qube.PropertyName) error {
	v, set := r.properties[prop]
	if !set {
		if v, set = b.snapshot.globals[global]; !set {
			v = must(qube.ParsePropertyValue(qube.Dom0.Shown()))
		}
	}
	if v == (qube.PropertyValue{}) {
		return nil
	}
	tag, err := qube.ParseTag(prop.Shown() + "-" + v.Shown())
	if err != nil { // spec: model.md 2: a name with a dot makes no tag
		return n.Expected("%s without a dot in its name", prop.Shown())
	}
	r.tags = append(r.tags, tag)
	return nil
}

// checkNetworks refuses qubes that are their own net qubes, directly or not.
func (f file) checkNetworks(s *Snapshot) error {
	looped, found := onLoop(s.Qubes(), s.Netvm)
	if !found {
		return nil
	}
	i := slices.IndexFunc(f.qubes, func(q qubeEntry) bool { return q.name.Value == looped.Name() })
	return f.qubes[i].node.Expected("a netvm that does not lead back to the qube")
}

// onLoop gives a qube that next leads back to. It asks next of each qube once.
func onLoop(qubes iter.Seq[qube.Qube], next func(qube.Qube) (qube.Qube, bool)) (qube.Qube, bool) {
	fine := map[qube.UUID]bool{} // from here on nothing leads back
	for at := range qubes {
		way := map[qube.UUID]bool{}
		for ok := true; ok && !fine[at.ID()]; at, ok = next(at) {
			if way[at.ID()] {
				return at, true
			}
			way[at.ID()] = true
		}
		maps.Copy(fine, way)
	}
	return nil, false
}

// NewUUID draws a random UUID, version 4.
func NewUUID() qube.UUID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return must(qube.ParseUUID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])))
}
