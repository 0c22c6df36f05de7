package inventory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// facts is an inventory as a map, the plainest there is: what is known of each qube, and the labels.
type facts struct {
	revision qube.Revision
	qubes    map[qube.UUID]known
	labels   map[int]qube.Label
	globals  map[qube.PropertyName]qube.PropertyValue
}

type known struct {
	name       string
	class      qube.Class
	qid        int
	label      qube.LabelName
	runtime    qube.Runtime
	intent     qube.Intent
	referrers  []string  // with their properties; made by references
	features   []feature // place is not used
	tags       map[qube.Tag]bool
	properties map[qube.PropertyName]qube.PropertyValue
	notes      qube.Notes
}

// clone shares nothing with f.
func (f facts) clone() facts {
	f.labels, f.qubes, f.globals = maps.Clone(f.labels), maps.Clone(f.qubes), maps.Clone(f.globals)
	for id, k := range f.qubes {
		k.features, k.tags, k.properties = slices.Clone(k.features), maps.Clone(k.tags), maps.Clone(k.properties)
		f.qubes[id] = k
	}
	return f
}

// factsOf reads a snapshot, through the interfaces that everybody uses.
func factsOf(v qube.View) facts {
	f := facts{v.Revision(), map[qube.UUID]known{}, map[int]qube.Label{}, map[qube.PropertyName]qube.PropertyValue{}}
	for _, p := range someProperties {
		if value, set := v.Global(p); set {
			f.globals[p] = value
		}
	}
	for l := range v.Labels() {
		f.labels[l.Index] = l
	}
	for q := range v.Qubes() {
		intent, _ := q.Intent()
		k := known{q.Shown(), q.Class(), q.QID(), q.Label(), q.Runtime(), intent, nil, []feature{}, map[qube.Tag]bool{}, map[qube.PropertyName]qube.PropertyValue{}, q.Notes()}
		for by, p := range v.Referrers(q.Name()) {
			k.referrers = append(k.referrers, by.Shown()+" "+p.Shown())
		}
		slices.Sort(k.referrers)
		for name, value := range q.Features() {
			k.features = append(k.features, feature{name: name, value: value})
		}
		for tag := range q.Tags() {
			k.tags[tag] = true
		}
		for _, p := range someProperties {
			if value, set := q.Property(p); set {
				k.properties[p] = value
			}
		}
		f.qubes[q.ID()] = k
	}
	return f
}

// references is f with who refers to whom, found by asking all.
func (f facts) references() facts {
	for id, k := range f.qubes {
		k.referrers = nil
		for _, by := range f.qubes {
			for p, value := range by.properties {
				if value.Shown() == k.name && slices.Contains(qube.References, p) {
					k.referrers = append(k.referrers, by.name+" "+p.Shown())
				}
			}
		}
		slices.Sort(k.referrers)
		f.qubes[id] = k
	}
	return f
}

var someProperties = []qube.PropertyName{must(qube.ParsePropertyName("memory")), must(qube.ParsePropertyName("maxmem")), propNetvm, propTemplate, propGuivm}

// op is one call of a Tx: on the map, where it says whether it wrote, and for real.
type op struct {
	name  string
	model func(facts) (wrote bool, want exception.Type)
	real  func(qube.Tx) error
}

// nobody is in no inventory.
var nobody = must(qube.ParseUUID("ffffffff-ffff-4fff-8fff-ffffffffffff"))

