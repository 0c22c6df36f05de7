package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"sallyport/internal/yamlfile"
)

// What a command line may ask for instead of a daemon.
var (
	ErrHelp    = flag.ErrHelp
	ErrVersion = errors.New("the version was asked for")
)

// Load reads the flags args, the environment, and the file that either of them names. Its error is one line, or one of
// ErrHelp and ErrVersion.
func Load(args []string, env func(string) string, h Host) (Config, error) {
	flags, file, err := fromFlags(args)
	if err != nil {
		return Config{}, err
	}
	if file.origin == "" {
		file = value{text: env(variable("config")), origin: variable("config")}
	}
	c := defaults(env, h)
	inFile, err := fromFile(file, &c, h)
	if err != nil {
		return Config{}, err
	}
	counts := source{}
	for _, from := range []source{inFile, fromEnvironment(env), flags} { // each overrules those before
		for _, s := range settings {
			if err := s.apply(&c, from[s]); err != nil {
				return Config{}, err
			}
			if len(from[s]) > 0 {
				counts[s] = from[s]
			}
		}
	}
	if err := c.check(counts, h); err != nil {
		return Config{}, err
	}
	return c, nil
}

// check says what can be said only of the values that count.
func (c *Config) check(counts source, h Host) error {
	for _, dir := range counts[policyDir] {
		if !h.IsDir(dir.text) {
			return dir.expected("a directory that exists")
		}
	}
	if t := c.TLS; t.Listen.IsValid() && (t.Certificate == "" || t.Key == "" || len(t.ClientCA) == 0) {
		return counts[listenTLS][0].expected("tls.certificate, tls.key and tls.client_ca, too, in a configuration file")
	}
	switch state, data := counts[stateDir], counts[inventory]; {
	case c.Demo && len(state) > 0:
		return counts[demo][0].expected("no state directory, which " + state[0].origin + " sets: a demo's state is temporary")
	case c.Demo && c.Inventory != "":
		return counts[demo][0].expected("no inventory, which " + data[0].origin + " sets: a demo has its own")
	case c.Demo:
		c.StateDir = ""
	case c.StateDir == "":
		return wrong("--"+stateDir.name, "a directory, since neither XDG_STATE_HOME nor HOME says where to make one")
	}
	return nil
}

// source is where settings are made: a file, the environment, or a command line.
type source map[*setting][]value

// value is one value of a setting, and who says so.
type value struct {
	text   string
	origin string         // --log-level, SALLYPORT_LOG_LEVEL or FILE:LINE
	node   *yamlfile.Node // nil outside of files
}

// expected is the error that v should have been something else.
func (v value) expected(want string) error {
	if v.node != nil {
		return v.node.Expected("%s", want)
	}
	return wrong(v.origin, want)
}

// wrong is an error about a flag, a variable or an argument: one line, whatever a command line holds.
func wrong(origin, want string) error {
	s := origin + ": expected " + want
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strings.Trim(strconv.Quote(s), `"`)
	}
	return errors.New(s)
}

// fromFlags reads a command line. file is what --config says.
func fromFlags(args []string) (given source, file value, err error) {
	given = source{}
	version := false
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, s := range settings {
		set.Var(&collector{s.arg == "", func(text string) {
			if !s.many {
				given[s] = nil // the last one counts
			}
			given[s] = append(given[s], value{text: text, origin: "--" + s.name})
		}}, s.name, "")
	}
	set.Var(&collector{false, func(text string) { file = value{text: text, origin: "--config"} }}, "config", "")
	set.Var(&collector{true, func(string) { version = true }}, "version", "")

	switch err := set.Parse(args); {
	case err != nil:
		return nil, value{}, flagError(err)
	case version:
		return nil, value{}, ErrVersion
	case set.NArg() > 0:
		return nil, value{}, wrong(set.Arg(0), "flags and nothing else")
	case file.origin != "" && file.text == "":
		return nil, value{}, file.expected("a file")
	}
	return given, file, nil
}

// collector takes what a flag is given. Whether that is any good is asked later, and for all sources alike.
type collector struct {
	isSwitch bool
	take     func(string)
}

func (c *collector) String() string        { return "" }
func (c *collector) IsBoolFlag() bool      { return c.isSwitch }
func (c *collector) Set(text string) error { c.take(text); return nil }

// flagError says in our words what package flag found; it has no types for that.
func flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return ErrHelp
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return wrong("--"+name, "a value")
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		return wrong("--"+name, "a flag that --help lists")
	}
	return wrong(strings.TrimPrefix(err.Error(), "bad flag syntax: "), "a flag that --help lists")
}

// fromEnvironment reads the variables. An empty one says nothing.
func fromEnvironment(env func(string) string) source {
	given := source{}
	for _, s := range settings {
		text := env(variable(s.name))
		if text == "" {
			continue
		}
		parts := []string{text}
		if s.many {
			parts = filepath.SplitList(text)
		}
		for _, part := range parts {
			given[s] = append(given[s], value{text: part, origin: variable(s.name)})
		}
	}
	return given
}

// variable is what the environment calls a setting.
func variable(name string) string {
	return "SALLYPORT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Usage is what --help shows.
func Usage() string {
	var b strings.Builder
	b.WriteString("Usage: sallyportd [FLAG]...\n\nServes the Qubes OS Admin API.\n\n")
	line := func(flag, help string) { fmt.Fprintf(&b, "  %-22s %s\n", flag, help) }
	for _, s := range settings {
		line(strings.TrimSpace("--"+s.name+" "+s.arg), s.help)
	}
	line("--config FILE", "a file that makes these settings, and some more: limits and peers")
	line("--help, --version", "say so, and end")
	b.WriteString(`
A setting --some-name is SALLYPORT_SOME_NAME in the environment and some_name in a file. A flag overrules the
environment, which overrules the file.
`)
	return b.String()
}
