package stall

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestQuantile: the distribution is that of what a server holds requests for that come evenly.
func TestQuantile(t *testing.T) {
	for _, s := range []Schedule{{}, {Every: time.Second, For: 100 * time.Millisecond}, {Every: time.Second, For: time.Second}, {Every: 5 * time.Second, For: time.Millisecond}} {
		const n = 1_000_000
		held := make([]time.Duration, n)
		for i := range held {
			held[i] = s.held(3*s.Every + s.Every*time.Duration(i)/n)
		}
		slices.Sort(held)
		for _, q := range []float64{0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999} {
			assert.InDelta(t, held[int(q*n)], s.Quantile(q), float64(s.Every)/n*2, "%v of %v, %v", s.For, s.Every, q)
		}
	}
}
