package preload_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/preload"
)

// kept is a desk on which refills are carried out, and when they are ordered is noted.
type kept struct {
	*desk
	mu     sync.Mutex // as the ledger lets one change be made at a time
	began  time.Time
	orders []time.Duration
}

func (k *kept) Change(ctx context.Context, change func(qube.Tx) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.desk.Change(ctx, change)
}

func (k *kept) Order(ctx context.Context, o messages.Order) (messages.Reply, error) {
	if o.Kind != messages.DisposablePreload {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.desk.Order(ctx, o)
	}
	k.mu.Lock()
	k.orders = append(k.orders, time.Since(k.began))
	k.mu.Unlock()
	work, err := preload.Worker{}.Begin(o, k)
	require.NoError(k.t, err)
	return work(ctx)
}

// keeping has disposables kept for a while of virtual time, and then calls check; until is called in the middle of it.
func keeping(t *testing.T, d *desk, before, after time.Duration, between func(*kept)) *kept {
	k := &kept{desk: d}
	synctest.Test(t, func(t *testing.T) {
		k.began = time.Now()
		ctx, stop := context.WithCancel(t.Context())
		ready := make(chan struct{})
		ended := make(chan error)
		go func() { ended <- preload.Worker{}.Attend(ctx, k, func() { close(ready) }) }()
		<-ready
		time.Sleep(before)
		synctest.Wait()
		between(k)
		time.Sleep(after)
		synctest.Wait()
		stop()
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
	return k
}

// TestDisposablesAreKept: as many wait as shall, some seconds after the wish, or after one was used.
func TestDisposablesAreKept(t *testing.T) {
	d := newDesk(t, "2")
	d.feature("dvm", action.PreloadDelay, "5")
	k := keeping(t, d, 20*time.Second, 20*time.Second, func(k *kept) {
		k.mu.Lock()
		defer k.mu.Unlock()
		require.Len(t, k.list(action.PreloadCompleted), 2)
		first := k.list(action.PreloadCompleted)[0]
		given, err := k.do(preload.Take(k.book.View(), k.qube("dvm"), k.qube("dom0"), false))
		require.NoError(t, err)
		assert.Equal(t, first, given, "the oldest")
		assert.Len(t, k.list(action.PreloadCompleted), 1)
	})
	assert.Len(t, k.list(action.PreloadCompleted), 2)
	require.Len(t, k.orders, 2, "and no refill for nothing")
	assert.GreaterOrEqual(t, k.orders[0], 5*time.Second)
	assert.Less(t, k.orders[0], 8*time.Second)
	assert.GreaterOrEqual(t, k.orders[1], 25*time.Second)
}

// TestWhatCannotBeKept is tried again after ever longer pauses.
func TestWhatCannotBeKept(t *testing.T) {
	d := newDesk(t, "1")
	d.feature("dvm", action.PreloadDelay, "0")
	d.fails[messages.QubeStart] = exception.New(exception.QubesException, "it does not start")
	k := keeping(t, d, time.Minute, time.Minute, func(*kept) {})
	assert.Empty(t, k.list(action.PreloadWaiting))
	assert.Greater(t, len(k.orders), 3)
	assert.Less(t, len(k.orders), 10)
	for i := 2; i < len(k.orders); i++ {
		assert.Greater(t, k.orders[i]-k.orders[i-1], k.orders[i-1]-k.orders[i-2]-2*time.Second)
	}
}

// TestWhatWasInProgress when the daemon was killed, however far it had got, is discarded, and others are made.
func TestWhatWasInProgress(t *testing.T) {
	for _, state := range []qube.PowerState{qube.Halted, qube.Running, qube.Paused} {
		d := newDesk(t, "1")
		d.feature("dvm", action.PreloadDelay, "0")
		require.NoError(t, d.refill())
		before := d.list(action.PreloadWaiting)[0]
		d.feature("dvm", action.PreloadCompleted, "")
		d.feature("dvm", action.PreloadInProgress, before)
		require.NoError(t, d.Change(context.Background(), func(tx qube.Tx) error {
			return tx.SetRuntime(d.qube(before).ID(), qube.Runtime{State: state})
		}))
		keeping(t, d, 10*time.Second, 0, func(*kept) {})
		assert.Len(t, d.list(action.PreloadCompleted), 1, state)
		assert.NotContains(t, d.disposables(), before, state)
		assert.Empty(t, d.list(action.PreloadInProgress), state)
		assert.Equal(t, d.disposables(), d.list(action.PreloadWaiting), state)
	}
}
