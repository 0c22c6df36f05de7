package yamlfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/yamlfile"
)

// entry and inventory are a schema with one of everything.
type entry struct {
	name     string
	class    class
	memory   int
	delay    time.Duration
	on       bool
	netvm    yamlfile.At[string]
	tags     []string
	features []yamlfile.Pair[string, string]
}

type class string

type inventory struct {
	version int
	pool    string
	size    int
	qubes   []entry
}

var (
	lower = yamlfile.Parsed(yamlfile.String, "a lower-case word", func(s string) (string, error) {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz.") != "" {
			return "", errors.New("no")
		}
		return s, nil
	})
	readEntry = yamlfile.Struct(func(e *entry) []yamlfile.Field {
		return []yamlfile.Field{
			yamlfile.Required("name", &e.name, lower),
			yamlfile.Optional("class", &e.class, yamlfile.OneOf[class]("AppVM", "DispVM")),
			yamlfile.Optional("memory", &e.memory, yamlfile.Int),
			yamlfile.Optional("delay", &e.delay, yamlfile.Duration),
			yamlfile.Optional("on", &e.on, yamlfile.Bool),
			yamlfile.Optional("netvm", &e.netvm, yamlfile.Placed(lower)),
			yamlfile.Optional("tags", &e.tags, yamlfile.List(yamlfile.String)),
			yamlfile.Optional("features", &e.features, yamlfile.Pairs(lower, yamlfile.Text)),
		}
	})
)

func read(data string) (inventory, error) {
	in := inventory{size: 7}
	n, err := yamlfile.Read("inventory.yaml", []byte(data))
	if err == nil {
		err = n.Fields(
			yamlfile.Required("version", &in.version, yamlfile.Between(1, 1)),
			yamlfile.Group("pool",
				yamlfile.Optional("name", &in.pool, yamlfile.String),
				yamlfile.Optional("size", &in.size, yamlfile.Int)),
			yamlfile.Optional("qubes", &in.qubes, yamlfile.List(readEntry)),
		)
	}
	return in, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	got, err := read(`# a comment
version: 1
pool: {name: "12"}
qubes:
  - name: work
    class: AppVM
    memory: -800
    delay: 1m30s
    on: true
    netvm: fire
    tags: [a, "1", 2024-01-02, 'true', yes]
    features: {z.b: 1, "b": on, a: "", c: "0x1", d: 1.50}
  - name: other
`)
	require.NoError(t, err)
	require.Len(t, got.qubes, 2)
	work := got.qubes[0]
	assert.Equal(t, "12", got.pool)
	assert.Equal(t, 7, got.size, "a key that is absent leaves its destination alone")
	assert.Equal(t, class("AppVM"), work.class)
	assert.Equal(t, -800, work.memory)
	assert.Equal(t, 90*time.Second, work.delay)
	assert.True(t, work.on)
	assert.Equal(t, []string{"a", "1", "2024-01-02", "true", "yes"}, work.tags)
	var features []string
	for _, p := range work.features {
		features = append(features, p.Key+"="+p.Value)
	}
	assert.Equal(t, []string{"z.b=1", "b=on", "a=", "c=0x1", "d=1.50"}, features, "in the order of the file, as written")
	assert.Equal(t, "fire", work.netvm.Value)
	assert.EqualError(t, work.netvm.Node.Expected("a qube of this file"),
		"inventory.yaml:10: qubes[0].netvm: expected a qube of this file")
	assert.Equal(t, "inventory.yaml:10", work.netvm.Node.Place())
	assert.EqualError(t, work.features[0].Node.Expected("less"), `inventory.yaml:12: qubes[0].features."z.b": expected less`)
	assert.Nil(t, got.qubes[1].netvm.Node)
}

