package policy

import (
	"fmt"
	"strings"
)

// Reason is what is wrong with a place in a policy, in one word.
type Reason string

// The reasons why a policy does not load.
const (
	FieldCount        Reason = "field-count"
	ServiceChars      Reason = "service-chars"
	ArgumentNoPlus    Reason = "argument-no-plus"
	ArgumentChars     Reason = "argument-chars"
	WildNeedsWild     Reason = "wild-service-needs-wild-argument"
	TokenUnknown      Reason = "token-unknown"
	TokenEmpty        Reason = "token-empty"
	TokenNotHere      Reason = "token-not-allowed-here"
	ActionUnknown     Reason = "action-unknown"
	ParamSyntax       Reason = "param-syntax"
	ParamNotAllowed   Reason = "param-not-allowed-for-action"
	ParamDuplicate    Reason = "param-duplicate"
	ParamValue        Reason = "param-value"
	DefaultNeeds      Reason = "default-allow-needs-target"
	DirectiveUnknown  Reason = "directive-unknown"
	DirectiveParams   Reason = "directive-param-count"
	NotAFile          Reason = "include-not-a-file"
	NotADirectory     Reason = "include-not-a-directory"
	IncludeLoop       Reason = "include-loop"
	IncludeDepth      Reason = "include-depth"
	FileName          Reason = "file-name"
	Unreadable        Reason = "unreadable"
	NoDirectory       Reason = "no-directory"
	FileTooLong       Reason = "file-too-long"
	LineTooLong       Reason = "line-too-long"
	ControlCharacter  Reason = "control-character"
	NotText           Reason = "not-utf-8"
	TooMuchText       Reason = "too-much-text"
	TooManyRules      Reason = "too-many-rules"
	TooManyLoadErrors Reason = "too-many-errors"
)

// Kind sorts reasons: "syntax", "access" for what is wrong with files and not with what they say, "recursion".
func (r Reason) Kind() string {
	switch r {
	case FileName, Unreadable, NoDirectory:
		return "access"
	case IncludeLoop, IncludeDepth:
		return "recursion"
	}
	return "syntax"
}

// LoadError is one thing that keeps a policy from being loaded. It quotes the operator's file, and nothing else.
type LoadError struct {
	At       Position
	Reason   Reason
	Read     string // what the text was read as: "service"
	Text     string // the text, cut short; empty: there is none to show
	Expected string
}

// Error is FILE:LINE:COLUMN: what was read as what, and what was expected.
func (e *LoadError) Error() string {
	read := e.Read
	if e.Text != "" {
		read += fmt.Sprintf(" %q", e.Text)
	}
	return fmt.Sprintf("%s: %s: expected %s", e.At, read, e.Expected)
}

// LoadErrors are all that keep a policy from being loaded, in the order in which they were met.
type LoadErrors []*LoadError

// Error has a line for each.
func (e LoadErrors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// shown is text as an error shows it.
func shown(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