// someOp draws a call that is about one of ids, mostly the first, or nobody.
func someOp(t *rapid.T, ids []qube.UUID) op {
	id := rapid.SampledFrom(append([]qube.UUID{ids[0], ids[0], ids[0], ids[0], nobody}, ids...)).Draw(t, "qube")
	word := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "word")
	value := rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")
	tag, name, content := must(qube.ParseTag(word)), must(qube.ParseFeatureName(word)), must(qube.ParseFeatureValue(value))
	property := rapid.SampledFrom(someProperties).Draw(t, "property")
	setting := must(qube.ParsePropertyValue(rapid.SampledFrom([]string{"", "100", "200", "dom0", "work", "base"}).Draw(t, "setting")))
	notes := must(qube.ParseNotes(value))
	label := qube.Label{Name: must(qube.ParseLabelName(word)), Index: rapid.IntRange(1, 12).Draw(t, "index"), Color: must(qube.ParseColor("0x000000"))}
	black := must(qube.ParseLabelName(rapid.SampledFrom([]string{"black", "teal", "none"}).Draw(t, "label")))
	class := rapid.SampledFrom(creatable).Draw(t, "class")
	fresh := qube.NewQube{
		Name: must(qube.ParseName(rapid.SampledFrom([]string{"work", "n1", "n2"}).Draw(t, "name"))), ID: rapid.SampledFrom(ids).Draw(t, "fresh"),
		Class: class, Label: must(qube.ParseLabelName("red")), Properties: map[qube.PropertyName]qube.PropertyValue{property: setting},
	}
	runtime := qube.Runtime{State: rapid.SampledFrom(qube.PowerStates).Draw(t, "state"), XID: rapid.IntRange(0, 2).Draw(t, "xid")}
	intent := qube.Intent{Kind: value}
	removed := must(qube.ParseLabelName(rapid.SampledFrom([]string{"a", "b", "c", "red", "teal"}).Draw(t, "removed")))

	// of makes the model of what changes one qube.
	of := func(change func(k *known) (bool, exception.Type)) func(facts) (bool, exception.Type) {
		return func(f facts) (bool, exception.Type) {
			k, ok := f.qubes[id]
			if !ok {
				return false, exception.QubesVMNotFoundError
			}
			wrote, want := change(&k)
			f.qubes[id] = k
			return wrote, want
		}
	}
	at := func(k *known) int {
		return slices.IndexFunc(k.features, func(x feature) bool { return x.name == name })
	}
	ops := []op{
		{"set feature", of(func(k *known) (bool, exception.Type) {
			if i := at(k); i >= 0 {
				k.features[i].value = content
			} else {
				k.features = append(k.features, feature{name: name, value: content})
			}
			return true, ""
		}), func(tx qube.Tx) error { return tx.SetFeature(id, name, content) }},
		{"remove feature", of(func(k *known) (bool, exception.Type) {
			i := at(k)
			if i < 0 {
				return false, exception.QubesFeatureNotFoundError
			}
			k.features = slices.Delete(k.features, i, i+1)
			return true, ""
		}), func(tx qube.Tx) error { return tx.RemoveFeature(id, name) }},
		{"set property", of(func(k *known) (bool, exception.Type) {
			k.properties[property] = setting
			return true, ""
		}), func(tx qube.Tx) error { return tx.SetProperty(id, property, setting) }},
		{"reset property", of(func(k *known) (bool, exception.Type) {
			_, set := k.properties[property]
			delete(k.properties, property)
			return set, ""
		}), func(tx qube.Tx) error { return tx.ResetProperty(id, property) }},
		{"add tag", of(func(k *known) (bool, exception.Type) {
			there := k.tags[tag]
			k.tags[tag] = true
			return !there, ""
		}), func(tx qube.Tx) error { return tx.AddTag(id, tag) }},
		{"remove tag", of(func(k *known) (bool, exception.Type) {
			if !k.tags[tag] {
				return false, exception.QubesTagNotFoundError
			}
			delete(k.tags, tag)
			return true, ""
		}), func(tx qube.Tx) error { return tx.RemoveTag(id, tag) }},
		{"set label", func(f facts) (bool, exception.Type) {
			k, ok := f.qubes[id]
			if !ok {
				return false, exception.QubesVMNotFoundError
			}
			for _, l := range f.labels {
				if l.Name == black {
					k.label = black
					f.qubes[id] = k
					return true, ""
				}
			}
			return false, exception.QubesLabelNotFoundError
		}, func(tx qube.Tx) error { return tx.SetLabel(id, black) }},
		{"set runtime", of(func(k *known) (bool, exception.Type) {
			k.runtime = runtime
			return true, ""
		}), func(tx qube.Tx) error { return tx.SetRuntime(id, runtime) }},
		{"set intent", of(func(k *known) (bool, exception.Type) {
			k.intent = intent
			return true, ""
		}), func(tx qube.Tx) error { return tx.SetIntent(id, intent) }},
		{"set global", func(f facts) (bool, exception.Type) {
			f.globals[property] = setting
			return true, ""
		}, func(tx qube.Tx) error { return tx.SetGlobal(property, setting) }},
		{"reset global", func(f facts) (bool, exception.Type) {
			_, set := f.globals[property]
			delete(f.globals, property)
			return set, ""
		}, func(tx qube.Tx) error { return tx.ResetGlobal(property) }},
		{"add qube", func(f facts) (bool, exception.Type) {
			k := known{
				name: fresh.Name.Shown(), class: class, label: fresh.Label, runtime: qube.Runtime{State: qube.Halted}, features: []feature{},
				tags: map[qube.Tag]bool{}, properties: map[qube.PropertyName]qube.PropertyValue{property: setting},
			}
			qids := map[int]bool{}
			for id, other := range f.qubes {
				if other.name == k.name || id == fresh.ID {
					return false, exception.QubesVMAlreadyExistsError
				}
				qids[other.qid] = true
			}
			for qids[k.qid] {
				k.qid++
			}
			f.qubes[fresh.ID] = k
			return true, ""
		}, func(tx qube.Tx) error { _, err := tx.AddQube(fresh); return err }},
		{"remove qube", func(f facts) (bool, exception.Type) {
			if _, ok := f.qubes[id]; !ok {
				return false, exception.QubesVMNotFoundError
			}
			if id == qube.Dom0UUID {
				return false, exception.QubesVMInUseError
			}
			delete(f.qubes, id)
			return true, ""
		}, func(tx qube.Tx) error { return tx.RemoveQube(id) }},
		{"set notes", of(func(k *known) (bool, exception.Type) {
			k.notes = notes
			return true, ""
		}), func(tx qube.Tx) error { return tx.SetNotes(id, notes) }},
		{"add label", func(f facts) (bool, exception.Type) {
			for i, l := range f.labels {
				if i == label.Index || l.Name == label.Name {
					return false, exception.QubesLabelInUseError
				}
			}
			f.labels[label.Index] = label
			return true, ""
		}, func(tx qube.Tx) error { return tx.AddLabel(label) }},
		{"remove label", func(f facts) (bool, exception.Type) {
			for i, l := range f.labels {
				if l.Name != removed {
					continue
				}
				if i <= 8 {
					return false, exception.ProtocolError
				}
				for _, k := range f.qubes {
					if k.label == removed {
						return false, exception.QubesLabelInUseError
					}
				}
				delete(f.labels, i)
				return true, ""
			}
			return false, exception.QubesLabelNotFoundError
		}, func(tx qube.Tx) error { return tx.RemoveLabel(removed) }},
	}
	return rapid.SampledFrom(ops).Draw(t, "op")
}

