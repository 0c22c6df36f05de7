package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/live"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/verdict"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// The exit codes of load tests.
const (
	exitInvalid = 98 // the run says nothing about the server
	exitMissed  = 99 // a threshold did not hold
)

func newLoad(env func(string) string, stdin, stdout, stderr *os.File) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Load a daemon, and measure how it answers",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("expected a command: run or scenario") },
	}
	cmd.AddCommand(newLoadRun(env, stdin, stdout, stderr), newLoadScenario(stdout))
	return cmd
}

func newLoadRun(env func(string) string, stdin, stdout, stderr *os.File) *cobra.Command {
	var o scenario.Options
	var files report.Files
	shown := live.Options{In: stdin, Out: stderr, Env: env}
	cmd := &cobra.Command{
		Use:   "run FILE | --rate N | --workers N [flags] METHOD[+ARG] [DEST]",
		Short: "Make the calls of a scenario, or one call again and again",
		Long: `Make the calls of a scenario, which FILE is, or one call again and again, and tell how long they took.

At a rate, calls are due whether or not the server is ready for them, and each counts from when it was due: a server that
stalls is as slow as those would find it who do not wait for each other. Workers make their next call when the one before is
done. How late the tool itself was is measured, too; a run in which it was the bottleneck is INVALID.

Exit codes: 0; 2 usage, or a scenario that is none; 4 a result that cannot be written; 98 the run is invalid; 99 a
threshold does not hold. Ctrl-C ends the run, and what ran is told; when it is pressed again, the tool ends at once.`,
		Example: `  sallyport load scenario init >mine.yaml; sallyport load run mine.yaml
  sallyport load run --rate 2000 --duration 30s admin.vm.feature.Get+service.cups work
  sallyport load run --workers 16 --expect QubesVMNotFoundError admin.vm.Start nosuch`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			s, call, err := scenarioOf(o, args)
			if err != nil {
				return err
			}
			if s.Target.Socket == "" && s.Target.Addr == "" {
				s.Target.Socket = o.Target.Socket
			}
			if s.Target.Socket == "" && s.Target.Addr == "" {
				if s.Target.Socket, err = usualSocket(env, socketOf(call)); err != nil {
					return err
				}
			}
			return load(s, files, shown, stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Target.Socket, "socket", "", "`PATH` of the daemon's socket (default as for sallyport call)")
	f.StringVar(&o.Source, "source", "dom0", "the qube that calls, by `NAME`")
	f.StringVar(&o.Payload, "payload", "", "`TEXT` to send with each call")
	f.StringVar(&o.Expect, "expect", "ok", "what replies are to be: ok, any, or the `TYPE` of an exception; all else counts as an error")
	f.StringVar(&o.Content, "content", "", "`REGEXP` that the content of an OK is to match")
	f.Float64Var(&o.Rate, "rate", 0, "`N` calls per second")
	f.BoolVar(&o.Poisson, "poisson", false, "with --rate: at random times, independent of each other")
	f.IntVar(&o.Workers, "workers", 0, "`N` workers")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long")
	f.DurationVar(&o.Warmup, "warmup", 0, "how much of that is not measured")
	f.DurationVar(&o.Timeout, "timeout", 0, "how long a call waits for its reply (default 10s)")
	f.IntVar(&o.MaxInFlight, "max-in-flight", 0, "`N` calls at the same time, at most (default 4096)")
	f.DurationVar(&o.MaxLag, "max-lag", 0, "how late the tool may begin calls, but for one in a thousand, before the run is invalid (default 1ms)")
	f.StringArrayVar(&o.Thresholds, "threshold", nil, "`CONDITION` that is to hold, such as 'p99 < 5ms' or 'errors < 0.1%'; repeatable")
	f.Uint64Var(&o.Seed, "seed", 0, "`N` from which all chance follows")
	f.BoolVar(&shown.Plain, "plain", false, "tell of each second in a line, also to a terminal")
	f.StringVar(&files.JSON, "json", "", "write the result to `FILE`, too, for programs")
	f.StringVar(&files.CSV, "csv", "", "write what ended in each span of time to `FILE`")
	f.StringVar(&files.HLog, "hlog", "", "write a log of HdrHistogram to `FILE`")
	f.StringVar(&files.HTML, "html", "", "write a page with plots to `FILE`, which needs no other")
	return cmd
}

// scenarioOf is the scenario in a file, or of the one call that the command line has, and a call of it.
func scenarioOf(o scenario.Options, args []string) (s *scenario.Scenario, call string, err error) {
	checks := scenario.Checks{Method: aMethod, Threshold: aThreshold}
	if o.Rate == 0 && o.Workers == 0 && len(args) == 1 {
		if s, err = scenario.Read(args[0], checks); err != nil {
			return nil, "", fail(exitUsage, "%v", err)
		}
		return s, s.Mix[0].Steps[0].Method, nil
	}
	if o.Call = args[0]; len(args) > 1 {
		o.Dest = args[1]
	}
	s, err = scenario.Simple(o, checks)
	return s, o.Call, err
}

func newLoadScenario(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scenario",
		Short: "Help with scenarios",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("expected a command: init") },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "init",
		Short: "Print a scenario that explains itself",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := stdout.Write(scenario.Example)
			return err
		},
	})
	return cmd
}

// aMethod reports whether daemons serve a method, be it a drill.
func aMethod(method string) bool {
	return slices.ContainsFunc(slices.Concat(methods.All(), methods.Drill()), func(e stages.Entry) bool { return e.Name == method })
}

// aThreshold says what was expected instead of a text that is no threshold.
func aThreshold(text string) error {
	_, err := verdict.Parse(text)
	return err
}

// judged is what becomes of thresholds, all of which aThreshold has passed.
func judged(thresholds []string, r *measure.Result) (all []report.Verdict, held bool) {
	held = true
	for _, text := range thresholds {
		t, err := verdict.Parse(text)
		if err != nil {
			panic(err)
		}
		v := t.Judge(r)
		all = append(all, report.Verdict{Threshold: t.String(), Value: v.Value, Held: v.Held, Why: v.Why})
		held = held && v.Held
	}
	return all, held
}

// load makes a load and tells of it. What is written comes last, and a file that cannot be written does not keep the
// summary from whoever waits.
func load(s *scenario.Scenario, files report.Files, shown live.Options, stdout io.Writer) error {
	raiseDescriptors()
	signalled, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, end := context.WithCancel(signalled)
	defer end()
	shown.End = end
	view := live.Start(s, shown)
	defer view.Close() // if this panics, too
	context.AfterFunc(ctx, func() {
		view.Close()
		stop() // a second signal ends it at once
	})
	r, err := drive.Run(ctx, s, drive.Options{Progress: view.Progress, Crashed: view.Close})
	view.Close()
	if err != nil {
		return fail(exitUsage, "load: %v", err)
	}
	d := report.Of(s, r)
	var held bool
	d.Verdicts, held = judged(s.Thresholds, r)
	told := errors.Join(d.WriteSummary(stdout), d.WriteAll(files))
	switch {
	case told != nil:
		return fail(exitNoReply, "load: %v", told)
	case len(d.Invalid) > 0: // which says more than that a threshold did not hold: nothing was found out
		return fail(exitInvalid, "")
	case !held:
		return fail(exitMissed, "")
	}
	return nil
}

// raiseDescriptors lets as many calls be under way as the system allows.
func raiseDescriptors() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
}
