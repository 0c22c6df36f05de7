package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"

	"sallyport/internal/bench/terms"
)

// idle opens connections that send nothing, writes a first report when all are open, and holds them until hold ends.
// Then it makes a call on every one: a connection that the server dropped to look small counts as a missing answer.
func idle(o options, hold io.Reader, out io.Writer) (terms.Load, error) {
	r := terms.Load{Mode: "idle", Workers: o.workers}
	conns := make([]*net.UnixConn, 0, o.workers)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	cpu := cpuTime()
	for range o.workers {
		conn, err := net.DialTimeout("unix", o.socket, o.callTimeout)
		if err != nil {
			return r, fmt.Errorf("after %d connections: %w", len(conns), err)
		}
		conns = append(conns, conn.(*net.UnixConn))
	}
	r.Open = len(conns)
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return r, err
	}
	if _, err := io.Copy(io.Discard, hold); err != nil {
		return r, err
	}
	g := newGets("dom0", o.qubes)
	for i, c := range conns {
		at := i % len(g.requests)
		r.Total++
		answer, err := askOn(c, o.callTimeout, g.requests[at])
		if err == nil {
			err = compare(answer, g.requests[at], g.wants[at])
		}
		if err != nil {
			r.Wrong++
			if r.FirstWrong == "" {
				r.FirstWrong = fmt.Sprintf("held connection %d: %v", i, err)
			}
			if r.Wrong >= maxWrong {
				break
			}
		} else {
			r.Calls++
		}
		c.Close()
	}
	r.CPU = int64(cpuTime()-cpu) / int64(r.Total)
	return r, nil
}
