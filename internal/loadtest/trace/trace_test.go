package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/scenario"
	"sallyport/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// written gives the trace of what do does to a Writer.
func written(t require.TestingT, payloads bool, do func(*Writer)) []byte {
	var b bytes.Buffer
	w, err := NewWriter(&b, payloads)
	require.NoError(t, err)
	do(w)
	_, err = w.Close()
	require.NoError(t, err)
	return b.Bytes()
}

// all reads a whole trace.
func all(b []byte) (calls []Call, r *Reader, err error) {
	if r, err = NewReader(bytes.NewReader(b), "t"); err != nil {
		return nil, r, err
	}
	for {
		c, err := r.Next()
		if err == io.EOF {
			return calls, r, nil
		}
		if err != nil {
			return calls, r, err
		}
		calls = append(calls, c)
	}
}

// connection is what passes on one.
type connection struct {
	request string
	half    bool // it has no end
	reply   string
	how     Outcome
}

// tapped gives the call that a Tap makes of c, which comes in pieces that cut cuts.
func tapped(t require.TestingT, payloads bool, c connection, cut func(string) []string) Call {
	b := written(t, payloads, func(w *Writer) {
		tap := w.Begin()
		for _, piece := range cut(c.request) {
			tap.Sent([]byte(piece))
		}
		if !c.half {
			tap.SentAll()
		}
		for _, piece := range cut(c.reply) {
			tap.Said([]byte(piece))
		}
		tap.Told()
		tap.End(c.how)
	})
	calls, _, err := all(b)
	require.NoError(t, err, "%s", b)
	require.Len(t, calls, 1)
	return calls[0]
}

func whole(s string) []string { return []string{s} }

// TestCalls: what connections are written as.
func TestCalls(t *testing.T) {
	list := Call{Method: "admin.vm.List", Source: "dom0", Dest: "work", Outcome: OK}
	with := func(change func(*Call)) Call {
		c := list
		change(&c)
		return c
	}
	unreadable := func(n int64) Call { return Call{Unreadable: true, Bytes: n, Outcome: Empty} }
	large := strings.Repeat("x", messages.MaxRequest)
	for name, c := range map[string]struct {
		connection
		want Call
	}{
		"a call":            {connection{request: "admin.vm.List dom0 name work\x00", reply: "0\x00"}, list},
		"without argument":  {connection{request: "admin.vm.List+ dom0 name work\x00", reply: "0\x00work"}, list},
		"with argument":     {connection{request: "admin.vm.List+a+b dom0 name work\x00", reply: "0\x00work"}, with(func(c *Call) { c.Arg = "a+b" })},
		"of the admin":      {connection{request: "admin.vm.List dom0 keyword adminvm\x00", reply: "0\x00work"}, with(func(c *Call) { c.Dest = "dom0" })},
		"odd destination":   {connection{request: "admin.vm.List dom0 name no such\x00", reply: "0\x00work"}, with(func(c *Call) { c.Dest = "no such" })},
		"payload":           {connection{request: "admin.vm.List dom0 name work\x00pay\x00load", reply: "0\x00work"}, with(func(c *Call) { c.Bytes, c.Payload = 8, []byte("pay\x00load") })},
		"exception":         {connection{request: "admin.vm.List dom0 name work\x00", reply: "2\x00QubesException\x00\x00no\x00"}, with(func(c *Call) { c.Outcome, c.Exception = Exception, "QubesException" })},
		"half an exception": {connection{request: "admin.vm.List dom0 name work\x00", reply: "2\x00QubesException\x00\x00no"}, with(func(c *Call) { c.Outcome = Garbage })},
		"a strange type":    {connection{request: "admin.vm.List dom0 name work\x00", reply: "2\x00\x1b\x00\x00no\x00"}, with(func(c *Call) { c.Outcome = Garbage })},
		"a long exception":  {connection{request: "admin.vm.List dom0 name work\x00", reply: "2\x00QubesException\x00\x00" + large + "\x00"}, with(func(c *Call) { c.Outcome = Garbage })},
		"events":            {connection{request: "admin.vm.List dom0 name work\x00", reply: "1\x00\x00e\x00\x00", how: Left}, with(func(c *Call) { c.Outcome = Events })},
		"nothing":           {connection{request: "admin.vm.List dom0 name work\x00"}, with(func(c *Call) { c.Outcome = Empty })},
		"garbage":           {connection{request: "admin.vm.List dom0 name work\x00", reply: "what?"}, with(func(c *Call) { c.Outcome = Garbage })},
		"half a tag":        {connection{request: "admin.vm.List dom0 name work\x00", reply: "0"}, with(func(c *Call) { c.Outcome = Garbage })},
		"a cut":             {connection{request: "admin.vm.List dom0 name work\x00", reply: "0\x00", how: Cut}, with(func(c *Call) { c.Outcome = Cut })},
		"no request":        {connection{}, unreadable(0)},
		"no header":         {connection{request: "secret"}, unreadable(6)},
		"no end":            {connection{request: "admin.vm.List dom0 name work\x00", half: true}, unreadable(29)},
		"another type":      {connection{request: "admin.vm.List dom0 keyword dispvm\x00"}, unreadable(34)},
		"not printable":     {connection{request: "admin.vm.List dom0 name w\xffrk\x00"}, unreadable(29)},
		"no method":         {connection{request: "+x dom0 name work\x00"}, unreadable(18)},
		"a long header":     {connection{request: "admin.vm.List+" + large[:messages.MaxHeader] + " dom0 name work\x00"}, unreadable(messages.MaxHeader + 30)},
		"too large":         {connection{request: "admin.vm.List dom0 name work\x00" + large}, unreadable(messages.MaxRequest + 29)},
	} {
		for _, payloads := range []bool{true, false} {
			want := c.want
			if !payloads {
				want.Payload = nil
			}
			got := tapped(t, payloads, c.connection, whole)
			assert.GreaterOrEqual(t, got.TookUS, int64(0))
			got.AtUS, got.TookUS = 0, 0
			assert.Equal(t, want, got, name)
		}
	}
}

