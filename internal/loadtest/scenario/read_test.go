package scenario_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/testcert"
	"sallyport/internal/yamlfile"
)

// least is all that a scenario has to have, and head what comes before its mix.
const (
	head  = "version: 1\nstages: [{rate: 5, for: 10s}]\n"
	least = head + "mix: [{method: admin.vm.List}]\n"
	plain = head + "target: {plain: true}\n"
)

var checks = scenario.Checks{
	Method: func(name string) bool { return strings.HasPrefix(name, "admin.") },
	Threshold: func(condition string) error {
		if condition == "wrong" {
			return errors.New("something right")
		}
		return nil
	},
}

// read reads a scenario that says text, beside the files that are given by name.
func read(t testing.TB, text string, beside ...string) (*scenario.Scenario, error) {
	dir := t.TempDir()
	for i := 0; i < len(beside); i += 2 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, beside[i]), []byte(beside[i+1]), 0o600))
	}
	file := filepath.Join(dir, "s.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return scenario.Read(file, checks)
}

func TestDefaults(t *testing.T) {
	s, err := read(t, least)
	require.NoError(t, err)
	assert.Equal(t, &scenario.Scenario{
		Name:    "s", // as its file
		Load:    scenario.Load{Stages: []scenario.Stage{{From: 5, To: 5, For: 10 * time.Second}}},
		Timeout: 10 * time.Second, MaxInFlight: 4096, MaxLag: time.Millisecond,
		Mix: []scenario.Item{{Name: "admin.vm.List", Weight: 1, Steps: []scenario.Call{{
			Method: "admin.vm.List", Source: scenario.Text("dom0"), Dest: scenario.Text("dom0"),
		}}}},
	}, s)
	simple, err := scenario.Simple(scenario.Options{Call: "admin.vm.List", Rate: 5, Duration: 10 * time.Second}, checks)
	require.NoError(t, err)
	s.Name = "admin.vm.List"
	assert.Equal(t, s, simple, "flags and files have the same defaults")
}

func TestExample(t *testing.T) {
	s, err := read(t, string(scenario.Example))
	require.NoError(t, err)
	assert.Zero(t, s.Target)
	assert.Equal(t, uint64(7), s.Seed)
	assert.True(t, s.Load.Poisson)
	assert.False(t, s.Load.Closed)
	assert.Equal(t, []scenario.Stage{{"ramp", 0, 500, 10 * time.Second}, {"steady", 500, 500, 30 * time.Second}}, s.Load.Stages)
	assert.Equal(t, 5*time.Second, s.Warmup)
	require.Len(t, s.Mix, 5)
	assert.Equal(t, 80.0, s.Mix[0].Weight)
	assert.Equal(t, "admin.vm.feature.Get", s.Mix[0].Name)
	assert.Equal(t, 10*time.Millisecond, s.Mix[1].Steps[1].Think)
	assert.Equal(t, scenario.Expect{Type: "QubesVMNotFoundError"}, s.Mix[3].Steps[0].Expect)
	assert.Equal(t, 10, s.Subscribers[0].Count)
	assert.Equal(t, "admin.Events", s.Subscribers[0].Call.Method)
	assert.Equal(t, []scenario.Adversary{{Kind: scenario.SlowSender, Rate: 10, Count: 50}}, s.Adversaries)
	assert.Len(t, s.Thresholds, 3)
	assert.Equal(t, "note 1 of ", string(s.Mix[4].Steps[0].Payload.Append(nil, s.NewDraw(0))[:10]))
}

