package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/actors"
	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/internal/telemetry"
	"sallyport/internal/testcert"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyport": main})
}

// TestScripts runs testdata/script, which can be read as a manual. Beyond what testscript knows, there is
//
//	daemon [-hang|-drop] SOCKET REPLY   a daemon that answers every call with REPLY, of which \0, \n, \xNN are escapes;
//	                                    the last request is in the file "request", escaped the same way
//	serve [-tls] SOCKET                 a daemon of the demo inventory, that everyone may call, whose log is in the file
//	                                    "daemon.log"; halt ends it. With -tls it listens at $DAEMON, too; it is certified by
//	                                    ca.pem, and knows the certificates admin.pem, for dom0, and work.pem, for work, but
//	                                    not stranger.pem
//	fleet N                             certificates of N agents of a load test (agent.pem), which are to listen at $AGENT1 and
//	                                    on, and of a coordinator (coordinator.pem), signed by fleet.pem
//	await SOCKET                        wait until somebody listens there, or at that HOST:PORT
//	streams N                           wait until that daemon has so many subscribers
//	runs [FLAGS] DIR N MEDIAN           what N runs of load run --json would have written; see made
//	exits CODE COMMAND...               run COMMAND, which must end with that code
//	[root]                              a condition
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SALLYPORT_SOCKET_DIR", filepath.Join(e.WorkDir, "run"))
			return os.Mkdir(filepath.Join(e.WorkDir, "run"), 0o700)
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, errors.New("unknown condition " + name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": scriptDaemon, "serve": scriptServe, "await": scriptAwait, "streams": scriptStreams, "halt": scriptHalt, "exits": scriptExits, "runs": scriptRuns,
			"fleet": scriptFleet,
		},
	})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("ended with %d, not %s", code, args[0])
	}
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	remote := len(args) == 2 && args[0] == "-tls"
	if neg || len(args) != 1 && !remote {
		ts.Fatalf("usage: serve [-tls] SOCKET")
	}
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) { return inventory.Demo(properties.Schema{}) }, inventory.Options{Reactions: reactions.All()})
	ts.Check(err)
	settings := actors.Settings{
		Catalogue: stages.NewCatalogue(methods.All()...), Gate: stages.NewGate(permission.Everyone{}), Book: book,
		Sockets: map[stages.Socket]string{stages.Admin: ts.MkAbs(args[len(args)-1])},
	}
	log, err := os.OpenFile(ts.MkAbs("daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	ts.Defer(func() { _ = log.Close() })
	sink := telemetry.NewSink(log, 1<<20, 100*time.Millisecond)
	ts.Defer(sink.Close)
	settings.Log = zap.New(zapcore.NewCore(telemetry.Encoder(false), sink, zapcore.InfoLevel))
	if remote {
		settings.Remote, err = remoteIn(ts.MkAbs("."))
		ts.Check(err)
	}
	d, err := actors.Start(settings)
	ts.Check(err)
	if remote {
		ts.Setenv("DAEMON", d.RemoteAddr().String())
	}
	daemons.Store(ts, d)
	ts.Defer(func() { scriptHalt(ts, false, nil) })
}

// remoteIn has a daemon serve clients on other machines. The files that they need are made in dir.
func remoteIn(dir string) (*actors.Remote, error) {
	a := testcert.NewAuthority()
	work, err := qube.ParseName("work")
	return &actors.Remote{
			Address: "127.0.0.1:0", Certificate: a.Server("daemon"), ClientCAs: a.Pool(),
			Peers: []actors.Certified{
				{DNS: "admin.example", Peer: &messages.Peer{Sources: []qube.Name{qube.Dom0}}},
				{DNS: "work.example", Peer: &messages.Peer{Sources: []qube.Name{work}}},
			},
		}, errors.Join(err, a.Write(dir, "ca"),
			testcert.Write(dir, "admin", a.Client("admin.example")), testcert.Write(dir, "work", a.Client("work.example")),
			testcert.Write(dir, "stranger", testcert.NewAuthority().Client("admin.example")))
}

func scriptFleet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fleet N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var addresses []string
	for i := range n {
		// of this process alone, so that nobody else takes the port
		addresses = append(addresses, fmt.Sprintf("127.%d.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff, i+1))
		ts.Setenv(fmt.Sprint("AGENT", i+1), addresses[i]+":8644")
	}
	a, dir := testcert.NewAuthority(), ts.MkAbs(".")
	ts.Check(errors.Join(a.Write(dir, "fleet"), testcert.Write(dir, "coordinator", a.Client("coordinator")),
		testcert.Write(dir, "agent", a.Certify(x509.ExtKeyUsageServerAuth, time.Hour, addresses...))))
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await SOCKET")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		network, address := "unix", ts.MkAbs(args[0])
		if _, _, err := net.SplitHostPort(args[0]); err == nil {
			network, address = "tcp", args[0]
		}
		if c, err := net.Dial(network, address); err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nobody listens at %s", args[0])
		}
	}
}

// daemons are those that scripts serve, by script.
var daemons sync.Map

func daemonOf(ts *testscript.TestScript) *actors.Daemon {
	d, there := daemons.Load(ts)
	if !there {
		ts.Fatalf("nothing is served")
	}
	return d.(*actors.Daemon)
}

func scriptHalt(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ts.Check(daemonOf(ts).Close(ctx))
}

func scriptStreams(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: streams N")
	}
	for deadline := time.Now().Add(10 * time.Second); strconv.Itoa(daemonOf(ts).Stats().Streams) != args[0]; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("there are %d subscribers", daemonOf(ts).Stats().Streams)
		}
	}
}

func scriptDaemon(ts *testscript.TestScript, neg bool, args []string) {
	mode := ""
	if len(args) == 3 {
		mode, args = args[0], args[1:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: daemon [-hang|-drop] SOCKET REPLY")
	}
	reply, err := strconv.Unquote(`"` + strings.NewReplacer(`\0`, `\x00`, `"`, `\"`).Replace(args[1]) + `"`)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	_ = os.Remove(path) // of a daemon before
	l, err := net.Listen("unix", path)
	ts.Check(err)
	d := fake{reply: reply, drop: mode == "-drop", hang: mode == "-hang", stopped: make(chan struct{}), record: ts.MkAbs("request")}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.serve(c)
		}
	}()
	ts.Defer(func() {
		close(d.stopped)
		_ = l.Close()
		<-done
	})
}

// fake is a daemon that always says the same.
type fake struct {
	reply      string
	drop, hang bool
	record     string // where requests go
	stopped    chan struct{}
}

func (d fake) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	if d.drop {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // of a client that does not half-close
	request, err := io.ReadAll(c)
	if err != nil {
		request = fmt.Appendf(nil, "a daemon cannot read this: %v", err)
	}
	shown := strings.NewReplacer("\x00", `\0`).Replace(string(request))
	if err := os.WriteFile(d.record, []byte(shown+"\n"), 0o600); err != nil {
		return
	}
	_, _ = io.WriteString(c, d.reply)
	if d.hang {
		<-d.stopped
	}
}
