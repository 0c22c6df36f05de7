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

// numbers is a set of numbers that are taken. It never changes; the zero one is empty.
type numbers struct{ words []uint64 }

// QIDs and the numbers of disposables are given below maxNumber (spec: model.md 3); a large inventory file may have gone
// beyond, but not to mostNumber.
const (
	maxNumber  = 10000
	mostNumber = 1 << 20
)

func (n numbers) has(i int) bool { return i/64 < len(n.words) && n.words[i/64]&(1<<(i%64)) != 0 }

func (n numbers) with(i int) numbers {
	words := make([]uint64, max(len(n.words), i/64+1))
	copy(words, n.words)
	words[i/64] |= 1 << (i % 64)
	return numbers{words}
}

func (n numbers) without(i int) numbers {
	words := slices.Clone(n.words)
	words[i/64] &^= 1 << (i % 64)
	return numbers{words}
}

// free is the lowest number below maxNumber that is not taken; false if all are.
func (n numbers) free() (int, bool) {
	for w, word := range n.words {
		if word != ^uint64(0) {
			i := w*64 + bits.TrailingZeros64(^word)
			return i, i < maxNumber
		}
	}
	return len(n.words) * 64, len(n.words)*64 < maxNumber
}