// TestExampleShowsEveryKey: an unknown key is an error already, a forgotten one is found here.
func TestExampleShowsEveryKey(t *testing.T) {
	for _, group := range []string{
		"x: 1", "target: {x: 1}", head + "mix: [{x: 1}]", head + "mix: [{steps: [{x: 1}]}]", plain + "mix: [{x: 1}]", "variables: {a: {x: 1}}",
		"variables: {a: {count: {x: 1}}}", head + "mix: [{expect: {x: 1}}]", least + "subscribers: [{x: 1}]", "adversaries: [{x: 1}]",
		"version: 1\nstages: [{x: 1}]\nmix: []", "version: 1\nmodel: closed\nstages: [{x: 1}]\nmix: []",
	} {
		_, err := read(t, group)
		require.Error(t, err)
		_, known, ok := strings.Cut(err.Error(), "expected one of the keys ")
		require.True(t, ok, "%s: %v", group, err)
		for key := range strings.SplitSeq(known, ", ") {
			assert.Regexp(t, `(?m)(^[ #-]*|[{ ])`+key+`(:|\b.* instead of rate)`, string(scenario.Example))
		}
	}
}

// manyVariables are one too many.
var manyVariables = func() (all string) {
	for i := range 101 {
		all += fmt.Sprintf("a%d: {count: {}}, ", i)
	}
	return all
}()