func TestErrors(t *testing.T) {
	const knownOfQube = "name, class, memory, delay, on, netvm, tags, features"
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	for _, c := range []struct{ what, file, want string }{
		{"unknown key", "version: 1\nqubes:\n- name: a\n  colour: red", "4: qubes[0].colour: expected one of the keys " + knownOfQube},
		{"unknown key whose value is below", "version: 1\ncolours:\n\n  - red", "2: colours: expected one of the keys version, pool, qubes"},
		{"unknown key of a group", "version: 1\npool: {nam: x}", "2: pool.nam: expected one of the keys name, size"},
		{"duplicate key", "version: 1\nqubes: []\n\nversion: 1", "4: version: expected this key once, but it is on line 1 too"},
		{"duplicate key in quotes", "version: 1\nqubes: [{name: a, \"name\": a}]", "2: qubes[0].name: expected this key once, but it is on line 2 too"},
		{"missing key", "version: 1\nqubes:\n- name: a\n- class: AppVM", "4: qubes[1]: expected the key name"},
		{"missing key of the document", "qubes: []", "1: expected the key version"},
		{"empty file", "", "1: expected the key version"},
		{"only comments", "# nothing\n\n", "1: expected the key version"},
		{"only a mark", "# nothing\n---", "1: expected the key version"},
		{"null document", "~", "1: expected a mapping"},
		{"list document", "\n- a", "2: expected a mapping"},
		{"group with nothing in it", "pool:\nversion: 1", "1: pool: expected a mapping"},

		{"text for a number", "version: 1\nqubes:\n- name: a\n- name: b\n- name: c\n- name: d\n  memory: much", "7: qubes[3].memory: expected a whole number"},
		{"number in quotes", "version: 1\nqubes: [{name: a, memory: '8'}]", "2: qubes[0].memory: expected a whole number"},
		{"fraction", "version: 1\nqubes: [{name: a, memory: 8.0}]", "2: qubes[0].memory: expected a whole number"},
		{"octal or not", "version: 1\nqubes: [{name: a, memory: 010}]", "2: qubes[0].memory: expected a whole number"},
		{"hexadecimal", "version: 1\nqubes: [{name: a, memory: 0x10}]", "2: qubes[0].memory: expected a whole number"},
		{"number too large", "version: 1\nqubes: [{name: a, memory: 99999999999999999999}]", "2: qubes[0].memory: expected a whole number"},
		{"nothing for a number", "version: 1\nqubes:\n- name: a\n  memory:\n\n  class: AppVM", "4: qubes[0].memory: expected a whole number"},
		{"below the range", "version: 0", "1: version: expected a whole number from 1 to 1"},
		{"above the range", "version: 2", "1: version: expected a whole number from 1 to 1"},
		{"list for a number", "version: [1]", "1: version: expected a whole number from 1 to 1"},
		{"number for text", "version: 1\npool: {name: 12}", "2: pool.name: expected text: put it in quotes"},
		{"boolean for text", "version: 1\npool: {name: true}", "2: pool.name: expected text: put it in quotes"},
		{"null for text", "version: 1\npool: {name: }", "2: pool.name: expected text"},
		{"list for text", "version: 1\npool: {name: [a]}", "2: pool.name: expected text"},
		{"word for a boolean", "version: 1\nqubes: [{name: a, on: yes}]", "2: qubes[0].on: expected true or false"},
		{"text for a boolean", "version: 1\nqubes: [{name: a, on: 'true'}]", "2: qubes[0].on: expected true or false"},
		{"no duration", "version: 1\nqubes: [{name: a, delay: 5}]", "2: qubes[0].delay: expected a duration such as 30s or 1m30s"},
		{"negative duration", "version: 1\nqubes: [{name: a, delay: -5s}]", "2: qubes[0].delay: expected a duration such as 30s or 1m30s"},
		{"none of the words", "version: 1\nqubes: [{name: a, class: appvm}]", "2: qubes[0].class: expected one of AppVM, DispVM"},
		{"list for a word", "version: 1\nqubes: [{name: a, class: [AppVM]}]", "2: qubes[0].class: expected one of AppVM, DispVM"},
		{"what the parser refuses", "version: 1\nqubes: [{name: A}]", "2: qubes[0].name: expected a lower-case word"},
		{"what the reader refuses", "version: 1\nqubes: [{name: 12}]", "2: qubes[0].name: expected text: put it in quotes"},
		{"mapping for a list", "version: 1\nqubes: {}", "2: qubes: expected a list"},
		{"text for a mapping", "version: 1\nqubes: [a]", "2: qubes[0]: expected a mapping"},
		{"list for free keys", "version: 1\nqubes: [{name: a, features: []}]", "2: qubes[0].features: expected a mapping"},
		{"free key refused", "version: 1\nqubes:\n- name: a\n  features:\n    A B:\n      - 1", `5: qubes[0].features."A B": expected a lower-case word`},
		{"value of a free key", "version: 1\nqubes: [{name: a, features: {x: [1]}}]", "2: qubes[0].features.x: expected text"},
		{"null for any text", "version: 1\nqubes: [{name: a, features: {x: }}]", "2: qubes[0].features.x: expected text"},

		{"alias", "version: 1\npool: {name: &p x}\nqubes: [{name: *p}]", "2: pool.name: expected a value of its own, without & or *"},
		{"alias to nothing", "version: 1\nqubes: [{name: *p}]", "2: expected YAML (unknown anchor 'p' referenced)"},
		{"alias of itself", "version: 1\nqubes: &q\n- *q", "2: qubes: expected a value of its own, without & or *"},
		{"anchor on a key", "version: 1\n&k pool: {}", "2: expected a value of its own, without & or *"},
		{"merge", "version: 1\npool: {<<: {name: x}}", "2: pool: expected a name as key"},
		{"list as key", "version: 1\n[a]: 1", "2: expected a name as key"},
		{"null as key", "version: 1\n~: 1", "2: expected a name as key"},
		{"tag", "version: !!int 1", "1: version: expected a value without a tag"},
		{"tag of our own", "version: 1\npool: !pool {}", "2: pool: expected a value without a tag"},
		{"binary", "version: 1\npool: {name: !!binary aGk=}", "2: pool.name: expected a value without a tag"},
		{"two documents", "version: 1\n---\nversion: 1\n", "2: expected a single document"},
		{"too deep", "version: 1\nqubes: " + deep, "2: qubes" + strings.Repeat("[0]", 64) + ": expected no more than 64 levels"},

		{"NUL", "version: 1\npool:\n  name: a\x00b", "3: expected text without control characters"},
		{"NUL by escape", "version: 1\npool:\n  name: \"a\\0b\"", "3: pool.name: expected text without NUL"},
		{"NUL in a key by escape", "version: 1\n\"\\0\": 1", "2: expected text without NUL"},
		{"escape sequence", "version: 1\npool:\n  name: \x1b[2J", "3: expected text without control characters"},
		{"not UTF-8", "version: 1\npool:\n  name: gr\xfcn", "3: expected UTF-8"},
		{"UTF-16", "\xff\xfev\x00", "1: expected UTF-8"},
		{"too large", strings.Repeat("#\n", 8<<20) + "#", "1: expected a file of at most 16 MiB"},
		{"key that looks like another line", "version: 1\n\"a\\nb\": 1", `2: "a\nb": expected one of the keys version, pool, qubes`},
		{"key that is a text", "version: 1\n" + strings.Repeat("k", 100) + ": 1", `2: "` + strings.Repeat("k", 64) + `...": expected one of the keys version, pool, qubes`},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := read(c.file)
			require.EqualError(t, err, "inventory.yaml:"+c.want)
			var e *yamlfile.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "inventory.yaml", e.File)
			assert.True(t, strings.HasPrefix(c.want, fmt.Sprint(e.Line, ":")))
			assert.True(t, strings.HasSuffix(c.want, "expected "+e.Want))
			assert.Contains(t, c.want, e.Key)
		})
	}
}

