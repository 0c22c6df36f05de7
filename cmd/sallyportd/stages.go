package main

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/actors"
)

// stageTimes are histograms of how long calls were at each stage, by method. There are as many as methods that were
// called, of which the catalogue has all: no client can make more.
type stageTimes struct {
	*prometheus.HistogramVec
	byMethod sync.Map // of *[6]prometheus.Observer: to look one up by its labels costs more than to observe
}

// stageBounds are from 4 µs to half a minute, which a request may take to arrive. The tool that joins them with what
// clients measured shows a percentile as the bound above it, so that each is twice the one before.
var stageBounds = prometheus.ExponentialBuckets(4e-6, 2, 24)

func newStageTimes() *stageTimes {
	return &stageTimes{HistogramVec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sallyport_stage_seconds", Help: "How long calls were at each stage, queues included, by method; empty: they named none that there is.",
		Buckets: stageBounds,
	}, []string{"method", "stage"})}
}

// observe counts a call. Safe for concurrent use.
func (s *stageTimes) observe(t actors.Timing) {
	stages, known := s.byMethod.Load(t.Method)
	if !known {
		made := &[6]prometheus.Observer{}
		for i, stage := range [...]string{"read", "sanitize", "permission", "action", "reply", "total"} {
			made[i] = s.WithLabelValues(t.Method, stage)
		}
		stages, _ = s.byMethod.LoadOrStore(t.Method, made)
	}
	for i, d := range [...]time.Duration{t.Read, t.Sanitize, t.Permission, t.Action, t.Reply, t.Total} {
		stages.(*[6]prometheus.Observer)[i].Observe(d.Seconds())
	}
}
