package scenario_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/testcert"
)

// noIdentity is of a machine that calls nothing over TLS.
func noIdentity(string, string) (*tls.Config, error) { return nil, errors.New("another machine") }

// sent is what another machine gets.
func sent(t require.TestingT, p *scenario.Packed) *scenario.Packed {
	data, err := json.Marshal(p)
	require.NoError(t, err)
	var got scenario.Packed
	require.NoError(t, json.Unmarshal(data, &got))
	return &got
}

// TestAnotherMachineReadsTheSame, though the files are not there.
func TestAnotherMachineReadsTheSame(t *testing.T) {
	text := plain + `
variables: {n: {csv: t.csv}, m: {csv: t.csv, order: random}}
mix:
- {name: x, request: "{n.name} {m.size}", expect: {content: ^y}}
- {name: y, request_file: r}
`
	dir := t.TempDir()
	file := filepath.Join(dir, "s.yaml")
	for name, text := range map[string]string{file: text, filepath.Join(dir, "t.csv"): "name,size\nwork,1\n", filepath.Join(dir, "r"): "{n.name}"} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	here, p, err := scenario.Pack(file, checks)
	require.NoError(t, err)
	read, err := scenario.Read(file, checks)
	require.NoError(t, err)
	assert.Equal(t, read, here)

	require.NoError(t, os.RemoveAll(dir))
	p.Socket = "/s"
	there, err := sent(t, p).Unpack(checks, noIdentity)
	require.NoError(t, err)
	here.Target.Socket = "/s"
	assert.Equal(t, here, there)

	p.Socket = ""
	_, err = p.Unpack(checks, noIdentity)
	assert.EqualError(t, err, "expected a target")
	delete(p.Files, "r")
	_, err = p.Unpack(checks, noIdentity)
	assert.EqualError(t, err, file+":8: mix[1].request_file: expected a file that came along, of at most 4 MiB")
}

// TestNothingIsReadFromTheOtherMachinesDisk, whatever the scenario names, and keys stay where they are.
func TestNothingIsReadFromTheOtherMachinesDisk(t *testing.T) {
	a, dir := testcert.NewAuthority(), t.TempDir()
	require.NoError(t, testcert.Write(dir, "client", a.Client("load.example")))
	file := filepath.Join(dir, "s.yaml")
	text := least + "target: {connect: 'daemon.example:8643', certificate: client.pem, key: client.key, server_name: daemon}"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	s, p, err := scenario.Pack(file, checks)
	require.NoError(t, err)
	assert.Nil(t, s.Target.TLS)
	assert.Empty(t, p.Files)
	_, err = sent(t, p).Unpack(checks, noIdentity)
	assert.EqualError(t, err, file+":4: target: expected another machine")
	s, err = sent(t, p).Unpack(checks, func(addr, name string) (*tls.Config, error) { return &tls.Config{ServerName: addr + " " + name}, nil })
	require.NoError(t, err)
	assert.Equal(t, "daemon.example:8643 daemon", s.Target.TLS.ServerName)

	p.Text = []byte(strings.ReplaceAll(text, "daemon.example:8643", "daemon.example"))
	_, err = p.Unpack(checks, noIdentity)
	assert.ErrorContains(t, err, "expected connect to be HOST:PORT")
	p = &scenario.Packed{Text: []byte(plain + "mix: [{name: x, request_file: " + filepath.Join(dir, "client.key") + "}]"), Socket: "/s"}
	_, err = p.Unpack(checks, noIdentity)
	assert.ErrorContains(t, err, "expected a file that came along")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(text, ":8643", "", 1)), 0o600))
	_, _, err = scenario.Pack(file, checks)
	assert.ErrorContains(t, err, "expected connect to be HOST:PORT")
}

