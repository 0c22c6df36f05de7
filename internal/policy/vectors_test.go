package policy_test

import (
	"encoding/json"
	"errors"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"sallyport/internal/policy"
)

// vectors is testdata/vectors/policy.yaml.
type vectors struct {
	SystemInfo any `yaml:"system_info"`
	Vectors    []vector
}

type vector struct {
	ID      string
	Files   map[string]string
	Request struct {
		Service, Argument, Source, Target string
		RequestedSource                   string `yaml:"requested_source"`
	}
	Expect struct {
		Verdict, Stage, Rule, Reason, Kind, At string
		Notify, Autostart                      *bool
		Target                                 string
		User                                   *string
		Targets                                []string
		DefaultTarget                          *string `yaml:"default_target"`
		Response                               []string
	}
}

func readVectors(t testing.TB) (*policy.Table, []vector) {
	text, err := os.ReadFile("../../testdata/vectors/policy.yaml")
	require.NoError(t, err)
	var all vectors
	require.NoError(t, yaml.Unmarshal(text, &all))
	info, err := json.Marshal(all.SystemInfo)
	require.NoError(t, err)
	sys, err := policy.ReadTable(info)
	require.NoError(t, err)
	return sys, all.Vectors
}

// disk is a root directory with the files of a vector, and all directories of a policy.
func disk(files map[string]string) fstest.MapFS {
	fs := fstest.MapFS{}
	for _, dir := range append(policy.DefaultSources.Dirs, policy.DefaultSources.Legacy) {
		fs[dir[1:]] = &fstest.MapFile{Mode: os.ModeDir | 0o755}
	}
	for name, text := range files {
		fs[absolute(name)[1:]] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return fs
}

// absolute is where a file of a vector is.
func absolute(name string) string {
	if file, ok := strings.CutPrefix(name, "run/"); ok {
		return path.Join(policy.DefaultSources.Dirs[0], file)
	}
	if file, ok := strings.CutPrefix(name, "legacy/"); ok {
		return path.Join(policy.DefaultSources.Legacy, file)
	}
	return path.Join(policy.DefaultSources.Dirs[1], name)
}

// TestTheVectorsHold: what the reference does, was executed (spec: policy.md).
func TestTheVectorsHold(t *testing.T) {
	sys, all := readVectors(t)
	assert.GreaterOrEqual(t, len(all), 118, "the test has gone blind")
	for _, v := range all {
		t.Run(v.ID, func(t *testing.T) {
			e := v.Expect
			p, err := policy.Load(disk(v.Files), policy.DefaultSources)
			if e.Verdict == "load-error" {
				var errs policy.LoadErrors
				require.True(t, errors.As(err, &errs), "it loads")
				require.Len(t, errs, 1)
				assert.Equal(t, e.Kind, errs[0].Reason.Kind())
				if e.Reason != "" {
					assert.Equal(t, e.Reason, string(errs[0].Reason))
				}
				if e.At != "" {
					errs[0].At.Column = 0
					assert.Equal(t, absolute(e.At), errs[0].At.String())
				}
				return
			}
			require.NoError(t, err)
			r := policy.Request{Service: v.Request.Service, Argument: v.Request.Argument, Source: v.Request.Source, Target: v.Request.Target,
				RequestedSource: v.Request.RequestedSource}
			for name, decide := range map[string]func(policy.Request, policy.System) policy.Decision{"reference": p.Decide, "compiled": policy.Compile(p).Decide} {
				d := decide(r, sys)
				assert.Equal(t, e.Verdict, d.Verdict.String(), name)
				assert.Equal(t, e.Stage, d.Stage.String(), name)
				if e.Reason != "" {
					assert.Equal(t, e.Reason, string(d.Why), name)
				}
				if e.Rule == "" {
					assert.Nil(t, d.Rule, name)
				} else if assert.NotNil(t, d.Rule, name) {
					assert.Equal(t, absolute(e.Rule), d.Rule.At.String(), name)
				}
				if e.Notify != nil {
					assert.Equal(t, *e.Notify, d.Notify, name)
				}
				if e.Verdict == "deny" {
					assert.Equal(t, []string{"result=deny"}, d.Response(), name)
					continue
				}
				assert.Equal(t, *e.Autostart, d.Autostart, name)
				assert.Equal(t, text(e.User), d.User, name)
				assert.Equal(t, e.Target, d.Target.String(), name)
				assert.Equal(t, e.Targets, d.Targets, name)
				assert.Equal(t, text(e.DefaultTarget), d.DefaultTarget, name)
				if e.Verdict == "allow" {
					assert.Equal(t, e.Response, d.Response(), name)
				}
			}
		})
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
