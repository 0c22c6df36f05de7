package methods_test

import (
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// shelf is a store in memory.
type shelf struct {
	revision qube.Revision
	records  map[string][]byte
	commits  int
}

func (s *shelf) Load() (qube.Revision, iter.Seq2[inventory.Record, error], error) {
	return s.revision, func(yield func(inventory.Record, error) bool) {
		for key, value := range s.records {
			if !yield(inventory.Record{Key: key, Value: value}, nil) {
				return
			}
		}
	}, nil
}

func (s *shelf) Commit(_, next qube.Revision, records []inventory.Record) error {
	s.revision, s.commits = next, s.commits+1
	for _, r := range records {
		if delete(s.records, r.Key); !r.Deleted {
			s.records[r.Key] = r.Value
		}
	}
	return nil
}

func (s *shelf) Close() error { return nil }

// dump is all that a view shows of qubes.
func dump(v qube.View) string {
	var b strings.Builder
	for q := range v.Qubes() {
		fmt.Fprintln(&b, q.Shown(), q.ID().Shown(), q.Class(), q.QID(), q.Label().Shown(), q.State())
		for _, p := range everyProperty {
			if value, set := q.Property(p); set {
				fmt.Fprintln(&b, " ", p.Shown(), value.Shown())
			}
		}
		for name, value := range q.Features() {
			fmt.Fprintln(&b, "  feature", name.Shown(), value.Shown())
		}
		for tag := range q.Tags() {
			fmt.Fprintln(&b, "  tag", tag.Shown())
		}
		for _, name := range qube.VolumeNames {
			if volume, kept := q.Volume(name); kept {
				fmt.Fprintln(&b, "  volume", name, volume)
			}
		}
		for rule := range q.Firewall() {
			fmt.Fprintln(&b, "  rule", rule.Shown())
		}
		for _, line := range referrersOf(v, q) {
			fmt.Fprintln(&b, "  used by", line)
		}
	}
	return b.String()
}

// referrersOf is what the index says of who refers to q.
func referrersOf(v qube.View, q qube.Qube) []string {
	var lines []string
	for user, p := range v.Referrers(q.Name()) {
		lines = append(lines, user.Shown()+" "+p.Shown())
	}
	slices.Sort(lines)
	return lines
}

var everyProperty = func() (all []qube.PropertyName) {
	for _, s := range []string{"memory", "auto_cleanup", "dispid", "template_for_dispvms"} {
		p, err := qube.ParsePropertyName(s)
		if err != nil {
			panic(err)
		}
		all = append(all, p)
	}
	return append(all, qube.References...)
}()

// sound asserts what holds of every inventory: identities are unique, the index of references is what a scan finds, nobody
// refers to who is not there, and a local qube has one tag for its GUI domain.
func sound(t require.TestingT, v qube.View) {
	qids, dispids, used := map[int]bool{}, map[string]bool{}, map[string][]string{}
	for q := range v.Qubes() {
		require.False(t, qids[q.QID()], "a qid of two")
		qids[q.QID()] = true
		for _, p := range everyProperty {
			value, set := q.Property(p)
			switch {
			case !set:
			case p.Shown() == "dispid":
				require.False(t, dispids[value.Shown()], "a dispid of two")
				dispids[value.Shown()] = true
			case slices.Contains(qube.References, p) && value != (qube.PropertyValue{}):
				to, err := qube.ParseName(value.Shown())
				require.NoError(t, err)
				_, there := v.Qube(to)
				require.True(t, there, "%s of %s refers to %s, which is not there", p.Shown(), q.Shown(), to.Shown())
				used[to.Shown()] = append(used[to.Shown()], q.Shown()+" "+p.Shown())
			}
		}
		guivms := 0
		for tag := range q.Tags() {
			if _, is := tag.Cut("guivm-"); is {
				guivms++
			}
		}
		if c := q.Class(); c != qube.AdminVM && c != qube.RemoteVM {
			require.Equal(t, 1, guivms, "guivm- tags of %s", q.Shown())
		}
	}
	for q := range v.Qubes() {
		slices.Sort(used[q.Shown()])
		require.Equal(t, used[q.Shown()], referrersOf(v, q), "users of %s", q.Shown())
	}
}

// TestComingAndGoing makes random calls that create, remove, tag and refer: a call that fails leaves nothing behind, in
// memory or in the store; what is there is sound; events tell what happened; and the store holds what the views show.
func TestComingAndGoing(t *testing.T) {
	file := filepath.Join("testdata", "system.yaml")
	rapid.Check(t, func(t *rapid.T) {
		kept := &shelf{records: map[string][]byte{}}
		open := func() *inventory.Inventory {
			book, _, err := inventory.Open(kept, func() (*inventory.Snapshot, error) { return inventory.FromFile(file, properties.Schema{}) },
				inventory.Options{Reactions: reactions.All()})
			require.NoError(t, err)
			return book
		}
		s := start(t)
		s.book = open()
		names := []string{"a", "b", "a.b", "work", "base", "dvm", "Zoo", "away", "dom0", "disp1", "sys-net"}
		pick := func(what string) string { return rapid.SampledFrom(names).Draw(t, what) }
		there := func(what string) string {
			var all []string
			for q := range s.book.View().Qubes() {
				all = append(all, q.Shown())
			}
			return rapid.SampledFrom(all).Draw(t, what)
		}
		called := func(source, call, dest, payload string) string {
			records, commits, view := maps.Clone(kept.records), kept.commits, s.book.Snapshot()
			s.told = nil
			got := s.call(source, call, dest, payload)
			if !strings.HasPrefix(got, ok) {
				require.Same(t, view, s.book.Snapshot(), "%s %s %q: %s", call, dest, payload, got)
				require.Equal(t, commits, kept.commits)
				require.Equal(t, records, kept.records)
				for _, line := range s.told {
					require.Contains(t, line, "-pre-", "of a call that failed, announcements alone are told")
				}
			}
			return got
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				class := rapid.SampledFrom(qube.Classes).Draw(t, "class")
				name, source := pick("name"), there("source")
				call, payload := "admin.vm.Create."+class.Shown(), "name="+name+" label="+rapid.SampledFrom([]string{"red", "ghost"}).Draw(t, "label")
				if rapid.Bool().Draw(t, "in pools") {
					call = "admin.vm.CreateInPool." + class.Shown()
					payload += " " + rapid.SampledFrom([]string{"pool=varlibqubes", "pool=ghost", "pool:private=varlibqubes", "pool:root=linux-kernel"}).Draw(t, "pool")
				}
				if rapid.Bool().Draw(t, "on a template") {
					call += "+" + there("template")
				}
				if called(source, call, "dom0", payload) != ok {
					return
				}
				require.Equal(t, " domain-add vm="+name, s.told[0])
				tag := "created-by-" + source
				require.Contains(t, s.told, name+" domain-tag-add:"+tag+" tag="+tag)
				require.Equal(t, class != qube.RemoteVM, slices.Contains(s.told, name+" domain-create-on-disk"))
			},
			"create a disposable": func(t *rapid.T) {
				got := called(there("source"), "admin.vm.CreateDisposable", there("dest"), "")
				if name, made := strings.CutPrefix(got, ok); made {
					require.Equal(t, []string{" domain-add vm=" + name, name + " domain-create-on-disk"}, s.told[:2])
				}
			},
			"remove": func(t *rapid.T) {
				dest := there("dest")
				if called("dom0", "admin.vm.Remove", dest, "") == ok {
					require.Equal(t, []string{" domain-pre-delete vm=" + dest, " domain-delete vm=" + dest}, []string{s.told[0], s.told[len(s.told)-1]})
				}
			},
			"refer": func(t *rapid.T) {
				q, _ := s.book.View().QubeByID(s.uuid(there("who")))
				p := rapid.SampledFrom([]string{"netvm", "default_dispvm", "audiovm", "management_dispvm"}).Draw(t, "property")
				if q.Class() != qube.AdminVM && q.Class() != qube.RemoteVM {
					s.set(q.Shown(), p, there("whom"))
				}
			},
			"wish": func(t *rapid.T) {
				wish := rapid.SampledFrom([]string{"tag-created-vm-with", "set-created-guivm"}).Draw(t, "wish")
				called("dom0", "admin.vm.feature.Set+"+wish, there("who"), rapid.SampledFrom([]string{"", "x y", "a.b", "dom0", "work"}).Draw(t, "value"))
			},
			"set rules": func(t *rapid.T) {
				called("dom0", "admin.vm.firewall.Set", there("whose"), rapid.SampledFrom([]string{"action=drop", "action=accept proto=tcp dstports=22\naction=drop", "nonsense"}).Draw(t, "rules"))
			},
			"change state": func(t *rapid.T) {
				id, state := s.uuid(there("who")), rapid.SampledFrom([]qube.PowerState{qube.Halted, qube.Running}).Draw(t, "state")
				require.NoError(t, s.change(func(tx qube.Tx) error { return tx.SetRuntime(id, qube.Runtime{State: state}) }))
			},
			"reopen": func(t *rapid.T) {
				before := dump(s.book.View())
				s.book = open()
				require.Equal(t, before, dump(s.book.View()))
			},
			"": func(t *rapid.T) { sound(t, s.book.View()) },
		})
	})
}
