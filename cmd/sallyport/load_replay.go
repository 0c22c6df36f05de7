package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/trace"
)

func newLoadReplay(env func(string) string, stdin, stdout, stderr *os.File) *cobra.Command {
	var l loadFlags
	out := newOutputs(env, stdin, stdout, stderr)
	var how trace.Replay
	cmd := &cobra.Command{
		Use:   "replay [flags] TRACE",
		Short: "Make the calls that were recorded, and tell how long they took",
		Long: `Make the calls that sallyport load record wrote to the file TRACE, at the times at which clients made them, and tell how
long they took, as sallyport load run does: each counts from when it was due. The first is due at once.

A stream of events is followed as long as the client did; it counts as a call if the daemon ends it before, and events are
counted. What the trace leaves out is not called: requests that were no calls, and calls with payloads, but with --fill or
if it was recorded with --payloads. How many these are, is told.

Exit codes: as those of sallyport load run; 2 a trace that is none.`,
		Example: `  sallyport load replay --speed 2 --threshold 'p99 < 5ms' calls.trace
  sallyport load replay --rate 500 --check calls.trace`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(l.target(), noZero(cmd)); err != nil {
				return err
			}
			s, err := recordedScenario(l.Options, how, args[0])
			if err != nil {
				return err
			}
			if err := usualTarget(s, env); err != nil {
				return err
			}
			return load(drive.Run, s, out)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&how.Speed, "speed", 1, "how many times as fast as it was recorded")
	f.Float64Var(&how.Rate, "rate", 0, "`N` calls per second instead, in the same order")
	f.BoolVar(&how.Fill, "fill", false, "send as many bytes as a payload had that the trace leaves out")
	f.BoolVar(&how.Check, "check", false, "what was OK is to be so again, and what was an exception one of that type; all else counts as an error")
	l.limits(cmd)
	out.flags(cmd)
	return cmd
}

// recordedScenario is the scenario that the trace in a file is.
func recordedScenario(o scenario.Options, how trace.Replay, file string) (*scenario.Scenario, error) {
	switch {
	case !(how.Speed >= trace.Slowest && how.Speed <= trace.Fastest): // which NaN is not
		return nil, fmt.Errorf("--speed: expected a number from %v to %v", trace.Slowest, trace.Fastest)
	case how.Rate != 0 && how.Speed != 1:
		return nil, errors.New("--rate: expected it, or --speed, and not both")
	case !(how.Rate >= 0 && how.Rate <= scenario.MostRate):
		return nil, fmt.Errorf("--rate: expected a number above 0, up to %.0f", scenario.MostRate)
	}
	o.Call = filepath.Base(file)
	s, err := scenario.Bare(o, checks)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fail(exitUsage, "%v", err)
	}
	defer f.Close()
	r, err := trace.NewReader(f, file)
	if err == nil {
		err = how.Into(s, r)
	}
	if err != nil {
		return nil, fail(exitUsage, "%v", err)
	}
	return s, nil
}
