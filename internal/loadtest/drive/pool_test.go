package drive

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// TestClientsBesideWaitForAFullBacklog, too: it is the server's doing, and no want of this machine.
func TestClientsBesideWaitForAFullBacklog(t *testing.T) {
	path := socket(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0))
	first, err := net.Dial("unix", path) // there is room for no other
	require.NoError(t, err)
	defer first.Close()

	s := plain(scenario.Target{Socket: path}, scenario.Load{})
	s.Subscribers = []scenario.Subscribers{{Count: 3, Call: call("admin.Events"), For: time.Hour}}
	s.Timeout = 50 * time.Millisecond
	r, err := Run(t.Context(), s, Options{Threads: 1})
	require.NoError(t, err)
	assert.Equal(t, map[measure.Key]uint64{{Method: "admin.Events", Source: "dom0", Outcome: measure.Timeout}: 3}, counts(r))
	assert.Empty(t, r.Invalid)

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	came := make(chan error)
	go func() {
		conn, err := dialUnix(ctx, path)
		if err == nil {
			err = conn.Close()
		}
		came <- err
	}()
	conn, _, err := unix.Accept(fd)
	require.NoError(t, err)
	require.NoError(t, unix.Close(conn))
	assert.NoError(t, <-came, "there is room")
}
