package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sallyport/internal/telemetry"
)

// serveHTTP serves health, metrics and profiles on a loopback address, if one is configured.
func (d *daemon) serveHTTP(sink *telemetry.Sink) error {
	if !d.cfg.HTTP.IsValid() {
		return nil
	}
	listener, err := net.Listen("tcp", d.cfg.HTTP.String())
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&metrics{d, sink}, d.stages)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", d.healthz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", withoutArguments)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.failed <- err
		}
	}()
	d.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil { // a profile is being taken, which may take any time
			return server.Close()
		}
		return nil
	})
	return nil
}

// withoutArguments serves the profiles, but for stacks with the words that functions were called with: they may be what a
// client sent.
func withoutArguments(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("debug") == "2" {
		http.Error(w, "debug=2 is not served: it would show arguments", http.StatusForbidden)
		return
	}
	pprof.Index(w, r)
}

// healthz answers 200 while everything makes progress, and 503 with the reason otherwise. What is wrong with the policy is
// said, but is no reason to take the daemon away: what was in force is, and dom0 needs none.
func (d *daemon) healthz(w http.ResponseWriter, _ *http.Request) {
	if ok, reason := d.actors.Healthy(); !ok {
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	s := d.policy.State()
	for _, line := range []string{"ok", s.Problem, s.Unwatched} {
		if line != "" {
			_, _ = fmt.Fprintln(w, line)
		}
	}
}

// metrics collects what the daemon counts.
type metrics struct {
	d    *daemon
	sink *telemetry.Sink
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sallyport_"+name, help, labels, nil)
}

var (
	callsTotal       = describe("calls_total", "Calls answered, by outcome.", "outcome")
	connectionsTotal = describe("connections_total", "Connections, by what became of them.", "outcome")
	connectionsOpen  = describe("connections_open", "Connections that are open.")
	crashesTotal     = describe("crashes_total", "Panics of actors.")
	restartsTotal    = describe("restarts_total", "Restarts of actors.")
	incidentsTotal   = describe("incidents_total", "Failures of ours that were no crashes.")
	shedTotal        = describe("shed_total", "Refusals because a limit was reached.")
	streamsOpen      = describe("streams_open", "Subscribers that are being sent events.")
	streamsCut       = describe("streams_cut_total", "Subscribers that were cut off because they fell behind.")
	eventsTotal      = describe("events_total", "Events sent to subscribers.")
	commitsTotal     = describe("commits_total", "Groups of changes written.")
	changesTotal     = describe("changes_total", "Changes written.")
	queued           = describe("queued_messages", "Messages that wait for an actor.", "actor")
	logDropped       = describe("log_lines_dropped_total", "Log lines that were left out.")
	healthy          = describe("healthy", "1 while everything makes progress.")
	revision         = describe("revision", "The inventory's revision.")
	policyLoads      = describe("policy_loads_total", "Loads of the policy's files, by what became of them.", "outcome")
	policyGeneration = describe("policy_generation", "How many policies have been in force; 0: none, and every source but dom0 is denied.")
	policyRules      = describe("policy_rules", "Rules of the policy in force.")
	policyCurrent    = describe("policy_current", "1 while the policy in force is what the files say.")
)

// Describe is part of prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect is part of prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.d.actors.Stats()
	counter := func(desc *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	counter(callsTotal, s.OK, telemetry.OK)
	counter(callsTotal, s.Exceptions, telemetry.Exception)
	counter(callsTotal, s.Denied, telemetry.Denied)
	counter(callsTotal, s.Malformed, telemetry.Malformed)
	counter(callsTotal, s.Gone, telemetry.Gone)
	counter(connectionsTotal, s.Accepted, "accepted")
	counter(connectionsTotal, s.Refused, "refused")
	gauge(connectionsOpen, float64(s.Open))
	counter(crashesTotal, s.Crashes)
	counter(restartsTotal, s.Restarts)
	counter(incidentsTotal, s.Incidents)
	counter(shedTotal, s.Shed)
	gauge(streamsOpen, float64(s.Streams))
	counter(streamsCut, s.StreamsCut)
	counter(eventsTotal, s.EventsSent)
	counter(commitsTotal, s.Commits)
	counter(changesTotal, s.Changes)
	for actor, n := range s.Queued {
		gauge(queued, float64(n), actor)
	}
	counter(logDropped, m.sink.Dropped())
	ok, _ := m.d.actors.Healthy()
	gauge(healthy, map[bool]float64{true: 1}[ok])
	p := m.d.policy.State()
	counter(policyLoads, p.Reloaded, "reloaded")
	counter(policyLoads, p.Refused, "refused")
	gauge(policyGeneration, float64(p.Generation))
	gauge(policyRules, float64(p.Rules))
	gauge(policyCurrent, map[bool]float64{true: 1}[p.Problem == ""])
	gauge(revision, float64(m.d.book.View().Revision()))
}