// TestPiecesDoNotMatter: however the bytes come, the call is the same.
func TestPiecesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := connection{
			request: rapid.SampledFrom([]string{"m dom0 name work\x00pay", "m+a dom0 keyword adminvm\x00", "m dom0 work\x00", "m", ""}).Draw(t, "request") + strings.Repeat("p", rapid.SampledFrom([]int{0, 1, 5000, 65510, 65520, 65536}).Draw(t, "more")),
			half:    rapid.Bool().Draw(t, "half"),
			reply:   rapid.SampledFrom([]string{"", "0", "0\x00fine", "1\x00\x00e\x00\x00", "2\x00T\x00\x00no\x00", "2\x00T", "x"}).Draw(t, "reply"),
			how:     rapid.SampledFrom([]Outcome{"", Cut, Left, Missing}).Draw(t, "how"),
		}
		payloads := rapid.Bool().Draw(t, "payloads")
		cut := func(s string) (pieces []string) {
			for s != "" {
				n := rapid.IntRange(1, len(s)).Draw(t, "piece")
				pieces, s = append(pieces, s[:n]), s[n:]
			}
			return pieces
		}
		want, got := tapped(t, payloads, c, whole), tapped(t, payloads, c, cut)
		want.AtUS, want.TookUS, got.AtUS, got.TookUS = 0, 0, 0, 0
		require.Equal(t, want, got)
	})
}

// TestWhatIsWrittenIsRead: any call that the format can say is read as it was.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payloads := rapid.Bool().Draw(t, "payloads")
		calls := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Call { return drawCall(t, payloads) })).Draw(t, "calls")
		b := written(t, payloads, func(w *Writer) {
			for _, c := range calls {
				w.add(c)
			}
		})
		got, r, err := all(b)
		require.NoError(t, err, "%s", b)
		require.Equal(t, len(calls), len(got))
		for i := range calls {
			require.Equal(t, calls[i], got[i])
		}
		require.False(t, r.Cut())
		require.Equal(t, payloads, r.Payloads)

		// Without its end, a trace has the calls whose lines are whole.
		n := bytes.IndexByte(b, '\n') + 1
		n += rapid.IntRange(0, len(b)-n).Draw(t, "cut")
		got, r, err = all(b[:n])
		require.NoError(t, err)
		require.Len(t, got, bytes.Count(b[:n], []byte("\n"))-1)
		require.Equal(t, b[n-1] != '\n', r.Cut())
	})
}

