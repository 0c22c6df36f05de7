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
	fields := make([]yamlfile.Field, 0, len(settings)+2)
	for i, s := range settings {
		fields = append(fields, yamlfile.Optional(strings.ReplaceAll(s.name, "-", "_"), &values[i], s.read))
	}
	fields = append(fields,
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

// readPeer reads an entry of peers.
func (h Host) readPeer(n *yamlfile.Node) (Peer, error) {
	const inside, decided = "inside", "decided"
	var user, group []uint32 // of length 1 where they are there
	p, policy := Peer{}, inside
	err := n.Fields(
		yamlfile.Optional("user", &user, account("a user of this system, or a uid", h.User)),
		yamlfile.Optional("group", &group, account("a group of this system, or a gid", h.Group)),
		yamlfile.Required("sources", &p, func(n *yamlfile.Node) (Peer, error) {
			switch s, err := yamlfile.String(n); {
			case err == nil && s == "*":
				return Peer{Any: true}, nil
			case err == nil:
				return Peer{}, n.Expected(`"*", or a list of names`)
			}
			sources, err := yamlfile.List(readSource)(n)
			return Peer{Sources: sources}, err
		}),
		yamlfile.Optional("policy", &policy, yamlfile.OneOf(inside, decided)),
	)
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
	p.Decided = policy == decided
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
