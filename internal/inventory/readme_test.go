package inventory

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmesInventoryLoads: what a newcomer copies works.
func TestReadmesInventoryLoads(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "```yaml\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	s := parsed(t, example)
	named(t, s, "work")
}
