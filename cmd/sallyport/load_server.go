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

// listening is what listens to a daemon while it is loaded.
type listening struct {
	log     *serverside.Log     // nil: not to its log
	metrics *serverside.Metrics // nil: not to its metrics
	warm    chan struct{}       // closed: the warm-up is over
}

// listen makes ready to listen.
func (s serverSide) listen() (*listening, error) {
	var err error
	l := &listening{warm: make(chan struct{})}
	if s.metrics != "" {
		if l.metrics, err = serverside.NewMetrics(s.metrics); err != nil {
			return nil, fail(exitUsage, "--server-metrics: %v", err)
		}
	}
	if s.log != "" {
		if l.log, err = serverside.OpenLog(s.log); err != nil {
			return nil, fail(exitUsage, "--server-log: %v", err)
		}
	}
	return l, nil
}

// begin is called when the load begins, which is measured after warmup. If ctx ends, what is begun then is not.
func (l *listening) begin(ctx context.Context, warmup time.Duration) error {
	if l.metrics != nil {
		if err := l.metrics.Begin(ctx); err != nil {
			return fail(exitUsage, "--server-metrics: %v", err)
		}
	}
	go func() {
		defer close(l.warm)
		if l.metrics == nil || warmup == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(warmup):
			_ = l.metrics.Begin(ctx) // Join tells
		}
	}()
	return nil
}

// heard is what there is to tell of a load that is over. It is called once.
func (l *listening) heard(r *measure.Result) (all []report.Server) {
	<-l.warm
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) // after one that ended the load
	defer stop()
	if l.log != nil {
		all = append(all, l.log.Join(ctx, r))
		_ = l.log.Close() // it was read alone
	}
	if l.metrics != nil {
		all = append(all, l.metrics.Join(ctx, r))
	}
	return all
}
