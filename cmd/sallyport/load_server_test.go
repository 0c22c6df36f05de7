package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/daemontest"
	"sallyport/internal/loadtest/report"
)

// startLogged starts a daemon that is a process of its own, has its state in dir, and writes its log to a file. It gives
// its socket and the address of its metrics, once it is ready; the end of the test ends it.
func startLogged(t *testing.T, dir, log string) (socket, address string) {
	sockets := daemontest.Dir(t)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	require.NoError(t, err)
	address = l.Addr().String()
	require.NoError(t, l.Close())
	inventory := filepath.Join(dir, "inventory.yaml")
	require.NoError(t, os.WriteFile(inventory, []byte("version: 1\n"), 0o600))
	cmd := exec.Command(buildDaemon(t), "--socket-dir", sockets, "--state-dir", filepath.Join(dir, "state"), "--inventory", inventory, "--log-file", log, "--http", address)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		assert.NoError(t, cmd.Wait())
	})
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), `"event.name":"ready"`)
	}, patience, 10*time.Millisecond)
	return filepath.Join(sockets, "qubesd.sock"), address
}

// TestLoadJoinsARealDaemon: its log and its metrics have exactly the calls that were measured, by method, and so they have
// with a warm-up, but for those at its end.
func TestLoadJoinsARealDaemon(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	socket, address := startLogged(t, dir, log)

	load := func(duration, warmup string) report.Document {
		path := filepath.Join(dir, "out.json")
		file := filepath.Join(dir, "scenario.yaml")
		require.NoError(t, os.WriteFile(file, []byte(`version: 1
name: both
max_lag: 10m
warmup: `+warmup+`
stages: [{rate: 200, for: `+duration+`}]
mix:
  - steps: [{method: admin.vm.List}, {method: admin.vm.feature.Get, arg: none, dest: dom0, expect: any}]
  - steps: [{method: admin.vm.CurrentState, dest: nosuch, expect: any}]
`), 0o600))
		quiet, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		require.NoError(t, err)
		defer quiet.Close()
		require.Equal(t, 0, run([]string{"load", "run", "--socket", socket, "--server-log", log, "--server-metrics", "http://" + address, "--json", path, file}, os.Getenv, quiet, quiet, quiet))
		written, err := os.Open(path)
		require.NoError(t, err)
		defer written.Close()
		doc, err := report.ReadJSON(written)
		require.NoError(t, err)
		return doc
	}

	doc := load("2s", "0s")
	require.Len(t, doc.Server, 2)
	for i, source := range []report.ServerSource{report.ServerLog, report.ServerMetrics} {
		s := doc.Server[i]
		assert.Equal(t, source, s.Source)
		assert.Empty(t, s.Notes)
		assert.Equal(t, []uint64{doc.Overall.Count, doc.Overall.Count}, []uint64{s.Calls, s.Measured})
		require.Len(t, s.Methods, 3)
		for j, m := range s.Methods {
			g := doc.Groups[j]
			assert.Equal(t, []any{report.Method, m.Name}, []any{g.By, g.Name})
			assert.Equal(t, []uint64{g.Count, g.Count}, []uint64{m.Calls, m.Measured}, m.Name)
			for k, stage := range m.Stages {
				assert.Equal(t, g.Count, stage.Count, "%s: %s", m.Name, stage.Stage)
				if source == report.ServerMetrics { // bounds, which are above what the log says, and at most twice as high
					assert.GreaterOrEqual(t, stage.Max, doc.Server[0].Methods[j].Stages[k].Max)
				}
			}
		}
	}

	doc = load("4s", "3s")
	for _, s := range doc.Server {
		assert.NotZero(t, s.Calls)
		assert.Less(t, s.Calls, 3*s.Measured, "those of the warm-up, three times as many, and of the first load do not count")
	}
}
