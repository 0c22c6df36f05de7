package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/bench/terms"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/stall"
)

// The test binary is also the server that the driver is tested with: TESTBINARY standin SOCKET HTTP QUBES HONESTY.
func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == "standin" {
		qubes, err := strconv.Atoi(os.Args[4])
		if err != nil {
			panic(err)
		}
		(&standIn{qubes: qubes, honesty: os.Args[5]}).serve(os.Args[2], os.Args[3])
		return
	}
	code := m.Run()
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// built is a folder with what the tests start, built once for all of them.
var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "sallyport-bench-test-"); err == nil {
		err = build(context.Background(), dir, builtin[:1])
	}
	return dir, err
})

// standIn serves the calls that are measured from memory. A liar is wrong every hundredth time, a hasty one answers half
// of the starts, and a patient one never cuts off a subscriber.
type standIn struct {
	qubes   int
	honesty string
	calls   atomic.Uint64
	started atomic.Int64

	mu          sync.Mutex
	written     map[string]string
	subscribers []chan []byte
}

func (s *standIn) serve(socket, addr string) {
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "go_memstats_mallocs_total 1\ngo_memstats_heap_inuse_bytes 2\n")
	})
	go func() { _ = http.ListenAndServe(addr, nil) }()
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	s.written = map[string]string{}
	for {
		conn, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer conn.Close()
			request, _ := io.ReadAll(conn)
			header, payload, _ := bytes.Cut(request, []byte{0})
			f := strings.Fields(string(header))
			if len(f) != 4 || s.honesty == "lie" && s.calls.Add(1)%100 == 0 {
				return
			}
			method, feature, _ := strings.Cut(f[0], "+")
			if method == "admin.Events" {
				s.follow(conn)
				return
			}
			_, _ = io.WriteString(conn, s.answer(method, feature, f[3], string(payload)))
		}()
	}
}

func (s *standIn) answer(method, feature, dest, payload string) string {
	switch method {
	case "admin.vm.feature.Get":
		s.mu.Lock()
		defer s.mu.Unlock()
		if v, ok := s.written[feature+"/"+dest]; ok {
			return "0\x00" + v
		}
		return "0\x00value-of-" + strings.TrimPrefix(dest, "qube-")
	case "admin.vm.feature.Set":
		s.set(feature, dest, payload)
		return "0\x00"
	case "admin.vm.List":
		var b strings.Builder
		b.WriteString("0\x00dom0 class=AdminVM state=Running uuid=0\n")
		for i := range s.qubes {
			state := "Halted"
			if int64(i) < s.started.Load() {
				state = "Transient"
			}
			b.WriteString(terms.Qube(i) + " class=StandaloneVM state=" + state + " uuid=7\n")
		}
		return b.String()
	case "admin.vm.property.GetAll":
		return "0\x00name default=False type=str " + dest + "\n"
	case "admin.vm.Start":
		if n := s.started.Add(1); s.honesty == "hasty" && n%2 == 0 {
			return "0\x00"
		}
		select {}
	}
	return "2\x00ProtocolError\x00\x00method\x00"
}

// set tells all subscribers of a change, in order.
func (s *standIn) set(feature, dest, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := feature + "/" + dest
	var frames string
	for _, event := range []string{"domain-feature-pre-set:", "domain-feature-set:"} {
		frames += "1\x00" + dest + "\x00" + event + feature + "\x00feature\x00" + feature + "\x00value\x00" + value + "\x00oldvalue\x00" + s.written[key] + "\x00\x00"
	}
	s.written[key] = value
	for _, c := range s.subscribers {
		c <- []byte(frames)
	}
}

func (s *standIn) follow(conn net.Conn) {
	frames := make(chan []byte, 1000)
	frames <- []byte("1\x00\x00connection-established\x00\x00")
	s.mu.Lock()
	s.subscribers = append(s.subscribers, frames)
	s.mu.Unlock()
	for frame := range frames {
		if s.honesty != "patient" {
			_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		}
		if _, err := conn.Write(frame); err != nil {
			break
		}
	}
	conn.Close()
	for range frames { // nobody waits for it
	}
}

func standInKind(t *testing.T, name, honesty string) kind {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return kind{name, self + " standin {dir}/qubesd.sock {http} {qubes} " + honesty}
}

