package config

import (
	"errors"
	"strings"
	"time"

	"sallyport/internal/yamlfile"
)

// fromFile reads the configuration file, if path names one. What only a file can say goes to c.
func fromFile(path value, c *Config, h Host) (source, error) {
	if path.text == "" {
		return nil, nil
	}
	root, err := yamlfile.ReadFile(path.text)
	var inside *yamlfile.Error
	switch {
	case errors.As(err, &inside):
		return nil, err
	case err != nil:
		return nil, path.expected("a file that can be read: " + err.Error())
	}

	values := make([][]value, len(settings))
	fields := make([]yamlfile.Field, 0, len(settings)+3)
	for i, s := range settings {
		fields = append(fields, yamlfile.Optional(strings.ReplaceAll(s.name, "-", "_"), &values[i], s.read))
	}
	fields = append(fields,
		yamlfile.Group("tls", secured(&c.TLS)...),
		yamlfile.Group("limits", limits(&c.Limits, maxConnections(h.Descriptors))...),
		yamlfile.Optional("peers", &c.Peers, yamlfile.List(h.readPeer)))
	if err := root.Fields(fields...); err != nil {
		return nil, err
	}
	given := source{}
	for i, s := range settings {
		given[s] = values[i]
	}
	return given, nil
}

// many is more than any limit needs to be, and few enough to be added up.
const many = 1 << 30

func limits(l *Limits, connections int) []yamlfile.Field {
	return []yamlfile.Field{
		yamlfile.Optional("connections", &l.Connections, func(n *yamlfile.Node) (int, error) {
			if word, err := yamlfile.String(n); err == nil && word == "auto" {
				return connections, nil
			}
			i, err := yamlfile.Between(1, connections)(n)
			if err != nil {
				err = n.Expected("auto, or a whole number from 1 to %d, which the descriptor limit allows", connections)
			}
			return i, err
		}),
		yamlfile.Optional("header_bytes", &l.HeaderBytes, yamlfile.Between(minHeader, maxHeader)),
		yamlfile.Optional("read_timeout", &l.ReadTimeout, span),
		yamlfile.Optional("call_budget", &l.CallBudget, span),
		yamlfile.Optional("qube_queue", &l.QubeQueue, yamlfile.Between(1, many)),
		yamlfile.Optional("stage_queue", &l.StageQueue, yamlfile.Between(1, many)),
		yamlfile.Optional("subscriber_backlog", &l.SubscriberBacklog, yamlfile.Between(minBacklog, many)),
		yamlfile.Optional("log_lines_per_second", &l.LogLinesPerSecond, yamlfile.Between(1, many)),
		yamlfile.Optional("crashes_without_success", &l.CrashesWithoutSuccess, yamlfile.Between(1, many)),
	}
}

func secured(t *TLS) []yamlfile.Field {
	return []yamlfile.Field{
		yamlfile.Optional("certificate", &t.Certificate, yamlfile.String),
		yamlfile.Optional("key", &t.Key, yamlfile.String),
		yamlfile.Optional("client_ca", &t.ClientCA, yamlfile.List(yamlfile.String)),
		yamlfile.Optional("connections", &t.Connections, yamlfile.Between(1, many)),
		yamlfile.Optional("handshake_timeout", &t.HandshakeTimeout, span),
		yamlfile.Optional("peers", &t.Peers, yamlfile.List(readCertified)),
	}
}

// span reads a duration that lasts.
func span(n *yamlfile.Node) (time.Duration, error) {
	d, err := yamlfile.Duration(n)
	if err == nil && d == 0 {
		err = n.Expected("a duration longer than none")
	}
	return d, err
}

// Source is the name of a source as it stands in a file: this package knows no grammar for it. Whoever does has Expected
// to say where a bad one is.
type Source struct {
	Name string
	node *yamlfile.Node
}

func readSource(n *yamlfile.Node) (Source, error) {
	name, err := yamlfile.String(n)
	return Source{name, n}, err
}

// Expected is the error that s is not what it should be.
func (s Source) Expected(want string) error {
	if s.node == nil {
		return wrong(s.Name, want)
	}
	return s.node.Expected("%s", want)
}

// claim is what every entry says of what may be claimed.
type claim struct {
	named
	decided bool
}

// named are the sources of an entry: every one, or some.
type named struct {
	every bool
	names []Source
}

func (c *claim) fields() []yamlfile.Field {
	const inside, decided = "inside", "decided"
	return []yamlfile.Field{
		yamlfile.Required("sources", &c.named, func(n *yamlfile.Node) (named, error) {
			switch s, err := yamlfile.String(n); {
			case err == nil && s == "*":
				return named{every: true}, nil
			case err == nil:
				return named{}, n.Expected(`"*", or a list of names`)
			}
			names, err := yamlfile.List(readSource)(n)
			return named{names: names}, err
		}),
		yamlfile.Optional("policy", &c.decided, func(n *yamlfile.Node) (bool, error) {
			policy, err := yamlfile.OneOf(inside, decided)(n)
			return policy == decided, err
		}),
	}
}

// readPeer reads an entry of peers.
func (h Host) readPeer(n *yamlfile.Node) (Peer, error) {
	var user, group []uint32 // of length 1 where they are there
	var c claim
	err := n.Fields(append([]yamlfile.Field{
		yamlfile.Optional("user", &user, account("a user of this system, or a uid", h.User)),
		yamlfile.Optional("group", &group, account("a group of this system, or a gid", h.Group)),
	}, c.fields()...)...)
	p := Peer{Any: c.every, Sources: c.names, Decided: c.decided}
	switch {
	case err != nil:
		return Peer{}, err
	case len(user)+len(group) != 1:
		return Peer{}, n.Expected("either the key user or the key group")
	case len(user) == 1:
		p.ID = user[0]
	default:
		p.ID, p.Group = group[0], true
	}
	return p, nil
}

// readCertified reads an entry of tls.peers.
func readCertified(n *yamlfile.Node) (Certified, error) {
	var p Certified
	var c claim
	name := func(n *yamlfile.Node) (string, error) {
		s, err := yamlfile.String(n)
		if err == nil && s == "" {
			err = n.Expected("a subject alternative name")
		}
		return s, err
	}
	err := n.Fields(append([]yamlfile.Field{
		yamlfile.Optional("dns", &p.DNS, name),
		yamlfile.Optional("uri", &p.URI, name),
	}, c.fields()...)...)
	switch {
	case err != nil:
		return Certified{}, err
	case (p.DNS == "") == (p.URI == ""):
		return Certified{}, n.Expected("either the key dns or the key uri")
	}
	p.Guests, p.Sources, p.Decided = c.every, c.names, c.decided
	return p, nil
}

// account reads a user or a group, by number or by name.
func account(want string, lookup func(string) (uint32, error)) yamlfile.Reader[[]uint32] {
	return yamlfile.Parsed(yamlfile.Text, want, func(s string) ([]uint32, error) {
		id, err := parseID(s)
		if err != nil {
			id, err = lookup(s)
		}
		return []uint32{id}, err
	})
}
