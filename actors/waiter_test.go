package actors

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"sallyport/internal/telemetry"
)

// TestAWaiterBeginsAnew after a crash of its goroutine, which the log has as the actor's, and tells health when there is
// nothing that could be waited for.
func TestAWaiterBeginsAnew(t *testing.T) {
	l := serve(t, plainly)
	ends := make(chan func() error, 1)
	defer close(ends)
	var began atomic.Int32
	l.startListener(&socket{name: "test"}, func() error {
		began.Add(1)
		if end := <-ends; end != nil {
			return end()
		}
		return nil
	})
	for i, end := range []func() error{func() error { panic(secret) }, func() error { runtime.Goexit(); return nil }} {
		ends <- end
		until(t, func() bool { return began.Load() == int32(i+2) })
	}
	crashes := l.log.lines(telemetry.ActorCrashed)
	assert.Equal(t, []any{"listener-test", "listener-test"}, column(crashes, telemetry.KeyActor))
	assert.Equal(t, []any{"listener", "listener"}, column(crashes, telemetry.KeyActorKind))
	healthy, _ := l.Healthy()
	assert.True(t, healthy)

	ends <- func() error { return errors.New("gone") }
	until(t, func() bool { healthy, _ := l.Healthy(); return !healthy })
	_, reason := l.Healthy()
	assert.Equal(t, "a socket accepts no more connections: gone", reason)
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""), "nobody else suffers")
}
