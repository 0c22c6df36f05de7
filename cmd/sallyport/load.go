package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/fleet"
	"sallyport/internal/loadtest/live"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/verdict"
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
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected a command: run, agent, record, replay, compare, find-capacity or scenario")
		},
	}
	cmd.AddCommand(newLoadRun(env, stdin, stdout, stderr), newLoadAgent(stderr), newLoadRecord(env, stderr), newLoadReplay(env, stdin, stdout, stderr),
		newLoadCompare(stdout), newLoadCapacity(env, stdout), newLoadScenario(stdout))
	return cmd
}

func newLoadRun(env func(string) string, stdin, stdout, stderr *os.File) *cobra.Command {
	var l loadFlags
	var others fleetFlags
	out := newOutputs(env, stdin, stdout, stderr)
	cmd := &cobra.Command{
		Use:   "run FILE | --rate N | --workers N [flags] METHOD[+ARG] [DEST]",
		Short: "Make the calls of a scenario, or one call again and again",
		Long: `Make the calls of a scenario, which FILE is, or one call again and again, and tell how long they took.

At a rate, calls are due whether or not the server is ready for them, and each counts from when it was due: a server that
stalls is as slow as those would find it who do not wait for each other. Workers make their next call when the one before is
done. How late the tool itself was is measured, too; a run in which it was the bottleneck is INVALID.

With --agents, other machines make the load together, each its share of the same arrivals, and what they measured is put
together. An agent that is lost on the way makes the run invalid.
` + aboutTargets + `
Exit codes: 0; 2 usage, or a scenario that is none; 3 an agent that cannot make its share; 4 a result that cannot be
written; 98 the run is invalid; 99 a threshold does not hold. Ctrl-C ends the run, and what ran is told; when it is pressed
again, the tool ends at once.`,
		Example: `  sallyport load scenario init >mine.yaml; sallyport load run mine.yaml
  sallyport load run --rate 2000 --duration 30s admin.vm.feature.Get+service.cups work
  sallyport load run --workers 16 --expect QubesVMNotFoundError admin.vm.Start nosuch
  sallyport load run --socket other.sock --request ping.txt --content ^pong --rate 100 ping`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.remote = len(others.agents) > 0
			s, err := l.scenario(cmd, args, env)
			if err != nil {
				return err
			}
			run, err := others.maker(l.packed)
			if err != nil {
				return err
			}
			return load(run, s, out)
		},
	}
	l.flags(cmd)
	others.flags(cmd)
	f := cmd.Flags()
	f.Float64Var(&l.Rate, "rate", 0, "`N` calls per second")
	f.IntVar(&l.Workers, "workers", 0, "`N` workers")
	f.DurationVar(&l.Duration, "duration", 10*time.Second, "how long")
	f.DurationVar(&l.Warmup, "warmup", 0, "how much of that is not measured")
	l.without = append(l.without, "rate", "workers", "duration", "warmup")
	out.flags(cmd)
	return cmd
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
func load(run maker, s *scenario.Scenario, out *outputs) error {
	if err := out.files.Try(); err != nil {
		return fail(exitNoReply, "load: %s", oneLine(err))
	}
	if err := possible(s); err != nil {
		return err
	}
	raiseDescriptors()
	signalled, stop := untilTold()
	defer stop()
	ctx, end := context.WithCancel(signalled)
	defer end()
	daemon, err := out.server.listen()
	if err != nil {
		return err
	}
	out.live.End = end
	view := live.Start(s, out.live)
	defer view.Close() // if this panics, too
	context.AfterFunc(ctx, func() {
		view.Close()
		time.AfterFunc(again, stop) // a second signal ends it at once
	})
	begin := func() error { return daemon.begin(ctx, s.Warmup) }
	r, err := run(ctx, s, drive.Options{Ready: begin, Progress: view.Progress, Crashed: view.Close})
	view.Close()
	switch {
	case errors.As(err, new(*fleet.AgentError)):
		return fail(exitNoDaemon, "load: %v", err)
	case errors.As(err, new(*failure)):
		return err
	case err != nil:
		return fail(exitUsage, "load: %v", err)
	}
	d := report.Of(s, r)
	d.Server = daemon.heard(r)
	if answered, _ := r.Of(func(k measure.Key) bool { return k.Outcome == measure.OK || k.Outcome == measure.Unexpected }); answered.Count == 0 && len(s.Mix) > 0 {
		d.Invalid = append([]string{"no call was answered in the time that is measured"}, d.Invalid...)
	}
	var held bool
	d.Verdicts, held = judged(s.Thresholds, r)
	told := errors.Join(d.WriteSummary(out.stdout), d.WriteAll(out.files))
	switch {
	case told != nil:
		return fail(exitNoReply, "load: %s", oneLine(told))
	case len(d.Invalid) > 0: // which says more than that a threshold did not hold: nothing was found out
		return fail(exitInvalid, "")
	case !held:
		return fail(exitMissed, "")
	}
	return nil
}

// possible refuses thresholds about methods that a scenario never calls.
func possible(s *scenario.Scenario) error {
	called := map[string]bool{}
	for _, item := range s.Mix {
		for _, c := range item.Steps {
			called[c.Method] = true
		}
	}
	for _, group := range s.Subscribers {
		called[group.Call.Method] = true
	}
	for _, text := range s.Thresholds {
		if t, err := verdict.Parse(text); err == nil && t.Selector.By == verdict.Method && !called[t.Selector.Name] {
			return fail(exitUsage, "threshold %s: expected a method that is called", escape([]byte(text), ""))
		}
	}
	return nil
}

// oneLine is what several errors say.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// raiseDescriptors lets as many calls be under way as the system allows.
func raiseDescriptors() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
}
