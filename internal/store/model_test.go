package store

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
)

// smallTable makes Pebble rotate its log, flush and compact after a few commits, and treat large commits as such.
const smallTable = 64 << 10

// content is what a store holds, or ought to.
type content map[string]string

// with is what it holds after a commit.
func (c content) with(records []inventory.Record) content {
	c = maps.Clone(c)
	for _, r := range records {
		if r.Deleted {
			delete(c, r.Key)
		} else {
			c[r.Key] = string(r.Value)
		}
	}
	return c
}

// load reads all of s, and fails unless it comes in the order of keys.
func load(t require.TestingT, s *Store) (qube.Revision, content) {
	revision, all, err := s.Load()
	require.NoError(t, err)
	var records []inventory.Record // kept, as whoever loads may
	for r, err := range all {
		require.NoError(t, err)
		require.False(t, r.Deleted)
		records = append(records, r)
	}
	c := content{}.with(records)
	require.Len(t, records, len(c))
	require.True(t, slices.IsSortedFunc(records, func(a, b inventory.Record) int { return strings.Compare(a.Key, b.Key) }))
	return revision, c
}

func set(key, value string) inventory.Record { return inventory.Record{Key: key, Value: []byte(value)} }
func del(key string) inventory.Record        { return inventory.Record{Key: key, Deleted: true} }

// someRecords are up to four, mostly short, over few keys; one in eight commits is longer than half a small table.
func someRecords(rng *rand.Rand) []inventory.Record {
	records := make([]inventory.Record, rng.IntN(5))
	longest := []int{20, 20, 20, 20, 3000, 3000, 3000, 40000}[rng.IntN(8)]
	for i := range records {
		key := "qube/" + strconv.Itoa(rng.IntN(20))
		if rng.IntN(4) == 0 {
			records[i] = del(key)
		} else {
			records[i] = set(key, strconv.Itoa(int(rng.Uint32()))+strings.Repeat("x", rng.IntN(longest)))
		}
	}
	return records
}

// The store against a map: whatever is committed, refused and reopened, Load gives what a map would hold.
func TestAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := vfs.NewMem()
		reopen := func() *Store {
			s, err := open("db", silent(t), disk, smallTable)
			require.NoError(t, err)
			return s
		}
		s := reopen()
		defer func() { require.NoError(t, s.Close()) }()
		model, revision := content{}, qube.Revision(0)
		check := func() {
			at, held := load(t, s)
			require.Equal(t, revision, at)
			require.Equal(t, model, held)
		}

		record := rapid.Custom(func(t *rapid.T) inventory.Record {
			key := rapid.StringMatching(`[a-c/\x00\xff]{0,3}`).Draw(t, "key")
			if rapid.Bool().Draw(t, "deleted") {
				return del(key)
			}
			return inventory.Record{Key: key, Value: rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "value")}
		})
		records := rapid.SliceOfN(record, 0, 6)
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				changes := records.Draw(t, "records")
				next := revision + qube.Revision(rapid.IntRange(1, 3).Draw(t, "step"))
				require.NoError(t, s.Commit(revision, next, changes))
				model, revision = model.with(changes), next
			},
			"long commit": func(t *rapid.T) {
				long := set("long", strings.Repeat("x", rapid.IntRange(0, 2*smallTable).Draw(t, "length")))
				require.NoError(t, s.Commit(revision, revision+1, []inventory.Record{long}))
				model, revision = model.with([]inventory.Record{long}), revision+1
			},
			"conflict": func(t *rapid.T) {
				base := qube.Revision(rapid.Uint64().Filter(func(n uint64) bool { return n != uint64(revision) }).Draw(t, "base"))
				require.ErrorIs(t, s.Commit(base, revision+1, records.Draw(t, "records")), inventory.ErrConflict)
			},
			"reopen": func(t *rapid.T) {
				require.NoError(t, s.Close())
				s = reopen()
			},
			"": func(*rapid.T) { check() },
		})
	})
}
