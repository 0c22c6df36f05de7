// Package qube has the nouns of the Admin API and the two ways to meet the inventory: View to look, Tx to change.
//
// Every noun is a type of its own, so that a feature's name and its value cannot be swapped, and its Parse function is
// the only constructor: the sanitizer, the store and the inventory file all pass it. The zero noun is empty and names
// nothing. This package is public, so that methods can be declared outside this module; it holds no state.
package qube

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrGrammar is the error of every Parse. It quotes nothing.
var ErrGrammar = errors.New("not in the noun's grammar")

// The longest nouns, in bytes. The reference sets no limit for tags, features and labels; these are ours.
const (
	MaxName    = 31
	MaxTag     = 255
	MaxFeature = 255
	MaxValue   = 65536
	MaxLabel   = 255
	MaxNotes   = 256000
)

// Noun is a checked word that may be shown to whoever may know of it.
type Noun interface{ Shown() string }

// Name is a qube's name.
type Name struct{ s string }

// ParseName accepts 1 to 31 letters, digits, '_', '.' or '-', beginning with a letter, but not Domain-0, none, default,
// nor anything that ends in -dm (spec: model.md 2).
func ParseName(s string) (Name, error) {
	if !word(s, MaxName, isNameByte) || !isLetter(s[0]) ||
		s == "Domain-0" || s == "none" || s == "default" || strings.HasSuffix(s, "-dm") {
		return Name{}, ErrGrammar
	}
	return Name{s}, nil
}

// Dom0 is the name of the one AdminVM.
var Dom0 = Name{"dom0"}

// Shown is the name.
func (n Name) Shown() string { return n.s }

// Less orders names as listings do: dom0 first, then by bytes (spec: model.md 1).
func (n Name) Less(m Name) bool {
	if n == Dom0 || m == Dom0 {
		return n == Dom0 && m != Dom0
	}
	return n.s < m.s
}

// UUID identifies a qube for as long as it exists, whatever its name.
type UUID struct{ s string }

// Dom0UUID is the all-zero UUID.
var Dom0UUID = UUID{"00000000-0000-0000-0000-000000000000"}

// ParseUUID accepts 8-4-4-4-12 lower-case hexadecimal digits (spec: wire.md 2, SAFER).
func ParseUUID(s string) (UUID, error) {
	if len(s) != 36 {
		return UUID{}, ErrGrammar
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !isLowerHex(s[i]) {
			return UUID{}, ErrGrammar
		}
	}
	return UUID{s}, nil
}

// Shown is the canonical text.
func (u UUID) Shown() string { return u.s }

// Tag is a qube's tag.
type Tag struct{ s string }

// ParseTag accepts 1 to 255 letters, digits, '_' or '-' (spec: model.md 11).
func ParseTag(s string) (Tag, error) {
	if !word(s, MaxTag, isTagByte) {
		return Tag{}, ErrGrammar
	}
	return Tag{s}, nil
}

// Shown is the tag.
func (t Tag) Shown() string { return t.s }

// Cut gives what follows prefix, if the tag begins with it.
func (t Tag) Cut(prefix string) (rest string, ok bool) { return strings.CutPrefix(t.s, prefix) }

// FeatureName names a feature.
type FeatureName struct{ s string }

// ParseFeatureName accepts 1 to 255 letters, digits, '_', '.' or '-' (spec: model.md 10).
func ParseFeatureName(s string) (FeatureName, error) {
	if !word(s, MaxFeature, isNameByte) {
		return FeatureName{}, ErrGrammar
	}
	return FeatureName{s}, nil
}

// Shown is the name.
func (f FeatureName) Shown() string { return f.s }

// Cut gives what follows prefix, if the name begins with it.
func (f FeatureName) Cut(prefix string) (rest string, ok bool) { return strings.CutPrefix(f.s, prefix) }

// FeatureValue is a feature's value. The empty one means false, any other true; an absent feature is a third thing.
type FeatureValue struct{ s string }

