package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// How long tests wait for another process, and how often they look.
const (
	timeoutOfTests = 30 * time.Second
	tickOfTests    = 5 * time.Millisecond
)

// The daemon is killed again and again, at any moment, while clients write. What was acknowledged is there afterwards;
// what was not is there whole or not at all: each write of a created-by tag brings three tags.
func TestKilledDaemonLosesNothingAcknowledged(t *testing.T) {
	const qubes, writers = 8, 8
	rounds := 12
	if long() {
		rounds = 300
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	state := t.TempDir()
	p := start(t, nil, "--state-dir", state, "--inventory", inventoryOf(t, qubes))
	p.must("admin.vm.feature.Set+tag-created-vm-with", "dom0", "first second")
	var total atomic.Int64
	earlier := map[string]string{} // "qube feature" -> value
	present := func(p *process, key, value string) bool {
		dest, feature, _ := strings.Cut(key, " ")
		a, err := p.call("admin.vm.feature.Get+"+feature, dest, "")
		return assert.NoError(t, err) && assert.Equal(t, value, string(a.Content), "%v was acknowledged", key)
	}
	tagged := map[string]bool{} // qubes whose created-by tag was acknowledged
	for round := range rounds {
		killAfter := int64(random.IntN(120))
		var acknowledged sync.Map // in this round
		var here atomic.Int64
		enough := make(chan struct{})
		var once sync.Once
		var clients sync.WaitGroup
		for w := range writers {
			clients.Add(1)
			go func() {
				defer clients.Done()
				for i := 0; ; i++ {
					if here.Load() >= killAfter {
						once.Do(func() { close(enough) })
					}
					feature, value := fmt.Sprintf("f%d.%d", round, i), fmt.Sprint(w, round, i)
					a, err := p.call("admin.vm.feature.Set+"+feature, name(w), value)
					if err != nil { // killed: nobody knows whether this one is there
						return
					}
					if !assert.Empty(t, a.Type) {
						return
					}
					acknowledged.Store(name(w)+" "+feature, value)
					here.Add(1)
				}
			}()
		}
		victim := name(round % qubes)
		clients.Add(1)
		var tagAcknowledged atomic.Bool
		go func() {
			defer clients.Done()
			if !tagged[victim] {
				a, err := p.call("admin.vm.tag.Set+created-by-dom0", victim, "")
				tagAcknowledged.Store(err == nil && a.Type == "")
			}
		}()
		<-enough
		p.kill()
		clients.Wait()
		tagged[victim] = tagged[victim] || tagAcknowledged.Load()
		total.Add(here.Load())

		p = start(t, nil, "--state-dir", state)
		acknowledged.Range(func(key, value any) bool {
			earlier[key.(string)] = value.(string)
			return present(p, key.(string), value.(string))
		})
		tags := strings.Fields(p.must("admin.vm.tag.List", victim, ""))
		if tagged[victim] || len(tags) > 2 { // guivm-dom0 and audiovm-dom0 are always there
			assert.Equal(t, []string{"audiovm-dom0", "created-by-dom0", "first", "guivm-dom0", "second"}, tags, "a change is whole")
		}
		require.False(t, t.Failed())
	}
	for key, value := range earlier {
		if !present(p, key, value) {
			break
		}
	}
	t.Logf("%d kills, %d acknowledged writes", rounds, total.Load())
}

// completed is a line of strace about a sync that is done, sent one about a reply.
var (
	completed = regexp.MustCompile(`(fsync|fdatasync)(\(\d+\)| resumed>.*\)) += 0`)
	sent      = regexp.MustCompile(`sendmsg\(.*iov_base="0\\0"`)
)

// The kernel is the witness: before each lone acknowledgement there is a completed fsync or fdatasync.
func TestSyncComesBeforeEveryAcknowledgement(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace here; the project's CI installs it")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	p := start(t, []string{strace, "-f", "-qq", "-e", "trace=fsync,fdatasync,sendmsg", "-o", trace},
		"--state-dir", t.TempDir(), "--inventory", inventoryOf(t, 1))
	const writes = 20
	for i := range writes {
		p.must(fmt.Sprintf("admin.vm.feature.Set+f%d", i), "q0", "x")
	}
	// strace ends with its child, and passes the signal on only to itself: ask the daemon.
	pid := childOf(t, p.cmd.Process.Pid)
	require.NoError(t, pid.Signal(os.Interrupt))
	<-p.exited

	f, err := os.Open(trace)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	acknowledged, synced := 0, false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch {
		case completed.MatchString(lines.Text()):
			synced = true
		case sent.MatchString(lines.Text()):
			assert.True(t, synced, "acknowledgement %d came before its sync", acknowledged)
			acknowledged, synced = acknowledged+1, false
		}
	}
	assert.Equal(t, writes, acknowledged)
}

// childOf finds the one child of a process.
func childOf(t *testing.T, parent int) *os.Process {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	require.NoError(t, err)
	p, err := os.FindProcess(pid)
	require.NoError(t, err)
	return p
}
