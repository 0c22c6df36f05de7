package preload_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/preload"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
	"sallyport/stages/registry"
)

// desk is a messages.Desk that does orders at once: each puts its qube into a state, unless it is to fail.
type desk struct {
	t     *testing.T
	book  *inventory.Inventory
	done  []string // orders, by kind and name
	told  []string // events of templates and the system
	fails map[messages.OrderKind]error
	left  bool               // by the work
	cut   context.CancelFunc // of the work that has a qube unpaused; nil: it is not cut short
}

func newDesk(t *testing.T, wanted string) *desk {
	used := meter{}
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) {
		return inventory.FromFile(filepath.Join("testdata", "system.yaml"), properties.Schema{})
	}, inventory.Options{Reactions: reactions.All(), Meter: used})
	require.NoError(t, err)
	d := &desk{t: t, book: book, fails: map[messages.OrderKind]error{}}
	d.feature("dvm", action.PreloadMax, wanted)
	d.told = nil
	return d
}

// meter says that every running qube uses 1000 MiB.
type meter struct{}

func (meter) Usage(qube.UUID) qube.Usage { return qube.Usage{MemoryKiB: 1000 << 10} }

func (d *desk) Change(ctx context.Context, change func(qube.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	group := d.book.Begin()
	err := group.Try(change)
	for _, batch := range group.Events() {
		for _, e := range batch.Events {
			if strings.HasPrefix(e.Name, "domain-") && !strings.HasPrefix(e.Name, "domain-feature") && !strings.HasPrefix(e.Name, "domain-tag") {
				line := e.Name
				for _, a := range e.Args {
					line += " " + a.Key + "=" + a.Value
				}
				d.told = append(d.told, line)
			}
		}
	}
	require.NoError(d.t, group.Commit())
	return err
}

func (d *desk) Order(ctx context.Context, o messages.Order) (messages.Reply, error) {
	if o.Kind == messages.QubeUnpause && d.cut != nil {
		d.cut()
	}
	if err := ctx.Err(); err != nil {
		return messages.Empty, err
	}
	q, there := d.book.View().QubeByID(o.Qube)
	require.True(d.t, there, "an order to a qube that is gone")
	d.done = append(d.done, string(o.Kind)+" "+q.Shown())
	if err := d.fails[o.Kind]; err != nil {
		return messages.Empty, err
	}
	return messages.Empty, d.Change(context.Background(), func(tx qube.Tx) error {
		switch o.Kind {
		case messages.QubePause:
			return tx.SetRuntime(o.Qube, qube.Runtime{State: qube.Paused, XID: 1})
		case messages.QubeKill: // what cleans itself up is gone
			if q.State() == qube.Halted {
				return exception.New(exception.QubesVMNotStartedError, "it is halted")
			}
			return registry.Unregister(tx, q)
		}
		return tx.SetRuntime(o.Qube, qube.Runtime{State: qube.Running, XID: 1})
	})
}

func (d *desk) Leave() { d.left = true }

func (d *desk) feature(name string, feature qube.FeatureName, value string) {
	v, err := qube.ParseFeatureValue(value)
	require.NoError(d.t, err)
	require.NoError(d.t, d.Change(context.Background(), func(tx qube.Tx) error { return tx.SetFeature(d.qube(name).ID(), feature, v) }))
}

func (d *desk) qube(name string) qube.Qube {
	n, err := qube.ParseName(name)
	require.NoError(d.t, err)
	q, there := d.book.View().Qube(n)
	require.True(d.t, there, name)
	return q
}

// list is a list of dvm.
func (d *desk) list(list qube.FeatureName) (names []string) {
	for _, n := range action.Listed(d.qube("dvm"), list) {
		names = append(names, n.Shown())
	}
	return names
}

// do has an order carried out.
func (d *desk) do(o messages.Order) (string, error) {
	work, err := preload.Worker{}.Begin(o, d)
	require.NoError(d.t, err)
	d.done, d.told = nil, nil
	reply, err := work(context.Background())
	return string(reply.Body), err
}

func (d *desk) refill() error {
	_, err := d.do(preload.Refill(d.book.View(), d.qube("dvm"), "test"))
	return err
}

func (d *desk) take(asUUID bool) (string, error) {
	return d.do(preload.Take(d.book.View(), d.qube("dvm"), d.qube("work"), asUUID))
}

// disposables are all that there are.
func (d *desk) disposables() (names []string) {
	for q := range d.book.View().Qubes() {
		if q.Class() == qube.DispVM {
			names = append(names, q.Shown())
		}
	}
	return names
}

// TestRefill: as many wait as shall, paused, listed in the order in which they were made, and nobody's.
func TestRefill(t *testing.T) {
	d := newDesk(t, "2")
	require.Len(t, slices.Collect(preload.Due(d.book.View())), 1)
	require.NoError(t, d.refill())
	made := d.list(action.PreloadWaiting)
	require.Len(t, made, 2)
	assert.ElementsMatch(t, made, d.disposables())
	assert.Equal(t, made, d.list(action.PreloadCompleted))
	assert.Empty(t, d.list(action.PreloadInProgress))
	assert.Equal(t, []string{"qube.start " + made[0], "qube.pause " + made[0], "qube.start " + made[1], "qube.pause " + made[1]}, d.done)
	assert.Equal(t, "domain-preload-dispvm-start reason=test", d.told[0])
	for _, name := range made {
		q := d.qube(name)
		assert.Equal(t, qube.Paused, q.State())
		assert.True(t, action.IsPreloaded(d.book.View(), q))
		for tag := range q.Tags() {
			assert.NotContains(t, tag.Shown(), "created-by")
		}
	}
	assert.Empty(t, slices.Collect(preload.Due(d.book.View())))
	require.NoError(t, d.refill())
	assert.Empty(t, d.done, "there are enough")

	d.feature("dvm", action.PreloadMax, "1")
	require.Len(t, slices.Collect(preload.Due(d.book.View())), 1)
	require.NoError(t, d.refill())
	assert.Equal(t, made[:1], d.list(action.PreloadWaiting), "the newest is too many")
	assert.Equal(t, made[:1], d.disposables())
	d.feature("dvm", action.PreloadMax, "")
	require.NoError(t, d.refill())
	assert.Empty(t, d.disposables())
}

// TestTake: the oldest that waits is handed out awake, and is the caller's; without one, a new one is made.
func TestTake(t *testing.T) {
	d := newDesk(t, "2")
	require.NoError(t, d.refill())
	made := d.list(action.PreloadWaiting)
	got, err := d.take(false)
	require.NoError(t, err)
	assert.Equal(t, made[0], got)
	assert.Equal(t, []string{"qube.unpause " + got}, d.done)
	assert.Equal(t, []string{"domain-preload-dispvm-used dispvm=" + got + " delay=3"}, d.told)
	assert.Equal(t, made[1:], d.list(action.PreloadWaiting))
	assert.Equal(t, made[1:], d.list(action.PreloadCompleted))
	q := d.qube(got)
	assert.Equal(t, qube.Running, q.State())
	assert.False(t, action.IsPreloaded(d.book.View(), q))
	var tags []string
	for tag := range q.Tags() {
		tags = append(tags, tag.Shown())
	}
	assert.Equal(t, []string{"audiovm-dom0", "created-by-work", "disp-created-by-work", "guivm-dom0"}, tags)

	got, err = d.take(true)
	require.NoError(t, err)
	assert.Equal(t, "uuid:"+d.qube(made[1]).ID().Shown(), got)

	got, err = d.take(false)
	require.NoError(t, err)
	assert.Empty(t, d.done, "what is made for one is not started")
	assert.Equal(t, []string{"domain-add vm=" + got, "domain-create-on-disk"}, d.told)
	assert.Equal(t, qube.Halted, d.qube(got).State())
}

// TestTakeOneThatDoesNotWake: it is killed, and another one made in its place.
func TestTakeOneThatDoesNotWake(t *testing.T) {
	d := newDesk(t, "1")
	require.NoError(t, d.refill())
	made := d.list(action.PreloadWaiting)
	d.fails[messages.QubeUnpause] = errors.New("it sleeps")
	got, err := d.take(false)
	require.NoError(t, err)
	assert.NotEqual(t, made[0], got)
	assert.Equal(t, []string{"qube.unpause " + made[0], "qube.kill " + made[0]}, d.done)
	assert.Equal(t, []string{got}, d.disposables())
}

// TestTakeThatIsCutShort: the disposable that was to be handed out is nobody's, and goes.
func TestTakeThatIsCutShort(t *testing.T) {
	d := newDesk(t, "1")
	require.NoError(t, d.refill())
	ctx, cut := context.WithCancel(context.Background())
	d.cut = cut
	work, err := preload.Worker{}.Begin(preload.Take(d.book.View(), d.qube("dvm"), d.qube("work"), false), d)
	require.NoError(t, err)
	_, err = work(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, d.disposables())
}

// TestTakeLeavesTheTemplate: one that does not wake up keeps nobody else from his.
func TestTakeLeavesTheTemplate(t *testing.T) {
	d := newDesk(t, "1")
	require.NoError(t, d.refill())
	d.left = false
	d.cut = func() { assert.True(t, d.left, "before it waits for anything") }
	_, err := d.take(false)
	require.NoError(t, err)
}

// TestRefillThatFails: nothing is left of a disposable that does not start, whatever failed.
func TestRefillThatFails(t *testing.T) {
	for _, kind := range []messages.OrderKind{messages.QubeStart, messages.QubePause} {
		d := newDesk(t, "2")
		d.fails[kind] = errors.New("no")
		require.Error(t, d.refill(), kind)
		assert.Empty(t, d.disposables(), kind)
		for _, list := range action.PreloadLists {
			assert.Empty(t, d.list(list), kind)
		}
	}
	d := newDesk(t, "2")
	d.feature("base", action.PreloadLists[0], "") // any change; and then what preloading needs goes
	require.NoError(t, d.Change(context.Background(), func(tx qube.Tx) error {
		f, err := qube.ParseFeatureName("qrexec")
		require.NoError(t, err)
		return tx.RemoveFeature(d.qube("base").ID(), f)
	}))
	var e *exception.Exception
	require.ErrorAs(t, d.refill(), &e)
	assert.Equal(t, exception.QubesValueError, e.Type())
	assert.Empty(t, d.disposables())
	assert.Empty(t, slices.Collect(preload.Due(d.book.View())))
}

// TestSurplusThatIsNotKilled is still known, is nobody's, and goes the next time.
func TestSurplusThatIsNotKilled(t *testing.T) {
	d := newDesk(t, "1")
	require.NoError(t, d.refill())
	d.feature("dvm", action.PreloadMax, "0")
	d.fails[messages.QubeKill] = errors.New("no")
	require.Error(t, d.refill())
	assert.Equal(t, d.disposables(), d.list(action.PreloadInProgress))
	assert.Empty(t, d.list(action.PreloadCompleted))
	delete(d.fails, messages.QubeKill)
	require.NoError(t, d.refill())
	assert.Empty(t, d.disposables())
	for _, list := range action.PreloadLists {
		assert.Empty(t, d.list(list))
	}
}

// TestThreshold: memory that dom0 wants to keep free is kept (spec: model.md 6). dom0 uses 1000 MiB of 4000.
func TestThreshold(t *testing.T) {
	d := newDesk(t, "9")
	d.feature("dom0", action.PreloadThreshold, "1500")
	require.NoError(t, d.refill())
	assert.Len(t, d.list(action.PreloadWaiting), 2, "while 1000 and 2000 MiB are used; not while 3000 are")
}

// TestWanted: dom0's wish goes before that of the default template.
func TestWanted(t *testing.T) {
	d := newDesk(t, "2")
	assert.Equal(t, 2, preload.Wanted(d.book.View(), d.qube("dvm")))
	assert.Equal(t, 0, preload.Wanted(d.book.View(), d.qube("work")))
	d.feature("dom0", action.PreloadMax, "5")
	assert.Equal(t, 2, preload.Wanted(d.book.View(), d.qube("dvm")), "it is not the default")
	name, err := qube.ParsePropertyName("default_dispvm")
	require.NoError(t, err)
	value, err := qube.ParsePropertyValue("dvm")
	require.NoError(t, err)
	require.NoError(t, d.Change(context.Background(), func(tx qube.Tx) error { return tx.SetGlobal(name, value) }))
	assert.Equal(t, 5, preload.Wanted(d.book.View(), d.qube("dvm")))
}
