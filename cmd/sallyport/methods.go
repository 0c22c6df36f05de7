package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sallyport/stages"
	"sallyport/stages/methods"
)

func newMethods(stdout *os.File) *cobra.Command {
	var asJSON, drill bool
	var policyDir string
	cmd := &cobra.Command{
		Use:   "methods",
		Short: "List the methods that this version serves",
		Long: `List the methods that this version serves, from its own catalogue: no daemon is asked.

An argument or a payload in [brackets] may be left out. Access is r(ead), w(rite), x(ecute), of the destination alone
(local) or of the whole system (global). A method without a socket's name is on the admin socket.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			entries := methods.All()
			if drill {
				entries = append(entries, methods.Drill()...)
			}
			switch {
			case policyDir != "":
				return writePolicy(policyDir)
			case asJSON:
				return show(stdout, methodsJSON(entries), "\n")
			}
			return show(stdout, methodsTable(entries), "\n")
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "show a JSON array")
	cmd.Flags().StringVar(&policyDir, "policy", "", "write the default policy for these methods into a new `directory`, instead of a list")
	cmd.Flags().BoolVar(&drill, "drill", false, "and the methods that rehearse faults, which a daemon serves with --drill")
	return cmd
}

// writePolicy makes a policy directory of the stock files. One that is there is an operator's, and stays as it is.
func writePolicy(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fail(exitUsage, "--policy: expected a directory to be made: %v", err)
	}
	for name, text := range methods.DefaultPolicy() {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fail(exitUsage, "--policy: %v", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fail(exitUsage, "--policy: %v", err)
		}
	}
	return nil
}

// What the catalogue's terms are called here.
var (
	sockets = map[stages.Socket]string{stages.Internal: "internal", stages.Misc: "misc"} // empty for the usual one
	dests   = map[stages.Dest]string{stages.OnlyAdminVM: "dom0", stages.NotAdminVM: "not dom0", stages.AnyQube: "any"}
	scopes  = map[stages.Scope]string{stages.Local: "local", stages.Global: "global"}
	wants   = map[stages.Want]string{stages.Forbidden: "forbidden", stages.Optional: "optional", stages.Required: "required"}
)

// letters are the access of a method, such as rw.
func letters(a stages.Access) string {
	var s strings.Builder
	for _, l := range []struct {
		access stages.Access
		letter byte
	}{{stages.Read, 'r'}, {stages.Write, 'w'}, {stages.Execute, 'x'}} {
		if a&l.access != 0 {
			s.WriteByte(l.letter)
		}
	}
	return s.String()
}

func methodsTable(entries []stages.Entry) []byte {
	field := func(want stages.Want, doc string) string {
		switch want {
		case stages.Required:
			return doc
		case stages.Optional:
			return "[" + doc + "]"
		default:
			return "-"
		}
	}
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	row := func(columns ...string) { fmt.Fprintln(w, strings.Join(columns, "\t")) }
	row("METHOD", "SOCKET", "DESTINATION", "ARGUMENT", "PAYLOAD", "ACCESS", "HELP")
	for _, e := range entries {
		row(e.Name, sockets[e.Socket], dests[e.Dest], field(e.Arg, e.ArgDoc), field(e.Payload, e.PayloadDoc),
			letters(e.Access)+" "+scopes[e.Scope], e.Help)
	}
	_ = w.Flush() // to memory
	return table.Bytes()
}

// methodJSON is a method as sallyport methods --json shows it.
type methodJSON struct {
	Name        string    `json:"name"`
	Socket      string    `json:"socket"`
	Destination string    `json:"destination"`
	Argument    fieldJSON `json:"argument"`
	Payload     fieldJSON `json:"payload"`
	Access      string    `json:"access"`
	Scope       string    `json:"scope"`
	Help        string    `json:"help"`
	Gives       string    `json:"gives"`
}

type fieldJSON struct {
	Want    string `json:"want"`
	Grammar string `json:"grammar"`
}

func methodsJSON(entries []stages.Entry) []byte {
	all := make([]methodJSON, 0, len(entries))
	for _, e := range entries {
		socket := sockets[e.Socket]
		if socket == "" {
			socket = "admin"
		}
		all = append(all, methodJSON{
			e.Name, socket, dests[e.Dest], fieldJSON{wants[e.Arg], e.ArgDoc}, fieldJSON{wants[e.Payload], e.PayloadDoc},
			letters(e.Access), scopes[e.Scope], e.Help, e.Gives,
		})
	}
	return toJSON(all)
}
