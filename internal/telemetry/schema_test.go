package telemetry

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// documented are the keys and events that the schema describes.
func documented(t *testing.T) (fields map[string]FieldDoc, events map[string]bool) {
	fields, events = map[string]FieldDoc{}, map[string]bool{}
	for _, f := range Fields {
		assert.NotContains(t, fields, f.Key, "described once")
		assert.NotEmpty(t, f.Doc, f.Key)
		assert.Contains(t, []string{"text", "number", "flag"}, f.Type, f.Key)
		fields[f.Key] = f
	}
	for _, e := range Events {
		assert.NotContains(t, events, string(e.Event), "described once")
		assert.NotEmpty(t, e.Doc, e.Event)
		events[string(e.Event)] = true
	}
	return fields, events
}

// TestEveryNameIsDocumented: each constant of a Key or an Event is described, and nothing else is.
func TestEveryNameIsDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "schema.go", nil, 0)
	require.NoError(t, err)
	fields, events := documented(t)
	declared := map[string]int{}
	ast.Inspect(file, func(n ast.Node) bool {
		c, ok := n.(*ast.ValueSpec)
		if !ok || c.Type == nil {
			return true
		}
		name, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		switch kind := fmt.Sprint(c.Type); kind {
		case "Key":
			assert.Contains(t, fields, name)
			declared[kind]++
		case "Event":
			assert.True(t, events[name], name)
			declared[kind]++
		}
		return true
	})
	assert.Equal(t, map[string]int{"Key": len(Fields), "Event": len(Events)}, declared)
}

// TestEveryLineIsOfTheSchema calls each method of Log with everything filled in, and each field of its arguments alone.
func TestEveryLineIsOfTheSchema(t *testing.T) {
	fields, events := documented(t)
	written := map[string]bool{}
	log := reflect.TypeFor[Log]()
	for i := range log.NumMethod() {
		m := log.Method(i)
		t.Run(m.Name, func(t *testing.T) {
			var out bytes.Buffer
			l := NewLog(zap.New(zapcore.NewCore(Encoder(false), zapcore.AddSync(&out), zap.DebugLevel)))
			args := []reflect.Value{reflect.ValueOf(l)}
			for i := 1; i < m.Type.NumIn(); i++ {
				if !m.Type.IsVariadic() || i < m.Type.NumIn()-1 {
					args = append(args, filled(m.Type.In(i)))
				}
			}
			m.Func.Call(args)
			if m.Name == "Sync" || m.Name == "Enabled" {
				assert.Empty(t, out.String())
				return
			}
			line := map[string]any{}
			require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
			assert.True(t, events[line[KeyEvent].(string)], line[KeyEvent])
			for key, value := range line {
				assert.Equal(t, fields[key].Type, map[reflect.Kind]string{
					reflect.String: "text", reflect.Float64: "number", reflect.Bool: "flag",
				}[reflect.TypeOf(value).Kind()], key)
				written[key] = true
			}
			assert.Equal(t, arguments(m), len(line)-3, "each argument has a field of its own, besides time, level and event")
		})
	}
	for _, elsewhere := range []Key{KeyService, KeyVersion, KeySchema, KeyPath, KeyLocalAddress} { // given to Daemon by main
		written[elsewhere] = true
	}
	for key := range fields {
		assert.True(t, written[key], "described, but never written: %s", key)
	}
}

// filled is a value of that type without a zero in it.
func filled(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch {
	case t == reflect.TypeFor[Event]():
		v.SetString(string(ActorStarted))
	case t.Kind() == reflect.String:
		v.SetString("text")
	case t == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Second))
	case v.CanInt():
		v.SetInt(1)
	case v.CanUint():
		v.SetUint(1)
	case t.Kind() == reflect.Bool:
		v.SetBool(true)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			v.Field(i).Set(filled(t.Field(i).Type))
		}
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem()))
	default:
		panic("a type that no line had so far: " + t.String())
	}
	return v
}

// arguments is how many values a method is given to write: all but what chooses level or event.
func arguments(m reflect.Method) (n int) {
	var count func(reflect.Type)
	count = func(t reflect.Type) {
		switch {
		case t.Kind() == reflect.Pointer:
			count(t.Elem())
		case t.Kind() == reflect.Struct:
			for i := range t.NumField() {
				count(t.Field(i).Type)
			}
		case t == reflect.TypeFor[Event](), t == reflect.TypeFor[zapcore.Level](), t.Kind() == reflect.Slice:
		default:
			n++
		}
	}
	for i := 1; i < m.Type.NumIn(); i++ {
		count(m.Type.In(i))
	}
	return n
}

// TestALineWithoutContent has no empty fields where a field says that it may be absent.
func TestALineWithoutContent(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(zap.New(zapcore.NewCore(Encoder(false), zapcore.AddSync(&out), zap.DebugLevel)))
	l.Call(&Call{Event: RequestDone})
	l.Crash(Crash{})
	l.Incident("", "", "", "", "")
	for _, absent := range []Key{KeyMethod, KeySource, KeyDest, KeyDestPrint, KeyArgPrint, KeyPayloadPrint, KeyErrorType, KeyPeerUID, KeyPeerName} {
		assert.NotContains(t, out.String(), absent)
	}
}

// TestANilLog writes nothing, and does no harm.
func TestANilLog(t *testing.T) {
	l := NewLog(nil)
	assert.False(t, l.Enabled(zap.ErrorLevel))
	l.Call(&Call{})
	l.Crash(Crash{})
	l.Daemon(Ready)
	l.Sync()
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestSchemaTable keeps every change of the schema visible in review: dashboards stand on it.
func TestSchemaTable(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Log schema, version %d\n\n| event | what it tells |\n|---|---|\n", SchemaVersion)
	for _, e := range Events {
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.Event, e.Doc)
	}
	fmt.Fprint(&b, "\n| field | type | what it is |\n|---|---|---|\n")
	for _, f := range Fields {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Key, f.Type, f.Doc)
	}
	if *update {
		require.NoError(t, os.WriteFile("testdata/schema.md", []byte(b.String()), 0o644))
	}
	golden, err := os.ReadFile("testdata/schema.md")
	require.NoError(t, err)
	assert.Equal(t, string(golden), b.String(), "if that is meant, run go test ./internal/telemetry -update, and consider SchemaVersion")
}
