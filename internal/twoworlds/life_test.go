package twoworlds

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/judge"
	"sallyport/internal/policy"
)

// TestAHiddenLife: whatever is done to a qube and with it, who may not see it hears nothing, though it uses the network,
// the display and the sound of those that he sees, is their disposable, and follows the system's defaults.
func TestAHiddenLife(t *testing.T) {
	quiet := []request{ // done by dom0 in both worlds, and heard of
		{"dom0", "admin.vm.feature.Set+a", "work", "1"},
	}
	hidden := []request{ // done by dom0 where it is
		{"dom0", "admin.vm.Create.AppVM+base", "dom0", "name=ghost label=red"},
		{"dom0", "admin.vm.feature.Set+a", hiddenName, "1"},
		{"dom0", "admin.vm.tag.Set+a", hiddenName, ""},
		{"dom0", "admin.vm.tag.Remove+a", hiddenName, ""},
		{"dom0", "admin.vm.notes.Set", hiddenName, "text"},
		{"dom0", "admin.vm.property.Set+label", hiddenName, "blue"},
		{"dom0", "admin.vm.property.Set+netvm", hiddenName, "net"},
		{"dom0", "admin.vm.property.Set+guivm", hiddenName, "net"},
		{"dom0", "admin.vm.property.Set+audiovm", hiddenName, "net"},
		{"dom0", "admin.vm.property.Set+default_dispvm", hiddenName, "dvm"},
		{"dom0", "admin.vm.firewall.Set", hiddenName, "action=drop"},
		{"dom0", "admin.vm.Start", hiddenName, ""},
		{"dom0", "admin.vm.property.Set+netvm", hiddenName, ""},
		{"dom0", "admin.vm.property.Set+netvm", hiddenName, "net"}, // net-domain-connect
		{"dom0", "admin.vm.property.Reset+netvm", hiddenName, ""},
		{"dom0", "admin.vm.Pause", hiddenName, ""},
		{"dom0", "admin.vm.Unpause", hiddenName, ""},
		{"dom0", "admin.vm.Kill", hiddenName, ""},
		{"dom0", "admin.vm.Remove", hiddenName, ""},
	}
	var told [2][]string
	for i := range told {
		w := begin(t, options{inventory: kind{}.inventory(false), judge: obeying(byName), quiet: true})
		s := w.subscribe(source)
		for _, r := range quiet {
			require.True(t, strings.HasPrefix(w.call(r), "0\x00"), "%+v", r)
		}
		if i == 1 {
			for _, r := range hidden {
				require.True(t, strings.HasPrefix(w.call(r), "0\x00"), "%+v", r)
			}
		}
		told[i] = s.sinceLast("mgmt")
	}
	assert.NotEmpty(t, told[0])
	assert.Equal(t, told[0], told[1])
}

// TestWishesNameNobody: what a source has what it creates given, by features, tells it of nobody either.
func TestWishesNameNobody(t *testing.T) {
	for _, k := range hiddenQubes {
		t.Run(k.what, func(t *testing.T) {
			p := newPair(t, k, byName)
			for i, wish := range []request{
				{source, "admin.vm.feature.Set+set-created-guivm", "mgmt", "{X}"},
				{source, "admin.vm.feature.Set+tag-created-vm-with", "mgmt", "created-by-{X}"},
				{source, "admin.vm.feature.Set+tag-created-vm-with", "mgmt", "guivm-{X} audiovm-{X} disp-created-by-{X}"},
				{source, "admin.vm.feature.Set+tag-created-vm-with", "mgmt", "guivm-{X} audiovm-{X}"},
				{source, "admin.vm.feature.Set+preload-dispvm-max", "dvm", "0"},
			} {
				wish.payload = named(wish.payload, hiddenName)
				p.same(wish)
				p.same(request{source, "admin.vm.Create.AppVM+base", "dom0", "name=new" + string(rune('a'+i)) + " label=red"})
				p.same(request{source, "admin.vm.CreateDisposable", "dvm", ""})
			}
		})
	}
}

