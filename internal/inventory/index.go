package inventory

import (
	"iter"
	"math/bits"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"sallyport/messages/qube"
)

// references says who refers to whom: a tree of keys, target NUL property NUL holder, so that what depends on a qube is
// found without asking all others. It never changes.
type references struct {
	tree *iradix.Tree[qube.UUID] // the holder
}

func noReferences() references { return references{iradix.New[qube.UUID]()} }

func refKey(to string, p qube.PropertyName, holder qube.UUID) []byte {
	return []byte(to + "\x00" + p.Shown() + "\x00" + holder.Shown())
}

// changed is r after a property of holder changed from old to new; either may be empty, which refers to nobody.
func (r references) changed(holder qube.UUID, p qube.PropertyName, old, new qube.PropertyValue) references {
	if old == new || !slices.Contains(qube.References, p) {
		return r
	}
	if old != (qube.PropertyValue{}) {
		r.tree, _, _ = r.tree.Delete(refKey(old.Shown(), p, holder))
	}
	if new != (qube.PropertyValue{}) {
		r.tree, _, _ = r.tree.Insert(refKey(new.Shown(), p, holder), holder)
	}
	return r
}

func (r references) to(n qube.Name) iter.Seq2[qube.UUID, qube.PropertyName] {
	return func(yield func(qube.UUID, qube.PropertyName) bool) {
		prefix := n.Shown() + "\x00"
		it := r.tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for key, holder, ok := it.Next(); ok; key, holder, ok = it.Next() {
			p, _, _ := strings.Cut(string(key[len(prefix):]), "\x00")
			if !yield(holder, must(qube.ParsePropertyName(p))) {
				return
			}
		}
	}
}

// numbers is which of 0 to 9999 are taken: a set of bits. It never changes; the zero one is empty.
type numbers struct {
	words *[(maxNumber + 63) / 64]uint64
}

// maxNumber is the first number that is neither a QID nor a disposable's (spec: model.md 3).
const maxNumber = 10000

func (n numbers) has(i int) bool { return n.words != nil && n.words[i/64]&(1<<(i%64)) != 0 }

func (n numbers) with(i int) numbers {
	n = n.clone()
	n.words[i/64] |= 1 << (i % 64)
	return n
}

func (n numbers) without(i int) numbers {
	n = n.clone()
	n.words[i/64] &^= 1 << (i % 64)
	return n
}

func (n numbers) clone() numbers {
	words := [(maxNumber + 63) / 64]uint64{}
	if n.words != nil {
		words = *n.words
	}
	return numbers{&words}
}

// free is the lowest number that is not taken; false if all are.
func (n numbers) free() (int, bool) {
	if n.words == nil {
		return 0, true
	}
	for w, word := range n.words {
		if i := w*64 + bits.TrailingZeros64(^word); word != ^uint64(0) && i < maxNumber {
			return i, true
		}
	}
	return 0, false
}
