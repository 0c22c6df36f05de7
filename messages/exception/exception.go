// Package exception is the one kind of error that crosses the wire: a type the client knows, a constant sentence, and
// fields that were checked. It never holds what a client sent before a grammar accepted it, and it is the only place
// that turns an error into bytes.
package exception

import (
	"errors"
	"strings"
)

// Field is a value that may be shown to the client it concerns: the nouns of messages/qube are.
type Field interface{ Shown() string }

// constant fits only an untyped constant from other packages, so that no client byte can become part of a sentence.
type constant string

// Exception is an error for the client. Causes are for the log alone, so it wraps none. It never changes, and may be
// used by many goroutines.
type Exception struct {
	typ    Type
	format constant // exactly one %s per field and no other %; no % at all in a raw type
	fields []Field
}

// New makes an exception. sentence has exactly one %s for each field, and no other %; a type that clients show raw has
// no fields (spec: exceptions.yaml rules.percent). A test reads every call of New in this module and checks that.
func New(t Type, sentence constant, fields ...Field) *Exception {
	return &Exception{t, sentence, fields}
}

// Denied is the only refusal there is: one value, so that no two refusals can differ.
var Denied = New(PermissionDenied, "the call is not permitted")

// Internal is what a caller learns of a failure of ours: that it happened, and the id under which the log explains it.
func Internal(incident Field) *Exception {
	return New(QubesInternalError, "internal error; the daemon's log explains it under incident %s", incident)
}

// Incident is the id that Internal was given; empty for any other exception.
func (e *Exception) Incident() string {
	if e.typ != QubesInternalError || len(e.fields) == 0 {
		return ""
	}
	return e.fields[0].Shown()
}

// Of is the one translation of an error to the wire. What is not an Exception is unknown, and so internal: report is
// then called to log err under a new incident id, which is all that the client gets.
func Of(err error, report func(error) (incident Field)) *Exception {
	var e *Exception
	if errors.As(err, &e) && e != nil {
		return e
	}
	return Internal(report(err))
}

// Type is the exception's type, as the client sees it.
func (e *Exception) Type() Type { return e.typ }

// Error is the message as the client renders it, which makes numbers of fields of digits alone
// (spec: exceptions.yaml rules.client_construct).
func (e *Exception) Error() string {
	parts := strings.Split(string(e.format), "%s")
	var b strings.Builder
	b.WriteString(parts[0])
	for i, f := range e.fields {
		if i+1 < len(parts) {
			b.WriteString(rendered(f.Shown()))
			b.WriteString(parts[i+1])
		}
	}
	return b.String()
}

func rendered(field string) string {
	if field == "" || strings.Trim(field, "0123456789") != "" {
		return field
	}
	return strings.TrimLeft(field[:len(field)-1], "0") + field[len(field)-1:]
}

// Is makes errors.Is compare types: errors.Is(err, exception.Denied) asks whether err is a PermissionDenied.
func (e *Exception) Is(target error) bool {
	t, ok := target.(*Exception)
	return ok && t.typ == e.typ
}

// AppendFrame appends the exception's frame to b (spec: wire.md 4):
//
//	"2" NUL type NUL traceback NUL format NUL (field NUL)*
//
// The traceback is always empty: it would show our insides.
func (e *Exception) AppendFrame(b []byte) []byte {
	b = append(b, '2', 0)
	b = append(b, e.typ...)
	b = append(b, 0, 0)
	b = append(b, e.format...)
	b = append(b, 0)
	for _, f := range e.fields {
		b = appendField(b, f.Shown())
	}
	return b
}

// appendField drops NUL, which would end the field early. No noun holds one; this is the last guard, not the first.
func appendField(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] != 0 {
			b = append(b, s[i])
		}
	}
	return append(b, 0)
}
