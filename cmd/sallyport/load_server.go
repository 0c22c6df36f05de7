package main

import (
	"context"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/serverside"
)

// serverSide is where a daemon says itself how long calls took. Empty: nobody asks it.
type serverSide struct{ log, metrics string }

func (s *serverSide) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.log, "server-log", "", "`FILE` that the daemon writes its log to, on this machine: tell how long calls were at its stages, too")
	f.StringVar(&s.metrics, "server-metrics", "", "the same from its metrics, at `URL`, such as http://127.0.0.1:9100/metrics")
}

// watch begins to listen to the daemon, of a load that begins now and is measured after warmup. When the load is over,
// heard is to be called, once, and gives what there is to tell. If ctx ends, what is begun when the warm-up is over is not.
func (s serverSide) watch(ctx context.Context, warmup time.Duration) (heard func(*measure.Result) []report.Server, err error) {
	var log *serverside.Log
	var metrics *serverside.Metrics
	begun := make(chan struct{})
	if s.metrics != "" {
		if metrics, err = serverside.NewMetrics(s.metrics); err == nil {
			err = metrics.Begin(ctx)
		}
		if err != nil {
			return nil, fail(exitUsage, "--server-metrics: %v", err)
		}
	}
	if s.log != "" {
		if log, err = serverside.OpenLog(s.log); err != nil {
			return nil, fail(exitUsage, "--server-log: %v", err)
		}
	}
	go func() {
		defer close(begun)
		if metrics == nil || warmup == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(warmup):
			_ = metrics.Begin(ctx) // Join tells
		}
	}()
	return func(r *measure.Result) (all []report.Server) {
		<-begun
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) // after one that ended the load
		defer stop()
		if log != nil {
			all = append(all, log.Join(ctx, r))
			_ = log.Close() // it was read alone
		}
		if metrics != nil {
			all = append(all, metrics.Join(ctx, r))
		}
		return all
	}, nil
}
