package untrusted_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"unicode"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v3"

	"sallyport/messages/untrusted"
)

// marker is what must not come out: letters, which no encoder escapes, none of them a digit in any base.
const marker = "QxWmVzJKpTyr"

// leak names the form in which s holds the marker: as it is, as hexadecimal, as base64, or as a row of characters or
// numbers with anything between them. It is empty if s does not hold it.
func leak(s string) string {
	if strings.Contains(s, marker) {
		return "plain"
	}
	if strings.Contains(strings.ToLower(s), hex.EncodeToString([]byte(marker))) {
		return "hexadecimal"
	}
	for before := range 3 { // base64 differs with the marker's distance from the start; its middle depends on nothing else
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + marker))
		if strings.Contains(s, encoded[4:len(encoded)-4]) {
			return "base64"
		}
	}
	words := strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for form, read := range map[string]func(string) (uint64, error){
		"characters":          character,
		"binary numbers":      func(w string) (uint64, error) { return strconv.ParseUint(strings.TrimPrefix(w, "0b"), 2, 8) },
		"octal numbers":       func(w string) (uint64, error) { return strconv.ParseUint(strings.TrimPrefix(w, "0o"), 8, 8) },
		"decimal numbers":     func(w string) (uint64, error) { return strconv.ParseUint(w, 10, 8) },
		"hexadecimal numbers": func(w string) (uint64, error) { return strconv.ParseUint(strings.TrimLeft(w, "0xX"), 16, 8) },
	} {
		var row []byte
		for _, w := range words {
			if n, err := read(w); err == nil {
				row = append(row, byte(n))
			}
		}
		if bytes.Contains(row, []byte(marker)) {
			return form
		}
	}
	return ""
}

func character(w string) (uint64, error) {
	if len(w) != 1 {
		return 0, strconv.ErrSyntax
	}
	return uint64(w[0]), nil
}

// The places in a program's data where a value can lie.
type (
	shown[T any]  struct{ In T }
	hidden[T any] struct{ in T }
	deep[T any]   struct {
		Shown  shown[T]
		Hidden hidden[T]
		In     any
		in     any
		ptr    *hidden[T]
		list   []hidden[T]
		table  map[string]hidden[T]
		Err    error
	}
)

func shapes[T any](v T) map[string]any {
	return map[string]any{
		"bare":            v,
		"pointer":         &v,
		"exported field":  shown[T]{v},
		"hidden field":    hidden[T]{v},
		"struct pointer":  &hidden[T]{v},
		"slice":           []T{v, v},
		"array":           [1]T{v},
		"map":             map[string]T{"k": v},
		"slice of hidden": []hidden[T]{{v}},
		"slice of any":    []any{v, &v, hidden[T]{v}},
		"deep": deep[T]{shown[T]{v}, hidden[T]{v}, v, v, &hidden[T]{v}, []hidden[T]{{v}}, map[string]hidden[T]{"k": {v}},
			fmt.Errorf("%v", v)},
	}
}

// channels are the ways in which Go code turns a value into text, and what comes out of each. An encoder that refuses v
// says so in text as well.
func channels(v any) map[string][]string {
	out := map[string][]string{}
	add := func(channel string, text any, errs ...error) {
		out[channel] = append(out[channel], fmt.Sprintf("%s", text), fmt.Sprint(errs))
	}
	for _, flags := range []string{"", "+", "#", " ", "0", "12", "-7.3", "# ", "+#012"} {
		for verb := 'A'; verb <= 'z'; verb++ {
			add("fmt", fmt.Sprintf("%"+flags+string(verb), v))
		}
	}
	add("fmt", fmt.Sprint(v))
	add("error", fmt.Errorf("%v", v).Error(), fmt.Errorf("outer: %w", fmt.Errorf("%#v", v)))
	add("panic", recovered(v), fmt.Errorf("%v", recovered(fmt.Errorf("%+v", v))))

	text, err := json.Marshal(v)
	add("json", text, err)
	text, err = xml.Marshal(v)
	add("xml", text, err)
	text, err = yaml.Marshal(v)
	add("yaml", text, err)
	var b bytes.Buffer
	take := func(channel string, err error) { add(channel, b.String(), err); b.Reset() }
	take("gob", gob.NewEncoder(&b).Encode(v))
	take("template", template.Must(template.New("").Parse(`{{.}} {{printf "%x" .}}`)).Execute(&b, v))

	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
	take("slog text", nil)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", slog.Group("g", "v", v))
	take("slog json", nil)
	for name, encoder := range map[string]zapcore.Encoder{
		"zap json":    zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		"zap console": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&b), zap.DebugLevel))
		log.Info("m", zap.Any("v", v))
		take(name+" any", nil)
		log.With(zap.Reflect("v", v)).Info("m")
		take(name+" reflect", nil)
		log.Sugar().Infow("m", "v", v)
		take(name+" sugar", nil)
		if m, ok := v.(zapcore.ObjectMarshaler); ok {
			log.Info("m", zap.Object("v", m), zap.Inline(m))
			take(name+" object", nil)
		}
	}

	assert.Equal(failures{&b}, reflect.Zero(reflect.TypeOf(v)).Interface(), v) // its diff comes from spew
	take("testify", nil)
	return out
}

