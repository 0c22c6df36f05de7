package drive

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/stall"
	"sallyport/internal/testcert"
	"sallyport/messages"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashes) != "" {
		crash(os.Getenv(crashes))
	}
	goleak.VerifyTestMain(m)
}

// server answers as the method of each request says, and keeps the requests.
type server struct {
	net.Listener
	conns   sync.WaitGroup
	under   atomic.Int64
	most    atomic.Int64
	tokens  atomic.Int64
	release chan struct{} // closed: what is held is answered

	mu   sync.Mutex
	seen []string
}

// accepting has answer answer each connection, until l is closed. Then conns waits for all answers.
func accepting(l net.Listener, conns *sync.WaitGroup, answer func(net.Conn)) {
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { answer(conn) })
		}
	})
}

func serve(t *testing.T, l net.Listener) *server {
	s := &server{Listener: l, release: make(chan struct{})}
	accepting(l, &s.conns, s.answer)
	t.Cleanup(func() {
		_ = l.Close()
		select {
		case <-s.release:
		default:
			close(s.release)
		}
		s.conns.Wait()
	})
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

var long = strings.Repeat("long", 1<<20)

func (s *server) answer(conn net.Conn) {
	defer conn.Close()
	for now := s.under.Add(1); ; {
		if most := s.most.Load(); most >= now || s.most.CompareAndSwap(most, now) {
			break
		}
	}
	defer s.under.Add(-1)
	if u, ok := conn.(*net.UnixConn); ok {
		first := make([]byte, 5)
		if n, _ := io.ReadFull(conn, first); n == 5 && string(first) == "reset" {
			return // with the rest unread
		}
		rest, err := io.ReadAll(u)
		if err != nil {
			return
		}
		s.reply(conn, string(first)+string(rest))
		return
	}
	all, err := io.ReadAll(conn)
	if err == nil {
		s.reply(conn, string(all))
	}
}

func (s *server) reply(conn net.Conn, request string) {
	s.mu.Lock()
	s.seen = append(s.seen, request)
	s.mu.Unlock()
	method, _, _ := strings.Cut(request, " ")
	method, _, _ = strings.Cut(method, "+")
	switch method {
	case "garbage":
		_, _ = io.WriteString(conn, "what?")
	case "empty":
	case "exception":
		_, _ = io.WriteString(conn, "2\x00QubesVMNotFoundError\x00\x00no such qube\x00")
	case "longtype":
		_, _ = io.WriteString(conn, "2\x00"+long[:measure.MostName+1]+"\x00\x00no type\x00")
	case "long":
		_, _ = io.WriteString(conn, "0\x00"+long)
	case "pieces":
		for _, piece := range []string{"0", "\x00", "pie", "ces"} {
			_, _ = io.WriteString(conn, piece)
			time.Sleep(time.Millisecond)
		}
	case "held":
		<-s.release
		_, _ = io.WriteString(conn, "0\x00")
	case "endless":
		for {
			if _, err := io.WriteString(conn, long); err != nil {
				return
			}
		}
	case "token":
		fmt.Fprintf(conn, "0\x00a token-%d.", s.tokens.Add(1))
	case "linger":
		time.Sleep(2 * time.Millisecond)
		_, _ = io.WriteString(conn, "0\x00")
	default:
		_, _ = io.WriteString(conn, "0\x00fine")
	}
}

// targets are the two ways to a server.
var targets = map[string]func(t *testing.T) (net.Listener, scenario.Target){
	"unix": func(t *testing.T) (net.Listener, scenario.Target) {
		l, err := net.Listen("unix", socket(t))
		require.NoError(t, err)
		return l, scenario.Target{Socket: l.Addr().String()}
	},
	"tls": func(t *testing.T) (net.Listener, scenario.Target) {
		a := testcert.NewAuthority()
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.Server("localhost")}, MinVersion: tls.VersionTLS13})
		require.NoError(t, err)
		return l, scenario.Target{Addr: l.Addr().String(), TLS: &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}}
	},
}

