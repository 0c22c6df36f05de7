package qube_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"

	"sallyport/messages/qube"
)

// TestReadOnlyRefusesEverything: every method of a Writer that changes something, whichever there are.
func TestReadOnlyRefusesEverything(t *testing.T) {
	w, methods := reflect.ValueOf(qube.ReadOnly{}), reflect.TypeFor[qube.Writer]()
	assert.Positive(t, methods.NumMethod())
	for i := range methods.NumMethod() {
		if name := methods.Method(i).Name; name == "Fire" || name == "System" { // which tell nobody, and show nothing
			continue
		}
		m := w.MethodByName(methods.Method(i).Name)
		var args []reflect.Value
		for j := range m.Type().NumIn() {
			args = append(args, reflect.Zero(m.Type().In(j)))
		}
		out := m.Call(args)
		assert.Equal(t, qube.ErrFixed, out[len(out)-1].Interface(), methods.Method(i).Name)
	}
}
