package properties

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// What a property has where nothing is set. None of these is asked about a qube that does not have the property.

func always(text string) func(reading) string { return func(reading) string { return text } }

// none is None by default, which is another thing than no default.
var none = always("")

// fromTemplate is the value that the same property has for the template of the qube; without a template that has it,
// otherwise (spec: properties.yaml notes.template_value).
func fromTemplate(name qube.PropertyName, otherwise func(reading) string) func(reading) string {
	return func(r reading) string {
		if t, ok := r.view.Template(r.q); ok {
			if of := r.of(t); of.has(name) {
				return of.value(name)
			}
		}
		return otherwise(r)
	}
}

// fromSystem is a property of the system.
func fromSystem(name qube.PropertyName) func(reading) string {
	return func(r reading) string { return r.system().value(name) }
}

func (r reading) has(name qube.PropertyName) bool {
	_, ok := r.find(name)
	return ok
}

// feature is the value of a feature in the first of the qube and its templates that has it.
func (r reading) feature(name string) (string, bool) {
	return featureIn(name, r.q, r.view.Template)
}

// networkFeature looks in the qube and its net qubes.
func (r reading) networkFeature(name string) (string, bool) {
	return featureIn(name, r.q, r.view.Netvm)
}

func featureIn(name string, q qube.Qube, next func(qube.Qube) (qube.Qube, bool)) (string, bool) {
	f, err := qube.ParseFeatureName(name)
	if err != nil { // part of it may be any text
		return "", false
	}
	for at := range action.Chain(q, next) {
		if v, ok := at.Feature(f); ok {
			return v.Shown(), true
		}
	}
	return "", false
}

// iconOf is what a qube looks like (spec: properties.yaml LocalVM.icon).
func iconOf(r reading) string {
	prefix := "appvm-"
	server, _ := r.q.Feature(servicevm)
	switch c := r.q.Class(); {
	case c == qube.TemplateVM:
		prefix = "templatevm-"
	case c == qube.RemoteVM && server == (qube.FeatureValue{}):
		prefix = "remotevm-"
	case server != (qube.FeatureValue{}):
		prefix = "servicevm-"
	case c == qube.DispVM:
		prefix = "dispvm-"
	case c == qube.StandaloneVM:
		prefix = "standalonevm-"
	}
	return prefix + r.q.Label().Shown()
}

// appIconOf shows a template of disposables as a template.
func appIconOf(r reading) string {
	if r.flag(TemplateForDispvms) {
		return "templatevm-" + r.q.Label().Shown()
	}
	return iconOf(r)
}

// maxmemOf is spec: properties.yaml QubesVM.maxmem.
func maxmemOf(r reading) string {
	if !r.balances() {
		return "0"
	}
	return fromTemplate(Maxmem, func(r reading) string {
		most := uint64(4000)
		if os, _ := r.q.Feature(osFeature); os.Shown() == "Linux" {
			memory, _ := strconv.ParseUint(r.value(Memory), 10, 32)
			most = memory * 10
		}
		return strconv.FormatUint(min(most, r.view.Host().MemoryMiB/2), 10)
	})(r)
}

// balances reports whether the memory of a qube can be balanced: a fully virtualized one has to say so.
func (r reading) balances() bool {
	if r.value(virtMode) != "hvm" {
		return true
	}
	if _, ok := r.feature("qrexec"); !ok {
		return false
	}
	if _, ok := r.feature("supported-service.meminfo-writer"); ok {
		return true
	}
	for at := range action.Chain(r.q, r.view.Template) {
		for f := range at.Features() {
			if _, ok := f.Cut("supported-service."); ok {
				return false
			}
		}
	}
	return true
}

// kernelOptions are the reference's for a kernel that brings none of its own.
func kernelOptions(r reading) string {
	if r.value(Kernel) == "" {
		return ""
	}
	return fromTemplate(kernelopts, always("swiotlb=2048"))(r)
}

// bootMode is spec: properties.yaml QubesVM.bootmode.
func bootMode(r reading) string {
	known := func(mode string) bool {
		_, has := r.feature("boot-mode.kernelopts." + mode)
		return mode == "default" || has
	}
	if mode, ok := r.feature("boot-mode.active"); ok && known(mode) {
		return mode
	}
	for at := range action.Chain(r.q, r.view.Template) {
		if of := r.of(at); of.has(appvmBootmode) && at.ID() != r.q.ID() {
			if mode := of.value(appvmBootmode); known(mode) {
				return mode
			}
		}
	}
	return "default"
}

func appvmBootMode(r reading) string {
	if mode, ok := r.q.Feature(appvmDefaultMode); ok {
		return mode.Shown()
	}
	return "default"
}