func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "load") // t.TempDir is too long for the name of a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func call(method string) scenario.Call {
	return scenario.Call{Method: method, Source: scenario.Text("dom0"), Dest: scenario.Text("work")}
}

func item(steps ...scenario.Call) scenario.Item { return scenario.Item{Weight: 1, Steps: steps} }

// rate is a load of so many calls in a second, for that long.
func rate(perSecond float64, d time.Duration) scenario.Load {
	return scenario.Load{Stages: []scenario.Stage{{From: perSecond, To: perSecond, For: d}}}
}

func made(t *testing.T, target scenario.Target, load scenario.Load, mix ...scenario.Item) *measure.Result {
	t.Helper()
	r, err := Run(context.Background(), plain(target, load, mix...), Options{Threads: 2})
	require.NoError(t, err)
	return r
}

func plain(target scenario.Target, load scenario.Load, mix ...scenario.Item) *scenario.Scenario {
	return &scenario.Scenario{Target: target, Load: load, Mix: mix, Timeout: time.Minute, MaxInFlight: 1000, MaxLag: time.Hour}
}

// counts are how many calls there were of each key.
func counts(r *measure.Result) map[measure.Key]uint64 {
	all := map[measure.Key]uint64{}
	for k, g := range r.Groups {
		all[k] = g.Count
	}
	return all
}

// TestOutcomes: whatever a server does is counted by what it was, and every arrival once.
func TestOutcomes(t *testing.T) {
	for way, listen := range targets {
		t.Run(way, func(t *testing.T) {
			l, target := listen(t)
			serve(t, l)
			expected := call("exception")
			expected.Expect.Type = "QubesVMNotFoundError"
			big := call("fine")
			big.Payload = scenario.Text(long)
			for name, c := range map[string]struct {
				call scenario.Call
				want measure.Key
			}{
				"fine":                   {call("fine"), measure.Key{Outcome: measure.OK}},
				"in pieces":              {call("pieces"), measure.Key{Outcome: measure.OK}},
				"a long reply":           {call("long"), measure.Key{Outcome: measure.OK}},
				"a long request":         {big, measure.Key{Outcome: measure.OK}},
				"garbage":                {call("garbage"), measure.Key{Outcome: measure.Garbage}},
				"nothing":                {call("empty"), measure.Key{Outcome: measure.Empty}},
				"exception":              {call("exception"), measure.Key{Outcome: measure.Unexpected, Type: "QubesVMNotFoundError"}},
				"a type that is none":    {call("longtype"), measure.Key{Outcome: measure.Unexpected, Type: measure.Other}},
				"the expected exception": {expected, measure.Key{Outcome: measure.OK, Type: "QubesVMNotFoundError"}},
			} {
				r := made(t, target, rate(100, 100*time.Millisecond), item(c.call))
				c.want.Method, c.want.Source = c.call.Method, "dom0"
				assert.Equal(t, map[measure.Key]uint64{c.want: 10}, counts(r), name)
				assert.EqualValues(t, 10, r.Due, name)
				assert.Empty(t, r.Invalid, name)
			}
		})
	}
	l, target := targets["unix"](t)
	serve(t, l)
	hung := plain(target, rate(100, 50*time.Millisecond), item(call("held")))
	hung.Timeout = 30 * time.Millisecond
	r, err := Run(context.Background(), hung, Options{})
	require.NoError(t, err)
	assert.Equal(t, map[measure.Key]uint64{{Method: "held", Source: "dom0", Outcome: measure.Timeout}: 5}, counts(r))
	g, errs := r.Of(func(measure.Key) bool { return true })
	assert.EqualValues(t, 5, errs)
	assert.GreaterOrEqual(t, g.Total.Min(), int64(29*time.Millisecond), "what did not come in time was waited for")

	r = made(t, target, rate(100, 50*time.Millisecond), item(call("reset")))
	assert.Equal(t, map[measure.Key]uint64{{Method: "reset", Source: "dom0", Outcome: measure.Reset}: 5}, counts(r))
	r = made(t, scenario.Target{Socket: target.Socket + "x"}, rate(100, 50*time.Millisecond), item(call("x")))
	assert.Equal(t, map[measure.Key]uint64{{Method: "x", Source: "dom0", Outcome: measure.Missing}: 5}, counts(r))
	require.NoError(t, os.WriteFile(target.Socket+"x", nil, 0o600))
	r = made(t, scenario.Target{Socket: target.Socket + "x"}, rate(100, 50*time.Millisecond), item(call("x")))
	assert.Equal(t, map[measure.Key]uint64{{Method: "x", Source: "dom0", Outcome: measure.Refused}: 5}, counts(r))
}

