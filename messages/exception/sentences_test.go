package exception

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sentence is one call of New: what an exception says, and where.
type sentence struct {
	at     string
	typ    Type
	format string
	fields int
}

// sentences reads every call of New in this module that a client could see the outcome of.
func sentences(t *testing.T) (found []sentence) {
	const root, here = "../..", "../../messages/exception"
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name := importName(file)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !(isName(call.Fun, name, "New") || filepath.Dir(path) == here && isName(call.Fun, "", "New")) {
				return true
			}
			s := sentence{at: files.Position(call.Pos()).String()}
			if s.typ, ok = typeOf(call.Args[0]); !ok {
				t.Errorf("%s: the type is not one of the constants, so that nobody can check the sentence", s.at)
			}
			if s.format, ok = literal(call.Args[1]); !ok {
				t.Errorf("%s: write the sentence where it is used, as a literal", s.at)
			}
			if s.fields = len(call.Args) - 2; call.Ellipsis.IsValid() {
				t.Errorf("%s: write the fields out, so that they can be counted", s.at)
			}
			found = append(found, s)
			return true
		})
		return nil
	}))
	return found
}

// importName is what file calls this package; empty if it does not import it.
func importName(file *ast.File) string {
	for _, i := range file.Imports {
		if i.Path.Value == `"sallyport/messages/exception"` {
			if i.Name != nil {
				return i.Name.Name
			}
			return "exception"
		}
	}
	return ""
}

// isName reports whether e is pkg.name, or name where pkg is empty.
func isName(e ast.Expr, pkg, name string) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return pkg == "" && e.Name == name
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && pkg != "" && x.Name == pkg && e.Sel.Name == name
	}
	return false
}

func typeOf(e ast.Expr) (Type, bool) {
	switch e := e.(type) {
	case *ast.Ident: // in this package
		return Type(e.Name), token.IsExported(e.Name)
	case *ast.SelectorExpr:
		return Type(e.Sel.Name), true
	}
	return "", false
}

func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		x, okX := literal(e.X)
		y, okY := literal(e.Y)
		return x + y, okX && okY
	}
	return "", false
}

// style is how sentences look: printable ASCII that begins like the middle of a line and ends without a full stop.
var style = regexp.MustCompile(`\A([a-z]|%s)[ -~]*[^ .]\z`)

// TestEverySentenceRenders looks at every exception of this module: a client must be able to render it (spec:
// exceptions.yaml rules.percent), and people to read it.
func TestEverySentenceRenders(t *testing.T) {
	all, known := sentences(t), formatted()
	assert.Greater(t, len(all), 15, "the test has gone blind")
	for _, s := range all {
		t.Run(filepath.Base(s.at), func(t *testing.T) {
			t.Log(s.at, s.format)
			assert.Contains(t, known, s.typ)
			assert.Equal(t, s.fields, strings.Count(s.format, "%s"), "one %%s for each field")
			assert.Equal(t, s.fields, strings.Count(s.format, "%"), "no other %%")
			assert.Regexp(t, style, s.format)
			assert.NotContains(t, s.format, "  ")
			if s.typ == QubesInternalError {
				assert.Contains(t, s.at, "messages/exception/", "only Internal makes it, with an incident")
			}
			if s.typ.Raw() {
				assert.Zero(t, s.fields, "clients show it raw, with %%s in it")
			}
			for _, value := range []string{"work", "0042", "100%s"} {
				var fields []Field
				for range s.fields {
					fields = append(fields, field(value))
				}
				e := New(s.typ, constant(s.format), fields...)
				rendered, err := client(t, e.AppendFrame(nil))
				assert.NoError(t, err)
				assert.Equal(t, strings.ReplaceAll(s.format, "%s", number(value)), rendered)
				assert.Equal(t, rendered, e.Error())
			}
		})
	}
}
