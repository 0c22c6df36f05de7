package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sallyport/internal/yamlfile"
)

// setting is what can be set by flag, by environment and in a file. Its set gives what it expected instead of a bad
// text, or nothing.
type setting struct {
	name string // its flag, without the dashes
	arg  string // what the flag takes; empty for a switch
	help string
	set  func(c *Config, text string) (want string)
	many bool          // the flag may be repeated
	drop func(*Config) // clears what weaker sources said, where set adds to it
}

// settings are all of them, in the order of --help.
var settings = []*setting{
	{
		name: "socket-dir", arg: "DIR", help: "where sockets are made ($XDG_RUNTIME_DIR/sallyport; /run/sallyport for root)",
		set: directory(func(c *Config) *string { return &c.SocketDir }),
	},
	stateDir,
	policyDir,
	inventory,
	demo,
	{
		name: "drill", help: "serve the methods that rehearse faults, such as drill.Crash",
		set: toggle(func(c *Config) *bool { return &c.Drill }),
	},
	{
		name: "http", arg: "ADDR", help: "health, metrics and profiles, on a loopback address (off)",
		set: setHTTP,
	},
	listenTLS,
	{
		name: "log-file", arg: "PATH", help: "where log lines go (standard error)",
		set: text(func(c *Config) *string { return &c.Log.File }),
	},
	{
		name: "log-level", arg: "LEVEL", help: "debug, info, warn or error (info)",
		set: word(func(c *Config) *Level { return &c.Log.Level }, Debug, Info, Warn, Error),
	},
	{
		name: "log-format", arg: "FORMAT", help: "json or console (json)",
		set: word(func(c *Config) *Format { return &c.Log.Format }, JSON, Console),
	},
}

// The settings that are looked at together.
var (
	stateDir = &setting{
		name: "state-dir", arg: "DIR", help: "durable state ($XDG_STATE_HOME/sallyport; /var/lib/sallyport for root)",
		set: directory(func(c *Config) *string { return &c.StateDir }),
	}
	policyDir = &setting{
		name: "policy-dir", arg: "DIR", help: "policy files (/run/qubes/policy.d and /etc/qubes/policy.d); repeatable",
		set: func(c *Config, text string) string {
			c.PolicyDirs = append(c.PolicyDirs, "")
			return directory(func(c *Config) *string { return &c.PolicyDirs[len(c.PolicyDirs)-1] })(c, text)
		},
		many: true,
		drop: func(c *Config) { c.PolicyDirs = nil },
	}
	inventory = &setting{
		name: "inventory", arg: "FILE", help: "YAML inventory, loaded only into an empty state (none)",
		set: text(func(c *Config) *string { return &c.Inventory }),
	}
	demo = &setting{
		name: "demo", help: "serve a built-in inventory, from temporary state",
		set: toggle(func(c *Config) *bool { return &c.Demo }),
	}
)

var listenTLS = &setting{
	name: "listen-tls", arg: "ADDR", help: "clients on other machines, at an address and port (off)",
	set: func(c *Config, text string) string {
		addr, err := netip.ParseAddrPort(text)
		if err != nil && text != "" {
			return "an address and a port, such as 192.0.2.1:8643"
		}
		c.TLS.Listen = addr
		return ""
	},
}

// apply makes the setting, if there are values.
func (s *setting) apply(c *Config, values []value) error {
	if len(values) > 0 && s.drop != nil {
		s.drop(c)
	}
	for _, v := range values {
		if want := s.set(c, v.text); want != "" {
			return v.expected(want)
		}
	}
	return nil
}

// read reads the setting in a file.
func (s *setting) read(n *yamlfile.Node) ([]value, error) {
	one := func(n *yamlfile.Node) (value, error) {
		v := value{origin: n.Place(), node: n}
		var err error
		if s.arg == "" {
			var on bool
			on, err = yamlfile.Bool(n)
			v.text = strconv.FormatBool(on)
		} else {
			v.text, err = yamlfile.String(n)
		}
		return v, err
	}
	if !s.many {
		v, err := one(n)
		return []value{v}, err
	}
	values, err := yamlfile.List(one)(n)
	if err == nil && len(values) == 0 {
		err = n.Expected("a list that is not empty")
	}
	return values, err
}

func setHTTP(c *Config, text string) string {
	if text == "" {
		c.HTTP = netip.AddrPort{}
		return ""
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil || !addr.Addr().IsLoopback() {
		return "a loopback address and a port, such as 127.0.0.1:9100"
	}
	c.HTTP = addr
	return ""
}

// text is for settings that may be empty, which is none.
func text(field func(*Config) *string) func(*Config, string) string {
	return func(c *Config, text string) string {
		*field(c) = text
		return ""
	}
}

func directory(field func(*Config) *string) func(*Config, string) string {
	return func(c *Config, text string) string {
		if text == "" {
			return "a directory"
		}
		*field(c) = text
		return ""
	}
}

func toggle(field func(*Config) *bool) func(*Config, string) string {
	return func(c *Config, text string) string {
		switch text {
		case "true", "1":
			*field(c) = true
		case "false", "0":
			*field(c) = false
		default:
			return "true or false"
		}
		return ""
	}
}

func word[T ~string](field func(*Config) *T, words ...T) func(*Config, string) string {
	return func(c *Config, text string) string {
		if !slices.Contains(words, T(text)) {
			names := make([]string, len(words))
			for i, w := range words {
				names[i] = string(w)
			}
			return "one of " + strings.Join(names, ", ")
		}
		*field(c) = T(text)
		return ""
	}
}