// TestAStalledServerHidesNothing: calls are due whatever the server does, and wait from when they were due. A tester that
// waited for the server would have begun one of these calls, and found the others fast.
func TestAStalledServerHidesNothing(t *testing.T) {
	s := stall.Server{Schedule: stall.Schedule{Every: 500 * time.Millisecond, For: 200 * time.Millisecond}, Reply: []byte("0\x00")}
	path := socket(t)
	require.NoError(t, s.Listen(path))
	defer s.Close()
	r := made(t, scenario.Target{Socket: path}, rate(1000, time.Second), item(call("x")))
	g, errs := r.Of(func(measure.Key) bool { return true })
	assert.EqualValues(t, 1000, g.Count)
	assert.Zero(t, errs)
	for _, p := range []float64{70, 80, 90, 99} { // a slow machine makes them only slower
		assert.Greater(t, g.Total.ValueAtPercentile(p), int64(s.Quantile(p/100, 1000)*95/100), "p%v", p)
	}
}

// TestWhatIsTooMuchIsShed: no more calls are under way than there may be; the others are counted, and the run is invalid.
func TestWhatIsTooMuchIsShed(t *testing.T) {
	l, target := targets["unix"](t)
	server := serve(t, l)
	s := plain(target, rate(1000, 50*time.Millisecond), item(call("held")))
	s.MaxInFlight, s.Timeout = 8, 200*time.Millisecond
	r, err := Run(context.Background(), s, Options{Threads: 2})
	require.NoError(t, err)
	assert.Equal(t, map[measure.Key]uint64{
		{Method: "held", Source: "dom0", Outcome: measure.Timeout}: 8, {Method: "held", Outcome: measure.Shed}: 42,
	}, counts(r))
	assert.LessOrEqual(t, server.most.Load(), int64(8))
	require.Len(t, r.Invalid, 1)
	assert.Contains(t, r.Invalid[0], "max_in_flight is 8")
}

// TestSequences: each call of a sequence begins when the one before has ended, with the same values.
func TestSequences(t *testing.T) {
	for way, listen := range targets {
		t.Run(way, func(t *testing.T) {
			l, target := listen(t)
			server := serve(t, l)
			first, second := call("linger"), call("fine")
			first.Think = 3 * time.Millisecond
			r := made(t, target, rate(100, 100*time.Millisecond), item(first, second))
			assert.Equal(t, map[measure.Key]uint64{
				{Method: "linger", Source: "dom0", Outcome: measure.OK}: 10, {Method: "fine", Source: "dom0", Outcome: measure.OK}: 10,
			}, counts(r))
			before := 0
			for _, request := range server.requests() {
				if strings.HasPrefix(request, "linger") {
					before++
				} else if before--; before < 0 {
					assert.Fail(t, "a second step before any first had ended")
				}
			}
		})
	}
}

