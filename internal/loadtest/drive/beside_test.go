package drive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/messages"
	"sallyport/messages/qube"
)

// TestAnEventIsSkippedWhole, whatever its parts are, however little the buffer has room for, and nothing after it.
func TestAnEventIsSkippedWhole(t *testing.T) {
	part := rapid.StringMatching(`[a-z1]{0,40}`)
	rapid.Check(t, func(t *rapid.T) {
		e := messages.Event{Subject: part.Draw(t, "subject"), Name: part.Draw(t, "name")}
		for range rapid.IntRange(0, 5).Draw(t, "args") {
			e.Args = append(e.Args, qube.EventArg{Key: "k" + part.Draw(t, "key"), Value: part.Draw(t, "value")})
		}
		b := e.AppendFrame(nil)
		r := bufio.NewReaderSize(bytes.NewReader(append(b, "rest"...)), 16)
		require.NoError(t, skipEvent(r))
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "rest", string(rest))

		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		require.Error(t, skipEvent(bufio.NewReaderSize(bytes.NewReader(b[:cut]), 16)), "half an event")
	})
}

// TestAnEventFillsNoMemory: a server may send one with as many keys as it likes, and of any length, through each subscriber.
func TestAnEventFillsNoMemory(t *testing.T) {
	for what, event := range map[string]string{
		"many keys":  "1\x00\x00\x00" + strings.Repeat("k\x00v\x00", 2<<20) + "\x00",
		"a long key": "1\x00\x00\x00" + strings.Repeat("k", 8<<20) + "\x00v\x00\x00",
	} {
		t.Run(what, func(t *testing.T) {
			r, used := subscribed(t, event+"2\x00QubesException\x00\x00over\x00")
			assert.Equal(t, map[measure.Key]uint64{{Method: "admin.Events", Source: "dom0", Outcome: measure.Unexpected, Type: "QubesException"}: 1}, counts(r))
			assert.EqualValues(t, 1, r.Messages)
			assert.Less(t, used, uint64(8<<20))
		})
	}
}

// TestHowAStreamEnds: what is no event is the end, and is judged like the reply of a call.
func TestHowAStreamEnds(t *testing.T) {
	const event = "1\x00\x00e\x00\x00"
	for sent, want := range map[string]measure.Outcome{
		"": measure.Reset, event: measure.Reset, event + "1\x00half": measure.Reset, event + "12\x00": measure.Garbage, "1": measure.Garbage,
		event + "0\x00": measure.OK, "2\x00" + long + "\x00\x00\x00": measure.Garbage,
	} {
		r, used := subscribed(t, sent)
		assert.Equal(t, want, only(t, r).Outcome, "%.20q", sent)
		assert.Less(t, used, uint64(8<<20), "%.20q", sent)
	}
}

// TestNoServerKeepsASubscriber by reading nothing of what it asks: it leaves when it is to, or gives up.
func TestNoServerKeepsASubscriber(t *testing.T) {
	over := make(chan struct{})
	l, err := net.Listen("unix", socket(t))
	require.NoError(t, err)
	deaf := map[string]scenario.Target{
		"unix": {Socket: l.Addr().String()}, // in whose backlog it is
		"tls": overTLS(t, func(conn *tls.Conn, _ *endpoint.Wire) {
			_ = conn.Handshake()
			<-over
		}),
	}
	defer l.Close()
	defer close(over)
	for way, target := range deaf {
		t.Run(way, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			s := plain(target, scenario.Load{})
			big := call("admin.Events")
			big.Payload = scenario.Text(long + long + long + long)
			s.Subscribers = []scenario.Subscribers{{Count: 1, Call: big, For: 300 * time.Millisecond}}
			s.Timeout = time.Hour
			r, err := Run(ctx, s, Options{Threads: 1})
			require.NoError(t, err)
			require.NoError(t, ctx.Err(), "it never left")
			assert.Empty(t, counts(r), "it left")

			s.Subscribers[0].For = time.Hour
			s.Timeout = 300 * time.Millisecond
			r, err = Run(ctx, s, Options{Threads: 1})
			require.NoError(t, err)
			require.NoError(t, ctx.Err(), "it never gave up")
			assert.Equal(t, measure.Timeout, only(t, r).Outcome)
		})
	}
}

// TestAdversariesAddUp: all machines together have the rate and the places, also if some have no place.
func TestAdversariesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := scenario.Adversary{Rate: rapid.Float64Range(scenario.LeastMisdeeds, 1e4).Draw(t, "rate"), Count: rapid.IntRange(1, 1<<16).Draw(t, "count")}
		of := rapid.IntRange(1, 20).Draw(t, "machines")
		all, rate := 0, 0.0
		for part := range of {
			places, between := (&driver{o: Options{Part: part, Of: of}}).pace(a)
			require.GreaterOrEqual(t, places, 0)
			if all += places; places > 0 {
				require.Positive(t, between)
				rate += float64(time.Second) / float64(between)
			}
		}
		require.Equal(t, a.Count, all)
		require.InEpsilon(t, a.Rate, rate, 0.01)
	})
}

// TestACrashAmongAdversariesIsToldFirst, as any other is.
func TestACrashAmongAdversariesIsToldFirst(t *testing.T) {
	const crashes = "DRIVE_ADVERSARIES_CRASH"
	if os.Getenv(crashes) != "" {
		s := plain(scenario.Target{Socket: "nosuch"}, rate(100, time.Hour), item(call("fine")))
		s.Adversaries = []scenario.Adversary{{Rate: 1, Count: -1000}}
		_, _ = Run(t.Context(), s, Options{Crashed: func() { fmt.Println("told") }})
	}
	test := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	test.Env = append(os.Environ(), crashes+"=1")
	var stderr strings.Builder
	test.Stderr = &stderr
	out, err := test.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode())
	assert.Equal(t, "told\n", string(out))
	assert.Contains(t, stderr.String(), "panic: ")
}

// only is the key of the only call there was.
func only(t *testing.T, r *measure.Result) measure.Key {
	t.Helper()
	require.Len(t, r.Groups, 1)
	for k := range r.Groups {
		return k
	}
	return measure.Key{}
}

// subscribed gives what becomes of a subscriber to whom that is sent, and how many bytes of memory were asked for meanwhile.
func subscribed(t *testing.T, sent string) (r *measure.Result, used uint64) {
	t.Helper()
	l, err := net.Listen("unix", socket(t))
	require.NoError(t, err)
	all := []byte(sent) // which is not counted
	var server sync.WaitGroup
	server.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 100))
		_, _ = conn.Write(all)
	})
	defer server.Wait()
	defer l.Close()
	s := plain(scenario.Target{Socket: l.Addr().String()}, scenario.Load{})
	s.Subscribers = []scenario.Subscribers{{Count: 1, Call: call("admin.Events"), For: time.Hour}} // the run waits for it
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err = Run(t.Context(), s, Options{Threads: 1})
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	return r, after.TotalAlloc - before.TotalAlloc
}
