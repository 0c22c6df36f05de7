package actors

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/stages"
)

func inMode(t *testing.T, path string) os.FileMode {
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Mode()
}

// TestSockets are spec: wire.md 1: for owner and group, and gone when the daemon is.
func TestSockets(t *testing.T) {
	l := serve(t, plainly)
	for _, path := range l.Sockets() {
		assert.Equal(t, os.ModeSocket|0o770, inMode(t, path))
	}
	assert.NoError(t, l.Close(context.Background()))
	for _, path := range l.Sockets() {
		assert.NoFileExists(t, path)
	}
}

// TestAStaleSocket is left of a daemon that was killed. It is replaced.
func TestAStaleSocket(t *testing.T) {
	paths := sockets(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: paths[stages.Admin]})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	require.FileExists(t, paths[stages.Admin])

	l := serve(t, func(s *Settings) { s.Sockets = paths })
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""))
}

// TestALiveSocket belongs to another daemon, which is left in peace; so is everything that was opened before it was found.
func TestALiveSocket(t *testing.T) {
	l := serve(t, plainly)
	settings, others := base(&journal{}), sockets(t)
	settings.Sockets = map[stages.Socket]string{stages.Admin: others[stages.Admin], stages.Misc: l.Sockets()[stages.Misc]}
	before := descriptors(t)
	_, err := Start(settings)
	assert.ErrorIs(t, err, ErrExists)
	assert.ErrorContains(t, err, l.Sockets()[stages.Misc])
	until(t, func() bool { return descriptors(t) == before }) // the other has seen somebody knock
	assert.NoFileExists(t, others[stages.Admin])
	assert.Equal(t, ok("a "), l.dial(stages.Misc).send([]byte("test.Misc+a dom0 name work\x00")).end().answer())
}

// TestAFileInTheWay that is no socket is somebody's, and stays.
func TestAFileInTheWay(t *testing.T) {
	settings := base(&journal{})
	settings.Sockets = sockets(t)
	path := settings.Sockets[stages.Internal]
	for _, put := range []func() error{
		func() error { return os.WriteFile(path, []byte("mine"), 0o600) },
		func() error { return os.Symlink("elsewhere", path) },
		func() error { return os.Mkdir(path, 0o700) },
	} {
		require.NoError(t, put())
		mode := inMode(t, path)
		_, err := Start(settings)
		assert.ErrorContains(t, err, path+": exists, and is no socket")
		assert.Equal(t, mode, inMode(t, path))
		require.NoError(t, os.Remove(path))
	}
}

// TestClose: what has arrived is finished, what has not is told at once, and nothing is left.
func TestClose(t *testing.T) {
	serve(t, plainly).call("test.Echo", "work", "") // opens what the runtime keeps
	before := descriptors(t)
	begun, gate := make(chan bool), make(chan bool)
	l := serve(t, func(s *Settings) {
		s.Worker = doer(func(o messages.Order) (func(context.Context) (messages.Reply, error), error) {
			return func(context.Context) (messages.Reply, error) {
				begun <- true
				<-gate
				return messages.Text("done"), nil
			}, nil
		})
	})
	half := l.dial(stages.Admin).send([]byte("test.Echo dom0 name work\x00"))
	half.taken()
	silent := l.dial(stages.Misc)
	until(t, func() bool { return l.waiting() == 2 })
	long := l.dial(stages.Admin).send([]byte("test.Long dom0 name work\x00")).end()
	long.answered()
	until(t, func() bool { return l.waiting() == 3 })
	working := l.dial(stages.Admin).send([]byte("test.Work dom0 name work\x00")).end()
	<-begun

	closed := make(chan error)
	go func() { closed <- l.Close(context.Background()) }()
	assert.Equal(t, answerOf(errStopping), half.answer())
	assert.Equal(t, answerOf(errStopping), silent.answer())
	assert.Equal(t, longText, string(long.answer().Content), "a reply is taken to its end")
	select {
	case <-closed:
		assert.Fail(t, "it did not wait for the call at work")
	default:
	}
	gate <- true
	assert.Equal(t, ok("done"), working.answer())
	assert.NoError(t, <-closed)
	assert.Zero(t, l.Stats().Open)
	assert.Equal(t, before, descriptors(t))
	assert.NoError(t, l.Close(context.Background()), "once more does no harm")
}

