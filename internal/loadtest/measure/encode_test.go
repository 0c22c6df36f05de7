package measure

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// recorded has any calls recorded by one of several recorders and, all of them, by one alone.
func recorded(t *rapid.T, recorders int) (alone *Result, parts []*Result) {
	from := time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "from"))
	whole, some := NewRecorder(from), []*Recorder(nil)
	for range recorders {
		some = append(some, NewRecorder(from))
	}
	for range rapid.IntRange(0, 8).Draw(t, "calls") {
		k, s := draw(t)
		k.Source = rapid.SampledFrom([]string{"", "dom0", "a b+%&", "\xff\x00", "\xfe"}).Draw(t, "source")
		early := s.Intended - s.Intended%(20*time.Second) // few windows are quick to encode
		s.Intended, s.Connected, s.First, s.Done = s.Intended-early, s.Connected-early, s.First-early, s.Done-early
		lag := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "lag"))
		for _, r := range []*Recorder{whole, some[rapid.IntRange(0, recorders-1).Draw(t, "recorder")]} {
			r.Begun(s.Intended, lag)
			r.Add(k, s)
			if k.Outcome == OK {
				r.Read()
				r.Beside(k)
			}
		}
	}
	for _, r := range some {
		parts = append(parts, r.Result())
	}
	return whole.Result(), parts
}

// sent is what another machine gets of a result.
func sent(t require.TestingT, r *Result) *Result {
	data, err := json.Marshal(r)
	require.NoError(t, err)
	var got Result
	require.NoError(t, json.Unmarshal(data, &got))
	return &got
}

// TestWhatIsSentIsWhatArrives, with all that a result has; and what arrives from several machines is together what one
// would have found.
func TestWhatIsSentIsWhatArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alone, parts := recorded(t, 2)
		parts[0].Began = time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "began"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
		parts[0].Took = time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "took"))
		parts[0].Invalid = rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "invalid")
		if rapid.Bool().Draw(t, "agents") {
			parts[1].Agents = []Agent{{"a:1", parts[1].Due, parts[1].Lag, time.Second, ""}, {"b:1", 0, NewHistogram(), 0, "lost"}}
		}
		together, whole := NewResult(), NewResult()
		for _, r := range parts {
			got := sent(t, r)
			require.Equal(t, look(r), look(got))
			require.Equal(t, []any{r.Began, r.Took, len(r.Windows)}, []any{got.Began, got.Took, len(got.Windows)})
			require.ElementsMatch(t, r.Invalid, got.Invalid)
			require.Len(t, got.Agents, len(r.Agents))
			for i, a := range got.Agents {
				require.True(t, a.Lag.Equals(r.Agents[i].Lag))
				a.Lag = r.Agents[i].Lag
				require.Equal(t, r.Agents[i], a)
			}
			together.Merge(got)
		}
		whole.Merge(alone)
		require.Equal(t, look(whole), look(together))
	})
}

// TestNoResultIsRefused: what nothing could have measured, or could not be merged, never gets in.
func TestNoResultIsRefused(t *testing.T) {
	rec := NewRecorder(0)
	rec.Begun(0, time.Millisecond)
	rec.Add(Key{Method: "m", Outcome: OK}, Sample{Done: 1500 * time.Millisecond})
	data, err := json.Marshal(rec.Result())
	require.NoError(t, err)
	coarse, err := newPacked().EncodeV2()
	require.NoError(t, err)
	lag := func(s string) string { return s[strings.Index(s, `"lag":"`)+len(`"lag":"`):] }
	fine := lag(string(data))
	fine = fine[:strings.IndexByte(fine, '"')]
	for want, change := range map[string][2]string{
		"format: expected 1, found 2":              {`"format":1`, `"format":2`},
		"unknown field":                            {`"due":1`, `"due":1,"more":2`},
		"took, over: expected no less than 0":      {`"took":0`, `"took":-1`},
		"no less than histograms have":             {`"due":1`, `"due":0`},
		"expected at most 4503599627370496":        {`"due":1`, `"due":4503599627370497`},
		"outcome: expected one of":                 {`"outcome":"ok"`, `"outcome":"fine"`},
		"escaped as in a URL":                      {`"method":"m"`, `"method":"%"`},
		"histogram: expected one from 100":         {fine, string(coarse)},
		"base64":                                   {fine, "~"},
		"windows[1]: expected":                     {`"from":1000000000`, `"from":1000000001`},
		"windows[0]: expected":                     {`"from":0,"width":1000000000`, `"from":0,"width":1500000000`},
		"groups: expected each once":               {`"groups":[`, `"groups":[` + string(data)[strings.Index(string(data), `"groups":[`)+10:strings.Index(string(data), `],"lag"`)] + `,`},
		"lag: expected no less than 0":             {`"lag":0`, `"lag":-1`},
		"types: expected at most 64":               {`"types":{}`, `"types":{` + strings.Join(numbered(66), ",") + `}`},
		"at most 410 groups":                       {`"groups":[`, `"groups":[` + strings.Repeat(`{"outcome":"ok"},`, 410)},
		"at most 300 groups beside":                {`"beside":null`, `"beside":[{}` + strings.Repeat(`,{}`, 300) + `]`},
		"at most 600 windows":                      {`"windows":[`, `"windows":[` + strings.Repeat(`null,`, 600)},
		"at most 1000 notes":                       {`"notes":null`, `"notes":["x"` + strings.Repeat(`,"x"`, 1000) + `]`},
		"at most 1000 notes, and reasons":          {`"invalid":null`, `"invalid":["x"` + strings.Repeat(`,"x"`, 1000) + `]`},
		"at most 1000 agents":                      {`"agents":null`, `"agents":[{}` + strings.Repeat(`,{}`, 1000) + `]`},
		"a window: expected at most 1048576 bytes": {`"types":{}`, `"types":{` + strings.Repeat(`"x":1,`, 200000) + `"x":1}`},
		"agents: expected a list":                  {`"agents":null`, `"agents":{}`},
		"cannot unmarshal":                         {`"due":1`, `"due":"1"`},
	} {
		changed := strings.Replace(string(data), change[0], change[1], 1)
		require.NotEqual(t, string(data), changed, want)
		assert.ErrorContains(t, json.Unmarshal([]byte(changed), new(Result)), want)
	}
	var got Result
	assert.Error(t, got.UnmarshalJSON(append([]byte("x"), data...)))
}