func drawCall(t *rapid.T, payloads bool) Call {
	c := Call{
		AtUS: rapid.Int64Range(0, longest.Microseconds()).Draw(t, "at"), TookUS: rapid.Int64Range(0, longest.Microseconds()).Draw(t, "took"),
		Outcome: rapid.SampledFrom(Outcomes).Draw(t, "outcome"), Unreadable: rapid.Bool().Draw(t, "unreadable"),
	}
	if c.Outcome == Exception {
		c.Exception = rapid.StringMatching(`[!-~]{1,128}`).Draw(t, "exception")
	}
	if c.Unreadable {
		c.Bytes = rapid.Int64Range(0, mostRequest).Draw(t, "bytes")
		return c
	}
	c.Method, c.Arg = rapid.StringMatching(`[!-*,-~]{1,30}`).Draw(t, "method"), rapid.StringMatching(`[!-~]{0,30}`).Draw(t, "arg")
	c.Source, c.Dest = rapid.StringMatching(`[!-~]{0,30}`).Draw(t, "source"), rapid.StringMatching(`[ -~]{0,30}`).Draw(t, "dest")
	c.Bytes = int64(rapid.IntRange(0, 100).Draw(t, "bytes"))
	if payloads && c.Bytes > 0 {
		c.Payload = rapid.SliceOfN(rapid.Byte(), int(c.Bytes), int(c.Bytes)).Draw(t, "payload")
	}
	return c
}

const (
	aHeader = `{"sallyport_trace":1,"began":"2026-01-31T12:00:00Z","payloads":false}` + "\n"
	aCall   = `{"at_us":5,"took_us":6,"method":"m","source":"dom0","dest":"work","bytes":7,"outcome":"ok"}` + "\n"
)

// TestWhatIsNoTrace has its place, and what was expected there.
func TestWhatIsNoTrace(t *testing.T) {
	_, _, err := all([]byte(aHeader + aCall + aCall))
	require.NoError(t, err)
	swap := func(from, to string) string {
		require.Contains(t, aCall, from)
		return aHeader + aCall + strings.Replace(aCall, from, to, 1) + aCall
	}
	for text, want := range map[string]string{
		"":                                    "t:1: expected the header of a trace, on a line",
		aHeader[:20]:                          "t:1: expected the header of a trace, on a line",
		"version: 1\n":                        "t:1: expected the header of a trace, such as",
		aCall:                                 "t:1: expected the header of a trace, such as",
		"null\n":                              "t:1: expected sallyport_trace to be 1",
		strings.Replace(aHeader, "1", "2", 1): "t:1: expected sallyport_trace to be 1",
		aHeader + "\n":                        "t:2: expected a call, as a JSON object",
		aHeader + "null\n":                    "t:2: expected outcome to be one of",
		aHeader + aCall + "[]\n":              "t:3: expected a call, as a JSON object",
		swap("}", "}{}"):                      "t:3: expected a call, as a JSON object: something follows its end",
		swap("}", `,"x":1}`):                  `t:3: expected a call, as a JSON object: json: unknown field "x"`,
		swap(`"at_us":5`, `"at_us":-5`):       "t:3: expected at_us to be from 0",
		swap(`"at_us":5`, `"at_us":9e15`):     "t:3: expected a call, as a JSON object",
		swap(`"took_us":6`, `"took_us":3600000000001`):        "t:3: expected took_us to be from 0 to 3600000000000",
		swap(`"bytes":7`, `"bytes":65537`):                    "t:3: expected bytes to be from 0 to 65536",
		swap(`"bytes":7`, `"bytes":65536`):                    "t:3: expected method, arg, source, dest and bytes to be those of a request",
		swap(`"ok"`, `"fine"`):                                "t:3: expected outcome to be one of",
		swap(`"ok"`, `"ok","exception":"X"`):                  "t:3: expected no exception where the outcome is ok",
		swap(`"ok"`, `"exception"`):                           "t:3: expected exception to be a type",
		swap(`"bytes":7`, `"bytes":7,"unreadable":true`):      "t:3: expected none of method",
		swap(`"bytes":7`, `"bytes":1,"payload":"YQ=="`):       "t:3: expected no payload",
		swap(`"m"`, `"m+"`):                                   "t:3: expected method, arg, source, dest and bytes",
		swap(`"m"`, `""`):                                     "t:3: expected method, arg, source, dest and bytes",
		swap(`"m"`, `"m x"`):                                  "t:3: expected method, arg, source, dest and bytes",
		swap(`"dom0"`, `"dom0 name"`):                         "t:3: expected method, arg, source, dest and bytes",
		swap(`"work"`, `"w\u0000rk"`):                         "t:3: expected method, arg, source, dest and bytes",
		swap(`"work"`, `"`+strings.Repeat("x", mostLine)+`"`): "t:3: expected a line of at most 131072 bytes",
		strings.Replace(aHeader, "false", "true", 1) + aCall:  "t:2: expected a payload of 7 bytes",
	} {
		_, _, err := all([]byte(text))
		require.Error(t, err, "%s", text)
		assert.True(t, strings.HasPrefix(err.Error(), want), "%s:\nexpected %s", err, want)
	}
}

