// Package architecture has no code. Its tests hold this module to its design: which package may import which and why,
// what the public packages may show, and that every reference to the specification leads somewhere.
package architecture