// ParseFeatureValue accepts up to 65536 bytes from space to tilde (spec: model.md 10).
func ParseFeatureValue(s string) (FeatureValue, error) {
	if len(s) > MaxValue || !all(s, isPrintable) {
		return FeatureValue{}, ErrGrammar
	}
	return FeatureValue{s}, nil
}

// Shown is the value.
func (v FeatureValue) Shown() string { return v.s }

// PropertyName names a property of a qube or of the system.
type PropertyName struct{ s string }

// ParsePropertyName accepts 1 to 64 lower-case letters, digits or '_'.
func ParsePropertyName(s string) (PropertyName, error) {
	if !word(s, 64, func(b byte) bool { return 'a' <= b && b <= 'z' || isDigit(b) || b == '_' }) {
		return PropertyName{}, ErrGrammar
	}
	return PropertyName{s}, nil
}

// Shown is the name.
func (p PropertyName) Shown() string { return p.s }

// PropertyValue is the text of an explicitly set property, as it stands on the wire; empty is None for references.
type PropertyValue struct{ s string }

// ParsePropertyValue accepts up to 65536 bytes from space to tilde: control characters break clients, so no property
// may hold one (spec: properties.yaml notes.printable, SAFER).
func ParsePropertyValue(s string) (PropertyValue, error) {
	if len(s) > MaxValue || !all(s, isPrintable) {
		return PropertyValue{}, ErrGrammar
	}
	return PropertyValue{s}, nil
}

// Shown is the value.
func (v PropertyValue) Shown() string { return v.s }

// LabelName names a label.
type LabelName struct{ s string }

// ParseLabelName accepts 1 to 255 letters, digits, '_', '.' or '-' (spec: model.md 9). What may be created is less: see
// sanitize.NewLabel.
func ParseLabelName(s string) (LabelName, error) {
	if !word(s, MaxLabel, isNameByte) {
		return LabelName{}, ErrGrammar
	}
	return LabelName{s}, nil
}

// Shown is the name.
func (l LabelName) Shown() string { return l.s }

// Color is a label's colour.
type Color struct{ s string }

// ParseColor accepts 0x and six hexadecimal digits of either case, kept as they are (spec: model.md 9).
func ParseColor(s string) (Color, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) != 6 || !all(digits, isHex) {
		return Color{}, ErrGrammar
	}
	return Color{s}, nil
}

// Shown is the colour, 0xRRGGBB.
func (c Color) Shown() string { return c.s }

// Notes is a qube's notes: text that is safe to display, but for nothing else in particular.
type Notes struct{ s string }

// ParseNotes accepts up to 256000 bytes of UTF-8 without control characters but tab and line feed (spec: model.md 12).
func ParseNotes(s string) (Notes, error) {
	if len(s) > MaxNotes || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return r != '\t' && r != '\n' && (r < ' ' || 0x7f <= r && r < 0xa0)
	}) {
		return Notes{}, ErrGrammar
	}
	return Notes{s}, nil
}

// Shown is the text.
func (n Notes) Shown() string { return n.s }

func word(s string, most int, ok func(byte) bool) bool {
	return 0 < len(s) && len(s) <= most && all(s, ok)
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isLetter(b byte) bool    { return 'a' <= b|0x20 && b|0x20 <= 'z' }
func isDigit(b byte) bool     { return '0' <= b && b <= '9' }
func isLowerHex(b byte) bool  { return isDigit(b) || 'a' <= b && b <= 'f' }
func isHex(b byte) bool       { return isDigit(b) || 'a' <= b|0x20 && b|0x20 <= 'f' }
func isPrintable(b byte) bool { return ' ' <= b && b <= '~' }
func isTagByte(b byte) bool   { return isLetter(b) || isDigit(b) || b == '_' || b == '-' }
func isNameByte(b byte) bool  { return isTagByte(b) || b == '.' }
