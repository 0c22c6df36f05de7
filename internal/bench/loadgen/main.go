// Command loadgen asks a server of the Admin API as fast as it answers, checks every reply, and prints one JSON object
// (terms.Load). It is a process of its own, so that what a server costs can be told from what asking costs.
//
// It shares the machine with the server it measures, so it is built to be cheap, and for nothing else: raw system calls
// on non-blocking descriptors, a few threads that each drive many workers from one epoll, no allocation per call. It
// runs on Linux only.
//
//	get    admin.vm.feature.Get, over all qubes in turn
//	set    admin.vm.feature.Set, no two calls alike, and reads back the last that was acknowledged to each worker
//	list   admin.vm.List
//	ls     what a full qvm-ls asks, by one worker: admin.vm.List, and admin.vm.property.GetAll of every qube in turn
//	events holds --workers subscribers of all events that read, and --silent that do not; makes the changes that its
//	       standard input asks for, and reports of each line how long it took until the last subscriber had read them
//	idle   opens --workers connections that send nothing, reports, waits for the end of its standard input, and then
//	       makes a call on every one of them
//
// It exits with 1 if any answer was wrong or missing.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/internal/bench/terms"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("loadgen: ")
	mode := flag.String("mode", "get", "get, set, list, ls, events or idle")
	socket := flag.String("socket", "", "`PATH` of the unix socket to ask")
	o := options{}
	flag.StringVar(&o.source, "source", "dom0", "get: the `NAME` of the qube that asks")
	flag.IntVar(&o.workers, "workers", 64, "calls at the same time; idle: connections to hold; events: subscribers that read")
	flag.IntVar(&o.silent, "silent", 0, "events: subscribers that do not read")
	flag.IntVar(&o.threads, "threads", 0, "epoll threads; 0: one for each core, but no more than workers: with fewer, cores idle, and fast servers look slower")
	flag.IntVar(&o.qubes, "qubes", 100, "how many qubes there are")
	flag.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "how long to ask before measuring")
	flag.DurationVar(&o.duration, "duration", 3*time.Second, "how long to measure")
	flag.Uint64Var(&o.maxCalls, "max-calls", 50_000_000, "stop after so many calls, whatever the time")
	flag.DurationVar(&o.callTimeout, "call-timeout", 10*time.Second, "an answer that takes longer is missing")
	flag.Parse()
	if *socket == "" || o.warmup < 0 || o.workers < 1 || o.qubes < 1 || o.threads < 0 || o.silent < 0 || o.duration <= 0 || flag.NArg() > 0 {
		log.Print("usage: loadgen --socket PATH [--mode get|set|list|ls|events|idle] [flags]")
		flag.PrintDefaults()
		os.Exit(2)
	}
	if o.threads == 0 {
		o.threads = min(runtime.NumCPU(), o.workers)
	}

	raiseDescriptorLimit()
	// A short relative path spares the kernel a walk at each connect.
	if err := os.Chdir(filepath.Dir(*socket)); err != nil {
		log.Fatal(err)
	}
	o.socket = filepath.Base(*socket)

	var report terms.Load
	var err error
	switch *mode {
	case "get":
		report, err = run(o, newGets(o.source, o.qubes))
	case "set":
		report, err = run(o, newSets(o.qubes))
	case "list":
		var l *lists
		if l, err = newLists(o); err == nil {
			report, err = run(o, l)
		}
	case "ls":
		report, err = ls(o)
	case "events":
		report, err = events(o, os.Stdin, os.Stdout)
	case "idle":
		report, err = idle(o, os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("no mode %q", *mode)
	}
	if err != nil {
		log.Fatal(err)
	}
	report.Mode = *mode
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		log.Fatal(err)
	}
	if report.Wrong > 0 {
		os.Exit(1)
	}
}

func raiseDescriptorLimit() {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		log.Fatal(err)
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		log.Fatal(err)
	}
}

// cpuTime is what this process has spent so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
