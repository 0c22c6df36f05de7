package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof" // the same paths as sallyportd's
	"runtime"
	"time"
)

// serveMetrics serves the few numbers the benchmark reads, under the names that Prometheus' Go collector gives them,
// so that it reads both servers in one way.
func serveMetrics(addr string) error {
	http.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(w, "go_memstats_mallocs_total %d\n", m.Mallocs)
		fmt.Fprintf(w, "go_memstats_heap_inuse_bytes %d\n", m.HeapInuse)
		fmt.Fprintf(w, "go_memstats_stack_inuse_bytes %d\n", m.StackInuse)
	})
	s := &http.Server{Addr: addr, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServe()
}
