package methods_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/stages/methods"
)

// TestDefaultPolicy keeps config/policy.d in step with the declarations.
func TestDefaultPolicy(t *testing.T) {
	const dir = "../../config/policy.d"
	files := methods.DefaultPolicy()
	if *update {
		require.NoError(t, os.RemoveAll(dir))
		for name, text := range files {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		}
	}
	there := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, files[name], string(text), "if that is wanted: go test ./stages/methods -run DefaultPolicy -update")
			there++
		}
		return err
	}))
	assert.Len(t, files, there)
}

// TestClassesOfTheDefaultPolicy are the specification's (spec: admin_policy_classes.yaml).
func TestClassesOfTheDefaultPolicy(t *testing.T) {
	var spec policyClasses
	readYAML(t, "spec/admin_policy_classes.yaml", &spec)
	want := map[string]string{}
	for _, g := range spec.Generated {
		want[g.Method] = g.Include
	}
	for _, h := range spec.HeaderOnly {
		want[h.Method] = h.Include
	}
	checked := 0
	for line := range strings.Lines(methods.DefaultPolicy()["90-admin-default.policy"]) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "!include-service" {
			continue
		}
		require.Len(t, words, 4, line)
		if include, ok := want[words[1]]; ok {
			assert.Equal(t, "include/"+include, words[3], words[1])
			checked++
		}
	}
	assert.Greater(t, checked, 40)
}
