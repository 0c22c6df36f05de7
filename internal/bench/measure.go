package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/internal/bench/terms"
)

// The parts that --only chooses from, in the order they run.
var parts = []string{"get-1", "get-64", "get-1024", "idle", "set", "qvm-ls", "list-1000", "starts", "events", "policy", "decisions", stallsPart, ratePart, lengthPart, pairsPart, searchPart}

// plan is what to do, and for how long.
type plan struct {
	Starts           int             `json:"starts"` // how often the servers of the reads are started afresh
	Rounds           int             `json:"rounds"` // repetitions of the reads after each start
	IdleRepetitions  int             `json:"idle_repetitions"`
	SetRepetitions   int             `json:"set_repetitions"`
	EventRepetitions int             `json:"event_repetitions"`
	Warmup           time.Duration   `json:"warmup_ns"`
	Duration         time.Duration   `json:"duration_ns"`
	IdleConnections  int             `json:"idle_connections"`
	BlockedStarts    int             `json:"blocked_starts"`
	Subscribers      int             `json:"subscribers"`
	Changes          int             `json:"changes"` // that subscribers are told of, one after the other
	Fills            int             `json:"fills"`   // how often as many as fill a part of a backlog are made
	Qubes            int             `json:"qubes"`
	Threads          int             `json:"threads"` // of the load generator; 0: one for each core
	StallFors        []time.Duration `json:"stall_for_ns"`
	StallTime        time.Duration   `json:"stall_ns"` // how long each server that stalls is loaded, about
	RateTime         time.Duration   `json:"rate_ns"`
	RateRepetitions  int             `json:"rate_repetitions"`
	Pairs            int             `json:"pairs"`
	PairTime         time.Duration   `json:"pair_ns"` // of each of a pair's runs
	Searches         int             `json:"searches"`
	ProbeTime        time.Duration   `json:"probe_ns"`
	Parts            []string        `json:"parts"`
	Servers          []kind          `json:"servers"`
}

// Many short rounds rather than few long ones: what else the machine does then meets all servers alike.
var (
	full = plan{
		Starts: 7, Rounds: 3, IdleRepetitions: 3, SetRepetitions: 7, EventRepetitions: 3, Warmup: 150 * time.Millisecond, Duration: 700 * time.Millisecond,
		BlockedStarts: 200, Subscribers: 1000, Changes: 100, Fills: 12,
		StallFors: []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second}, StallTime: 100 * time.Second, RateTime: 10 * time.Second, RateRepetitions: 5,
		Pairs: 20, PairTime: time.Second, Searches: 5, ProbeTime: 2 * time.Second,
	}
	quick = plan{
		Starts: 2, Rounds: 2, IdleRepetitions: 1, SetRepetitions: 3, EventRepetitions: 1, Warmup: 150 * time.Millisecond, Duration: 500 * time.Millisecond,
		BlockedStarts: 200, Subscribers: 1000, Changes: 50, Fills: 12,
		StallFors: []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}, StallTime: 8 * time.Second, RateTime: 2 * time.Second, RateRepetitions: 3,
		Pairs: 1, PairTime: 500 * time.Millisecond, Searches: 1, ProbeTime: time.Second,
	}
)

// The two sizes at which durable writes are compared.
var setQubes = []int{10, 10000}

const setWorkers = 64

// point is one run of the load generator against one server.
type point struct {
	Part       string     `json:"part"`
	Server     string     `json:"server"`
	Repetition int        `json:"repetition"`
	Load       terms.Load `json:"load"`
	CPU        float64    `json:"cpu_ns"`  // of the server, per call
	Mallocs    float64    `json:"mallocs"` // per call
	Others     float64    `json:"others"`  // share of the machine that neither the server nor the load generator used
}

// idlePoint is what the connections of one idle run cost, in bytes for each.
type idlePoint struct {
	Server     string  `json:"server"`
	Repetition int     `json:"repetition"`
	RSS        float64 `json:"rss"`
	Go         float64 `json:"go"` // heap and stacks
}

