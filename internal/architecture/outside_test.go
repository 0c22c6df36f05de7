package architecture

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The library is for other modules: one of them, in testdata/outside, declares methods of its own over state of its own,
// serves them on a socket, and calls them. It is built and run as it would be elsewhere, on a copy.
func TestAModuleOfItsOwnUsesTheLibrary(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(root, "testdata", "outside"))))
	run := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	run("mod", "edit", "-replace", "sallyport="+root)
	run("build", "-o", "outside", ".")
	out, err := exec.Command(filepath.Join(dir, "outside")).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, `dom0: dictionary.Get+bread on french: QubesFeatureNotFoundError
dom0: dictionary.Set+bread on french: ""
dom0: dictionary.Get+bread on french: "pain"
dom0: dictionary.Get+bread on german: QubesFeatureNotFoundError
french: dictionary.Set+bread on german: PermissionDenied
dom0: dictionary.Get+bread on dutch: QubesVMNotFoundError
`, string(out))
}
