// Package yamlfile reads files that a person has written, and says precisely where one is wrong.
//
//	file ─Read→ *Node ─Reader→ your types
//
// It is the strict part of YAML: one document of mappings, lists and scalars, every key known and given once, no tags,
// and nothing that refers to something else (no anchors, aliases or merges), so that what you see is what is read, and
// the cost of reading grows with the file's length alone. A schema is written as Go code that names each key once:
//
//	var readQube = yamlfile.Struct(func(q *qubeEntry) []yamlfile.Field {
//		return []yamlfile.Field{
//			yamlfile.Required("name", &q.name, yamlfile.Parsed(yamlfile.String, "a qube's name", qube.ParseName)),
//			yamlfile.Optional("memory", &q.memory, yamlfile.Int),
//			yamlfile.Optional("tags", &q.tags, yamlfile.List(readTag)),
//		}
//	})
//
// Every error is an *Error, and one line. The package knows nothing of what the files are about.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The limits of a file.
const (
	MaxSize  = 16 << 20 // bytes
	MaxDepth = 64       // levels of lists and mappings
)

// Error says what is wrong with a file, and where.
type Error struct {
	File string
	Line int    // from 1
	Key  string // the path to the value, such as qubes[3].memory; empty for the whole document
	Want string // what was expected there
}

// Error is "FILE:LINE: KEY: expected WANT", always one line, whatever the file is called and whatever is in it.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d: ", e.File, e.Line)
	if e.Key != "" {
		s += e.Key + ": "
	}
	return oneLine(s + "expected " + e.Want)
}

// oneLine escapes what could begin another line, or drive a terminal.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// kind is what a Node is.
type kind uint8

const (
	scalar kind = iota
	list
	mapping
)

// Node is a value of a file, and its place there. It never changes.
type Node struct {
	file    string
	line    int
	keyLine int // where its key stands, which may be above its value

	// Its place in the tree. A path is put together only for an error: it may be much longer than its node.
	parent *Node
	key    string // in a mapping
	index  int    // in a list

	kind  kind
	tag   string // of a scalar: what YAML takes it for
	plain bool   // a scalar without quotes
	text  string // of a scalar
	items []*Node
}

// ReadFile reads the file at path. What is wrong with its content is an *Error; what keeps it from being read is an
// error that begins with its path.
func ReadFile(path string) (*Node, error) {
	data, err := Load(path)
	if err != nil {
		return nil, err
	}
	return Read(path, data)
}

// Load gives what Read is to read of the file at path: all of it, unless it is too large. An error begins with the path.
func Load(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unread(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, unread(path, err)
	}
	return data, nil
}

// unread drops the operation that an error of package os begins with.
func unread(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", oneLine(path), err)
}

// Read reads data, which is called file in errors. A file with nothing in it but comments is an empty mapping. Its
// errors are *Error.
func Read(file string, data []byte) (*Node, error) {
	at := func(offset int, want string) error {
		return &Error{File: file, Line: 1 + bytes.Count(data[:offset], []byte("\n")), Want: want}
	}
	if len(data) > MaxSize {
		return nil, at(0, fmt.Sprintf("a file of at most %d MiB", MaxSize>>20))
	}
	if i := firstInvalid(data); i >= 0 {
		return nil, at(i, "UTF-8")
	}
	if i := bytes.IndexFunc(data, func(r rune) bool { return r != '\t' && r != '\n' && r != '\r' && unicode.IsControl(r) }); i >= 0 {
		return nil, at(i, "text without control characters")
	}

	doc, more, err := parse(data)
	if err != nil {
		return nil, &Error{File: file, Line: brokenLine(data, err), Want: "YAML (" + problem(err) + ")"}
	}
	if more != nil {
		return nil, &Error{File: file, Line: more.Line, Want: "a single document"}
	}
	root := &Node{file: file, line: 1, keyLine: 1, kind: mapping}
	if doc == nil || isNothing(doc.Content[0]) {
		return root, nil
	}
	return root, root.fill(doc.Content[0], 0)
}