func (o op) String() string { return o.name }

const modelFile = `
version: 1
labels: [{name: teal, color: "0x008080"}]
qubes:
  - {name: base, class: TemplateVM, tags: [x, a], features: {z: "1", a: "1"}, state: Running}
  - {name: work, class: AppVM, label: teal, properties: {template: base, memory: 500}, notes: n, state: Running}
  - {name: away, class: RemoteVM}
`

// errRefused is what a change says that does not want to be kept.
var errRefused = errors.New("refused")

// TestAgainstAMap: whatever changes are tried, kept, refused and committed, in whatever groups, the inventory is what a
// map would be; what failed or panicked has not happened; what was seen once never changes; and what is in the store is
// what is published (design: 2, 6).
func TestAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := &memory{}
		inv := opened(t, store, parsed(t, modelFile))
		require.Equal(t, qube.Revision(1), store.revision)
		newest := factsOf(inv.View())
		ids := slices.Collect(maps.Keys(newest.qubes))
		slices.SortFunc(ids, func(a, b qube.UUID) int { return strings.Compare(newest.qubes[a].name, newest.qubes[b].name) })
		ids = append(ids, must(qube.ParseUUID("00000001-0000-4000-8000-000000000000")), must(qube.ParseUUID("00000002-0000-4000-8000-000000000000")))

		// Groups that are open, and the map after each. The last one is being filled.
		type open struct {
			qube.Group
			after facts
			kept  int
		}
		var groups []*open
		published := newest.clone()
		broken := false
		seen := map[*Snapshot]string{}
		look := func(v qube.View) {
			s := v.(*Snapshot)
			if seen[s] == "" {
				seen[s] = dump(s)
			}
		}

		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				if len(groups) < 3 {
					groups = append(groups, &open{inv.Begin(), newest.clone(), 0})
				}
			},
			"try": func(t *rapid.T) {
				if len(groups) == 0 {
					groups = append(groups, &open{inv.Begin(), newest.clone(), 0})
				}
				g := groups[len(groups)-1]
				ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op { return someOp(t, ids) }), 0, 6).Draw(t, "ops")
				end := rapid.SampledFrom([]string{"keep", "keep", "keep", "refuse", "panic"}).Draw(t, "end")
				after, wrote := newest.clone(), false
				change := func(tx qube.Tx) error {
					for _, o := range ops {
						did, want := o.model(after)
						err := o.real(tx)
						require.Equal(t, want, typeOf(t, err), o.name)
						wrote = wrote || did
						require.Equal(t, after.references(), factsOf(tx), "a Tx shows what it did")
					}
					switch end {
					case "refuse":
						return errRefused
					case "panic":
						panic(errRefused)
					}
					return nil
				}
				var err error
				func() {
					defer func() {
						if r := recover(); r == errRefused {
							err = errRefused
						} else if r != nil {
							panic(r)
						}
					}()
					err = g.Try(change)
				}()
				if broken {
					require.ErrorIs(t, err, errBroken, "what is newest may never be durable")
					return
				}
				if end != "keep" {
					require.ErrorIs(t, err, errRefused)
					return
				}
				require.NoError(t, err)
				if wrote {
					after.revision++
					newest, g.after, g.kept = after, after.clone(), g.kept+1
				}
			},
			"commit": func(t *rapid.T) {
				if len(groups) == 0 {
					t.Skip("no group is open")
				}
				g := groups[0]
				groups = groups[1:]
				commits := store.commits
				look(inv.View())
				err := g.Commit()
				switch {
				case broken:
					require.ErrorIs(t, err, errBroken)
				case store.fail != nil && g.kept > 0:
					require.ErrorIs(t, err, store.fail)
					broken = true
				default:
					require.NoError(t, err)
					if g.kept > 0 {
						published = g.after
						require.Equal(t, commits+1, store.commits, "one group is one commit")
					} else {
						require.Equal(t, commits, store.commits, "nothing is not worth a commit")
					}
				}
			},
			"fail": func(t *rapid.T) {
				if store.fail == nil && rapid.IntRange(0, 9).Draw(t, "now") == 0 {
					store.fail = errors.New("the disk is gone")
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, published.references(), factsOf(inv.View()))
				look(inv.View())
				for s, was := range seen {
					require.Equal(t, was, dump(s), "a view that was taken has changed")
				}
				require.Equal(t, published.revision, store.revision)
				again := reopened(t, store)
				require.Equal(t, dump(inv.published.Load()), dump(again.published.Load()), "the store holds what is published")
			},
		})
	})
}

