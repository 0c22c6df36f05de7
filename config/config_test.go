package config_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/config"
)

// root is a machine on which every directory exists but those that are called missing.
var root = config.Host{
	UID:         0,
	Descriptors: 4096,
	TempDir:     "/temp",
	IsDir:       func(path string) bool { return !strings.Contains(path, "missing") },
	User:        accounts(map[string]uint32{"root": 0, "alice": 1000}),
	Group:       accounts(map[string]uint32{"qubes": 98}),
}

func accounts(ids map[string]uint32) func(string) (uint32, error) {
	return func(name string) (uint32, error) {
		if id, ok := ids[name]; ok {
			return id, nil
		}
		return 0, errors.New("no such account")
	}
}

func user(uid uint32) config.Host {
	h := root
	h.UID = uid
	return h
}

type vars map[string]string

func (v vars) get(name string) string { return v[name] }

// file writes a configuration file, and gives its path.
func file(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func load(t *testing.T, args ...string) config.Config {
	c, err := config.Load(args, vars{}.get, root)
	require.NoError(t, err)
	return c
}

func TestDefaults(t *testing.T) {
	assert.Equal(t, config.Config{
		SocketDir:  "/run/sallyport",
		StateDir:   "/var/lib/sallyport",
		PolicyDirs: []string{"/run/qubes/policy.d", "/etc/qubes/policy.d"},
		Log:        config.Log{Level: config.Info, Format: config.JSON},
		Limits: config.Limits{
			Connections: 3584, HeaderBytes: 4096, ReadTimeout: 30 * time.Second, CallBudget: 60 * time.Second,
			QubeQueue: 1024, StageQueue: 65536, SubscriberBacklog: 1 << 20, LogLinesPerSecond: 200000, CrashesWithoutSuccess: 100,
		},
		Peers: []config.Peer{{ID: 0, Any: true}},
		TLS:   config.TLS{ClientCA: []string{}, Connections: 128, HandshakeTimeout: 10 * time.Second, Peers: []config.Certified{}},
	}, load(t))
}

func TestExampleIsTheDefaults(t *testing.T) {
	assert.Equal(t, load(t), load(t, "--config", "sallyport.yaml"))
}

// TestExampleHasEveryKey: an unknown key of the example is an error already, a forgotten one is found here.
func TestExampleHasEveryKey(t *testing.T) {
	example, err := os.ReadFile("sallyport.yaml")
	require.NoError(t, err)
	for _, group := range []string{"x: 1", "limits: {x: 1}", "peers: [{x: 1}]", "tls: {x: 1}", "tls: {peers: [{x: 1}]}"} {
		_, err := config.Load([]string{"--config", file(t, group)}, vars{}.get, root)
		_, known, ok := strings.Cut(err.Error(), "expected one of the keys ")
		require.True(t, ok, err)
		for key := range strings.SplitSeq(known, ", ") {
			if key != "group" { // the example shows the other one of the two
				assert.Regexp(t, `(?m)^[ #-]*`+key+`:`, string(example)) // policy_dir is a comment: what is named has to exist
			}
		}
	}
}

// setting is one of the settings that have a flag, with three values, each for another source.
type setting struct {
	name                string
	file, env, flag     string
	get                 func(config.Config) any
	inFile, inEnv, flgd any
}

var settings = []setting{
	{"socket-dir", "/f", "/e", "/a", func(c config.Config) any { return c.SocketDir }, "/f", "/e", "/a"},
	{"state-dir", "/f", "/e", "/a", func(c config.Config) any { return c.StateDir }, "/f", "/e", "/a"},
	{"policy-dir", "[/f, /g]", "/e:/h", "/a", func(c config.Config) any { return c.PolicyDirs },
		[]string{"/f", "/g"}, []string{"/e", "/h"}, []string{"/a"}},
	{"inventory", "/f", "/e", "/a", func(c config.Config) any { return c.Inventory }, "/f", "/e", "/a"},
	{"demo", "true", "false", "true", func(c config.Config) any { return c.Demo }, true, false, true},
	{"drill", "true", "0", "1", func(c config.Config) any { return c.Drill }, true, false, true},
	{"http", `"[::1]:1"`, "127.0.0.1:2", "127.9.9.9:3", func(c config.Config) any { return c.HTTP },
		netip.MustParseAddrPort("[::1]:1"), netip.MustParseAddrPort("127.0.0.1:2"), netip.MustParseAddrPort("127.9.9.9:3")},
	{"listen-tls", `"[::1]:1"`, "0.0.0.0:2", "192.0.2.1:3", func(c config.Config) any { return c.TLS.Listen },
		netip.MustParseAddrPort("[::1]:1"), netip.MustParseAddrPort("0.0.0.0:2"), netip.MustParseAddrPort("192.0.2.1:3")},
	{"log-file", "/f", "/e", "/a", func(c config.Config) any { return c.Log.File }, "/f", "/e", "/a"},
	{"log-level", "debug", "warn", "error", func(c config.Config) any { return c.Log.Level }, config.Debug, config.Warn, config.Error},
	{"log-format", "console", "json", "console", func(c config.Config) any { return c.Log.Format }, config.Console, config.JSON, config.Console},
}

// secured is what listen-tls asks for besides.
const secured = "tls: {certificate: c.pem, key: k.pem, client_ca: [a.pem]}\n"

func TestAFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			args := []string{"--config", file(t, secured+strings.ReplaceAll(s.name, "-", "_")+": "+s.file)}
			env := vars{}
			get := func() any {
				c, err := config.Load(args, env.get, root)
				require.NoError(t, err)
				return s.get(c)
			}
			assert.NotEqual(t, s.inFile, s.get(load(t)))
			assert.Equal(t, s.inFile, get())
			env["SALLYPORT_"+strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))] = s.env
			assert.Equal(t, s.inEnv, get())
			args = append(args, "--"+s.name+"="+s.flag)
			assert.Equal(t, s.flgd, get())
		})
	}
}

