// Command plain is the baseline of the benchmark: the server that a good Go engineer would write for one method of the
// Admin API if there were no stages, no actors and no log. A goroutine for each connection reads to the client's
// half-close under the same limits as sallyport, answers admin.vm.feature.Get from a map, and closes.
//
// It is neither slowed down nor tuned: no pools, no raw descriptors, only package net. It is never to be served in
// earnest, as it asks nobody for permission.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"os/signal"
	"syscall"

	"sallyport/internal/bench/terms"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("plain: ")
	socket := flag.String("socket", "", "`PATH` of the unix socket to serve")
	qubes := flag.Int("qubes", 100, "how many qubes there are")
	http := flag.String("http", "", "loopback `ADDR` for /metrics and /debug/pprof; off by default")
	flag.Parse()
	if *socket == "" || *qubes < 1 || flag.NArg() > 0 {
		log.Fatal("usage: plain --socket PATH [--qubes N] [--http ADDR]")
	}

	if *http != "" {
		go func() { log.Fatal(serveMetrics(*http)) }()
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, func() { listener.Close() })

	features := make(map[string]map[string]string, *qubes)
	for i := range *qubes {
		features[terms.Qube(i)] = map[string]string{terms.Feature: terms.Value(i)}
	}
	s := &server{features: features}
	if err := s.serve(listener); !errors.Is(err, net.ErrClosed) {
		log.Fatal(err)
	}
}
