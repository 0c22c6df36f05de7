package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/stall"
)

// The measures of the issue "The load tester", section "Numbers": whether sallyport load finds what is known of a server,
// and how late it is itself.

// The parts of the load tester.
const (
	stallsPart = "load-stalls"
	ratePart   = "load-rate"
	lengthPart = "load-length"
	pairsPart  = "load-pairs"
	searchPart = "load-search"
)

// call is what all of them ask for.
const call = "admin.vm.feature.Get+service.cups"

// stalling starts a server that stalls, or needs some time for each request, and gives its socket.
func (b *bench) stalling(ctx context.Context, s stall.Schedule, takes time.Duration) (socket string, stop func(), err error) {
	dir, err := os.MkdirTemp(b.root, "stalling-")
	if err != nil {
		return "", nil, err
	}
	socket = filepath.Join(dir, "s")
	cmd := b.command(ctx, "stalling", "--socket", socket, "--every", s.Every.String(), "--for", s.For.String(), "--gap", s.Gap.String(), "--takes", takes.String())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	ready := func() (bool, error) {
		conn, err := send(socket, nil)
		if err == nil {
			conn.Close()
		}
		return err == nil, nil
	}
	if err := within(ctx, 10*time.Second, ready); err != nil {
		stop()
		return "", nil, fmt.Errorf("stalling: %w", err)
	}
	return socket, stop, nil
}

// command is one of our programs; with real-time priority, if that is asked for.
func (b *bench) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	args = append([]string{filepath.Join(b.root, "bin", program)}, args...)
	if b.realtime {
		args = append(chrt, args...)
	}
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

var chrt = []string{"chrt", "-f", "1"}

// loaded runs sallyport load, which writes what it found to a file, and gives that, and its largest resident size in bytes. Calls that did not end as
// expected are wrong answers.
func (b *bench) loaded(ctx context.Context, part, socket, file string, args ...string) (d report.Document, rss float64, err error) {
	args = append([]string{"load", "run", "--socket", socket, "--json", file, "--max-lag", "1m", "--max-in-flight", "16384", call, "work"}, args...)
	text, told, rss, err := b.tool(ctx, args...)
	if err != nil || told != 0 && told != exitInvalid {
		return d, 0, errors.Join(err, fmt.Errorf("exit code %d: %s", told, text))
	}
	f, err := os.Open(file)
	if err != nil {
		return d, 0, err
	}
	defer f.Close()
	if d, err = report.ReadJSON(f); err != nil {
		return d, 0, err
	}
	if d.Overall.Errors > 0 {
		b.wrong = append(b.wrong, fmt.Sprintf("%s: %d of %d calls did not end as expected", part, d.Overall.Errors, d.Overall.Count))
	}
	return d, rss, nil
}

func (b *bench) loadFile() string { return filepath.Join(b.root, "load.json") }

// stallEvery is how much longer than a stall it is from one to the next.
const stallEvery = 8

// stallPoint is what was found of a server that stalls. Times are in microseconds.
type stallPoint struct {
	For         time.Duration  `json:"for_ns"`
	Realtime    bool           `json:"realtime"`
	Calls       uint64         `json:"calls"`
	Percentiles []stallPercent `json:"percentiles"`
	Lag         float64        `json:"lag_p999_us"`
	Waiting     float64        `json:"waiting_p99_us"` // what is found by a tool that makes a call when the one before is done
}

// stallPercent is one percentile: what has to be found, and what was.
type stallPercent struct {
	Percentile float64 `json:"percentile"`
	Known      float64 `json:"known_us"`
	Found      float64 `json:"found_us"`
}

// off is how far it is off, over how far it may be: 2 %, or 200 µs if that is more.
func (p stallPercent) off() float64 {
	return math.Abs(p.Found-p.Known) / max(0.02*p.Known, 200)
}

// What servers that stall are asked, and how fast they answer those that a stall has kept. Their distribution is that of
// calls that come evenly over whole periods; so the rate is no multiple of theirs, that calls come at all moments of them.
const (
	stallRate = 2003
	stallGap  = 25 * time.Microsecond
)