// TestEverySettingIsTested: the table above has every flag that --help lists.
func TestEverySettingIsTested(t *testing.T) {
	var listed, tested []string
	for _, m := range regexp.MustCompile(`(?m)^  --([a-z-]+)`).FindAllStringSubmatch(config.Usage(), -1) {
		if m[1] != "config" && m[1] != "help" {
			listed = append(listed, m[1])
		}
	}
	for _, s := range settings {
		tested = append(tested, s.name)
	}
	assert.Equal(t, listed, tested)
}

func TestFlags(t *testing.T) {
	c := load(t, "-policy-dir", "/a", "--policy-dir=/b", "--demo", "--log-level=debug", "--log-level", "warn", "--http=127.0.0.1:1", "--http=")
	assert.Equal(t, []string{"/a", "/b"}, c.PolicyDirs)
	assert.True(t, c.Demo)
	assert.Empty(t, c.StateDir, "a demo has no durable state")
	assert.Equal(t, config.Warn, c.Log.Level, "the last one counts")
	assert.False(t, c.HTTP.IsValid())
	assert.False(t, load(t, "--config", file(t, `http: "[::1]:1"`), "--http=").HTTP.IsValid(), "an empty flag switches off")
	assert.False(t, load(t, "--demo=false").Demo)

	for _, args := range [][]string{{"--help"}, {"-h"}, {"--demo", "-help"}} {
		_, err := config.Load(args, vars{}.get, root)
		assert.ErrorIs(t, err, config.ErrHelp)
	}
	_, err := config.Load([]string{"--version"}, vars{}.get, root)
	assert.ErrorIs(t, err, config.ErrVersion)
}

func TestTheEnvironmentNamesAFile(t *testing.T) {
	env := vars{"SALLYPORT_CONFIG": file(t, "drill: true")}
	c, err := config.Load(nil, env.get, root)
	require.NoError(t, err)
	assert.True(t, c.Drill)
	c, err = config.Load([]string{"--config", file(t, "")}, env.get, root)
	require.NoError(t, err)
	assert.False(t, c.Drill, "a flag names another")
	env["SALLYPORT_CONFIG"] = "/no/such/file"
	_, err = config.Load(nil, env.get, root)
	assert.EqualError(t, err, "SALLYPORT_CONFIG: expected a file that can be read: /no/such/file: no such file or directory")
}

