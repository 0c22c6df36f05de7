// Command bench is the project's benchmark. It compares sallyport, at log level warn and with a log line for each call,
// with the plain goroutine-per-connection server that one would write without it (package plain), and prints a table
// for the README.
//
// All are measured in one run, one directly after the other, several times over; what counts is the median of the
// ratios within each repetition, since a busy moment of the machine then slows both sides of a ratio. Servers and load
// generator are processes of their own, so that the processor time of each is known.
//
// A slow run is no failure: it exits with 1 only if an answer was wrong or missing, or if something could not run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := benchmark(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, errUsage) { // said already
			os.Exit(2)
		}
		log.Fatal(err)
	}
}

func benchmark(ctx context.Context, args []string) (err error) {
	o, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp(o.dir, "sallyport-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	if o.pprof != "" {
		if err := os.MkdirAll(o.pprof, 0o755); err != nil {
			return err
		}
	}

	b := &bench{plan: o.plan, root: root, pprof: o.pprof, note: log.Printf}
	b.note("building")
	if err := build(ctx, root, o.plan.Servers); err != nil {
		return err
	}
	began := time.Now()
	if err := b.run(ctx); err != nil {
		return err
	}
	b.note("took %v", time.Since(began).Round(time.Second))

	m := describeMachine(root)
	if len(b.fsyncs) > 0 {
		m.Fsync = int64(median(b.fsyncs))
	}
	rows := b.rows()
	fmt.Print(markdown(b.Servers, rows, b.notes(m)))
	if o.json != "" {
		if err := writeJSON(o.json, m, b, rows); err != nil {
			return err
		}
	}
	if len(b.wrong) > 0 {
		return fmt.Errorf("wrong answers:\n%s", strings.Join(b.wrong, "\n"))
	}
	return nil
}

var errUsage = errors.New("wrong usage")

type options struct {
	plan  plan
	dir   string
	json  string
	pprof string
}

// parse reads the command line; what is wrong with a flag, and the help, go to usage.
func parse(args []string, usage io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	isQuick := flags.Bool("quick", false, "fewer and shorter repetitions: a look, not a measurement")
	only := flags.String("only", strings.Join(parts, ","), "comma-separated `PARTS` to run")
	servers := flags.String("servers", "", "comma-separated `NAMES` of servers to run, the baseline first; default: plain,warn,info and every --server")
	kinds := slices.Clone(builtin)
	flags.Func("server", "another server, or another command for one of the three: `NAME=COMMAND`, with {bin} {dir} {inventory} {qubes} {replies} {policy} {http}; repeatable",
		func(s string) error {
			name, command, ok := strings.Cut(s, "=")
			if !ok || name == "" || strings.ContainsAny(name, "/,") || len(strings.Fields(command)) == 0 {
				return errors.New("want NAME=COMMAND")
			}
			if i := slices.IndexFunc(kinds, func(k kind) bool { return k.Name == name }); i >= 0 {
				kinds[i].Command = command
			} else {
				kinds = append(kinds, kind{name, command})
			}
			return nil
		})
	starts := flags.Int("starts", 0, fmt.Sprintf("how often the servers are started for the reads, and then asked in rounds; 0: %d, or %d with --quick", full.Starts, quick.Starts))
	duration := flags.Duration("duration", 0, fmt.Sprintf("measured time of each run of the load generator; 0: %v, or %v with --quick", full.Duration, quick.Duration))
	qubes := flags.Int("qubes", 100, "how many qubes the reads go over")
	connections := flags.Int("idle-connections", 10000, "how many connections idle")
	threads := flags.Int("threads", 0, "threads of the load generator; 0: one for each core")
	flags.StringVar(&o.dir, "dir", "", "`DIR` for the temporary folder, and so for the state that is synced; default: the system's")
	flags.StringVar(&o.json, "json", "", "write everything that was measured to `FILE`")
	flags.StringVar(&o.pprof, "pprof", "", "profile each server in a run of its own, into `DIR`")
	if flags.Parse(args) != nil {
		return o, errUsage
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	o.plan = full
	if *isQuick {
		o.plan = quick
	}
	o.plan.Threads = *threads
	if *starts > 0 {
		o.plan.Starts = *starts
	}
	if *duration > 0 {
		o.plan.Duration = *duration
	}
	if *qubes < 1 || *connections < 1 || *threads < 0 {
		return o, errors.New("--qubes and --idle-connections are at least 1, --threads at least 0")
	}
	o.plan.Qubes = *qubes
	if o.plan.IdleConnections, err = affordable(*connections); err != nil {
		return o, err
	}
	for name := range strings.SplitSeq(*only, ",") {
		if !slices.Contains(parts, name) {
			return o, fmt.Errorf("--only: no part %q; there are %s", name, strings.Join(parts, ", "))
		}
		o.plan.Parts = append(o.plan.Parts, name)
	}
	o.plan.Servers = kinds
	if *servers != "" {
		o.plan.Servers = nil
		for name := range strings.SplitSeq(*servers, ",") {
			i := slices.IndexFunc(kinds, func(k kind) bool { return k.Name == name })
			if i < 0 {
				return o, fmt.Errorf("--servers: no server %q", name)
			}
			o.plan.Servers = append(o.plan.Servers, kinds[i])
		}
	}
	return o, nil
}

// affordable is n, or what the descriptor limit leaves: a server keeps some back for itself.
func affordable(n int) (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	const kept = 1024
	if l.Max < kept+1 {
		return 0, fmt.Errorf("the limit of %d descriptors is too low", l.Max)
	}
	return int(min(uint64(n), l.Max-kept)), nil
}

// build compiles what the servers' commands take from {bin}.
func build(ctx context.Context, root string, servers []kind) error {
	packages := []string{"sallyport/internal/bench/plain", "sallyport/internal/bench/loadgen", "sallyport/internal/bench/stalling", "sallyport/cmd/sallyport"}
	if slices.ContainsFunc(servers, func(k kind) bool { return strings.Contains(k.Command, "{bin}/sallyportd") }) {
		packages = append(packages, "sallyport/cmd/sallyportd")
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", filepath.Join(root, "bin") + "/"}, packages...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

func writeJSON(file string, m machine, b *bench, rows []row) error {
	out, err := json.MarshalIndent(map[string]any{
		"machine": m, "plan": b.plan, "points": b.points, "idle": b.idles, "silent": b.silent, "decisions": b.decisions, "loads": b.loads, "rows": rows, "wrong": b.wrong,
		"asked": b.asked, "logged": b.logged,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}
