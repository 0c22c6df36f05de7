// Package testpty is a terminal for tests: what a program writes to it is kept, and keys can be pressed.
package testpty

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal. Its methods may be called concurrently.
type Terminal struct {
	File   *os.File // what a program has as its standard files
	master *os.File
	ended  chan struct{}

	mu  sync.Mutex
	out strings.Builder
}

// Open makes a terminal of that size, which is closed when the test ends. Nobody's modes change but its own.
func Open(t *testing.T, columns, rows uint16) *Terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	raw, err := master.SyscallConn() // Fd would make it block
	require.NoError(t, err)
	number := 0
	require.NoError(t, raw.Control(func(fd uintptr) {
		if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err == nil {
			err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		}
	}))
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	terminal := &Terminal{File: slave, master: master, ended: make(chan struct{})}
	go terminal.read()
	t.Cleanup(func() {
		_, _ = slave.Close(), master.Close()
		<-terminal.ended
	})
	return terminal
}

func (t *Terminal) read() {
	defer close(t.ended)
	b := make([]byte, 4096)
	for {
		n, err := t.master.Read(b)
		t.mu.Lock()
		t.out.Write(b[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Output is what was written so far.
func (t *Terminal) Output() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.String()
}

// Await waits until something was written.
func (t *Terminal) Await(tb testing.TB, text string) {
	tb.Helper()
	require.Eventually(tb, func() bool { return strings.Contains(t.Output(), text) }, time.Minute, 10*time.Millisecond, "%q was not written", text)
}

// Press presses keys.
func (t *Terminal) Press(tb testing.TB, keys string) {
	tb.Helper()
	_, err := t.master.WriteString(keys)
	require.NoError(tb, err)
}

// Modes are those that programs set, such as whether keys are shown.
func (t *Terminal) Modes(tb testing.TB) unix.Termios {
	tb.Helper()
	modes, err := unix.IoctlGetTermios(int(t.File.Fd()), unix.TCGETS)
	require.NoError(tb, err)
	return *modes
}

// Stop has the terminal take nothing more, as Ctrl-S does, until Go.
func (t *Terminal) Stop(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, unix.IoctlSetInt(int(t.File.Fd()), unix.TCXONC, unix.TCOOFF))
}

// Go has it take again what is written to it.
func (t *Terminal) Go(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, unix.IoctlSetInt(int(t.File.Fd()), unix.TCXONC, unix.TCOON))
}
