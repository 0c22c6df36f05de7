package main

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
)

// secret is what a client sends and nobody may find in the log, however it is written there.
const secret = "SECRETMARK"

var secretForms = []string{secret, "534543524554", "U0VDUkVU", "83 69 67 82"}

// A storm of crashes in every actor, beside readers and writers who must not notice: no call lost, none wrong, every
// crash told once, to its caller and in the log, and every acknowledged write in the store.
func TestCrashesCostTheirOwnCallsOnly(t *testing.T) {
	const qubes, readers, writers, writes = 20, 16, 10, 100
	rounds := 40
	if long() {
		rounds = 1000
	}
	state := t.TempDir()
	p := start(t, nil, "--drill", "--state-dir", state, "--inventory", inventoryOf(t, qubes))

	var crashers, honest sync.WaitGroup
	var over atomic.Bool
	var incidents sync.Map // id -> which actor
	for _, actor := range []string{"sanitizer", "permission", "action", "ledger", "qube"} {
		crashers.Add(1)
		go func() {
			defer crashers.Done()
			for i := range rounds {
				a, err := p.call("drill.Crash+"+actor, name(i%qubes), "")
				if !assert.NoError(t, err, actor) || !assert.Equal(t, "QubesInternalError", a.Type, actor) || !assert.Len(t, a.Fields, 1) {
					return
				}
				_, twice := incidents.LoadOrStore(a.Fields[0], actor)
				assert.False(t, twice, "an incident id was used twice")
			}
		}()
	}
	var calls atomic.Int64
	for r := range readers {
		honest.Add(1)
		go func() {
			defer honest.Done()
			for i := 0; !over.Load() || i < 50; i++ {
				a, err := p.call("admin.vm.feature.Get+there", name((r+i)%qubes), "")
				if !assert.NoError(t, err) || !assert.Empty(t, a.Type, a.Fields) || !assert.Equal(t, "before", string(a.Content)) {
					return
				}
				calls.Add(1)
			}
		}()
	}
	for w := range writers {
		honest.Add(1)
		go func() {
			defer honest.Done()
			for i := range writes {
				a, err := p.call(fmt.Sprintf("admin.vm.feature.Set+w%d.%d", w, i), name(w%qubes), secret)
				if !assert.NoError(t, err) || !assert.Empty(t, a.Type, a.Fields) {
					return
				}
			}
		}()
	}
	crashers.Wait()
	over.Store(true)
	honest.Wait()
	require.False(t, t.Failed())
	t.Logf("%d crashes, %d writes, %d reads", 5*rounds, writers*writes, calls.Load())
	require.Equal(t, 0, p.terminate())

	told := map[string]int{}
	for _, l := range p.events("actor.crashed") {
		id := l.text("sallyport.incident")
		told[id]++
		actor, ok := incidents.Load(id)
		require.True(t, ok, "nobody was told of incident %s", id)
		assert.Equal(t, actor, l.text("sallyport.actor.kind"))
		assert.Len(t, l.text("sallyport.crash.fingerprint"), 12)
		assert.Regexp(t, `(?s)^\S*sallyport/\S+\n\t\S+\.go:\d+\n`, l.text("exception.stacktrace"))
	}
	assert.Len(t, told, 5*rounds, "every crash is in the log")
	for id, n := range told {
		assert.Equal(t, 1, n, id)
	}
	for _, form := range secretForms {
		assert.NotContains(t, p.output(), form)
	}
	assert.Empty(t, p.events("supervisor.escalated"), "no door was switched off")

	p = start(t, nil, "--state-dir", state)
	for w := range writers {
		var want []string
		for i := range writes {
			want = append(want, fmt.Sprintf("w%d.%d", w, i))
		}
		got := strings.Fields(p.must("admin.vm.feature.List", name(w%qubes), ""))
		assert.Subset(t, got, want)
		assert.Len(t, got, writes+1, "each write is there once")
	}
}

// A client that does nothing but crash a door does not close it for others.
func TestCrashesInARowSwitchNothingOff(t *testing.T) {
	p := start(t, nil, "--drill", "--demo")
	for _, actor := range []string{"sanitizer", "permission", "action", "ledger", "qube"} {
		for range 250 {
			a, err := p.call("drill.Crash+"+actor, "work", "")
			require.NoError(t, err)
			require.Equal(t, "QubesInternalError", a.Type)
		}
		p.must("admin.vm.feature.Set+after."+actor, "work", "1")
		p.must("drill.Stall+1ms", "work", "")
	}
	assert.Empty(t, p.events("supervisor.escalated"))
}

// An order is carried out even if its client has left before it was begun (spec: wire.md 5).
func TestOrdersOutliveTheirClients(t *testing.T) {
	p := start(t, nil, "--drill", "--demo")
	before := p.qubesAtWork()
	var stalled sync.WaitGroup
	stalled.Go(func() {
		_, err := p.call("drill.Stall+300ms", "vault", "")
		assert.NoError(t, err)
	})
	require.Eventually(t, func() bool { return p.qubesAtWork() > before }, timeoutOfTests, tickOfTests)
	conn, err := net.Dial("unix", p.socket)
	require.NoError(t, err)
	_, err = conn.Write(messages.FormatRequest("drill.Crash+qube", "dom0", "vault", nil))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	stalled.Wait()
	assert.Eventually(t, func() bool { return len(p.events("actor.crashed")) == 1 }, timeoutOfTests, tickOfTests)
}

// qubesAtWork is how many qubes got an actor. Those that run had one when the daemon started; vault is halted.
func (p *process) qubesAtWork() (n int) {
	for _, l := range p.events("actor.started") {
		if l.text("sallyport.actor.kind") == "qube" {
			n++
		}
	}
	return n
}

// A stalled qube keeps its own work waiting, in order, and nobody else's.
func TestStallHoldsItsQubeOnly(t *testing.T) {
	p := start(t, nil, "--drill", "--demo")
	order := make(chan string, 3)
	var calls sync.WaitGroup
	stall := func(dest, span, label string) {
		calls.Add(1)
		go func() {
			defer calls.Done()
			a, err := p.call("drill.Stall+"+span, dest, "")
			assert.NoError(t, err)
			assert.Empty(t, a.Type)
			order <- label
		}()
	}
	before := p.qubesAtWork()
	stall("vault", "1s", "the long one")
	require.Eventually(t, func() bool { return p.qubesAtWork() > before }, timeoutOfTests, tickOfTests) // so it is before the next
	stall("vault", "300ms", "the one behind it")
	p.must("drill.Stall+1ms", "personal", "")
	p.must("admin.vm.feature.Get+service.split-gpg", "vault", "")
	p.must("admin.vm.feature.Set+x", "vault", "1")
	order <- "all others"
	calls.Wait()
	assert.Equal(t, []string{"all others", "the long one", "the one behind it"}, []string{<-order, <-order, <-order})
}
