package untrusted

import (
	"bytes"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrGrammar is the error of every grammar. It quotes nothing; the caller says which field it was.
var ErrGrammar = errors.New("not in grammar")

// Charset is a set of printable ASCII characters that a Word may be made of. It never changes.
type Charset struct{ has [2]uint64 }

// NewCharset makes a set of the characters of chars. It panics on one that is not printable ASCII, since a Word is
// meant to be shown.
func NewCharset(chars string) Charset {
	var c Charset
	for _, b := range []byte(chars) {
		if b < ' ' || b > '~' {
			panic("untrusted: a charset holds printable ASCII only")
		}
		c.has[b>>6] |= 1 << (b & 63)
	}
	return c
}

func (c Charset) contains(b byte) bool { return b < 0x80 && c.has[b>>6]&(1<<(b&63)) != 0 }

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// The character sets of the Admin API (spec: model.md 2, 9, 10, 11).
var (
	Letters    = NewCharset(lower + upper)
	Digits     = NewCharset(digits)
	LowerHex   = NewCharset(digits + "abcdef")
	TagChars   = NewCharset(lower + upper + digits + "_-")
	NameChars  = NewCharset(lower + upper + digits + "_-.")
	UUIDChars  = NewCharset(digits + "abcdef-")
	visibleSet = func() (c Charset) {
		for b := byte(' '); b <= '~'; b++ {
			c.has[b>>6] |= 1 << (b & 63)
		}
		return c
	}()
)

// Word accepts least to most bytes, each of chars.
func (u Bytes) Word(chars Charset, least, most int) (string, error) {
	b := u.bytes()
	if len(b) < least || len(b) > most {
		return "", ErrGrammar
	}
	for _, c := range b {
		if !chars.contains(c) {
			return "", ErrGrammar
		}
	}
	return string(b), nil
}

// Printable accepts 0 to most bytes from space to tilde.
func (u Bytes) Printable(most int) (string, error) { return u.Word(visibleSet, 0, most) }

// TrimSpace drops ASCII whitespace on both sides, and stays sealed.
func (u Bytes) TrimSpace() Bytes {
	b := u.bytes()
	for u.from < u.to && isSpace(b[0]) {
		b, u.from = b[1:], u.from+1
	}
	for u.from < u.to && isSpace(b[len(b)-1]) {
		b, u.to = b[:len(b)-1], u.to-1
	}
	return u
}

func isSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// IsASCII reports whether every byte is below 0x80.
func (u Bytes) IsASCII() bool {
	for _, c := range u.bytes() {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// Among gives the value that table has for u. What comes out is the table's own, never a byte of u.
func Among[T any](u Bytes, table map[string]T) (T, bool) {
	v, ok := table[string(u.bytes())]
	return v, ok
}

// DisplaySafe accepts 0 to most bytes of valid UTF-8, and gives the text with each character that is neither safe to
// display nor a tab or line feed replaced by an underscore (spec: model.md 12).
func (u Bytes) DisplaySafe(most int) (string, error) {
	b := u.bytes()
	if len(b) > most || !utf8.Valid(b) {
		return "", ErrGrammar
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || IsDisplaySafe(r) {
			return r
		}
		return '_'
	}, string(b)), nil
}

// UTF8 accepts 0 to most bytes of valid UTF-8 without NUL. What comes out is text for a file, and not safe to display.
func (u Bytes) UTF8(most int) (string, error) {
	b := u.bytes()
	if len(b) > most || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return "", ErrGrammar
	}
	return string(b), nil
}

// safeScripts are the scripts that are recommended for identifiers and drawn from left to right (spec: model.md 12).
var safeScripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Han, unicode.Bopomofo, unicode.Hiragana, unicode.Katakana,
	unicode.Hangul, unicode.Braille, unicode.Common, unicode.Inherited,
}

// neverSafe are characters of those scripts that nobody sees, or that are drawn from right to left: the Arabic
// punctuation that other scripts share, and the Siyaq numbers (spec: model.md 12, never right-to-left).
var neverSafe = []*unicode.RangeTable{
	unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
	{
		R16: []unicode.Range16{{Lo: 0x061b, Hi: 0x061f, Stride: 4}, {Lo: 0x0640, Hi: 0x0640, Stride: 1}},
		R32: []unicode.Range32{{Lo: 0x1ec70, Hi: 0x1ed4f, Stride: 1}},
	},
}

// IsDisplaySafe reports whether r may be shown in a terminal or a window: printable ASCII, or a visible letter, mark,
// number or punctuation of a left-to-right script. It is the spec's stated minimum: no control, format, private or
// unassigned character, no separator but the space, no symbol outside ASCII (so no emoji).
func IsDisplaySafe(r rune) bool {
	if r < 0x80 {
		return ' ' <= r && r <= '~'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P) && unicode.In(r, safeScripts...) &&
		!unicode.In(r, neverSafe...)
}
