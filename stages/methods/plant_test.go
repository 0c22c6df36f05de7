package methods_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/hypervisor/simulated"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages/lifecycle"
)

// plant is the hypervisor on which core.yaml was recorded: what qubes use is constant, their consoles are all the same,
// and no guest reacts to a request to shut down.
type plant struct{ *simulated.Driver }

func newPlant() plant { return plant{simulated.New(wallClock{})} }

func (p plant) Usage(id qube.UUID) qube.Usage {
	now, err := p.State(context.Background(), id)
	if err != nil || now.State == qube.Halted {
		return p.Driver.Usage(id)
	}
	return qube.Usage{MemoryKiB: 409600, CPUNanos: 123456789, VCPUs: 2}
}

// RequestShutdown asks a guest that does not hear.
func (p plant) RequestShutdown(context.Context, qube.UUID) error { return nil }

// setUp does in the server what step number n wants done there. The daemon notices by itself.
func (p plant) setUp(t *testing.T, book qube.Book, call func([]byte) []byte, n int, what string) {
	name, state, ok := strings.Cut(what, " is ")
	if !ok {
		name, state, ok = strings.Cut(what, " provides network, ")
		call(messages.FormatRequest("admin.vm.property.Set+provides_network", "dom0", name, []byte("True")))
	}
	require.True(t, ok, "nobody has taught this test to see to it that %s", what)
	named := func() qube.Qube {
		parsed, err := qube.ParseName(name)
		require.NoError(t, err)
		q, there := book.View().Qube(parsed)
		require.True(t, there, name)
		return q
	}
	now := qube.Runtime{State: qube.PowerState(state)}
	if now.State != qube.Halted {
		now.XID, now.Console, now.Started = n+1, "/dev/pts/3", time.Unix(int64(n), 0).UTC()
	}
	p.Put(lifecycle.DomainOf(book.View(), named()), now)
	assert.Eventually(t, func() bool { return named().Runtime() == now }, time.Minute, time.Millisecond, what)
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }
func (wallClock) AfterFunc(d time.Duration, fn func()) func() bool {
	return time.AfterFunc(d, fn).Stop
}