// TestWhatIsRefusedTakesNoRoom: lists end at their limits before they are decoded any further, and histograms take room
// only if there is something in them.
func TestWhatIsRefusedTakesNoRoom(t *testing.T) {
	empty, err := NewHistogram().EncodeV2()
	require.NoError(t, err)
	group := fmt.Sprintf(`{"method":"m","source":"","outcome":"ok","type":"","count":0,"total":%q}`, empty)
	list := func(element string, n int) string { return "[" + element + strings.Repeat(","+element, n-1) + "]" }
	takes := func(data string, into any) (taken uint64, err error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = json.Unmarshal([]byte(data), into)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, err
	}
	for what, data := range map[string]string{
		"groups": `{"format":1,"groups":` + list(group, 5000) + `}`, "windows": `{"format":1,"windows":` + list(`{"from":0}`, 100000) + `}`,
		"agents": `{"format":1,"agents":` + list(fmt.Sprintf(`{"lag":%q}`, empty), 5000) + `}`, "notes": `{"format":1,"notes":` + list(`""`, 10<<20) + `}`,
		"beside": `{"format":1,"beside":` + list(`{"outcome":"ok"}`, 1<<20) + `}`,
	} {
		taken, err := takes(data, new(Result))
		require.Error(t, err, what)
		assert.Less(t, taken, uint64(120<<20), what)
	}
	taken, err := takes(list(`{"outcome":"ok"}`, 1<<20), new(Counts))
	require.Error(t, err)
	assert.Less(t, taken, uint64(20<<20))

	var h sparse
	taken, err = takes(fmt.Sprintf("%q", empty), &h)
	require.NoError(t, err)
	assert.Less(t, taken, uint64(150<<10), "less than a histogram")
	assert.True(t, h.Histogram.Histogram == nil)
}

func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, `"`+strings.Repeat("x", i)+`":1`)
	}
	return all
}

// FuzzDecode: what is decoded, whoever wrote it, can be merged, and sent on.
func FuzzDecode(f *testing.F) {
	rec := NewRecorder(0)
	for n := range 3 {
		at := time.Duration(n) * time.Second
		rec.Begun(at, time.Millisecond)
		rec.Add(Key{Method: "m", Source: "s", Outcome: Unexpected, Type: "X"}, Sample{at, at + 1, at + 2, at + 3})
		rec.Beside(Key{Method: "flood", Outcome: Reset})
	}
	r := rec.Result()
	r.Agents = []Agent{{"a:1", r.Due, r.Lag, time.Second, "lost"}}
	data, err := json.Marshal(r)
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Result
		if json.Unmarshal(data, &r) != nil {
			return
		}
		encoded, err := json.Marshal(&r)
		require.NoError(t, err)
		again, err := json.Marshal(sent(t, &r))
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(again))
		together := NewResult()
		together.Merge(&r)
		together.Merge(&r)
		all, _ := together.Of(func(Key) bool { return true })
		all.Total.ValueAtPercentile(99)
	})
}
