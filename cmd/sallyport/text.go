package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"sallyport/messages"
	"sallyport/messages/exception"
)

// escape replaces what is not printable text, nor in keep, by \xNN for each of its bytes.
func escape(b []byte, keep string) []byte {
	var out bytes.Buffer
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if (r != utf8.RuneError || size > 1) && (unicode.IsPrint(r) || strings.ContainsRune(keep, r)) {
			out.Write(b[:size])
		} else {
			for _, c := range b[:size] {
				fmt.Fprintf(&out, `\x%02x`, c)
			}
		}
		b = b[size:]
	}
	return out.Bytes()
}

// exceptionError is an exception of the daemon.
type exceptionError struct{ answer messages.Answer }

// Error is "TYPE: message".
func (e *exceptionError) Error() string { return e.answer.Type + ": " + rendered(e.answer) }

// rendered is the message of a as the reference's client shows it (spec: exceptions.yaml rules.client_construct). Where
// that client would fail, it is the format and the fields, and says so.
func rendered(a messages.Answer) string {
	if exception.Type(a.Type).Raw() {
		return a.Format
	}
	if s, ok := percent(a.Format, a.Fields); ok {
		return s
	}
	return fmt.Sprintf("%s %q (clients fail to show this)", a.Format, a.Fields)
}

// percent is Python's format % fields, of which it knows %s, %d and %%. Fields of digits alone are numbers to it.
func percent(format string, fields []string) (string, bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(format, "%")
		b.WriteString(before)
		if !found {
			return b.String(), len(fields) == 0
		}
		verb := ""
		if after != "" {
			verb, after = after[:1], after[1:]
		}
		switch {
		case verb == "%":
			b.WriteByte('%')
		case len(fields) == 0:
			return "", false
		case verb == "s" || verb == "d" && isNumber(fields[0]):
			field := fields[0]
			if isNumber(field) {
				field = strings.TrimLeft(field[:len(field)-1], "0") + field[len(field)-1:]
			}
			b.WriteString(field)
			fields = fields[1:]
		default:
			return "", false
		}
		format = after
	}
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// contentJSON is an OK frame as one JSON object.
func contentJSON(content []byte) []byte {
	if !utf8.Valid(content) {
		return toJSON(struct {
			OK      bool   `json:"ok"`
			Content []byte `json:"content_base64"`
		}{true, content})
	}
	return toJSON(struct {
		OK      bool   `json:"ok"`
		Content string `json:"content"`
	}{true, string(content)})
}

// exceptionJSON is an exception frame as one JSON object.
func exceptionJSON(a messages.Answer) []byte {
	return toJSON(struct {
		OK      bool     `json:"ok"`
		Type    string   `json:"type"`
		Message string   `json:"message"`
		Format  string   `json:"format"`
		Fields  []string `json:"fields"`
	}{false, a.Type, rendered(a), a.Format, append([]string{}, a.Fields...)})
}

// toJSON is v as one line, in which everything that is not printable is escaped the JSON way.
func toJSON(v any) []byte {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // our own types all have a JSON form
	}
	var out bytes.Buffer
	for _, r := range line.String() {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}
