package qube_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/qube"
)

// grammar is a noun's, a second time: the specification's words as regular expressions (spec: wire.md 2;
// model.md 2, 9, 10, 11, 12).
type grammar struct {
	parse  func(string) (qube.Noun, error)
	is     string
	isNot  string // though it is
	most   int    // bytes, where is does not say
	sample string // what is close to it, for random tests; empty for is
}

var grammars = map[string]grammar{
	"name":           {parse: noun(qube.ParseName), is: `[A-Za-z][A-Za-z0-9_.-]{0,30}`, isNot: `Domain-0|none|default|.*-dm`, sample: `(Domain-0|none|default|[A-Za-z0-9_.-]{0,31})(-dm|x)?`},
	"uuid":           {parse: noun(qube.ParseUUID), is: `[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`, sample: `[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{11,13}`},
	"tag":            {parse: noun(qube.ParseTag), is: `[A-Za-z0-9_-]{1,255}`, sample: `[A-Za-z0-9_-]{0,257}`},
	"feature name":   {parse: noun(qube.ParseFeatureName), is: `[A-Za-z0-9_.-]{1,255}`, sample: `[A-Za-z0-9_.-]{0,257}`},
	"feature value":  {parse: noun(qube.ParseFeatureValue), is: `[ -~]*`, most: 65536},
	"property name":  {parse: noun(qube.ParsePropertyName), is: `[a-z0-9_]{1,64}`, sample: `[a-z0-9_]{0,65}`},
	"property value": {parse: noun(qube.ParsePropertyValue), is: `[ -~]*`, most: 65536},
	"label name":     {parse: noun(qube.ParseLabelName), is: `[A-Za-z0-9_.-]{1,255}`, sample: `[A-Za-z0-9_.-]{0,257}`},
	"colour":         {parse: noun(qube.ParseColor), is: `0x[0-9A-Fa-f]{6}`, sample: `0x[0-9A-Fa-f]{5,7}`},
	"policy file":    {parse: noun(qube.ParsePolicyFile), is: `[A-Za-z0-9_-]{1,247}`, sample: `[A-Za-z0-9_.-]{0,249}`},
	"policy token":   {parse: noun(qube.ParsePolicyToken), is: `any|new|sha256:[0-9A-Fa-f]{64}`, sample: `(sha256:)?[0-9A-Fa-f]{63,65}|ANY|any.?`},
	"policy text":    {parse: noun(qube.ParsePolicyText), is: `[^\x00]*`, most: 65536},
	"notes":          {parse: noun(qube.ParseNotes), is: `[^\x00-\x08\x0b-\x1f\x7f-\x{9f}]*`, most: 256000},
}

func noun[N qube.Noun](parse func(string) (N, error)) func(string) (qube.Noun, error) {
	return func(s string) (qube.Noun, error) {
		n, err := parse(s)
		return n, err
	}
}

// check gives the property that every noun has: what is in the grammar comes out as it went in, and nothing comes of
// what is not.
func (g grammar) check() func(t require.TestingT, s string) {
	is, isNot := regexp.MustCompile(`\A(`+g.is+`)\z`), regexp.MustCompile(`\A(`+g.isNot+`)\z`)
	return func(t require.TestingT, s string) {
		n, err := g.parse(s)
		if is.MatchString(s) && (g.isNot == "" || !isNot.MatchString(s)) && (g.most == 0 || len(s) <= g.most) && utf8.ValidString(s) {
			require.NoError(t, err)
			require.Equal(t, s, n.Shown())
		} else {
			require.Equal(t, qube.ErrGrammar, err)
			require.Empty(t, n.Shown())
		}
	}
}

func TestNouns(t *testing.T) {
	for name, g := range grammars {
		t.Run(name, func(t *testing.T) {
			check := g.check()
			rapid.Check(t, func(t *rapid.T) {
				sample := rapid.StringMatching(g.is)
				if g.sample != "" {
					sample = rapid.OneOf(sample, rapid.StringMatching(g.sample))
				}
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
			if g.most > 0 {
				check(t, strings.Repeat("x", g.most))
				check(t, strings.Repeat("x", g.most+1))
			}
		})
	}
}

func fuzz(f *testing.F, name string) {
	check := grammars[name].check()
	f.Fuzz(func(t *testing.T, s string) { check(t, s) })
}

func FuzzParseName(f *testing.F)          { fuzz(f, "name") }
func FuzzParseUUID(f *testing.F)          { fuzz(f, "uuid") }
func FuzzParseTag(f *testing.F)           { fuzz(f, "tag") }
func FuzzParseFeatureName(f *testing.F)   { fuzz(f, "feature name") }
func FuzzParseFeatureValue(f *testing.F)  { fuzz(f, "feature value") }
func FuzzParsePropertyName(f *testing.F)  { fuzz(f, "property name") }
func FuzzParsePropertyValue(f *testing.F) { fuzz(f, "property value") }
func FuzzParseLabelName(f *testing.F)     { fuzz(f, "label name") }
func FuzzParseColor(f *testing.F)         { fuzz(f, "colour") }
func FuzzParsePolicyFile(f *testing.F)    { fuzz(f, "policy file") }
func FuzzParsePolicyToken(f *testing.F)   { fuzz(f, "policy token") }
func FuzzParsePolicyText(f *testing.F)    { fuzz(f, "policy text") }
func FuzzParseNotes(f *testing.F)         { fuzz(f, "notes") }

func name(t require.TestingT, s string) qube.Name {
	n, err := qube.ParseName(s)
	require.NoError(t, err)
	return n
}

func id(t require.TestingT, s string) qube.UUID {
	u, err := qube.ParseUUID(strings.Replace("00000000-0000-4000-8000-000000000000", "0000", s, 1))
	require.NoError(t, err)
	return u
}

// TestNamesSort is the order of listings: dom0, then the bytes of the names (spec: model.md 1).
func TestNamesSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.SampledFrom([]string{"dom0", "a", "B", "dom", "dom1", "dom0-x", "z.", "z-1"})).Draw(t, "names")
		got := slices.Clone(names)
		slices.SortFunc(got, func(a, b string) int {
			switch a, b := name(t, a), name(t, b); {
			case a.Less(b):
				require.False(t, b.Less(a))
				return -1
			case b.Less(a):
				return 1
			}
			require.Equal(t, a, b)
			return 0
		})
		slices.SortFunc(names, func(a, b string) int {
			return strings.Compare(strings.Replace(a+"\x00", "dom0\x00", "", 1), strings.Replace(b+"\x00", "dom0\x00", "", 1))
		})
		require.Equal(t, names, got)
	})
}

func TestPrefixesAreCut(t *testing.T) {
	tag, err := qube.ParseTag("created-by-work")
	require.NoError(t, err)
	rest, ok := tag.Cut("created-by-")
	assert.Equal(t, []any{"work", true}, []any{rest, ok})
	_, ok = tag.Cut("disp-")
	assert.False(t, ok)

	feature, err := qube.ParseFeatureName("service.cups")
	require.NoError(t, err)
	rest, ok = feature.Cut("service.")
	assert.Equal(t, []any{"cups", true}, []any{rest, ok})
	_, ok = feature.Cut("service.cupsd")
	assert.False(t, ok)
}
