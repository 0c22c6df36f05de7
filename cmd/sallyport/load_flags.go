package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/internal/loadtest/live"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/loadtest/verdict"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// aboutTargets is what the help of a command that makes a load says of whom it calls.
const aboutTargets = `
Whom it calls is the daemon of this machine, or what --socket or --tls names, instead of what FILE does. With --request it
need not be a daemon: METHOD is then a name for what the request file is sent for, byte for byte but for {{ and }}, which
are braces, and a reply is what comes between the half-close of the request and the close of the connection. Right is any
reply that is not empty, or that --content matches.
`

// loadFlags are the flags of a command that makes a load, which a scenario's file describes, or they do for one call.
type loadFlags struct {
	scenario.Options
	request string // --request
	tls     tlsFlags
	addr    string           // --tls
	without []string         // flags that are not for a scenario's file, which says it itself
	remote  bool             // other machines make the load, and know themselves how to prove who they are
	packed  *scenario.Packed // the scenario, for them
}

func (l *loadFlags) flags(cmd *cobra.Command) {
	l.limits(cmd)
	f := cmd.Flags()
	f.StringVar(&l.Source, "source", "dom0", "the qube that calls, by `NAME`")
	f.StringVar(&l.Payload, "payload", "", "`TEXT` to send with each call")
	f.StringVar(&l.request, "request", "", "`FILE` of what to send instead of a call of the Admin API")
	f.StringVar(&l.Expect, "expect", "ok", "what replies are to be: ok, any, or the `TYPE` of an exception; all else counts as an error")
	f.StringVar(&l.Content, "content", "", "`REGEXP` that the content of an OK is to match, or the reply to --request")
	f.BoolVar(&l.Poisson, "poisson", false, "at a rate: at random times, independent of each other")
	f.Uint64Var(&l.Seed, "seed", 0, "`N` from which all chance follows")
	l.without = []string{"source", "payload", "request", "expect", "content", "poisson", "timeout", "max-in-flight", "seed"}
}

// limits are the flags for whom is called, and for what a load may not go beyond.
func (l *loadFlags) limits(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.Target.Socket, "socket", "", "`PATH` of the daemon's socket (default as for sallyport call)")
	f.StringVar(&l.addr, "tls", "", "`HOST:PORT` of a daemon on another machine, with --cert and --key")
	l.tls.flags(cmd)
	f.DurationVar(&l.MaxLag, "max-lag", 0, "how late the tool may begin calls, but for one in a thousand, before the run is invalid (default 1ms)")
	f.StringArrayVar(&l.Thresholds, "threshold", nil, "`CONDITION` that is to hold, such as 'p99 < 5ms' or 'errors < 0.1%'; repeatable, and beside those of a scenario's file")
	f.DurationVar(&l.Timeout, "timeout", 0, "how long a call waits for its reply (default 10s)")
	f.IntVar(&l.MaxInFlight, "max-in-flight", 0, "`N` calls at the same time, at most (default 4096)")
}

// outputs are what is told of a load: while it lasts, and then; what the daemon adds to it, and where it is written.
type outputs struct {
	live   live.Options
	stdout io.Writer
	server serverSide
	files  report.Files
}

func newOutputs(env func(string) string, stdin, stdout, stderr *os.File) *outputs {
	return &outputs{live: live.Options{In: stdin, Out: stderr, Env: env}, stdout: stdout}
}

func (o *outputs) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.live.Plain, "plain", false, "tell of each second in a line, also to a terminal")
	f.StringVar(&o.files.JSON, "json", "", "write the result to `FILE`, too, for programs")
	f.StringVar(&o.files.CSV, "csv", "", "write what ended in each span of time to `FILE`")
	f.StringVar(&o.files.HLog, "hlog", "", "write a log of HdrHistogram to `FILE`")
	f.StringVar(&o.files.HTML, "html", "", "write a page with plots to `FILE`, which needs no other")
	o.server.flags(cmd)
}

// checks are what scenarios are checked with.
var checks = scenario.Checks{Method: aMethod, Threshold: aThreshold}