// keyboardOf is the layout of the GUI qube, or of that one's, and so on.
func keyboardOf(r reading) string {
	gui := func(q qube.Qube) (qube.Qube, bool) { return r.of(q).refersTo(Guivm) }
	for at := range action.Chain(r.q, gui) {
		of := r.of(at)
		if p, ok := of.find(keyboardLayout); ok {
			if layout, set := of.explicit(p); set {
				return layout
			}
		}
	}
	return plainKeyboard
}

const plainKeyboard = "us++"

// networked reports whether a qube has a network, its own or another's.
func (r reading) networked() bool { return r.value(Netvm) != "" || r.flag(ProvidesNetwork) }

// number is what a qube's addresses are made of.
func (r reading) number() (n int, disposable bool) {
	if r.q.Class() == qube.DispVM {
		n, _ = strconv.Atoi(r.value(dispid))
		return n, true
	}
	return r.q.QID(), false
}

func ipOf(r reading) string {
	if !r.networked() {
		return ""
	}
	n, disposable := r.number()
	net, high, low := 137, n>>8, n&255
	if disposable {
		net = 138
	}
	if n >= 255 {
		high, low = (n-1)/254, (n-1)%254+1
	}
	return fmt.Sprintf("10.%d.%d.%d", net, high, low)
}

func ip6Of(r reading) string {
	if !r.networked() || !r.ipv6() {
		return ""
	}
	n, disposable := r.number()
	kind := "a89"
	if disposable {
		kind = "a8a"
	}
	a, err := netip.ParseAddr(fmt.Sprintf("fd09:24ef:4179::%s:%x", kind, n))
	if err != nil {
		return "" // never: both are hexadecimal
	}
	return a.String()
}

// ipv6 reports whether a qube's network has IPv6.
func (r reading) ipv6() bool {
	v, _ := r.networkFeature("ipv6")
	return v != ""
}

// fake is the address that a feature makes a qube believe in, or else the real one.
func fake(feature string, otherwise func(reading) string) func(reading) string {
	return func(r reading) string {
		if v, _ := r.feature(feature); v != "" {
			return v
		}
		return otherwise(r)
	}
}

// ifProvides is a value of those that provide network, and of no others.
func ifProvides(value func(reading) string) func(reading) string {
	return func(r reading) string {
		if !r.flag(ProvidesNetwork) {
			return ""
		}
		return value(r)
	}
}

// ifIPv6 is a value of those that have IPv6, and of no others.
func ifIPv6(value func(reading) string) func(reading) string {
	return func(r reading) string {
		if !r.ipv6() {
			return ""
		}
		return value(r)
	}
}

// same is the value of another property.
func same(name qube.PropertyName) func(reading) string {
	return func(r reading) string { return r.value(name) }
}

// ofNetvm is a property of the net qube.
func ofNetvm(name qube.PropertyName) func(reading) string {
	return func(r reading) string {
		n, ok := r.view.Netvm(r.q)
		if !ok {
			return ""
		}
		return r.of(n).value(name)
	}
}

func nameservers(r reading) string {
	if !r.networked() {
		return ""
	}
	return "10.139.1.1 10.139.1.2"
}

func netmask(r reading) string {
	if r.value(Netvm) == "" {
		return ""
	}
	return "255.255.255.255"
}

// startTime is in seconds since 1970, as the reference writes such numbers.
func startTime(r reading) string {
	at := r.q.Runtime().Started
	if at.IsZero() {
		return ""
	}
	s := strconv.FormatFloat(float64(at.UnixMicro())/1e6, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func xidOf(r reading) string {
	if xid := r.q.Runtime().XID; xid != 0 {
		return strconv.Itoa(xid)
	}
	return "-1"
}

// isPreload is whether the template lists a disposable as one that waits for use.
func isPreload(r reading) string {
	if t, ok := r.view.Template(r.q); ok {
		if list, ok := t.Feature(preloadDispvm); ok && slices.Contains(strings.Fields(list.Shown()), r.q.Shown()) {
			return yes
		}
	}
	return no
}

func truth(b bool) string {
	if b {
		return yes
	}
	return no
}

// builtinPools are those of the reference's fresh installation.
var builtinPools = []string{"varlibqubes", "linux-kernel"}

func hasPool(v qube.View, name string) bool {
	_, made := v.Pool(name)
	return made || slices.Contains(builtinPools, name)
}

func defaultPoolOf(r reading) string {
	const preferred = "default"
	if slices.ContainsFunc(r.view.Host().Pools, func(p qube.Pool) bool { return p.Name == preferred }) {
		return preferred
	}
	return builtinPools[0]
}

var (
	servicevm        = featured("servicevm")
	osFeature        = featured("os")
	preloadDispvm    = featured("preload-dispvm")
	appvmDefaultMode = featured("boot-mode.appvm-default")
	clocksync        = featured("service.clocksync")
)

func featured(s string) qube.FeatureName {
	f, err := qube.ParseFeatureName(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return f
}
