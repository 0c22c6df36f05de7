// Package twoworlds compares systems that differ in one thing, which a source may not see: what the source can find out
// about them must not differ (design: 2, invariant 4). It is tests alone.
package twoworlds
