package sanitize_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
	"sallyport/stages/sanitize"
)

// field is one of the catalogue, a second time: in the specification's words (spec: methods.yaml; model.md 9 to 12).
type field struct {
	want   stages.Want
	read   func(untrusted.Bytes) (qube.Noun, error)
	is     string // a regular expression; what is in the field matches it, and is no longer than most bytes
	most   int
	fits   func(string) bool                        // what the expression cannot say; nil: everything
	shown  func(t require.TestingT, in, out string) // what an accepted text is shown as; nil: as it came
	typ    exception.Type                           // of a refusal
	sample string                                   // an expression for what is close to it
	flaws  []string                                 // one for each sentence that a refusal may be
}

// marker is in every flaw, and may be in no refusal.
const marker = "MaRKeR"

var fields = map[string]field{
	"Tag": {
		want: stages.Required, read: noun(sanitize.Tag), is: `[A-Za-z0-9_-]+`, most: 255,
		typ: exception.QubesInvalidTagError, sample: `[A-Za-z0-9_.-]{0,257}`, flaws: []string{marker + "."},
	},
	"FeatureName": {
		want: stages.Required, read: noun(sanitize.FeatureName), is: `[A-Za-z0-9_.-]+`, most: 255,
		typ: exception.ProtocolError, sample: `[A-Za-z0-9_./-]{0,257}`, flaws: []string{marker + "/"},
	},
	"FeatureToFind": {
		want: stages.Required, read: noun(sanitize.FeatureToFind), is: `[A-Za-z0-9_.-]+`, most: 255,
		typ: exception.QubesFeatureNotFoundError, sample: `[A-Za-z0-9_./-]{0,257}`, flaws: []string{marker + "/"},
	},
	"FeatureWord": {
		want: stages.Required, read: noun(sanitize.FeatureWord), is: `[A-Za-z]+`, most: 64,
		typ: exception.ProtocolError, sample: `[A-Za-z0-9]{0,65}`, flaws: []string{marker + "1"},
	},
	"FeatureValue": {
		want: stages.Optional, read: noun(sanitize.FeatureValue), is: `[ -~]*`, most: 65536,
		typ: exception.ProtocolError, sample: `[\t -~]{0,9}`, flaws: []string{marker + "\x7f"},
	},
	"Notes": {
		want: stages.Optional, read: noun(sanitize.Notes), is: `(?s).*`, most: 256000, fits: utf8.ValidString, shown: displaySafe,
		typ: exception.ProtocolError, sample: `.{0,20}`, flaws: []string{marker + "\xff"},
	},
	"LabelToFind": {
		want: stages.Required, read: noun(sanitize.LabelToFind), is: `[A-Za-z0-9_.-]+`, most: 255,
		typ: exception.QubesInvalidLabelError, sample: `[A-Za-z0-9_./-]{0,257}`, flaws: []string{marker + "/"},
	},
	"NewLabel": {
		want: stages.Required, read: noun(sanitize.NewLabel), is: `[A-Za-z][A-Za-z0-9_.-]*`, most: 255,
		typ: exception.QubesInvalidLabelError, sample: `[A-Za-z0-9_./-]{0,257}`, flaws: []string{marker + "/", "1" + marker},
	},
	"Color": {
		want: stages.Required, read: noun(sanitize.Color), is: `[\t-\r ]*0x[0-9A-Fa-f]{6}[\t-\r ]*`, most: 65536,
		shown: func(t require.TestingT, in, out string) { require.Equal(t, strings.Trim(in, "\t\n\v\f\r "), out) },
		typ:   exception.QubesInvalidLabelValueError, sample: `[\t\n ]?0[xX][0-9A-Ga-g]{5,7}[\r ]?`, flaws: []string{marker},
	},
	"Template": {
		want: stages.Optional, read: noun(sanitize.Template), is: `([A-Za-z][A-Za-z0-9_.-]*)?`, most: 31,
		fits: func(s string) bool {
			return s != "none" && s != "default" && s != "Domain-0" && !strings.HasSuffix(s, "-dm")
		},
		typ: exception.QubesVMNotFoundError, sample: `[a-z0-9./]{0,33}|none|default|Domain-0|x-dm`, flaws: []string{marker + "/"},
	},
	"NoTemplate": {
		want: stages.Optional, read: noun(sanitize.NoTemplate), is: ``, most: 0,
		typ: exception.ProtocolError, sample: `[a-z]?`, flaws: []string{marker},
	},
	"Preload": {
		want: stages.Optional, read: text(sanitize.Preload), is: `(preload)?`, most: 7,
		typ: exception.PermissionDenied, sample: `preload.?`, flaws: []string{marker},
	},
	"AsUUID": {
		want: stages.Optional, read: text(sanitize.AsUUID), is: `(uuid)?`, most: 4,
		typ: exception.ProtocolError, sample: `uuid.?`, flaws: []string{marker},
	},
	"Volume": {
		want: stages.Required, read: noun(sanitize.Volume), is: `root|private|volatile|kernel`, most: 8,
		typ: exception.PermissionDenied, sample: `(root|private|volatile|kernel).?`, flaws: []string{marker},
	},
	"Device": {
		want: stages.Optional, read: text(sanitize.DeviceToFind), is: `([A-Za-z][A-Za-z0-9_.-]{0,30}|_|\*)\+[ -~]+|`, most: 255,
		fits: func(s string) bool {
			backend, _, _ := strings.Cut(s, "+")
			return backend != "none" && backend != "default" && backend != "Domain-0" && !strings.HasSuffix(backend, "-dm")
		},
		typ: exception.ProtocolError, sample: `([a-z_*]{1,32}|none|x-dm)\+[a-z:+ \t]{0,4}`, flaws: []string{marker},
	},
	"Duration": {
		want: stages.Required, read: noun(sanitize.Duration), is: `([0-9]+(ms|h|m|s))+`, most: 16,
		fits: func(s string) bool { return length(s) <= 3600_000 },
		shown: func(t require.TestingT, in, out string) {
			d, err := time.ParseDuration(out)
			require.NoError(t, err)
			require.Equal(t, length(in), float64(d)/1e6)
		},
		typ: exception.ProtocolError, sample: `([0-9]{1,4}(h|m|s|ms|us|hm)?){1,3}`, flaws: []string{marker},
	},
}

