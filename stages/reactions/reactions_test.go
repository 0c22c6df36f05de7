package reactions_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

func opened(t *testing.T) *inventory.Inventory {
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) {
		return inventory.FromFile(filepath.Join("testdata", "system.yaml"), properties.Schema{})
	}, inventory.Options{Reactions: reactions.All()})
	require.NoError(t, err)
	return book
}

// TestMirrors: tags say where guivm, audiovm and relayvm lead; what is told comes before the event that it follows from
// (spec: events.md 1, 5; extensions.md 5).
func TestMirrors(t *testing.T) {
	for name, c := range map[string]struct {
		qube, property, value string
		told                  []string // before the event itself
		tags                  string
	}{
		"another GUI domain":       {"work", "guivm", "gui", []string{"domain-tag-delete:guivm-dom0", "domain-tag-add:guivm-gui"}, "audiovm-dom0 guivm-gui"},
		"no GUI domain":            {"work", "guivm", "", []string{"domain-tag-delete:guivm-dom0"}, "audiovm-dom0"},
		"the same GUI domain":      {"work", "guivm", "dom0", nil, "audiovm-dom0 guivm-dom0"},
		"another audio domain":     {"work", "audiovm", "gui", []string{"domain-tag-delete:audiovm-dom0", "domain-tag-add:audiovm-gui"}, "audiovm-gui guivm-dom0"},
		"the same audio domain":    {"work", "audiovm", "dom0", []string{"domain-tag-delete:audiovm-dom0", "domain-tag-add:audiovm-dom0"}, "audiovm-dom0 guivm-dom0"},
		"a relay":                  {"away", "relayvm", "gui", []string{"domain-tag-add:relayvm-gui"}, "relayvm-gui"},
		"no relay":                 {"away", "relayvm", "", nil, ""},
		"a property without a tag": {"work", "netvm", "", nil, "audiovm-dom0 guivm-dom0"},
	} {
		t.Run(name, func(t *testing.T) {
			book := opened(t)
			told, err := fired(t, book, c.qube, c.property, c.value)
			require.NoError(t, err)
			assert.Equal(t, append(slices.Clone(c.told), "property-set:"+c.property), told)
			q, _ := book.View().Qube(must(t, qube.ParseName, c.qube))
			var tags []string
			for tag := range q.Tags() {
				tags = append(tags, tag.Shown())
			}
			assert.Equal(t, c.tags, strings.Join(tags, " "))
		})
	}
	book := opened(t)
	for property, who := range map[string]string{"guivm": "work", "audiovm": "work", "relayvm": "away"} {
		_, err := fired(t, book, who, property, "a.dot")
		assert.ErrorContains(t, err, "makes no tag", property)
	}
}

// fired sets a property and tells, and gives the names of the events that subscribers are told of.
func fired(t *testing.T, book qube.Book, name, property, value string) (told []string, err error) {
	p := must(t, qube.ParsePropertyName, property)
	group := book.Begin()
	err = group.Try(func(tx qube.Tx) error {
		q, ok := tx.Qube(must(t, qube.ParseName, name))
		require.True(t, ok, name)
		require.NoError(t, tx.SetProperty(q.ID(), p, must(t, qube.ParsePropertyValue, value)))
		return tx.Fire(qube.Event{Subject: q.Name(), Name: "property-set:" + property})
	})
	for _, batch := range group.Events() {
		for _, e := range batch.Events {
			told = append(told, e.Name)
		}
	}
	require.NoError(t, group.Commit())
	return told, err
}