// stalls measures servers that stall: with real-time priority, where that is allowed, since a percentile that is to be exact
// to 0.2 ms leaves no room for how long programs wait for a processor.
func (b *bench) stalls(ctx context.Context) error {
	b.realtime = exec.CommandContext(ctx, chrt[0], append(chrt[1:], "true")...).Run() == nil
	defer func() { b.realtime = false }()
	for _, d := range b.StallFors {
		s := stall.Schedule{Every: stallEvery * d, For: d, Gap: stallGap}
		b.note("%s: %v of each %v", stallsPart, s.For, s.Every)
		socket, stop, err := b.stalling(ctx, s, 0)
		if err != nil {
			return err
		}
		duration := max(b.StallTime, s.Every).Truncate(s.Every)
		open, _, err := b.loaded(ctx, stallsPart, socket, b.loadFile(), "--rate", strconv.Itoa(stallRate), "--duration", duration.String())
		if err == nil {
			var closed report.Document
			if closed, _, err = b.loaded(ctx, stallsPart, socket, b.loadFile(), "--workers", "1", "--duration", max(duration/8, s.Every).String()); err == nil {
				p := found(s, open, closed)
				p.Realtime = b.realtime
				b.loads.Stalls = append(b.loads.Stalls, p)
			}
		}
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// enoughBeyond is how many calls have to be beyond a percentile that is judged.
const enoughBeyond = 100

func found(s stall.Schedule, open, closed report.Document) stallPoint {
	p := stallPoint{For: s.For, Calls: open.Overall.Count, Lag: open.Lag.P999, Waiting: closed.Overall.P99}
	for _, percentile := range []float64{50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99} {
		if float64(p.Calls)*(1-percentile/100) >= enoughBeyond-0.5 {
			p.Percentiles = append(p.Percentiles, stallPercent{
				percentile, float64(s.Quantile(percentile/100, stallRate)) / 1000, float64(open.Overall.Histogram.ValueAtPercentile(percentile)) / 1000,
			})
		}
	}
	return p
}

// The rate that is offered to a server that does next to nothing.
const loadRate = 40_000

// ratePoint is how late the tool was, in microseconds.
type ratePoint struct {
	Rate    float64 `json:"offered_per_second"`
	Reached float64 `json:"reached_per_second"`
	P50     float64 `json:"lag_p50_us"`
	P999    float64 `json:"lag_p999_us"`
	Max     float64 `json:"lag_max_us"`
}

func (b *bench) rates(ctx context.Context) error {
	socket, stop, err := b.stalling(ctx, stall.Schedule{}, 0)
	if err != nil {
		return err
	}
	defer stop()
	for rep := range b.RateRepetitions {
		for _, rate := range rotate([]int{loadRate / 20, loadRate}, rep) {
			b.note("%s: repetition %d of %d, %d calls/s", ratePart, rep+1, b.RateRepetitions, rate)
			d, _, err := b.loaded(ctx, ratePart, socket, b.loadFile(), "--rate", strconv.Itoa(rate), "--duration", b.RateTime.String())
			if err != nil {
				return err
			}
			b.loads.Rates = append(b.loads.Rates, ratePoint{float64(rate), d.Reached, d.Lag.P50, d.Lag.P999, d.Lag.Max})
		}
	}
	return nil
}

// lengthPoint is what memory the tool needed for a run of some length.
type lengthPoint struct {
	Seconds float64 `json:"seconds"`
	RSS     float64 `json:"rss"`
}

// lengths measures a run, and one eight times as long.
func (b *bench) lengths(ctx context.Context) error {
	socket, stop, err := b.stalling(ctx, stall.Schedule{}, 0)
	if err != nil {
		return err
	}
	defer stop()
	for _, d := range []time.Duration{b.StallTime / 10, b.StallTime * 8 / 10} {
		b.note("%s: %v", lengthPart, d)
		_, rss, err := b.loaded(ctx, lengthPart, socket, b.loadFile(), "--rate", "5000", "--duration", d.String())
		if err != nil {
			return err
		}
		b.loads.Lengths = append(b.loads.Lengths, lengthPoint{d.Seconds(), rss})
	}
	return nil
}

// The pairs: a server, and the same again, or one for which a call takes longer by a share. Each side is loaded in turns.
const (
	pairRuns   = 10
	pairEffect = 0.05
	pairTakes  = time.Millisecond
	pairRest   = 100 * time.Microsecond // of a call, about, which is not the server's time for it
	pairRate   = "500"
)

// pairPoint is a comparison.
type pairPoint struct {
	Slower bool   `json:"slower"`
	Told   int    `json:"exit_code"`
	Text   string `json:"text"`
}

// What sallyport load says with its exit code.
const (
	exitInvalid = 98 // that a run says nothing about the server
	exitMissed  = 99 // that a side is slower
)

func (b *bench) pairs(ctx context.Context) error {
	for pair := range b.Pairs {
		for _, slower := range []bool{false, true} {
			b.note("%s: %d of %d, slower: %v", pairsPart, pair+1, b.Pairs, slower)
			p, err := b.pair(ctx, slower)
			if err != nil {
				return err
			}
			b.loads.Pairs = append(b.loads.Pairs, p)
		}
	}
	return nil
}

func (b *bench) pair(ctx context.Context, slower bool) (p pairPoint, err error) {
	root, err := os.MkdirTemp(b.root, "pair-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(root)
	takes, sockets := pairTakes, map[string]string{}
	for _, side := range []string{"a", "b"} {
		if slower && side == "b" {
			takes += time.Duration(pairEffect * float64(pairTakes+pairRest))
		}
		socket, stop, err := b.stalling(ctx, stall.Schedule{}, takes)
		if err != nil {
			return p, err
		}
		defer stop()
		sockets[side] = socket
		if err := os.Mkdir(filepath.Join(root, side), 0o755); err != nil {
			return p, err
		}
	}
	for run := range pairRuns {
		for _, side := range rotate([]string{"a", "b"}, run) {
			file := filepath.Join(root, side, strconv.Itoa(run)+".json")
			if _, _, err := b.loaded(ctx, pairsPart, sockets[side], file, "--rate", pairRate, "--duration", b.PairTime.String()); err != nil {
				return p, err
			}
		}
	}
	text, told, _, err := b.tool(ctx, "load", "compare", "--min-effect", "2%", filepath.Join(root, "a"), filepath.Join(root, "b"))
	return pairPoint{slower, told, text}, err
}

// searchGap is between two replies of a server whose capacity is searched, which so is 5,000 calls/s.
const searchGap = 200 * time.Microsecond

// searches search the capacity of a server that is known.
func (b *bench) searches(ctx context.Context) error {
	socket, stop, err := b.stalling(ctx, stall.Schedule{Gap: searchGap}, 0)
	if err != nil {
		return err
	}
	defer stop()
	for rep := range b.Searches {
		b.note("%s: %d of %d", searchPart, rep+1, b.Searches)
		file := filepath.Join(b.root, "capacity.json")
		text, told, _, err := b.tool(ctx, "load", "find-capacity", "--socket", socket, "--json", file, "--from", "1000", "--duration", b.ProbeTime.String(),
			"--threshold", "p99 < 20ms", "--max-lag", "1m", "--max-in-flight", "16384", call, "work")
		if err != nil {
			return err
		}
		var found struct {
			Rate float64 `json:"rate_per_second"`
		}
		written, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(written, &found)
		}
		if err != nil || told != 0 {
			return errors.Join(err, fmt.Errorf("exit code %d: %s", told, text))
		}
		b.loads.Found = append(b.loads.Found, found.Rate)
	}
	return nil
}

// tool runs sallyport, and gives what it said, its exit code, and its largest resident size in bytes.
func (b *bench) tool(ctx context.Context, args ...string) (text string, told int, rss float64, err error) {
	cmd := b.command(ctx, "sallyport", args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	if err != nil {
		return string(out), 0, 0, err
	}
	return string(out), cmd.ProcessState.ExitCode(), float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) * 1024, nil
}

// loads are what the parts of the load tester found.
type loads struct {
	Stalls  []stallPoint  `json:"stalls,omitempty"`
	Rates   []ratePoint   `json:"rates,omitempty"`
	Lengths []lengthPoint `json:"lengths,omitempty"`
	Pairs   []pairPoint   `json:"pairs,omitempty"`
	Found   []float64     `json:"capacities_per_second,omitempty"`
}

func metText(is bool) string { return map[bool]string{true: "met", false: "**not met**"}[is] }

// notes say what was found, and whether that is what was wanted.
func (b *bench) loadNotes() (notes []string) {
	l := b.loads
	for _, p := range l.Stalls {
		worst := stallPercent{}
		var each []string
		for _, one := range p.Percentiles {
			if one.off() > worst.off() {
				worst = one
			}
			each = append(each, fmt.Sprintf("p%v %.1f (%.1f)", one.Percentile, one.Found/1000, one.Known/1000))
		}
		notes = append(notes, fmt.Sprintf("sallyport load of a server that stalls for %v of each %v, %s calls, %s, in ms (known): %s; off by at most %.2f of what is allowed, at p%v; "+
			"goal: 1, %s; lag p99.9 %.2f ms; one worker, who waits for each reply, finds p99 %.1f.",
			p.For, stallEvery*p.For, thousands(float64(p.Calls)), map[bool]string{true: "both with real-time priority", false: "at ordinary priority"}[p.Realtime], strings.Join(each, ", "), worst.off(), worst.Percentile, metText(worst.off() <= 1), p.Lag/1000, p.Waiting/1000))
	}
	for _, rate := range []float64{loadRate / 20, loadRate} {
		var p50, p999, most, reached []float64
		for _, p := range l.Rates {
			if p.Rate == rate {
				p50, p999, most, reached = append(p50, p.P50), append(p999, p.P999), append(most, p.Max), append(reached, p.Reached)
			}
		}
		if len(p999) > 0 {
			notes = append(notes, fmt.Sprintf("sallyport load at %s calls/s to a server that does nothing, medians of %d: reached %s; lag p50 %.0f µs, p99.9 %.0f µs (%.0f–%.0f), longest %.1f ms; goal: p99.9 below 1 ms, %s.",
				thousands(rate), len(p999), thousands(median(reached)), median(p50), median(p999), quantile(p999, 0.25), quantile(p999, 0.75), median(most)/1000, metText(median(p999) < 1000)))
		}
	}
	if n := len(l.Lengths); n > 1 {
		short, long := l.Lengths[0], l.Lengths[n-1]
		notes = append(notes, fmt.Sprintf("sallyport load for %.0f s: %.1f MB resident at most; for %.0f s: %.1f MB; goal: no more than a quarter more, %s.",
			short.Seconds, short.RSS/1e6, long.Seconds, long.RSS/1e6, metText(long.RSS <= 1.25*short.RSS)))
	}
	for _, slower := range []bool{false, true} {
		all, alarms := 0, 0
		for _, p := range l.Pairs {
			if p.Slower == slower {
				all++
				alarms += map[bool]int{true: 1}[p.Told == exitMissed]
			}
		}
		if all == 0 {
			continue
		}
		what, met := "the same server twice: called slower", alarms == 0
		if slower {
			what, met = fmt.Sprintf("a server that is slower by %.0f %%: called slower", 100*pairEffect), alarms == all
		}
		notes = append(notes, fmt.Sprintf("sallyport load compare, %d runs of %v a side in turns, of %s in %d of %d pairs; goal: %s, %s.",
			pairRuns, b.PairTime, what, alarms, all, map[bool]string{false: "none", true: "all"}[slower], metText(met)))
	}
	if n := len(l.Found); n > 0 {
		low, high := slices.Min(l.Found), slices.Max(l.Found)
		notes = append(notes, fmt.Sprintf("sallyport load find-capacity, %d times: %s to %s calls/s, %.1f %% apart; goal: at most 5 %%, %s.",
			n, thousands(low), thousands(high), 100*(high-low)/median(l.Found), metText(high-low <= 0.05*median(l.Found))))
	}
	return notes
}

// loadTool runs its parts.
func (b *bench) loadTool(ctx context.Context) error {
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{stallsPart, b.stalls}, {ratePart, b.rates}, {lengthPart, b.lengths}, {pairsPart, b.pairs}, {searchPart, b.searches}} {
		if slices.Contains(b.Parts, part.name) {
			if err := part.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}