// TestTheLargestCallFits in a line.
func TestTheLargestCallFits(t *testing.T) {
	header := "m+" + strings.Repeat("<", messages.MaxHeader-20) + " dom0 name work\x00"
	c := tapped(t, true, connection{request: header + strings.Repeat("x", messages.MaxRequest-len(header)), reply: "0\x00"}, whole)
	assert.Len(t, c.Arg, messages.MaxHeader-20)
	assert.Len(t, c.Payload, messages.MaxRequest-len(header))
}

// TestLinesAreWrittenInTime: at the latest a second after a call has ended.
func TestLinesAreWrittenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		w, err := NewWriter(&b, false)
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(b.String(), "\n"), "the header is there at once")
		time.Sleep(2500 * time.Millisecond)
		tap := w.Begin()
		time.Sleep(1500 * time.Microsecond)
		tap.Told()
		tap.End("")
		time.Sleep(flushEvery)
		synctest.Wait()
		assert.Equal(t, 2, strings.Count(b.String(), "\n"))
		calls, _, err := all(b.Bytes())
		require.NoError(t, err)
		assert.Equal(t, Call{AtUS: 2500000, TookUS: 1500, Unreadable: true, Outcome: Empty}, calls[0])
		n, err := w.Close()
		assert.NoError(t, err)
		assert.Equal(t, 1, n)
	})
}

// disk is a disk that may be full, or slow.
type disk struct {
	room  int // bytes
	takes chan struct{}
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	if d.takes != nil && d.room == 0 {
		<-d.takes
	}
	n := min(len(p), d.room)
	if d.room -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

// TestAFullDiskEndsATrace, and adding to it is still no error.
func TestAFullDiskEndsATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := NewWriter(&disk{}, false)
		assert.ErrorIs(t, err, errFull)
		w, err := NewWriter(&disk{room: 100}, false)
		require.NoError(t, err)
		w.add(Call{})
		<-w.Failed()
		w.add(Call{})
		_, err = w.Close()
		assert.ErrorIs(t, err, errFull)

		w, err = NewWriter(&disk{room: 100}, false)
		require.NoError(t, err)
		w.add(Call{})
		_, err = w.Close()
		assert.ErrorIs(t, err, errFull, "the last lines count, too")
	})
}

// TestASlowDiskKeepsNobodyWaiting: what waits to be written is bounded, and then the trace ends.
func TestASlowDiskKeepsNobodyWaiting(t *testing.T) {
	d := &disk{room: 1000, takes: make(chan struct{})}
	w, err := NewWriter(d, true)
	require.NoError(t, err)
	d.room = 0
	c := Call{Method: "m", Bytes: 60000, Payload: make([]byte, 60000)}
	added := 0
	for failed := false; !failed; added++ {
		w.add(c)
		select {
		case <-w.Failed():
			failed = true
		default:
		}
	}
	assert.LessOrEqual(t, added, 2*mostPending/60000)
	close(d.takes)
	_, err = w.Close()
	assert.ErrorContains(t, err, "16 MiB wait to be written")
}