// TestWhatAReplyHasIsSentAgain: each arrival sends what its own reply had.
func TestWhatAReplyHasIsSentAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.yaml")
	require.NoError(t, os.WriteFile(file, []byte("version: 1\nstages: [{rate: 200, for: 100ms}]\nvariables: {token: {reply: 'token-[0-9]+'}}\n"+
		"mix: [{steps: [{method: token, keep: token}, {method: take, payload: '{token}'}]}]"), 0o600))
	s, err := scenario.Read(file, scenario.Checks{})
	require.NoError(t, err)
	for way, listen := range targets {
		t.Run(way, func(t *testing.T) {
			l, target := listen(t)
			server := serve(t, l)
			s.Target = target
			r, err := Run(context.Background(), s, Options{Threads: 2})
			require.NoError(t, err)
			assert.Equal(t, map[measure.Key]uint64{
				{Method: "token", Source: "dom0", Outcome: measure.OK}: 20, {Method: "take", Source: "dom0", Outcome: measure.OK}: 20,
			}, counts(r))
			var taken []string
			for _, request := range server.requests() {
				if header, payload, _ := strings.Cut(request, "\x00"); strings.HasPrefix(header, "take") {
					taken = append(taken, payload)
				}
			}
			slices.Sort(taken)
			assert.Len(t, slices.Compact(taken), 20)
			assert.Equal(t, int64(20), server.tokens.Load())
		})
	}
}

// TestAnEndlessReplyKeepsNobody: it ends with the timeout, and others are read meanwhile.
func TestAnEndlessReplyKeepsNobody(t *testing.T) {
	l, target := targets["unix"](t)
	serve(t, l)
	s := plain(target, rate(20, 200*time.Millisecond), item(call("endless")), item(call("fine")))
	s.Timeout, s.Seed = 300*time.Millisecond, 3
	r, err := Run(context.Background(), s, Options{Threads: 1})
	require.NoError(t, err)
	n := counts(r)
	endless, fine := n[measure.Key{Method: "endless", Source: "dom0", Outcome: measure.Timeout}], n[measure.Key{Method: "fine", Source: "dom0", Outcome: measure.OK}]
	assert.NotZero(t, endless)
	assert.EqualValues(t, 4, endless+fine+n[measure.Key{Method: "fine", Source: "dom0", Outcome: measure.Timeout}])
}

// TestALoadLastsToItsEnd, also if nothing is due any more.
func TestALoadLastsToItsEnd(t *testing.T) {
	l, target := targets["unix"](t)
	serve(t, l)
	load := rate(100, 50*time.Millisecond)
	load.Stages = append(load.Stages, scenario.Stage{For: 150 * time.Millisecond})
	began := time.Now()
	r := made(t, target, load, item(call("fine")))
	assert.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)
	assert.Equal(t, 200*time.Millisecond, r.Took)
}

// TestAbstractSockets have a name that begins with @.
func TestAbstractSockets(t *testing.T) {
	l, err := net.Listen("unix", fmt.Sprintf("@sallyport-test-%d", os.Getpid()))
	require.NoError(t, err)
	serve(t, l)
	r := made(t, scenario.Target{Socket: l.Addr().String()}, rate(100, 50*time.Millisecond), item(call("fine")))
	assert.Equal(t, map[measure.Key]uint64{{Method: "fine", Source: "dom0", Outcome: measure.OK}: 5}, counts(r))
}

// TestWorkers: in a closed model there are never more calls at the same time than workers, and each worker always has one.
func TestWorkers(t *testing.T) {
	for way, listen := range targets {
		t.Run(way, func(t *testing.T) {
			l, target := listen(t)
			server := serve(t, l)
			load := rate(5, 200*time.Millisecond)
			load.Closed = true
			r := made(t, target, load, item(call("linger")))
			g, errs := r.Of(func(measure.Key) bool { return true })
			assert.Zero(t, errs)
			assert.Greater(t, g.Count, uint64(5), "they go on")
			assert.Equal(t, int64(5), server.most.Load())
		})
	}
}

