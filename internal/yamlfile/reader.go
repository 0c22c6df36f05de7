package yamlfile

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reader makes a T of a node, or says what it expected there. It may be called by many goroutines.
type Reader[T any] func(*Node) (T, error)

// String reads text. What YAML takes for something else has to stand in quotes.
func String(n *Node) (string, error) {
	if n.kind == scalar && (n.tag == "!!str" || n.tag == "!!timestamp") { // a date is text in YAML 1.2
		return n.text, nil
	}
	if n.kind == scalar && n.text != "" {
		return "", n.Expected("text: put it in quotes")
	}
	return "", n.Expected("text")
}

// Text reads any scalar as it is written: text, a number, true. Only null is no text.
func Text(n *Node) (string, error) {
	if n.kind != scalar || n.tag == "!!null" {
		return "", n.Expected("text")
	}
	return n.text, nil
}

// Int reads a whole number in decimal notation.
func Int(n *Node) (int, error) {
	i, ok := n.whole()
	if !ok {
		return 0, n.Expected("a whole number")
	}
	return i, nil
}

// Between reads a whole number from least to most.
func Between(least, most int) Reader[int] {
	return func(n *Node) (int, error) {
		i, ok := n.whole()
		if !ok || i < least || i > most {
			return 0, n.Expected("a whole number from %d to %d", least, most)
		}
		return i, nil
	}
}

// whole takes only numbers with one meaning: in YAML 010 may be eight or ten.
func (n *Node) whole() (int, bool) {
	i, err := strconv.Atoi(n.text)
	return i, err == nil && n.kind == scalar && n.plain && strconv.Itoa(i) == n.text
}

// Bool reads true or false.
func Bool(n *Node) (bool, error) {
	if n.kind == scalar && n.plain && (n.text == "true" || n.text == "false") {
		return n.text == "true", nil
	}
	return false, n.Expected("true or false")
}

// Duration reads a span of time that is not negative, as Go writes it: 50ms, 1m30s.
func Duration(n *Node) (time.Duration, error) {
	d, err := time.ParseDuration(n.text)
	if n.kind != scalar || err != nil || d < 0 {
		return 0, n.Expected("a duration such as 30s or 1m30s")
	}
	return d, nil
}

// OrNull reads what read reads, and null as nothing: the zero T.
func OrNull[T any](read Reader[T]) Reader[T] {
	return func(n *Node) (t T, err error) {
		if n.kind == scalar && n.tag == "!!null" {
			return t, nil
		}
		return read(n)
	}
}

// OneOf reads one of words.
func OneOf[T ~string](words ...T) Reader[T] {
	return func(n *Node) (T, error) {
		if t := T(n.text); n.kind == scalar && n.tag == "!!str" && slices.Contains(words, t) {
			return t, nil
		}
		return "", n.Expected("one of %s", join(words))
	}
}

// join lists words.
func join[T ~string](words []T) string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = string(w)
	}
	return strings.Join(s, ", ")
}

// Parsed reads with read, which is String or Text, and makes a T of it. want says what parse accepts, such as "a qube's
// name".
func Parsed[T any](read Reader[string], want string, parse func(string) (T, error)) Reader[T] {
	return func(n *Node) (t T, err error) {
		s, err := read(n)
		if err != nil {
			return t, err
		}
		if t, err = parse(s); err != nil {
			return t, n.Expected("%s", want)
		}
		return t, nil
	}
}

// List reads a list of what read reads.
func List[T any](read Reader[T]) Reader[[]T] {
	return func(n *Node) ([]T, error) {
		if n.kind != list {
			return nil, n.Expected("a list")
		}
		all := make([]T, 0, len(n.items))
		for _, item := range n.items {
			t, err := read(item)
			if err != nil {
				return nil, err
			}
			all = append(all, t)
		}
		return all, nil
	}
}

// Pair is an entry of a mapping whose keys are free.
type Pair[K, V any] struct {
	Key   K
	Value V
	Node  *Node // of the value, for what can be judged only later
}

// Pairs reads a mapping whose keys are free, in the order of the file. To the reader of a key, the key is a node of text,
// in the place of its value.
func Pairs[K, V any](key Reader[K], value Reader[V]) Reader[[]Pair[K, V]] {
	return func(n *Node) ([]Pair[K, V], error) {
		if n.kind != mapping {
			return nil, n.Expected("a mapping")
		}
		all := make([]Pair[K, V], 0, len(n.items))
		for _, item := range n.items {
			name := *item
			name.kind, name.tag, name.plain, name.text, name.line, name.items = scalar, "!!str", false, item.key, item.keyLine, nil
			k, err := key(&name)
			if err != nil {
				return nil, err
			}
			v, err := value(item)
			if err != nil {
				return nil, err
			}
			all = append(all, Pair[K, V]{k, v, item})
		}
		return all, nil
	}
}

// At is a value and its node, for what can be judged only later: a name that nothing bears, say.
type At[T any] struct {
	Value T
	Node  *Node // nil if it was not in the file
}

// Placed reads what read reads, and keeps the node.
func Placed[T any](read Reader[T]) Reader[At[T]] {
	return func(n *Node) (At[T], error) {
		t, err := read(n)
		return At[T]{t, n}, err
	}
}

// Field is a key of a mapping, and what to do with its value.
type Field struct {
	key      string
	required bool
	read     func(*Node) error
}

// Required is a key that must be there. Its value goes to dst.
func Required[T any](key string, dst *T, read Reader[T]) Field {
	f := Optional(key, dst, read)
	f.required = true
	return f
}

// Optional is a key that may be left out: then dst stays as it is.
func Optional[T any](key string, dst *T, read Reader[T]) Field {
	return Field{key: key, read: func(n *Node) error {
		t, err := read(n)
		if err == nil {
			*dst = t
		}
		return err
	}}
}

// Struct reads a mapping of exactly the fields that fields gives for a new T.
func Struct[T any](fields func(*T) []Field) Reader[T] {
	return func(n *Node) (T, error) {
		var t T
		err := n.Fields(fields(&t)...)
		return t, err
	}
}

// Group is a key that may be left out, with a mapping of fields.
func Group(key string, fields ...Field) Field {
	return Field{key: key, read: func(n *Node) error { return n.Fields(fields...) }}
}

// Fields reads a mapping of exactly these fields, in the order of the file. After an error, some may have been read.
func (n *Node) Fields(fields ...Field) error {
	if n.kind != mapping {
		return n.Expected("a mapping")
	}
	for _, item := range n.items {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.key == item.key })
		if i < 0 {
			unknown := *item
			unknown.line = item.keyLine
			return unknown.Expected("one of the keys %s", keys(fields))
		}
		if err := fields[i].read(item); err != nil {
			return err
		}
	}
	for _, f := range fields {
		if f.required && !slices.ContainsFunc(n.items, func(item *Node) bool { return item.key == f.key }) {
			return n.Expected("the key %s", f.key)
		}
	}
	return nil
}

// keys lists the keys of fields.
func keys(fields []Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	return strings.Join(names, ", ")
}