// TestErrors: each is told with file, line, key, and what was expected.
func TestErrors(t *testing.T) {
	many := func(n int, one string) string { return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]" }
	for _, c := range []struct{ what, text, want string }{
		{"no stages", "version: 1\nmix: [{method: admin.vm.List}]", "1: expected the key stages"},
		{"no mix", head, "1: expected the key mix"},
		{"another version", "version: 2", "1: version: expected a whole number from 1 to 1"},
		{"empty mix", head + "mix: []", "3: mix: expected a list with something in it"},
		{"large mix", head + "mix: " + many(1001, "{method: admin.x}"), "3: mix: expected a list of at most 1000"},
		{"empty stages", "version: 1\nstages: []\nmix: []", "2: stages: expected a list with something in it"},
		{"many stages", "version: 1\nstages: " + many(1001, "{rate: 1, for: 1s}") + "\nmix: []", "2: stages: expected a list of at most 1000"},
		{"no load at all", "version: 1\nstages: [{rate: 0, for: 1s}]\nmix: []", "2: stages: expected a stage whose rate is above 0"},
		{"stage without a length", "version: 1\nstages:\n- {rate: 1, for: 0s}\nmix: []", "3: stages[0].for: expected a duration above 0s, up to 1000h0m0s"},
		{"infinite rate", "version: 1\nstages:\n- {rate: .inf, for: 1s}\nmix: []", "3: stages[0].rate: expected a number from 0 to 10000000"},
		{"no number as rate", "version: 1\nstages:\n- {rate: nan, for: 1s}\nmix: []", "3: stages[0].rate: expected a number from 0 to 10000000"},
		{"negative rate", "version: 1\nstages:\n- {rate: -1, for: 1s}\nmix: []", "3: stages[0].rate: expected a number from 0 to 10000000"},
		{"rate and ramp", "version: 1\nstages:\n- {rate: 1, from: 1, for: 1s}\nmix: []", "3: stages[0]: expected either the key rate, or from and to"},
		{"half a ramp", "version: 1\nstages:\n- {from: 1, for: 1s}\nmix: []", "3: stages[0]: expected either the key rate, or from and to"},
		{"workers of an open model", "version: 1\nstages:\n- {workers: 1, for: 1s}\nmix: []", "3: stages[0].workers: expected one of the keys name, rate, from, to, for"},
		{"too many workers", "version: 1\nmodel: closed\nstages:\n- {workers: 1e6, for: 1s}\nmix: []", "4: stages[0].workers: expected a number from 0 to 65536"},
		{"no model", "version: 1\nmodel: both", "2: model: expected one of open, closed"},
		{"no arrivals", "version: 1\narrivals: never", "2: arrivals: expected one of constant, poisson"},
		{"long warm-up", least + "warmup: 10s", "4: warmup: expected less than all stages take, which is 10s"},
		{"no timeout", least + "timeout: 0s", "4: timeout: expected a duration above 0s, up to 10m0s"},
		{"long timeout", least + "timeout: 11m", "4: timeout: expected a duration above 0s, up to 10m0s"},
		{"nothing in flight", least + "max_in_flight: 0", "4: max_in_flight: expected a whole number from 1 to 1048576"},
		{"no lag", least + "max_lag: 0s", "4: max_lag: expected a duration above 0s, up to 10m0s"},

		{"no weight", head + "mix:\n- {method: admin.x, weight: 0}", "4: mix[0].weight: expected a number above 0, up to 1000000000"},
		{"no method", head + "mix:\n- {dest: work}", "4: mix[0]: expected the key method"},
		{"unknown method", head + "mix:\n- {method: amdin.vm.List}", "4: mix[0].method: expected a method of the API"},
		{"method with argument", head + "mix:\n- {method: admin.x+y}", "4: mix[0].method: expected a method's name, without an argument"},
		{"unknown method in a step", head + "mix:\n- steps:\n  - method: a", "5: mix[0].steps[0].method: expected a method of the API"},
		{"call and steps", head + "mix:\n- {dest: work, steps: [{method: admin.x}]}", "4: mix[0]: expected either one call, or the key steps with calls"},
		{"steps of nothing", head + "mix:\n- {steps: []}", "4: mix[0].steps: expected a list with something in it"},
		{"unknown type", head + "mix:\n- {method: admin.x, expect: QubesVMNotfoundError}", "4: mix[0].expect: expected ok, any, {content: REGEXP}, or the type of an exception that the API has"},
		{"bad pattern", head + "mix:\n- {method: admin.x, expect: {content: '('}}", "4: mix[0].expect.content: expected a regular expression, as RE2 has them"},
		{"negative pause", head + "mix:\n- {method: admin.x, think: -1s}", "4: mix[0].think: expected a duration such as 30s or 1m30s"},
		{"request of a call", head + "mix:\n- {request: x}", "4: mix[0].request: expected one of the keys weight, steps, name, method, arg, source, dest, payload, expect, think, keep"},

		{"plain without a name", plain + "mix:\n- {request: x}", "5: mix[0]: expected the key name"},
		{"plain without a request", plain + "mix:\n- {name: x}", "5: mix[0]: expected one of the keys request, request_file"},
		{"plain with an exception", plain + "mix:\n- {name: x, request: x, expect: ProtocolError}", "5: mix[0].expect: expected ok, any, {content: REGEXP}, or the type of an exception that the API has"},
		{"no request file", plain + "mix:\n- {name: x, request_file: no}", "5: mix[0].request_file: expected a file that can be read, beside the scenario's or with its whole path"},
		{"endless request file", plain + "mix:\n- {name: x, request_file: /dev/zero}", "5: mix[0].request_file: expected a file that can be read, beside the scenario's or with its whole path"},

		{"no variables", head + "mix:\n- {method: admin.x, arg: '{n}'}", "4: mix[0].arg: expected no variable, since there are none; {{ and }} are braces themselves"},
		{"unknown variable", head + "variables: {b: {choice: [x]}, a: {choice: [x]}}\nmix:\n- {method: admin.x, arg: '{n}'}", "5: mix[0].arg: expected a variable in braces: one of a, b"},
		{"open brace", head + "mix:\n- {method: admin.x, arg: 'a{n'}", "4: mix[0].arg: expected braces around the name of a variable, or {{ and }} for braces themselves"},
		{"close brace", head + "mix:\n- {method: admin.x, arg: 'n}'}", "4: mix[0].arg: expected braces around the name of a variable, or {{ and }} for braces themselves"},
		{"column of none", head + "variables: {a: {choice: [x]}}\nmix:\n- {method: admin.x, arg: '{a.b}'}", "5: mix[0].arg: expected {a}, which has no columns"},
		{"unknown column", head + "variables: {a: {csv: t.csv}}\nmix:\n- {method: admin.x, arg: '{a.z}'}", "5: mix[0].arg: expected a column of a in braces: one of a.name, a.size"},
		{"no column", head + "variables: {a: {csv: t.csv}}\nmix:\n- {method: admin.x, arg: '{a}'}", "5: mix[0].arg: expected a column of a in braces: one of a.name, a.size"},
		{"no regular expression", "variables:\n  a: {reply: '('}", "2: variables.a.reply: expected a regular expression, as RE2 has them, with one group at most"},
		{"two groups", "variables:\n  a: {reply: '(x)(y)'}", "2: variables.a.reply: expected a regular expression, as RE2 has them, with one group at most"},
		{"order of a reply", "variables:\n  a: {reply: x, order: random}", "2: variables.a.order: expected no order: it is what was replied"},
		{"keep of none", head + "mix:\n- {method: admin.x, keep: a}", "4: mix[0].keep: expected a variable that has the key reply"},
		{"keep of one that is drawn", head + "variables: {a: {choice: [x]}}\nmix:\n- {method: admin.x, keep: a}", "5: mix[0].keep: expected a variable that has the key reply"},
		{"no CSV", "variables:\n  a: {csv: no.csv}", "2: variables.a.csv: expected a file that can be read, beside the scenario's or with its whole path"},
		{"ragged CSV", "variables:\n  a: {csv: ragged.csv}", "2: variables.a.csv: expected a CSV file (record on line 2: wrong number of fields)"},
		{"empty CSV", "variables:\n  a: {csv: empty.csv}", "2: variables.a.csv: expected a CSV file with a line of names of columns, and one more at least"},
		{"columns alike", "variables:\n  a: {csv: alike.csv}", "2: variables.a.csv: expected a CSV file whose first line has the columns' names, of letters, digits, _ and -, each once: column 2 has none"},
		{"large CSV", "variables:\n  a: {csv: large.csv}", "2: variables.a.csv: expected a file of at most 4 MiB"},
		{"two kinds", "variables:\n  a: {choice: [x], csv: t.csv}", "2: variables.a: expected one of the keys count, number, choice, csv, reply"},
		{"no kind", "variables:\n  a: {}", "2: variables.a: expected one of the keys count, number, choice, csv, reply"},
		{"choice of nothing", "variables:\n  a: {choice: []}", "2: variables.a.choice: expected a list with something in it"},
		{"endless number", "variables:\n  a: {number: {from: 1}}", "2: variables.a.number: expected the key to"},
		{"number backwards", "variables:\n  a: {number: {from: 3, to: 2}}", "2: variables.a.number.to: expected no less than from, which is 3"},
		{"order of a count", "variables:\n  a: {count: {}, order: random}", "2: variables.a.order: expected no order: count is sequential, and number is random"},
		{"bad name", "variables:\n  a b: {count: {}}", `2: variables."a b": expected a name of letters, digits, _ and -`},
		{"many choices", "variables:\n  a: {choice: " + many(10001, "x") + "}", "2: variables.a.choice: expected a list of at most 10000"},
		{"many variables", "variables: {" + manyVariables + "}", "1: variables: expected at most 100 variables"},

		{"many subscribers", least + "subscribers:\n- {count: 99999}\n- {count: 2}", "6: subscribers[1]: expected at most 100000 subscribers in all"},
		{"no subscribers", least + "subscribers:\n- {count: 0}", "5: subscribers[0].count: expected a whole number from 1 to 100000"},
		{"pausing subscribers", least + "subscribers:\n- {think: 1s}", "5: subscribers[0].think: expected one of the keys method, arg, source, dest, payload, count, silent"},
		{"unknown misdeed", "adversaries:\n- {kind: rude, rate: 1}", "2: adversaries[0].kind: expected one of slow-sender, never-reader, half-frame, oversize, flood"},
		{"misdeed at no rate", "adversaries:\n- {kind: flood, rate: 0}", "2: adversaries[0].rate: expected a number from 0.001 to 10000000"},
		{"misdeed at hardly any rate", "adversaries:\n- {kind: flood, rate: 1e-10}", "2: adversaries[0].rate: expected a number from 0.001 to 10000000"},
		{"misdeeds without number", "adversaries:\n- {kind: flood, rate: nan}", "2: adversaries[0].rate: expected a number from 0.001 to 10000000"},
		{"wrong threshold", "thresholds:\n- right\n- wrong", "3: thresholds[1]: expected something right"},
		{"many thresholds", "thresholds: " + many(101, "x"), "1: thresholds: expected a list of at most 100"},

		{"no target", "target: {}", "1: target: expected one of the keys socket, connect"},
		{"two targets", "target: {socket: s, connect: h:1}", "1: target: expected either the key socket, or connect and what belongs to it"},
		{"no port", "target: {connect: h}", "1: target: expected connect to be HOST:PORT"},
		{"no certificate", "target: {connect: 'h:1', certificate: no, key: no}", "1: target: expected certificate and key to be PEM files that belong together"},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := read(t, c.text, "t.csv", "name,size\nwork,1\n", "ragged.csv", "a,b\nc\n", "empty.csv", "a\n", "alike.csv", "a,a\n1,2\n", "large.csv", strings.Repeat("a\n", 2<<20+1))
			var e *yamlfile.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, e.File+":"+c.want, err.Error())
			assert.Equal(t, "s.yaml", filepath.Base(e.File))
		})
	}
}

