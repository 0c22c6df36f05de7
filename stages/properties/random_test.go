package properties

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/qube"
)

// someValue draws a value for p that often is one, and often is none.
func someValue(t *rapid.T, p *Property) string {
	of := map[*Type]*rapid.Generator[string]{
		integer: rapid.OneOf(rapid.StringMatching(`[+-]?[0-9]{1,4}`), rapid.SampledFrom([]string{"1_0", "x", "", "400", "0"})),
		boolean: rapid.SampledFrom([]string{"on", "True", "no", "FALSE", "maybe", ""}),
		vm:      rapid.SampledFrom([]string{"", "base", "sys-net", "sys-two", "alone", "work", "dvm", "a.dot", "away", "dom0", "nosuch", "-x"}),
		label:   rapid.SampledFrom([]string{"red", "blue", "3", "label-4", "nosuch", ""}),
		ipv4:    rapid.SampledFrom([]string{"10.1.2.3", "1.2.3", ""}),
		ipv6:    rapid.SampledFrom([]string{"FD09::1", "fe80::1%x", "1.2.3.4", ""}),
	}[p.Type]
	if of == nil {
		of = rapid.SampledFrom([]string{"", "6.7", "a/b", "us++", "HVM", "00:16:3E:5E:6C:01", "u123456b******", "big", "x y", "user", strings.Repeat("x", 600)})
	}
	return of.Draw(t, "value")
}

// TestRandomChanges: whatever is set and reset, in whatever order: a property has what was set, in its normal form; a
// refused change changes nothing, and tells nothing but announcements; every announcement of a change that was made is
// followed by what it announced; and no network leads back to where it began.
func TestRandomChanges(t *testing.T) {
	var holders []string
	for q := range opened(t, some).View().Qubes() {
		holders = append(holders, q.Shown())
	}
	holders = append(holders, "")
	rapid.Check(t, func(rt *rapid.T) {
		book := opened(t, some)
		for range rapid.IntRange(1, 25).Draw(rt, "changes") {
			name := rapid.SampledFrom(holders).Draw(rt, "holder")
			before := book.View()
			p := rapid.SampledFrom(all.ordered[theQube(rt, before, name).Class()]).Draw(rt, "property")
			var value *string
			if rapid.IntRange(0, 2).Draw(rt, "reset") > 0 {
				value = to(someValue(rt, p))
			}
			was := everything(before)
			events, err := do(rt, book, name, p.Name.Shown(), value)
			now := book.View()
			if err != nil {
				require.NotContains(rt, string(typeOf(err)), "not an exception")
				require.Equal(rt, was, everything(now), "a refused change")
				for _, e := range events {
					require.Contains(rt, e, "-pre-", "of a refused change")
				}
				continue
			}
			got, set := p.Get(now, theQube(rt, now, name))
			if value == nil {
				byDefault, _ := p.Default(now, theQube(rt, now, name))
				require.False(rt, set)
				require.Equal(rt, byDefault, got)
				require.Equal(rt, strings.TrimSpace(name+" property-del:"+p.Name.Shown()), first(events[len(events)-1], name))
			} else {
				require.True(rt, set)
				again, err := p.Type.value(p.Name, got.Shown())
				require.NoError(rt, err)
				require.Equal(rt, got, again, "the normal form is its own")
				want, _ := p.Type.value(p.Name, *value)
				if p.normal != nil {
					want = valueOf(p.normal(before, want.Shown()))
				}
				require.Equal(rt, want, got)
				require.Equal(rt, strings.TrimSpace(name+" property-set:"+p.Name.Shown()), first(events[len(events)-1], name))
			}
			for _, e := range events {
				if strings.Contains(e, "-pre-") {
					made := strings.Replace(e, "-pre-", "-", 1)
					known := slices.ContainsFunc(events, func(other string) bool {
						// A net qube that stays the default is announced, and then told as a reset.
						return other == made || strings.HasPrefix(other, strings.Replace(first(made, "q"), "property-set:netvm", "property-reset:netvm", 1)+" ")
					})
					require.True(rt, known, "%s is followed by nothing", e)
				}
			}
			for q := range now.Qubes() {
				seen := map[qube.UUID]bool{}
				for at, ok := q, true; ok; at, ok = now.Netvm(at) {
					require.False(rt, seen[at.ID()], "the network of %s leads back", q.Shown())
					seen[at.ID()] = true
				}
			}
		}
	})
}

// first is an event without its values.
func first(event, subject string) string {
	words := strings.Fields(event)
	if subject == "" {
		return words[0]
	}
	return words[0] + " " + words[1]
}

// everything is all values of all properties, and features.
func everything(v qube.View) []string {
	var facts []string
	add := func(q qube.Qube) {
		for _, p := range all.ordered[q.Class()] {
			value, set := p.Get(v, q)
			facts = append(facts, q.Shown()+" "+p.Name.Shown()+"="+value.Shown()+" "+truth(set))
		}
		for f, value := range q.Features() {
			facts = append(facts, q.Shown()+" feature "+f.Shown()+"="+value.Shown())
		}
	}
	for q := range v.Qubes() {
		add(q)
	}
	add(qube.Nobody)
	return facts
}