func tiny(t *testing.T, servers ...kind) *bench {
	t.Helper()
	b := &bench{root: t.TempDir(), note: t.Logf, plan: plan{
		Starts: 1, Rounds: 2, IdleRepetitions: 1, SetRepetitions: 2, Warmup: 10 * time.Millisecond, Duration: 100 * time.Millisecond,
		EventRepetitions: 2, IdleConnections: 100, BlockedStarts: 20, Subscribers: 50, Changes: 5, Fills: 4,
		StallFors: []time.Duration{10 * time.Millisecond}, StallTime: 400 * time.Millisecond, RateTime: 100 * time.Millisecond, RateRepetitions: 2,
		Pairs: 1, PairTime: 100 * time.Millisecond, Searches: 1, ProbeTime: 100 * time.Millisecond,
		Qubes: 10, Servers: servers,
		Parts: slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return part == "decisions" }), // for which Go compiles
	}}
	dir, err := built()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Join(dir, "bin"), filepath.Join(b.root, "bin")))
	return b
}

// The whole run, with stand-ins for sallyport: every row of the report is there, and nothing was wrong.
func TestARun(t *testing.T) {
	b := tiny(t, builtin[0], standInKind(t, "warn", "honest"), standInKind(t, "info", "honest"))
	b.pprof = "" // profiles take seconds
	require.NoError(t, b.run(t.Context()))
	assert.Empty(t, b.wrong)
	rows := b.rows()
	assert.Len(t, rows, 13+3+1+4+5)
	for _, r := range rows {
		_, warn := r.Values["warn"]
		assert.True(t, warn, r.Measure)
		if !strings.Contains(r.Measure, "worker") && len(r.Values) == 1 || strings.Contains(r.Measure, "feature.Set") || strings.Contains(r.Measure, "starts") {
			assert.Len(t, r.Values, 1, r.Measure)
			continue
		}
		assert.Len(t, r.Values, 3, r.Measure)
	}
	for _, p := range b.points {
		assert.Positive(t, p.Load.Total, "%s %s", p.Part, p.Server)
		if !strings.HasPrefix(p.Part, eventsPart) {
			assert.Positive(t, p.CPU, "%s %s", p.Part, p.Server)
		}
	}
	assert.Len(t, b.points, 2*(3*3+2+3*3+3+2*2+3+2), "two repetitions: reads at three levels of three servers, writes at two sizes, "+
		"qvm-ls at three sizes and lists of three servers, reads at two levels without and beside starts, three kinds of changes, reads by two sources")
	assert.Len(t, b.silent, 2*2)
	assert.Len(t, b.fsyncs, 400)
	assert.False(t, math.IsNaN(b.setRatio().Median))

	require.Len(t, b.loads.Stalls, 1)
	assert.NotEmpty(t, b.loads.Stalls[0].Percentiles)
	assert.Len(t, b.loads.Rates, 2*2)
	assert.Len(t, b.loads.Lengths, 2)
	assert.Len(t, b.loads.Pairs, 2)
	assert.Len(t, b.loads.Found, 1)
	assert.Len(t, b.loadNotes(), 1+2+1+2+1)

	file := filepath.Join(t.TempDir(), "out.json")
	require.NoError(t, writeJSON(file, describeMachine(b.root), b, rows))
	out, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.True(t, json.Valid(out))
	assert.Contains(t, strings.Join(b.notes(machine{}), "\n"), " ms at 100, ")
	left, err := filepath.Glob(filepath.Join(b.root, "*-*", "qubesd.sock"))
	require.NoError(t, err)
	assert.Empty(t, left, "every server's folder is removed")
}

func TestALiarFailsTheRun(t *testing.T) {
	b := tiny(t, builtin[0], standInKind(t, "warn", "lie"))
	b.Parts = []string{"get-64"}
	require.NoError(t, b.run(t.Context()), "it goes on to the end")
	require.NotEmpty(t, b.wrong)
	assert.Contains(t, b.wrong[0], "get-64, warn:")
}

// Starts that are answered are none that block, whatever else was measured beside them.
func TestStartsThatEndFailTheRun(t *testing.T) {
	b := tiny(t, standInKind(t, "warn", "hasty"))
	b.Parts = []string{"starts"}
	require.NoError(t, b.run(t.Context()))
	require.Len(t, b.wrong, 1)
	assert.Contains(t, b.wrong[0], "starts, warn: 10 of 20 starts did not hang")
}

