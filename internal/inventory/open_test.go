package inventory

import (
	"errors"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/qube"
)

func TestOpenFillsAnEmptyStoreOnce(t *testing.T) {
	store := &memory{}
	inv, fresh, err := Open(store, func() (*Snapshot, error) { return parsed(t, modelFile), nil }, Options{})
	require.NoError(t, err)
	assert.True(t, fresh)
	assert.Equal(t, qube.Revision(1), inv.View().Revision())
	assert.Equal(t, qube.Revision(1), store.revision)

	again, fresh, err := Open(store, func() (*Snapshot, error) { t.Error("the store is not empty"); return nil, nil }, Options{})
	require.NoError(t, err)
	assert.False(t, fresh)
	assert.Equal(t, qube.Revision(1), again.View().Revision())
	assert.ElementsMatch(t, slices.Collect(inv.Snapshot().facts()), slices.Collect(again.Snapshot().facts()))
}

func TestAnEmptyInventoryIsDom0(t *testing.T) {
	inv, fresh, err := Open(&memory{}, Empty, Options{})
	require.NoError(t, err)
	assert.True(t, fresh)
	qubes, labels := slices.Collect(inv.View().Qubes()), slices.Collect(inv.View().Labels())
	require.Len(t, qubes, 1)
	assert.Equal(t, []any{qube.Dom0, qube.Dom0UUID, qube.AdminVM, "black"}, []any{qubes[0].Name(), qubes[0].ID(), qubes[0].Class(), qubes[0].Label().Shown()})
	assert.Len(t, labels, qube.BuiltinLabels)
}

// broken is a store that cannot be read.
type broken struct {
	memory
	load, record error
}

func (b *broken) Load() (qube.Revision, iter.Seq2[Record, error], error) {
	return 1, func(yield func(Record, error) bool) { yield(Record{}, b.record) }, b.load
}

func TestOpenPassesErrorsOn(t *testing.T) {
	err := errors.New("the disk is gone")
	for name, open := range map[string]func() (*Inventory, bool, error){
		"load":   func() (*Inventory, bool, error) { return Open(&broken{load: err}, Empty, Options{}) },
		"record": func() (*Inventory, bool, error) { return Open(&broken{record: err}, Empty, Options{}) },
		"initial": func() (*Inventory, bool, error) {
			return Open(&memory{}, func() (*Snapshot, error) { return nil, err }, Options{})
		},
		"commit": func() (*Inventory, bool, error) { return Open(&memory{fail: err}, Empty, Options{}) },
	} {
		inv, _, got := open()
		assert.Nil(t, inv, name)
		assert.ErrorIs(t, got, err, name)
	}
}

// sound are records in which nothing is wrong.
func sound() map[string]string {
	return map[string]string{
		"host":                                   `{"memory_mib":1000,"cpus":1}`,
		"global/default_kernel":                  `"1"`,
		"label/teal":                             `{"index":9,"color":"0x008080"}`,
		"qube/" + qube.Dom0UUID.Shown():          `{"name":"dom0","class":"AdminVM","label":"black","qid":0}`,
		"qube/" + nobody.Shown():                 `{"name":"work","class":"AppVM","label":"teal","qid":1}`,
		"property/" + nobody.Shown() + "/memory": `"400"`,
		"feature/" + nobody.Shown() + "/gui":     `{"n":0,"v":"1"}`,
		"tag/" + nobody.Shown() + "/t":           `true`,
		"notes/" + nobody.Shown():                `"n"`,
	}
}

