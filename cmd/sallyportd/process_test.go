package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/messages"
)

// These tests run the daemon as a process of its own: this test binary, told by its environment to be the daemon.
const beDaemon = "SALLYPORTD_TEST_MAIN"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(beDaemon) != "":
		main()
	case os.Getenv(beClient) != "":
		client(os.Args[1:])
	}
	goleak.VerifyTestMain(m)
}

// long reports whether tests shall take their time.
func long() bool { return os.Getenv("SALLYPORT_LONG") != "" }

// process is a running daemon.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	socket string
	stderr io.ReadCloser
	exited chan struct{}

	mu    sync.Mutex
	lines []logLine
	raw   bytes.Buffer // all that it wrote to standard error
}

type logLine map[string]any

func (l logLine) text(key string) string { s, _ := l[key].(string); return s }

// start runs the daemon with args, wrapped by the command before, if any, and waits until it is ready.
func start(t *testing.T, before []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	sockets := shortDir(t)
	line := append(append(before, self, "--socket-dir", sockets), args...)
	p := &process{t: t, cmd: exec.Command(line[0], line[1:]...), socket: filepath.Join(sockets, "qubesd.sock"), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), beDaemon+"=1", "TMPDIR="+shortDir(t)) // of which a killed demo leaves something
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.stderr = stderr
	ready := make(chan struct{})
	go p.read(stderr, ready)
	t.Cleanup(func() { p.kill() })
	select {
	case <-ready:
	case <-p.exited:
		t.Fatalf("the daemon ended before it was ready: %s", p.output())
	case <-time.After(time.Minute):
		t.Fatalf("the daemon did not get ready: %s", p.output())
	}
	return p
}

// shortDir is a directory whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "sp")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// read takes the log in, until the process has ended.
func (p *process) read(stderr io.Reader, ready chan struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l logLine
		_ = json.Unmarshal(lines.Bytes(), &l) // what is no JSON is only in raw
		p.mu.Lock()
		p.raw.Write(lines.Bytes())
		p.raw.WriteByte('\n')
		p.lines = append(p.lines, l)
		p.mu.Unlock()
		if l.text("event.name") == "ready" {
			close(ready)
		}
	}
	_ = p.cmd.Wait()
	close(p.exited)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.raw.String()
}

// events are the lines about what so far.
func (p *process) events(what string) []logLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []logLine
	for _, l := range p.lines {
		if l.text("event.name") == what {
			found = append(found, l)
		}
	}
	return found
}

// kill ends the process without giving it a chance to say goodbye.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// terminate asks the daemon to end, and gives its exit code.
func (p *process) terminate() int {
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Error("the daemon does not end")
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// call asks the daemon, as dom0. An error says that it did not answer.
func (p *process) call(method, dest, payload string) (messages.Answer, error) {
	return callOn(p.socket, method, dest, payload)
}

var errNoAnswer = errors.New("no answer")

func callOn(socket, method, dest, payload string) (messages.Answer, error) {
	return send(socket, messages.FormatRequest(method, "dom0", dest, []byte(payload)))
}

// send sends a request, and reads the answer.
func send(socket string, request []byte) (messages.Answer, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return messages.Answer{}, err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(request); err != nil {
		return messages.Answer{}, err
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return messages.Answer{}, err
	}
	frame, err := io.ReadAll(conn)
	if err != nil {
		return messages.Answer{}, err
	}
	if len(frame) == 0 {
		return messages.Answer{}, errNoAnswer
	}
	return messages.ParseAnswer(frame)
}

// must is call for what has to succeed.
func (p *process) must(method, dest, payload string) string {
	p.t.Helper()
	a, err := p.call(method, dest, payload)
	require.NoError(p.t, err, method)
	require.Empty(p.t, a.Type, "%s: %v %v", method, a.Format, a.Fields)
	return string(a.Content)
}

// inventoryOf writes an inventory file of qubes named q0, q1 and so on.
func inventoryOf(t *testing.T, qubes int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("version: 1\nqubes:\n")
	for i := range qubes {
		b.WriteString("  - {name: " + name(i) + ", class: StandaloneVM, features: {there: before}}\n")
	}
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}