// The plain server starts no qubes, and has no list of its own.
func TestPlainAlone(t *testing.T) {
	b := tiny(t, builtin[0])
	for _, part := range []string{"list-1000", "qvm-ls"} {
		b.Parts = []string{part}
		assert.ErrorContains(t, b.run(t.Context()), "plain can only repeat what another server answers")
	}
	s, err := start(t.Context(), b.root, builtin[0], setup{qubes: 3})
	require.NoError(t, err)
	defer s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls, err := blockStarts(ctx, s, 3)
	defer calls.close()
	assert.ErrorContains(t, err, "3 qubes being started")
}

// A subscriber that is never cut off may cost any memory: the run fails, if its events fit or not.
func TestSubscribersThatAreNotCutOffFailTheRun(t *testing.T) {
	b := tiny(t, standInKind(t, "warn", "patient"))
	b.Parts, b.EventRepetitions, b.Subscribers, b.Fills = []string{"events"}, 1, 5, 4
	require.NoError(t, b.run(t.Context()))
	require.Len(t, b.wrong, 1)
	assert.Contains(t, b.wrong[0], "events-fill-silent, warn: 0 of 10 subscribers that did not read were cut off")
}

func TestAServerThatCannotStart(t *testing.T) {
	root := t.TempDir()
	_, err := start(t.Context(), root, kind{"bad", "go no-such-command"}, setup{qubes: 1})
	assert.ErrorContains(t, err, "bad: it ended before it answered")
	_, err = start(t.Context(), root, kind{"absent", "{bin}/absent"}, setup{qubes: 1})
	assert.ErrorContains(t, err, "absent: ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = start(ctx, root, standInKind(t, "late", "honest"), setup{qubes: 1})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestMedian(t *testing.T) {
	assert.True(t, math.IsNaN(median(nil)))
	assert.Equal(t, 3.0, median([]float64{3}))
	assert.Equal(t, 2.5, median([]float64{4, 1}))
	xs := []float64{5, 1, 3}
	assert.Equal(t, 3.0, median(xs))
	assert.Equal(t, []float64{5, 1, 3}, xs, "its argument stays as it is")
	assert.Equal(t, 1.0, quantile(xs, 0))
	assert.Equal(t, 2.0, quantile(xs, 0.25))
	assert.Equal(t, 5.0, quantile(xs, 1))
}

// The median of the ratios is not the ratio of the medians: repetition 2 was slow for both.
func TestRatiosArePaired(t *testing.T) {
	got := ratios([]float64{80, 9, 75}, []float64{100, 10, 100})
	assert.InDelta(t, 0.8, got.Median, 1e-9)
	assert.InDelta(t, 0.775, got.Low, 1e-9)
	assert.InDelta(t, 0.85, got.High, 1e-9)
	assert.True(t, math.IsNaN(ratios(nil, []float64{1}).Median))
	assert.True(t, math.IsNaN(ratios([]float64{1}, []float64{0}).Median), "nothing to compare with")
	assert.Equal(t, 2.0, ratios([]float64{4, 9}, []float64{2}).Median, "only pairs count")
}

// What others do to memory in both runs is no cost of the silent subscribers, and neither is what they no longer hold.
func TestSilentSubscribersCostTheMost(t *testing.T) {
	of := func(p silentPoint) []float64 { return p.Go }
	b := &bench{silent: []silentPoint{
		{Server: "warn", Repetition: 1, Silent: 10, Go: []float64{500, 900, 700}},
		{Server: "warn", Repetition: 0, Go: []float64{10, 10, 10}},
		{Server: "warn", Repetition: 0, Silent: 10, Go: []float64{20, 30, 10}},
		{Server: "info", Repetition: 0, Silent: 10, Go: []float64{1e6}},
		{Server: "warn", Repetition: 1, Go: []float64{400, 500, 600}},
		{Server: "warn", Repetition: 2, Silent: 10, Go: []float64{1}},
	}}
	assert.Equal(t, []float64{2, 40}, b.silentSeries("warn", of))
	assert.Empty(t, b.silentSeries("plain", of))
}

func TestComparisons(t *testing.T) {
	b := &bench{plan: plan{Servers: builtin, BlockedStarts: 200}}
	for rep, slow := range []int64{1, 3} { // slows all of a repetition alike
		b.points = append(b.points,
			point{Part: "qvm-ls-100", Server: "warn", Repetition: rep, Load: terms.Load{P50: 10e6 * slow}},
			point{Part: "qvm-ls-400", Server: "warn", Repetition: rep, Load: terms.Load{P50: 48e6 * slow}},
			point{Part: "starts-none-64", Server: "warn", Repetition: rep, Load: terms.Load{P99: 200 * slow}},
			point{Part: "starts-blocked-64", Server: "warn", Repetition: rep, Load: terms.Load{P99: 220 * slow}})
	}
	var got []string
	for _, c := range b.comparisons() {
		got = append(got, c.String())
	}
	assert.Equal(t, []string{
		"A full qvm-ls per qube, at 400 qubes over at 100: 1.20 (1.20–1.20); goal: at most 1.15, **not met**.",
		"p99 of feature.Get beside 200 blocked starts over without, 64 workers: 1.10 (1.10–1.10); goal: at most 1.50, met.",
	}, got)
}

func TestRotate(t *testing.T) {
	assert.Equal(t, []int{1, 2, 3}, rotate([]int{1, 2, 3}, 0))
	assert.Equal(t, []int{3, 1, 2}, rotate([]int{1, 2, 3}, 5))
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		goal  goal
		value float64
		ratio float64
		met   bool
	}{
		{atLeast(0.75), 1, 0.75, true},
		{atLeast(0.75), 1, 0.74, false},
		{atMost(1.25), 9, 1.25, true},
		{atMost(1.25), 1, 1.26, false},
		{goal{Bound: 5000, OfValue: true}, 5000, 9, true},
		{goal{Bound: 5000, OfValue: true}, 5001, 0, false},
		{goal{AtLeast: true, Bound: 15000, OfValue: true}, 15001, math.NaN(), true},
		{atLeast(0.75), 1, math.NaN(), false},
	} {
		assert.Equal(t, c.met, c.goal.met(c.value, ratio{Median: c.ratio}), "%+v", c)
	}
}

