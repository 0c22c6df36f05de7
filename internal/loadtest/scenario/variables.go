package scenario

import (
	"encoding/csv"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sallyport/internal/yamlfile"
)

// A name in braces.
var aWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// farthest keeps numbers, and how many there are between two, within 64 bits.
const farthest = 1_000_000_000_000_000

// variables reads all variables, in the order of the file.
func (r *reading) variables(n *yamlfile.Node) (all []*Variable, err error) {
	name := yamlfile.Parsed(yamlfile.String, "a name of letters, digits, _ and -", func(s string) (string, error) {
		if !aWord.MatchString(s) {
			return "", errors.New("no name")
		}
		return s, nil
	})
	pairs, err := yamlfile.Pairs(name, r.variable)(n)
	if err == nil && len(pairs) > mostVariables {
		err = n.Expected("at most %d variables", mostVariables)
	}
	for i, p := range pairs {
		p.Value.index = i
		r.named[p.Key] = p.Value
		all = append(all, p.Value)
	}
	return all, err
}

func (r *reading) variable(n *yamlfile.Node) (*Variable, error) {
	v := &Variable{}
	var count, number yamlfile.At[span]
	var choice yamlfile.At[[]string]
	var table yamlfile.At[table]
	var order yamlfile.At[string]
	var reply yamlfile.At[*regexp.Regexp]
	err := n.Fields(
		yamlfile.Optional("count", &count, yamlfile.Placed(readSpan)),
		yamlfile.Optional("number", &number, yamlfile.Placed(readSpan)),
		yamlfile.Optional("choice", &choice, yamlfile.Placed(someOf(mostChoices, yamlfile.Text))),
		yamlfile.Optional("csv", &table, yamlfile.Placed(r.table)),
		yamlfile.Optional("reply", &reply, yamlfile.Placed(replied)),
		yamlfile.Optional("order", &order, yamlfile.Placed(yamlfile.OneOf("sequential", "random"))),
	)
	if err != nil {
		return nil, err
	}
	kinds := 0
	for _, given := range []*yamlfile.Node{count.Node, number.Node, choice.Node, table.Node, reply.Node} {
		if given != nil {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, n.Expected("one of the keys count, number, choice, csv, reply")
	case reply.Node != nil && order.Node != nil:
		return nil, order.Node.Expected("no order: it is what was replied")
	case reply.Node != nil:
		v.reply = reply.Value
		return v, nil
	case count.Node != nil:
		v.from, v.span, v.inOrder = count.Value.from, count.Value.count, true
	case number.Node != nil && number.Value.count == 0:
		return nil, number.Node.Expected("the key to")
	case number.Node != nil:
		v.from, v.span = number.Value.from, number.Value.count
	case choice.Node != nil:
		for _, word := range choice.Value {
			v.rows = append(v.rows, []string{word})
		}
	default:
		v.columns, v.rows, v.inOrder = table.Value.columns, table.Value.rows, true
	}
	if order.Node != nil {
		if v.rows == nil {
			return nil, order.Node.Expected("no order: count is sequential, and number is random")
		}
		v.inOrder = order.Value == "sequential"
	}
	return v, nil
}

// replied reads what is kept of a reply.
var replied = yamlfile.Parsed(yamlfile.String, "a regular expression, as RE2 has them, with one group at most", func(text string) (*regexp.Regexp, error) {
	e, err := parseContent(text)
	if err == nil && e.NumSubexp() > 1 {
		err = errors.New("several groups")
	}
	return e, err
})

// span is a range of numbers.
type span struct {
	from  int64
	count uint64 // 0: without end
}

func readSpan(n *yamlfile.Node) (span, error) {
	from, to := 0, yamlfile.At[int]{}
	number := yamlfile.Between(-farthest, farthest)
	err := n.Fields(yamlfile.Optional("from", &from, number), yamlfile.Optional("to", &to, yamlfile.Placed(number)))
	switch {
	case err != nil || to.Node == nil:
		return span{from: int64(from)}, err
	case to.Value < from:
		return span{}, to.Node.Expected("no less than from, which is %d", from)
	}
	return span{int64(from), uint64(to.Value-from) + 1}, nil
}

// table is what a CSV file holds.
type table struct {
	columns []string
	rows    [][]string
}

// table reads a CSV file, whose first line has the names of columns.
func (r *reading) table(n *yamlfile.Node) (table, error) {
	text, err := r.file(n)
	if err != nil {
		return table{}, err
	}
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	switch {
	case err != nil:
		return table{}, n.Expected("a CSV file (%s)", err)
	case len(lines) < 2:
		return table{}, n.Expected("a CSV file with a line of names of columns, and one more at least")
	}
	for i, c := range lines[0] {
		if !aWord.MatchString(c) || slices.Contains(lines[0][:i], c) {
			return table{}, n.Expected("a CSV file whose first line has the columns' names, of letters, digits, _ and -, each once: column %d has none", i+1)
		}
	}
	return table{lines[0], lines[1:]}, nil
}

// file reads the whole of a file that a scenario names.
func (r *reading) file(n *yamlfile.Node) (string, error) {
	name, err := fileName(n)
	if err != nil {
		return "", err
	}
	text, err := r.beside.file(name)
	if err != nil {
		return "", n.Expected("%s", err)
	}
	if r.files += len(text); r.files > mostFiles {
		return "", n.Expected("files of at most %d MiB in all, each counted as often as it is named", mostFiles>>20)
	}
	return text, nil
}

// expects makes the error that something else was expected.
type expects func(format string, args ...any) error

// template reads text with variables in it.
func (r *reading) template(n *yamlfile.Node) (Template, error) {
	text, err := yamlfile.Text(n)
	if err != nil {
		return Template{}, err
	}
	return r.parse(text, n.Expected)
}

// parse makes a template of text: {name} and {name.column} are variables, and {{ and }} are braces.
func (r *reading) parse(text string, expected expects) (Template, error) {
	if len(text) > mostText {
		return Template{}, expected("text of at most %d bytes", mostText)
	}
	var t Template
	var plain strings.Builder
	for text != "" {
		at := strings.IndexAny(text, "{}")
		if at < 0 {
			at = len(text)
		}
		plain.WriteString(text[:at])
		if text = text[at:]; text == "" {
			break
		}
		if len(text) > 1 && text[0] == text[1] {
			plain.WriteByte(text[0])
			text = text[2:]
			continue
		}
		name, rest, closed := strings.Cut(text[1:], "}")
		if text[0] == '}' || !closed {
			return Template{}, expected("braces around the name of a variable, or {{ and }} for braces themselves")
		}
		p, err := r.part(name)
		if err != nil {
			return Template{}, expected("%s", err)
		}
		if plain.Len() > 0 {
			t.parts = append(t.parts, part{text: plain.String()})
			plain.Reset()
		}
		t.parts, text = append(t.parts, p), rest
	}
	if plain.Len() > 0 {
		t.parts = append(t.parts, part{text: plain.String()})
	}
	return t, nil
}

// part finds a variable, and its column. Its errors say what was expected in the braces.
func (r *reading) part(text string) (part, error) {
	name, column, dotted := strings.Cut(text, ".")
	v, ok := r.named[name]
	switch {
	case !ok && len(r.named) == 0:
		return part{}, errors.New("no variable, since there are none; {{ and }} are braces themselves")
	case !ok:
		var names []string
		for name := range r.named {
			names = append(names, name)
		}
		slices.Sort(names)
		return part{}, fmt.Errorf("a variable in braces: one of %s", strings.Join(names, ", "))
	case v.columns == nil && dotted:
		return part{}, fmt.Errorf("{%s}, which has no columns", name)
	case v.columns == nil:
		return part{of: v}, nil
	}
	i := slices.Index(v.columns, column)
	if i < 0 {
		return part{}, fmt.Errorf("a column of %s in braces: one of %[1]s.%s", name, strings.Join(v.columns, ", "+name+"."))
	}
	return part{of: v, column: i}, nil
}
