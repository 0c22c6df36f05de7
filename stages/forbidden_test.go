package stages_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// prelude is what every snippet begins with: the values that code outside these packages can come by.
const prelude = `package outside

import (
	"fmt"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

var (
	_         = fmt.Sprint
	raw       untrusted.Bytes
	text      string
	request   messages.Request
	peer      *messages.Peer
	view      qube.View
	tx        qube.Tx
	id        qube.UUID
	feature   qube.FeatureName
	value     qube.FeatureValue
	catalogue *stages.Catalogue
	entry     stages.Entry
	gate      *stages.Gate
	judge     stages.Judge
	call      stages.Sanitized
	permitted stages.Authorized
	method    stages.Method[qube.FeatureName, qube.FeatureValue]
)

func snippet() {
`

// TestTheWayIsTyped is the proof of invariant 1 and of what it stands on: code in other packages that skips a stage,
// changes without power, opens the sealed box, or makes a noun or a sentence of its own does not compile (design: 2).
func TestTheWayIsTyped(t *testing.T) {
	check := compiler(t)
	for title, c := range map[string]struct{ code, want string }{
		"the whole way": {code: `
			method = stages.Method[qube.FeatureName, qube.FeatureValue]{
				Read:   func(v qube.View, g stages.Grant[qube.FeatureName, qube.FeatureValue]) (messages.Reply, error) { return messages.Empty, nil },
				Change: func(tx qube.Tx, g stages.Grant[qube.FeatureName, qube.FeatureValue]) (messages.Reply, error) {
					return messages.Empty, tx.SetFeature(g.Dest().ID(), g.Arg(), g.Payload())
				},
			}
			call, _ = stages.NewCatalogue(stages.Declare(method)).Sanitize(stages.Admin, request)
			permitted, _ = stages.NewGate(judge).Judge(call, peer, view)
			_, _ = permitted.Read()
			_, _ = permitted.Change(tx)
			text, _ = raw.Word(untrusted.Letters, 1, 9)
			feature, _ = qube.ParseFeatureName(text)
			_ = exception.New(exception.QubesValueError, "feature %s is not good", feature)`},

		// Order.
		"a Sanitized by its field":       {`call = stages.Sanitized{door: nil}`, `unexported field door`},
		"a Sanitized by position":        {`call = stages.Sanitized{nil}`, `unexported field door`},
		"an Authorized by its field":     {`permitted = stages.Authorized{door: nil}`, `unexported field door`},
		"an Authorized of a Sanitized":   {`permitted = stages.Authorized(call)`, `cannot convert call`},
		"the field of another's":         {`permitted = struct{ door any }{}`, `cannot use struct{door any}{}`},
		"judging a raw request":          {`_, _ = gate.Judge(request, peer, view)`, `cannot use request`},
		"judging without a gate":         {`_, _ = call.door.judge(nil, peer, view)`, `call.door undefined`},
		"reading what is not permitted":  {`_, _ = call.Read()`, `call.Read undefined`},
		"changing what is not permitted": {`_, _ = call.Change(tx)`, `call.Change undefined`},
		"sanitizing by an entry alone":   {`_, _ = entry.sanitize(nil, nil, raw, raw)`, `entry.sanitize undefined`},
		"a gate around a judge":          {`gate = &stages.Gate{judge: judge}`, `unexported field judge`},
		"a grant":                        {`_ = stages.Grant[qube.FeatureName, qube.FeatureValue]{arg: feature}`, `unexported field arg`},
		"another call's grant": {`method.Read = func(_ qube.View, g stages.Grant[qube.Tag, qube.FeatureValue]) (messages.Reply, error) { return messages.Empty, nil }`,
			`cannot use (func(`},

		// Power.
		"changing with a View": {`_, _ = permitted.Change(view)`, `qube.View does not implement qube.Tx (missing method`},
		"a View as a Writer":   {`var w qube.Writer = view; _ = w`, `qube.View does not implement qube.Writer (missing method`},
		"setting by a View":    {`_ = view.SetFeature(id, feature, value)`, `view.SetFeature undefined`},
		"a Read that takes a Tx": {`method.Read = func(qube.Tx, stages.Grant[qube.FeatureName, qube.FeatureValue]) (messages.Reply, error) { return messages.Empty, nil }`,
			`cannot use (func(`},
		"a Change given to Read": {`method.Read = method.Change`, `cannot use method.Change`},
		"a Work that takes a Tx": {`method.Work = func(qube.Tx, stages.Grant[qube.FeatureName, qube.FeatureValue]) (messages.Order, error) { return messages.Order{}, nil }`,
			`cannot use (func(`},
		"a Requires that takes a Tx": {`method.Requires = func(qube.Tx, qube.Qube, qube.FeatureName) bool { return true }`, `cannot use (func(`},
		"a handler that takes a Tx":  {`_ = stages.Handler{Check: func(stages.Facts, qube.Tx) (stages.Filter, error) { return nil, nil }}`, `cannot use (func(`},

		// Sealed bytes.
		"sealed bytes to a string":   {`_ = string(raw)`, `cannot convert raw`},
		"sealed bytes to a slice":    {`_ = []byte(raw)`, `cannot convert raw`},
		"the box's closure":          {`_ = raw.open()`, `raw.open undefined`},
		"the opened box":             {`_ = raw.bytes()`, `raw.bytes undefined`},
		"an index into it":           {`_ = raw[0]`, `cannot index raw`},
		"its bytes, one by one":      {`for range raw {}`, `cannot range over raw`},
		"comparing by oneself":       {`_ = raw == raw`, `cannot be compared`},
		"sealed bytes in a sentence": {`_ = exception.New(exception.ProtocolError, "no: %s", raw)`, `untrusted.Bytes does not implement exception.Field`},

		// Nouns and exceptions.
		"a noun by its field":        {`_ = qube.Name{s: "x"}`, `unexported field s`},
		"a noun by position":         {`_ = qube.Name{"x"}`, `unexported field s`},
		"a noun of a string":         {`_ = qube.Name(text)`, `cannot convert text`},
		"a noun of another":          {`feature = value`, `cannot use value`},
		"nouns the wrong way round":  {`_ = tx.SetFeature(id, value, feature)`, `cannot use value`},
		"a sentence of a variable":   {`_ = exception.New(exception.ProtocolError, text)`, `cannot use text`},
		"a sentence that is made":    {`_ = exception.New(exception.ProtocolError, fmt.Sprint("no ", text))`, `cannot use fmt.Sprint`},
		"a sentence with a tail":     {`_ = exception.New(exception.ProtocolError, "no "+text)`, `cannot use "no " + text`},
		"a sentence of a string":     {`_ = exception.New(exception.ProtocolError, exception.constant(text))`, `constant not exported`},
		"a string as a field":        {`_ = exception.New(exception.QubesValueError, "no %s", text)`, `string does not implement exception.Field`},
		"an exception by its fields": {`_ = exception.Exception{format: "no"}`, `unexported field format`},
	} {
		t.Run(title, func(t *testing.T) {
			err := check(prelude + c.code + "\n}\n")
			if c.want == "" {
				require.NoError(t, err, "what is allowed must compile, or the rest proves nothing")
				return
			}
			require.Error(t, err, "this compiles: %s", c.code)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

// TestNoFieldLeadsInside: the snippets above know the fields by name; this one knows that there are no others.
func TestNoFieldLeadsInside(t *testing.T) {
	for _, v := range []any{
		stages.Sanitized{}, stages.Authorized{}, grant{}, stages.Gate{}, stages.Catalogue{}, untrusted.Bytes{}, untrusted.Key{}, untrusted.Charset{},
		exception.Exception{}, qube.Name{}, qube.UUID{}, qube.Ref{}, qube.Tag{}, qube.FeatureName{}, qube.FeatureValue{}, qube.PropertyName{},
		qube.PropertyValue{}, qube.LabelName{}, qube.Color{}, qube.Notes{},
	} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			assert.False(t, field.IsExported(), "%T.%s", v, field.Name)
		}
	}
}

// compiler gives a function that type-checks a file as a package of another module against the compiled packages. Its
// error is the first thing that is wrong with the file.
func compiler(t *testing.T) func(code string) error {
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "sallyport/stages", "fmt")
	list.Stderr = os.Stderr
	out, err := list.Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	files := token.NewFileSet()
	config := types.Config{Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	return func(code string) error {
		file, err := parser.ParseFile(files, "outside.go", code, parser.SkipObjectResolution)
		require.NoError(t, err, "the snippet is no Go")
		_, err = config.Check("example.org/outside", files, []*ast.File{file}, nil)
		return err
	}
}
