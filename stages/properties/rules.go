package properties

import (
	"slices"
	"strconv"
	"strings"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// refusal is what a change is refused with that breaks a rule.
type refusal func(name qube.PropertyName, wants phrase) error

func badProperty(name qube.PropertyName, wants phrase) error {
	return exception.New(exception.QubesPropertyValueError, "property %s: expected %s", name, wants)
}

func badValue(name qube.PropertyName, wants phrase) error {
	return exception.New(exception.QubesValueError, "property %s: expected %s", name, wants)
}

func inUse(name qube.PropertyName, wants phrase) error {
	return exception.New(exception.QubesVMInUseError, "property %s: expected %s", name, wants)
}

func notHalted(name qube.PropertyName, wants phrase) error {
	return exception.New(exception.QubesVMNotHaltedError, "property %s: expected %s", name, wants)
}

func notStarted(name qube.PropertyName, wants phrase) error {
	return exception.New(exception.QubesVMNotStartedError, "property %s: expected %s", name, wants)
}

func noLabel(name qube.PropertyName, wants phrase) error {
	return exception.New(exception.QubesLabelNotFoundError, "property %s: expected %s", name, wants)
}

// atLeast is a rule for numbers.
func atLeast(least int64, wants string) rule {
	return rule{wants: wants, refusal: badProperty, holds: func(c *change) bool {
		n, err := strconv.ParseInt(c.new, 10, 64)
		return err == nil && n >= least
	}}
}

var (
	positive    = atLeast(1, "a whole number above 0")
	notNegative = atLeast(0, "a whole number, not below 0")
)

// text is a rule for text by itself.
func text(wants string, refusal refusal, holds func(string) bool) rule {
	return rule{wants: wants, refusal: refusal, holds: func(c *change) bool { return holds(c.new) }}
}

func atMost(bytes int) rule {
	return text("at most "+strconv.Itoa(bytes)+" characters", badProperty, func(s string) bool { return len(s) <= bytes })
}

var (
	userName = text("letters, digits, '_', '-', '+', ',' and '.'", badProperty,
		madeOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+,."))
	hardwareAddress = text("six pairs of hexadecimal digits, with ':' between", badProperty, func(s string) bool {
		groups := strings.Split(s, ":")
		return len(groups) == 6 && !slices.ContainsFunc(groups, func(g string) bool {
			return len(g) != 2 || !madeOf("0123456789abcdef")(g)
		})
	})
	virtualization = text("one of pvh, hvm, pv", badProperty, func(s string) bool {
		return s == "pvh" || s == "hvm" || s == "pv"
	})
	keyboard = text("a keyboard's layout, variant and options, with '+' between", badProperty, func(s string) bool {
		parts := strings.Split(s, "+")
		return len(parts) == 3 && parts[0] != "" && madeOf(letters)(parts[0]) &&
			madeOf(letters+"0123456789-_")(parts[1]) && madeOf(letters+"0123456789-_:,")(parts[2])
	})
	wholeCodes  = text("codes of 7 characters", badValue, func(s string) bool { return len(s)%deviceCode == 0 })
	deviceCodes = text("codes of b, u, m, p or '*', and six of 0-9, a-f or '*'", badProperty, func(s string) bool {
		for code := range slices.Chunk([]byte(s), deviceCode) {
			if !madeOf("bump*")(string(code[:1])) || !madeOf("0123456789abcdef*")(string(code[1:])) {
				return false
			}
		}
		return true
	})
	noSlash = text("no '/'", badProperty, func(s string) bool { return !strings.Contains(s, "/") })
)

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// deviceCode is how long a code for a kind of devices is.
const deviceCode = 7

func madeOf(chars string) func(string) bool {
	return func(s string) bool { return strings.Trim(s, chars) == "" }
}

// The forms in which values are kept.

func lowerCase(_ qube.View, s string) string { return strings.ToLower(s) }

// sortedCodes drops duplicates, too. What is no whole code stays, for a rule to see.
func sortedCodes(_ qube.View, s string) string {
	var codes []string
	for code := range slices.Chunk([]byte(s), deviceCode) {
		codes = append(codes, string(code))
	}
	slices.Sort(codes)
	return strings.Join(slices.Compact(codes), "")
}

// labelNamed finds a label by name, index, or label- and index (spec: properties.yaml any.label).
func labelNamed(v qube.View, s string) string {
	if name, err := qube.ParseLabelName(s); err == nil {
		if l, ok := v.Label(name); ok {
			return l.Shown()
		}
	}
	if i, ok := parseInteger(strings.TrimPrefix(s, "label-")); ok {
		n, _ := strconv.Atoi(i)
		if l, ok := v.LabelByIndex(n); ok {
			return l.Shown()
		}
	}
	return s
}

// Rules about what there is.
var (
	// aQube is a rule for every reference, before those of the property.
	aQube = rule{wants: "a qube that exists", refusal: badProperty, holds: func(c *change) bool {
		_, ok := qubeNamed(c.seen, c.new)
		return ok || c.new == ""
	}}
	aLabel = rule{wants: "a label that exists", refusal: noLabel, holds: func(c *change) bool {
		name, err := qube.ParseLabelName(c.new)
		if err != nil {
			return false
		}
		_, ok := c.seen.Label(name)
		return ok
	}}
	aKernel = rule{wants: `a kernel that is installed, or ""`, refusal: badProperty, late: true, holds: func(c *change) bool {
		v := c.seen
		if !c.changed() { // whoever may ask for what it has knows of that one
			v = c.view
		}
		return c.new == "" || slices.Contains(v.Host().Kernels, c.new)
	}}
	aPool = rule{wants: "a pool that exists", refusal: badProperty, holds: func(c *change) bool {
		return hasPool(c.seen, c.new)
	}}
)

// referent is a rule for the qube that a value names. None is right for all of these.
func referent(wants string, refusal refusal, is func(c *change, to reading) bool) rule {
	return rule{wants: wants, refusal: refusal, holds: func(c *change) bool {
		if c.new == "" {
			return true
		}
		v := c.seen
		if c.reset { // nobody chose the default, so that it tells nothing
			v = c.view
		}
		to, ok := qubeNamed(v, c.new)
		return ok && is(c, reading{c.all, v, to})
	}}
}

var (
	localQube = referent("a local qube", badProperty, func(_ *change, to reading) bool {
		return to.q.Class() != qube.RemoteVM
	})
	aTemplate = referent("a TemplateVM", badProperty, func(_ *change, to reading) bool {
		return to.q.Class() == qube.TemplateVM
	})
	ofDisposables = referent("a qube with template_for_dispvms", badProperty, func(_ *change, to reading) bool {
		return to.flag(TemplateForDispvms)
	})
	// withoutDot is for what a tag is made of (spec: model.md 2).
	withoutDot = text("a qube without a dot in its name", badProperty, func(s string) bool { return !strings.Contains(s, ".") })
	notNone    = text("a qube", badProperty, func(s string) bool { return s != "" })

	// aNetwork is asked of the default that a reset leads to, as all rules of netvm are.
	aNetwork = resetToo(referent("a qube that provides network", badValue, func(_ *change, to reading) bool {
		return to.flag(ProvidesNetwork)
	}))
	// noLoop looks at all net qubes, whoever may see them: a loop is one for everybody.
	noLoop = live(resetToo(rule{
		wants: "a qube whose network does not lead back to this one", refusal: badValue, holds: func(c *change) bool {
			to, ok := qubeNamed(c.view, c.new)
			if !ok {
				return true
			}
			for at := range action.Chain(to, c.view.Netvm) {
				if at.ID() == c.q.ID() {
					return false
				}
			}
			return true
		},
	}))
	// runningNetwork is asked when the change matters at once.
	runningNetwork = live(resetToo(rule{
		wants: "a net qube that is running, as long as this one is", refusal: notStarted, holds: func(c *change) bool {
			to, ok := qubeNamed(c.view, c.new)
			return !ok || !runs(c.q) || runs(to)
		},
	}))

	aNetworkForAll = referent("a qube that provides network", badProperty, func(_ *change, to reading) bool {
		return to.flag(ProvidesNetwork)
	})
	// noLoopForAll follows the network as it will be: whoever follows the default leads to the new one.
	noLoopForAll = live(rule{
		wants: "a qube whose network does not follow the default", refusal: badProperty, holds: func(c *change) bool {
			to, ok := qubeNamed(c.view, c.new)
			if !ok {
				return true
			}
			for at := range action.Chain(to, c.view.Netvm) {
				if c.of(at).followsSystem(Netvm) {
					return false
				}
			}
			return true
		},
	})
	runningNetworkForAll = live(late(rule{
		wants: "a net qube that is running, as long as one is that follows the default", refusal: notStarted, holds: func(c *change) bool {
			to, ok := qubeNamed(c.view, c.new)
			return !ok || runs(to) || !slices.ContainsFunc(c.followers(Netvm), runs)
		},
	}))

	// Whether something is in use is asked of everything, and told without a name (design: 7).

	networkUnused = live(resetToo(rule{
		wants: "True as long as a qube uses its network", refusal: badValue, holds: func(c *change) bool {
			return c.new == yes || len(c.referrers(Netvm, DefaultNetvm)) == 0
		},
	}))
	noDisposables = live(late(resetToo(rule{
		wants: "True as long as it is used for disposables", refusal: inUse, holds: func(c *change) bool {
			return c.new == yes || !c.usedForDisposables()
		},
	})))
	halted = live(late(rule{
		wants: "that the qube is halted", refusal: notHalted, holds: func(c *change) bool { return c.q.State() == qube.Halted },
	}))
	haltedToChange = live(rule{
		wants: "that the qube is halted", refusal: notHalted,
		holds: func(c *change) bool { return !c.changed() || c.q.State() == qube.Halted },
	})
	noRunningDisposables = live(late(rule{
		wants: "that no disposable of the qube is running", refusal: inUse, holds: func(c *change) bool {
			for d := range c.disposables() {
				if d.State() != qube.Halted {
					return false
				}
			}
			return true
		},
	}))
)

func late(r rule) rule     { r.late = true; return r }
func live(r rule) rule     { r.live = true; return r }
func resetToo(r rule) rule { r.reset = true; return r }

// runs reports whether a qube is there for the hypervisor, be it paused or suspended; dom0 always is (spec: model.md 4).
func runs(q qube.Qube) bool { return q.State() != qube.Halted || q.Class() == qube.AdminVM }

// usedForDisposables reports whether the qube is named as template of disposables, or is one (spec: properties.yaml
// DVM.template_for_dispvms).
func (c *change) usedForDisposables() bool {
	for _, name := range []qube.PropertyName{DefaultDispvm, ManagementDispvm} {
		if v, _ := c.view.Global(name); v.Shown() == c.q.Shown() {
			return true
		}
	}
	for range c.disposables() {
		return true
	}
	for _, p := range c.view.Referrers(c.q.Name()) {
		if p == DefaultDispvm || p == ManagementDispvm {
			return true
		}
	}
	return false
}

// disposables are those that are based on the qube, without those that wait for use.
func (c *change) disposables() func(func(qube.Qube) bool) {
	return func(yield func(qube.Qube) bool) {
		for d, p := range c.view.Referrers(c.q.Name()) {
			if p == Template && d.Class() == qube.DispVM && !c.of(d).flag(IsPreload) && !yield(d) {
				return
			}
		}
	}
}
