package exception

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// formatted says of every type that may be sent whether clients compute message % fields (spec: exceptions.yaml).
var formatted = sync.OnceValue(func() map[Type]bool {
	text, err := os.ReadFile("../../testdata/spec/exceptions.yaml")
	if err != nil {
		panic(err)
	}
	var spec struct {
		Exceptions []struct {
			Name   Type
			Sent   bool `yaml:"sent_to_client"`
			Client struct {
				Formatted bool `yaml:"message_is_percent_formatted"`
			}
		}
	}
	if err := yaml.Unmarshal(text, &spec); err != nil {
		panic(err)
	}
	types := map[Type]bool{ // unknown to clients, hence their base class: ours, and those of policy.md 7
		QubesInternalError: true, PolicyAdminInvalidFileNameException: true, PolicyAdminInvalidFilePathException: true,
		PolicyAdminFileNotFoundException: true, PolicyAdminTokenException: true, PolicyAdminSyntaxException: true,
	}
	for _, e := range spec.Exceptions {
		if e.Sent {
			types[e.Name] = e.Client.Formatted
		}
	}
	return types
})

// TestTypesAreTheSpecifications: the constants are exactly the types that the specification says are sent.
func TestTypesAreTheSpecifications(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", nil, 0)
	require.NoError(t, err)
	declared := map[Type]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			name, value := spec.Names[0].Name, spec.Values[0].(*ast.BasicLit).Value
			assert.Equal(t, `"`+name+`"`, value, "a constant is spelled as its type is")
			declared[Type(name)] = !Type(name).Raw()
		}
		return true
	})
	assert.Equal(t, formatted(), declared, "true: clients compute message %% fields")
	assert.ElementsMatch(t, slices.Collect(maps.Keys(declared)), Types)
}

// client renders a frame as the reference's client does (spec: exceptions.yaml rules.client_construct, wire.md 6).
func client(t require.TestingT, frame []byte) (string, error) {
	parts := strings.Split(string(frame), "\x00")
	require.GreaterOrEqual(t, len(parts), 5, "fewer parts crash the client")
	require.Equal(t, []string{"2", ""}, []string{parts[0], parts[2]}, "a traceback would show our insides")
	message, fields := parts[3], parts[4:len(parts)-1]
	if !formatted()[Type(parts[1])] {
		return message, nil
	}
	var out strings.Builder
	for i := 0; i < len(message); i++ {
		if message[i] != '%' {
			out.WriteByte(message[i])
			continue
		}
		switch i++; {
		case i < len(message) && message[i] == '%':
			out.WriteByte('%')
		case i < len(message) && message[i] == 's' && len(fields) > 0:
			out.WriteString(number(fields[0]))
			fields = fields[1:]
		default:
			return "", fmt.Errorf("%q has something else than %%s, or too few fields", message)
		}
	}
	if len(fields) > 0 {
		return "", fmt.Errorf("not all fields of %q were used", message)
	}
	return out.String(), nil
}

// number is Python's str(int(s)) if s.isdigit() else s, for ASCII, which all nouns but notes are.
func number(s string) string {
	for _, r := range s {
		if r < '0' || '9' < r {
			return s
		}
	}
	if n, ok := new(big.Int).SetString(s, 10); ok {
		return n.String()
	}
	return s
}

type field string

func (f field) Shown() string { return string(f) }

func TestErrorIsWhatTheClientRenders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom([]Type{QubesException, QubesValueError, QubesInternalError, PermissionDenied, ProtocolError}).Draw(t, "type")
		plain := rapid.StringMatching(`[ -$&-~]{0,9}`) // no percent sign, nor NUL
		sentence := plain.Draw(t, "sentence")
		var fields []Field
		if !typ.Raw() {
			for _, f := range rapid.SliceOfN(rapid.OneOf(rapid.StringMatching(`[0-9]{0,3}`), rapid.StringMatching(`[ -~]{0,5}`)), 0, 3).Draw(t, "fields") {
				fields = append(fields, field(f))
				sentence += "%s" + plain.Draw(t, "more")
			}
		}
		e := New(typ, constant(sentence), fields...)
		rendered, err := client(t, e.AppendFrame(nil))
		require.NoError(t, err)
		require.Equal(t, rendered, e.Error())
	})
}

func TestErrorsAreComparedByType(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", New(PermissionDenied, "another sentence"))
	assert.ErrorIs(t, err, Denied)
	assert.NotErrorIs(t, err, New(ProtocolError, "the call is not permitted"))
	assert.NotErrorIs(t, err, errors.New("the call is not permitted"))
	assert.Equal(t, PermissionDenied, Denied.Type())
}

// TestUnknownErrorsAreInternal: only an exception reaches the client; anything else is logged, under an id of which the
// client learns nothing but the id.
func TestUnknownErrorsAreInternal(t *testing.T) {
	unexpected := func(error) Field { t.Error("an exception needs no incident"); return field("") }
	assert.Same(t, Denied, Of(Denied, unexpected))
	assert.Same(t, Denied, Of(fmt.Errorf("the cause is for the log: %w", Denied), unexpected))
	assert.Empty(t, New(QubesValueError, "bad %s", field("x")).Incident())

	cause := errors.New("secret cause")
	e := Of(cause, func(err error) Field {
		assert.Same(t, cause, err)
		return field("0f3a")
	})
	assert.Equal(t, QubesInternalError, e.Type())
	assert.Equal(t, "0f3a", e.Incident())
	assert.Contains(t, e.Error(), "0f3a")
	assert.NotContains(t, string(e.AppendFrame(nil)), "secret")
}