// bench is a run under way, and what it found.
type bench struct {
	plan
	root  string // temporary folder: binaries, sockets, state
	pprof string // folder for profiles, or empty
	note  func(format string, args ...any)

	points    []point
	idles     []idlePoint
	silent    []silentPoint
	fsyncs    []float64
	decisions map[string]decision // by the name of the Go benchmark
	loads     loads
	realtime  bool              // what is started runs before all else
	asked     map[string]uint64 // of the reads, by server: calls made
	logged    map[string]uint64 // and lines in its log that say so
	wrong     []string          // one line for each run with wrong answers
}

func (b *bench) run(ctx context.Context) error {
	b.asked, b.logged = map[string]uint64{}, map[string]uint64{}
	if levels := b.levels(); len(levels) > 0 {
		for i := range b.Starts {
			b.note("get: repetitions %d to %d of %d", i*b.Rounds+1, (i+1)*b.Rounds, b.Starts*b.Rounds)
			if err := b.gets(ctx, i*b.Rounds, levels); err != nil {
				return err
			}
		}
	}
	if slices.Contains(b.Parts, "idle") {
		for rep := range b.IdleRepetitions {
			b.note("idle: repetition %d of %d", rep+1, b.IdleRepetitions)
			for _, k := range rotate(b.Servers, rep) {
				if err := b.idle(ctx, rep, k); err != nil {
					return err
				}
			}
		}
	}
	warn := slices.IndexFunc(b.Servers, func(k kind) bool { return k.Name == "warn" })
	if warn >= 0 && slices.Contains(b.Parts, "set") {
		if err := b.sets(ctx, b.Servers[warn]); err != nil {
			return err
		}
	}
	if slices.Contains(b.Parts, "qvm-ls") {
		if err := b.qvmLs(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(b.Parts, "list-1000") {
		if err := b.lists(ctx); err != nil {
			return err
		}
	}
	if warn >= 0 && slices.Contains(b.Parts, "starts") {
		if err := b.starts(ctx, b.Servers[warn]); err != nil {
			return err
		}
	}
	if warn >= 0 && slices.Contains(b.Parts, "events") {
		if err := b.events(ctx, b.Servers[warn]); err != nil {
			return err
		}
	}
	if warn >= 0 && slices.Contains(b.Parts, "policy") {
		if err := b.policies(ctx, b.Servers[warn]); err != nil {
			return err
		}
	}
	if slices.Contains(b.Parts, "decisions") {
		if err := b.decide(ctx); err != nil {
			return err
		}
	}
	if err := b.loadTool(ctx); err != nil {
		return err
	}
	if b.pprof != "" {
		return b.profile(ctx)
	}
	return nil
}

// levels are the numbers of workers to measure reads at.
func (b *bench) levels() []int {
	var levels []int
	for _, workers := range []int{1, 64, 1024} {
		if slices.Contains(b.Parts, getPart(workers)) {
			levels = append(levels, workers)
		}
	}
	return levels
}

func getPart(workers int) string { return "get-" + strconv.Itoa(workers) }

func setPart(qubes int) string { return "set-" + strconv.Itoa(qubes) }

// rotate begins a list elsewhere in each repetition, so that no server is always the one after another.
func rotate[T any](xs []T, by int) []T {
	by %= len(xs)
	return slices.Concat(xs[by:], xs[:by])
}

// gets starts every server and makes a start's repetitions, from rep on: in each, every server at every level, one
// directly after the other.
func (b *bench) gets(ctx context.Context, rep int, levels []int) error {
	servers, err := b.startAll(ctx, b.Qubes, nil)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range servers {
			s.stop()
			b.asked[s.kind.Name] += s.asked
			b.logged[s.kind.Name] += s.logged
		}
	}()
	for range b.Rounds {
		for i, workers := range levels {
			for _, k := range rotate(b.Servers, rep+i) {
				if err := b.load(ctx, rep, getPart(workers), servers[k.Name], "get", workers, b.Qubes); err != nil {
					return err
				}
			}
		}
		rep++
	}
	return nil
}

// startAll starts a server of every kind. Those whose command takes {replies} are started last, and are given what the
// first of the others answers to requests.
func (b *bench) startAll(ctx context.Context, qubes int, requests [][]byte) (servers map[string]*server, err error) {
	servers = map[string]*server{}
	defer func() {
		if err != nil {
			stopAll(servers)
		}
	}()
	with := setup{qubes: qubes}
	var parrots []kind
	for _, k := range b.Servers {
		if requests != nil && strings.Contains(k.Command, "{replies}") {
			parrots = append(parrots, k)
			continue
		}
		if servers[k.Name], err = start(ctx, b.root, k, with); err != nil {
			delete(servers, k.Name)
			return servers, err
		}
		if requests != nil && with.replies == "" {
			if with.replies, err = record(b.root, servers[k.Name], requests); err != nil {
				return servers, err
			}
		}
	}
	if len(parrots) > 0 && with.replies == "" {
		return servers, fmt.Errorf("%s can only repeat what another server answers, and there is none", parrots[0].Name)
	}
	for _, k := range parrots {
		if servers[k.Name], err = start(ctx, b.root, k, with); err != nil {
			delete(servers, k.Name)
			return servers, err
		}
	}
	return servers, nil
}

func stopAll(servers map[string]*server) {
	for _, s := range servers {
		s.stop()
	}
}

// record writes what a server answers to a file.
func record(root string, s *server, requests [][]byte) (file string, err error) {
	replies := terms.Replies{}
	for _, request := range requests {
		answer, err := ask(s.socket, request)
		if err != nil {
			return "", fmt.Errorf("%s: %q: %w", s.kind.Name, request, err)
		}
		replies[string(request)] = []byte(answer)
	}
	out, err := json.Marshal(replies)
	if err != nil {
		return "", err
	}
	file = filepath.Join(root, fmt.Sprintf("replies-%d.json", len(requests)))
	return file, os.WriteFile(file, out, 0o600)
}

// sets measures durable writes at both sizes, alternating, with the time of an fsync beside each.
func (b *bench) sets(ctx context.Context, k kind) error {
	servers := map[int]*server{}
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, qubes := range setQubes {
		s, err := start(ctx, b.root, k, setup{qubes: qubes})
		if err != nil {
			return err
		}
		servers[qubes] = s
	}
	for rep := range b.SetRepetitions {
		b.note("set: repetition %d of %d", rep+1, b.SetRepetitions)
		times, err := fsyncTimes(b.root, 200)
		if err != nil {
			return err
		}
		b.fsyncs = append(b.fsyncs, times...)
		for _, qubes := range rotate(setQubes, rep) {
			if err := b.load(ctx, rep, setPart(qubes), servers[qubes], "set", setWorkers, qubes); err != nil {
				return err
			}
		}
	}
	return nil
}

// load runs the load generator once and keeps the point. more are flags of its own.
func (b *bench) load(ctx context.Context, rep int, part string, s *server, mode string, workers, qubes int, more ...string) error {
	before, err := b.account(ctx, s)
	if err != nil {
		return err
	}
	cmd := b.loadgen(ctx, s, mode, workers, qubes)
	cmd.Args = append(cmd.Args, more...)
	out, err := cmd.Output()
	var load terms.Load
	if json.Unmarshal(out, &load) != nil {
		return fmt.Errorf("load generator against %s: %w: %s", s.kind.Name, err, stderrOf(err))
	}
	after, err := b.account(ctx, s)
	if err != nil {
		return err
	}
	b.judge(part, s, load)
	s.asked += load.Total
	total := float64(max(load.Total, 1))
	asking := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	all := (after.ticks.all - before.ticks.all) / ticksPerSecond
	others := (after.ticks.busy-before.ticks.busy)/ticksPerSecond - asking - (after.cpu - before.cpu).Seconds()
	b.points = append(b.points, point{
		Part: part, Server: s.kind.Name, Repetition: rep, Load: load,
		CPU:     float64(after.cpu-before.cpu) / total,
		Mallocs: (after.mallocs - before.mallocs) / total,
		Others:  max(others/all, 0),
	})
	return nil
}

const ticksPerSecond = 100 // USER_HZ, on every Linux

// account is what a server has used, and the machine.
type account struct {
	cpu     time.Duration
	mallocs float64
	ticks   ticks
}

func (b *bench) account(ctx context.Context, s *server) (a account, err error) {
	m, err := s.metrics(ctx)
	if err != nil {
		return a, err
	}
	mallocs, ok := m["go_memstats_mallocs_total"]
	if !ok {
		return a, fmt.Errorf("%s: no go_memstats_mallocs_total in its metrics", s.kind.Name)
	}
	a.mallocs = mallocs
	if a.cpu, err = s.cpu(); err != nil {
		return a, err
	}
	a.ticks, err = readTicks()
	return a, err
}

// loadgen is the command of the load generator; it is killed if it takes much longer than it should.
func (b *bench) loadgen(ctx context.Context, s *server, mode string, workers, qubes int) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(b.root, "bin", "loadgen"), "--mode", mode, "--socket", s.socket,
		"--workers", strconv.Itoa(workers), "--qubes", strconv.Itoa(qubes),
		"--warmup", b.Warmup.String(), "--duration", b.Duration.String(),
		"--threads", strconv.Itoa(min(b.Threads, workers)))
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}