func TestPlain(t *testing.T) {
	s, err := read(t, plain+`
variables: {n: {count: {from: 4}}}
mix:
- {name: x, request: "text {n}", expect: {content: ^y}}
- {name: both, steps: [{name: one, request: x}, {name: two, request_file: r}]}
`, "r", "of a file {n}\n")
	require.NoError(t, err)
	d := s.NewDraw(0)
	assert.Equal(t, "x", s.Mix[0].Steps[0].Method)
	assert.Equal(t, "text 4", string(s.Mix[0].Steps[0].Request.Append(nil, d)))
	assert.Equal(t, measure.Unexpected, s.Mix[0].Steps[0].Expect.Right("", []byte("x")))
	assert.Equal(t, measure.OK, s.Mix[0].Steps[0].Expect.Right("", []byte("yes")))
	assert.Equal(t, "both", s.Mix[1].Name)
	assert.Equal(t, "of a file 4\n", string(s.Mix[1].Steps[1].Request.Append(nil, d)))
}

func TestClosed(t *testing.T) {
	s, err := read(t, "version: 1\nmodel: closed\nstages: [{workers: 3, for: 1s}, {from: 3, to: 9, for: 2s}]\nmix: [{method: admin.x}]")
	require.NoError(t, err)
	assert.True(t, s.Load.Closed)
	assert.Equal(t, 6.0, s.Load.At(2*time.Second))
}