// scenario is the scenario in a file, or of the one call that the command line has, and whom it calls.
func (l *loadFlags) scenario(cmd *cobra.Command, args []string, env func(string) string) (s *scenario.Scenario, err error) {
	if err := cmp.Or(l.target(), noZero(cmd)); err != nil {
		return nil, err
	}
	if l.isFile(args) {
		for _, name := range l.without {
			if cmd.Flags().Changed(name) {
				return nil, fail(exitUsage, "--%s: expected it without a scenario's file, which says it itself: %s", name, args[0])
			}
		}
		if l.remote {
			s, l.packed, err = scenario.Pack(args[0], checks)
		} else {
			s, err = scenario.Read(args[0], checks)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail(exitUsage, "%s: expected the file of a scenario, or a method of the API", escape([]byte(args[0]), ""))
		}
		if err != nil {
			return nil, fail(exitUsage, "%v", err)
		}
		err = s.Override(l.Options, checks)
	} else {
		if l.request != "" {
			if l.Request, err = scenario.ReadRequest(l.request); err != nil {
				return nil, err
			}
		}
		if l.Call = args[0]; len(args) > 1 {
			l.Dest = args[1]
		}
		s, err = scenario.Simple(l.Options, checks)
	}
	if err == nil {
		err = usualTarget(s, env)
	}
	if err != nil {
		return nil, err
	}
	if l.remote {
		if l.packed == nil {
			l.packed = new(scenario.Packed)
		}
		l.packed.Options, l.packed.Socket = l.Options, s.Target.Socket
	}
	return s, nil
}

// noZero refuses flags that say nothing when they are zero, which is no way to have no limit.
func noZero(cmd *cobra.Command) error {
	for _, name := range []string{"rate", "workers", "duration", "max-lag", "timeout", "max-in-flight"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
			return fmt.Errorf("--%s: expected more than 0", name)
		}
	}
	return nil
}

// usualTarget has a scenario that names nobody call the daemon of this machine that serves its first method.
func usualTarget(s *scenario.Scenario, env func(string) string) (err error) {
	switch {
	case s.Target.Socket != "" || s.Target.Addr != "":
	case s.Target.Plain:
		err = errors.New("--socket: expected it, or --tls: nobody knows where that which is no daemon listens")
	default:
		s.Target.Socket, err = usualSocket(env, socketOf(firstMethod(s)))
	}
	return err
}

// firstMethod is the method of a call that s makes.
func firstMethod(s *scenario.Scenario) string {
	if len(s.Mix) > 0 {
		return s.Mix[0].Steps[0].Method
	}
	return s.Subscribers[0].Call.Method
}

// target is whom the flags name; nobody, maybe.
func (l *loadFlags) target() (err error) {
	switch {
	case l.addr == "" && l.tls != tlsFlags{}:
		return errors.New("--tls: expected it with --cert, --key, --ca and --server-name")
	case l.addr == "":
		return nil
	case l.Target.Socket != "":
		return errors.New("--tls: expected it, or --socket, and not both")
	}
	l.Target.Addr = l.addr
	if l.remote {
		if l.tls != (tlsFlags{}) {
			err = errors.New("--cert, --key, --ca and --server-name: expected them without --agents, which have their own")
		}
		return err
	}
	l.Target.TLS, err = l.tls.config("--tls", l.addr)
	return err
}

// isFile tells whether what is to be done is said by a file. What is neither a file nor a call is meant to be one, unless
// flags say what is to be done.
func (l *loadFlags) isFile(args []string) bool {
	if len(args) > 1 {
		return false
	}
	if info, err := os.Stat(args[0]); err == nil && !info.IsDir() {
		return true
	}
	method, _, _ := strings.Cut(args[0], "+")
	return l.Rate == 0 && l.Workers == 0 && l.request == "" && !aMethod(method)
}

// aMethod reports whether daemons serve a method, be it a drill. Some entries have an argument in their names.
func aMethod(method string) bool {
	return slices.ContainsFunc(slices.Concat(methods.All(), methods.Drill()), func(e stages.Entry) bool {
		name, _, _ := strings.Cut(e.Name, "+")
		return name == method
	})
}

// aThreshold says what was expected instead of a text that is no threshold.
func aThreshold(text string) error {
	_, err := verdict.Parse(text)
	return err
}