func TestDirectories(t *testing.T) {
	for _, c := range []struct {
		what          string
		host          config.Host
		env           vars
		socket, state string
	}{
		{"root", root, vars{"XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/run/sallyport", "/var/lib/sallyport"},
		{"user", user(7), vars{"XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/r/sallyport", "/s/sallyport"},
		{"user without XDG", user(7), vars{"HOME": "/h"}, "/temp/sallyport-7", "/h/.local/state/sallyport"},
		{"relative XDG", user(7), vars{"XDG_RUNTIME_DIR": "r", "XDG_STATE_HOME": "s", "HOME": "/h"}, "/temp/sallyport-7", "/h/.local/state/sallyport"},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := config.Load(nil, c.env.get, c.host)
			require.NoError(t, err)
			assert.Equal(t, c.socket, got.SocketDir)
			assert.Equal(t, c.state, got.StateDir)
			assert.Equal(t, c.socket, config.SocketDir(c.env.get, c.host))
			c.env["SALLYPORT_SOCKET_DIR"] = "/e"
			assert.Equal(t, "/e", config.SocketDir(c.env.get, c.host))
		})
	}
	_, err := config.Load([]string{"--demo"}, vars{}.get, user(7))
	assert.NoError(t, err, "a demo needs no home")
}

func TestConnectionsFollowTheDescriptorLimit(t *testing.T) {
	for descriptors, want := range map[uint64]int{1: 1, 256: 128, 1023: 511, 1024: 512, 4096: 3584, 1<<64 - 1: 1<<31 - 1} {
		h := root
		h.Descriptors = descriptors
		c, err := config.Load(nil, vars{}.get, h)
		require.NoError(t, err)
		assert.Equal(t, want, c.Limits.Connections, "of %d descriptors", descriptors)
	}
}

func TestLimits(t *testing.T) {
	c := load(t, "--config", file(t, `limits: {connections: 1, header_bytes: 512, read_timeout: 1ms, call_budget: 1h,
  qube_queue: 2, stage_queue: 3, subscriber_backlog: 65536, log_lines_per_second: 4, crashes_without_success: 5}`))
	assert.Equal(t, config.Limits{
		Connections: 1, HeaderBytes: 512, ReadTimeout: time.Millisecond, CallBudget: time.Hour,
		QubeQueue: 2, StageQueue: 3, SubscriberBacklog: 65536, LogLinesPerSecond: 4, CrashesWithoutSuccess: 5,
	}, c.Limits)
	c = load(t, "--config", file(t, "limits: {qube_queue: 2}"))
	assert.Equal(t, 65536, c.Limits.StageQueue, "what is not named stays")
}

func TestPeers(t *testing.T) {
	path := file(t, `
peers:
- {user: alice, sources: [work, sys-net]}
- {user: 1234, sources: []}
- {group: qubes, sources: "*", policy: decided}
- {group: "55", sources: '*', policy: inside}
`)
	peers := load(t, "--config", path).Peers
	require.Len(t, peers, 4)
	assert.EqualError(t, peers[0].Sources[1].Expected("a qube's name"), path+":3: peers[0].sources[1]: expected a qube's name")
	assert.EqualError(t, config.Source{Name: "x"}.Expected("y"), "x: expected y")
	assert.Equal(t, []string{"work", "sys-net"}, []string{peers[0].Sources[0].Name, peers[0].Sources[1].Name})
	peers[0].Sources = nil
	assert.Equal(t, config.Peer{ID: 1000}, peers[0])
	assert.Equal(t, config.Peer{ID: 1234, Sources: []config.Source{}}, peers[1])
	assert.Equal(t, config.Peer{ID: 98, Group: true, Any: true, Decided: true}, peers[2])
	assert.Equal(t, config.Peer{ID: 55, Group: true, Any: true}, peers[3])

	assert.True(t, peers[0].Is(1000, nil))
	assert.False(t, peers[0].Is(98, []uint32{1000}), "a user is no group")
	assert.True(t, peers[2].Is(1000, []uint32{1, 98}))
	assert.False(t, peers[2].Is(98, []uint32{1}), "a group is no user")

	assert.Empty(t, load(t, "--config", file(t, "peers: []")).Peers, "root is nothing special once the key is there")
	c, err := config.Load(nil, vars{"HOME": "/h"}.get, user(1000))
	require.NoError(t, err)
	assert.Equal(t, []config.Peer{{ID: 0, Any: true}, {ID: 1000, Any: true}}, c.Peers, "root, and the daemon's own user")
}