func TestTLS(t *testing.T) {
	a, dir := testcert.NewAuthority(), t.TempDir()
	require.NoError(t, a.Write(dir, "ca"))
	require.NoError(t, testcert.Write(dir, "client", a.Client("load.example")))
	file := filepath.Join(dir, "s.yaml")
	text := func(more string) string {
		return least + "target: {connect: 'daemon.example:8643', certificate: client.pem, key: client.key" + more + "}"
	}
	require.NoError(t, os.WriteFile(file, []byte(text(", authority: ca.pem, server_name: daemon")), 0o600))
	s, err := scenario.Read(file, checks)
	require.NoError(t, err, "files are beside the scenario's")
	assert.Equal(t, "daemon.example:8643", s.Target.Addr)
	assert.Equal(t, "daemon", s.Target.TLS.ServerName)
	assert.True(t, s.Target.TLS.RootCAs.Equal(a.Pool()))
	require.NoError(t, os.WriteFile(file, []byte(text("")), 0o600))
	s, err = scenario.Read(file, checks)
	require.NoError(t, err)
	assert.Equal(t, "daemon.example", s.Target.TLS.ServerName)
	require.NoError(t, os.WriteFile(file, []byte(text(", authority: client.key")), 0o600))
	_, err = scenario.Read(file, checks)
	assert.EqualError(t, err, file+":4: target: expected authority to be a PEM file of certificates")
}