// FuzzReader: whatever is in a file, reading it ends, and what it gives is what a Writer would write again, and can be
// replayed.
func FuzzReader(f *testing.F) {
	f.Add([]byte(aHeader + aCall + aCall))
	f.Add([]byte(strings.Replace(aHeader, "false", "true", 1) + strings.Replace(aCall, `"bytes":7`, `"bytes":1,"payload":"YQ=="`, 1)))
	f.Add([]byte(aHeader + `{"at_us":5,"took_us":6,"unreadable":true,"bytes":7,"outcome":"empty"}` + "\n" + aCall[:30]))
	f.Add([]byte(aHeader + strings.Replace(aCall, `"ok"`, `"exception","exception":"X"`, 1) + strings.Replace(aCall, "ok", "events", 1)))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		calls, r, err := all(b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "t:") || !strings.Contains(err.Error(), ": expected ") {
				t.Fatalf("an error without its place: %v", err)
			}
			return
		}
		again, _, err := all(written(t, r.Payloads, func(w *Writer) {
			for _, c := range calls {
				w.add(c)
			}
		}))
		require.NoError(t, err)
		require.Equal(t, len(calls), len(again))
		for i := range calls {
			require.Equal(t, line(calls[i]), line(again[i]))
		}
		s, err := replayed(b, Replay{Speed: 1, Fill: true, Check: true})
		if err != nil {
			require.ErrorContains(t, err, "nothing to replay")
			return
		}
		due := -time.Duration(1)
		for _, a := range s.Load.Recorded {
			require.LessOrEqual(t, due, a.At)
			due = a.At
			require.NotEmpty(t, s.Mix[a.Item].Steps[0].Method)
		}
	})
}

// replayed is the scenario of a trace.
func replayed(b []byte, how Replay) (*scenario.Scenario, error) {
	r, err := NewReader(bytes.NewReader(b), "t")
	if err != nil {
		return nil, err
	}
	s := &scenario.Scenario{}
	return s, how.Into(s, r)
}

// traceOf is the trace of calls, as they ended.
func traceOf(t *testing.T, payloads bool, calls ...Call) []byte {
	return written(t, payloads, func(w *Writer) {
		for _, c := range calls {
			w.add(c)
		}
	})
}

func at(micros, took int64, method string) Call {
	return Call{AtUS: micros, TookUS: took, Method: method, Source: "dom0", Dest: "work", Outcome: OK}
}

// dues are what arrives, and when, in milliseconds.
func dues(s *scenario.Scenario) (all []string) {
	for _, a := range s.Load.Recorded {
		all = append(all, fmt.Sprintf("%v %s", a.At, s.Mix[a.Item].Name))
	}
	return all
}

// TestPace: calls come in the order and at the times in which they began, whichever ended first, or as fast as is asked.
func TestPace(t *testing.T) {
	stream := at(1_001_000, 6000, "events")
	stream.Outcome = Events
	b := traceOf(t, false, at(1_003_000, 100, "b"), at(1_007_000, 1000, "a"), at(1_001_000, 9000, "a"), stream)
	for _, c := range []struct {
		how      Replay
		want     []string
		stream   string
		duration time.Duration
	}{
		{Replay{Speed: 1}, []string{"0s a", "2ms b", "6ms a"}, "0s 6ms", 9 * time.Millisecond},
		{Replay{Speed: 2}, []string{"0s a", "1ms b", "3ms a"}, "0s 3ms", 4500 * time.Microsecond},
		{Replay{Speed: 0.5}, []string{"0s a", "4ms b", "12ms a"}, "0s 12ms", 18 * time.Millisecond},
		{Replay{Speed: 1, Rate: 100}, []string{"0s a", "10ms b", "20ms a"}, "0s 6ms", 30 * time.Millisecond},
	} {
		s, err := replayed(b, c.how)
		require.NoError(t, err)
		assert.Equal(t, c.want, dues(s))
		require.Len(t, s.Subscribers, 1)
		assert.Equal(t, c.stream, fmt.Sprint(s.Subscribers[0].At, s.Subscribers[0].For))
		assert.Equal(t, c.duration, s.Load.Duration())
		assert.InEpsilon(t, 3/c.duration.Seconds(), s.Load.At(0), 1e-9)
	}

	// What is alone is alike.
	s, err := replayed(traceOf(t, false, stream), Replay{Speed: 2})
	require.NoError(t, err)
	assert.Empty(t, s.Load.Recorded)
	assert.Equal(t, 3*time.Millisecond, s.Subscribers[0].For)
	_, err = replayed(b, Replay{Speed: 1, Rate: math.SmallestNonzeroFloat64})
	assert.ErrorContains(t, err, "t: expected a rate at which its 3 calls take at most")
}

