package inventory

import (
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/qube"
)

// TestFeaturesAreOrderedAndNeverChange: few or many, they are a map that remembers when each was first set, and whoever
// holds one keeps what he has.
func TestFeaturesAreOrderedAndNeverChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f features
		var model []feature // by place
		kept, was := f, slices.Clone(model)
		for range rapid.IntRange(0, 3*fewest).Draw(t, "steps") {
			name := must(qube.ParseFeatureName("f" + strconv.Itoa(rapid.IntRange(0, 2*fewest).Draw(t, "name"))))
			at := slices.IndexFunc(model, func(x feature) bool { return x.name == name })
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				f = f.without(name)
				if at >= 0 {
					model = slices.Delete(slices.Clone(model), at, at+1)
				}
			} else {
				value := must(qube.ParseFeatureValue(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")))
				var x feature
				f, x = f.set(name, value)
				require.Equal(t, value, x.value)
				if model = slices.Clone(model); at >= 0 {
					require.Equal(t, model[at].place, x.place, "it keeps its place")
					model[at] = x
				} else {
					model = append(model, x)
				}
			}
			require.Equal(t, len(model), len(f.all()))
			for i, x := range f.all() {
				require.Equal(t, model[i], x)
				found, ok := f.find(x.name)
				require.True(t, ok)
				require.Equal(t, x, found)
			}
			if rapid.Bool().Draw(t, "keep this one") {
				kept, was = f, slices.Clone(f.all())
			}
			require.True(t, slices.Equal(was, kept.all()), "what was kept has changed")
		}
	})
}
