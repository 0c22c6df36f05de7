package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"sallyport/internal/testpty"
)

// hostile is a server at a socket that answers each second call with an exception of another type, which a terminal would
// obey.
func hostile(t *testing.T) (path string) {
	dir, err := os.MkdirTemp("", "load") // t.TempDir is too long for the name of a socket
	require.NoError(t, err)
	path = filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	var calls atomic.Int64
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				if _, err := io.Copy(io.Discard, conn); err != nil {
					return
				}
				reply := "0\x00"
				if n := calls.Add(1); n%2 == 0 {
					reply = fmt.Sprintf("2\x00\x1b]0;evil%d\x07\x00\x00no\x00", n)
				}
				_, _ = io.WriteString(conn, reply)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
		_ = os.RemoveAll(dir)
	})
	return path
}

// onTerminal begins a load of an hour, that somebody looks at, unless the words say something else.
func onTerminal(t *testing.T, terminal *testpty.Terminal, stdout *os.File, env []string, words ...string) *exec.Cmd {
	t.Helper()
	words = append([]string{"load", "run", "--socket", hostile(t), "--rate", "100", "--duration", "1h", "--max-lag", "10m", "admin.vm.List"}, words...)
	tool := exec.Command("sallyport", words...)
	tool.Stdin, tool.Stdout, tool.Stderr = terminal.File, stdout, terminal.File
	tool.Env = append(os.Environ(), append([]string{"TERM=xterm-256color", "NO_COLOR="}, env...)...)
	tool.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, tool.Start())
	t.Cleanup(func() { _ = tool.Process.Kill() })
	return tool
}

// left is what was written after the screen was given back; that is to be the last of the picture.
func left(t *testing.T, terminal *testpty.Terminal) string {
	t.Helper()
	_, err := terminal.File.WriteString("and what comes then")
	require.NoError(t, err)
	terminal.Await(t, "and what comes then")
	out := terminal.Output()
	assert.Equal(t, 1, strings.Count(out, "\x1b[?1049h"), "a screen of its own")
	assert.Equal(t, 1, strings.Count(out, "\x1b[?1049l"), "the screen that was")
	_, after, _ := strings.Cut(out, "\x1b[?1049l")
	assert.Greater(t, strings.LastIndex(out, "\x1b[?25h"), strings.LastIndex(out, "\x1b[?25l"), "the cursor is there")
	assert.NotContains(t, out, "\x1b]0;")
	return after
}

// TestLoadOnATerminal: a picture while it runs; when somebody ends it, whichever way, the summary, and the terminal as it
// was. No other program is run for it, such as tmux to ask for colours: that would disturb what is measured.
func TestLoadOnATerminal(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tmux"), []byte("#!/bin/sh\n>"+dir+"/asked\n"), 0o755))
	t.Cleanup(func() { assert.NoFileExists(t, filepath.Join(dir, "asked")) })
	for name, end := range map[string]func(*testpty.Terminal, *exec.Cmd){
		"Ctrl-C":  func(terminal *testpty.Terminal, _ *exec.Cmd) { terminal.Press(t, "\x03") },
		"q":       func(terminal *testpty.Terminal, _ *exec.Cmd) { terminal.Press(t, "q") },
		"SIGINT":  func(_ *testpty.Terminal, tool *exec.Cmd) { assert.NoError(t, tool.Process.Signal(syscall.SIGINT)) },
		"SIGTERM": func(_ *testpty.Terminal, tool *exec.Cmd) { assert.NoError(t, tool.Process.Signal(syscall.SIGTERM)) },
	} {
		t.Run(name, func(t *testing.T) {
			terminal := testpty.Open(t, 80, 24)
			before := terminal.Modes(t)
			stdout, err := os.Create(filepath.Join(t.TempDir(), "out"))
			require.NoError(t, err)
			defer stdout.Close()
			env := []string{"TMUX=somewhere", "PATH=" + dir + ":" + os.Getenv("PATH")}
			if name == "q" {
				env = append(env, "NO_COLOR=yes")
			}
			tool := onTerminal(t, terminal, stdout, env)
			terminal.Await(t, "as expected")
			terminal.Await(t, "(a name that is longer than") // the types
			assert.NotEqual(t, before, terminal.Modes(t))
			end(terminal, tool)
			require.NoError(t, tool.Wait())
			assert.Equal(t, before, terminal.Modes(t))
			assert.NotContains(t, left(t, terminal), "p99")
			assert.Equal(t, name != "q", strings.Contains(terminal.Output(), "\x1b[32m"), "colour")
			summary, err := os.ReadFile(stdout.Name())
			require.NoError(t, err)
			assert.Contains(t, string(summary), "exception (a name that is longer than 256 bytes or cannot be printed)")
			assert.NotContains(t, string(summary), "\x1b")
		})
	}
}

// TestASecondCtrlCEndsAtOnce, here while the summary waits for somebody who does not read it.
func TestASecondCtrlCEndsAtOnce(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	terminal := testpty.Open(t, 80, 24)
	before := terminal.Modes(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, size))
	require.NoError(t, err)
	tool := onTerminal(t, terminal, w, nil)
	terminal.Await(t, "under way")
	terminal.Press(t, "\x03")
	terminal.Await(t, "\x1b[?1049l")
	ended := make(chan error, 1)
	go func() { ended <- tool.Wait() }()
	for waiting := true; waiting; {
		select {
		case err = <-ended:
			waiting = false
		case <-time.After(50 * time.Millisecond): // the first may come before the terminal is what it was
			terminal.Press(t, "\x03")
		}
	}
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, syscall.SIGINT, exit.Sys().(syscall.WaitStatus).Signal())
	assert.Equal(t, before, terminal.Modes(t))
	left(t, terminal)
}

// TestLoadInLines, of a terminal that shows no pictures, is not to, or is somebody else's at the time.
func TestLoadInLines(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	for name, tool := range map[string]func(*testpty.Terminal) *exec.Cmd{
		"--plain": func(terminal *testpty.Terminal) *exec.Cmd { return onTerminal(t, terminal, nil, nil, "--plain") },
		"dumb":    func(terminal *testpty.Terminal) *exec.Cmd { return onTerminal(t, terminal, nil, []string{"TERM=dumb"}) },
	} {
		t.Run(name, func(t *testing.T) {
			terminal := testpty.Open(t, 80, 24)
			before := terminal.Modes(t)
			tool := tool(terminal)
			terminal.Await(t, "1 of 3600 s: ")
			terminal.Await(t, "exceptions: (a name that is longer than 256 bytes or cannot be printed)")
			assert.Equal(t, before, terminal.Modes(t))
			terminal.Press(t, "\x03")
			require.NoError(t, tool.Wait())
			assert.NotContains(t, terminal.Output(), "\x1b")
		})
	}
	t.Run("in the background", func(t *testing.T) {
		terminal := testpty.Open(t, 80, 24)
		shell := exec.Command("sh", "-mc", `sallyport load run --socket "$0" --rate 100 --duration 1500ms --max-lag 10m admin.vm.List >/dev/null & wait`, hostile(t))
		shell.Env = append(os.Environ(), "TERM=xterm-256color")
		shell.Stdin, shell.Stderr = terminal.File, terminal.File
		shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		require.NoError(t, shell.Run())
		terminal.Await(t, "1 of 2 s: ")
		assert.NotContains(t, terminal.Output(), "\x1b")
	})
}
