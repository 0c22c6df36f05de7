// Package action is what the third door's methods have in common: how lists are made and where a feature is looked for.
// Whoever gets here is authorized and sees a masked view; it may learn what failed and why.
package action

import (
	"iter"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Lines is a reply of one line for each item that keeps does not reject.
func Lines[T qube.Noun](items iter.Seq[T], keeps func(qube.Noun) bool, line func([]byte, T) []byte) messages.Reply {
	b := messages.Begin()
	for item := range items {
		if keeps(item) {
			b = append(line(b, item), '\n')
		}
	}
	return messages.Framed(b)
}

// Shown is the line of an item that stands for itself.
func Shown[T qube.Noun](b []byte, item T) []byte { return append(b, item.Shown()...) }

// Chain is q, and what next leads to from there, for as long as it leads anywhere new.
func Chain(q qube.Qube, next func(qube.Qube) (qube.Qube, bool)) iter.Seq[qube.Qube] {
	return func(yield func(qube.Qube) bool) {
		seen := map[qube.UUID]bool{}
		for ok := true; ok && !seen[q.ID()]; q, ok = next(q) {
			seen[q.ID()] = true
			if !yield(q) {
				return
			}
		}
	}
}

// FeatureIn is the value of the first of places that has the feature; an empty value counts as found
// (spec: model.md 10). The exception names dest, whoever was asked last.
func FeatureIn(places iter.Seq[qube.Qube], dest qube.Qube, name qube.FeatureName) (qube.FeatureValue, error) {
	for q := range places {
		if v, ok := q.Feature(name); ok {
			return v, nil
		}
	}
	return qube.FeatureValue{}, exception.New(exception.QubesFeatureNotFoundError, "qube %s has no feature %s", dest, name)
}
