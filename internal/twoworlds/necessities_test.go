package twoworlds

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
	"sallyport/stages/permission"
)

// shows is a call by which something hidden shows.
type shows struct {
	hidden kind
	before []request // by dom0, and by the source, in both worlds
	request
}

func ghost(rest string) kind { return hiddenQube("", rest) }

// necessary are the calls of permission.Necessities, by name.
var necessary = func() map[string][]shows {
	created := func(class qube.Class) string {
		if class == qube.RemoteVM || class == qube.TemplateVM || class == qube.StandaloneVM {
			return class.Shown()
		}
		return map[qube.Class]string{qube.AppVM: "AppVM+base", qube.DispVM: "DispVM+dvm"}[class]
	}
	dom0 := func(method, dest, payload string) request { return request{"dom0", method, dest, payload} }
	by := func(method, dest, payload string) request { return request{source, method, dest, payload} }
	all := map[string][]shows{
		"taken label":  {{hiddenLabel, nil, by("admin.label.Create+"+hiddenName, "dom0", "0xff00ff")}},
		"label in use": {{ghost("class: RemoteVM, label: teal"), nil, by("admin.label.Remove+teal", "dom0", "")}},
		"qube in use": {
			{ghost("class: StandaloneVM, properties: {netvm: alone}"), nil, by("admin.vm.Remove", "alone", "")},
			{ghost("class: AppVM, properties: {template: base, default_dispvm: idle}"), nil, by("admin.vm.Remove", "idle", "")},
		},
		"net qube in use": {{ghost("class: StandaloneVM, state: Running, properties: {netvm: net, memory: 400, maxmem: 400}"), nil,
			by("admin.vm.Shutdown", "net", "")}},
		"display qube in use": {{ghost("class: StandaloneVM, state: Running, properties: {netvm: '', guivm: net, memory: 400, maxmem: 400}"), nil,
			by("admin.vm.Shutdown", "net", "")}},
		"audio qube in use": {{ghost("class: StandaloneVM, state: Running, properties: {netvm: '', audiovm: net, memory: 400, maxmem: 400}"), nil,
			by("admin.vm.Shutdown", "net", "")}},
		"network in use": {
			{ghost("class: StandaloneVM, properties: {netvm: alone}"), nil, by("admin.vm.property.Set+provides_network", "alone", "False")},
			{ghost("class: StandaloneVM, properties: {netvm: alone}"), nil, by("admin.vm.property.Reset+provides_network", "alone", "")},
		},
		"running followers": {{ghost("class: StandaloneVM, state: Running, properties: {memory: 400, maxmem: 400}"), nil,
			by("admin.property.Set+default_netvm", "dom0", "alone")}},
		"memory of the host": {{ghost("class: StandaloneVM, state: Running, properties: {memory: 7000, maxmem: 7000}"),
			[]request{dom0("admin.vm.property.Set+maxmem", "work", "3000"), dom0("admin.vm.property.Set+memory", "work", "3000")}, by("admin.vm.Start", "work", "")}},
		"numbers": {
			{kind{qube: strings.Replace(hiddenQubes[0].qube, "qid: 900", "qid: 10", 1)}, []request{by("admin.vm.Create.RemoteVM", "dom0", "name=new label=red")},
				by("admin.vm.property.Get+qid", "new", "")},
		},
	}
	// Disposables are in use by one that is based on them, or that names them.
	all["disposables in use"] = []shows{
		{ghost("class: AppVM, properties: {template: base, default_dispvm: idle}"), nil, by("admin.vm.property.Set+template_for_dispvms", "idle", "False")},
		{ghost("class: DispVM, properties: {template: idle}"), nil, by("admin.vm.property.Reset+template_for_dispvms", "idle", "")},
		{ghost("class: DispVM, state: Running, properties: {template: idle, memory: 400, maxmem: 400}"), nil, by("admin.vm.property.Set+template", "idle", "base")},
	}
	for _, class := range qube.Classes {
		if class == qube.AdminVM {
			continue
		}
		all["taken name"] = append(all["taken name"], shows{hiddenQubes[0], nil, by("admin.vm.Create."+created(class), "dom0", "name=ghost label=red")})
		if class != qube.RemoteVM {
			all["taken name"] = append(all["taken name"],
				shows{hiddenQubes[0], nil, by("admin.vm.CreateInPool."+created(class), "dom0", "name=ghost label=red pool:volatile=varlibqubes")})
		}
	}
	return all
}()

// TestNecessities: each is needed, which is to say that it shows; in the way that the table tells, and in no other.
func TestNecessities(t *testing.T) {
	var names []string
	for _, n := range permission.Necessities {
		t.Run(n.Name, func(t *testing.T) {
			asked := map[string]bool{}
			for _, s := range necessary[n.Name] {
				var frames [2]string
				for i := range frames {
					rules := hidesGhost + allowsRest // some of what shows is about labels that the source may see
					if s.hidden.label != "" {
						rules = byName
					}
					w := begin(t, options{inventory: s.hidden.inventory(i == 1), judge: obeying(rules), quiet: true})
					for _, r := range s.before {
						require.True(t, strings.HasPrefix(w.call(r), "0\x00"), "%+v", r)
					}
					frames[i] = w.call(s.request)
					w.stop()
				}
				method, _, _ := strings.Cut(s.method, "+")
				asked[method] = true
				assert.NotEqual(t, frames[0], frames[1], "%+v shows nothing: strike it from the table", s.request)
				if n.Type != "" {
					assert.False(t, strings.HasPrefix(frames[0], "2\x00"+string(n.Type)), "%+v: %q", s.request, frames[0])
					assert.True(t, strings.HasPrefix(frames[1], "2\x00"+string(n.Type)+"\x00"), "%+v: %q", s.request, frames[1])
				}
				if n.Name != "taken name" && n.Name != "taken label" { // where the caller has said the name himself
					assert.NotContains(t, frames[1], hiddenName, "%+v names who is hidden", s.request)
				}
			}
			assert.ElementsMatch(t, n.Methods, slices.Collect(maps.Keys(asked)), "the table has the methods that were seen to tell it")
		})
		names = append(names, n.Name)
	}
	assert.ElementsMatch(t, names, slices.Collect(maps.Keys(necessary)))
}