// judge remembers wrong answers; they fail the benchmark at its end.
func (b *bench) judge(part string, s *server, load terms.Load) {
	if load.Wrong > 0 {
		b.wrong = append(b.wrong, fmt.Sprintf("%s, %s: %d of %d answers wrong or missing; the first: %s",
			part, s.kind.Name, load.Wrong, load.Total, load.FirstWrong))
	}
}

// transient is how many descriptors may have been open only for a moment when they were counted.
const transient = 8

// idle measures what connections cost that send nothing: the difference in the server's steady memory, garbage
// collected, before they open and while they are held.
func (b *bench) idle(ctx context.Context, rep int, k kind) (err error) {
	s, err := start(ctx, b.root, k, setup{qubes: b.Qubes})
	if err != nil {
		return err
	}
	defer s.stop()
	for i := range 100 { // what only the first calls cost is not the connections'
		if _, err := get(s.socket, i%b.Qubes); err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
	}
	before, err := s.memory(ctx)
	if err != nil {
		return err
	}
	descriptors, err := s.descriptors()
	if err != nil {
		return err
	}

	gen, opened, err := converse(b.loadgen(ctx, s, "idle", b.IdleConnections, b.Qubes))
	if err != nil {
		return fmt.Errorf("idle, %s: %w", k.Name, err)
	}
	defer gen.kill()
	accepted := func() (bool, error) {
		n, err := s.descriptors()
		return n >= descriptors+opened.Open-transient, err
	}
	if err := within(ctx, 10*time.Second, accepted); err != nil {
		return fmt.Errorf("idle, %s: accepting %d connections: %w", k.Name, opened.Open, err)
	}
	after, err := s.memory(ctx)
	if err != nil {
		return err
	}
	checked, err := gen.end()
	if err != nil {
		return fmt.Errorf("idle, %s: %w", k.Name, err)
	}
	b.judge("idle", s, checked)
	n := float64(opened.Open)
	b.idles = append(b.idles, idlePoint{Server: k.Name, Repetition: rep, RSS: (after.rss - before.rss) / n, Go: (after.inGo - before.inGo) / n})
	return nil
}

