// Sallyport is the operator's tool: it calls the daemon as any client does, and knows nothing that a client could not.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// The exit codes (design: 8).
const (
	exitException = 1 // the daemon answered with an exception
	exitFound     = 1 // sallyport policy found what it looks for, or a policy that does not load
	exitUsage     = 2
	exitNoDaemon  = 3 // nobody listens
	exitNoReply   = 4 // somebody does, but what came back is no reply
)

// failure ends the tool. Its text, unless empty, is the one line that says why.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole tool; what it returns is the exit code.
func run(args []string, env func(string) string, stdin, stdout, stderr *os.File) int {
	root := &cobra.Command{
		Use:                "sallyport",
		Short:              "Call and look after a sallyport daemon",
		Args:               cobra.NoArgs,
		RunE:               func(*cobra.Command, []string) error { return errors.New("no command given") },
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // they take several lines
	}
	root.AddCommand(newCall(env, stdin, stdout), newMethods(stdout), newPolicy(env, stdin, stdout), newProxy(stderr), newLoad(env, stdin, stdout, stderr))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	cmd, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	var f *failure
	var x *exceptionError
	switch {
	case errors.As(err, &x):
		_, _ = stderr.Write(append(safe(stderr, []byte(x.Error()), ""), '\n')) // in one write, for whoever shares the pipe
		return exitException
	case errors.As(err, &f):
		if f.text != "" {
			fmt.Fprintf(stderr, "sallyport: %s\n", escape([]byte(f.text), ""))
		}
		return f.code
	default:
		fmt.Fprintf(stderr, "%s: %s (see %s --help)\n", cmd.CommandPath(), escape([]byte(err.Error()), ""), cmd.CommandPath())
		return exitUsage
	}
}
