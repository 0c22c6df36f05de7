package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/internal/inventory"
	"sallyport/messages/qube"
)

const openThis = "SALLYPORT_TEST_OPEN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(openThis); dir != "" { // the other process of TestOneProcessAtATime
		_, err := Open(dir, &lines{})
		if !errors.Is(err, ErrLocked) {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(err.Error())
		return
	}
	goleak.VerifyTestMain(m)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := Open(dir, silent(t))
	require.NoError(t, err)

	_, err = Open(dir, silent(t))
	require.ErrorIs(t, err, ErrLocked)

	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), openThis+"="+dir)
	said, err := other.CombinedOutput()
	require.NoError(t, err, string(said))
	require.Contains(t, string(said), dir)
	require.Contains(t, string(said), "stop the other daemon")

	require.NoError(t, s.Commit(0, 1, nil), "the store that was there first goes on")
	require.NoError(t, s.Close())
	s, err = Open(dir, silent(t))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// A directory that cannot be written to is not a locked one.
func TestCannotOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(filepath.Join(file, "state"), &lines{})
	require.ErrorContains(t, err, file)
	require.NotErrorIs(t, err, ErrLocked)

	f := &fault{when: is("mkdir", ""), how: notDone}
	f.armed.Store(true)
	_, err = open("db", &lines{}, &faulty{vfs.NewMem(), f.hook}, smallTable)
	require.ErrorIs(t, err, errInjected)
	require.NotErrorIs(t, err, ErrLocked)
}

func TestOnlyTheOwnerMayRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(dir, silent(t))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for _, made := range []string{dir, filepath.Dir(dir)} {
		info, err := os.Stat(made)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, test := range map[string]struct {
		holds    map[string]string
		says     string
		isFormat bool
	}{
		"another version":          {map[string]string{formatKey: "2", revisionKey: "12345678"}, `found "2", expected "1"`, true},
		"somebody else's database": {map[string]string{"key": "value"}, `found "", expected "1"`, true},
		"half a revision":          {map[string]string{formatKey: "1", revisionKey: "1234"}, "4 bytes long", false},
	} {
		t.Run(name, func(t *testing.T) {
			files := vfs.NewMem()
			db, err := pebble.Open("db", options(&disk{FS: files, log: silent(t)}, smallTable))
			require.NoError(t, err)
			for key, value := range test.holds {
				require.NoError(t, db.Set([]byte(key), []byte(value), pebble.Sync))
			}
			require.NoError(t, db.Close())

			for range 2 { // refusing changes nothing
				_, err = open("db", silent(t), files, smallTable)
				require.ErrorContains(t, err, test.says)
				require.Equal(t, test.isFormat, errors.Is(err, ErrFormat))
			}
		})
	}
}

// A byte that changed on disk, wherever, is never read as something else, nor as the end of what there is.
func TestDamageIsReported(t *testing.T) {
	for _, kind := range []string{".log", ".sst"} {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			s, err := Open(dir, silent(t))
			require.NoError(t, err)
			for r := range qube.Revision(50) {
				require.NoError(t, s.Commit(r, r+1, []inventory.Record{set("key", strings.Repeat("value", 200))}))
			}
			require.NoError(t, s.Close())
			if kind == ".sst" { // the log is made a table by opening it again
				s, err = Open(dir, silent(t))
				require.NoError(t, err)
				require.NoError(t, s.Close())
			}
			damaged, err := filepath.Glob(filepath.Join(dir, "*"+kind))
			require.NoError(t, err)
			require.NotEmpty(t, damaged)
			whole := 0
			for _, name := range damaged {
				data, err := os.ReadFile(name)
				require.NoError(t, err)
				if len(data) > 100 {
					data[50] ^= 1
					whole++
				}
				require.NoError(t, os.WriteFile(name, data, 0o600))
			}
			require.Positive(t, whole)

			s, err = Open(dir, &lines{})
			if err != nil {
				return
			}
			defer s.Close()
			_, records, err := s.Load()
			require.NoError(t, err)
			for _, err = range records {
			}
			require.Error(t, err)
		})
	}
}

// Whatever Pebble holds to be fatal or to be wrong in the background stops the store, and is logged once.
func TestPebblesOwnTroubles(t *testing.T) {
	for name, tell := range map[string]func(*pebble.Options){
		"fatal":      func(o *pebble.Options) { o.Logger.Fatalf("it is %s", "impossible") },
		"background": func(o *pebble.Options) { o.EventListener.BackgroundError(errors.New("it is impossible")) },
		"corruption": func(o *pebble.Options) {
			o.EventListener.DataCorruption(pebble.DataCorruptionInfo{Details: errors.New("it is impossible")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			said := &lines{}
			s, err := open("db", said, vfs.NewMem(), smallTable)
			require.NoError(t, err)
			o := options(s.disk, smallTable)
			tell(o)
			require.ErrorContains(t, s.Commit(0, 1, nil), "it is impossible")
			tell(o)
			require.Equal(t, 1, strings.Count(said.String(), "it is impossible"))
			require.ErrorContains(t, s.Close(), "it is impossible")
		})
	}
}

// After a Commit that panicked, nothing is known: not even base could be compared with what the disk holds.
func TestAfterAPanic(t *testing.T) {
	s, err := open("db", silent(t), vfs.NewMem(), smallTable)
	require.NoError(t, err)
	db := s.db
	s.db = nil
	require.Panics(t, func() { _ = s.Commit(0, 1, nil) })
	s.db = db
	require.ErrorIs(t, s.Commit(0, 1, nil), errUnfinished)
	require.ErrorIs(t, s.Close(), errUnfinished)
	require.NoError(t, db.Close())
}

// Compactions run one at a time, and none begins once the disk has stopped.
func TestScheduler(t *testing.T) {
	said := &lines{}
	d := &disk{FS: vfs.NewMem(), log: said}
	s := options(d, smallTable).Experimental.CompactionScheduler
	s.Register(1, waiting{t, d})
	defer s.Unregister()
	granted, first := s.TrySchedule()
	require.True(t, granted)
	granted, _ = s.TrySchedule()
	require.False(t, granted)
	d.stop(errInjected)
	first.Done() // waiting fails the test if it is scheduled now
	granted, _ = s.TrySchedule()
	require.False(t, granted)
}

// waiting is a database that always has something to compact.
type waiting struct {
	t *testing.T
	d *disk
}

func (waiting) GetAllowedWithoutPermission() int { return 1 }
func (waiting) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return true, pebble.WaitingCompaction{}
}
func (w waiting) Schedule(pebble.CompactionGrantHandle) bool {
	require.NoError(w.t, w.d.stopped())
	return false
}

// What a commit costs: three records, as a change of a qube makes. "memory" is the part that is not the disk's.
func BenchmarkCommit(b *testing.B) {
	records := []inventory.Record{
		set("qube/99e663cd-a765-4c11-ac33-66fb1bcea8c7/property/memory", "800"),
		set("qube/99e663cd-a765-4c11-ac33-66fb1bcea8c7/feature/service.cups", `"1"`),
		del("qube/99e663cd-a765-4c11-ac33-66fb1bcea8c7/feature/gui"),
	}
	for name, files := range map[string]vfs.FS{"disk": vfs.Default, "memory": vfs.NewMem()} {
		b.Run(name, func(b *testing.B) {
			s, err := open(filepath.Join(b.TempDir(), "state"), silent(b), files, memTableSize)
			require.NoError(b, err)
			b.ReportAllocs()
			for base := s.revision; b.Loop(); base++ {
				if err := s.Commit(base, base+1, records); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, s.Close())
		})
	}
}