// conversation is a load generator that is told what to do line by line, and holds its connections meanwhile.
type conversation struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     io.Reader
	reports *json.Decoder
	ended   bool
}

// converse starts a load generator, and gives its first report, which it makes when its connections are open.
func converse(cmd *exec.Cmd) (c *conversation, opened terms.Load, err error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, opened, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, opened, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, opened, err
	}
	c = &conversation{cmd: cmd, in: in, out: out, reports: json.NewDecoder(out)}
	if err := c.reports.Decode(&opened); err != nil {
		c.kill()
		return nil, opened, fmt.Errorf("the load generator could not open its connections: %w", err)
	}
	return c, opened, nil
}

// changes has it make some, and gives its report of them.
func (c *conversation) changes(ask terms.Changes) (r terms.Load, err error) {
	if err = json.NewEncoder(c.in).Encode(ask); err == nil {
		err = c.reports.Decode(&r)
	}
	if err != nil {
		return r, fmt.Errorf("the load generator's report of changes: %w", err)
	}
	return r, nil
}

// end lets it finish, and gives its last report.
func (c *conversation) end() (r terms.Load, err error) {
	if err = c.in.Close(); err == nil {
		err = c.reports.Decode(&r)
	}
	if err != nil {
		return r, fmt.Errorf("the load generator's last report: %w", err)
	}
	_, _ = io.Copy(io.Discard, c.out)
	c.ended = true
	_ = c.cmd.Wait() // wrong answers are in the report
	return r, nil
}