func text(f stages.Field[string]) func(untrusted.Bytes) (qube.Noun, error) {
	return func(u untrusted.Bytes) (qube.Noun, error) {
		s, err := f.Read(u)
		return word(s), err
	}
}

// word is text as a noun.
type word string

func (w word) Shown() string { return string(w) }

func noun[N qube.Noun](f stages.Field[N]) func(untrusted.Bytes) (qube.Noun, error) {
	return func(u untrusted.Bytes) (qube.Noun, error) {
		n, err := f.Read(u)
		return n, err
	}
}

var terms = regexp.MustCompile(`([0-9]+)(ms|h|m|s)`)

// length is the milliseconds of a duration, exactly where they are few.
func length(s string) (ms float64) {
	for _, term := range terms.FindAllStringSubmatch(s, -1) {
		n, _ := strconv.ParseFloat(term[1], 64)
		ms += n * map[string]float64{"h": 3600_000, "m": 60_000, "s": 1000, "ms": 1}[term[2]]
	}
	return ms
}

var (
	plainText  = regexp.MustCompile(`\A[\t\n -~]*\z`)
	alwaysSafe = regexp.MustCompile(`[\t\n -~\p{Lu}\p{Ll}]`)
	neverSafe  = regexp.MustCompile(`[^\t\n -~\p{L}\p{M}\p{N}\p{P}]`)
)

// displaySafe: each character of notes stays as it is or becomes an underscore (spec: model.md 12).
func displaySafe(t require.TestingT, in, out string) {
	if plainText.MatchString(in) {
		require.Equal(t, in, out)
		return
	}
	before, after := []rune(in), []rune(out)
	require.Len(t, after, len(before))
	for i, r := range before {
		switch {
		case neverSafe.MatchString(string(r)):
			require.Equal(t, '_', after[i], "%U", r)
		case alwaysSafe.MatchString(string(r)) && unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic):
			require.Equal(t, r, after[i], "%U", r)
		default:
			require.Contains(t, []rune{'_', r}, after[i], "%U", r)
		}
	}
	again, err := sanitize.Notes.Read(untrusted.Seal([]byte(out)))
	require.NoError(t, err)
	require.Equal(t, out, again.Shown(), "what is safe stays safe")
}

// check gives what holds of every field: what is in the grammar is shown as it came, and a copy; whatever is not gets one
// of few constants, so that nothing of it can be in the answer.
func (f field) check(t require.TestingT) func(t require.TestingT, s string) {
	is, constants := regexp.MustCompile(`\A(`+f.is+`)\z`), map[string]bool{}
	for _, flaw := range f.flaws {
		frame := f.refusal(t, flaw)
		require.NotContains(t, frame, marker)
		require.NotContains(t, constants, frame, "two flaws for one sentence")
		constants[frame] = true
	}
	return func(t require.TestingT, s string) {
		if !is.MatchString(s) || len(s) > f.most || f.fits != nil && !f.fits(s) {
			require.Contains(t, constants, f.refusal(t, s))
			return
		}
		sent := []byte(s)
		n, err := f.read(untrusted.Seal(sent))
		require.NoError(t, err)
		clear(sent)
		if f.shown == nil {
			require.Equal(t, s, n.Shown())
		} else {
			f.shown(t, s, n.Shown())
		}
	}
}

