package store

import (
	"errors"
	"github.com/stretchr/testify/assert"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "LOCK"), 0o700))
	_, err = Open(dir, &lines{})
	require.ErrorContains(t, err, "LOCK")
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

// A byte that changed on disk is neither read as something else nor taken for the end, except near the end of the log,
// where it looks like the last thing written before a power cut.
func TestDamageIsReported(t *testing.T) {
	for kind, reopen := range map[string]bool{".log": false, ".sst": true} { // reopening makes the log a table
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			s, err := Open(dir, silent(t))
			require.NoError(t, err)
			for r := range qube.Revision(100) {
				value := make([]byte, 1000)
				_, _ = rand.NewChaCha8([32]byte{byte(r)}).Read(value)
				require.NoError(t, s.Commit(r, r+1, []inventory.Record{{Key: strconv.Itoa(int(r)), Value: value}}))
			}
			require.NoError(t, s.Close())
			if reopen {
				s, err = Open(dir, silent(t))
				require.NoError(t, err)
				require.NoError(t, s.Close())
			}
			largest, data := "", []byte(nil)
			files, err := filepath.Glob(filepath.Join(dir, "*"+kind))
			require.NoError(t, err)
			for _, name := range files {
				if d, err := os.ReadFile(name); assert.NoError(t, err) && len(d) > len(data) {
					largest, data = name, d
				}
			}
			require.Greater(t, len(data), 90_000)
			for at := 50; at < len(data)-33<<10; at += 5000 {
				data[at] ^= 1
				require.NoError(t, os.WriteFile(largest, data, 0o600))
				require.Error(t, readAll(dir), "byte %d of %d", at, len(data))
				data[at] ^= 1
			}
			require.NoError(t, os.WriteFile(largest, data, 0o600))
			require.NoError(t, readAll(dir))
		})
	}
}

// readAll opens the store in dir and gives the first error in reading it.
func readAll(dir string) error {
	s, err := Open(dir, &lines{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	_, records, err := s.Load()
	if err != nil {
		return err
	}
	for _, err := range records {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRecordsAreTheCallersOwn(t *testing.T) {
	files := vfs.NewMem()
	for base := range qube.Revision(2) { // read from memory, then from a table
		s, err := open("db", silent(t), files, smallTable)
		require.NoError(t, err)
		require.NoError(t, s.Commit(base, base+1, []inventory.Record{set(strconv.Itoa(int(base)), "value")}))
		for range 2 {
			_, records, err := s.Load()
			require.NoError(t, err)
			for r, err := range records {
				require.NoError(t, err)
				require.Equal(t, "value", string(r.Value))
				clear(r.Value)
			}
		}
		require.NoError(t, s.Close())
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
			_, records, err := s.Load()
			require.NoError(t, err)
			o := options(s.disk, smallTable)
			tell(o)
			for _, err = range records {
				require.ErrorContains(t, err, "it is impossible")
			}
			require.Error(t, err)
			require.ErrorContains(t, s.Commit(0, 1, nil), "it is impossible")
			tell(o)
			require.Len(t, said.all, 1)
			require.ErrorContains(t, s.Close(), "it is impossible")
			for _, err = range records {
				require.ErrorIs(t, err, errClosed)
			}
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
	assert.NoError(w.t, w.d.stopped()) // without leaving: the scheduler has unlocked what it will unlock again
	return false
}

// Once it has stopped, a disk reports success and does nothing, whichever way it is asked.
func TestAStoppedDiskIsLeftAlone(t *testing.T) {
	files := vfs.NewCrashableMem()
	d := &disk{FS: files, log: &lines{}}
	for _, name := range []string{"a", "b"} {
		_, err := files.Create(name, "")
		require.NoError(t, err)
	}
	a, err := d.open("open", "a", func() (vfs.File, error) { return files.OpenReadWrite("a", "") })
	require.NoError(t, err)
	root, err := d.OpenDir("/")
	require.NoError(t, err)

	d.stop(errInjected)
	write := func(f vfs.File, err error) error {
		if err != nil {
			return err
		}
		_, written := f.Write([]byte("x"))
		_, at := f.WriteAt([]byte("x"), 3)
		_, to := f.SyncTo(1)
		_, stat := f.Stat()
		return errors.Join(written, at, to, stat, f.Preallocate(0, 1), f.Sync(), f.SyncData(), f.Close())
	}
	require.NoError(t, errors.Join(write(a, nil), root.Sync(), root.Close(),
		write(d.Create("c", "")), write(d.Create("marker.c", "")), write(d.ReuseForWrite("a", "c", "")),
		write(d.OpenReadWrite("b", "")), write(d.OpenReadWrite("c", "")),
		d.Link("a", "c"), d.Rename("a", "c"), d.Remove("a"), d.RemoveAll("b"), d.MkdirAll("dir", 0)))

	left, err := files.List("/")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b"}, left)
	for _, name := range left {
		info, err := files.Stat(name)
		require.NoError(t, err)
		require.Zero(t, info.Size())
	}
	unsynced, err := files.CrashClone(vfs.CrashCloneCfg{}).List("/")
	require.NoError(t, err)
	require.Empty(t, unsynced)
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
