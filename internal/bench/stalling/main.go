// Command stalling serves a unix socket with package stall, until it is told to stop.
package main

import (
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"sallyport/internal/loadtest/stall"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("stalling: ")
	s := stall.Server{Reply: []byte("0\x00value")}
	socket := flag.String("socket", "", "`PATH` of the unix socket to serve")
	flag.DurationVar(&s.Every, "every", 0, "how often it stalls")
	flag.DurationVar(&s.For, "for", 0, "for how long; 0: never")
	flag.DurationVar(&s.Gap, "gap", 0, "the least time between two replies")
	flag.DurationVar(&s.Takes, "takes", 0, "what it needs for each request")
	flag.Parse()
	if *socket == "" || s.For < 0 || s.For > s.Every || s.Takes < 0 || s.Gap < 0 || flag.NArg() > 0 {
		log.Fatal("usage: stalling --socket PATH [--every DURATION --for DURATION] [--gap DURATION] [--takes DURATION]")
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	if err := s.Listen(*socket); err != nil {
		log.Fatal(err)
	}
	<-told
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
}
