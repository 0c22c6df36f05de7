package untrusted_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/bidi"
	"pgregory.net/rapid"

	"sallyport/messages/untrusted"
)

// seal copies, so that a test keeps what it sealed.
func seal(b []byte) untrusted.Bytes { return untrusted.Seal(bytes.Clone(b)) }

// The charsets, and each a second time as a regular expression (spec: model.md 2, 9, 10, 11).
var charsets = []struct {
	set     untrusted.Charset
	members string
}{
	{untrusted.Letters, `A-Za-z`},
	{untrusted.Digits, `0-9`},
	{untrusted.LowerHex, `0-9a-f`},
	{untrusted.TagChars, `A-Za-z0-9_-`},
	{untrusted.NameChars, `A-Za-z0-9_.-`},
	{untrusted.UUIDChars, `0-9a-f-`},
	{untrusted.NewCharset(" ~\"%\\"), ` ~"%\\`},
	{untrusted.Charset{}, `^\x00-\x{10ffff}`}, // the zero set has no members
}

func TestCharsetsHoldExactlyTheirMembers(t *testing.T) {
	for _, c := range charsets {
		members := regexp.MustCompile(`\A[` + c.members + `]\z`)
		for b := range 256 {
			_, err := seal([]byte{byte(b)}).Word(c.set, 1, 1)
			assert.Equal(t, members.MatchString(string(rune(b))), err == nil, "%q in [%s]", b, c.members)
		}
	}
}

func TestACharsetOfWhatCannotBeShownIsRefused(t *testing.T) {
	for _, chars := range []string{"\x00", "a\n", "\x1f", "\x7f", "é", "\xff"} {
		assert.Panics(t, func() { untrusted.NewCharset(chars) }, "%q", chars)
	}
}

// holdsOfWord: a Word is what was sent, and that is least to most members of the charset.
func holdsOfWord(t require.TestingT, b []byte, charset, least, most int) {
	c := charsets[charset]
	got, err := seal(b).Word(c.set, least, most)
	if least <= len(b) && len(b) <= most && regexp.MustCompile(`\A[`+c.members+`]*\z`).Match(b) {
		require.NoError(t, err)
		require.Equal(t, string(b), got)
	} else {
		require.Equal(t, untrusted.ErrGrammar, err)
		require.Empty(t, got)
	}
}

func TestWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		charset := rapid.IntRange(0, len(charsets)-2).Draw(t, "charset")
		b := []byte(rapid.StringMatching("["+charsets[charset].members+"]{0,12}").Draw(t, "word"))
		if len(b) > 0 && rapid.Bool().Draw(t, "flawed") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "flaw")
		}
		least := rapid.IntRange(0, 13).Draw(t, "least")
		holdsOfWord(t, b, charset, least, least+rapid.IntRange(-1, 12).Draw(t, "more"))
	})
}

func FuzzWord(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, charset, least, most uint16) {
		holdsOfWord(t, b, int(charset)%len(charsets), int(least), int(most))
	})
}

// holdsOfPrintable: Printable is what was sent, and that is up to most bytes from space to tilde.
func holdsOfPrintable(t require.TestingT, b []byte, most int) {
	got, err := seal(b).Printable(most)
	if len(b) <= most && regexp.MustCompile(`\A[ -~]*\z`).Match(b) {
		require.NoError(t, err)
		require.Equal(t, string(b), got)
	} else {
		require.Equal(t, untrusted.ErrGrammar, err)
		require.Empty(t, got)
	}
}

func TestPrintable(t *testing.T) {
	for b := range 256 {
		holdsOfPrintable(t, []byte{'a', byte(b)}, 2)
	}
	holdsOfPrintable(t, []byte("abc"), 2)
	holdsOfPrintable(t, nil, 0)
}

func FuzzPrintable(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, most uint16) { holdsOfPrintable(t, b, int(most)) })
}