// TestDamagedRecords: a store that holds what nobody wrote is refused, and the error says which record it is or what is
// wrong with it.
func TestDamagedRecords(t *testing.T) {
	_, _, err := Open(&memory{revision: 1, records: sound()}, nil, Options{})
	require.NoError(t, err)
	work, dom0 := "qube/"+nobody.Shown(), "qube/"+qube.Dom0UUID.Shown()
	const other = "aaaaaaaa-0000-4000-8000-000000000000"
	for _, c := range []struct{ key, value, says string }{
		{"host", `{"memory_mib":-1}`, `record "host"`},
		{"host", ``, `record "host"`},
		{"host/x", `{}`, "unknown kind"},
		{"", `{}`, "unknown kind"},
		{"nonsense/x", `1`, "unknown kind"},
		{"qube", `{}`, "unknown kind"},
		{work + "/x", `{}`, "unknown kind"},
		{"label/teal/x", `{}`, "unknown kind"},
		{"tag/" + nobody.Shown(), `true`, "unknown kind"},
		{"global/A", `"1"`, `record "global/A"`},
		{"global/default_kernel", `1`, `record "global/default_kernel"`},
		{"global/default_kernel", `"\u0007"`, `record "global/default_kernel"`},
		{"label/a b", `{"index":10,"color":"0x008080"}`, `record "label/a b"`},
		{"label/a", `{"index":10,"color":"008080"}`, `record "label/a"`},
		{"label/a", `{"index":9,"color":"0x008080"}`, "name or index is another's"},
		{"label/a", `{"index":3,"color":"0x008080"}`, "name or index is another's"},
		{"label/a", `{"index":0,"color":"0x008080"}`, "name or index is another's"},
		{"label/a", `{"index":-9223372036854775808,"color":"0x008080"}`, "name or index is another's"},
		{"label/red", `{"index":10,"color":"0x008080"}`, "name or index is another's"},
		{"qube/x", `{"name":"a","class":"AppVM","label":"red","qid":2}`, `record "qube/x"`},
		{work, `{"name":"1","class":"AppVM","label":"red","qid":2}`, "record \"" + work},
		{work, `{"name":"a","class":"HVM","label":"red","qid":2}`, "record \"" + work},
		{work, `{"name":"a","class":"AppVM","label":"","qid":2}`, "record \"" + work},
		{work, `{"name":"a","class":"AppVM","label":"red","qid":-1}`, "record \"" + work},
		{work, `{"name":"a","class":"AppVM","label":"red","qid":1048576}`, "record \"" + work},
		{"runtime/" + nobody.Shown(), `{"state":"NA"}`, "record \"runtime"},
		{"runtime/" + other, `{"state":"Running"}`, "facts of a qube " + other},
		{"intent/" + nobody.Shown(), `1`, "record \"intent"},
		{"intent/" + other, `{"kind":"start"}`, "facts of a qube " + other},
		{"event/1", `{"r":0,"e":[{"n":"x"}]}`, "record \"event"},
		{"event/1", `{"r":9,"e":[]}`, "record \"event"},
		{"event/16384", `{"r":9,"e":[{"n":"x"}]}`, "record \"event"},
		{"event/1", `{"r":9,"e":[{"n":"x","s":"1"}]}`, "record \"event"},
		{work, `{"name":"a","class":"AppVM","label":"red","qid":"2"}`, "record \"" + work},
		{work, `{`, "record \"" + work},
		{work, `{"name":"a","class":"AppVM","label":"nosuch","qid":2}`, "qube a with a label"},
		{work, `{"name":"a","class":"AdminVM","label":"red","qid":2}`, "qube a that is dom0 only in part"},
		{work, `{"name":"dom0","class":"AppVM","label":"red","qid":2}`, "qube dom0 that is dom0 only in part"},
		{dom0, `{"name":"a","class":"AdminVM","label":"red","qid":0}`, "qube a that is dom0 only in part"},
		{dom0, `{"name":"dom0","class":"AppVM","label":"red","qid":0}`, "qube dom0 that is dom0 only in part"},
		{"qube/" + other, `{"name":"work","class":"AppVM","label":"red","qid":2}`, "two qubes named work"},
		{"qube/" + other, `{"name":"a","class":"AppVM","label":"red","qid":1}`, "two qubes with the qid 1"},
		{"qube/" + other, `{"name":"a","class":"AppVM","label":"red","qid":0}`, "two qubes with the qid 0"},
		{"property/" + nobody.Shown() + "/Memory", `"1"`, "/Memory\""},
		{"property/" + nobody.Shown() + "/memory", `400`, "/memory\""},
		{"property/x/memory", `"1"`, "record \"property/x"},
		{"property/" + other + "/memory", `"1"`, "facts of a qube " + other},
		{"feature/" + nobody.Shown() + "/a:b", `{"n":1,"v":""}`, "/a:b\""},
		{"feature/" + nobody.Shown() + "/a", `{"n":1,"v":"\n"}`, "/a\""},
		{"feature/" + nobody.Shown() + "/a/b", `{"n":1,"v":""}`, "/a/b\""},
		{"feature/" + other + "/a", `{"n":1,"v":""}`, "facts of a qube " + other},
		{"tag/" + nobody.Shown() + "/a.b", `true`, "/a.b\""},
		{"tag/" + nobody.Shown() + "/a", `false`, "/a\""},
		{"tag/" + nobody.Shown() + "/a", `"x"`, "/a\""},
		{"tag/" + other + "/a", `true`, "facts of a qube " + other},
		{"notes/" + nobody.Shown(), `"\u0007"`, "record \"notes"},
		{"notes/" + other, `"n"`, "facts of a qube " + other},
	} {
		records := sound()
		records[c.key] = c.value
		inv, _, err := Open(&memory{revision: 1, records: records}, nil, Options{})
		assert.Nil(t, inv)
		if assert.ErrorContains(t, err, c.says, "%s: %s", c.key, c.value) {
			assert.True(t, strings.HasPrefix(err.Error(), "inventory: "))
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

// TestAnyDamage: whatever a byte is changed to, the inventory is refused or it is whole.
func TestAnyDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := someRecords(t)
		key := rapid.SampledFrom(slices.Sorted(maps.Keys(records))).Draw(t, "key")
		value := []byte(records[key])
		delete(records, key)
		inKey := rapid.Bool().Draw(t, "key is damaged")
		damaged := value
		if inKey {
			damaged = []byte(key)
		}
		if i := rapid.IntRange(0, len(damaged)-1).Draw(t, "at"); rapid.Bool().Draw(t, "lost") {
			damaged = slices.Delete(damaged, i, i+1)
		} else {
			damaged[i] = rapid.Byte().Draw(t, "byte")
		}
		if inKey {
			key = string(damaged)
		} else {
			value = damaged
		}
		records[key] = string(value)
		inv, _, err := Open(&memory{revision: 1, records: records}, nil, Options{})
		if err != nil {
			return
		}
		s := inv.published.Load()
		require.Equal(t, dump(s), dump(rebuilt(t, s)))
	})
}