// TestEachWorkerHasACall, however many calls an open model may have at the same time.
func TestEachWorkerHasACall(t *testing.T) {
	for way, listen := range targets {
		t.Run(way, func(t *testing.T) {
			l, target := listen(t)
			server := serve(t, l)
			load := rate(5, 100*time.Millisecond)
			load.Closed = true
			s := plain(target, load, item(call("linger")))
			s.MaxInFlight = 2
			r, err := Run(context.Background(), s, Options{Threads: 2})
			require.NoError(t, err)
			g, errs := r.Of(func(measure.Key) bool { return true })
			assert.Zero(t, errs)
			assert.Equal(t, int64(5), server.most.Load())
			assert.NotZero(t, g.Count)
		})
	}
}

// TestWorkersThatFailAtOnceKeepNobodyWaiting: what fails as soon as it begins is begun again, and all else goes on.
func TestWorkersThatFailAtOnceKeepNobodyWaiting(t *testing.T) {
	load := rate(5, time.Hour)
	load.Closed = true
	ctx, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer stop()
	r, err := Run(ctx, plain(scenario.Target{Socket: socket(t)}, load, item(call("x"))), Options{})
	require.NoError(t, err)
	assert.Len(t, r.Groups, 1)
	assert.NotZero(t, counts(r)[measure.Key{Method: "x", Source: "dom0", Outcome: measure.Missing}])
}

// TestAFullBacklogIsWaitedFor, and what is given up there is counted once, though its descriptor's place is used again.
func TestAFullBacklogIsWaitedFor(t *testing.T) {
	path := socket(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 1)) // and nobody accepts
	s := plain(scenario.Target{Socket: path}, rate(2000, 300*time.Millisecond), item(call("x")))
	s.Timeout = 20 * time.Millisecond
	r, err := Run(context.Background(), s, Options{})
	require.NoError(t, err)
	assert.Equal(t, map[measure.Key]uint64{{Method: "x", Source: "dom0", Outcome: measure.Timeout}: 600}, counts(r))
	assert.EqualValues(t, 600, r.Due)
}

// TestSharesAddUp: what several machines do together is the whole load, though one has more threads than the others, and
// no more calls are under way than on one machine.
func TestSharesAddUp(t *testing.T) {
	l, target := targets["unix"](t)
	server := serve(t, l)
	all := measure.NewResult()
	for part := range 3 {
		r, err := Run(context.Background(), plain(target, rate(1000, 50*time.Millisecond), item(call("fine"))), Options{Part: part, Of: 3, Threads: 1 + part})
		require.NoError(t, err)
		assert.InDelta(t, 17, r.Due, 1)
		all.Merge(r)
	}
	assert.EqualValues(t, 50, all.Due)
	seen := server.requests()
	assert.Len(t, seen, 50)
	assert.Equal(t, []byte("fine dom0 name work\x00"), []byte(seen[0]))

	l, target = targets["unix"](t)
	server = serve(t, l)
	s := plain(target, rate(1000, 50*time.Millisecond), item(call("held")))
	s.MaxInFlight, s.Timeout = 8, 100*time.Millisecond
	_, err := Run(context.Background(), s, Options{Part: 1, Of: 4, Threads: 2})
	require.NoError(t, err)
	assert.LessOrEqual(t, server.most.Load(), int64(2))

	s = plain(target, rate(10, 300*time.Millisecond), item(call("fine")))
	s.Timeout, s.Adversaries = 20*time.Millisecond, []scenario.Adversary{{Kind: scenario.Flood, Rate: 1000, Count: 2}}
	r, err := Run(context.Background(), s, Options{Part: 2, Of: 3})
	require.NoError(t, err)
	assert.Empty(t, r.Beside, "two others have the two adversaries")
}