// isNothing reports whether y is what a document without content holds.
func isNothing(y *yaml.Node) bool {
	return y.Kind == yaml.ScalarNode && y.Value == "" && y.Style == 0 && y.Anchor == ""
}

// firstInvalid is where data stops being UTF-8, or -1.
func firstInvalid(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
}

// parse gives the first document of data, or nil, and the one after it, or nil. Aliases stay aliases in what it gives.
func parse(data []byte) (doc, more *yaml.Node, err error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for _, next := range []**yaml.Node{&doc, &more} {
		n := &yaml.Node{}
		switch err := d.Decode(n); {
		case err == io.EOF:
			return doc, nil, nil
		case err != nil:
			return nil, nil, err
		}
		*next = n
	}
	return doc, more, nil
}

// fill makes n the value of y, with all that is below.
func (n *Node) fill(y *yaml.Node, depth int) error {
	n.line = y.Line
	switch {
	case y.Kind == yaml.AliasNode || y.Anchor != "":
		return n.Expected("a value of its own, without & or *")
	case y.Style&yaml.TaggedStyle != 0:
		return n.Expected("a value without a tag")
	case depth > MaxDepth:
		return n.Expected("no more than %d levels", MaxDepth)
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = mapping
		n.items = make([]*Node, 0, len(y.Content)/2)
		lines := make(map[string]int, len(y.Content)/2)
		for i := 0; i+1 < len(y.Content); i += 2 {
			if err := n.addEntry(y.Content[i], y.Content[i+1], lines, depth); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		n.kind = list
		n.items = make([]*Node, 0, len(y.Content))
		for i, item := range y.Content {
			child := &Node{file: n.file, keyLine: item.Line, parent: n, index: i}
			if err := child.fill(item, depth+1); err != nil {
				return err
			}
			n.items = append(n.items, child)
		}
	default:
		n.kind, n.tag, n.text = scalar, y.ShortTag(), y.Value
		n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if strings.Contains(n.text, "\x00") {
			return n.Expected("text without NUL")
		}
	}
	return nil
}

// addEntry appends an entry of a mapping to n; lines has the keys that were there before.
func (n *Node) addEntry(key, value *yaml.Node, lines map[string]int, depth int) error {
	k := &Node{file: n.file, parent: n.parent, key: n.key, index: n.index} // its errors are about the mapping
	if err := k.fill(key, depth+1); err != nil {
		return err
	}
	if k.kind != scalar || k.tag == "!!null" || k.tag == "!!merge" {
		return k.Expected("a name as key")
	}
	child := &Node{file: n.file, line: k.line, keyLine: k.line, parent: n, key: k.text}
	if first, ok := lines[child.key]; ok {
		return child.Expected("this key once, but it is on line %d too", first)
	}
	lines[child.key] = child.keyLine
	if err := child.fill(value, depth+1); err != nil {
		return err
	}
	n.items = append(n.items, child)
	return nil
}

// Expected is the error that something else was expected at n. What it says of n's content is up to the caller.
func (n *Node) Expected(format string, args ...any) error {
	return &Error{File: n.file, Line: n.line, Key: n.path(), Want: fmt.Sprintf(format, args...)}
}

// Place is where n stands: "FILE:LINE".
func (n *Node) Place() string { return oneLine(fmt.Sprintf("%s:%d", n.file, n.line)) }

// path is the way to n from the root.
func (n *Node) path() string {
	if n.parent == nil {
		return ""
	}
	before := n.parent.path()
	switch {
	case n.parent.kind == list:
		return before + "[" + strconv.Itoa(n.index) + "]"
	case before == "":
		return label(n.key)
	default:
		return before + "." + label(n.key)
	}
}

// label is a key as a path shows it: quoted where its end could not be seen, cut where it is no word but a text.
func label(key string) string {
	const most = 64
	if len(key) > most {
		return strconv.Quote(strings.ToValidUTF8(key[:most], "") + "...")
	}
	if key == "" || strings.ContainsFunc(key, func(r rune) bool {
		return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return strconv.Quote(key)
	}
	return key
}
