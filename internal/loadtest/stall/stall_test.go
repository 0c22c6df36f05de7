package stall

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestQuantile: the distribution is that of a server that is played with requests that come evenly.
func TestQuantile(t *testing.T) {
	for _, s := range []Schedule{
		{}, {Every: time.Second, For: 100 * time.Millisecond}, {Every: time.Second, For: 500 * time.Millisecond}, {Every: 5 * time.Second, For: time.Millisecond},
		{Every: time.Second, For: 100 * time.Millisecond, Gap: 50 * time.Microsecond}, {Every: 80 * time.Millisecond, For: 10 * time.Millisecond, Gap: 20 * time.Microsecond},
	} {
		const n, rate = 1_000_000, 10_007 // which is no multiple of the schedule's
		waited, last := make([]time.Duration, n), -time.Hour
		for i := range waited {
			at := 3*s.Every + time.Duration(i)*time.Second/rate
			last = max(at+s.held(at), last+s.Gap)
			waited[i] = last - at
		}
		slices.Sort(waited)
		for _, q := range []float64{0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999} {
			assert.InDelta(t, s.Quantile(q, rate), waited[int(q*n)], max(float64(200*time.Microsecond), 0.01*float64(s.For)), "%v, %v", s, q)
		}
	}
}
