package architecture

import (
	"bufio"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "sallyport/"

// arrows is who may import whom of ours (design: 3). The first row that matches a package is its row; x/... is x and
// all below it.
var arrows = []arrow{
	{"messages/untrusted", nil, "sealed bytes know nothing, so they can tell nothing"},
	{"messages/exception", nil, "everybody's errors; it knows nouns only by interface"},
	{"messages/qube", []string{"messages/exception"}, "nouns are what fields are checked into, not how"},
	{"messages", []string{"messages/..."}, "the vocabulary speaks of itself alone"},

	{"stages", []string{"messages/..."}, "the three doors know no method and no actor"},
	{"stages/sanitize", []string{"stages", "messages/..."}, "a grammar that saw state could reveal it"},
	{"stages/permission", []string{"stages", "messages/..."}, "handlers see facts, not machinery"},
	{"stages/action", []string{"stages", "messages/..."}, "actions reach what they are handed"},
	{"stages/properties", []string{"stages", "stages/action", "messages/..."}, "properties are data with rules; whoever reads or sets one goes through them"},
	{"stages/storage", []string{"stages/action", "stages/properties", "messages/..."}, "what volumes there are follows from classes and properties"},
	{"stages/registry", []string{"stages/action", "stages/properties", "stages/reactions", "stages/storage", "messages/..."}, "how qubes come and go, for methods and for work alike"},
	{"stages/preload", []string{"stages/action", "stages/properties", "stages/registry", "messages/..."}, "disposables in advance; how they are started is behind messages.Desk"},
	{"stages/reactions", []string{"stages/action", "stages/properties", "messages/..."}, "what follows from events, whoever caused them"},
	{"stages/lifecycle", []string{"stages/action", "stages/properties", "stages/registry", "messages/..."}, "how a qube is started and stopped; the hypervisor is handed in by interface"},
	{"stages/methods", []string{"stages/...", "messages/..."}, "the API, declared; it must work without this daemon"},

	{"actors", []string{"stages", "messages/...", "internal/telemetry", "internal/endpoint"}, "who runs what, when; state and rules are handed in by interface"},

	{"config", []string{"internal/yamlfile"}, "plain values; main gives them to whom they concern"},
	{"internal/yamlfile", nil, "a leaf: files with good error messages"},
	{"internal/endpoint", nil, "a leaf: what every end of a socket has to get right"},
	{"internal/telemetry", []string{"messages/exception"}, "the log's schema, shared with the dashboards"},
	{"internal/inventory", []string{"messages/...", "internal/yamlfile"}, "implements the interfaces of messages/qube"},
	{"internal/policy", []string{"messages/..."}, "a language and its evaluation; it judges nouns"},
	{"internal/policyfiles", []string{"internal/policy", "messages/..."}, "writes what loads; who may is decided before, and what it means elsewhere"},
	{"internal/judge", []string{"internal/policy", "internal/telemetry", "stages", "stages/permission", "stages/properties", "messages/..."}, "asks the policy for the gate; what a qube is, the properties say"},
	{"internal/store", []string{"internal/inventory", "messages/..."}, "keeps the inventory's records"},
	{"internal/hypervisor/...", []string{"messages/...", "stages/lifecycle", "stages/preload"}, "runs qubes; knows no API but the interface of a driver"},
	{"internal/dashboard", []string{"internal/telemetry"}, "computes from the log alone (design: 9)"},
	{"internal/loadtest/...", []string{"messages/...", "internal/endpoint", "internal/telemetry", "internal/yamlfile", "internal/loadtest/..."}, "a client like any other"},
	{"internal/bench/...", []string{"messages/...", "internal/bench/...", "internal/loadtest/..."}, "measures the daemon and the load tester from outside"},
	{"internal/modeltest", nil, "tests alone; what a model shared with the daemon it could not test"},
	{"internal/twoworlds", nil, "tests alone, which compare daemons with daemons"},
	{"internal/daemontest", []string{"actors", "internal/...", "stages/...", "messages/..."}, "for tests alone: puts a daemon together, as main does"},
	{"internal/testcert", nil, "for tests alone"},
	{"internal/testpty", nil, "for tests alone"},
	{"internal/architecture", nil, "reads source"},

	{"cmd/...", []string{"config", "messages/...", "stages/...", "actors", "internal/..."}, "puts everything together"},
}

type arrow struct {
	pkg string
	may []string
	why string
}

// leaves are imported by nobody, whatever the table says, but by their own.
var leaves = []string{"cmd/...", "internal/bench/...", "internal/architecture"}

func matches(pattern, pkg string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == tree || strings.HasPrefix(pkg, tree+"/")
	}
	return pkg == pattern
}

