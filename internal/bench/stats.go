package main

import (
	"math"
	"slices"
)

// median is the middle of xs, or the mean of the two in the middle; NaN of none.
func median(xs []float64) float64 { return quantile(xs, 0.5) }

// quantile is what a share q of xs lies below, interpolated between neighbours; NaN of none.
func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(xs))
	at := q * float64(len(s)-1)
	i := int(at)
	if i+1 == len(s) {
		return s[i]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}

// ratio is a server's measure over the baseline's, repetition by repetition: what slows the machine for one repetition
// slows both, so the ratios scatter less than the measures do.
type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`  // the first quartile
	High   float64 `json:"high"` // the third: half of the repetitions lie between
}

// ratios pairs xs with baseline; both have a value for each repetition. It is NaN if there is no pair.
func ratios(xs, baseline []float64) ratio {
	var rs []float64
	for i := range min(len(xs), len(baseline)) {
		if baseline[i] > 0 {
			rs = append(rs, xs[i]/baseline[i])
		}
	}
	if len(rs) == 0 {
		return ratio{math.NaN(), math.NaN(), math.NaN()}
	}
	return ratio{median(rs), quantile(rs, 0.25), quantile(rs, 0.75)}
}