func TestTLS(t *testing.T) {
	c := load(t, "--listen-tls", "0.0.0.0:8643", "--config", file(t, `
tls:
  certificate: c.pem
  key: k.pem
  client_ca: [a.pem, b.pem]
  connections: 7
  handshake_timeout: 3s
  peers:
  - {dns: backup.example, sources: "*"}
  - {uri: "spiffe://example/admin", sources: [dom0, work], policy: decided}
`)).TLS
	names := func(p config.Certified) (all []string) {
		for _, s := range p.Sources {
			all = append(all, s.Name)
		}
		return all
	}
	require.Len(t, c.Peers, 2)
	assert.Equal(t, []string{"dom0", "work"}, names(c.Peers[1]))
	c.Peers[1].Sources = nil
	assert.Equal(t, config.TLS{
		Listen: netip.MustParseAddrPort("0.0.0.0:8643"), Certificate: "c.pem", Key: "k.pem", ClientCA: []string{"a.pem", "b.pem"},
		Connections: 7, HandshakeTimeout: 3 * time.Second,
		Peers: []config.Certified{{DNS: "backup.example", Guests: true}, {URI: "spiffe://example/admin", Decided: true}},
	}, c)
	assert.False(t, load(t, "--listen-tls=").TLS.Listen.IsValid(), "an empty flag switches off")
}

func TestBadFlags(t *testing.T) {
	const help = ": expected a flag that --help lists"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--log-level", "loud"}, "--log-level: expected one of debug, info, warn, error"},
		{[]string{"--log-level="}, "--log-level: expected one of debug, info, warn, error"},
		{[]string{"--log-level", "INFO"}, "--log-level: expected one of debug, info, warn, error"},
		{[]string{"--log-format=text"}, "--log-format: expected one of json, console"},
		{[]string{"--http", "9100"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--http", "0.0.0.0:9100"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--http", ":9100"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--http", "[::]:9100"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--http", "127.0.0.1"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--http", "127.0.0.1:99999"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--http", "192.168.1.1:9100"}, "--http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--listen-tls", "8643"}, "--listen-tls: expected an address and a port, such as 192.0.2.1:8643"},
		{[]string{"--listen-tls", ":8643"}, "--listen-tls: expected an address and a port, such as 192.0.2.1:8643"},
		{[]string{"--listen-tls", "127.0.0.1:1"}, "--listen-tls: expected tls.certificate, tls.key and tls.client_ca, too, in a configuration file"},
		{[]string{"--socket-dir="}, "--socket-dir: expected a directory"},
		{[]string{"--state-dir="}, "--state-dir: expected a directory"},
		{[]string{"--policy-dir="}, "--policy-dir: expected a directory"},
		{[]string{"--policy-dir=/a", "--policy-dir=/missing"}, "--policy-dir: expected a directory that exists"},
		{[]string{"--demo=maybe"}, "--demo: expected true or false"},
		{[]string{"--drill=2"}, "--drill: expected true or false"},
		{[]string{"--demo", "--state-dir=/s"}, "--demo: expected no state directory, which --state-dir sets: a demo's state is temporary"},
		{[]string{"--inventory=/i", "--demo"}, "--demo: expected no inventory, which --inventory sets: a demo has its own"},
		{[]string{"--config="}, "--config: expected a file"},
		{[]string{"--config=/no/such"}, "--config: expected a file that can be read: /no/such: no such file or directory"},
		{[]string{"--http"}, "--http: expected a value"},
		{[]string{"--htpp=x"}, "--htpp" + help},
		{[]string{"-x"}, "--x" + help},
		{[]string{"--=x"}, "--=x" + help},
		{[]string{"---"}, "---" + help},
		{[]string{"--a\nb"}, `--a\nb` + help},
		{[]string{"start"}, "start: expected flags and nothing else"},
		{[]string{"--demo", "true"}, "true: expected flags and nothing else"},
		{[]string{"--", "\x1b[2J"}, `\x1b[2J: expected flags and nothing else`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			_, err := config.Load(c.args, vars{}.get, root)
			assert.EqualError(t, err, c.want)
		})
	}
	_, err := config.Load(nil, vars{}.get, user(7))
	assert.EqualError(t, err, "--state-dir: expected a directory, since neither XDG_STATE_HOME nor HOME says where to make one")
}