func TestNullMayBeAllowed(t *testing.T) {
	for text, want := range map[string]string{"a: null": "", "a: ~": "", "a:": "", "a: x": "x", "a: 'null'": "null"} {
		root, err := yamlfile.Read("f", []byte(text))
		require.NoError(t, err)
		got := "before"
		require.NoError(t, root.Fields(yamlfile.Optional("a", &got, yamlfile.OrNull(yamlfile.String))))
		assert.Equal(t, want, got, text)
	}
	root, err := yamlfile.Read("f", []byte("a: 1"))
	require.NoError(t, err)
	var got string
	assert.EqualError(t, root.Fields(yamlfile.Optional("a", &got, yamlfile.OrNull(yamlfile.String))), "f:1: a: expected text: put it in quotes")
}

// TestSyntaxErrors: the YAML library gives many of these the line where the enclosing value begins, or none.
func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		what, file string
		line       int
	}{
		{"a word alone", "a: 1\nb: 2\nc\nd: 3\ne: 4\n", 3},
		{"quote that never ends", "a: 1\nb: \"x\nd: 3\ne: 4\n", 2},
		{"quote that never ends, after one that does", "a: \"" + strings.Repeat("x\n", 20) + "\"\nb: \"x\nd: 3\n", 22},
		{"second colon", "a: 1\nb: x: y\nd: 3\n", 2},
		{"dedent to nowhere", "a: 1\nb:\n  - x\n - y\nd: 3\n", 4},
		{"dedent to nowhere, far below", "a: 1\nb:\n" + strings.Repeat("  - x: 1\n    y: 2\n", 50) + "   y: 2\n  - x: 1\n", 103},
		{"tab", "a: 1\nb: 2\n\tc: 3\nd: 3\n", 3},
		{"indent", "a: 1\nb: 2\n  c: 3\nd: 3\n", 3},
		{"reserved character", "a: 1\nb: @\nd: 3\n", 2},
		{"list in a mapping", "a: 1\nb: 3\n- x\ne: 4\n", 3},
		{"bracket too many", "a: 1\nb: 3\n}\ne: 4\n", 3},
		{"escape", "a: 1\nb: \"\\q\"\nd: 3\n", 2},
		{"at once", "}", 1},
		{"in the last line, without its end", "a: 1\nb: [", 2},
		{"library version", "%YAML 3.0\n---\na: 1\n", 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := yamlfile.Read("f", []byte(c.file))
			var e *yamlfile.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.line, e.Line, "%v", err)
			assert.Regexp(t, `^f:\d+: expected YAML \([^\n]+\)$`, err.Error())
		})
	}
}

