package untrusted

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Key makes fingerprints that tell an operator whether two calls sent the same bytes, and nothing else. Its secret is
// drawn when it is made and kept nowhere, so fingerprints of two runs cannot be compared. Safe for concurrent use.
type Key struct{ hashes sync.Pool }

// NewKey draws a secret.
func NewKey() *Key {
	var secret [sha256.Size]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the process instead
	return &Key{sync.Pool{New: func() any { return hmac.New(sha256.New, secret[:]) }}}
}

// Fingerprint is 16 hexadecimal digits: the first half of u's HMAC-SHA256, halved again.
func (k *Key) Fingerprint(u Bytes) string {
	h := k.hashes.Get().(hash.Hash)
	defer k.hashes.Put(h)
	h.Reset()
	h.Write(u.bytes())
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0])[:8])
}
