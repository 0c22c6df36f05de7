package policy_test

import (
	"fmt"
	"strings"

	"sallyport/internal/policy"
)

// dice gives a number below n: drawn by rapid, from a seeded source, or out of a fuzzer's bytes.
type dice func(n int) int

func pick[T any](d dice, from ...T) T { return from[d(len(from))] }

// Few words, so that rules, qubes and requests meet often.
var (
	names    = []string{"a", "b", "c", "d", "dvm", "dom0", "nosuch"}
	services = []string{"x.A", "x.B", "admin.vm.List"}
	args     = []string{"+", "+p", "+p+q"}
	power    = []string{"Running", "Halted", "Paused"}
)

func uuid(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", i) }

// uuidOf is the uuid of a name, as the worlds have it.
func uuidOf(name string) string {
	for i, n := range names {
		if n == name && n != "dom0" {
			return uuid(i + 1)
		}
	}
	return uuid(0)[:9] + "0000-0000-0000-000000000000"
}

func tag(d dice) string { return fmt.Sprintf("t%d", d(pick(d, 3, 24))) }

// system is some qubes, dom0 always among them.
func system(d dice) *policy.Table {
	var all []policy.Facts
	for _, name := range names[:6] {
		f := policy.Facts{Name: name, UUID: uuidOf(name), Class: policy.Classes[d(5)], PowerState: pick(d, power...),
			DisposableTemplate: d(3) == 0, DefaultDispVM: pick(d, "", "a", "dvm", "nosuch"), Internal: pick(d, "", "", "", "1")}
		if name == "dom0" {
			f.Class, f.DisposableTemplate = "AdminVM", false
		} else if d(6) == 0 {
			continue // is not there
		}
		if f.Class == "RemoteVM" {
			f.Relay, f.Transport = pick(d, "a", "b", "nosuch", ""), pick(d, "x.Proxy", "x.Proxy", "")
		}
		for range d(pick(d, 2, 6)) {
			f.Tags = append(f.Tags, tag(d))
		}
		all = append(all, f)
	}
	return policy.NewTable(all...)
}

func name(d dice) string {
	n := pick(d, names...)
	if d(4) == 0 {
		return "uuid:" + uuidOf(n)
	}
	return n
}

// target is a token of a rule's target.
func target(d dice) string {
	return pick(d, "*", "@anyvm", "@anyvm", "@adminvm", "@default", "@dispvm", "@dispvm:"+name(d), "@dispvm:@tag:"+tag(d), "@tag:"+tag(d), "@tag:"+tag(d),
		"@type:"+pick(d, policy.Classes...), name(d), name(d), fmt.Sprintf("n%d", d(40)))
}

func source(d dice) string {
	return pick(d, "*", "@anyvm", "@adminvm", "@dispvm:"+name(d), "@dispvm:@tag:"+tag(d), "@tag:"+tag(d), "@tag:"+tag(d), "@type:"+pick(d, policy.Classes...),
		name(d), name(d), fmt.Sprintf("n%d", d(40)))
}

func redirect(d dice) string {
	return pick(d, name(d), "dom0", "@adminvm", "@dispvm", "@dispvm:"+name(d))
}

func line(d dice) string {
	service, arg := pick(d, append(services, "*")...), "*"
	if service != "*" && d(3) == 0 {
		arg = pick(d, args...)
	}
	to, action, params := target(d), pick(d, "deny", "allow", "ask"), ""
	if action != "deny" {
		if d(3) == 0 || to == "@default" {
			params += " target=" + redirect(d)
		}
		if d(5) == 0 {
			params += " user=root"
		}
		if d(4) == 0 {
			params += " autostart=" + pick(d, "yes", "no")
		}
	}
	if action == "ask" && d(2) == 0 {
		params += " default_target=" + redirect(d)
	}
	if d(4) == 0 {
		params += " notify=" + pick(d, "yes", "no")
	}
	return service + " " + arg + " " + source(d) + " " + to + " " + action + params
}

// rules is a policy: of few rules, or of as many as need an index.
func rules(d dice) string {
	var b strings.Builder
	for range d(pick(d, 4, 12, 60, 400)) {
		b.WriteString(line(d) + "\n")
	}
	return b.String()
}

func request(d dice) policy.Request {
	r := policy.Request{Service: pick(d, append(services, "x.Other")...), Argument: pick(d, append(args, "+other")...), Source: name(d),
		Target: pick(d, "", "@default", "@adminvm", "@dispvm", "@dispvm:"+name(d), "@anyvm", "@tag:t1", "@dispvm:", name(d), name(d), name(d))}
	if d(10) == 0 {
		r.RequestedSource = name(d)
	}
	return r
}