func TestFlagsAreSentToo(t *testing.T) {
	o := scenario.Options{Call: "admin.vm.List", Rate: 3, Duration: time.Minute, Target: scenario.Target{Addr: "h:1"}}
	p := &scenario.Packed{Options: o}
	s, err := sent(t, p).Unpack(checks, func(addr, name string) (*tls.Config, error) { return &tls.Config{ServerName: addr + name}, nil })
	require.NoError(t, err)
	assert.Equal(t, "h:1", s.Target.TLS.ServerName)
	_, err = sent(t, p).Unpack(checks, noIdentity)
	assert.EqualError(t, err, "expected another machine")
	p.Options.Rate = -1
	_, err = sent(t, p).Unpack(checks, noIdentity)
	assert.Error(t, err)
	o.Target = scenario.Target{}
	p.Options, p.Socket = o, "/s"
	s, err = sent(t, p).Unpack(checks, noIdentity)
	require.NoError(t, err)
	o.Target.Socket = "/s"
	simple, err := scenario.Simple(o, checks)
	require.NoError(t, err)
	assert.Equal(t, simple, s)

	// What a plain target is sent comes along, and is no file; and flags override what a file says.
	p.Options = scenario.Options{Call: "ping", Rate: 3, Duration: time.Minute, Request: "{{/etc/hostname"}
	s, err = sent(t, p).Unpack(checks, noIdentity)
	require.NoError(t, err)
	assert.Equal(t, "{/etc/hostname", string(s.Mix[0].Steps[0].Request.Append(nil, s.NewDraw(0))))
	p = &scenario.Packed{Text: []byte(plain + "max_lag: 3ms\nmix: [{name: x, request: x}]"), Options: scenario.Options{Target: scenario.Target{Addr: "h:1"}, MaxLag: time.Second}}
	s, err = sent(t, p).Unpack(checks, func(addr, name string) (*tls.Config, error) { return &tls.Config{ServerName: addr + name}, nil })
	require.NoError(t, err)
	assert.Equal(t, "h:1", s.Target.Addr)
	assert.Equal(t, "h:1", s.Target.TLS.ServerName)
	assert.True(t, s.Target.Plain)
	assert.Equal(t, time.Second, s.MaxLag)
}

// TestAnyBytesAreSent to targets as they are, and no other text is changed on its way.
func TestAnyBytesAreSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(what string) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, what)) }
		p := &scenario.Packed{
			File: rapid.String().Draw(t, "file"), Socket: rapid.String().Draw(t, "socket"), Files: map[string][]byte{rapid.String().Draw(t, "name"): []byte(text("text"))}, Text: []byte(text("scenario")),
			Options: scenario.Options{
				Call: "admin.vm.List", Request: text("request"), Payload: text("payload"), Source: rapid.String().Draw(t, "source"), Rate: 3, MaxLag: time.Second,
				Target: scenario.Target{Addr: "h:1", Plain: true}, Thresholds: []string{rapid.String().Draw(t, "threshold")},
			},
		}
		require.NoError(t, p.Check())
		got := sent(t, p)
		if len(p.Text) == 0 {
			p.Text = got.Text // be it nil
		}
		require.Equal(t, p, got)
	})
	for want, p := range map[string]*scenario.Packed{
		"the scenario's path: expected UTF-8, to send it to other machines, and found \"\\xff\"": {File: "\xff"},
		"the name of a file: expected": {Files: map[string][]byte{"a": nil, "\xff": nil}},
		"--socket: expected":           {Socket: "\xff"},
		"--tls: expected":              {Options: scenario.Options{Target: scenario.Target{Addr: "\xff"}}},
		"METHOD: expected":             {Options: scenario.Options{Call: "\xff"}},
		"DEST: expected":               {Options: scenario.Options{Dest: "\xff"}},
		"--source: expected":           {Options: scenario.Options{Source: "\xff"}},
		"--expect: expected":           {Options: scenario.Options{Expect: "\xff"}},
		"--content: expected":          {Options: scenario.Options{Content: "\xff"}},
		"--threshold: expected":        {Options: scenario.Options{Thresholds: []string{"a", "\xff"}}},
	} {
		assert.ErrorContains(t, p.Check(), want)
	}
	assert.ErrorContains(t, json.Unmarshal([]byte(`{"Options":{"Unheard":1}}`), new(scenario.Packed)), "unknown field")
	file := filepath.Join(t.TempDir(), "\xff.yaml")
	require.NoError(t, os.WriteFile(file, []byte(least+"target: {socket: /s}"), 0o600))
	_, _, err := scenario.Pack(file, checks)
	assert.ErrorContains(t, err, "the scenario's path: expected UTF-8")
}

// TestFilesAreBounded: neither a large one nor many are sent, or read often.
func TestFilesAreBounded(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	var mix strings.Builder
	for range 257 {
		mix.WriteString("- {name: x, request_file: r}\n")
	}
	_, err := read(t, plain+"mix:\n"+mix.String(), "r", large)
	assert.ErrorContains(t, err, "mix[256].request_file: expected files of at most 256 MiB in all, each counted as often as it is named")

	dir := t.TempDir()
	mix.Reset()
	for i := range 41 {
		name := strings.Repeat("r", i+1)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(large), 0o600))
		mix.WriteString("- {name: x, request_file: " + name + "}\n")
	}
	file := filepath.Join(dir, "s.yaml")
	require.NoError(t, os.WriteFile(file, []byte(plain+"mix:\n"+mix.String()), 0o600))
	_, _, err = scenario.Pack(file, checks)
	assert.EqualError(t, err, file+": expected at most 40 MiB, with the files that it names, to send to other machines")
}