// holdsOfUTF8: UTF8 is what was sent, and that is up to most bytes of valid UTF-8, none of them NUL.
func holdsOfUTF8(t require.TestingT, b []byte, most int) {
	got, err := seal(b).UTF8(most)
	if len(b) <= most && utf8.Valid(b) && !bytes.Contains(b, []byte{0}) {
		require.NoError(t, err)
		require.Equal(t, string(b), got)
	} else {
		require.Equal(t, untrusted.ErrGrammar, err)
		require.Empty(t, got)
	}
}

func TestUTF8(t *testing.T) {
	for b := range 256 {
		holdsOfUTF8(t, []byte{'a', byte(b)}, 2)
		holdsOfUTF8(t, []byte(string(rune(b))), 2)
	}
	holdsOfUTF8(t, []byte("日本"), 5)
	holdsOfUTF8(t, []byte("日本"), 6)
	holdsOfUTF8(t, nil, 0)
}

func FuzzUTF8(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, most uint16) { holdsOfUTF8(t, b, int(most)) })
}

func TestKnownResultsOfDisplaySafe(t *testing.T) {
	for text, want := range map[string]string{ // spec: model.md 12
		"\u0008": "_", "\u00a0": "_", "\u200b": "_", "\u200c": "_", "\u200d": "_", "\U0001f642": "_",
		"a\rb": "a_b", "a\r\n": "a_\n", "\t\n": "\t\n",
		"\x00\x1b\x7f": "___",
		"\u061f\u0640": "__", // Arabic, though Unicode counts them among the characters that all scripts share
		"א":            "_", "ع": "_",
		"e\u0301 日本語 Ж ß ½ «»": "e\u0301 日本語 Ж ß ½ «»",
	} {
		got, err := seal([]byte(text)).DisplaySafe(99)
		assert.NoError(t, err)
		assert.Equal(t, want, got, "%+q", text)
	}
	for r := ' '; r <= '~'; r++ {
		assert.True(t, untrusted.IsDisplaySafe(r), "%q", r)
	}
}

// TestWhatIsNeverDisplaySafe tries every character there is (spec: model.md 12).
func TestWhatIsNeverDisplaySafe(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if !untrusted.IsDisplaySafe(r) {
			continue
		}
		direction, _ := bidi.LookupRune(r)
		class := direction.Class()
		if !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) ||
			class == bidi.R || class == bidi.AL || class == bidi.AN ||
			unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			t.Errorf("%U is not safe to display", r)
		}
	}
}

// holdsOfDisplaySafe: valid UTF-8 comes out with what is not safe replaced, one character for one; twice is as once.
func holdsOfDisplaySafe(t require.TestingT, b []byte, most int) {
	got, err := seal(b).DisplaySafe(most)
	if len(b) > most || !utf8.Valid(b) {
		require.Equal(t, untrusted.ErrGrammar, err)
		require.Empty(t, got)
		return
	}
	require.NoError(t, err)
	in, out := []rune(string(b)), []rune(got)
	require.True(t, utf8.ValidString(got))
	require.Len(t, out, len(in))
	for i, r := range out {
		require.True(t, r == '\t' || r == '\n' || untrusted.IsDisplaySafe(r), "%U", r)
		require.True(t, r == in[i] || r == '_' && in[i] != '\t' && in[i] != '\n' && !untrusted.IsDisplaySafe(in[i]), "%U", in[i])
	}
	again, err := seal([]byte(got)).DisplaySafe(most)
	require.NoError(t, err)
	require.Equal(t, got, again)
}

func TestDisplaySafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(rapid.String().Draw(t, "text"))
		if len(b) > 0 && rapid.Bool().Draw(t, "flawed") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "flaw")
		}
		holdsOfDisplaySafe(t, b, len(b)+rapid.IntRange(-1, 1).Draw(t, "more"))
	})
}

func FuzzDisplaySafe(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, most uint16) { holdsOfDisplaySafe(t, b, int(most)) })
}