func typeOf(t require.TestingT, err error) exception.Type {
	if err == nil {
		return ""
	}
	var e *exception.Exception
	require.ErrorAs(t, err, &e)
	return e.Type()
}

// TestViewsNeverChange: whatever is put in, moved and taken out later, in whatever place.
func TestViewsNeverChange(t *testing.T) {
	inv := opened(t, &memory{}, parsed(t, modelFile))
	base := named(t, inv.View(), "base").ID()
	type view struct {
		*Snapshot
		was string
	}
	var views []view
	do := func(change func(tx qube.Tx) error) {
		g := inv.Begin()
		require.NoError(t, g.Try(change))
		require.NoError(t, g.Commit())
		s := inv.published.Load()
		views = append(views, view{s, dump(s)})
		for _, v := range views {
			require.Equal(t, v.was, dump(v.Snapshot))
		}
	}
	for _, n := range []int{5, 2, 8, 1, 4, 7, 0, 3, 6, 9} {
		word := string(rune('a' + n))
		label, color := must(qube.ParseLabelName("l"+word)), must(qube.ParseColor("0x000000"))
		tag, name, value := must(qube.ParseTag("t"+word)), must(qube.ParseFeatureName("f"+word)), must(qube.ParseFeatureValue(word))
		do(func(tx qube.Tx) error { return tx.AddLabel(qube.Label{Name: label, Index: 10 + n, Color: color}) })
		do(func(tx qube.Tx) error { return tx.AddTag(base, tag) })
		do(func(tx qube.Tx) error { return tx.SetFeature(base, name, value) })
		do(func(tx qube.Tx) error {
			return tx.SetProperty(base, someProperties[n%3], must(qube.ParsePropertyValue(word)))
		})
		do(func(tx qube.Tx) error { return tx.SetNotes(base, must(qube.ParseNotes(word))) })
	}
	for _, n := range []int{3, 9, 0, 5} {
		word := string(rune('a' + n))
		do(func(tx qube.Tx) error { return tx.RemoveLabel(must(qube.ParseLabelName("l" + word))) })
		do(func(tx qube.Tx) error { return tx.RemoveTag(base, must(qube.ParseTag("t"+word))) })
		do(func(tx qube.Tx) error {
			return tx.SetFeature(base, must(qube.ParseFeatureName("f"+word)), qube.FeatureValue{})
		})
		do(func(tx qube.Tx) error { return tx.RemoveFeature(base, must(qube.ParseFeatureName("f"+word))) })
		do(func(tx qube.Tx) error { return tx.ResetProperty(base, someProperties[n%3]) })
	}
}