// large is an inventory of n qubes besides dom0 and a template.
func large(n int) string {
	var b strings.Builder
	b.WriteString("version: 1\nglobal: {default_template: base}\nqubes:\n  - {name: base, class: TemplateVM}\n")
	for i := range n {
		b.WriteString("  - {name: q" + strconv.Itoa(i) + `, class: AppVM, features: {gui: "1"}, tags: [t]}` + "\n")
	}
	return b.String()
}

// TestTheCostOfAWriteDoesNotDependOnHowManyQubesThereAre, in allocations and in bytes (design: 6).
func TestTheCostOfAWriteDoesNotDependOnHowManyQubesThereAre(t *testing.T) {
	type cost struct{ allocs, bytes float64 }
	costs := func(inv *Inventory, write func(tx qube.Tx, id qube.UUID, i int) error) cost {
		q := named(t, inv.View(), "q5")
		i := 0
		one := func() {
			g := inv.Begin()
			i++
			require.NoError(t, g.Try(func(tx qube.Tx) error { return write(tx, q.ID(), i) }))
			require.NoError(t, g.Commit())
		}
		const runs = 200
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		allocs := testing.AllocsPerRun(runs, one)
		runtime.ReadMemStats(&after)
		return cost{allocs, float64(after.TotalAlloc-before.TotalAlloc) / runs}
	}
	small, big := opened(t, &memory{}, parsed(t, large(10))), opened(t, &memory{}, parsed(t, large(10_000)))
	gui, tag := must(qube.ParseFeatureName("gui")), must(qube.ParseTag("x"))
	for name, write := range map[string]func(tx qube.Tx, id qube.UUID, i int) error{
		"set feature": func(tx qube.Tx, id qube.UUID, i int) error {
			return tx.SetFeature(id, gui, must(qube.ParseFeatureValue(strconv.Itoa(i))))
		},
		"tag": func(tx qube.Tx, id qube.UUID, i int) error {
			if i%2 == 0 {
				return tx.RemoveTag(id, tag)
			}
			return tx.AddTag(id, tag)
		},
		"set property": func(tx qube.Tx, id qube.UUID, i int) error {
			return tx.SetProperty(id, must(qube.ParsePropertyName("memory")), must(qube.ParsePropertyValue(strconv.Itoa(i))))
		},
		"set notes": func(tx qube.Tx, id qube.UUID, i int) error {
			return tx.SetNotes(id, must(qube.ParseNotes(strconv.Itoa(i))))
		},
	} {
		few, many := costs(small, write), costs(big, write)
		t.Logf("%s: %v at 10 qubes, %v at 10,000", name, few, many)
		assert.Less(t, many.allocs, 2*few.allocs, name)
		assert.Less(t, many.bytes, 4*few.bytes, name)
	}
}

// TestTenThousandQubes can be loaded, kept and found.
func TestTenThousandQubes(t *testing.T) {
	store := &memory{}
	opened(t, store, parsed(t, large(10_000)))
	v := opened(t, store, nil).View()
	n := 0
	for q := range v.Qubes() {
		found, ok := v.QubeByID(q.ID())
		require.True(t, ok)
		require.Equal(t, q, found)
		n++
	}
	assert.Equal(t, 10_002, n)
}
