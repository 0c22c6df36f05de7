package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
)

// TestTools runs testdata/tools: for each of the reference's command-line tools, the calls that it makes, in their order
// (spec: client-sequences.md), of a daemon that is a process of its own. Every reply is read as the reference's client
// reads it, and a script fails where that client would. The scripts can be read as a manual of what tools ask of a daemon.
// There is
//
//	sallyportd INVENTORY                start a daemon, of the system that this file describes
//	calls METHOD DEST [PAYLOAD]         do "sallyport call METHOD DEST", which must succeed
//	refused TYPE METHOD DEST [PAYLOAD]  do the same, which must end with an exception of that type
//	reads LINE...                       what the client understood of the last reply is this, and nothing else
//	shows LINE...                       what it understood has these lines
//	lacks LINE...                       what it understood has none of these lines
//	keeps NAME                          $NAME is the content of the last reply; $LF is a line feed
//	follows DEST                        follow the events of DEST from here on
//	sees EVENT...                       wait until these have come, in this order, whatever else comes between
//
// A client understands "NAME CLASS STATE" of a qube that is listed, "- TYPE VALUE" of a property that was set,
// "D TYPE VALUE" of a default, "U TYPE" of one without a value, and of everything else its lines.
func TestTools(t *testing.T) {
	daemon := buildDaemon(t)
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/tools",
			Setup: func(e *testscript.Env) error {
				e.Values[sessionKey{}] = &session{binary: daemon}
				e.Setenv("LF", "\n")
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"sallyportd": inSession((*session).sallyportd),
				"calls":      inSession((*session).calls),
				"refused":    inSession((*session).refused),
				"reads":      inSession((*session).reads),
				"shows":      inSession((*session).shows),
				"lacks":      inSession((*session).lacks),
				"keeps":      inSession((*session).keeps),
				"follows":    inSession((*session).follows),
				"sees":       inSession((*session).sees),
			},
		})
	})
	t.Run("every reply", func(t *testing.T) { testEveryReply(t, daemon) })
}

// buildDaemon compiles the daemon, with the race detector if these tests have it.
func buildDaemon(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sallyportd")
	args := []string{"build", "-buildvcs=false", "-o", path}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "sallyport/cmd/sallyportd")...).CombinedOutput()
	require.NoError(t, err, "go build: %s", out)
	return path
}

// daemon is a running sallyportd.
type daemon struct {
	socket string
	cmd    *exec.Cmd
	log    bytes.Buffer  // whole once it has ended
	ended  chan struct{} // closed when it has
}

// patience is how long a test waits for what another process does, before it fails.
const patience = 30 * time.Second

// startDaemon starts a daemon of the system that a file describes, in dir, and waits until it is ready.
func startDaemon(binary, dir, inventory string) (*daemon, error) {
	sockets, err := os.MkdirTemp("", "sp") // a short path: the kernel allows no long one for a socket
	if err != nil {
		return nil, err
	}
	d := &daemon{socket: filepath.Join(sockets, "qubesd.sock"), ended: make(chan struct{})}
	d.cmd = exec.Command(binary, "--socket-dir", sockets, "--state-dir", filepath.Join(dir, "state"), "--inventory", inventory)
	d.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // a second otherwise, of each daemon
	stderr, err := d.cmd.StderrPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		_ = os.RemoveAll(sockets)
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(d.ended)
		defer func() { _ = os.RemoveAll(sockets) }()
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for isReady := false; lines.Scan(); {
			d.log.Write(append(lines.Bytes(), '\n'))
			if !isReady && bytes.Contains(lines.Bytes(), []byte(`"event.name":"ready"`)) {
				isReady = true
				close(ready)
			}
		}
		_ = d.cmd.Wait()
	}()
	select {
	case <-ready:
		return d, nil
	case <-d.ended:
		return nil, fmt.Errorf("the daemon did not get ready:\n%s", &d.log)
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-d.ended
		return nil, fmt.Errorf("the daemon did not get ready in time:\n%s", &d.log)
	}
}

// stop ends the daemon. It is an error if that fails, or anything crashed while it ran.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 || bytes.Contains(d.log.Bytes(), []byte("actor.crashed")) {
		return fmt.Errorf("the daemon ended with %d, or something crashed in it:\n%s", code, &d.log)
	}
	return nil
}

// session is what a script has going on.
type session struct {
	binary     string
	daemon     *daemon
	content    string   // of the last reply
	understood []string // of it
	events     *events
}

type sessionKey struct{}

// inSession makes a command of a method.
func inSession(do func(*session, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("there is no ! form of this")
		}
		do(ts.Value(sessionKey{}).(*session), ts, args)
	}
}

