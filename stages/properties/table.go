package properties

import (
	"cmp"
	"slices"
	"strings"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// all is every property there is.
var all = tableOf(slices.Concat(identity, appearance, resources, power, network, references, disposables, system))

// table finds properties. It never changes.
type table struct {
	byClass map[qube.Class]map[qube.PropertyName]*Property // of the system: the empty class
	ordered map[qube.Class][]*Property
	names   [2]map[string]qube.PropertyName  // of qubes, and of the system
	types   [2]map[qube.PropertyName][]*Type // that properties of a name have
}

// kinds of holders.
const (
	ofQubes = iota
	ofSystem
)

// systemClass is the class by which the system's properties are found: that of nobody.
const systemClass qube.Class = ""

func tableOf(declared []*Property) *table {
	t := &table{byClass: map[qube.Class]map[qube.PropertyName]*Property{}, ordered: map[qube.Class][]*Property{}}
	for holder := range t.names {
		t.names[holder], t.types[holder] = map[string]qube.PropertyName{}, map[qube.PropertyName][]*Type{}
	}
	for _, p := range declared {
		classes, holder := p.Of, ofQubes
		if len(classes) == 0 {
			classes, holder = []qube.Class{systemClass}, ofSystem
		}
		for _, c := range classes {
			if t.byClass[c] == nil {
				t.byClass[c] = map[qube.PropertyName]*Property{}
			}
			if t.byClass[c][p.Name] != nil {
				panic("properties: declared twice for a class: " + p.Name.Shown())
			}
			t.byClass[c][p.Name] = p
			t.ordered[c] = append(t.ordered[c], p)
		}
		t.names[holder][p.Name.Shown()] = p.Name
		if !slices.Contains(t.types[holder][p.Name], p.Type) {
			t.types[holder][p.Name] = append(t.types[holder][p.Name], p.Type)
		}
	}
	for _, properties := range t.ordered {
		slices.SortFunc(properties, func(a, b *Property) int {
			return cmp.Or(cmp.Compare(a.Load, b.Load), strings.Compare(a.Name.Shown(), b.Name.Shown()))
		})
	}
	return t
}

// Of are the properties of a class's qubes, in the order of lists (spec: properties.yaml notes.list_order). Nobody
// changes the slice.
func Of(c qube.Class) []*Property { return all.ordered[c] }

// OfTheSystem are the system's properties, in the order of lists. Nobody changes the slice.
func OfTheSystem() []*Property { return all.ordered[systemClass] }

// Find is the property of q that has that name, or QubesNoSuchPropertyError.
func Find(q qube.Qube, name qube.PropertyName) (*Property, error) {
	if p, ok := all.byClass[q.Class()][name]; ok && q.Class() != systemClass {
		return p, nil
	}
	return nil, exception.New(exception.QubesNoSuchPropertyError, "qube %s has no property %s", q, name)
}

// FindGlobal is the property of the system that has that name, or QubesNoSuchPropertyError.
func FindGlobal(name qube.PropertyName) (*Property, error) {
	if p, ok := all.byClass[systemClass][name]; ok {
		return p, nil
	}
	return nil, exception.New(exception.QubesNoSuchPropertyError, "the system has no property %s", name)
}