func TestImportsFollowTheWayOfACall(t *testing.T) {
	packages := goList(t, `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	assert.Greater(t, len(packages), 10, "the test has gone blind")
	for _, line := range packages {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], module)
		row := slices.IndexFunc(arrows, func(a arrow) bool { return matches(a.pkg, pkg) })
		if row < 0 {
			t.Errorf("%s is not in the table: add it, what it may import, and why", pkg)
			continue
		}
		for _, path := range words[1:] {
			imported, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			among := func(patterns []string) bool {
				return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, imported) })
			}
			kin := slices.ContainsFunc(leaves, func(p string) bool { return matches(p, imported) && matches(p, pkg) })
			if !among(arrows[row].may) || among(leaves) && !kin {
				t.Errorf("%s may not import %s: %s", pkg, imported, arrows[row].why)
			}
		}
	}
}

// TestTheDaemonDrawsNothing: what draws on terminals is the tool's alone.
func TestTheDaemonDrawsNothing(t *testing.T) {
	draws := func(command string) bool {
		return slices.ContainsFunc(goList(t, "{{.ImportPath}}", "-deps", command), func(pkg string) bool {
			return strings.HasPrefix(pkg, "charm.land/") || strings.HasPrefix(pkg, "github.com/charmbracelet/")
		})
	}
	assert.True(t, draws("./cmd/sallyport"), "the test has gone blind")
	assert.False(t, draws("./cmd/sallyportd"))
}

// TestPublicPackagesShowNothingInternal: other modules may not name a type under internal/, so a signature that mentions
// one cannot be used by them (design: 3).
func TestPublicPackagesShowNothingInternal(t *testing.T) {
	exports, public := map[string]string{}, []string(nil)
	for _, line := range goList(t, "{{.ImportPath}} {{.Export}} {{.DepOnly}}", "-export", "-deps", "./messages/...", "./stages/...", "./actors/...") {
		words := strings.Fields(line)
		if exports[words[0]] = words[1]; words[len(words)-1] == "false" {
			public = append(public, words[0])
		}
	}
	assert.Greater(t, len(public), 5, "the test has gone blind")
	packages := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, path := range public {
		pkg, err := packages.Import(path)
		require.NoError(t, err)
		seen := seen{}
		for _, name := range pkg.Scope().Names() {
			if object := pkg.Scope().Lookup(name); object.Exported() {
				for _, internal := range seen.in(object.Type(), pkg) {
					t.Errorf("%s.%s mentions %s", path, name, internal)
				}
			}
		}
	}
}

// seen are the types that were looked into already.
type seen map[types.Type]bool

// in gives the types under internal/ that somebody who has a value of type t, in package pkg, can see.
func (s seen) in(t types.Type, pkg *types.Package) (internal []string) {
	if s[t] {
		return nil
	}
	s[t] = true
	look := func(types ...types.Type) {
		for _, t := range types {
			internal = append(internal, s.in(t, pkg)...)
		}
	}
	switch t := t.(type) {
	case *types.Alias:
		look(types.Unalias(t))
	case *types.Named:
		if p := t.Obj().Pkg(); p != nil && strings.HasPrefix(p.Path(), module+"internal/") {
			return []string{t.String()}
		}
		for i := range t.TypeArgs().Len() {
			look(t.TypeArgs().At(i))
		}
		if t.Obj().Pkg() == pkg { // others show themselves
			for i := range t.TypeParams().Len() {
				look(t.TypeParams().At(i).Constraint())
			}
			look(t.Underlying())
			for m := range t.Methods() {
				if m.Exported() {
					look(m.Type())
				}
			}
		}
	case *types.Signature:
		for i := range t.TypeParams().Len() {
			look(t.TypeParams().At(i).Constraint())
		}
		look(t.Params(), t.Results())
	case *types.Tuple:
		for v := range t.Variables() {
			look(v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				look(f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			look(m.Type())
		}
		for e := range t.EmbeddedTypes() {
			look(e)
		}
	case *types.Union:
		for term := range t.Terms() {
			look(term.Type())
		}
	case *types.Map:
		look(t.Key(), t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		look(t.Elem())
	}
	return internal
}

func goList(t *testing.T, format string, args ...string) []string {
	list := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	list.Dir, list.Stderr = "../..", os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// reference is a file of the specification, and maybe sections of it: wire.md 2, 4.
var reference = regexp.MustCompile(`([a-z0-9_-]+\.(?:md|ya?ml))((?:,? [0-9]+(?:\.[0-9]+)*\b)*)`)

// TestReferencesToTheSpecificationLeadSomewhere: what comments cite, up to the closing parenthesis, is in the list of the
// specification's files and sections.
func TestReferencesToTheSpecificationLeadSomewhere(t *testing.T) {
	index, found := specification(t), 0
	for at, text := range comments(t) {
		_, rest, cited := strings.Cut(text, "spec: ")
		for ; cited; _, rest, cited = strings.Cut(rest, "spec: ") {
			found++
			cites, _, _ := strings.Cut(rest, ")")
			references := reference.FindAllStringSubmatchIndex(cites, -1)
			if len(references) == 0 || references[0][0] != 0 {
				t.Errorf("%s: after spec: comes a file of the specification, not %q", at, cites)
				continue
			}
			for _, r := range reference.FindAllStringSubmatch(cites, -1) {
				if file := r[1]; !index[file] {
					t.Errorf("%s: the specification has no file %s", at, file)
				} else {
					for _, section := range strings.FieldsFunc(r[2], func(r rune) bool { return r == ' ' || r == ',' }) {
						if !index[file+" "+section] {
							t.Errorf("%s: %s has no section %s", at, file, section)
						}
					}
				}
			}
		}
	}
	assert.Greater(t, found, 30, "the test has gone blind")
}

// specification reads the list of files and sections that there are.
func specification(t *testing.T) map[string]bool {
	file, err := os.Open("../../testdata/spec/index.txt")
	require.NoError(t, err)
	defer file.Close()
	index := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		index[words[0]] = true
		if len(words) > 1 {
			index[words[0]+" "+words[1]] = true
		}
	}
	return index
}

// comments gives every comment of this module, on one line, by where it is.
func comments(t *testing.T) map[string]string {
	const root = "../.."
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, c := range file.Comments {
			all[files.Position(c.Pos()).String()] = strings.Join(strings.Fields(c.Text()), " ")
		}
		return nil
	}))
	return all
}