func (s *session) sallyportd(ts *testscript.TestScript, args []string) {
	if len(args) != 1 || s.daemon != nil {
		ts.Fatalf("usage: sallyportd INVENTORY, once")
	}
	d, err := startDaemon(s.binary, ts.Getenv("WORK"), ts.MkAbs(args[0]))
	ts.Check(err)
	s.daemon = d
	ts.Defer(func() {
		if s.events != nil {
			s.events.stop()
		}
		ts.Check(d.stop())
	})
}

// call does "sallyport call", in this process: to start one for each of some hundred calls would take most of the time.
func (s *session) call(ts *testscript.TestScript, args []string) (stdout, stderr string, code int) {
	if len(args) != 2 && len(args) != 3 || s.daemon == nil {
		ts.Fatalf("expected METHOD DEST [PAYLOAD], and a daemon")
	}
	paths := [3]string{ts.MkAbs("call.stdin"), ts.MkAbs("call.stdout"), ts.MkAbs("call.stderr")}
	contents := [3]string{append(args, "")[2]}
	var files [3]*os.File
	for i, path := range paths {
		ts.Check(os.WriteFile(path, []byte(contents[i]), 0o600))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		ts.Check(err)
		defer func() { _ = f.Close() }()
		files[i] = f
	}
	code = run([]string{"call", "--socket", s.daemon.socket, args[0], args[1]}, ts.Getenv, files[0], files[1], files[2])
	return ts.ReadFile(paths[1]), ts.ReadFile(paths[2]), code
}

func (s *session) calls(ts *testscript.TestScript, args []string) {
	stdout, stderr, code := s.call(ts, args)
	if code != 0 {
		ts.Fatalf("ended with %d: %s", code, stderr)
	}
	understood, err := read(args[0], []byte(stdout))
	ts.Check(err)
	s.content, s.understood = stdout, understood
}

func (s *session) refused(ts *testscript.TestScript, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: refused TYPE METHOD DEST [PAYLOAD]")
	}
	stdout, stderr, code := s.call(ts, args[1:])
	switch {
	case code != exitException:
		ts.Fatalf("ended with %d: %s%s", code, stderr, stdout)
	case !strings.HasPrefix(stderr, args[0]+": "):
		ts.Fatalf("refused otherwise: %s", stderr)
	case strings.Contains(stderr, "clients fail to show this"):
		ts.Fatalf("the client fails to format this: %s", stderr)
	}
}

func (s *session) reads(ts *testscript.TestScript, lines []string) {
	if !slices.Equal(s.understood, lines) {
		ts.Fatalf("it reads\n\t%s", strings.Join(s.understood, "\n\t"))
	}
}

func (s *session) shows(ts *testscript.TestScript, lines []string) {
	for _, line := range lines {
		if !slices.Contains(s.understood, line) {
			ts.Fatalf("no %q in\n\t%s", line, strings.Join(s.understood, "\n\t"))
		}
	}
}

func (s *session) lacks(ts *testscript.TestScript, lines []string) {
	for _, line := range lines {
		if slices.Contains(s.understood, line) {
			ts.Fatalf("%q is in\n\t%s", line, strings.Join(s.understood, "\n\t"))
		}
	}
}

func (s *session) keeps(ts *testscript.TestScript, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: keeps NAME")
	}
	ts.Setenv(args[0], s.content)
}

// events are what "sallyport call --follow admin.Events" shows.
type events struct {
	lines <-chan string
	stop  func()
}

func followEvents(socket, dest string) (*events, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	lines := make(chan string)
	var running sync.WaitGroup
	running.Go(func() {
		_ = follow(ctx, callOptions{socket: socket}, messages.FormatRequest("admin.Events+", "dom0", dest, nil), w)
		_ = w.Close()
	})
	running.Go(func() {
		defer close(lines)
		for shown := bufio.NewScanner(r); shown.Scan(); {
			select {
			case lines <- shown.Text():
			case <-ctx.Done():
			}
		}
		_ = r.Close()
	})
	return &events{lines, func() { cancel(); running.Wait() }}, nil
}

// wait waits until event has come.
func (e *events) wait(event string) error {
	late := time.After(patience)
	var others []string
	for {
		select {
		case line, more := <-e.lines:
			if line == event {
				return nil
			}
			if !more {
				return fmt.Errorf("the events end without %q after %q", event, others)
			}
			others = append(others, line)
		case <-late:
			return fmt.Errorf("no %q, but %q", event, others)
		}
	}
}

func (s *session) follows(ts *testscript.TestScript, args []string) {
	if len(args) != 1 || s.daemon == nil || s.events != nil {
		ts.Fatalf("usage: follows DEST, once, and of a daemon")
	}
	var err error
	s.events, err = followEvents(s.daemon.socket, args[0])
	ts.Check(err)
	ts.Check(s.events.wait("- connection-established"))
}

func (s *session) sees(ts *testscript.TestScript, args []string) {
	if s.events == nil {
		ts.Fatalf("follows comes before sees")
	}
	for _, event := range args {
		ts.Check(s.events.wait(event))
	}
}