func TestSimple(t *testing.T) {
	fine := scenario.Options{Call: "admin.vm.feature.Get+{x}", Dest: "work", Payload: "{{", Workers: 3, Duration: time.Minute, Expect: "any", Seed: 4}
	s, err := scenario.Simple(fine, checks)
	require.NoError(t, err)
	assert.Equal(t, scenario.Load{Closed: true, Stages: []scenario.Stage{{From: 3, To: 3, For: time.Minute}}}, s.Load)
	assert.Equal(t, []scenario.Call{{
		Method: "admin.vm.feature.Get", Arg: scenario.Text("{x}"), Source: scenario.Text("dom0"), Dest: scenario.Text("work"), Payload: scenario.Text("{{"),
		Expect: scenario.Expect{Any: true},
	}}, s.Mix[0].Steps, "flags have no variables")
	for want, change := range map[string]func(*scenario.Options){
		"--rate: expected it, or --workers, and not both":                                     func(o *scenario.Options) { o.Rate = 1 },
		"--workers: expected a number from 1 to 65536":                                        func(o *scenario.Options) { o.Workers = 1 << 20 },
		"--rate: expected a number above 0, up to 10000000":                                   func(o *scenario.Options) { o.Workers, o.Rate = 0, -1 },
		"--duration: expected a duration above 0s, up to 1000h0m0s":                           func(o *scenario.Options) { o.Duration = 0 },
		"--warmup: expected a duration shorter than --duration":                               func(o *scenario.Options) { o.Warmup = time.Minute },
		"--timeout: expected a duration above 0s, up to 10m0s":                                func(o *scenario.Options) { o.Timeout = time.Hour },
		"--max-in-flight: expected a number from 1 to 1048576":                                func(o *scenario.Options) { o.MaxInFlight = -1 },
		"--max-lag: expected a duration above 0s, up to 10m0s":                                func(o *scenario.Options) { o.MaxLag = -1 },
		"--threshold \"wrong\": expected something right":                                     func(o *scenario.Options) { o.Thresholds = []string{"wrong"} },
		"--expect: expected ok, any, or the type of an exception that the API has":            func(o *scenario.Options) { o.Expect = "fine" },
		"--content: expected it with --expect ok only":                                        func(o *scenario.Options) { o.Content = "x" },
		"--content: expected a regular expression, as RE2 has them":                           func(o *scenario.Options) { o.Content, o.Expect = "(", "" },
		"METHOD: expected a method of the API; sallyport methods lists them":                  func(o *scenario.Options) { o.Call = "x" },
		"METHOD: expected a method's name, without an argument; sallyport methods lists them": func(o *scenario.Options) { o.Call = "+x" },
	} {
		o := fine
		change(&o)
		_, err := scenario.Simple(o, checks)
		assert.EqualError(t, err, want)
	}
}

// TestSimplePlain: the request is a template, as in a scenario's file, and what belongs to the Admin API is refused.
func TestSimplePlain(t *testing.T) {
	fine := scenario.Options{Call: "any name", Request: "{{x}}\n", Target: scenario.Target{Socket: "x"}, Source: "dom0", Expect: "ok", Content: "^y", Rate: 1, Duration: time.Second}
	s, err := scenario.Simple(fine, checks)
	require.NoError(t, err)
	assert.Equal(t, scenario.Target{Socket: "x", Plain: true}, s.Target)
	c := s.Mix[0].Steps[0]
	assert.Equal(t, "any name", c.Method)
	assert.Equal(t, "{x}\n", string(c.Request.Append(nil, s.NewDraw(0))))
	assert.Equal(t, measure.Unexpected, c.Expect.Right("", []byte("no")))
	for want, change := range map[string]func(*scenario.Options){
		"DEST: expected it without --request, since it is of the Admin API":                      func(o *scenario.Options) { o.Dest = "work" },
		"--source: expected it without --request, since it is of the Admin API":                  func(o *scenario.Options) { o.Source = "work" },
		"--payload: expected it without --request, since it is of the Admin API":                 func(o *scenario.Options) { o.Payload = "x" },
		"--expect: expected it without --request, since it is of the Admin API":                  func(o *scenario.Options) { o.Expect, o.Content = "ProtocolError", "" },
		"--request: expected no variable, since there are none; {{ and }} are braces themselves": func(o *scenario.Options) { o.Request = "{x}" },
	} {
		o := fine
		change(&o)
		_, err := scenario.Simple(o, checks)
		assert.EqualError(t, err, want)
	}
}

func TestReadRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r")
	require.NoError(t, os.WriteFile(file, []byte("x\n"), 0o600))
	text, err := scenario.ReadRequest(file)
	require.NoError(t, err)
	assert.Equal(t, "x\n", text)
	_, err = scenario.ReadRequest(filepath.Dir(file))
	assert.ErrorContains(t, err, "--request: expected a file that can be read")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = scenario.ReadRequest(file)
	assert.EqualError(t, err, "--request: expected a file with something in it")
}

func TestOverride(t *testing.T) {
	file := func() *scenario.Scenario {
		s, err := read(t, plain+"thresholds: [a < 1]\nmax_lag: 3ms\nmix: [{name: x, request: x}]")
		require.NoError(t, err)
		return s
	}
	s := file()
	require.NoError(t, s.Override(scenario.Options{}, checks))
	assert.Equal(t, file(), s)
	require.NoError(t, s.Override(scenario.Options{Target: scenario.Target{Socket: "other"}, MaxLag: time.Second, Thresholds: []string{"b < 1"}}, checks))
	assert.Equal(t, scenario.Target{Socket: "other", Plain: true}, s.Target)
	assert.Equal(t, []string{"a < 1", "b < 1"}, s.Thresholds)
	assert.Equal(t, time.Second, s.MaxLag)
	require.NoError(t, s.Override(scenario.Options{Target: scenario.Target{Addr: "a:1"}}, checks))
	assert.Equal(t, scenario.Target{Addr: "a:1", Plain: true}, s.Target)
	assert.EqualError(t, s.Override(scenario.Options{MaxLag: -1}, checks), "--max-lag: expected a duration above 0s, up to 10m0s")
	assert.EqualError(t, s.Override(scenario.Options{Thresholds: []string{"wrong"}}, checks), "--threshold \"wrong\": expected something right")
}

func TestAt(t *testing.T) {
	s, err := read(t, "version: 1\narrivals: poisson\nwarmup: 1s\nstages: [{rate: 3, for: 2s}]\nmix: [{method: admin.x}]")
	require.NoError(t, err)
	even, err := s.At(7, 10*time.Second, 2*time.Second)
	require.NoError(t, err)
	assert.Equal(t, scenario.Load{Poisson: true, Stages: []scenario.Stage{{From: 7, To: 7, For: 10 * time.Second}}}, even.Load)
	assert.Equal(t, []time.Duration{2 * time.Second, time.Second}, []time.Duration{even.Warmup, s.Warmup})
	assert.Equal(t, s.Mix, even.Mix)
	_, err = s.At(7, time.Second, time.Second)
	assert.EqualError(t, err, "--warmup: expected a duration shorter than --duration")
}

var errorLine = regexp.MustCompile(`^[^\n]+:\d+: [^\n]*expected [^\n]+$`)

// FuzzRead: whatever a file holds, reading it ends in a scenario or in one line that says where.
func FuzzRead(f *testing.F) {
	f.Add(scenario.Example)
	f.Add([]byte(least))
	f.Add([]byte(plain + "mix: [{name: a, request: '{{{n}}}'}]\nvariables: {n: {choice: [1]}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := read(t, string(text))
		if err != nil {
			assert.Regexp(t, errorLine, err.Error())
			return
		}
		d := s.NewDraw(0)
		for _, item := range s.Mix {
			for _, c := range item.Steps {
				c.Request.Append(c.Payload.Append(nil, d), d)
			}
		}
	})
}
