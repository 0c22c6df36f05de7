package store

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
)

var errInjected = errors.New("injected")

// fault makes one change of a disk fail, or all from then on.
type fault struct {
	when   func(change) bool
	how    func(change) error
	lasts  bool
	armed  atomic.Bool
	struck atomic.Bool
}

func (f *fault) hook(c change) error {
	if f.struck.Load() && f.lasts {
		return errInjected
	}
	if !f.armed.Load() || !f.when(c) || !f.struck.CompareAndSwap(false, true) {
		return c.all()
	}
	return f.how(c)
}

// The ways a change can fail: nothing happened, all of it did, or half.
func notDone(change) error        { return errInjected }
func doneAfterAll(c change) error { return errors.Join(c.all(), errInjected) }
func halfDone(c change) error     { return errors.Join(c.run(0, c.size/2), errInjected) }

// is matches one kind of change to the files whose names end so.
func is(what, suffix string) func(change) bool {
	return func(c change) bool { return c.what == what && strings.HasSuffix(c.name, suffix) }
}

// Wherever the disk fails once a store is open: no commit is acknowledged that is not there after a power cut, the store
// says so once, fails from then on although the disk has recovered, leaves it alone, and can be closed.
func TestEveryWriteThatFails(t *testing.T) {
	for name, when := range map[string]func(change) bool{
		"write to the log":           is("write", ".log"),
		"sync of the log":            is("sync", ".log"),
		"close of the log":           is("close", ".log"),
		"create of the next log":     is("create", ".log"),
		"reuse of an old log":        is("reuse", ".log"),
		"size of a reused log":       is("stat", ".log"),
		"create of a table":          is("create", ".sst"),
		"write to a table":           is("write", ".sst"),
		"sync of a table":            is("sync", ".sst"),
		"removal of a table":         is("remove", ".sst"),
		"write to the list of files": func(c change) bool { return c.what == "write" && strings.Contains(c.name, "MANIFEST") },
		"sync of the list of files":  func(c change) bool { return c.what == "sync" && strings.Contains(c.name, "MANIFEST") },
		"sync of the directory":      is("sync", "db"),
	} {
		for outcome, how := range map[string]func(change) error{"not done": notDone, "done": doneAfterAll, "half done": halfDone} {
			t.Run(name+", "+outcome, func(t *testing.T) {
				t.Parallel()
				f := &fault{when: when, how: how}
				oneLife(t, rand.New(rand.NewPCG(1, 2)), f, true)
				require.True(t, f.struck.Load(), "never happened")
			})
		}
	}
}

// The same with any change, the first ones of Open included, of a new directory or an old one.
func TestAnyWriteThatFails(t *testing.T) {
	runs := 300
	if os.Getenv("SALLYPORT_LONG") != "" {
		runs = 5_000
	}
	struck, seed := map[string]int{}, firstSeed(t)
	for i := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed+i, 1))
		var n atomic.Int64
		at := 1 + rng.Int64N(200)
		f := &fault{lasts: rng.IntN(2) == 0, how: []func(change) error{notDone, doneAfterAll, halfDone}[rng.IntN(3)]}
		var hit string
		f.when = func(c change) bool {
			if n.Add(1) != at {
				return false
			}
			hit = c.what
			return true
		}
		f.armed.Store(true)
		if !t.Run("", func(t *testing.T) { oneLife(t, rng, f, false) }) {
			t.Fatalf("SALLYPORT_SEED=%d", seed+i)
		}
		struck[hit]++
	}
	t.Logf("%d runs; what failed: %v", runs, struck)
	for _, what := range []string{"create", "write", "sync", "remove", "close"} {
		require.Positive(t, struck[what], what)
	}
}

// oneLife commits until the fault strikes, then cuts the power and looks what is left. If arm, the fault waits for an old
// store to be open, and is waited for longer.
func oneLife(t *testing.T, rng *rand.Rand, f *fault, arm bool) {
	disk, said := vfs.NewCrashableMem(), &lines{}
	past := map[qube.Revision]content{0: {}}
	var acknowledged, attempted qube.Revision
	most := qube.Revision(60)
	if arm {
		most = 2000
	}
	if arm || rng.IntN(2) == 0 {
		s, err := open("db", silent(t), disk, smallTable)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	s, err := open("db", said, &faulty{disk, f.hook}, smallTable)
	if err == nil {
		f.armed.Store(true)
		for err == nil && attempted < most {
			records := someRecords(rng)
			attempted++
			past[attempted] = past[acknowledged].with(records)
			if err = s.Commit(acknowledged, attempted, records); err == nil {
				acknowledged = attempted
			}
		}
		failsForGood(t, s, f, err, acknowledged)
	}
	if err != nil {
		require.ErrorIs(t, err, errInjected)
	}
	if f.struck.Load() {
		require.Equal(t, 1, strings.Count(said.String(), errInjected.Error()), said)
	} else {
		require.Empty(t, said.String())
	}

	left := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng})
	s, err = open("db", silent(t), left, smallTable)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	revision, held := load(t, s)
	require.GreaterOrEqual(t, revision, acknowledged)
	require.LessOrEqual(t, revision, attempted)
	require.Equal(t, past[revision], held)
}

// failsForGood checks what a store does after err, and closes it.
func failsForGood(t *testing.T, s *Store, f *fault, err error, acknowledged qube.Revision) {
	if err != nil {
		for range 3 {
			require.Equal(t, err, s.Commit(acknowledged, acknowledged+1, nil))
		}
		_, _, loading := s.Load()
		require.Equal(t, err, loading)
	}
	closing := s.Close()
	if f.struck.Load() {
		require.ErrorIs(t, closing, errInjected)
	} else {
		require.NoError(t, closing)
	}
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Commit(acknowledged, acknowledged+1, []inventory.Record{set("k", "v")}), errClosed)
}
