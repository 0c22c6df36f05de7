package qube

import (
	"strings"
	"unicode/utf8"
)

// What a file of the policy is called, and what it may hold when it is sent. The longest name is such that the file system
// has room for the suffix and for the mark of a temporary file.
const (
	MaxPolicyFile = 247
	MaxPolicyText = 65536
)

// PolicyFile names a file of the policy, without the suffix.
type PolicyFile struct{ s string }

// ParsePolicyFile accepts 1 to 247 letters, digits, '_' or '-' (spec: policy.md 7).
func ParsePolicyFile(s string) (PolicyFile, error) {
	if !word(s, MaxPolicyFile, isTagByte) {
		return PolicyFile{}, ErrGrammar
	}
	return PolicyFile{s}, nil
}

// Shown is the name.
func (f PolicyFile) Shown() string { return f.s }

// IsLower reports whether the name is without upper-case letters. One of a .policy file that has any makes the whole policy
// unusable (spec: policy.md 1).
func (f PolicyFile) IsLower() bool { return strings.ToLower(f.s) == f.s }

// PolicyToken says which content of a file a change is about: AnyContent, NoContent, or the hash of one.
type PolicyToken struct{ s string }

// The tokens that are no hash: whatever the file holds or whether it is there, and a file that is not there.
var (
	AnyContent = PolicyToken{"any"}
	NoContent  = PolicyToken{"new"}
)

// ParsePolicyToken accepts any, new, or sha256: and 64 hexadecimal digits (spec: policy.md 7).
func ParsePolicyToken(s string) (PolicyToken, error) {
	t := PolicyToken{s}
	hash, ok := strings.CutPrefix(s, "sha256:")
	if t == AnyContent || t == NoContent || ok && len(hash) == 64 && all(strings.ToLower(hash), isLowerHex) {
		return t, nil
	}
	return PolicyToken{}, ErrGrammar
}

// Shown is the token.
func (t PolicyToken) Shown() string { return t.s }

// Is reports whether t and u are one, in whatever case their digits are.
func (t PolicyToken) Is(u PolicyToken) bool { return strings.EqualFold(t.s, u.s) }

// PolicyText is what a file of the policy shall hold: text, but not necessarily policy.
type PolicyText struct{ s string }

// ParsePolicyText accepts up to 65536 bytes of UTF-8 without NUL.
func ParsePolicyText(s string) (PolicyText, error) {
	if len(s) > MaxPolicyText || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return PolicyText{}, ErrGrammar
	}
	return PolicyText{s}, nil
}

// Shown is the text.
func (t PolicyText) Shown() string { return t.s }