// TestARunBeginsWhenItIsTold, after all is prepared; if it is not to begin, nothing is left of it.
func TestARunBeginsWhenItIsTold(t *testing.T) {
	l, target := targets["unix"](t)
	server := serve(t, l)
	s := plain(target, rate(1000, 50*time.Millisecond), item(call("fine")))
	var begun time.Time
	r, err := Run(context.Background(), s, Options{Ready: func() error {
		time.Sleep(100 * time.Millisecond)
		assert.Empty(t, server.requests())
		begun = time.Now()
		return nil
	}})
	require.NoError(t, err)
	assert.EqualValues(t, 50, r.Due)
	assert.False(t, r.Began.Before(begun))

	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(all)
	}
	before := descriptors()
	for range 100 {
		_, err = Run(context.Background(), s, Options{Threads: 2, Ready: func() error { return io.ErrClosedPipe }})
		assert.ErrorIs(t, err, io.ErrClosedPipe)
	}
	assert.Less(t, descriptors(), before+100)

	s.Target.Socket = strings.Repeat("x", 200)
	_, err = Run(context.Background(), s, Options{Ready: func() error {
		assert.Fail(t, "nothing is ready")
		return nil
	}})
	assert.ErrorContains(t, err, "the path of a unix socket")
}

// TestNamesAreShort: a server cannot fill the tool's memory with them.
func TestNamesAreShort(t *testing.T) {
	w := &words{}
	short := strings.Repeat("x", measure.MostName)
	assert.Equal(t, short, w.of([]byte(short)))
	assert.Equal(t, "(longer than 256 bytes)", w.of([]byte(short+"x")))
}

// TestAnEndGivesWhatRan, also if the server holds what is under way.
func TestAnEndGivesWhatRan(t *testing.T) {
	for way, listen := range targets {
		t.Run(way, func(t *testing.T) {
			l, target := listen(t)
			serve(t, l)
			ctx, stop := context.WithCancel(context.Background())
			looks := 0
			r, err := Run(ctx, plain(target, rate(100, time.Hour), item(call("fine")), item(call("held"))), Options{Progress: func(p Progress) {
				looks++
				assert.NotZero(t, p.InFlight)
				stop()
			}})
			require.NoError(t, err)
			assert.Equal(t, 1, looks)
			assert.NotZero(t, r.Groups[measure.Key{Method: "fine", Source: "dom0", Outcome: measure.OK}])
			require.Len(t, r.Notes, 1)
			assert.Regexp(t, `^the run was ended after .* of 1h0m0s; [1-9][0-9]* calls under way then count nowhere, the longest of which had waited for `, r.Notes[0])
			assert.Contains(t, r.Invalid, "calls that had waited for longer than any that was measured were under way when the run was ended")
		})
	}
}

// TestALookTells what a run that ended now would tell, and what happened since the last look.
func TestALookTells(t *testing.T) {
	l, target := targets["unix"](t)
	serve(t, l)
	s := plain(target, rate(100, time.Hour), item(call("held")))
	s.MaxInFlight, s.MaxLag = 8, time.Nanosecond
	ctx, stop := context.WithCancel(context.Background())
	_, err := Run(ctx, s, Options{Threads: 2, Progress: func(p Progress) {
		defer stop()
		assert.Equal(t, 8, p.InFlight)
		shed := p.Counts[measure.Key{Method: "held", Outcome: measure.Shed}]
		assert.Equal(t, shed, p.Recent.Counts[measure.Shed])
		assert.Equal(t, shed+8, p.Recent.Due)
		require.Len(t, p.Invalid, 2)
		assert.Contains(t, p.Invalid[0], "the tool was the bottleneck: 99.9 % of calls began up to ")
		assert.Equal(t, fmt.Sprintf("%d calls were never begun, since max_in_flight is 8", shed), p.Invalid[1])
	}})
	require.NoError(t, err)
}

// crashes, in the environment, makes the test a process in which a goroutine of a load panics.
const crashes = "DRIVE_CRASHES"

func crash(who string) {
	s := plain(scenario.Target{Socket: "nosuch"}, rate(100, time.Hour), item(call("fine")))
	o := Options{Crashed: func() { fmt.Println("told") }}
	switch who {
	case "loop":
		s.Mix[0].Steps = nil
	case "pool":
		s.Mix[0].Steps, s.Target.Socket = nil, ""
	case "look":
		o.Progress = func(Progress) { panic("a look") }
	}
	_, _ = Run(context.Background(), s, o)
}

