package methods_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnotherModule builds and runs a module that uses this one as a library, with methods and state of its own
// (design: 3). It needs no network: what that module needs, this one has.
func TestAnotherModule(t *testing.T) {
	run := exec.Command("go", "run", ".")
	run.Dir = "../../testdata/outside"
	run.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off")
	var trouble strings.Builder
	run.Stderr = &trouble
	said, err := run.Output()
	require.NoError(t, err, "if its requirements are old: (cd testdata/outside && go mod tidy)\n%s", trouble.String())
	assert.Equal(t, `dom0: dictionary.Get+bread on french: QubesFeatureNotFoundError
dom0: dictionary.Set+bread on french: ""
dom0: dictionary.Get+bread on french: "pain"
dom0: dictionary.Get+bread on german: QubesFeatureNotFoundError
french: dictionary.Set+bread on german: PermissionDenied
dom0: dictionary.Get+bread on dutch: QubesVMNotFoundError
`, string(said))
}