// TestSomebodyElseWrote: the store has moved on, so nothing is published, now or later.
func TestSomebodyElseWrote(t *testing.T) {
	store := &memory{}
	inv := opened(t, store, parsed(t, modelFile))
	before := dump(inv.published.Load())
	store.revision++
	add := func(tx qube.Tx) error { return tx.AddTag(qube.Dom0UUID, must(qube.ParseTag("t"))) }
	first := inv.Begin()
	require.NoError(t, first.Try(add))
	require.ErrorIs(t, first.Commit(), ErrConflict)

	second := inv.Begin()
	require.ErrorIs(t, second.Try(func(qube.Tx) error { require.Fail(t, "nobody may see what is not durable"); return nil }), errBroken)
	require.ErrorIs(t, second.Commit(), errBroken)
	require.Equal(t, before, dump(inv.published.Load()))
	require.Equal(t, 1, store.commits)
}

// TestACrashCostsOneChange: the group goes on, and commits what came before and what comes after.
func TestACrashCostsOneChange(t *testing.T) {
	store := &memory{}
	inv := opened(t, store, parsed(t, modelFile))
	add := func(tag string) func(qube.Tx) error {
		return func(tx qube.Tx) error { return tx.AddTag(qube.Dom0UUID, must(qube.ParseTag(tag))) }
	}
	g := inv.Begin()
	require.NoError(t, g.Try(add("before")))
	require.Panics(t, func() {
		_ = g.Try(func(tx qube.Tx) error {
			require.NoError(t, add("lost")(tx))
			panic("in the middle")
		})
	})
	require.NoError(t, g.Try(add("after")))
	require.NoError(t, g.Commit())
	var tags []string
	dom0, _ := inv.View().QubeByID(qube.Dom0UUID)
	for tag := range dom0.Tags() {
		tags = append(tags, tag.Shown())
	}
	require.Equal(t, []string{"after", "before"}, tags)
	require.Equal(t, qube.Revision(3), inv.View().Revision())
}

