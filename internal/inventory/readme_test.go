package inventory

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sallyport/internal/yamlfile"
	"sallyport/messages/qube"
)

// TestReadmesInventoryLoads: what a newcomer copies works.
func TestReadmesInventoryLoads(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "```yaml\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	s, err := fromFile(yamlfile.Read("README.md", []byte(example)))
	require.NoError(t, err)
	_, ok = s.Qube(must(qube.ParseName("work")))
	require.True(t, ok)
}