// TestANetvmThatFails is not spoken of, neither in the reply nor in the events of the qube that was to be started. Its own
// events tell who sees it; dom0 is told all.
func TestANetvmThatFails(t *testing.T) {
	k := ghost("class: StandaloneVM, properties: {provides_network: true, netvm: ''}, features: {prohibit-start: 'a secret reason'}")
	w := begin(t, options{inventory: k.inventory(true), judge: obeying(byName), quiet: true})
	w.dom0("admin.vm.property.Set+netvm", "work", hiddenName)
	of := w.subscribe(source)
	everything := w.subscribe("dom0")
	for from, names := range map[string]bool{source: false, "dom0": true} {
		frame := w.call(request{from, "admin.vm.Start", "work", ""})
		assert.True(t, strings.HasPrefix(frame, "2\x00Qubes"), "%q", frame)
		assert.Equal(t, names, strings.Contains(frame, "ghost\x00a secret reason"), "%q", frame)
		assert.Equal(t, names, strings.Contains(frame, "ghost"), "%q", frame)
	}
	events := strings.Join(of.sinceLast("mgmt"), "\n")
	assert.Contains(t, events, "1 work domain-start-failed")
	assert.NotContains(t, events, hiddenName)
	assert.NotContains(t, events, "secret")
	assert.Contains(t, strings.Join(everything.sinceLast("mgmt"), "\n"), "1 ghost domain-start-failed reason=qube ghost is not to be started: a secret reason")
}

// TestWhatAQubeHasIsTheSameForAll who may ask, whether or not they see what it follows from.
func TestWhatAQubeHasIsTheSameForAll(t *testing.T) {
	nobody := obeying("admin.vm.List * mgmt @adminvm deny\nadmin.vm.List * mgmt @anyvm deny\n" + hidesSystem + allowsRest)
	w := begin(t, options{inventory: head + "pools:\n  - {name: default, driver: file}\n" + fixedQubes, judge: nobody, quiet: true})
	for _, r := range []request{
		{"dom0", "admin.vm.property.Set+netvm", "work", "net"}, // which has its own from nobody
		{"dom0", "admin.vm.property.Set+netvm", "alone", "net"},
		{"dom0", "admin.vm.property.Set+netvm", "dvm", "alone"},
		{"dom0", "admin.vm.feature.Set+ipv6", "net", "1"},
		{"dom0", "admin.vm.feature.Set+deep", "base", "1"},
		{"dom0", "admin.vm.property.Set+guivm", "spare", "work"},
		{"dom0", "admin.vm.property.Set+guivm", "work", "dvm"},
		{"dom0", "admin.vm.property.Set+keyboard_layout", "dvm", "de++"},
		{"dom0", "admin.vm.property.Set+management_dispvm", "base", "idle"},
	} {
		require.True(t, strings.HasPrefix(w.call(r), "0\x00"), "%+v", r)
	}
	for _, q := range []string{"dom0", "base", "mgmt", "work", "dvm", "net", "alone", "spare", "idle", "far"} {
		for _, read := range []string{
			"admin.vm.property.GetAll", "admin.vm.volume.Info+root", "admin.vm.volume.Info+private", "admin.vm.CurrentState",
			"admin.vm.feature.CheckWithTemplate+deep", "admin.vm.feature.CheckWithNetvm+ipv6", "admin.vm.feature.CheckWithTemplateAndAdminVM+deep",
		} {
			assert.Equal(t, w.call(request{"dom0", read, q, ""}), w.call(request{source, read, q, ""}), "%s of %s", read, q)
		}
	}
	assert.Equal(t, w.call(request{"dom0", "admin.property.GetAll", "dom0", ""}), w.call(request{source, "admin.property.GetAll", "dom0", ""}))
	assert.Contains(t, w.call(request{source, "admin.property.Get+default_pool", "dom0", ""}), " default")
}

