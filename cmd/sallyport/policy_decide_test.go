package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"sallyport/internal/policy"
)

// vectorsFile is testdata/vectors/policy.yaml, as far as it says what is to be decided.
type vectorsFile struct {
	SystemInfo any `yaml:"system_info"`
	Vectors    []struct {
		ID      string
		Files   map[string]string
		Request any
		Expect  map[string]any
	}
}

// TestDecideHoldsTheVectors: every key that a vector expects is answered with that value, by the whole tool. The files of a
// vector are named as it names them: run/ and legacy/ are directories of their own.
func TestDecideHoldsTheVectors(t *testing.T) {
	text, err := os.ReadFile("../../testdata/vectors/policy.yaml")
	require.NoError(t, err)
	var all vectorsFile
	require.NoError(t, yaml.Unmarshal(text, &all))
	require.GreaterOrEqual(t, len(all.Vectors), 118, "the test has gone blind")
	system := filepath.Join(t.TempDir(), "system.json")
	require.NoError(t, os.WriteFile(system, inJSON(t, all.SystemInfo), 0o600))

	for _, v := range all.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, dir := range []string{"run", "legacy"} {
				require.NoError(t, os.Mkdir(dir, 0o700))
			}
			for name, content := range v.Files {
				require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
				require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
			}
			out := decide(t, string(inJSON(t, v.Request))+"\n", "--policy-dir", "run", "--policy-dir", ".", "--legacy-dir", "legacy", "--system", system)
			require.Len(t, out, 1)
			for key, want := range v.Expect {
				got, there := out[0][key]
				assert.True(t, there, key)
				assert.Equal(t, want, got, key)
			}
			if _, ruled := v.Expect["rule"]; !ruled {
				assert.NotContains(t, out[0], "rule")
			}
		})
	}
}

func inJSON(t *testing.T, v any) []byte {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}

// decide gives what sallyport policy decide --batch answers to input, a line each.
func decide(t *testing.T, input string, args ...string) (answers []map[string]any) {
	t.Helper()
	var files [3]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		require.NoError(t, err)
		defer func() { _ = f.Close() }()
		files[i] = f
	}
	require.NoError(t, os.WriteFile(files[0].Name(), []byte(input), 0o600))
	code := run(slices.Concat([]string{"policy", "decide", "--batch"}, args), os.Getenv, files[0], files[1], files[2])
	stderr, err := os.ReadFile(files[2].Name())
	require.NoError(t, err)
	require.Zero(t, code, "%s", stderr)
	stdout, err := os.ReadFile(files[1].Name())
	require.NoError(t, err)
	for line := range strings.Lines(string(stdout)) {
		var answer map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &answer))
		answers = append(answers, answer)
	}
	return answers
}

// policyOf makes a policy directory of one file.
func policyOf(t *testing.T, text string) (dir string) {
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "30-user.policy"), []byte(text), 0o600))
	return dir
}

// systemOf makes a file of system information.
func systemOf(t *testing.T, text string) (file string) {
	file = filepath.Join(t.TempDir(), "system.json")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestDecideAnswersLineByLine: each is answered before the next is read, whatever it is; the last one needs no end.
func TestDecideAnswersLineByLine(t *testing.T) {
	dir, system := policyOf(t, "x * a b allow\n"), systemOf(t, `{"domains": {"a": {"type": "AppVM"}, "b": {"type": "AppVM"}}}`)
	in, questions, err := os.Pipe()
	require.NoError(t, err)
	replies, out, err := os.Pipe()
	require.NoError(t, err)
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{"policy", "decide", "--batch", "--policy-dir", dir, "--system", system}, os.Getenv, in, out, os.Stderr)
		_ = out.Close()
	}()
	lines := bufio.NewScanner(replies)
	const good = `{"service": "x", "source": "a", "target": "b"}`
	for _, c := range []struct{ question, verdict, wrong string }{
		{good, "allow", ""},
		{"", "", "expected a request as a JSON object, and the line is empty"},
		{"\x1b[2J", "", "expected a request as a JSON object: "},
		{"[]", "", "expected a request as a JSON object: "},
		{`{"service": 1, "source": "a", "target": "b"}`, "", "expected a request as a JSON object: "},
		{good + good, "", "expected one JSON object, and there is more on the line"},
		{`{"service": "x", "source": "a", "dest": "b"}`, "", "expected a request as a JSON object: "},
		{`{"source": "a", "target": "b"}`, "", "expected the key service"},
		{`{"service": "x", "target": "b"}`, "", "expected the key source"},
		{`{"service": "` + "\xff" + `", "source": "a"}`, "", "expected UTF-8"},
		{strings.Repeat(" ", maxQuestion) + good, "", "expected a line of at most 1048576 bytes"},
		{strings.Repeat(" ", maxQuestion-len(good)-1) + good, "allow", ""},
		{`{"service": "x", "argument": "", "source": "a", "target": "b"}`, "deny", ""},
		{`{"service": "x", "source": "a"}`, "deny", ""},
		{good, "allow", ""},
	} {
		_, err := questions.WriteString(c.question + "\n")
		require.NoError(t, err)
		require.True(t, lines.Scan(), c.question)
		var reply struct{ Verdict, Error string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &reply))
		assert.Equal(t, c.verdict, reply.Verdict, c.question)
		if assert.True(t, strings.HasPrefix(reply.Error, c.wrong), reply.Error) {
			assert.Equal(t, c.wrong == "", reply.Error == "")
		}
	}
	_, err = questions.WriteString(good)
	require.NoError(t, err)
	require.NoError(t, questions.Close())
	assert.True(t, lines.Scan())
	assert.False(t, lines.Scan())
	assert.Zero(t, <-ended)
}

// FuzzQuestion: whatever is asked, the answer is one line, and nothing that drives a terminal.
func FuzzQuestion(f *testing.F) {
	for _, seed := range []string{
		`{"service": "x", "source": "a", "target": "far"}`, `{"service": "\u001b[2J", "argument": "+\n", "source": "a", "target": "far", "requested_source": "far"}`,
		`{"source": null}`, "[", "\x00",
	} {
		f.Add([]byte(seed))
	}
	rules, err := policy.Parse("p", "* * a @anyvm allow\n* * far * ask\n")
	require.NoError(f, err)
	sys := policy.NewTable(policy.Facts{Name: "a", Class: "AppVM"}, policy.Facts{Name: "far", Class: "RemoteVM", Relay: "a", Transport: "t"})
	p := &loaded{Policy: rules}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, wrong := toRequest(line, false)
		answer := toJSON(struct{ Error string }{fmt.Sprint(wrong)})
		if wrong == nil {
			answer = toJSON(p.decision(rules.Decide(r, sys)))
		}
		assert.NotRegexp(t, `[\x00-\x09\x0b-\x1f\x7f]`, string(answer))
		assert.Equal(t, 1, bytes.Count(answer, []byte("\n")))
		assert.True(t, json.Valid(answer))
	})
}
