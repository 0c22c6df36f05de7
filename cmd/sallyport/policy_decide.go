package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
)

// maxQuestion is the longest line that is read as a request, in bytes.
const maxQuestion = 1 << 20

func newPolicyDecide(env func(string) string, stdin, stdout *os.File) *cobra.Command {
	var files ruleFiles
	var system systemSource
	var batch bool
	cmd := &cobra.Command{
		Use:   "decide --batch",
		Short: "Decide requests by the thousand: JSON lines in, JSON lines out",
		Long: `Decide requests. Standard input is read line by line, and each line is answered on standard output before the next is
read. A line is an object:

  {"service": "admin.vm.Start", "argument": "+", "source": "mgmt", "target": "work"}

argument is "+" and what follows it, "+" if it is left out; target is "@default" if it is left out; a request that a qube
relays has "requested_source" too. The answer has verdict, which is allow, deny or ask, rule (FILE:LINE), and of

  allow  target user notify autostart response    what the policy daemon answers to qrexec is response
  ask    targets default_target user notify autostart
  deny   stage reason notify                      stage is request, no-rule, rule or execute

A policy that does not load answers every line with {"verdict":"load-error","at":"FILE:LINE",...}, of the first error. A line
that is no request is answered with {"error":"..."}, and is no failure of the command. The policy and the qubes are read
once, at the start; without --system and --socket, the daemon of this machine is asked for its qubes.

Exit codes: 0 done; 2 usage, or a file that cannot be read; 3 no daemon; 4 no reply.`,
		Example: `  echo '{"service": "admin.vm.List", "source": "mgmt", "target": "dom0"}' | sallyport policy decide --batch
  sallyport policy decide --batch --policy-dir ./policy.d --system system.json <requests >decisions`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !batch {
				return errors.New("expected --batch; for one request there is sallyport policy why")
			}
			p, err := files.load()
			var wrong policy.LoadErrors
			if errors.As(err, &wrong) {
				return decideAll(stdin, stdout, func(policy.Request) any { return toUnloaded(wrong[0]) })
			}
			if err != nil {
				return err
			}
			sys, err := system.read(env)
			if err != nil {
				return err
			}
			compiled := policy.Compile(p.Policy)
			return decideAll(stdin, stdout, func(r policy.Request) any { return p.decision(compiled.Decide(r, sys)) })
		},
	}
	files.flags(cmd)
	system.flags(cmd)
	cmd.Flags().BoolVar(&batch, "batch", false, "answer each line of standard input")
	return cmd
}

// decideAll answers line after line.
func decideAll(in io.Reader, out *os.File, answer func(policy.Request) any) error {
	lines := bufio.NewReaderSize(in, maxQuestion)
	for {
		line, err := lines.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return fail(exitUsage, "cannot read standard input: %v", err)
		}
		if len(line) == 0 && !tooLong {
			return nil // at the end
		}
		var reply any
		if r, wrong := toRequest(line, tooLong); wrong != nil {
			reply = struct {
				Error string `json:"error"`
			}{wrong.Error()}
		} else {
			reply = answer(r)
		}
		if err := show(out, toJSON(reply), "\n"); err != nil {
			return err
		}
	}
}

// requestJSON has the keys of a request in the vectors.
type requestJSON struct {
	Service         string  `json:"service"`
	Argument        *string `json:"argument"`
	Source          string  `json:"source"`
	Target          string  `json:"target"`
	RequestedSource string  `json:"requested_source,omitempty"`
}

// toRequest reads a line.
func toRequest(line []byte, tooLong bool) (policy.Request, error) {
	var r requestJSON
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	switch {
	case tooLong:
		return policy.Request{}, fmt.Errorf("expected a line of at most %d bytes", maxQuestion)
	case !utf8.Valid(line):
		return policy.Request{}, errors.New("expected UTF-8")
	case len(bytes.TrimSpace(line)) == 0:
		return policy.Request{}, errors.New("expected a request as a JSON object, and the line is empty")
	}
	if err := d.Decode(&r); err != nil {
		return policy.Request{}, fmt.Errorf("expected a request as a JSON object: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return policy.Request{}, errors.New("expected one JSON object, and there is more on the line")
	}
	for _, required := range []struct{ key, value string }{{"service", r.Service}, {"source", r.Source}} {
		if required.value == "" {
			return policy.Request{}, fmt.Errorf("expected the key %s", required.key)
		}
	}
	argument := "+"
	if r.Argument != nil {
		argument = *r.Argument
	}
	return policy.Request{Service: r.Service, Argument: argument, Source: r.Source, Target: r.Target, RequestedSource: r.RequestedSource}, nil
}

// The answers have the keys that the vectors expect of each verdict.
type (
	denied struct {
		Verdict string `json:"verdict"`
		Stage   string `json:"stage"`
		Reason  string `json:"reason"`
		Rule    string `json:"rule,omitempty"`
		Notify  bool   `json:"notify"`
	}
	allowed struct {
		Verdict   string   `json:"verdict"`
		Rule      string   `json:"rule"`
		Target    string   `json:"target"`
		User      *string  `json:"user"`
		Notify    bool     `json:"notify"`
		Autostart bool     `json:"autostart"`
		Response  []string `json:"response"`
	}
	asked struct {
		Verdict       string   `json:"verdict"`
		Rule          string   `json:"rule"`
		Targets       []string `json:"targets"`
		DefaultTarget *string  `json:"default_target"`
		User          *string  `json:"user"`
		Notify        bool     `json:"notify"`
		Autostart     bool     `json:"autostart"`
	}
	unloaded struct {
		Verdict string `json:"verdict"`
		At      string `json:"at"`
		Kind    string `json:"kind"`
		Reason  string `json:"reason"`
	}
)

// decision is d as JSON: denied, allowed or asked.
func (p *loaded) decision(d policy.Decision) any {
	verdict, rule := d.Verdict.String(), p.place(d.Rule)
	switch d.Verdict {
	case policy.Allow:
		return allowed{verdict, rule, d.Target.String(), orNull(d.User), d.Notify, d.Autostart, d.Response()}
	case policy.Ask:
		return asked{verdict, rule, d.Targets, orNull(d.DefaultTarget), orNull(d.User), d.Notify, d.Autostart}
	default:
		return denied{verdict, d.Stage.String(), string(d.Why), rule, d.Notify}
	}
}

func toUnloaded(e *policy.LoadError) unloaded {
	at := e.At
	at.Column = 0
	return unloaded{"load-error", at.String(), e.Reason.Kind(), string(e.Reason)}
}

// orNull is nil for an empty text.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
