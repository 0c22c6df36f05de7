package inventory

import (
	"cmp"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"sallyport/messages/qube"
)

// features are those of one qube. Like a snapshot, they share structure with what they were before. Most qubes have few,
// which stand in a row; where there are many, they are a tree, so that neither looking for one nor setting one depends on
// how many there are: the time of a refusal would tell otherwise (design: 2.4). The zero features are none.
type features struct {
	few  []feature // by place; never written to in place
	many *iradix.Tree[feature]
	next int // place
}

// fewest is how many features are many. (A tree for each of 10,000 qubes costs a quarter of all writes, in garbage
// collection.)
const fewest = 16

type feature struct {
	name  qube.FeatureName
	value qube.FeatureValue
	place int // ascending, as first set
}

func (f features) find(name qube.FeatureName) (feature, bool) {
	if f.many != nil {
		return f.many.Get([]byte(name.Shown()))
	}
	if i := f.at(name); i >= 0 {
		return f.few[i], true
	}
	return feature{}, false
}

// at is where a feature stands among few, or -1.
func (f features) at(name qube.FeatureName) int {
	return slices.IndexFunc(f.few, func(x feature) bool { return x.name == name })
}

// all are in the order of their places.
func (f features) all() []feature {
	if f.many == nil {
		return f.few
	}
	list := make([]feature, 0, f.many.Len())
	it := f.many.Root().Iterator()
	for _, x, ok := it.Next(); ok; _, x, ok = it.Next() {
		list = append(list, x)
	}
	slices.SortFunc(list, byPlace)
	return list
}

// byPlace goes by name where places are the same, as they can be only in a store that somebody else wrote.
func byPlace(a, b feature) int {
	return cmp.Or(cmp.Compare(a.place, b.place), strings.Compare(a.name.Shown(), b.name.Shown()))
}

// with has x in its place.
func (f features) with(x feature) features {
	f.next = max(f.next, x.place+1)
	switch i := f.at(x.name); {
	case f.many != nil:
		f.many, _, _ = f.many.Insert([]byte(x.name.Shown()), x)
	case i >= 0:
		f.few = slices.Clone(f.few)
		f.few[i] = x
	case len(f.few)+1 < fewest:
		i, _ := slices.BinarySearchFunc(f.few, x, byPlace)
		f.few = slices.Insert(slices.Clip(f.few), i, x)
	default:
		tree := iradix.New[feature]().Txn()
		for _, x := range append(slices.Clip(f.few), x) {
			tree.Insert([]byte(x.name.Shown()), x)
		}
		f.few, f.many = nil, tree.Commit()
	}
	return f
}

// set gives a feature that is there already its value and leaves it its place; another one gets the next.
func (f features) set(name qube.FeatureName, value qube.FeatureValue) (features, feature) {
	x, ok := f.find(name)
	if !ok {
		x = feature{name: name, place: f.next}
	}
	x.value = value
	return f.with(x), x
}

func (f features) without(name qube.FeatureName) features {
	if f.many != nil {
		f.many, _, _ = f.many.Delete([]byte(name.Shown()))
	} else if i := f.at(name); i >= 0 {
		f.few = slices.Delete(slices.Clone(f.few), i, i+1)
	}
	return f
}
