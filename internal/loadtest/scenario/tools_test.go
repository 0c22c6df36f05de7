package scenario_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/daemontest"
	"sallyport/internal/hypervisor/simulated"
	"sallyport/internal/inventory"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/messages"
	"sallyport/stages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/methods"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// served reports whether the daemon has a method, as a Checks asks.
func served(name string) bool {
	for e := range stages.NewCatalogue(slices.Concat(methods.All(), methods.Drill())...).Entries() {
		if method, _, _ := strings.Cut(e.Name, "+"); method == name {
			return true
		}
	}
	return false
}

// TestScenariosOfTheTools: each can be read, calls what there is, and gets from a demo's daemon what it expects, twice.
func TestScenariosOfTheTools(t *testing.T) {
	files, err := filepath.Glob("../../../testdata/load/*.yaml")
	require.NoError(t, err)
	assert.Greater(t, len(files), 15, "the test has gone blind")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := scenario.Read(file, scenario.Checks{Method: served})
			require.NoError(t, err)
			assert.Equal(t, strings.TrimSuffix(filepath.Base(file), ".yaml"), s.Name)
			socket := demo(t)
			draw := s.NewDraw(0)
			for range 2 {
				for _, item := range s.Mix {
					draw.Next()
					for i, c := range item.Steps {
						play(t, socket, c, draw, item.Name, i)
					}
				}
			}
		})
	}
}

// play makes a call, and looks whether its reply is right.
func play(t *testing.T, socket string, c scenario.Call, d *scenario.Draw, item string, step int) {
	text := func(of scenario.Template) string { return string(of.Append(nil, d)) }
	request := messages.FormatRequest(c.Method+"+"+text(c.Arg), text(c.Source), text(c.Dest), []byte(text(c.Payload)))
	frame := daemontest.Frame(t, socket, request)
	a, err := messages.ParseAnswer(frame)
	require.NoError(t, err)
	c.Keep(a.Content, d)
	assert.Equal(t, measure.OK, c.Expect.Right(a.Type, a.Content), "%s, step %d: %q says %q", item, step, request, frame)
}

// demo starts a daemon with the demo's qubes, and gives its socket.
func demo(t *testing.T) string {
	host := simulated.New(wall{})
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) { return inventory.Demo(properties.Schema{}) },
		inventory.Options{Reactions: reactions.All(), Meter: host})
	require.NoError(t, err)
	host.Begin(book.View, simulated.Settings{MemoryMiB: 32404, CPUs: 4})
	dir := daemontest.Dir(t)
	daemon := daemontest.Start(t, filepath.Join(dir, "s"), book, lifecycle.NewWorker(host))
	t.Cleanup(func() {
		assert.NoError(t, daemon.Close(context.Background()))
		assert.NoError(t, os.RemoveAll(dir))
	})
	return filepath.Join(dir, "s")
}

// wall is the clock of the hypervisor.
type wall struct{}

func (wall) Now() time.Time                                  { return time.Now() }
func (wall) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
