// Package config is what an operator sets, and where he may set it:
//
//	flags > environment SALLYPORT_... > file (--config) > defaults
//
// Every setting has one name in three spellings: --log-level, SALLYPORT_LOG_LEVEL, log_level. Load reads all of them and
// gives a Config that has been checked; what is wrong is said in one line that names the flag, the variable, or the line
// of the file. A bad value is an error even where a better source overrules it: it would bite on another day.
//
// The package makes no directory, opens nothing but the configuration file, and knows nothing of the API.
package config

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// Config is a checked configuration.
type Config struct {
	SocketDir  string
	StateDir   string   // empty with Demo, whose state is temporary
	PolicyDirs []string // the first one that has a file of some name wins
	Inventory  string   // empty for none
	Demo       bool
	Drill      bool
	HTTP       netip.AddrPort // on loopback; the zero AddrPort for none
	Log        Log
	Limits     Limits
	Peers      []Peer // the first one that a peer Is counts
	TLS        TLS
}

// Log says where log lines go, and which.
type Log struct {
	File   string // empty for standard error
	Level  Level
	Format Format
}

// Level is the least severity that is logged.
type Level string

// Format is what a log line looks like.
type Format string

// The levels and formats.
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"

	JSON    Format = "json"
	Console Format = "console"
)

// Limits bound what clients and faults can use up.
type Limits struct {
	Connections           int           // open at once
	HeaderBytes           int           // of a request
	ReadTimeout           time.Duration // for a request to arrive
	CallBudget            time.Duration // that a Work may take
	QubeQueue             int           // orders that wait for a qube
	StageQueue            int           // messages that wait for an actor
	SubscriberBacklog     int           // bytes of events that wait for a subscriber
	LogLinesPerSecond     int
	CrashesWithoutSuccess int // of an actor, before it is backed off
}

// The bounds of HeaderBytes: room for the longest names, and what the protocol's reader takes (spec: wire.md 2).
const (
	minHeader = 512
	maxHeader = 4096
)

// minBacklog is room for what the longest call causes at once.
const minBacklog = 65536

// reserved is how many descriptors are kept for files, logs and the store.
const reserved = 512

// maxConnections is what so many descriptors allow.
func maxConnections(descriptors uint64) int {
	if descriptors < 2*reserved {
		return max(1, int(descriptors/2))
	}
	return int(min(descriptors-reserved, math.MaxInt32))
}

// Peer says which sources a user, or the members of a group, may claim (design: 7). The zero Peer may claim none.
type Peer struct {
	ID      uint32
	Group   bool     // ID is a group's
	Any     bool     // may claim any source
	Sources []Source // may claim these
	Decided bool     // evaluates policy itself, as qrexec does
}

// Is reports whether p is about the process with that user and those groups, as the kernel says.
func (p Peer) Is(uid uint32, gids []uint32) bool {
	if p.Group {
		return slices.Contains(gids, p.ID)
	}
	return p.ID == uid
}

// TLS is how clients on other machines are served: they have to prove by a certificate who they are.
type TLS struct {
	Listen           netip.AddrPort // the zero AddrPort for none
	Certificate, Key string         // files in PEM; with Listen, both are named
	ClientCA         []string       // such files; with Listen, there is one at least
	Connections      int            // open at once
	HandshakeTimeout time.Duration
	Peers            []Certified // the first one of a name that the certificate bears counts
}

// Certified says which sources may be claimed by whoever has a certificate with a certain subject alternative name.
type Certified struct {
	DNS, URI string   // one of them
	Guests   bool     // may claim any source but dom0
	Sources  []Source // may claim these
	Decided  bool     // evaluates policy itself, as qrexec does
}

// defaults are what holds where nobody said anything.
func defaults(env func(string) string, h Host) Config {
	c := Config{
		SocketDir:  h.socketDir(env),
		StateDir:   h.stateDir(env),
		PolicyDirs: []string{"/run/qubes/policy.d", "/etc/qubes/policy.d"}, // spec: policy.md 1
		Log:        Log{Level: Info, Format: JSON},
		Limits: Limits{
			Connections:           maxConnections(h.Descriptors),
			HeaderBytes:           maxHeader,
			ReadTimeout:           30 * time.Second,
			CallBudget:            time.Minute,
			QubeQueue:             1024,
			StageQueue:            65536,
			SubscriberBacklog:     1 << 20,
			LogLinesPerSecond:     200000,
			CrashesWithoutSuccess: 100,
		},
		Peers: []Peer{{ID: 0, Any: true}},
		TLS:   TLS{ClientCA: []string{}, Connections: 128, HandshakeTimeout: 10 * time.Second, Peers: []Certified{}},
	}
	if h.UID != 0 {
		c.Peers = append(c.Peers, Peer{ID: h.UID, Any: true})
	}
	return c
}
