package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sallyport/config"
	"sallyport/messages"
)

// maxReply is the longest reply that is waited for, in bytes. No method's comes near it.
const maxReply = 256 << 20

// callOptions are the flags of sallyport call.
type callOptions struct {
	socket  string
	source  string
	json    bool
	follow  bool
	timeout time.Duration
}

func newCall(env func(string) string, stdin, stdout *os.File) *cobra.Command {
	var o callOptions
	cmd := &cobra.Command{
		Use:   "call METHOD[+ARG] [DEST]",
		Short: "Call one method of the Admin API",
		Long: `Call one method of the Admin API, on DEST or else on dom0.

The payload is read from standard input, unless that is a terminal. The content of the reply goes to standard output as it
is; only on a terminal are control characters in it escaped.

Exit codes: 0 content; 1 an exception, which goes to standard error as TYPE: message; 2 usage; 3 no daemon; 4 no reply.`,
		Example: `  sallyport call admin.vm.List
  echo -n 1 | sallyport call admin.vm.feature.Set+service.cups work
  sallyport call --follow admin.Events`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return errors.New("expected METHOD[+ARG] [DEST]")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if o.timeout < 0 {
				return errors.New("--timeout is a duration that is not negative, such as 5s")
			}
			if o.socket == "" {
				var err error
				if o.socket, err = usualSocket(env, socketOf(args[0])); err != nil {
					return err
				}
			}
			return call(o, append(args, "dom0")[:2], stdin, stdout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.socket, "socket", "", "`PATH` of the daemon's socket (default the method's, in $SALLYPORT_SOCKET_DIR or where daemons make it)")
	f.StringVar(&o.source, "source", "dom0", "`NAME` of the qube that calls")
	f.BoolVar(&o.json, "json", false, "show the reply, or each event, as one JSON object")
	f.BoolVar(&o.follow, "follow", false, "show the events of a stream as they come, a line each")
	f.DurationVar(&o.timeout, "timeout", 0, "`DURATION` to wait for the reply, or to follow a stream (default as long as it takes)")
	return cmd
}

// usualSocket is where daemons make the socket of that name, if it can be trusted.
func usualSocket(env func(string) string, name string) (string, error) {
	dir := config.SocketDir(env, config.ThisHost())
	return filepath.Join(dir, name), trusted(dir)
}

// trusted refuses a directory where somebody else than we or root could have put a socket: in a temporary directory,
// anyone can make one of the name that we look for. One that is not there is for whoever connects to tell of.
func trusted(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != 0 && int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o002 != 0 {
		return fail(exitNoDaemon, "%s: somebody else may have put a socket there; name one with --socket, if you trust it", dir)
	}
	return nil
}

// socketOf is the name of the socket where methods of that name are served (spec: wire.md 1).
func socketOf(method string) string {
	switch {
	case strings.HasPrefix(method, "internal."):
		return "qubesd.internal.sock"
	case strings.HasPrefix(method, "qubes."):
		return "qubesd.misc.sock"
	default:
		return "qubesd.sock"
	}
}

// call makes one call, and shows what comes back. args are the method and the destination.
func call(o callOptions, args []string, stdin, stdout *os.File) error {
	var payload []byte
	if !term.IsTerminal(int(stdin.Fd())) {
		// One byte more than fits is enough for the daemon to refuse it.
		var err error
		if payload, err = io.ReadAll(io.LimitReader(stdin, messages.MaxRequest+1)); err != nil {
			return fail(exitUsage, "cannot read the payload from standard input: %v", err)
		}
	}
	method := args[0]
	if !strings.Contains(method, "+") {
		method += "+" // as the reference's client does (spec: wire.md 2)
	}
	request := messages.FormatRequest(method, o.source, args[1], payload)

	ctx := context.Background()
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	if o.follow {
		return follow(ctx, o, request, stdout)
	}
	reply, err := Call(ctx, o.socket, request)
	if err != nil {
		return err
	}
	return showReply(o, reply, stdout)
}

// Call sends request to the daemon at socket, and gives the bytes of its reply. Its errors say what the tool ends with;
// that of a context that ends too early is the context's, wrapped.
func Call(ctx context.Context, socket string, request []byte) ([]byte, error) {
	conn, err := send(ctx, socket, request)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reply, err := io.ReadAll(io.LimitReader(conn, maxReply+1))
	switch {
	case err != nil:
		return nil, broken(ctx, socket, err)
	case len(reply) == 0:
		return nil, fail(exitNoReply, "%s: not a reply: the daemon closed the connection without one", socket)
	case len(reply) > maxReply:
		return nil, fail(exitNoReply, "%s: not a reply: longer than %d bytes", socket, maxReply)
	}
	return reply, nil
}

// send connects to the daemon at socket and sends it a whole request. The connection fails when ctx ends.
func send(ctx context.Context, socket string, request []byte) (io.ReadCloser, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		if errors.Is(err, os.ErrPermission) {
			return nil, fail(exitNoDaemon, "%s: this user may not connect: %v", socket, cause(err))
		}
		return nil, fail(exitNoDaemon, "%s: no daemon there: %v", socket, cause(err))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	// A daemon that refuses a request may stop reading it. So errors do not count here: what counts is its reply.
	_, _ = conn.Write(request)
	_ = conn.(*net.UnixConn).CloseWrite()
	return &connection{conn, stop, false}, nil
}

// connection is one to a daemon, as its reply is read from it.
type connection struct {
	net.Conn
	stop   func() bool
	spoken bool // the daemon has said something
}

// Read takes a reset for the end of a reply: that is how a daemon hangs up that did not read a request to its end.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.spoken = c.spoken || n > 0
	if c.spoken && errors.Is(err, syscall.ECONNRESET) {
		err = io.EOF
	}
	return n, err
}

func (c *connection) Close() error {
	c.stop()
	return c.Conn.Close()
}

// broken is the failure of a connection that ended in err.
func broken(ctx context.Context, socket string, err error) error {
	if ctx.Err() != nil {
		return fail(exitNoReply, "%s: not a reply in time: --timeout has passed", socket)
	}
	return fail(exitNoReply, "%s: not a reply: %v", socket, cause(err))
}

// cause is err without the addresses that package net puts before it.
func cause(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err
	}
	return err
}

// showReply shows a whole reply: content on stdout, and an exception by its error.
func showReply(o callOptions, reply []byte, stdout *os.File) error {
	a, err := messages.ParseAnswer(reply)
	switch {
	case err != nil:
		return fail(exitNoReply, "%s: %v", o.socket, err)
	case a.Type != "" && o.json:
		if err := show(stdout, exceptionJSON(a), "\n"); err != nil {
			return err
		}
		return fail(exitException, "")
	case a.Type != "":
		return &exceptionError{a}
	case o.json:
		return show(stdout, contentJSON(a.Content), "\n")
	default:
		return show(stdout, a.Content, "\n\t")
	}
}

// show writes b to f. If f is a terminal, control characters but those in keep are escaped: what a daemon relays of
// others must not drive the operator's terminal.
func show(f *os.File, b []byte, keep string) error {
	if _, err := f.Write(safe(f, b, keep)); err != nil {
		return fail(exitNoReply, "cannot show the reply: %v", cause(err))
	}
	return nil
}

// safe is b as it may be written to f: on a terminal, all control characters but those of keep are escaped.
func safe(f *os.File, b []byte, keep string) []byte {
	if term.IsTerminal(int(f.Fd())) {
		return escape(b, keep)
	}
	return b
}
