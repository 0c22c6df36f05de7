package actors

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sallyport/messages"
	"sallyport/stages"
)

// live is a daemon on real sockets. Its clock stands still until a test moves it.
type live struct {
	*Daemon
	t     testing.TB
	log   *journal
	book  *book
	clock *clock

	hurried bool // it was closed without the time that it needs
}

// serve starts one, which ends with the test: without an error, and without having told what clients sent.
func serve(t testing.TB, change func(*Settings)) *live {
	l := &live{t: t, log: &journal{}, book: newBook(), clock: &clock{now: time.Unix(1_000_000_000, 0)}}
	settings := base(l.log)
	settings.Book, settings.Clock, settings.Sockets = bookView{l.book}, l.clock, sockets(t)
	change(&settings)
	var err error
	l.Daemon, err = Start(settings)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.Close(ctx); !l.hurried {
			assert.NoError(t, err)
		}
		discreet(t, l.log)
	})
	return l
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// sockets are paths in a directory of the test's, whose name is short enough for a socket.
func sockets(t testing.TB) map[stages.Socket]string {
	dir, err := os.MkdirTemp("", "actors")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return map[stages.Socket]string{
		stages.Admin: filepath.Join(dir, "admin"), stages.Internal: filepath.Join(dir, "internal"), stages.Misc: filepath.Join(dir, "misc"),
	}
}

// client is one connection.
type client struct {
	*net.UnixConn
	t testing.TB
}

func (l *live) dial(s stages.Socket) *client {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: l.Sockets()[s]})
	require.NoError(l.t, err)
	require.NoError(l.t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{conn, l.t}
}

// send writes b; the daemon may have closed already, having said why.
func (c *client) send(b []byte) *client {
	_, _ = c.Write(b)
	return c
}

// end closes the client's side: the request is whole.
func (c *client) end() *client {
	_ = c.CloseWrite()
	return c
}

// frame is all that the daemon says until it closes, which it does without an error.
func (c *client) frame() []byte {
	defer c.Close()
	b, err := io.ReadAll(c)
	assert.NoError(c.t, err)
	return b
}

func (c *client) answer() messages.Answer {
	b := c.frame()
	a, err := messages.ParseAnswer(b)
	assert.NoError(c.t, err, "%q", b)
	return a
}

// taken waits until the daemon has read all that was sent.
func (c *client) taken() { until(c.t, func() bool { return c.bytes(unix.SIOCOUTQ) == 0 }) }

// answered waits until the daemon has begun to answer.
func (c *client) answered() { until(c.t, func() bool { return c.bytes(unix.SIOCINQ) > 0 }) }

// bytes is how many the kernel holds for one side or the other.
func (c *client) bytes(request uint) (n int) {
	raw, err := c.SyscallConn()
	require.NoError(c.t, err)
	require.NoError(c.t, raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), request) }))
	return n
}

func (l *live) raw(request string) messages.Answer {
	return l.dial(stages.Admin).send([]byte(request)).end().answer()
}

func (l *live) call(method, dest, payload string) messages.Answer {
	return l.raw(string(messages.FormatRequest(method, "dom0", dest, []byte(payload))))
}

// until waits for what the kernel, or a goroutine that nobody can wait for, will do.
func until(t testing.TB, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); runtime.Gosched() {
		require.False(t, time.Now().After(deadline), "it never happened")
	}
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

// clock is a Clock that a test moves.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]bool
}

type timer struct {
	at time.Time
	fn func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) AfterFunc(d time.Duration, fn func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{c.now.Add(d), fn}
	if c.timers == nil {
		c.timers = map[*timer]bool{}
	}
	c.timers[t] = true
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		set := c.timers[t]
		delete(c.timers, t)
		return set
	}
}

// advance moves the time, and returns when what was due has run.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due sync.WaitGroup
	for t := range c.timers {
		if !t.at.After(c.now) {
			delete(c.timers, t)
			due.Go(t.fn)
		}
	}
	c.mu.Unlock()
	due.Wait()
}