// TestATokenIsWorthNoMoreThanTheCallThatGaveIt: one for a qube that is removed, may be seen no more, or may be copied no
// more, is like one that there never was.
func TestATokenIsWorthNoMoreThanTheCallThatGaveIt(t *testing.T) {
	const never, good = "2\x00QubesVolumeCopyTokenNotFoundError\x00\x00there is no such token\x00", "0\x00"
	untag := func(w *world, _ *judge.Judge) { w.dom0("admin.vm.tag.Remove+shown", "idle", "") }
	for name, c := range map[string]struct {
		meanwhile func(*world, *judge.Judge)
		by, want  string
	}{
		"nothing":              {func(*world, *judge.Judge) {}, source, good},
		"it is removed":        {func(w *world, _ *judge.Judge) { w.dom0("admin.vm.Remove", "idle", "") }, source, never},
		"it is hidden":         {untag, source, never},
		"it is hidden by name": {func(_ *world, j *judge.Judge) { j.Use(must(policy.Parse("p", "* * mgmt idle deny\n"+allowsRest))) }, source, never},
		"it is seen, and not to be copied": {func(_ *world, j *judge.Judge) {
			j.Use(must(policy.Parse("p", "admin.vm.volume.CloneFrom * mgmt idle deny\n"+allowsRest)))
		}, source, never},
		"the volume is not to be copied": {func(_ *world, j *judge.Judge) {
			j.Use(must(policy.Parse("p", "admin.vm.volume.CloneFrom +private mgmt idle deny\n"+allowsRest)))
		}, source, never},
		"dom0 sees everything": {untag, "dom0", good},
	} {
		t.Run(name, func(t *testing.T) {
			j := obeying(byTag)
			w := begin(t, options{inventory: kind{}.inventory(false), judge: j, quiet: true})
			token := strings.TrimPrefix(w.call(request{c.by, "admin.vm.volume.CloneFrom+private", "idle", ""}), "0\x00")
			c.meanwhile(w, j)
			assert.Equal(t, c.want, w.call(request{c.by, "admin.vm.volume.CloneTo+private", "work", token}))
			assert.Equal(t, never, w.call(request{c.by, "admin.vm.volume.CloneTo+private", "work", token}), "it is used up")
			assert.Equal(t, never, w.call(request{c.by, "admin.vm.volume.CloneTo+private", "work", strings.Repeat("x", 32)}))
		})
	}
}

// TestKernels are shown to whom policy lets list the volumes of their pool. Anybody else can name the one alone that the
// qube has, as he may ask for that.
func TestKernels(t *testing.T) {
	const installed, lists = "6.6.1-1.fc37", "admin.pool.volume.List +linux-kernel mgmt @adminvm allow target=dom0\n"
	for rules, sees := range map[string]bool{byName: false, byTag: false, lists + byName: true} {
		w := begin(t, options{inventory: kind{}.inventory(false), judge: obeying(rules), quiet: true})
		set := func(method, dest, kernel string) bool {
			return strings.HasPrefix(w.call(request{source, method, dest, kernel}), "0\x00")
		}
		assert.Equal(t, sees, set("admin.vm.property.Set+kernel", "work", installed))
		assert.Equal(t, sees, set("admin.property.Set+default_kernel", "dom0", installed))
		assert.False(t, set("admin.vm.property.Set+kernel", "work", hiddenName))
		w.dom0("admin.property.Set+default_kernel", "dom0", installed)
		for _, q := range []string{"alone", "base", "dvm"} { // by default, which for dvm is what base has
			assert.True(t, set("admin.vm.property.Set+kernel", q, installed), q)
		}
		assert.True(t, set("admin.property.Set+default_kernel", "dom0", installed))
		assert.True(t, set("admin.vm.property.Set+kernel", "alone", ""))
		assert.Equal(t, sees, set("admin.vm.property.Set+kernel", "alone", installed), "it has that no more")
	}
}