// kill ends it, if it has not ended.
func (c *conversation) kill() {
	if !c.ended {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// within polls until done, an error or the end of the time.
func within(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		switch {
		case err != nil || ok:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("not within %v", limit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type memory struct{ rss, inGo float64 }

// memory collects garbage and waits until the resident size stands still.
func (s *server) memory(ctx context.Context) (m memory, err error) {
	if err := s.collect(ctx); err != nil {
		return m, err
	}
	last, still := 0.0, 0
	steady := func() (bool, error) {
		rss, err := s.rss()
		if change := rss - last; change > -0.005*rss && change < 0.005*rss {
			still++
		} else {
			still = 0
		}
		last = rss
		return still >= 10, err
	}
	if err := within(ctx, 5*time.Second, steady); err != nil {
		return m, fmt.Errorf("%s: steady memory: %w", s.kind.Name, err)
	}
	counts, err := s.metrics(ctx)
	if err != nil {
		return m, err
	}
	return memory{rss: last, inGo: counts["go_memstats_heap_inuse_bytes"] + counts["go_memstats_stack_inuse_bytes"]}, nil
}

// profile runs each server once more at 64 workers, and keeps its profiles. Being profiled costs time, so the points of
// these runs are dropped.
func (b *bench) profile(ctx context.Context) error {
	points := b.points
	defer func() { b.points = points }()
	for _, k := range b.Servers {
		b.note("profile: %s", k.Name)
		if err := b.profileOne(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) profileOne(ctx context.Context, k kind) error {
	s, err := start(ctx, b.root, k, setup{qubes: b.Qubes})
	if err != nil {
		return err
	}
	defer s.stop()
	long := *b
	long.Duration = 4 * time.Second
	profiled := make(chan error, 1)
	go func() {
		profiled <- s.save(ctx, "/debug/pprof/profile?seconds=3", filepath.Join(b.pprof, k.Name+"-cpu.pprof"))
	}()
	err = long.load(ctx, 0, "profile", s, "get", 64, b.Qubes)
	if err := errors.Join(err, <-profiled); err != nil {
		return err
	}
	b.wrong = long.wrong
	return s.save(ctx, "/debug/pprof/allocs", filepath.Join(b.pprof, k.Name+"-allocs.pprof"))
}

// series is a number of each point of one part and server, in the order of the repetitions.
func (b *bench) series(part, server string, of func(point) float64) []float64 {
	byRep := map[int]float64{}
	for _, p := range b.points {
		if p.Part == part && p.Server == server {
			byRep[p.Repetition] = of(p)
		}
	}
	return inOrder(byRep)
}

func (b *bench) idleSeries(server string, of func(idlePoint) float64) []float64 {
	byRep := map[int]float64{}
	for _, p := range b.idles {
		if p.Server == server {
			byRep[p.Repetition] = of(p)
		}
	}
	return inOrder(byRep)
}

func inOrder(byRep map[int]float64) []float64 {
	var xs []float64
	for _, rep := range slices.Sorted(maps.Keys(byRep)) {
		xs = append(xs, byRep[rep])
	}
	return xs
}