func TestBadVariables(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"LOG_LEVEL", "loud", "one of debug, info, warn, error"},
		{"LOG_FORMAT", "xml", "one of json, console"},
		{"HTTP", "localhost:1", "a loopback address and a port, such as 127.0.0.1:9100"},
		{"DEMO", "yes", "true or false"},
		{"DRILL", "on", "true or false"},
		{"POLICY_DIR", "/a:", "a directory"},
		{"POLICY_DIR", "/a:/missing", "a directory that exists"},
		{"CONFIG", "/no/such", "a file that can be read: /no/such: no such file or directory"},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			_, err := config.Load(nil, vars{"SALLYPORT_" + c.name: c.value}.get, root)
			assert.EqualError(t, err, "SALLYPORT_"+c.name+": expected "+c.want)
		})
	}
	_, err := config.Load([]string{"--demo"}, vars{"SALLYPORT_STATE_DIR": "/s"}.get, root)
	assert.EqualError(t, err, "--demo: expected no state directory, which SALLYPORT_STATE_DIR sets: a demo's state is temporary")
	_, err = config.Load([]string{"--log-level=info"}, vars{"SALLYPORT_LOG_LEVEL": "loud"}.get, root)
	assert.EqualError(t, err, "SALLYPORT_LOG_LEVEL: expected one of debug, info, warn, error", "bad even if overruled")
	_, err = config.Load([]string{"--policy-dir=/a"}, vars{"SALLYPORT_POLICY_DIR": "/missing"}.get, root)
	assert.NoError(t, err, "what is overruled need not exist")
}