func recovered(v any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(v)
}

// failures is a test of which only the messages matter.
type failures struct{ io.Writer }

func (f failures) Errorf(format string, args ...any) { fmt.Fprintf(f, format, args...) }

// TestSealedBytesLeakNowhere guards invariant 2: whatever is made of sealed bytes while they stay sealed, and wherever
// that lies, no way of turning it into text shows one of them (design: 2).
func TestSealedBytesLeakNowhere(t *testing.T) {
	seal := func(s string) untrusted.Bytes { return untrusted.Seal([]byte(s)) }
	before, _, _ := seal(marker + "+x").Cut('+')
	_, after, _ := seal("x+" + marker).Cut('+')
	rest, _ := seal("uuid:" + marker).StartsWith("uuid:")
	whole, _ := seal(marker).StartsWith("uuid:")
	seen := map[string]bool{}
	for origin, u := range map[string]untrusted.Bytes{
		"Seal":                    seal(marker),
		"Cut, before":             before,
		"Cut, after":              after,
		"StartsWith":              rest,
		"StartsWith, not so":      whole,
		"TrimSpace":               seal(" " + marker + "\n").TrimSpace(),
		"Join":                    untrusted.Join(' ', seal("x"), seal(marker)),
		"nothing left of it":      seal(marker + " ").TrimSpace(),
		"Among, which missed it":  missed(seal(marker)),
		"a grammar that refused":  refused(seal(marker)),
		"DisplaySafe, which took": displayed(seal(marker)),
	} {
		for shape, v := range shapes(u) {
			for channel, texts := range channels(v) {
				for _, text := range texts {
					if seen[text] {
						continue // most are alike
					}
					seen[text] = true
					if form := leak(text); form != "" {
						t.Errorf("%s (%s) leaks through %s, %s: %.200q", origin, shape, channel, form, text)
					}
				}
			}
		}
	}
}

// The box stays shut when a grammar has looked into it.
func missed(u untrusted.Bytes) untrusted.Bytes    { untrusted.Among(u, map[string]int{}); return u }
func refused(u untrusted.Bytes) untrusted.Bytes   { _, _ = u.Word(untrusted.Digits, 0, 99); return u }
func displayed(u untrusted.Bytes) untrusted.Bytes { _, _ = u.DisplaySafe(99); return u }

// TestErrorsOfGrammarsQuoteNothing: an error outlives the call and reaches the log.
func TestErrorsOfGrammarsQuoteNothing(t *testing.T) {
	u := untrusted.Seal([]byte(marker + "\xff"))
	_, word := u.Word(untrusted.Letters, 0, 99)
	_, long := u.Word(untrusted.Letters, 0, 1)
	_, printable := u.Printable(99)
	_, safe := u.DisplaySafe(99)
	_, utf8 := u.UTF8(99)
	for _, err := range []error{word, long, printable, safe, utf8} {
		assert.ErrorIs(t, err, untrusted.ErrGrammar)
		for _, texts := range channels(err) {
			assert.Empty(t, leak(strings.Join(texts, "\n")))
		}
	}
}

// naive holds the bytes in a field that every printer sees.
type naive struct{ Bytes []byte }

func (n naive) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddByteString("bytes", n.Bytes)
	return nil
}

// TestTheDetectorFindsLeaks shows that the tests above can fail: each channel leaks what is not sealed.
func TestTheDetectorFindsLeaks(t *testing.T) {
	found := map[string]bool{}
	for _, v := range shapes(naive{[]byte(marker)}) {
		for channel, texts := range channels(v) {
			for _, text := range texts {
				found[channel] = found[channel] || leak(text) != ""
			}
		}
	}
	for channel, leaked := range found {
		assert.True(t, leaked, "no leak found through %s", channel)
	}
	for _, format := range []string{"%s", "%q", "%x", "%X", "%# x", "% X", "%#v", "%v", "%d", "%4d", "%03d", "%b", "%#b", "%o", "%#o", "%O", "%c", "%3c", "%U", "%#U", "%e", "%t"} {
		assert.NotEmpty(t, leak(fmt.Sprintf(format, []byte("x"+marker))), format)
	}
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte("xyz"[:before] + marker))
		assert.NotEmpty(t, leak(text), text)
	}
}

// redacting hides its bytes from every printer that asks.
type redacting struct{ b []byte }

func (redacting) String() string               { return "redacted" }
func (r redacting) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// TestASliceBehindMethodsWouldLeak shows why Bytes holds a closure: fmt does not ask unexported fields for their text.
func TestASliceBehindMethodsWouldLeak(t *testing.T) {
	r := redacting{[]byte(marker)}
	assert.Empty(t, leak(fmt.Sprintf("%x", r)))
	var inside any = hidden[redacting]{r} // an any, or vet would warn
	assert.NotEmpty(t, leak(fmt.Sprintf("%x", inside)))
}
