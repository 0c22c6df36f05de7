package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/stages/methods"
)

// The directory that counts least is administered, and nothing of what is written there gets into the log.
func TestPolicyFilesAreAdministered(t *testing.T) {
	run, etc := t.TempDir(), t.TempDir()
	for name, text := range methods.DefaultPolicy() {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(etc, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644))
	}
	p := start(t, nil, "--demo", "--policy-dir", run, "--policy-dir", etc, "--log-level", "debug")
	assert.Equal(t, "90-admin-default\n90-admin-policy-default\n91-admin-default-deny\n", p.must("policy.List", "dom0", ""))
	assert.Contains(t, p.must("policy.include.List", "dom0", ""), "admin-policy-ro\nadmin-policy-rwx\n")

	const secret = "xyzzy"
	p.must("policy.include.Replace+admin-policy-rwx", "dom0", "any\n"+secret+" @adminvm allow target=dom0\n")
	p.must("policy.Replace+30-"+secret, "dom0", "new\n# "+secret+"\n")
	assert.Equal(t, "admin-policy-rwx\n", p.must("policy.GetFiles+policy.Remove", "dom0", ""))
	for call, payload := range map[string]string{
		"policy.Replace+30-" + secret: "any\n" + secret, "policy.Replace+31-" + secret: "any\n!include " + secret, "policy.Remove+31-" + secret: "any", "policy.Get+31-" + secret: "",
		"policy.Replace+" + secret: secret + "\n", "policy.include.Remove+admin-policy-rwx": "any",
	} {
		a, err := p.call(call, "dom0", payload)
		require.NoError(t, err)
		assert.NotEmpty(t, a.Type, call)
		assert.NotContains(t, a.Type, "Internal", call)
	}
	assert.Contains(t, p.must("policy.Get+30-"+secret, "dom0", ""), "\n# "+secret+"\n")
	token, _, _ := strings.Cut(p.must("policy.Get+30-"+secret, "dom0", ""), "\n")
	p.must("policy.Remove+30-"+secret, "dom0", token)

	entries, err := os.ReadDir(run)
	require.NoError(t, err)
	assert.Empty(t, entries)
	require.Equal(t, 0, p.terminate())
	assert.NotContains(t, p.output(), secret)
}