func TestMarkdown(t *testing.T) {
	b := &bench{plan: plan{Servers: builtin}}
	for rep, plain := range []float64{100000, 50000, 80000} {
		for server, factor := range map[string]float64{"plain": 1, "warn": 0.8, "info": 0.66} {
			load := terms.Load{PerSecond: plain * factor, P99: int64(1500 / factor), CPU: 8000}
			b.points = append(b.points, point{Part: "get-64", Server: server, Repetition: rep, Load: load, CPU: 10000 / factor, Mallocs: 12})
		}
		b.points = append(b.points, point{Part: "set-10", Server: "warn", Repetition: rep, Load: terms.Load{PerSecond: 16000}})
	}
	b.idles = []idlePoint{{Server: "plain", RSS: 6000, Go: 5500}, {Server: "warn", RSS: 4960, Go: 4400}}
	want := `| measure | plain | warn | info | ratio to plain | middle half | goal | met |
|---|---:|---:|---:|---|---|---|---|
| throughput, 64 workers, calls/s | 80,000 | 64,000 | 52,800 | 0.80 / 0.66 | 0.80–0.80 / 0.66–0.66 | ≥ 0.75 / 0.68 | yes / **no** |
| p99, 64 workers, µs | 1.5 | 1.9 | 2.3 | 1.25 / 1.51 | 1.25–1.25 / 1.51–1.51 | – | – |
| server CPU per call, 64 workers, µs | 10.0 | 12.5 | 15.2 | 1.25 / 1.52 | 1.25–1.25 / 1.52–1.52 | ≤ 1.70 / 2.00 | yes / yes |
| load generator CPU per call, 64 workers, µs | 8.0 | 8.0 | 8.0 | 1.00 / 1.00 | 1.00–1.00 / 1.00–1.00 | – | – |
| allocations per call, 64 workers | 12.0 | 12.0 | 12.0 | 1.00 / 1.00 | 1.00–1.00 / 1.00–1.00 | – | – |
| idle memory per connection (resident), kB | 6.00 | 4.96 | – | 0.83 / – | 0.83–0.83 / – | ≤ 5.00 / 5.00 | yes / – |
| idle memory per connection (Go heap and stacks), kB | 5.50 | 4.40 | – | 0.80 / – | 0.80–0.80 / – | – | – |
| durable feature.Set, 64 workers, 10 qubes, calls/s | – | 16,000 | – | – | – | ≥ 15,000 / – | yes / – |

- a note
`
	assert.Equal(t, want, markdown(b.Servers, b.rows(), []string{"a note"}))
}