// TestEventsAboutTwo: an event of a qube that the source sees, about one that it does not, is as if it had not been.
func TestEventsAboutTwo(t *testing.T) {
	refused := func(w *world, method, dest, payload string) {
		frame := w.call(request{"dom0", method, dest, payload})
		require.True(t, strings.HasPrefix(frame, "2\x00QubesVM"), "%q", frame)
	}
	for what, c := range map[string]struct {
		before, happens func(*world)
		event           string // as dom0 is told of it
		more            bool   // something else happens, which the source is told of
	}{
		"a client that runs": {
			func(w *world) {
				w.dom0("admin.vm.Create.StandaloneVM", "dom0", "name=ghost label=red")
				w.dom0("admin.vm.property.Set+netvm", hiddenName, "")
				w.dom0("admin.vm.Start", hiddenName, "")
			},
			func(w *world) { w.dom0("admin.vm.property.Set+netvm", hiddenName, "net") },
			"1 net net-domain-connect vm=ghost", false,
		},
		"a copy of its volume": {
			func(w *world) { w.dom0("admin.vm.Create.TemplateVM", "dom0", "name=ghost label=red") },
			func(w *world) {
				w.dom0("admin.vm.volume.CloneTo+private", "work", w.dom0("admin.vm.volume.CloneFrom+private", hiddenName, ""))
			},
			"1 work domain-import-volume name=private source=<Volume varlibqubes:vm-templates/ghost/private>", false,
		},
		"what a qube shall refer to, and is refused": {
			func(w *world) {
				w.dom0("admin.vm.Create.TemplateVM", "dom0", "name=ghost label=red")
				w.dom0("admin.vm.Start", "work", "")
			},
			func(w *world) { refused(w, "admin.vm.property.Set+template", "work", hiddenName) },
			"1 work property-pre-set:template name=template newvalue=ghost oldvalue=base", false,
		},
		"what the system shall refer to, and is refused": {
			func(w *world) {
				w.dom0("admin.vm.Create.StandaloneVM", "dom0", "name=ghost label=red")
				w.dom0("admin.vm.property.Set+netvm", hiddenName, "")
				w.dom0("admin.vm.property.Set+provides_network", hiddenName, "True")
				w.dom0("admin.vm.property.Reset+netvm", "work", "")
				w.dom0("admin.vm.Start", "work", "")
			},
			func(w *world) { refused(w, "admin.property.Set+default_netvm", "dom0", hiddenName) },
			"1  property-pre-set:default_netvm name=default_netvm newvalue=ghost oldvalue=net", false,
		},
		"a disposable that somebody else uses": {
			func(w *world) {
				w.dom0("admin.vm.feature.Set+supported-rpc.qubes.WaitForRunningSystem", "dvm", "1")
				w.dom0("admin.vm.feature.Set+supported-rpc.qubes.WaitForSession", "dvm", "1")
				w.dom0("admin.vm.feature.Set+preload-dispvm-max", "dvm", "1")
				w.dom0("admin.vm.CreateDisposable+preload", "dvm", "")
			},
			func(w *world) { w.dom0("admin.vm.CreateDisposable", "dvm", "") },
			"1 dvm domain-preload-dispvm-used dispvm=disp2 delay=3", true,
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := begin(t, options{inventory: kind{}.inventory(false), judge: obeying("* * mgmt disp2 deny\n" + byName), quiet: true})
			c.before(w)
			told, everything := w.subscribe(source), w.subscribe("dom0")
			c.happens(w)
			assert.Contains(t, strings.Join(everything.sinceLast("mgmt"), "\n"), c.event)
			heard := told.sinceLast("mgmt")
			assert.NotContains(t, strings.Join(heard, "\n"), c.event)
			assert.Equal(t, c.more, len(heard) > 0, "%s", heard)
		})
	}
}

// TestWhatAQubeRefersTo is told to whoever may ask for it, by events as by calls, though not before it is so.
func TestWhatAQubeRefersTo(t *testing.T) {
	k := ghost("class: StandaloneVM, properties: {provides_network: true, netvm: ''}")
	w := begin(t, options{inventory: k.inventory(true), judge: obeying(byName), quiet: true})
	told, everything := w.subscribe(source), w.subscribe("dom0")
	for _, p := range []struct{ method, get, dest, who string }{
		{"admin.vm.property.Set+netvm", "admin.vm.property.Get+netvm", "work", "work"},
		{"admin.vm.property.Set+guivm", "admin.vm.property.Get+guivm", "work", "work"},
		{"admin.property.Set+updatevm", "admin.property.Get+updatevm", "dom0", ""},
	} {
		_, property, _ := strings.Cut(p.method, "+")
		set := "property-set:" + property + " name=" + property + " newvalue="
		w.dom0(p.method, p.dest, hiddenName)
		assert.Contains(t, w.call(request{source, p.get, p.dest, ""}), " "+hiddenName)
		w.dom0(p.method, p.dest, "")
		all, heard := strings.Join(everything.sinceLast("mgmt"), "\n"), strings.Join(told.sinceLast("mgmt"), "\n")
		for _, what := range []string{"1 " + p.who + " " + set + "ghost oldvalue=", "1 " + p.who + " " + set + "None oldvalue=ghost"} {
			assert.Contains(t, all, what)
			assert.Contains(t, heard, what)
		}
		announced := "property-pre-set:" + property + " name=" + property + " newvalue="
		assert.Contains(t, all, announced+"ghost")
		assert.NotContains(t, heard, announced+"ghost")
		assert.Contains(t, heard, announced+"None oldvalue=ghost")
	}
	w.dom0("admin.property.Set+default_guivm", "dom0", hiddenName)
	assert.Contains(t, told.sinceLast("mgmt"), "1 idle property-set:guivm name=guivm newvalue=ghost oldvalue=dom0", "which follows it")
}
