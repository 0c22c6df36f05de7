package inventory

import (
	"cmp"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"sallyport/messages/qube"
)

// features are those of one qube. Like a snapshot, they share structure with what they were before, so that neither
// looking for one nor setting one depends on how many there are: the time of a refusal would tell otherwise
// (design: 2.4). The zero features are none.
type features struct {
	byName *iradix.Tree[feature]
	next   int // place
}

type feature struct {
	name  qube.FeatureName
	value qube.FeatureValue
	place int // ascending, as first set
}

func (f features) find(name qube.FeatureName) (feature, bool) {
	if f.byName == nil {
		return feature{}, false
	}
	return f.byName.Get([]byte(name.Shown()))
}

// all are in the order of their places.
func (f features) all() []feature {
	if f.byName == nil {
		return nil
	}
	list := make([]feature, 0, f.byName.Len())
	it := f.byName.Root().Iterator()
	for _, x, ok := it.Next(); ok; _, x, ok = it.Next() {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b feature) int { return cmp.Compare(a.place, b.place) })
	return list
}

// with has x in its place.
func (f features) with(x feature) features {
	if f.byName == nil {
		f.byName = iradix.New[feature]()
	}
	f.byName, _, _ = f.byName.Insert([]byte(x.name.Shown()), x)
	f.next = max(f.next, x.place+1)
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
	f.byName, _, _ = f.byName.Delete([]byte(name.Shown()))
	return f
}