func TestNotes(t *testing.T) {
	b := &bench{plan: plan{Servers: builtin, Parts: parts, Starts: 5, Rounds: 1, Duration: time.Second, Qubes: 100}}
	for rep := range 3 {
		b.points = append(b.points,
			point{Part: "set-10", Server: "warn", Repetition: rep, Load: terms.Load{PerSecond: 20000}, Others: 0.02},
			point{Part: "set-10000", Server: "warn", Repetition: rep, Load: terms.Load{PerSecond: 15000 + 1000*float64(rep)}, Others: 0.5})
	}
	b.fsyncs = []float64{200_000, 210_000, 190_000}
	b.asked, b.logged = map[string]uint64{"plain": 2000, "warn": 2000, "info": 2000}, map[string]uint64{"warn": 1999, "info": 2000}
	notes := strings.Join(b.notes(machine{CPU: "Z80", Cores: 2, Kernel: "Linux 6", Go: "go1.26", Date: "2026-01-01", FsyncAt: "ext4"}), "\n")
	assert.Contains(t, notes, "Measured on Z80, 2 cores, Linux 6, go1.26, 2026-01-01.")
	assert.Contains(t, notes, "takes 0.20 ms here (ext4, median of 3)")
	assert.Contains(t, notes, "Writes at 10,000 qubes over writes at 10: 0.80 (0.78–0.82); goal: within 20 %, met.")
	assert.Contains(t, notes, "Log of warn: 1,999 lines of 2,000 calls, **calls without a line**.")
	assert.Contains(t, notes, "Log of info: 2,000 lines of 2,000 calls, every call has its line.")
	assert.NotContains(t, notes, "Log of plain")
	assert.Contains(t, notes, "used 26 % of the machine meanwhile (median; at most 50 %)")
}

func TestParse(t *testing.T) {
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, o.plan.Starts*o.plan.Rounds, 5)
	assert.Equal(t, parts, o.plan.Parts)
	assert.Equal(t, builtin, o.plan.Servers)

	o, err = parse([]string{"--quick", "--only", "get-64,idle", "--server", "old={bin}/plain --socket {dir}/qubesd.sock", "--servers", "plain,old"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, quick.Starts, o.plan.Starts)
	assert.Equal(t, []string{"get-64", "idle"}, o.plan.Parts)
	assert.Equal(t, []kind{builtin[0], {"old", "{bin}/plain --socket {dir}/qubesd.sock"}}, o.plan.Servers)

	o, err = parse([]string{"--server", "warn=x"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, "x", o.plan.Servers[1].Command)
	assert.NotEqual(t, "x", builtin[1].Command)

	for _, bad := range [][]string{
		{"--only", "get-65"}, {"--servers", "nobody"}, {"--server", "x"}, {"--server", "a/b=c"}, {"--server", "x= "}, {"--qubes", "0"}, {"more"},
	} {
		_, err := parse(bad, io.Discard)
		assert.Error(t, err, bad)
	}
}

func TestParseMetrics(t *testing.T) {
	m, err := parseMetrics(strings.NewReader("# HELP a b\n# TYPE a counter\ngo_memstats_mallocs_total 1.5e+06\nother{le=\"1\"} 3\n\n"))
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"go_memstats_mallocs_total": 1.5e6}, m)
	_, err = parseMetrics(strings.NewReader("a b\n"))
	assert.ErrorContains(t, err, "metric a")
}

func TestParseTicks(t *testing.T) {
	got, err := parseTicks("cpu  10 1 20 500 30 2 3 4 0 0\ncpu0 1\n")
	require.NoError(t, err)
	assert.Equal(t, ticks{busy: 40, all: 570}, got)
	for _, bad := range []string{"", "cpu 1 2", "cpu a 1 2 3 4 5 6 7"} {
		_, err := parseTicks(bad)
		assert.Error(t, err, bad)
	}
}

func TestInventory(t *testing.T) {
	root := t.TempDir()
	path, err := writeInventory(root, setup{qubes: 2})
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, `version: 1
qubes:
  - name: qube-00000
    class: StandaloneVM
    label: red
    features: {bench: "value-of-00000"}
  - name: qube-00001
    class: StandaloneVM
    label: red
    features: {bench: "value-of-00001"}
`, string(text))
	again, err := writeInventory(root, setup{qubes: 2})
	require.NoError(t, err)
	assert.Equal(t, path, again)

	path, err = writeInventory(root, setup{qubes: 1, hang: true})
	require.NoError(t, err)
	text, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, `version: 1
simulated: {start_delay: 1h, host_memory_mib: 16777216}
qubes:
  - name: qube-00000
    class: StandaloneVM
    label: red
    features: {bench: "value-of-00000"}
    properties: {qrexec_timeout: "7200"}
`, string(text))
}

