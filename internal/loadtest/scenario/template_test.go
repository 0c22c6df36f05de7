package scenario_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/scenario"
)

// templates reads a scenario whose one call has these texts as arg and payload.
func templates(t testing.TB, seed int, variables, arg, payload string, beside ...string) *scenario.Scenario {
	s, err := read(t, fmt.Sprintf("seed: %d\n%svariables: %s\nmix: [{method: admin.x, arg: %q, payload: %q}]", seed, head, variables, arg, payload), beside...)
	require.NoError(t, err)
	return s
}

// drawn gives arg and payload of the next arrival.
func drawn(s *scenario.Scenario, d *scenario.Draw) (arg, payload string) {
	d.Next()
	c := s.Mix[0].Steps[0]
	return string(c.Arg.Append(nil, d)), string(c.Payload.Append(nil, d))
}

const three = "{n: {count: {from: 3, to: 5}}, r: {number: {from: -2, to: 9}}, q: {choice: [work, personal, 7]}}"

// TestTheSameSeedMakesTheSameCalls: and another thread makes others.
func TestTheSameSeedMakesTheSameCalls(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed, thread := rapid.IntRange(0, 1<<40).Draw(rt, "seed"), rapid.IntRange(0, 64).Draw(rt, "thread")
		calls := func(thread int) (all []string) {
			s := templates(t, seed, three, "{n} {r} {q}", "")
			for d := s.NewDraw(thread); len(all) < 30; {
				arg, _ := drawn(s, d)
				all = append(all, arg)
			}
			return all
		}
		first := calls(thread)
		assert.Equal(rt, first, calls(thread))
		assert.NotEqual(rt, first, calls(thread+1))
	})
}

// TestOneArrivalHasOneValue: in all its fields, however often they are made, and until the next.
func TestOneArrivalHasOneValue(t *testing.T) {
	s := templates(t, 1, three, "{n} {r} {q}", "{q}{{{r}}}{n}")
	d := s.NewDraw(0)
	values := map[string]bool{}
	for i := range 1000 {
		arg, payload := drawn(s, d)
		again := string(s.Mix[0].Steps[0].Arg.Append(nil, d))
		assert.Equal(t, arg, again)
		words := strings.Fields(arg)
		assert.Equal(t, words[2]+"{"+words[1]+"}"+words[0], payload)
		assert.Equal(t, strconv.Itoa(3+i%3), words[0], "in order, and again")
		values[words[1]], values[words[2]] = true, true
	}
	for r := -2; r <= 9; r++ {
		assert.True(t, values[strconv.Itoa(r)], "%d is among the numbers", r)
	}
	assert.True(t, values["work"] && values["personal"] && len(values) == 12+3-1, "7 is both: %v", values)
	other := d.Fork()
	arg, _ := drawn(s, other)
	kept := string(s.Mix[0].Steps[0].Arg.Append(nil, d))
	assert.NotEqual(t, arg[:1], kept[:1], "a fork is another arrival")
}

// TestWhatIsKept is of this arrival's reply alone, and what matches, or its group.
func TestWhatIsKept(t *testing.T) {
	s, err := read(t, head+"variables: {all: {reply: 'a+'}, group: {reply: 'x=(\\w*)'}}\nmix: [{steps: [{method: admin.x, keep: all}, {method: admin.y, keep: group, payload: '{all} {group}'}]}]")
	require.NoError(t, err)
	first, second := s.Mix[0].Steps[0], s.Mix[0].Steps[1]
	d := s.NewDraw(0)
	other := d.Fork()
	kept := func(d *scenario.Draw) string { return string(second.Payload.Append(nil, d)) }
	assert.Equal(t, " ", kept(d), "nothing yet")
	first.Keep([]byte("baab aaa"), d)
	second.Keep([]byte("w=1 x=yes, z=3"), d)
	assert.Equal(t, "aa yes", kept(d))
	assert.Equal(t, " ", kept(other))
	second.Keep([]byte("nothing"), d)
	assert.Equal(t, "aa ", kept(d))
	first.Keep(bytes.Repeat([]byte("a"), 5000), d)
	assert.Len(t, kept(d), 4096+1)
	second.Keep([]byte("x=yes"), d)
	first.Forget(d)
	assert.Equal(t, " yes", kept(d))
	d.Next()
	assert.Equal(t, " ", kept(d))
}

// TestCountersAreUnique: over threads, and also those with an end, until it.
func TestCountersAreUnique(t *testing.T) {
	const threads, each = 8, 500
	s := templates(t, 1, "{n: {count: {from: 10}}, row: {csv: t.csv}, r: {csv: t.csv, order: random}}", "{n}", "{row.size} {row.name} {r.name}", "t.csv", "name,size\na,1\nb,2\n\"c,d\",3\n")
	var mu sync.Mutex
	var counts []int
	rows := map[string]int{}
	var all sync.WaitGroup
	for thread := range threads {
		all.Go(func() {
			d := s.NewDraw(thread)
			for range each {
				arg, payload := drawn(s, d)
				n, err := strconv.Atoi(arg)
				mu.Lock()
				assert.NoError(t, err)
				counts = append(counts, n)
				rows[payload[:strings.LastIndexByte(payload, ' ')]]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(counts)
	for i, n := range counts {
		require.Equal(t, 10+i, n)
	}
	assert.Equal(t, map[string]int{"1 a": 1334, "2 b": 1333, "3 c,d": 1333}, rows)
}

// TestMachinesShareCounters: together they give what one would, each value once, in order on each.
func TestMachinesShareCounters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		of, each := rapid.IntRange(1, 5).Draw(rt, "machines"), rapid.IntRange(1, 20).Draw(rt, "each")
		machine := func(part, of, calls int) (all []string) {
			s := templates(t, 1, "{n: {count: {from: 10}}, m: {count: {from: 0, to: 6}}, q: {choice: [a, b, c], order: sequential}}", "{n} {m} {q}", "")
			first, second := s.NewDraw(part).Share(part, of), s.NewDraw(of+part).Share(part, of).Fork()
			for i := range calls {
				arg, _ := drawn(s, []*scenario.Draw{first, second}[i%2])
				all = append(all, arg)
			}
			return all
		}
		alone, together := machine(0, 1, of*each), make([]string, of*each)
		for part := range of {
			for i, arg := range machine(part, of, each) {
				together[i*of+part] = arg
			}
		}
		assert.Equal(rt, alone, together)
	})
}

// TestAnyTextCanBeWritten: with its braces doubled, it stands for itself.
func TestAnyTextCanBeWritten(t *testing.T) {
	double := strings.NewReplacer("{", "{{", "}", "}}")
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab{}.é \n"))).Draw(rt, "text")
		s := templates(t, 1, three, double.Replace(text)+"{n}", double.Replace(text))
		arg, payload := drawn(s, s.NewDraw(0))
		assert.Equal(rt, text+"3", arg)
		assert.Equal(rt, text, payload)
	})
}
