package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/internal/bench/terms"
)

// The measures of the issue "The core Admin API, complete", section "Numbers".

// The sizes at which a full qvm-ls is measured; for one there is a goal.
var lsQubes = []int{100, lsGoalQubes, 400}

const lsGoalQubes = 200

func lsPart(qubes int) string { return "qvm-ls-" + strconv.Itoa(qubes) }

// qvmLs measures the calls of a full qvm-ls at every size and of every server, one directly after the other.
func (b *bench) qvmLs(ctx context.Context) error {
	servers := map[int]map[string]*server{}
	defer func() {
		for _, ss := range servers {
			stopAll(ss)
		}
	}()
	for _, qubes := range lsQubes {
		requests := [][]byte{terms.List}
		for i := range qubes {
			requests = append(requests, terms.GetAll(i))
		}
		ss, err := b.startAll(ctx, qubes, requests)
		if err != nil {
			return fmt.Errorf("qvm-ls: %w", err)
		}
		servers[qubes] = ss
	}
	for rep := range b.Starts * b.Rounds {
		b.note("qvm-ls: repetition %d of %d", rep+1, b.Starts*b.Rounds)
		for i, qubes := range rotate(lsQubes, rep) {
			for _, k := range rotate(b.Servers, rep+i) {
				if err := b.load(ctx, rep, lsPart(qubes), servers[qubes][k.Name], "ls", 1, qubes); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

const (
	listQubes   = 1000
	listWorkers = 64
	listPart    = "list-1000"
)

// lists measures how fast servers list many qubes.
func (b *bench) lists(ctx context.Context) error {
	servers, err := b.startAll(ctx, listQubes, [][]byte{terms.List})
	if err != nil {
		return fmt.Errorf("%s: %w", listPart, err)
	}
	defer stopAll(servers)
	for rep := range b.Starts * b.Rounds {
		b.note("list: repetition %d of %d", rep+1, b.Starts*b.Rounds)
		for _, k := range rotate(b.Servers, rep) {
			if err := b.load(ctx, rep, listPart, servers[k.Name], "list", listWorkers, listQubes); err != nil {
				return err
			}
		}
	}
	return nil
}

// The numbers of workers that read beside blocked starts.
var startWorkers = []int{1, 64}

func startsPart(blocked bool, workers int) string {
	return map[bool]string{true: "starts-blocked-", false: "starts-none-"}[blocked] + strconv.Itoa(workers)
}

// starts measures reads of qubes of which every one is being started, and hangs, and of as many that are not, alternating.
func (b *bench) starts(ctx context.Context, k kind) error {
	for i := range b.Starts {
		b.note("starts: repetitions %d to %d of %d", i*b.Rounds+1, (i+1)*b.Rounds, b.Starts*b.Rounds)
		if err := b.startsOnce(ctx, i*b.Rounds, k); err != nil {
			return fmt.Errorf("starts: %w", err)
		}
	}
	return nil
}

func (b *bench) startsOnce(ctx context.Context, rep int, k kind) error {
	with := setup{qubes: b.BlockedStarts, hang: true}
	calm, err := start(ctx, b.root, k, with)
	if err != nil {
		return err
	}
	defer calm.stop()
	busy, err := start(ctx, b.root, k, with)
	if err != nil {
		return err
	}
	defer busy.stop()
	defer busy.cmd.Process.Kill() // it would wait for the starts
	calls, err := blockStarts(ctx, busy, b.BlockedStarts)
	defer calls.close()
	if err != nil {
		return err
	}
	for range b.Rounds {
		for i, workers := range startWorkers {
			for _, s := range rotate([]*server{calm, busy}, rep+i) {
				if err := b.load(ctx, rep, startsPart(s == busy, workers), s, "get", workers, b.BlockedStarts); err != nil {
					return err
				}
			}
		}
		rep++
	}
	if n, first := calls.answered(); n > 0 {
		b.wrong = append(b.wrong, fmt.Sprintf("starts, %s: %d of %d starts did not hang; the first: %s", k.Name, n, len(calls), first))
	}
	return nil
}

// waiting are calls whose answers do not come.
type waiting []net.Conn

// blockStarts starts n qubes, and returns when the server says of all that they are being started.
func blockStarts(ctx context.Context, s *server, n int) (calls waiting, err error) {
	for i := range n {
		conn, err := send(s.socket, terms.Start(i))
		if err != nil {
			return calls, err
		}
		calls = append(calls, conn)
	}
	begun := func() (bool, error) {
		list, err := ask(s.socket, terms.List)
		return strings.Count(list, " state=Transient ") == n, err
	}
	if err := within(ctx, 30*time.Second, begun); err != nil {
		answered, first := calls.answered()
		return calls, fmt.Errorf("%s: %d qubes being started: %w; %d calls were answered; the first: %s", s.kind.Name, n, err, answered, first)
	}
	return calls, nil
}

// answered is how many have ended all the same, and what the first was answered.
func (w waiting) answered() (n int, first string) {
	buf := make([]byte, 300)
	for _, conn := range w {
		_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		got, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if n++; n == 1 {
			first = fmt.Sprintf("%q, %v", buf[:got], err)
		}
	}
	return n, first
}

func (w waiting) close() {
	for _, conn := range w {
		conn.Close()
	}
}

// What happens beside subscribers that do not read: as many changes as fill a backlog, a part of them at a time, so that
// memory is seen when it is fullest. Each change is told of in two events with its value and the one before.
const (
	silentSubscribers = 10
	fillChanges       = 32
	fillSize          = 1024
)

// The events parts: a small change, one that fills backlogs, and one that fills those of subscribers that do not read.
const (
	eventsPart = "events"
	fillPart   = "events-fill"
	silentPart = "events-fill-silent"
)

// silentPoint is what a server's memory was in one run of changes, in bytes above what it was when all were subscribed,
// each time that a part of the changes had been made.
type silentPoint struct {
	Server     string    `json:"server"`
	Repetition int       `json:"repetition"`
	Silent     int       `json:"silent"` // subscribers that do not read
	RSS        []float64 `json:"rss"`
	Go         []float64 `json:"go"` // heap and stacks
}

// events measures how long a change takes to reach everybody, without and with others that do not read, alternating.
func (b *bench) events(ctx context.Context, k kind) error {
	for rep := range b.EventRepetitions {
		b.note("events: repetition %d of %d", rep+1, b.EventRepetitions)
		for _, silent := range rotate([]int{0, silentSubscribers}, rep) {
			if err := b.eventsOnce(ctx, rep, k, silent); err != nil {
				return fmt.Errorf("events, %s: %w", k.Name, err)
			}
		}
	}
	return nil
}

func (b *bench) eventsOnce(ctx context.Context, rep int, k kind, silent int) error {
	s, err := start(ctx, b.root, k, setup{qubes: b.Qubes})
	if err != nil {
		return err
	}
	defer s.stop()
	cmd := b.loadgen(ctx, s, "events", b.Subscribers, b.Qubes)
	cmd.Args = append(cmd.Args, "--silent", strconv.Itoa(silent))
	gen, _, err := converse(cmd)
	if err != nil {
		return err
	}
	defer gen.kill()
	one, err := gen.changes(terms.Changes{Count: b.Changes})
	if err != nil {
		return err
	}
	b.judge(eventsPart, s, one)
	part := silentPart
	if silent == 0 {
		part = fillPart
		b.points = append(b.points, point{Part: eventsPart, Server: k.Name, Repetition: rep, Load: one})
	}

	before, err := s.memory(ctx)
	if err != nil {
		return err
	}
	memory := silentPoint{Server: k.Name, Repetition: rep, Silent: silent}
	var p50s []float64
	var all terms.Load
	for range b.Fills {
		fill, err := gen.changes(terms.Changes{Count: fillChanges, Size: fillSize})
		if err != nil {
			return err
		}
		b.judge(part, s, fill)
		p50s = append(p50s, float64(fill.P50))
		all.Calls, all.Total, all.Max = all.Calls+fill.Calls, all.Total+fill.Total, max(all.Max, fill.Max)
		now, err := s.memory(ctx)
		if err != nil {
			return err
		}
		memory.RSS, memory.Go = append(memory.RSS, now.rss-before.rss), append(memory.Go, now.inGo-before.inGo)
	}
	all.P50 = int64(median(p50s))
	b.points = append(b.points, point{Part: part, Server: k.Name, Repetition: rep, Load: all})
	b.silent = append(b.silent, memory)
	last, err := gen.end()
	if err != nil {
		return err
	}
	b.judge(part, s, last)
	if last.Cut != silent {
		b.wrong = append(b.wrong, fmt.Sprintf("%s, %s: %d of %d subscribers that did not read were cut off", part, k.Name, last.Cut, silent))
	}
	return nil
}

// silentSeries is what a subscriber that does not read costs at most, in each repetition: how much more memory there is
// with them than without, after the same changes.
func (b *bench) silentSeries(server string, of func(silentPoint) []float64) []float64 {
	with, without := map[int][]float64{}, map[int][]float64{}
	for _, p := range b.silent {
		switch {
		case p.Server != server:
		case p.Silent > 0:
			with[p.Repetition] = of(p)
		default:
			without[p.Repetition] = of(p)
		}
	}
	most := map[int]float64{}
	for rep := range maps.Keys(with) {
		var each []float64
		for i := range min(len(with[rep]), len(without[rep])) {
			each = append(each, (with[rep][i]-without[rep][i])/silentSubscribers)
		}
		if len(each) > 0 {
			most[rep] = slices.Max(each)
		}
	}
	return inOrder(most)
}

// comparison is a measure over another of the same server, which the table has no room for.
type comparison struct {
	what  string
	ratio ratio
	goal  goal
}

func (c comparison) String() string {
	met := metText(c.goal.met(0, c.ratio))
	bound := map[bool]string{true: "least", false: "most"}[c.goal.AtLeast]
	return fmt.Sprintf("%s: %.2f (%.2f–%.2f); goal: at %s %.2f, %s.", c.what, c.ratio.Median, c.ratio.Low, c.ratio.High, bound, c.goal.Bound, met)
}

// comparisons are those that something was measured for.
func (b *bench) comparisons() []comparison {
	p50 := func(p point) float64 { return float64(p.Load.P50) }
	p99 := func(p point) float64 { return float64(p.Load.P99) }
	least, most := lsQubes[0], lsQubes[len(lsQubes)-1]
	perQube := ratios(b.series(lsPart(most), "warn", p50), b.series(lsPart(least), "warn", p50))
	for _, r := range []*float64{&perQube.Median, &perQube.Low, &perQube.High} {
		*r *= float64(least) / float64(most)
	}
	cs := []comparison{{fmt.Sprintf("A full qvm-ls per qube, at %d qubes over at %d", most, least), perQube, atMost(1.15)}}
	for _, workers := range startWorkers {
		cs = append(cs, comparison{
			fmt.Sprintf("p99 of feature.Get beside %d blocked starts over without, %s", b.BlockedStarts, workersText(workers)),
			ratios(b.series(startsPart(true, workers), "warn", p99), b.series(startsPart(false, workers), "warn", p99)), atMost(1.5),
		})
	}
	cs = append(cs, b.policyComparison())
	return slices.DeleteFunc(cs, func(c comparison) bool { return math.IsNaN(c.ratio.Median) })
}
