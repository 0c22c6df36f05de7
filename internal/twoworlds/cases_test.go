package twoworlds

import (
	"strings"

	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// The world that everybody may see. The source is mgmt. Files of it are one line for each thing, so that a test can add
// what is hidden.
const (
	head = `version: 1
global: {default_template: base, default_netvm: net}
simulated: {host_memory_mib: 8000, host_cpus: 4, start_order: [net]}
`
	fixedLabels  = "labels:\n  - {name: teal, color: \"0x008080\"}\n"
	fixedPools   = "pools:\n  - {name: vast, driver: file}\n"
	fixedKernels = "kernels:\n  - 6.6.1-1.fc37\n"
	fixedQubes   = `qubes:
  - {name: base, class: TemplateVM, uuid: 00000000-0000-4000-8000-00000000000a, qid: 1, features: {qrexec: "1"}, tags: [shown]}
  - {name: mgmt, class: AppVM, uuid: 00000000-0000-4000-8000-00000000000b, qid: 2, properties: {template: base, netvm: "", default_dispvm: dvm}, tags: [shown]}
  - {name: work, class: AppVM, uuid: 00000000-0000-4000-8000-00000000000c, qid: 3, properties: {template: base, netvm: ""}, features: {there: "1"}, tags: [shown]}
  - {name: dvm, class: AppVM, uuid: 00000000-0000-4000-8000-00000000000d, qid: 4, properties: {template: base, template_for_dispvms: true, netvm: ""}, tags: [shown]}
  - {name: net, class: StandaloneVM, uuid: 00000000-0000-4000-8000-00000000000e, qid: 5, state: Running, properties: {provides_network: true, netvm: "", memory: 400, maxmem: 400}, tags: [shown]}
  - {name: alone, class: StandaloneVM, uuid: 00000000-0000-4000-8000-00000000000f, qid: 6, properties: {netvm: "", provides_network: true}, tags: [shown]}
  - {name: spare, class: DispVM, uuid: 00000000-0000-4000-8000-000000000010, qid: 7, properties: {template: dvm, netvm: ""}, tags: [shown]}
  - {name: idle, class: AppVM, uuid: 00000000-0000-4000-8000-000000000012, qid: 9, properties: {template: base, template_for_dispvms: true, netvm: ""}, tags: [shown]}
  - {name: far, class: RemoteVM, uuid: 00000000-0000-4000-8000-000000000011, qid: 8, tags: [shown]}
`
	source = "mgmt"
)

// each is a visible qube of each class.
var each = map[qube.Class]string{
	qube.TemplateVM: "base", qube.AppVM: "work", qube.StandaloneVM: "alone", qube.DispVM: "spare", qube.RemoteVM: "far", qube.AdminVM: "dom0",
}

// kind is what is hidden: of each kind, one that could be used for something if it were seen.
type kind struct {
	what                      string
	qube, label, pool, kernel string // a line of the inventory
}

const (
	hiddenName = "ghost"
	hiddenID   = "99e663cd-a765-4c11-ac33-66fb1bcea8c7"
)

func hiddenQube(what, rest string) kind {
	return kind{what: what, qube: "  - {name: ghost, uuid: " + hiddenID + ", qid: 900, " + rest + "}\n"}
}

var (
	hiddenQubes = []kind{
		hiddenQube("template", "class: TemplateVM"),
		hiddenQube("net qube that runs", "class: StandaloneVM, state: Running, properties: {provides_network: true, netvm: '', memory: 400, maxmem: 400}"),
		hiddenQube("template of disposables", "class: AppVM, properties: {template: base, template_for_dispvms: true}"),
		hiddenQube("disposable", "class: DispVM, properties: {template: dvm}"),
		hiddenQube("remote qube", "class: RemoteVM"),
	}
	hiddenLabel  = kind{what: "label", label: "  - {name: ghost, color: \"0x123456\"}\n"}
	hiddenPool   = kind{what: "pool", pool: "  - {name: ghost, driver: file}\n"}
	hiddenKernel = kind{what: "kernel", kernel: "  - ghost\n"}
	hiddenKinds  = append([]kind{hiddenLabel, hiddenPool, hiddenKernel}, hiddenQubes...)
)

// inventory is the world's file, with what is hidden in it or without.
func (k kind) inventory(present bool) string {
	if !present {
		k = kind{}
	}
	return head + fixedLabels + k.label + fixedPools + k.pool + fixedKernels + k.kernel + fixedQubes + k.qube
}

// asked is how the calls of a method can name something. In arg and payload, {X} is the name of what may be hidden.
type asked struct {
	dest    string // a visible one that the method takes
	arg     string // with which the method is well called
	payload string
	names   []naming // how argument and payload can name something of a kind
	nothing string   // why they cannot, though the method takes one of them
}

type naming struct {
	dest, arg, payload string
	what               what
}

type what uint8

const (
	aQube   what = iota
	oneQube      // no matter of which kind
	aLabel
	aPool
	aKernel
)

const (
	noNames = "names of features and tags stand for themselves"
	noWords = "words of the protocol"
	noFiles = "whoever may see the policy's files sees whom they name; nobody asks whether these exist"
)

// calls has every method of the catalogue: a new one without its calls fails the test.
var calls = func() map[string]asked {
	onWork := asked{dest: "work"}
	onDom0 := asked{dest: "dom0"}
	feature := asked{dest: "work", arg: "there", nothing: noNames}
	tag := asked{dest: "work", arg: "sometag", nothing: noNames}
	device := asked{dest: "work", names: []naming{{"work", "{X}+1", "", aQube}, {"dom0", "{X}+1", "", aQube}}}
	all := map[string]asked{
		"admin.vmclass.List":    onDom0,
		"admin.vm.List":         onWork,
		"admin.vm.CurrentState": onWork,

		"admin.vm.property.List":       onWork,
		"admin.vm.property.Get":        {dest: "work", arg: "netvm", nothing: noWords},
		"admin.vm.property.GetAll":     onWork,
		"admin.vm.property.GetDefault": {dest: "work", arg: "netvm", nothing: noWords},
		"admin.vm.property.Set":        {dest: "work", arg: "memory", payload: "500", names: propertyNames()},
		"admin.vm.property.Reset":      {dest: "work", arg: "memory", nothing: noWords},
		"admin.vm.property.Help":       {dest: "work", arg: "memory", nothing: noWords},
		"admin.property.List":          onDom0,
		"admin.property.Get":           {dest: "dom0", arg: "default_netvm", nothing: noWords},
		"admin.property.GetAll":        onDom0,
		"admin.property.GetDefault":    {dest: "dom0", arg: "default_netvm", nothing: noWords},
		"admin.property.Set":           {dest: "dom0", arg: "default_netvm", payload: "net", names: globalNames()},
		"admin.property.Reset":         {dest: "dom0", arg: "updatevm", nothing: noWords},
		"admin.property.Help":          {dest: "dom0", arg: "updatevm", nothing: noWords},

		"admin.label.List":   onDom0,
		"admin.label.Get":    {dest: "dom0", arg: "red", names: []naming{{"dom0", "{X}", "", aLabel}, {"dom0", "10", "", aLabel}}},
		"admin.label.Index":  {dest: "dom0", arg: "red", names: []naming{{"dom0", "{X}", "", aLabel}, {"dom0", "10", "", aLabel}}},
		"admin.label.Create": {dest: "dom0", arg: "pink", payload: "0xff00ff", nothing: "its name is a new one: see the table of necessities"},
		"admin.label.Remove": {dest: "dom0", arg: "teal", names: []naming{{"dom0", "{X}", "", aLabel}, {"dom0", "10", "", aLabel}}},

		"admin.vm.feature.List":                        onWork,
		"admin.vm.feature.Get":                         feature,
		"admin.vm.feature.CheckWithTemplate":           feature,
		"admin.vm.feature.CheckWithNetvm":              feature,
		"admin.vm.feature.CheckWithAdminVM":            feature,
		"admin.vm.feature.CheckWithTemplateAndAdminVM": feature,
		"admin.vm.feature.Remove":                      feature,
		"admin.vm.feature.Set": {dest: "work", arg: "there", payload: "2", names: []naming{
			{"work", "some", "{X}", aQube}, {"mgmt", "set-created-guivm", "{X}", aQube}, {"far", "set-created-guivm", "{X}", aQube},
			{"dom0", "set-created-guivm", "{X}", aQube},
			{"mgmt", "tag-created-vm-with", "{X} created-by-{X} guivm-{X}", aQube}, {"dvm", "preload-dispvm", "{X}", aQube},
			{"work", "service.app-dispvm.{X}", "1", aQube}, {"work", "vm-config.a", "{X}", aQube},
		}},
		"dest.feat.Set": {dest: "work", arg: "there", payload: "2", names: []naming{{"work", "there", "{X}", aQube}}},

		"admin.vm.tag.List": onWork,
		"admin.vm.tag.Get":  tag,
		"admin.vm.tag.Set": {dest: "work", arg: "sometag", names: []naming{
			{"work", "created-by-{X}", "", aQube}, {"work", "disp-created-by-{X}", "", aQube}, {"work", "guivm-{X}", "", aQube}, {"far", "relayvm-{X}", "", aQube},
		}},
		"admin.vm.tag.Remove": {dest: "work", arg: "sometag", names: []naming{{"work", "created-by-{X}", "", aQube}}},

		"admin.vm.notes.Get": onWork,
		"admin.vm.notes.Set": {dest: "work", payload: "text", nothing: "nobody reads notes but people"},

		"admin.vm.CreateDisposable": {dest: "dvm", nothing: noWords},
		"admin.vm.Remove":           onWork,

		"admin.deviceclass.List":         onDom0,
		"admin.vm.device.block.Assigned": device,
		"admin.vm.device.pci.Assigned":   device,

		"admin.vm.volume.List":      onWork,
		"admin.vm.volume.Info":      {dest: "work", arg: "private", nothing: noWords},
		"admin.vm.volume.CloneFrom": {dest: "work", arg: "private", nothing: noWords},
		"admin.vm.volume.CloneTo":   {dest: "work", arg: "private", payload: strings.Repeat("x", 32), nothing: "a token is a secret of whom it was given to"},

		"admin.vm.firewall.Get": onWork,
		"admin.vm.firewall.Set": {dest: "work", payload: "action=accept", names: []naming{{"work", "", "action=accept dsthost={X}", aQube}}},

		"admin.vm.Start":    onWork,
		"admin.vm.Shutdown": {dest: "work", arg: "force", nothing: noWords},
		"admin.vm.Pause":    onWork,
		"admin.vm.Unpause":  onWork,
		"admin.vm.Suspend":  onWork,
		"admin.vm.Resume":   onWork,
		"admin.vm.Kill":     onWork,
		"admin.vm.Console":  onWork,

		"policy.List":            onDom0,
		"policy.Get":             {dest: "dom0", arg: "30-user", nothing: noFiles},
		"policy.Replace":         {dest: "dom0", arg: "30-user", payload: "any\n# {X}\n", nothing: noFiles},
		"policy.Remove":          {dest: "dom0", arg: "30-user", payload: "any", nothing: noFiles},
		"policy.include.List":    onDom0,
		"policy.include.Get":     {dest: "dom0", arg: "mine", nothing: noFiles},
		"policy.include.Replace": {dest: "dom0", arg: "mine", payload: "any\n# {X}\n", nothing: noFiles},
		"policy.include.Remove":  {dest: "dom0", arg: "mine", payload: "any", nothing: noFiles},
		"policy.GetFiles":        {dest: "dom0", arg: "admin.vm.List", nothing: noFiles},

		"admin.Events":   {dest: "dom0", arg: "from-now", nothing: noWords},
		"admin.vm.Stats": {dest: "dom0"},
	}
	for _, class := range qube.Classes {
		c := asked{dest: "dom0", payload: "name=new label=red", names: []naming{{"dom0", "", "name=new label={X}", aLabel}}}
		in := asked{dest: "dom0", payload: "name=new label=red pool=vast", names: []naming{
			{"dom0", "", "name=new label={X} pool=vast", aLabel},
			{"dom0", "", "name=new label=red pool={X}", aPool}, {"dom0", "", "name=new label=red pool:private={X}", aPool},
			{"dom0", "", "name=new label=red pool:private=vast pool:root={X}", aPool},
		}}
		if class == qube.AppVM || class == qube.DispVM {
			c.names = append(c.names, naming{"dom0", "{X}", "name=new label=red", aQube})
			in.names = append(in.names, naming{"dom0", "{X}", "name=new label=red pool=vast", aQube})
		}
		all["admin.vm.Create."+class.Shown()], all["admin.vm.CreateInPool."+class.Shown()] = c, in
	}
	return all
}()

// propertyNames are the values of all properties of all classes, since it is not for this table to know which of them name
// something.
func propertyNames() (all []naming) {
	for _, class := range qube.Classes {
		q := each[class]
		all = append(all, values(q, properties.Of(class))...)
		all = append(all, naming{q, "label", "10", aLabel}, naming{q, "label", "label-10", aLabel})
	}
	return all
}

func globalNames() []naming { return values("dom0", properties.OfTheSystem()) }

func values(dest string, of []*properties.Property) (all []naming) {
	for _, p := range of {
		if !p.Settable() {
			continue
		}
		reference := oneQube
		if p.Type.IsReference() {
			reference = aQube
		}
		for _, what := range []what{reference, aLabel, aPool, aKernel} {
			all = append(all, naming{dest, p.Name.Shown(), "{X}", what})
		}
	}
	return all
}
