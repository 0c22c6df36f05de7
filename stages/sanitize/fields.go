// Package sanitize is the catalogue of wire fields: it turns untrusted bytes into nouns, and holds no state. Which
// exception a malformed field gets is the specification's choice, field by field; none of them quotes what was sent.
package sanitize

import (
	"strconv"
	"strings"
	"time"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// word makes the grammar of a noun that is made of chars.
func word[T any](chars untrusted.Charset, most int, parse func(string) (T, error), otherwise error) func(untrusted.Bytes) (T, error) {
	return func(u untrusted.Bytes) (T, error) {
		s, err := u.Word(chars, 1, most)
		if err != nil {
			var none T
			return none, otherwise
		}
		v, err := parse(s)
		if err != nil {
			return v, otherwise
		}
		return v, nil
	}
}

// Tag is a tag (spec: methods.yaml admin.vm.tag.Get).
var Tag = stages.Field[qube.Tag]{
	Want: stages.Required, Doc: "1 to 255 of A-Z a-z 0-9 _ -",
	Read: word(untrusted.TagChars, qube.MaxTag, qube.ParseTag,
		exception.New(exception.QubesInvalidTagError, "a tag is 1 to 255 letters, digits, '_' or '-'")),
}

// FeatureName is a feature's name to set (spec: methods.yaml admin.vm.feature.Set).
var FeatureName = stages.Field[qube.FeatureName]{
	Want: stages.Required, Doc: "1 to 255 of A-Z a-z 0-9 _ . -",
	Read: word(untrusted.NameChars, qube.MaxFeature, qube.ParseFeatureName,
		exception.New(exception.ProtocolError, "a feature's name is 1 to 255 letters, digits, '_', '.' or '-'")),
}

// FeatureToFind is a feature's name to look up: one that no feature can have is simply not found, whoever asks
// (spec: methods.yaml admin.vm.feature.Get).
var FeatureToFind = stages.Field[qube.FeatureName]{
	Want: stages.Required, Doc: FeatureName.Doc,
	Read: word(untrusted.NameChars, qube.MaxFeature, qube.ParseFeatureName,
		exception.New(exception.QubesFeatureNotFoundError, "no feature can have such a name")),
}

// FeatureWord is the name of a feature that dest.feat.Set takes: letters only (design: 4).
var FeatureWord = stages.Field[qube.FeatureName]{
	Want: stages.Required, Doc: "1 to 64 of A-Z a-z",
	Read: word(untrusted.Letters, 64, qube.ParseFeatureName,
		exception.New(exception.ProtocolError, "this feature's name is 1 to 64 letters")),
}

// FeatureValue is a feature's value (spec: methods.yaml admin.vm.feature.Set).
var FeatureValue = stages.Field[qube.FeatureValue]{
	Want: stages.Optional, Doc: "printable ASCII",
	Read: func(u untrusted.Bytes) (qube.FeatureValue, error) {
		s, err := u.Printable(qube.MaxValue)
		if err != nil {
			return qube.FeatureValue{}, exception.New(exception.ProtocolError, "a feature's value is printable ASCII")
		}
		return qube.ParseFeatureValue(s)
	},
}

// Notes are a qube's notes. What is not safe to display becomes an underscore; the empty text clears them
// (spec: model.md 12, SAFER).
var Notes = stages.Field[qube.Notes]{
	Want: stages.Optional, Doc: "UTF-8 text",
	Read: func(u untrusted.Bytes) (qube.Notes, error) {
		s, err := u.DisplaySafe(qube.MaxNotes)
		if err != nil {
			return qube.Notes{}, exception.New(exception.ProtocolError, "notes are UTF-8 text of up to 256000 bytes")
		}
		return qube.ParseNotes(s)
	},
}

// LabelToFind is a label's name, or its index in decimal (spec: methods.yaml admin.label.Get).
var LabelToFind = stages.Field[qube.LabelName]{
	Want: stages.Required, Doc: "a label's name, or its index",
	Read: word(untrusted.NameChars, qube.MaxLabel, qube.ParseLabelName, errLabelName),
}

var errLabelName = exception.New(exception.QubesInvalidLabelError, "a label's name is 1 to 255 letters, digits, '_', '.' or '-'")

// NewLabel is the name of a label to create. It begins with a letter, so that it cannot be mistaken for an index
// (spec: methods.yaml admin.label.Create, SAFER).
var NewLabel = stages.Field[qube.LabelName]{
	Want: stages.Required, Doc: "a letter, then up to 254 of A-Z a-z 0-9 _ . -",
	Read: func(u untrusted.Bytes) (qube.LabelName, error) {
		l, err := LabelToFind.Read(u)
		if first := l.Shown(); err == nil && !(('a' <= first[0]|0x20) && (first[0]|0x20 <= 'z')) {
			return qube.LabelName{}, exception.New(exception.QubesInvalidLabelError, "a label's name begins with a letter")
		}
		return l, err
	},
}

// Color is a label's colour; white space around it is dropped (spec: methods.yaml admin.label.Create).
var Color = stages.Field[qube.Color]{
	Want: stages.Required, Doc: "0x and six hexadecimal digits",
	Read: func(u untrusted.Bytes) (qube.Color, error) {
		s, err := u.TrimSpace().Printable(8)
		if err == nil {
			var c qube.Color
			if c, err = qube.ParseColor(s); err == nil {
				return c, nil
			}
		}
		return qube.Color{}, exception.New(exception.QubesInvalidLabelValueError, "a colour is 0x and six hexadecimal digits")
	},
}

// From is where a stream of events begins: with what happens from now on, or, if it is Numbered, after a revision.
type From struct {
	Numbered bool           // events tell their revision
	After    *qube.Revision // nil: now
	text     string
}

// Shown is the argument as sent.
func (f From) Shown() string { return f.text }

// EventsFrom is the argument of admin.Events, which is ours: from-now, or from- and the revision of the last event that
// the caller has seen (design: 6).
var EventsFrom = stages.Field[From]{
	Want: stages.Optional, Doc: "from-now, or from- and a revision in decimal",
	Read: func(u untrusted.Bytes) (From, error) {
		s, err := u.Word(untrusted.NameChars, 0, len("from-18446744073709551615"))
		rest, numbered := strings.CutPrefix(s, "from-")
		switch {
		case err != nil:
		case s == "":
			return From{}, nil
		case numbered && rest == "now":
			return From{Numbered: true, text: s}, nil
		case numbered:
			if n, err := strconv.ParseUint(rest, 10, 64); err == nil {
				after := qube.Revision(n)
				return From{Numbered: true, After: &after, text: s}, nil
			}
		}
		return From{}, exception.New(exception.ProtocolError, "the argument is from-now, or from- and a revision")
	},
}

// durationChars are those of a Go duration without sign or fraction.
var durationChars = untrusted.NewCharset("0123456789hms")

// Duration is a length of time in Go's notation, up to an hour, without sign or fraction: 200ms, 1m30s.
var Duration = stages.Field[Span]{
	Want: stages.Required, Doc: "a duration of up to 1h, such as 200ms or 1m30s",
	Read: func(u untrusted.Bytes) (Span, error) {
		s, err := u.Word(durationChars, 2, 16)
		if err == nil {
			var d time.Duration
			if d, err = time.ParseDuration(s); err == nil && d <= time.Hour {
				return Span{d}, nil
			}
		}
		return Span{}, exception.New(exception.ProtocolError, "a duration is up to 1h, such as 200ms or 1m30s")
	},
}

// Span is a length of time that may be shown.
type Span struct{ time.Duration }

// Shown is Go's notation.
func (s Span) Shown() string { return s.String() }
