package action_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestLines: one line for each item that is kept, in order; no item, no byte.
func TestLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching("[a-z]{1,3}")).Draw(t, "words")
		letter := rapid.StringMatching("[a-z]").Draw(t, "unwanted")
		var tags []qube.Tag
		want := ""
		for _, w := range words {
			tags = append(tags, must(qube.ParseTag(w)))
			if !strings.Contains(w, letter) {
				want += w + "\n"
			}
		}
		keeps := func(n qube.Noun) bool { return !strings.Contains(n.Shown(), letter) }
		r := action.Lines(slices.Values(tags), keeps, action.Shown)
		require.Equal(t, want, string(r.Body))
		require.Equal(t, want == "", len(r.AppendFrame(nil)) == len(messages.Empty.AppendFrame(nil)))
	})
}

// node is a qube that is based on another.
type node struct {
	qube.Plain
	feature string // its one feature, which is called f
	set     bool
}

func (n node) Feature(name qube.FeatureName) (qube.FeatureValue, bool) {
	if !n.set || name.Shown() != "f" {
		return qube.FeatureValue{}, false
	}
	return must(qube.ParseFeatureValue(n.feature)), true
}

func id(i int) qube.UUID {
	digit := string("0123456789"[i])
	return must(qube.ParseUUID(strings.Repeat(digit, 8) + "-0000-4000-8000-000000000000"))
}

// TestChains: every qube once, in order, whatever leads where; a loop ends.
func TestChains(t *testing.T) {
	f := must(qube.ParseFeatureName("f"))
	rapid.Check(t, func(t *rapid.T) {
		const most = 10
		var qubes []qube.Qube
		for i := range most {
			n := node{Plain: qube.Plain{IsNamed: must(qube.ParseName("q" + string("0123456789"[i]))), HasID: id(i)}}
			n.set = rapid.IntRange(0, 4).Draw(t, "set") == 0
			n.feature = rapid.SampledFrom([]string{"", "1"}).Draw(t, "value")
			qubes = append(qubes, n)
		}
		leads := rapid.SliceOfN(rapid.IntRange(-1, most-1), most, most).Draw(t, "leads") // -1: nowhere
		next := func(q qube.Qube) (qube.Qube, bool) {
			to := leads[slices.Index(qubes, q)]
			if to < 0 {
				return nil, false
			}
			return qubes[to], true
		}
		var want []qube.Qube
		for i := 0; i >= 0 && !slices.Contains(want, qubes[i]); i = leads[i] {
			want = append(want, qubes[i])
		}
		require.Equal(t, want, slices.Collect(action.Chain(qubes[0], next)))
		for range action.Chain(qubes[0], next) {
			break // must not panic: an iterator stops when it is told to
		}

		v, err := action.FeatureIn(action.Chain(qubes[0], next), qubes[0], f)
		if i := slices.IndexFunc(want, func(q qube.Qube) bool { return q.(node).set }); i >= 0 {
			require.NoError(t, err)
			require.Equal(t, want[i].(node).feature, v.Shown(), "an empty value counts as found")
			return
		}
		require.ErrorIs(t, err, exception.New(exception.QubesFeatureNotFoundError, ""))
		require.Equal(t, "qube q0 has no feature f", err.Error(), "it names the destination, whoever was asked last")
	})
}