func TestBadFiles(t *testing.T) {
	const top = "socket_dir, state_dir, policy_dir, inventory, demo, drill, http, listen_tls, log_file, log_level, log_format, tls, limits, peers"
	for _, c := range []struct{ file, want string }{
		{"log_level: info\nlog-format: json", `2: log-format: expected one of the keys ` + top},
		{"config: x", "1: config: expected one of the keys " + top},
		{"log_level: loud", "1: log_level: expected one of debug, info, warn, error"},
		{"log_format: [json]", "1: log_format: expected text"},
		{"demo: 'true'", "1: demo: expected true or false"},
		{"http: 9100", "1: http: expected text: put it in quotes"},
		{"http: 10.0.0.1:80", "1: http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{"state_dir: ''", "1: state_dir: expected a directory"},
		{"state_dir:", "1: state_dir: expected text"},
		{"policy_dir: /a", "1: policy_dir: expected a list"},
		{"policy_dir: []", "1: policy_dir: expected a list that is not empty"},
		{"policy_dir:\n- /a\n- /missing", "3: policy_dir[1]: expected a directory that exists"},
		{"\ndemo: true\nstate_dir: /s", "2: demo: expected no state directory, which FILE:3 sets: a demo's state is temporary"},
		{"demo: true\ndemo: false", "2: demo: expected this key once, but it is on line 1 too"},
		{"demo: {", "1: expected YAML (did not find expected node content)"},

		{"listen_tls: '[::1]:1'\ntls: {certificate: a, client_ca: [b]}", "1: listen_tls: expected tls.certificate, tls.key and tls.client_ca, too, in a configuration file"},
		{"listen_tls: '[::1]:1'\ntls: {certificate: a, key: b, client_ca: []}", "1: listen_tls: expected tls.certificate, tls.key and tls.client_ca, too, in a configuration file"},
		{"tls: {client_ca: a.pem}", "1: tls.client_ca: expected a list"},
		{"tls: {connections: 0}", "1: tls.connections: expected a whole number from 1 to 1073741824"},
		{"tls: {handshake_timeout: 0s}", "1: tls.handshake_timeout: expected a duration longer than none"},
		{"tls: {peers: [{sources: '*'}]}", "1: tls.peers[0]: expected either the key dns or the key uri"},
		{"tls: {peers: [{dns: a, uri: b, sources: '*'}]}", "1: tls.peers[0]: expected either the key dns or the key uri"},
		{"tls: {peers: [{dns: '', sources: '*'}]}", "1: tls.peers[0].dns: expected a subject alternative name"},
		{"tls: {peers: [{dns: a}]}", "1: tls.peers[0]: expected the key sources"},
		{"tls: {peers: [{user: root, sources: '*'}]}", "1: tls.peers[0].user: expected one of the keys dns, uri, sources, policy"},
		{"tls: {peers: [{dns: a, sources: dom0}]}", `1: tls.peers[0].sources: expected "*", or a list of names`},
		{"tls: {peers: [{dns: a, sources: '*', policy: outside}]}", "1: tls.peers[0].policy: expected one of inside, decided"},

		{"limits: []", "1: limits: expected a mapping"},
		{"limits: {conections: 1}", "1: limits.conections: expected one of the keys connections, header_bytes, read_timeout, call_budget, qube_queue, stage_queue, subscriber_backlog, log_lines_per_second, crashes_without_success"},
		{"limits: {connections: 0}", "1: limits.connections: expected auto, or a whole number from 1 to 3584, which the descriptor limit allows"},
		{"limits: {connections: 3585}", "1: limits.connections: expected auto, or a whole number from 1 to 3584, which the descriptor limit allows"},
		{"limits: {connections: all}", "1: limits.connections: expected auto, or a whole number from 1 to 3584, which the descriptor limit allows"},
		{"limits: {header_bytes: 4097}", "1: limits.header_bytes: expected a whole number from 512 to 4096"},
		{"limits: {header_bytes: 511}", "1: limits.header_bytes: expected a whole number from 512 to 4096"},
		{"limits: {read_timeout: 30}", "1: limits.read_timeout: expected a duration such as 30s or 1m30s"},
		{"limits: {read_timeout: 0s}", "1: limits.read_timeout: expected a duration longer than none"},
		{"limits: {call_budget: 0}", "1: limits.call_budget: expected a duration longer than none"},
		{"limits: {subscriber_backlog: 65535}", "1: limits.subscriber_backlog: expected a whole number from 65536 to 1073741824"},
		{"limits: {qube_queue: 0}", "1: limits.qube_queue: expected a whole number from 1 to 1073741824"},
		{"limits: {stage_queue: -1}", "1: limits.stage_queue: expected a whole number from 1 to 1073741824"},
		{"limits: {log_lines_per_second: 1e6}", "1: limits.log_lines_per_second: expected a whole number from 1 to 1073741824"},
		{"limits: {crashes_without_success: 0}", "1: limits.crashes_without_success: expected a whole number from 1 to 1073741824"},

		{"peers:", "1: peers: expected a list"},
		{"peers: {}", "1: peers: expected a list"},
		{"peers:\n- {user: root, sources: '*'}\n- {user: bob, sources: '*'}", "3: peers[1].user: expected a user of this system, or a uid"},
		{"peers: [{group: alice, sources: '*'}]", "1: peers[0].group: expected a group of this system, or a gid"},
		{"peers: [{user: -1, sources: '*'}]", "1: peers[0].user: expected a user of this system, or a uid"},
		{"peers: [{user: 4294967295, sources: '*'}]", "1: peers[0].user: expected a user of this system, or a uid"},
		{"peers: [{user: [root], sources: '*'}]", "1: peers[0].user: expected text"},
		{"peers:\n- {user: root}", "2: peers[0]: expected the key sources"},
		{"peers:\n- {sources: '*'}", "2: peers[0]: expected either the key user or the key group"},
		{"peers:\n- {user: root, group: qubes, sources: '*'}", "2: peers[0]: expected either the key user or the key group"},
		{"peers: [{user: root, sources: work}]", `1: peers[0].sources: expected "*", or a list of names`},
		{"peers: [{user: root, sources: {}}]", `1: peers[0].sources: expected a list`},
		{"peers: [{user: root, sources: [5]}]", `1: peers[0].sources[0]: expected text: put it in quotes`},
		{"peers: [{user: root, sources: '*', policy: outside}]", "1: peers[0].policy: expected one of inside, decided"},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := file(t, c.file)
			_, err := config.Load([]string{"--config", path}, vars{}.get, root)
			assert.EqualError(t, err, path+":"+strings.ReplaceAll(c.want, "FILE", path))
		})
	}
}

func TestThisHost(t *testing.T) {
	h := config.ThisHost()
	assert.Equal(t, uint32(os.Geteuid()), h.UID)
	assert.Positive(t, h.Descriptors)
	assert.True(t, h.IsDir(t.TempDir()))
	assert.False(t, h.IsDir("sallyport.yaml"))
	assert.False(t, h.IsDir("/no/such"))
	uid, err := h.User("root")
	assert.NoError(t, err)
	assert.Zero(t, uid)
	gid, err := h.Group("root")
	assert.NoError(t, err)
	assert.Zero(t, gid)
	_, err = h.User("no-such-user")
	assert.Error(t, err)
	_, err = h.Group("no-such-group")
	assert.Error(t, err)
}
