package properties

import (
	"slices"
	"strconv"
	"strings"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// atLeast is a rule for numbers.
func atLeast(least int64, wants string) rule {
	return rule{wants: wants, refusal: exception.QubesPropertyValueError, holds: func(c *change) bool {
		n, err := strconv.ParseInt(c.new, 10, 64)
		return err == nil && n >= least
	}}
}

var (
	positive    = atLeast(1, "a whole number above 0")
	notNegative = atLeast(0, "a whole number, not below 0")
)

// text is a rule for text by itself.
func text(wants string, refusal exception.Type, holds func(string) bool) rule {
	return rule{wants: wants, refusal: refusal, holds: func(c *change) bool { return holds(c.new) }}
}

func atMost(bytes int) rule {
	return text("at most "+strconv.Itoa(bytes)+" characters", exception.QubesPropertyValueError, func(s string) bool { return len(s) <= bytes })
}

var (
	userName = text("letters, digits, '_', '-', '+', ',' and '.'", exception.QubesPropertyValueError,
		madeOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+,."))
	hardwareAddress = text("six pairs of hexadecimal digits, with ':' between", exception.QubesPropertyValueError, func(s string) bool {
		groups := strings.Split(s, ":")
		return len(groups) == 6 && !slices.ContainsFunc(groups, func(g string) bool {
			return len(g) != 2 || !madeOf("0123456789abcdef")(g)
		})
	})
	virtualization = text("one of pvh, hvm, pv", exception.QubesPropertyValueError, func(s string) bool {
		return s == "pvh" || s == "hvm" || s == "pv"
	})
	keyboard = text("a keyboard's layout, variant and options, with '+' between", exception.QubesPropertyValueError, func(s string) bool {
		parts := strings.Split(s, "+")
		return len(parts) == 3 && parts[0] != "" && madeOf(letters)(parts[0]) &&
			madeOf(letters+"0123456789-_")(parts[1]) && madeOf(letters+"0123456789-_:,")(parts[2])
	})
	wholeCodes  = text("codes of 7 characters", exception.QubesValueError, func(s string) bool { return len(s)%deviceCode == 0 })
	deviceCodes = text("codes of b, u, m, p or '*', and six of 0-9, a-f or '*'", exception.QubesPropertyValueError, func(s string) bool {
		for code := range slices.Chunk([]byte(s), deviceCode) {
			if !madeOf("bump*")(string(code[:1])) || !madeOf("0123456789abcdef*")(string(code[1:])) {
				return false
			}
		}
		return true
	})
	noSlash = text("no '/'", exception.QubesPropertyValueError, func(s string) bool { return !strings.Contains(s, "/") })
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

// There are rules about what there is.
var (
	aLabel = rule{wants: "a label that exists", refusal: exception.QubesLabelNotFoundError, holds: func(c *change) bool {
		name, err := qube.ParseLabelName(c.new)
		if err != nil {
			return false
		}
		_, ok := c.seen.Label(name)
		return ok
	}}
	aKernel = rule{wants: `a kernel that is installed, or ""`, refusal: exception.QubesPropertyValueError, late: true, holds: func(c *change) bool {
		return c.new == "" || slices.Contains(c.seen.Host().Kernels, c.new)
	}}
	aPool = rule{wants: "a pool that exists", refusal: exception.QubesPropertyValueError, holds: func(c *change) bool {
		return hasPool(c.seen, c.new)
	}}
)

// referent is a rule for the qube that a value names, which need not be one: None is right for all.
func referent(wants string, refusal exception.Type, is func(c *change, to reading) bool) rule {
	return rule{wants: wants, refusal: refusal, holds: func(c *change) bool {
		if c.new == "" {
			return true
		}
		to, ok := qubeNamed(c.seen, c.new)
		return ok && is(c, reading{c.all, c.seen, to})
	}}
}

var (
	aQube     = referent("a qube that exists", exception.QubesPropertyValueError, func(*change, reading) bool { return true })
	localQube = referent("a local qube", exception.QubesPropertyValueError, func(_ *change, to reading) bool {
		return to.q.Class() != qube.RemoteVM
	})
	aTemplate = referent("a TemplateVM", exception.QubesPropertyValueError, func(_ *change, to reading) bool {
		return to.q.Class() == qube.TemplateVM
	})
	ofDisposables = referent("a qube with template_for_dispvms", exception.QubesPropertyValueError, func(_ *change, to reading) bool {
		return to.flag(TemplateForDispvms)
	})
	// withoutDot is for what a tag is made of (spec: model.md 2).
	withoutDot = text("a qube without a dot in its name", exception.QubesPropertyValueError, func(s string) bool { return !strings.Contains(s, ".") })
	notNone    = text("a qube", exception.QubesPropertyValueError, func(s string) bool { return s != "" })

	// aNetwork is asked of the default that a reset leads to, as all rules of netvm are.
	aNetwork = resetToo(referent("a qube that provides network", exception.QubesValueError, func(_ *change, to reading) bool {
		return to.flag(ProvidesNetwork)
	}))
	// noLoop looks at all net qubes, whoever may see them: a loop is one for everybody.
	noLoop = live(resetToo(rule{
		wants: "a qube whose network does not lead back to this one", refusal: exception.QubesValueError, holds: func(c *change) bool {
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
		wants: "a net qube that is running, as long as this one is", refusal: exception.QubesVMNotStartedError, holds: func(c *change) bool {
			to, ok := qubeNamed(c.view, c.new)
			return !ok || !runs(c.q) || runs(to)
		},
	}))

	aNetworkForAll = referent("a qube that provides network", exception.QubesPropertyValueError, func(_ *change, to reading) bool {
		return to.flag(ProvidesNetwork)
	})
	// noLoopForAll follows the network as it will be: whoever follows the default leads to the new one.
	noLoopForAll = live(rule{
		wants: "a qube whose network does not follow the default", refusal: exception.QubesPropertyValueError, holds: func(c *change) bool {
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
		wants: "a net qube that is running, as long as one is that follows the default", refusal: exception.QubesVMNotStartedError, holds: func(c *change) bool {
			to, ok := qubeNamed(c.view, c.new)
			return !ok || runs(to) || !slices.ContainsFunc(c.followers(Netvm), runs)
		},
	}))

	// Whether something is in use is asked of everything, and told without a name (design: 7).

	networkUnused = live(resetToo(rule{
		wants: "True as long as a qube uses its network", refusal: exception.QubesValueError, holds: func(c *change) bool {
			return c.new == yes || len(c.referrers(Netvm, defaultNetvm)) == 0
		},
	}))
	noDisposables = live(late(resetToo(rule{
		wants: "True as long as it is used for disposables", refusal: exception.QubesVMInUseError, holds: func(c *change) bool {
			return c.new == yes || !c.usedForDisposables()
		},
	})))
	halted = live(late(rule{
		wants: "that the qube is halted", refusal: exception.QubesVMNotHaltedError, holds: func(c *change) bool { return c.q.State() == qube.Halted },
	}))
	haltedToChange = live(rule{
		wants: "that the qube is halted", refusal: exception.QubesVMNotHaltedError,
		holds: func(c *change) bool { return !c.changed() || c.q.State() == qube.Halted },
	})
	noRunningDisposables = live(late(rule{
		wants: "that no disposable of the qube is running", refusal: exception.QubesVMInUseError, holds: func(c *change) bool {
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

// runs reports whether a qube is running; dom0 always is.
func runs(q qube.Qube) bool { return q.State() == qube.Running || q.Class() == qube.AdminVM }

// usedForDisposables reports whether the qube is named as template of disposables, or is one (spec: properties.yaml
// DVM.template_for_dispvms).
func (c *change) usedForDisposables() bool {
	for _, name := range []qube.PropertyName{DefaultDispvm, managementDispvm} {
		if v, _ := c.view.Global(name); v.Shown() == c.q.Shown() {
			return true
		}
	}
	for range c.disposables() {
		return true
	}
	for _, p := range c.view.Referrers(c.q.Name()) {
		if p == DefaultDispvm || p == managementDispvm {
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
