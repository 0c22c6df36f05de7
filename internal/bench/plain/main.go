// Command plain is the baseline of the benchmark: the server that a good Go engineer would write for one method of the
// Admin API if there were no stages, no actors and no log. A goroutine for each connection reads to the client's
// half-close under the same limits as sallyport, answers admin.vm.feature.Get from a map, and closes. What it is given as
// --replies it sends as it is: to compare what it costs to make a long reply with what it costs to send one.
//
// It is neither slowed down nor tuned: no pools, no raw descriptors, only package net. It is never to be served in
// earnest, as it asks nobody for permission.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"sallyport/internal/bench/terms"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("plain: ")
	socket := flag.String("socket", "", "`PATH` of the unix socket to serve")
	qubes := flag.Int("qubes", 100, "how many qubes there are")
	replies := flag.String("replies", "", "`FILE` of whole replies to other calls (terms.Replies, as JSON)")
	http := flag.String("http", "", "loopback `ADDR` for /metrics and /debug/pprof; off by default")
	flag.Parse()
	if *socket == "" || *qubes < 1 || flag.NArg() > 0 {
		log.Fatal("usage: plain --socket PATH [--qubes N] [--replies FILE] [--http ADDR]")
	}
	s := &server{features: make(map[string]map[string]string, *qubes)}
	if *replies != "" {
		file, err := os.ReadFile(*replies)
		if err != nil {
			log.Fatal(err)
		}
		if err := json.Unmarshal(file, &s.replies); err != nil {
			log.Fatalf("--replies: %v", err)
		}
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

	for i := range *qubes {
		s.features[terms.Qube(i)] = map[string]string{terms.Feature: terms.Value(i)}
	}
	if err := s.serve(listener); !errors.Is(err, net.ErrClosed) {
		log.Fatal(err)
	}
}