// TestCloseInTime: when the time to close is up, calls that still work are answered as well.
func TestCloseInTime(t *testing.T) {
	begun := make(chan bool)
	l := serve(t, func(s *Settings) {
		s.Worker = doer(func(o messages.Order) (func(context.Context) (messages.Reply, error), error) {
			return func(ctx context.Context) (messages.Reply, error) {
				begun <- true
				<-ctx.Done()
				return messages.Empty, ctx.Err()
			}, nil
		})
	})
	l.call("test.Echo", "work", "")
	before := descriptors(t)
	var clients []*client
	for range 5 {
		clients = append(clients, l.dial(stages.Admin).send([]byte("test.Work dom0 name work\x00")).end())
	}
	until(t, func() bool { return l.Stats().Open == 5 })
	<-begun
	soon, cancel := context.WithCancel(context.Background())
	cancel()
	l.hurried = true
	assert.ErrorIs(t, l.Close(soon), context.Canceled)
	assert.Zero(t, l.Stats().Open, "all has been written")
	for _, c := range clients {
		assert.Equal(t, answerOf(errStopping), c.answer())
	}
	assert.LessOrEqual(t, descriptors(t), before)
}

// TestCloseUnderLoad: whoever gets any answer gets a whole one.
func TestCloseUnderLoad(t *testing.T) {
	l := serve(t, plainly)
	var clients sync.WaitGroup
	calls := make(chan bool, 1<<20)
	for range 16 {
		clients.Go(func() {
			for {
				conn, err := net.Dial("unix", l.Sockets()[stages.Admin])
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte("test.Tag+a dom0 name work\x00"))
				_ = conn.(*net.UnixConn).CloseWrite()
				frame, _ := io.ReadAll(conn)
				if _, err := messages.ParseAnswer(frame); len(frame) > 0 {
					assert.NoError(t, err, "%q", frame)
				}
				_ = conn.Close()
				calls <- true
			}
		})
	}
	for range 200 {
		<-calls
	}
	assert.NoError(t, l.Close(context.Background()))
	clients.Wait()
	assert.Zero(t, l.Stats().Open)
	acknowledged := l.Stats().OK + l.Stats().Gone
	assert.LessOrEqual(t, int(l.Stats().OK), strings.Count(strings.Join(l.book.all(), " "), "a"))
	assert.GreaterOrEqual(t, int(acknowledged), 200)
}

func (b *book) all() (tags []string) {
	for _, g := range b.committed() {
		tags = append(tags, g...)
	}
	return tags
}

// TestCloseWithABacklog: who has connected before the daemon stops is heard, although nobody has accepted him yet.
func TestCloseWithABacklog(t *testing.T) {
	var held sync.RWMutex
	l := serve(t, func(s *Settings) { s.Clock = &holding{s.Clock.(*clock), &held} })
	held.Lock() // the next connection that is accepted waits for this, and all others for it
	var whole, half []*client
	for range 5 {
		whole = append(whole, l.dial(stages.Admin).send([]byte("test.Echo+a dom0 name work\x00")).end())
		half = append(half, l.dial(stages.Admin).send([]byte("test")))
	}
	closed := make(chan error)
	go func() { closed <- l.Close(context.Background()) }()
	until(t, func() bool { _, err := os.Lstat(l.Sockets()[stages.Admin]); return os.IsNotExist(err) })
	held.Unlock()
	for i := range whole {
		assert.Equal(t, ok("a "), whole[i].answer())
		assert.Equal(t, answerOf(errStopping), half[i].answer())
	}
	assert.NoError(t, <-closed)
}

// holding is a clock that does not answer while it is held.
type holding struct {
	*clock
	held *sync.RWMutex
}

func (c *holding) Now() time.Time {
	c.held.RLock()
	defer c.held.RUnlock()
	return c.clock.Now()
}

// TestNoDescriptorForAConnection: who comes when there is none waits, and is heard as soon as there is.
func TestNoDescriptorForAConnection(t *testing.T) {
	l := serve(t, plainly)
	l.call("test.Echo", "work", "")
	until(t, func() bool { return l.Stats().Open == 0 })
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	few := limit
	few.Cur = uint64(descriptors(t)) + 8
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	var fillers []int
	for {
		fd, err := unix.Dup(0)
		if err != nil {
			break
		}
		fillers = append(fillers, fd)
	}
	require.NoError(t, unix.Close(fillers[0])) // one is left, for the client
	c := l.dial(stages.Admin).send([]byte("test.Echo+a dom0 name work\x00")).end()
	until(t, func() bool { return len(l.log.lines(telemetry.Shed)) > 0 })
	for _, fd := range fillers[1:] {
		require.NoError(t, unix.Close(fd))
	}
	assert.Equal(t, ok("a "), c.answer())
}