// TestEachCallIsKeptOnce, however often it is made; weights count.
func TestEachCallIsKeptOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calls := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Call {
			c := at(rapid.Int64Range(0, 1000).Draw(t, "at"), rapid.Int64Range(0, 1000).Draw(t, "took"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "method"))
			c.Arg, c.Dest = rapid.SampledFrom([]string{"", "x"}).Draw(t, "arg"), rapid.SampledFrom([]string{"work", "vault"}).Draw(t, "dest")
			if c.Payload = []byte(rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "payload")); len(c.Payload) == 0 {
				c.Payload = nil
			}
			c.Bytes = int64(len(c.Payload))
			return c
		}), 1, -1).Draw(t, "calls")
		var b bytes.Buffer
		b.WriteString(strings.Replace(aHeader, "false", "true", 1))
		want := map[string]float64{}
		for _, c := range calls {
			b.Write(line(c))
			want[fmt.Sprintf("%s+%s %s %s %s", c.Method, c.Arg, c.Source, c.Dest, c.Payload)]++
		}
		s, err := replayed(b.Bytes(), Replay{Speed: 1})
		require.NoError(t, err)
		got := map[string]float64{}
		for _, item := range s.Mix {
			got[text(s, item.Steps[0])] = item.Weight
		}
		require.Equal(t, want, got)
		came := map[string]float64{}
		for _, a := range s.Load.Recorded {
			came[text(s, s.Mix[a.Item].Steps[0])]++
		}
		require.Equal(t, want, came)
	})
}

// text is what a call sends.
func text(s *scenario.Scenario, c scenario.Call) string {
	d := s.NewDraw(0)
	return fmt.Sprintf("%s+%s %s %s %s", c.Method, c.Arg.Append(nil, d), c.Source.Append(nil, d), c.Dest.Append(nil, d), c.Payload.Append(nil, d))
}

// TestWhatIsLeftOut is counted; and what is expected of replies is what was recorded, if that is asked.
func TestWhatIsLeftOut(t *testing.T) {
	paid, refused, left := at(0, 1, "paid"), at(0, 1, "refused"), at(0, 1, "left")
	paid.Bytes = 3
	refused.Outcome, refused.Exception, left.Outcome = Exception, "QubesException", Left
	b := traceOf(t, false, paid, refused, left, paid, Call{Unreadable: true, Bytes: 9, Outcome: Empty}, at(0, 1, "fine"))
	b = append(b, aCall[:10]...)
	s, err := replayed(b, Replay{Speed: 1})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"skipped, since the trace leaves their payloads out: 2", "skipped, since they are no calls: 1", "the trace's last line, 8, has no end, and was left out",
	}, s.Notes)
	for _, item := range s.Mix {
		assert.Equal(t, scenario.Expect{Any: true}, item.Steps[0].Expect, item.Name)
	}

	s, err = replayed(b, Replay{Speed: 1, Fill: true, Check: true})
	require.NoError(t, err)
	assert.Len(t, s.Notes, 2)
	expected, sent := map[string]scenario.Expect{}, ""
	for _, item := range s.Mix {
		if expected[item.Name] = item.Steps[0].Expect; item.Name == "paid" {
			sent = text(s, item.Steps[0])
		}
	}
	assert.Equal(t, map[string]scenario.Expect{"paid": {}, "fine": {}, "refused": {Type: "QubesException"}, "left": {Any: true}}, expected)
	assert.Equal(t, "paid+ dom0 work xxx", sent)

	_, err = replayed(traceOf(t, false, paid), Replay{Speed: 1})
	assert.EqualError(t, err, "t: nothing to replay; skipped, since the trace leaves their payloads out: 1")
}