// holdsOfSealed: what can be done to sealed bytes is what package bytes would have done to them.
func holdsOfSealed(t require.TestingT, b []byte, sep byte, word string) {
	u := seal(b)
	is := func(want []byte, got untrusted.Bytes) {
		require.True(t, got.Is(string(want)), "%q", want)
		require.True(t, got.Equal(seal(want)))
		require.Equal(t, len(want), got.Len())
	}
	is(b, u)
	require.Equal(t, string(b) == word, u.Is(word))
	require.Equal(t, string(b) == word, u.Equal(seal([]byte(word))))

	before, after, found := bytes.Cut(b, []byte{sep})
	sealedBefore, sealedAfter, sealedFound := u.Cut(sep)
	require.Equal(t, found, sealedFound)
	is(before, sealedBefore)
	is(after, sealedAfter)
	if found {
		is(b, untrusted.Join(sep, sealedBefore, sealedAfter))
	} else {
		is(b, untrusted.Join(sep, sealedBefore))
	}

	for _, x := range []struct {
		plain  []byte
		sealed untrusted.Bytes
	}{{b, u}, {after, sealedAfter}} { // the second does not begin where its box does
		rest, begins := bytes.CutPrefix(x.plain, []byte(word))
		sealedRest, sealedBegins := x.sealed.StartsWith(word)
		require.Equal(t, begins, sealedBegins)
		is(rest, sealedRest)
		is(bytes.Trim(x.plain, " \t\n\v\f\r"), x.sealed.TrimSpace())
	}
	require.Equal(t, !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x80 }), u.IsASCII())

	value, known := untrusted.Among(u, map[string]int{word: 7})
	require.Equal(t, string(b) == word, known)
	require.Equal(t, map[bool]int{true: 7}[known], value)
}

func TestSealed(t *testing.T) {
	text := rapid.StringMatching(`[ \t\n\v\f\r+ab\x00é]{0,9}`)
	rapid.Check(t, func(t *rapid.T) {
		b := text.Draw(t, "bytes")
		word := rapid.OneOf(text, rapid.Just(b), rapid.Just(b[:len(b)/2])).Draw(t, "word")
		holdsOfSealed(t, []byte(b), rapid.SampledFrom([]byte("+ \x00a")).Draw(t, "separator"), word)
	})
	for b := range 256 {
		holdsOfSealed(t, []byte{byte(b)}, 0, "")
	}
	holdsOfSealed(t, nil, 0, "")
}

func FuzzSealed(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, sep byte, word string) { holdsOfSealed(t, b, sep, word) })
}

func TestJoinUndoesRepeatedCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.StringMatching(`[a ]{0,9}`).Draw(t, "bytes")
		var parts []untrusted.Bytes
		for part, rest, more := seal([]byte(b)).Cut(' '); ; part, rest, more = rest.Cut(' ') {
			parts = append(parts, part)
			if !more || len(parts) > len(b)+1 {
				break
			}
		}
		require.Len(t, parts, strings.Count(b, " ")+1)
		require.True(t, untrusted.Join(' ', parts...).Is(b))
	})
}

// TestFingerprint: under one key, the same bytes and no others have the same fingerprint; under another, another.
func TestFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, other := untrusted.NewKey(), untrusted.NewKey()
		a := rapid.SliceOf(rapid.Byte()).Draw(t, "a")
		b := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Just(a)).Draw(t, "b")
		first := key.Fingerprint(seal(a))
		require.Regexp(t, `\A[0-9a-f]{16}\z`, first)
		require.Equal(t, bytes.Equal(a, b), first == key.Fingerprint(seal(b)))
		require.Equal(t, first, key.Fingerprint(seal(a)), "a key that was used before gives another fingerprint")
		require.NotEqual(t, first, other.Fingerprint(seal(a)))
	})
}

// TestFingerprintsMayBeMadeByManyGoroutines is for the race detector.
func TestFingerprintsMayBeMadeByManyGoroutines(t *testing.T) {
	key := untrusted.NewKey()
	for i := range 8 {
		u := seal(fmt.Append(nil, i))
		want := key.Fingerprint(u)
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 100 {
				require.Equal(t, want, key.Fingerprint(u))
			}
		})
	}
}