// someRecords draws the records of a whole inventory, in any order.
func someRecords(t *rapid.T) map[string]string {
	records := map[string]string{}
	put := func(value any, format string, args ...any) {
		records[fmt.Sprintf(format, args...)] = string(encode(value))
	}
	word := rapid.StringMatching("[a-zA-Z0-9_]{1,4}")
	text := rapid.StringMatching("[ -~]{0,5}")
	put(Host{MemoryMiB: rapid.Uint64Range(1, 99999).Draw(t, "memory"), CPUs: 4, Kernels: rapid.SliceOfN(text, 1, 2).Draw(t, "kernels"),
		Pools: []qube.Pool{{Name: "p", Driver: text.Draw(t, "driver"), Options: map[string]string{"dir": text.Draw(t, "dir")}}}}, "host")
	labels := []string{"red", "black"}
	for i := range rapid.IntRange(0, 3).Draw(t, "labels") {
		name := fmt.Sprintf("%s.%d", word.Draw(t, "label"), i)
		labels = append(labels, name)
		put(labelFact{9 + 2*i, rapid.StringMatching("0x[0-9a-fA-F]{6}").Draw(t, "color")}, "label/%s", name)
	}
	if rapid.Bool().Draw(t, "global") {
		put(text.Draw(t, "value"), "global/%s", "default_kernel")
	}
	n := rapid.IntRange(0, 6).Draw(t, "qubes")
	put(qubeFact{"dom0", "AdminVM", rapid.SampledFrom(labels).Draw(t, "label"), 0}, "qube/%s", qube.Dom0UUID.Shown())
	for i := range n + 1 {
		id := qube.Dom0UUID
		if i > 0 {
			id = must(qube.ParseUUID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", rapid.Uint32Range(1, 1<<20).Draw(t, "id")<<8+uint32(i))))
			put(qubeFact{
				fmt.Sprintf("%s%d", rapid.StringMatching("[a-zA-Z][a-z.-]{0,3}").Draw(t, "name"), i),
				string(rapid.SampledFrom(creatable).Draw(t, "class")), rapid.SampledFrom(labels).Draw(t, "label"), 10 * i,
			}, "qube/%s", id.Shown())
		}
		if state := rapid.SampledFrom(qube.PowerStates).Draw(t, "state"); i == 0 {
			put(runtimeFact{State: "Running"}, "runtime/%s", id.Shown())
		} else if state != qube.Halted {
			put(runtimeFact{State: string(state), XID: rapid.IntRange(0, 9).Draw(t, "xid"), Console: "/dev/pts/1"}, "runtime/%s", id.Shown())
		}
		if rapid.Bool().Draw(t, "intent") {
			put(qube.Intent{Kind: "start", Args: map[string]string{"a": text.Draw(t, "arg")}}, "intent/%s", id.Shown())
		}
		for place := range rapid.IntRange(0, 3).Draw(t, "features") {
			put(featureFact{5 * place, text.Draw(t, "value")}, "feature/%s/%s%d", id.Shown(), word.Draw(t, "feature"), place)
		}
		for _, tag := range rapid.SliceOfN(word, 0, 3).Draw(t, "tags") {
			put(true, "tag/%s/%s", id.Shown(), tag)
		}
		for _, p := range rapid.SliceOfN(rapid.SampledFrom(someProperties), 0, 3).Draw(t, "properties") {
			put(rapid.SampledFrom([]string{"", "0", "300", "dom0", "zz"}).Draw(t, "value"), "property/%s/%s", id.Shown(), p.Shown())
		}
		if notes := rapid.SampledFrom([]string{"", "a\n\tb", "<é>\u2028"}).Draw(t, "notes"); notes != "" {
			put(notes, "notes/%s", id.Shown())
		}
	}
	return records
}

// TestRecordsAreFacts: an inventory is no more and no less than its records.
func TestRecordsAreFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := someRecords(t)
		inv, fresh, err := Open(&memory{revision: 7, records: maps.Clone(records)}, nil, Options{})
		require.NoError(t, err)
		require.False(t, fresh)
		require.Equal(t, qube.Revision(7), inv.View().Revision())
		s := inv.published.Load()
		again := map[string]string{}
		for r := range s.facts() {
			require.False(t, r.Deleted)
			require.NotContains(t, again, r.Key)
			again[r.Key] = string(r.Value)
		}
		require.Equal(t, records, again)
		require.Equal(t, dump(s), dump(rebuilt(t, s)))
	})
}