func TestCountLines(t *testing.T) {
	assert.Equal(t, uint64(2), countLines(strings.NewReader("a request.done b\nother\nrequest.done request.done\n"), "request.done"))
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.6: "1,234,568"} {
		assert.Equal(t, want, thousands(v))
	}
}

// TestLoads: what the load tester found is compared with what is known.
func TestLoads(t *testing.T) {
	s := stall.Schedule{Every: 800 * time.Millisecond, For: 100 * time.Millisecond, Gap: stallGap}
	exact := measure.NewHistogram()
	const n = 100_000
	for i := range n {
		require.NoError(t, exact.RecordValue(int64(s.Quantile((float64(i)+0.5)/n, stallRate))))
	}
	var open, closed report.Document
	open.Overall.Count, open.Overall.Histogram = n, report.Histogram{Histogram: exact}
	p := found(s, open, closed)
	assert.Len(t, p.Percentiles, 7, "of p99.95 there are 50 beyond, of p99.99 10")
	for _, one := range p.Percentiles {
		assert.Less(t, one.off(), 0.2, "%v", one)
	}
	for _, c := range []struct{ known, found, off float64 }{
		{0, 100, 0.5}, {0, 400, 2}, {1000, 1200, 1}, {100_000, 99_000, 0.5}, {100_000, 104_000, 2},
	} {
		assert.InDelta(t, c.off, stallPercent{Known: c.known, Found: c.found}.off(), 1e-9, "%v", c)
	}
	b := &bench{plan: full}
	b.loads = loads{
		Stalls:  []stallPoint{{For: s.For, Calls: n, Percentiles: []stallPercent{{50, 0, 50}, {99, 92_000, 99_360}}}},
		Rates:   []ratePoint{{Rate: loadRate, Reached: loadRate, P999: 900}, {Rate: loadRate, Reached: loadRate, P999: 1100}, {Rate: loadRate, Reached: loadRate, P999: 300}},
		Lengths: []lengthPoint{{10, 20e6}, {80, 26e6}},
		Pairs:   []pairPoint{{false, 0, ""}, {true, exitMissed, ""}, {false, 0, ""}, {true, 0, ""}},
		Found:   []float64{4000, 4100, 4150},
	}
	notes := b.loadNotes()
	require.Len(t, notes, 6)
	assert.Contains(t, notes[0], "p99 99.4 (92.0); off by at most 4.00 of what is allowed, at p99; goal: 1, **not met**")
	assert.Contains(t, notes[1], "p99.9 900 µs (600–1000)")
	assert.Contains(t, notes[1], "below 1 ms, met")
	assert.Contains(t, notes[2], "**not met**")
	assert.Contains(t, notes[3], "the same server twice: called slower in 0 of 2 pairs; goal: none, met.")
	assert.Contains(t, notes[4], "slower by 5 %: called slower in 1 of 2 pairs; goal: all, **not met**.")
	assert.Contains(t, notes[5], "3 times: 4,000 to 4,150 calls/s, 3.7 % apart; goal: at most 5 %, met.")
}

// TestDecisions: what go test prints is read, and compared with what is wanted.
func TestDecisions(t *testing.T) {
	b := &bench{plan: plan{Servers: builtin}, decisions: parseBenchmarks(`goos: linux
BenchmarkDecide/realistic/100-2      	 100	 300 ns/op	 200.0 p50-ns	 600.0 p99-ns	 0 B/op	 0 allocs/op
BenchmarkDecide/realistic/10000-2    	 100	 300 ns/op	 240.0 p50-ns	 1200 p99-ns	 0 B/op	 0 allocs/op
BenchmarkCompile/realistic-2         	   6	  30000000 ns/op
BenchmarkParse-2                     	   6	  10000000 ns/op
PASS
`)}
	notes := strings.Join(b.notes(machine{}), "\n")
	assert.Contains(t, notes, "p50 240 ns, p99 1200 ns, 0 allocations; goal: at most 250 ns, 1,000 ns and none, **not met**.")
	assert.Contains(t, notes, "A decision by 10,000 rules over one by 100: 1.20; goal: at most 2, met.")
	assert.Contains(t, notes, "Reading and compiling 10,000 rules: 40 ms; goal: at most 50 ms, met.")
	b.decisions = nil
	assert.NotContains(t, strings.Join(b.notes(machine{}), "\n"), "decision")
}
