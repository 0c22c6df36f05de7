package main

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/internal/policy"
	"sallyport/messages"
	"sallyport/messages/exception"
)

// systemSource says where it stands what the qubes are. Without either it is the daemon that sallyport call would ask.
type systemSource struct {
	file   string
	socket string
}

// flags adds those that name a system.
func (s *systemSource) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.file, "system", "", "`FILE` of the system information in JSON: {\"domains\": {NAME: {\"type\": CLASS, \"tags\": [...], ...}}}")
	f.StringVar(&s.socket, "socket", "", "`PATH` of the socket of a running daemon that is asked for its qubes")
	cmd.MarkFlagsMutuallyExclusive("system", "socket")
}

// given says whether the operator named one.
func (s *systemSource) given() bool { return s.file != "" || s.socket != "" }

// read gives the qubes as they are now.
func (s *systemSource) read(env func(string) string) (*policy.Table, error) {
	if s.file != "" {
		return readSystem(s.file)
	}
	socket := s.socket
	if socket == "" {
		var err error
		if socket, err = usualSocket(env, "qubesd.sock"); err != nil {
			return nil, err
		}
	}
	return askSystem(context.Background(), socket)
}

func readSystem(file string) (*policy.Table, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(exitUsage, "--system: %v", err)
	}
	sys, err := policy.ReadTable(text)
	if err != nil {
		return nil, fail(exitUsage, "--system: %s: expected the system information in JSON: %v", file, err)
	}
	for range sys.Qubes() {
		return sys, nil
	}
	return nil, fail(exitUsage, `--system: %s: expected {"domains": {NAME: {...}}}, with one qube at least`, file)
}

// askSystem asks a daemon, as dom0, for what a policy asks of its qubes. It takes some calls for each of them; a qube that is
// removed meanwhile is left out.
func askSystem(ctx context.Context, socket string) (*policy.Table, error) {
	list, _, err := ask(ctx, socket, "admin.vm.List", "dom0")
	if err != nil {
		return nil, err
	}
	var all []policy.Facts
	for line := range strings.Lines(list) {
		name, facts, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return nil, fail(exitNoReply, "%s: not a list of qubes", socket)
		}
		f := policy.Facts{Name: name}
		for fact := range strings.SplitSeq(facts, " ") {
			switch key, value, _ := strings.Cut(fact, "="); key {
			case "class":
				f.Class = value
			case "state":
				f.PowerState = value
			case "uuid":
				f.UUID = value
			}
		}
		there, err := askFacts(ctx, socket, &f)
		if err != nil {
			return nil, err
		}
		if there {
			all = append(all, f)
		}
	}
	return policy.NewTable(all...), nil
}

// askFacts asks for what the list of qubes does not tell of f; false if there is no such qube any more.
func askFacts(ctx context.Context, socket string, f *policy.Facts) (there bool, err error) {
	for _, about := range []struct {
		method string
		read   func(content string)
	}{
		{"admin.vm.property.GetAll", func(content string) { setProperties(content, f) }},
		{"admin.vm.tag.List", func(content string) { f.Tags = strings.Fields(content) }},
		{"admin.vm.feature.Get+internal", func(content string) { f.Internal = content }},
	} {
		content, refusal, err := ask(ctx, socket, about.method, f.Name)
		switch {
		case refusal == exception.QubesVMNotFoundError:
			return false, nil
		case refusal == exception.QubesFeatureNotFoundError:
		case err != nil:
			return false, err
		default:
			about.read(content)
		}
	}
	return true, nil
}

// unescaped is a value as a line of admin.vm.property.GetAll has it.
var unescaped = strings.NewReplacer(`\\`, `\`, `\n`, "\n")

// setProperties reads lines of NAME default=True|False type=TYPE VALUE.
func setProperties(lines string, f *policy.Facts) {
	for line := range strings.Lines(lines) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(parts) < 4 {
			continue // without a value
		}
		switch value := unescaped.Replace(parts[3]); parts[0] {
		case "template_for_dispvms":
			f.DisposableTemplate = value == "True"
		case "default_dispvm":
			f.DefaultDispVM = value
		case "relayvm":
			f.Relay = value
		case "transport_rpc":
			f.Transport = value
		}
	}
}

// ask makes one call as dom0. What it is refused with is an error too.
func ask(ctx context.Context, socket, method, dest string) (content string, refusal exception.Type, err error) {
	if !strings.Contains(method, "+") {
		method += "+"
	}
	reply, err := Call(ctx, socket, messages.FormatRequest(method, "dom0", dest, nil))
	if err != nil {
		return "", "", err
	}
	a, err := messages.ParseAnswer(reply)
	switch {
	case err != nil:
		return "", "", fail(exitNoReply, "%s: %v", socket, err)
	case a.Type != "":
		return "", exception.Type(a.Type), fail(exitNoReply, "%s: %s of %s: %v", socket, method, dest, &exceptionError{a})
	}
	return string(a.Content), "", nil
}