// TestACrashIsToldFirst: whoever has to leave something as it was can, before a panic ends the process as ever.
func TestACrashIsToldFirst(t *testing.T) {
	for _, who := range []string{"loop", "pool", "look"} {
		test := exec.Command(os.Args[0])
		test.Env = append(os.Environ(), crashes+"="+who)
		var stderr strings.Builder
		test.Stderr = &stderr
		out, err := test.Output()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, who)
		assert.Equal(t, 2, exit.ExitCode(), who)
		assert.Equal(t, "told\n", string(out), who)
		assert.Contains(t, stderr.String(), "panic: ", who)
	}
}

// TestForksDisturbNothing: while a process is forked off, it has the sockets, too, so that they have events when they are
// closed already.
func TestForksDisturbNothing(t *testing.T) {
	l, target := targets["unix"](t)
	serve(t, l)
	over := make(chan struct{})
	var forks sync.WaitGroup
	forks.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				_ = exec.Command("/bin/true").Run()
			}
		}
	})
	r := made(t, target, rate(2000, time.Second), item(call("fine")))
	close(over)
	forks.Wait()
	assert.Equal(t, map[measure.Key]uint64{{Method: "fine", Source: "dom0", Outcome: measure.OK}: 2000}, counts(r))
}

// TestSubscribersAndAdversaries are beside the load: events are counted, misdeeds apart, and none is left when it ends.
func TestSubscribersAndAdversaries(t *testing.T) {
	l, err := net.Listen("unix", socket(t))
	require.NoError(t, err)
	var conns sync.WaitGroup
	accepting(l, &conns, func(conn net.Conn) {
		defer conn.Close()
		request, _ := io.ReadAll(conn)
		switch {
		case bytes.HasPrefix(request, []byte("admin.Events")):
			var err error
			for n := 0; err == nil; n++ {
				_, err = conn.Write(messages.Event{Name: fmt.Sprint("e", n)}.AppendFrame(nil))
				time.Sleep(time.Millisecond)
			}
		case bytes.Contains(request, []byte{0}) && len(request) < messages.MaxRequest:
			_, _ = io.WriteString(conn, "0\x00")
		default:
			_, _ = io.WriteString(conn, "2\x00ProtocolError\x00\x00no\x00")
		}
	})
	s := plain(scenario.Target{Socket: l.Addr().String()}, rate(100, time.Second), item(call("fine")))
	s.Timeout = 500 * time.Millisecond
	s.Subscribers = []scenario.Subscribers{{Count: 3, Call: call("admin.Events")}, {Count: 2, Call: call("admin.Events"), Silent: true}}
	for _, kind := range scenario.Misdeeds {
		s.Adversaries = append(s.Adversaries, scenario.Adversary{Kind: kind, Rate: 100, Count: 3})
	}
	r, err := Run(context.Background(), s, Options{})
	require.NoError(t, err)
	assert.Greater(t, r.Messages, uint64(3))
	fine, _ := r.Of(func(k measure.Key) bool { return k.Outcome == measure.OK || k.Outcome == measure.Timeout }) // on a busy machine
	assert.EqualValues(t, 100, fine.Count, "%v", counts(r))
	assert.NotZero(t, counts(r)[measure.Key{Method: "fine", Source: "dom0", Outcome: measure.OK}])
	for misdeed, want := range map[scenario.Misdeed]measure.Key{
		scenario.HalfFrame:  {Outcome: measure.OK, Type: "ProtocolError"},
		scenario.SlowSender: {Outcome: measure.Timeout},
		scenario.Flood:      {Outcome: measure.Timeout},
		scenario.Oversize:   {Outcome: measure.OK, Type: "ProtocolError"},
	} {
		want.Method = string(misdeed)
		assert.NotZero(t, r.Beside[want], "%v: %v", want, r.Beside)
	}
	require.NoError(t, l.Close())
	conns.Wait()
}
