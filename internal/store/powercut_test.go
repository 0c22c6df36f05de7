package store

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
)

// A store is opened, written and closed while the power is cut at a random moment of any of it, half-way through writes
// too, from whichever goroutine of Pebble's gets there. What survives is the next store's disk: it must hold every
// acknowledged commit and at most the one under way, whole, under its own revision.
//
// SALLYPORT_LONG=1 cuts 20 times as often. SALLYPORT_SEED=n begins with the seed that a failure printed.
func TestPowerCuts(t *testing.T) {
	const livesPerDisk = 10
	cuts := 500
	if os.Getenv("SALLYPORT_LONG") != "" {
		cuts = 10_000
	}
	var seen tally
	start, seed := time.Now(), firstSeed(t)
	for ; seen.cuts < cuts; seed++ {
		severalLives(t, seed, livesPerDisk, &seen)
	}
	t.Logf("%d cuts in %v: %d in Open, %d while a Commit was under way (%d of which survived), %d half-way through a write",
		seen.cuts, time.Since(start).Round(time.Millisecond), seen.opening, seen.committing, seen.survived, seen.torn)
	// A harness that never cuts where it hurts would find nothing.
	require.Greater(t, seen.opening, cuts/20)
	require.Greater(t, seen.committing, cuts/20)
	require.Greater(t, seen.survived, 0)
	require.Less(t, seen.survived, seen.committing)
	require.Greater(t, seen.torn, cuts/20)
}

type tally struct{ cuts, opening, committing, survived, torn int }

func firstSeed(t *testing.T) uint64 {
	if s := os.Getenv("SALLYPORT_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return seed
	}
	return uint64(time.Now().UnixNano())
}

// severalLives lets a disk serve one store after the other, each of which dies.
func severalLives(t *testing.T, seed uint64, lives int, seen *tally) {
	why := []any{"SALLYPORT_SEED=%d", seed}
	rng := rand.New(rand.NewPCG(seed, 0))
	survivor := remains{disk: vfs.NewCrashableMem()}
	past := map[qube.Revision]content{0: {}} // what the disk may hold
	for range lives {
		p := &plug{disk: survivor.disk, rng: rand.New(rand.NewPCG(seed, rng.Uint64())), at: 1 + rng.Int64N(150)}
		p.opening.Store(true)
		s, err := open("db", silent(t), &faulty{p.disk, p.hook}, smallTable)
		require.NoError(t, err, why...)

		revision, held := load(t, s)
		require.GreaterOrEqual(t, revision, survivor.acknowledged, why...)
		require.LessOrEqual(t, revision, survivor.attempted, why...)
		require.Contains(t, past, revision, why...)
		require.Equal(t, past[revision], held, why...)
		if revision > survivor.acknowledged {
			seen.survived++
		}

		opened := revision
		past = map[qube.Revision]content{opened: held}
		p.acknowledged.Store(uint64(opened))
		p.attempted.Store(uint64(opened))
		p.opening.Store(false)
		for range rng.IntN(50) {
			records := someRecords(rng)
			next := revision + 1 + qube.Revision(rng.IntN(3))
			past[next] = past[revision].with(records)
			p.attempted.Store(uint64(next))
			require.NoError(t, s.Commit(revision, next, records), why...)
			p.acknowledged.Store(uint64(next))
			revision = next
		}
		require.NoError(t, s.Close(), why...)

		if p.left.disk == nil { // it came too late: cut what a clean stop has left
			p.cut()
		}
		survivor = p.left
		if survivor.opening {
			survivor.acknowledged, survivor.attempted = opened, opened
			seen.opening++
		} else if survivor.attempted > survivor.acknowledged {
			seen.committing++
		}
		if survivor.torn {
			seen.torn++
		}
		seen.cuts++
	}
}

// Pebble's marker is what says which list of files counts: when it is made, that list must be there after a power cut.
// TestPowerCuts finds it too, but seldom.
func TestAMarkerNamesWhatIsThere(t *testing.T) {
	disk, markers := vfs.NewCrashableMem(), 0
	look := func(c change) error {
		if _, named, ok := strings.Cut(c.name, "marker.manifest."); ok && c.what == "create" {
			_, list, _ := strings.Cut(named, ".")
			_, err := disk.CrashClone(vfs.CrashCloneCfg{}).Stat("db/" + list)
			assert.NoError(t, err)
			markers++
		}
		return c.all()
	}
	for range 2 {
		s, err := open("db", silent(t), &faulty{disk, look}, smallTable)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	require.GreaterOrEqual(t, markers, 2)
}

// plug is pulled at the at-th change of a disk, after half of that change, or a part of it that rng decides.
type plug struct {
	disk *vfs.MemFS
	rng  *rand.Rand // used once the plug is pulled, by nobody else
	at   int64

	changes                 atomic.Int64
	opening                 atomic.Bool
	acknowledged, attempted atomic.Uint64
	left                    remains
}

// remains is a disk after a power cut, and what was said about its store at that moment.
type remains struct {
	disk                    *vfs.MemFS
	acknowledged, attempted qube.Revision
	opening, torn           bool
}

func (p *plug) hook(c change) error {
	if p.changes.Add(1) != p.at {
		return c.all()
	}
	if c.size == 0 {
		if p.rng.IntN(2) == 0 {
			p.cut()
			return c.all()
		}
		defer p.cut()
		return c.all()
	}
	written := p.rng.IntN(c.size + 1)
	if err := c.run(0, written); err != nil {
		return err
	}
	p.cut()
	p.left.torn = 0 < written && written < c.size
	return c.run(written, c.size)
}

// cut notes what was acknowledged before it looks at the disk, and what was attempted after.
func (p *plug) cut() {
	p.left.opening = p.opening.Load()
	p.left.acknowledged = qube.Revision(p.acknowledged.Load())
	unsynced := []int{0, 10, 50, 90, 100}[p.rng.IntN(5)] // of a hundred blocks and names, so many survive
	p.left.disk = p.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: p.rng})
	p.left.attempted = qube.Revision(p.attempted.Load())
}
