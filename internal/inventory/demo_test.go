package inventory

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemoLoads(t *testing.T) {
	s, err := Demo()
	require.NoError(t, err)
	n := 0
	for range s.Qubes() {
		n++
	}
	require.Equal(t, 11, n)
}
