package properties

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// without is a view that hides one qube by name.
type without struct {
	qube.View
	name string
}

func (w without) Qube(n qube.Name) (qube.Qube, bool) {
	if n.Shown() == w.name {
		return nil, false
	}
	return w.View.Qube(n)
}

// TestWhatIsHiddenIsAbsent for whoever sets a reference, but is in use, closes a loop, and follows all the same.
func TestWhatIsHiddenIsAbsent(t *testing.T) {
	book := opened(t, some)
	group := book.Begin()
	masked := func(hidden string, change func(qube.Tx) error) (err error) {
		_ = group.Try(func(tx qube.Tx) error {
			err = change(struct {
				qube.View
				qube.Writer
			}{without{tx, hidden}, tx})
			return err
		})
		return err
	}
	set := func(hidden, of, property, value string) exception.Type {
		return typeOf(masked(hidden, func(tx qube.Tx) error {
			return Set(tx, theQube(t, book.View(), of), named(property), valueOf(value))
		}))
	}
	assert.Equal(t, exception.QubesPropertyValueError, set("sys-two", "work", "netvm", "sys-two"))
	assert.Equal(t, set("sys-two", "work", "netvm", "nosuch"), set("sys-two", "work", "netvm", "sys-two"))
	assert.Equal(t, exception.QubesValueError, set("a.dot", "sys-two", "provides_network", "False"))
	assert.Equal(t, exception.QubesVMInUseError, set("disp1", "dvm", "template_for_dispvms", "False"))
	assert.Empty(t, set("work", "base", "vcpus", "5"))
	require.NoError(t, masked("sys-net", func(tx qube.Tx) error { return Reset(tx, theQube(t, book.View(), "work"), Netvm) }))
	require.NoError(t, group.Commit())
	events := group.Events()
	var told []string
	for _, e := range events[len(events)-2].Events {
		told = append(told, e.Subject.Shown())
	}
	assert.Contains(t, told, "work", "who is hidden from the caller is told, too")
}
