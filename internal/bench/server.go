package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/internal/bench/terms"
)

// kind is a server to measure: a name and the command that starts it. In the command
//
//	{bin}        is where the benchmark builds plain, loadgen and sallyportd
//	{dir}        is a fresh folder, in which the command serves {dir}/qubesd.sock
//	{inventory}  is an inventory file of the qubes
//	{qubes}      is how many these are
//	{replies}    is a file of what another server answers to some calls (terms.Replies), or nothing
//	{policy}     is a directory of policy files
//	{http}       is a loopback address for /metrics and /debug/pprof
type kind struct {
	Name    string `json:"name"`
	Command string `json:"command"`
}

// The servers that are compared if nothing else is said; the first is the baseline.
var builtin = []kind{
	{"plain", "{bin}/plain --socket {dir}/qubesd.sock --qubes {qubes} --replies {replies} --http {http}"},
	{"warn", sallyportd + " --log-level warn"},
	{"info", sallyportd + " --log-level info"},
}

const sallyportd = "{bin}/sallyportd --socket-dir {dir} --state-dir {dir}/state --inventory {inventory} --policy-dir {policy} --http {http} --log-file {dir}/log"

// server is a running one.
type server struct {
	kind   kind
	dir    string
	socket string
	http   string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	stderr *os.File
	asked  uint64 // calls made to it
	logged uint64 // request.done lines in its log, counted when it stops
}

// startLimit bounds the wait for a server to answer its first call; loading 10,000 qubes is part of it.
const startLimit = time.Minute

// setup is what a server is started with.
type setup struct {
	qubes   int
	hang    bool   // to start a qube takes longer than anybody waits
	replies string // what {replies} stands for
	policy  string // what {policy} stands for; empty: an empty directory
}

// start starts a server of k in a fresh folder under root, and returns when it answers.
func start(ctx context.Context, root string, k kind, with setup) (*server, error) {
	dir, err := os.MkdirTemp(root, k.Name+"-")
	if err != nil {
		return nil, err
	}
	inventory, err := writeInventory(root, with)
	if err != nil {
		return nil, err
	}
	if with.policy == "" {
		with.policy = filepath.Join(root, "no-policy")
		if err := os.MkdirAll(with.policy, 0o755); err != nil {
			return nil, err
		}
	}
	addr, err := freeLoopback()
	if err != nil {
		return nil, err
	}
	s := &server{kind: k, dir: dir, socket: filepath.Join(dir, "qubesd.sock"), http: addr, exited: make(chan struct{})}
	fill := strings.NewReplacer("{bin}", filepath.Join(root, "bin"), "{dir}", dir, "{inventory}", inventory,
		"{qubes}", strconv.Itoa(with.qubes), "{replies}", with.replies, "{policy}", with.policy, "{http}", addr)
	args := strings.Fields(k.Command)
	for i := range args {
		args[i] = fill.Replace(args[i])
	}
	if s.stderr, err = os.Create(filepath.Join(dir, "stderr")); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = s.stderr, s.stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 10 * time.Second
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a server never outlives the benchmark
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", k.Name, err), s.stderr.Close())
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // how it ended is seen from what it answered
	}()
	if err := s.waitReady(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	return s, nil
}

// waitReady returns when the server has answered a call rightly.
func (s *server) waitReady(ctx context.Context) error {
	deadline := time.Now().Add(startLimit)
	for {
		answer, err := get(s.socket, 0)
		switch {
		case err == nil && answer == "0\x00"+terms.Value(0):
			s.asked++
			return nil
		case err == nil:
			return fmt.Errorf("its first answer was %q", answer)
		case time.Now().After(deadline):
			return fmt.Errorf("no answer in %v: %w", startLimit, err)
		}
		select {
		case <-s.exited:
			out, _ := os.ReadFile(s.stderr.Name())
			return fmt.Errorf("it ended before it answered: %s", strings.TrimSpace(string(out[max(0, len(out)-2000):])))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// get asks for the feature of qube i.
func get(socket string, i int) (string, error) {
	return ask(socket, terms.Request("admin.vm.feature.Get+"+terms.Feature, terms.Qube(i)))
}

// ask makes a call, and gives its answer, whatever that is.
func ask(socket string, request []byte) (string, error) {
	conn, err := send(socket, request)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// send begins a call.
func send(socket string, request []byte) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if _, err = conn.Write(request); err == nil {
		err = conn.CloseWrite()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// stop ends the server, counts what it logged, and removes its folder.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.stderr.Close()
	if f, err := os.Open(filepath.Join(s.dir, "log")); err == nil {
		s.logged = countLines(f, "request.done")
		f.Close()
	}
	os.RemoveAll(s.dir)
}

// countLines counts the lines that contain word.
func countLines(r io.Reader, word string) (n uint64) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if bytes.Contains(lines.Bytes(), []byte(word)) {
			n++
		}
	}
	return n
}

// cpu is the processor time that the server has used so far, to the nanosecond: /proc/PID/stat counts in steps of
// 10 ms, the process' own clock does not (clock_getcpuclockid(3)).
func (s *server) cpu() (time.Duration, error) {
	var t unix.Timespec
	clock := int32(^s.cmd.Process.Pid)<<3 | 2
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("%s: its processor clock: %w", s.kind.Name, err)
	}
	return time.Duration(t.Nano()), nil
}

// rss is the server's resident memory in bytes.
func (s *server) rss() (float64, error) {
	status, err := os.ReadFile(s.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("/proc/PID/status has no VmRSS")
}

// descriptors is how many the server has open.
func (s *server) descriptors() (int, error) {
	d, err := os.Open(s.proc("fd"))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names), err
}

func (s *server) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), file)
}

// metrics reads what the server counts, by name, without what has labels.
func (s *server) metrics(ctx context.Context) (map[string]float64, error) {
	body, err := s.fetch(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return parseMetrics(body)
}

func parseMetrics(r io.Reader) (map[string]float64, error) {
	m := map[string]float64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") || strings.Contains(name, "{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		m[name] = v
	}
	return m, lines.Err()
}

// fetch gets a path of the server's HTTP listener.
func (s *server) fetch(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // an open connection would be part of what is measured
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s: %s", s.kind.Name, path, response.Status)
	}
	return response.Body, nil
}

// save writes a path of the server's HTTP listener to a file.
func (s *server) save(ctx context.Context, path, file string) error {
	body, err := s.fetch(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}

// collect makes the server collect its garbage, twice: what the first round finishes, the second frees.
func (s *server) collect(ctx context.Context) error {
	for range 2 {
		body, err := s.fetch(ctx, "/debug/pprof/heap?gc=1")
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, body)
		body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// freeLoopback is a loopback address that was free a moment ago.
func freeLoopback() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// writeInventory writes qubes, each with its feature, unless that was done before.
func writeInventory(root string, with setup) (string, error) {
	name, head, properties := "inventory-%d.yaml", "", ""
	if with.hang { // an hour, for which nobody runs out of patience or memory
		name, head, properties = "inventory-%d-hang.yaml", "simulated: {start_delay: 1h, host_memory_mib: 16777216}\n", "    properties: {qrexec_timeout: \"7200\"}\n"
	}
	path := filepath.Join(root, fmt.Sprintf(name, with.qubes))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	var b strings.Builder
	b.WriteString("version: 1\n" + head + "qubes:\n")
	for i := range with.qubes {
		fmt.Fprintf(&b, "  - name: %s\n    class: StandaloneVM\n    label: red\n    features: {%s: %q}\n%s", terms.Qube(i), terms.Feature, terms.Value(i), properties)
	}
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}
