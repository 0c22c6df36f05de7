// Package untrusted holds what a client sent until a grammar has read it.
//
// Bytes is a sealed box: it prints, logs and marshals as its length. The only ways out of it are the grammars of this
// package, each of which returns a fresh value that it has checked, or an error that quotes nothing. Nothing here logs,
// and nothing here returns the bytes as they came.
package untrusted

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strconv"

	"go.uber.org/zap/zapcore"
)

// Bytes is data from the wire that no grammar has accepted yet. The zero value is empty. It never changes, and may be
// used by many goroutines.
type Bytes struct {
	// A closure rather than a slice: fmt reaches unexported fields of an enclosing struct by reflection, where it
	// ignores this type's methods, and would print a slice's contents. No printer looks into a closure.
	open     func() []byte
	from, to int
}

// Seal takes ownership of b: the caller must neither change nor keep it.
func Seal(b []byte) Bytes {
	if len(b) == 0 {
		return Bytes{}
	}
	return Bytes{func() []byte { return b }, 0, len(b)}
}

// bytes is the opened box. It never leaves this package.
func (u Bytes) bytes() []byte {
	if u.open == nil {
		return nil
	}
	return u.open()[u.from:u.to]
}

// Len is the number of bytes. It is safe to log; it says nothing about content.
func (u Bytes) Len() int { return u.to - u.from }

// The ways Go code turns a value into text. All say only the length.

func (u Bytes) String() string { return "untrusted[" + strconv.Itoa(u.Len()) + "]" }

// GoString is what %#v shows.
func (u Bytes) GoString() string { return u.String() }

// Format answers every verb alike.
func (u Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// MarshalText is what encoding/json, encoding/xml and YAML encoders call.
func (u Bytes) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalBinary is what encoding/gob calls.
func (u Bytes) MarshalBinary() ([]byte, error) { return u.MarshalText() }

// LogValue is what log/slog calls.
func (u Bytes) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalLogObject is what zap calls.
func (u Bytes) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddInt("untrusted_len", u.Len())
	return nil
}

// Cut splits u around the first sep, as bytes.Cut does. Both halves stay sealed; found is all that it tells.
func (u Bytes) Cut(sep byte) (before, after Bytes, found bool) {
	i := bytes.IndexByte(u.bytes(), sep)
	if i < 0 {
		return u, Bytes{}, false
	}
	return Bytes{u.open, u.from, u.from + i}, Bytes{u.open, u.from + i + 1, u.to}, true
}

// Join seals a copy of all parts with sep between them. It is the inverse of repeated Cut.
func Join(sep byte, parts ...Bytes) Bytes {
	raw := make([][]byte, len(parts))
	for i, p := range parts {
		raw[i] = p.bytes()
	}
	return Seal(bytes.Join(raw, []byte{sep}))
}

// Equal reports whether u and v hold the same bytes.
func (u Bytes) Equal(v Bytes) bool { return bytes.Equal(u.bytes(), v.bytes()) }

// Is reports whether u holds exactly the bytes of word, which is our own.
func (u Bytes) Is(word string) bool { return string(u.bytes()) == word }

// StartsWith reports whether u begins with the bytes of word, which is our own, and gives the rest, still sealed.
func (u Bytes) StartsWith(word string) (rest Bytes, ok bool) {
	if u.Len() < len(word) || string(u.bytes()[:len(word)]) != word {
		return u, false
	}
	return Bytes{u.open, u.from + len(word), u.to}, true
}
