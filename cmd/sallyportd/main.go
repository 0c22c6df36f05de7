// Sallyportd serves the Qubes OS Admin API. This package only puts the parts together: it reads the configuration, builds
// from the store upwards, runs until it is told to stop, and closes in reverse.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"sallyport/config"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // a flag, the configuration or the inventory is bad
)

func main() {
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may go away without ending the daemon
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the life of a daemon, until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := config.Load(args, os.Getenv, config.ThisHost())
	switch {
	case errors.Is(err, config.ErrHelp):
		fmt.Fprint(stdout, config.Usage())
		return exitOK
	case errors.Is(err, config.ErrVersion):
		fmt.Fprintln(stdout, "sallyportd", version())
		return exitOK
	case err != nil:
		return fail(stderr, err, exitUsage)
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // before there is anything to reload: it must not end a daemon that is starting
	defer signal.Stop(reload)
	d, err := build(cfg, stderr)
	if err != nil {
		var bad usageError
		if errors.As(err, &bad) {
			return fail(stderr, err, exitUsage)
		}
		return fail(stderr, err, exitFailed)
	}
	d.ready(stdout)
	if err := errors.Join(d.wait(ctx, reload), d.close()); err != nil {
		return fail(stderr, err, exitFailed)
	}
	return exitOK
}

// wait returns when ctx ends, or something stopped that should not.
func (d *daemon) wait(ctx context.Context, reload <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.failed:
			return err
		case <-reload:
			d.policy.Reload()
		}
	}
}

// usageError is what an operator can mend on the command line, or in a file that it names.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func fail(stderr io.Writer, err error, code int) int {
	fmt.Fprintln(stderr, "sallyportd:", err)
	return code
}

// version is the module's, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	return v
}