// TestBillionLaughs: each line refers to the one before it ten times.
func TestBillionLaughs(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := range 20 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	_, err := yamlfile.Read("f", []byte(b.String()))
	assert.EqualError(t, err, "f:1: a0: expected a value of its own, without & or *")
}

func TestErrorIsOneLine(t *testing.T) {
	_, err := yamlfile.Read("a\nb\x1b", []byte("%"))
	require.Error(t, err)
	assert.True(t, strings.HasPrefix(err.Error(), `a\nb\x1b:1: expected `), "%q", err)
	_, err = yamlfile.ReadFile("no\nfile")
	assert.EqualError(t, err, `no\nfile: no such file or directory`)
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	_, err := yamlfile.ReadFile(path)
	assert.EqualError(t, err, path+": no such file or directory")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	_, err = yamlfile.ReadFile(filepath.Dir(path))
	assert.EqualError(t, err, filepath.Dir(path)+": is a directory")

	require.NoError(t, os.WriteFile(path, []byte("a:\n  b: [x]\n"), 0o600))
	n, err := yamlfile.ReadFile(path)
	require.NoError(t, err)
	assert.EqualError(t, n.Fields(), path+":1: a: expected one of the keys ")

	require.NoError(t, os.WriteFile(path, make([]byte, yamlfile.MaxSize+1), 0o600))
	_, err = yamlfile.ReadFile(path)
	assert.EqualError(t, err, path+":1: expected a file of at most 16 MiB")
}

// FuzzRead: whatever a file holds, reading it ends in a value or in one line that says where.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "version: 1\nqubes:\n- {name: a, tags: [x], features: {y: 1}, netvm: b}\n", "a: &a [*a]", "{<<: 1, ? [b] : c}",
		"--- |\n x\n...\n---\n", "\xef\xbb\xbfa: \"\\u2028\"", "a: !!binary x", "- - - -", "%TAG ! x\n--- !a b", "a: 'b\n\n c'\n#d\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		_, err := read(data)
		if err == nil {
			return
		}
		var e *yamlfile.Error
		require.ErrorAs(t, err, &e)
		assert.GreaterOrEqual(t, e.Line, 1)
		assert.LessOrEqual(t, e.Line, 1+strings.Count(data, "\n")+strings.Count(data, "\r")+strings.Count(data, "\u2028")+strings.Count(data, "\u2029"))
		assert.NotContains(t, err.Error(), "\n")
		assert.NotEmpty(t, e.Want)
	})
}