// refusal is the answer to s on the wire.
func (f field) refusal(t require.TestingT, s string) string {
	n, err := f.read(untrusted.Seal([]byte(s)))
	var e *exception.Exception
	require.ErrorAs(t, err, &e)
	require.Equal(t, f.typ, e.Type())
	require.Contains(t, []string{"", "0s"}, n.Shown(), "nothing comes of what is refused")
	return string(e.AppendFrame(nil))
}

func TestFields(t *testing.T) {
	for name, f := range fields {
		t.Run(name, func(t *testing.T) {
			check := f.check(t)
			rapid.Check(t, func(t *rapid.T) {
				sample := rapid.OneOf(rapid.StringMatching(f.is), rapid.StringMatching(f.sample))
				s := []byte(sample.Draw(t, "sample"))
				if len(s) > 0 && rapid.Bool().Draw(t, "flawed") {
					s[rapid.IntRange(0, len(s)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "flaw")
				}
				check(t, string(s))
			})
			for b := range 256 {
				check(t, string([]byte{byte(b)}))
				check(t, string(rune(b)))
			}
			check(t, "")
			for _, unit := range []string{"x", "0", " ", "a1"} {
				check(t, strings.Repeat(unit, f.most/len(unit)))
				check(t, strings.Repeat(unit, f.most/len(unit)+1))
			}
		})
	}
}

// TestWantsOfFields: what may be left out is what can be empty.
func TestWantsOfFields(t *testing.T) {
	for name, f := range fields {
		_, err := f.read(untrusted.Bytes{})
		assert.Equal(t, f.want == stages.Required, err != nil, name)
	}
	for name, want := range map[string]stages.Want{
		"Tag": sanitize.Tag.Want, "FeatureName": sanitize.FeatureName.Want, "FeatureToFind": sanitize.FeatureToFind.Want,
		"FeatureWord": sanitize.FeatureWord.Want, "FeatureValue": sanitize.FeatureValue.Want, "Notes": sanitize.Notes.Want,
		"LabelToFind": sanitize.LabelToFind.Want, "NewLabel": sanitize.NewLabel.Want, "Color": sanitize.Color.Want,
		"Duration": sanitize.Duration.Want, "Template": sanitize.Template.Want, "NoTemplate": sanitize.NoTemplate.Want,
		"Preload": sanitize.Preload.Want, "AsUUID": sanitize.AsUUID.Want, "Volume": sanitize.Volume.Want,
		"Device": sanitize.DeviceToFind.Want,
	} {
		assert.Equal(t, fields[name].want, want, name)
	}
}

func TestSpansAreShownAsGoWritesThem(t *testing.T) {
	for sent, shown := range map[string]string{"200ms": "200ms", "90s": "1m30s", "60m": "1h0m0s", "0s": "0s", "1h0s": "1h0m0s"} {
		d, err := sanitize.Duration.Read(untrusted.Seal([]byte(sent)))
		require.NoError(t, err)
		assert.Equal(t, shown, d.Shown())
	}
}

func fuzz(f *testing.F, name string) {
	check := fields[name].check(f)
	f.Fuzz(func(t *testing.T, b []byte) { check(t, string(b)) })
}

func FuzzTag(f *testing.F)           { fuzz(f, "Tag") }
func FuzzFeatureName(f *testing.F)   { fuzz(f, "FeatureName") }
func FuzzFeatureToFind(f *testing.F) { fuzz(f, "FeatureToFind") }
func FuzzFeatureWord(f *testing.F)   { fuzz(f, "FeatureWord") }
func FuzzFeatureValue(f *testing.F)  { fuzz(f, "FeatureValue") }
func FuzzNotes(f *testing.F)         { fuzz(f, "Notes") }
func FuzzLabelToFind(f *testing.F)   { fuzz(f, "LabelToFind") }
func FuzzNewLabel(f *testing.F)      { fuzz(f, "NewLabel") }
func FuzzColor(f *testing.F)         { fuzz(f, "Color") }
func FuzzDuration(f *testing.F)      { fuzz(f, "Duration") }