// TestBootMode: that a feature gives a property another default is told (spec: model.md 10).
func TestBootMode(t *testing.T) {
	for _, c := range []struct {
		qube, event string
		told        []string
	}{
		{"work", "domain-feature-set:boot-mode.active", []string{"property-reset:bootmode", "domain-feature-set:boot-mode.active"}},
		{"work", "domain-feature-delete:boot-mode.active", []string{"property-reset:bootmode", "domain-feature-delete:boot-mode.active"}},
		{"base", "domain-feature-set:boot-mode.appvm-default", []string{"property-reset:appvm_default_bootmode", "domain-feature-set:boot-mode.appvm-default"}},
		{"work", "domain-feature-set:boot-mode.appvm-default", []string{"domain-feature-set:boot-mode.appvm-default"}},
		{"away", "domain-feature-set:boot-mode.active", []string{"domain-feature-set:boot-mode.active"}},
		{"dom0", "domain-feature-set:boot-mode.active", []string{"domain-feature-set:boot-mode.active"}},
	} {
		book := opened(t)
		group := book.Begin()
		require.NoError(t, group.Try(func(tx qube.Tx) error {
			return tx.Fire(qube.Event{Subject: must(t, qube.ParseName, c.qube), Name: c.event})
		}))
		var told []string
		for _, e := range group.Events()[0].Events {
			told = append(told, e.Name)
		}
		assert.Equal(t, c.told, told, c.qube)
		require.NoError(t, group.Commit())
	}
}

func must[T any](t *testing.T, parse func(string) (T, error), s string) T {
	v, err := parse(s)
	require.NoError(t, err, s)
	return v
}

// TestThePausedQubesNetvm is changed when it runs on, and not before (spec: properties.yaml QubesVM.netvm).
func TestThePausedQubesNetvm(t *testing.T) {
	for name, c := range map[string]struct {
		netvms []string // set one after the other while it is paused
		then   string   // an event that comes after
		told   []string // of that, before the event
	}{
		"another one":           {[]string{"net2"}, "domain-unpaused", []string{"domain-feature-pre-delete:deferred-netvm-original", "domain-feature-delete:deferred-netvm-original", "net-domain-connect"}},
		"none":                  {[]string{""}, "domain-unpaused", []string{"domain-feature-pre-delete:deferred-netvm-original", "domain-feature-delete:deferred-netvm-original"}},
		"another and back":      {[]string{"net2", "net1"}, "domain-unpaused", []string{"domain-feature-pre-delete:deferred-netvm-original", "domain-feature-delete:deferred-netvm-original"}},
		"the same":              {[]string{"net1"}, "domain-unpaused", nil},
		"another, and it stops": {[]string{"net2"}, "domain-stopped", []string{"domain-feature-pre-delete:deferred-netvm-original", "domain-feature-delete:deferred-netvm-original"}},
	} {
		t.Run(name, func(t *testing.T) {
			book := opened(t)
			frozen := func() qube.Qube {
				q, ok := book.View().Qube(must(t, qube.ParseName, "frozen"))
				require.True(t, ok)
				return q
			}
			try := func(change func(tx qube.Tx) error) (told []string) {
				group := book.Begin()
				require.NoError(t, group.Try(change))
				for _, batch := range group.Events() {
					for _, e := range batch.Events {
						told = append(told, e.Name)
					}
				}
				require.NoError(t, group.Commit())
				return told
			}
			for _, to := range c.netvms {
				told := try(func(tx qube.Tx) error {
					return properties.Set(tx, frozen(), properties.Netvm, must(t, qube.ParsePropertyValue, to))
				})
				assert.NotContains(t, told, "net-domain-connect", "it cannot be connected now")
			}
			original, deferred := frozen().Feature(must(t, qube.ParseFeatureName, "deferred-netvm-original"))
			assert.Equal(t, name != "the same", deferred)
			if deferred {
				assert.Equal(t, "net1", original.Shown())
			}
			told := try(func(tx qube.Tx) error { return tx.Fire(qube.Event{Subject: frozen().Name(), Name: c.then}) })
			assert.Equal(t, append(c.told, c.then), told)
			_, left := frozen().Feature(must(t, qube.ParseFeatureName, "deferred-netvm-original"))
			assert.False(t, left)
		})
	}
}
