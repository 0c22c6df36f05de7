package policyfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
)

var errFault = errors.New("a fault")

// faulty is a disk whose operation number at fails, counted from zero. A write that fails has written half. After a crash
// nothing works any more, and what failed may have happened all the same.
type faulty struct {
	disk
	at    int
	crash bool
	after bool // it happens, and fails then
	done  int
	ops   []string
}

// step reports whether an operation happens, and how it ends.
func (d *faulty) step(op string) (happens bool, err error) {
	d.ops = append(d.ops, op)
	n := d.done
	d.done++
	switch {
	case n == d.at:
		return d.after, errFault
	case n > d.at && d.crash:
		return false, errFault
	}
	return true, nil
}

func (d *faulty) Stat(path string) (info fs.FileInfo, err error) {
	if _, err := d.step("stat " + path); err != nil {
		return nil, err
	}
	return d.disk.Stat(path)
}

func (d *faulty) Read(path string, most int) ([]byte, error) {
	if _, err := d.step("read " + path); err != nil {
		return nil, err
	}
	return d.disk.Read(path, most)
}

func (d *faulty) Write(path string, text []byte) error {
	happens, err := d.step("write " + path)
	if err != nil && !happens {
		return errors.Join(err, d.disk.Write(path, text[:len(text)/2]))
	}
	return errors.Join(err, d.disk.Write(path, text))
}

func (d *faulty) Sync(path string) error {
	return d.perhaps("sync "+path, func() error { return d.disk.Sync(path) })
}
func (d *faulty) Rename(from, to string) error {
	return d.perhaps("rename "+from+" "+to, func() error { return d.disk.Rename(from, to) })
}
func (d *faulty) Remove(path string) error {
	return d.perhaps("remove "+path, func() error { return d.disk.Remove(path) })
}

func (d *faulty) perhaps(op string, do func() error) error {
	happens, err := d.step(op)
	if happens {
		err = errors.Join(err, do())
	}
	return err
}

// with has w's operations go through d.
func (d *faulty) with(w *Worker) *Worker {
	w.open = func(ctx context.Context, dir string) (disk, error) {
		real, err := openDirectory(ctx, dir)
		d.disk = real
		return d, err
	}
	return w
}

const (
	old   = "qubes.Old * a b allow\n"
	fresh = "qubes.New * a b allow\nqubes.New * b a deny\n"
)

// changes are those that the tests below make of a directory that holds old in three files.
var changes = map[string]struct {
	order messages.Order
	want  string // of the file; "-": it is gone
}{
	"a.policy":   {replace("a", token(old), fresh), fresh},
	"b.policy":   {remove("b", token(old)), "-"},
	"include/c":  {replace("include/c", "any", fresh), fresh},
	"new.policy": {replace("new", "new", fresh), fresh},
}

// TestFaultsLeaveTheOldOrTheNew: whichever operation fails, and whether or not the daemon lives on, a file is as it was or as
// it shall be, the policy loads, and nobody sees a trace of it. Only an OK says that it is as it shall be.
func TestFaultsLeaveTheOldOrTheNew(t *testing.T) {
	for file, c := range changes {
		for _, mode := range []struct{ crash, after bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
			for step, failed := 0, true; failed; step++ {
				t.Run(fmt.Sprintf("%s %v %d", file, mode, step), func(t *testing.T) {
					dir := t.TempDir()
					before := files{"a.policy": old, "b.policy": old, "include/c": old}
					d := &faulty{at: step, crash: mode.crash, after: mode.after}
					_, err := attempt(t.Context(), d.with(at(before.in(t, dir))), c.order)
					after := maps.Clone(before)
					if after[file] = c.want; c.want == "-" {
						delete(after, file)
					}
					left := held(t, dir)
					if d.done <= step {
						require.NoError(t, err)
						require.Equal(t, after, left, "an OK")
						failed = false
						return
					}
					if !mode.crash {
						temporary := path.Join(path.Dir(file), "!"+c.order.Args["file"])
						assert.NotContains(t, left, temporary, "what was written for nothing is removed")
					}
					w := at(dir)
					assert.Empty(t, loadErrors(w.system, w.alone()))
					for _, list := range []string{"", "include/"} {
						assert.NotContains(t, do(t, w, order(messages.PolicyList, list)), "!")
					}
					maps.DeleteFunc(left, func(path string, _ string) bool { return path == "!a" || path == "!new" || path == "include/!c" })
					if maps.Equal(left, after) {
						assert.Contains(t, []string{"rename", "remove", "sync"}, verb(d.ops[step]), "only then")
					} else {
						assert.Equal(t, before, left)
					}
					// What is left does not keep the next from doing it.
					again := c.order
					again.Args = maps.Clone(again.Args)
					again.Args["token"] = "any"
					if c.want != "-" {
						assert.Equal(t, "OK ", do(t, w, again))
						assert.Equal(t, after, held(t, dir))
					}
				})
			}
		}
	}
}

func verb(op string) string {
	var v string
	_, _ = fmt.Sscan(op, &v)
	return v
}

// TestNoFaultIsAnsweredWithAnOK: whoever is told OK can rely on it.
func TestNoFaultIsAnsweredWithAnOK(t *testing.T) {
	for file, c := range changes {
		for step := 0; ; step++ {
			dir := files{"a.policy": old, "b.policy": old, "include/c": old}.in(t, t.TempDir())
			d := &faulty{at: step}
			_, err := attempt(t.Context(), d.with(at(dir)), c.order)
			if d.done <= step {
				require.NoError(t, err)
				break
			}
			require.ErrorIs(t, err, errFault, "%s: %s", file, d.ops[step])
		}
	}
}

// TestAPowerCutLeavesTheOldOrTheNew: a content is on disk before it gets the name, and the name before the caller is told.
// What was not synced may be there or not, in any order.
func TestAPowerCutLeavesTheOldOrTheNew(t *testing.T) {
	for file, c := range changes {
		d := &faulty{at: -1}
		require.Equal(t, "OK ", do(t, d.with(at(files{"a.policy": old, "b.policy": old, "include/c": old}.in(t, t.TempDir()))), c.order))
		temporary, dir := path.Join(path.Dir(file), "!"+c.order.Args["file"]), path.Dir(file)
		var changing []string
		for _, op := range d.ops {
			if v := verb(op); v != "stat" && v != "read" {
				changing = append(changing, op)
			}
		}
		if c.want == "-" {
			assert.Equal(t, []string{"remove " + file, "sync " + dir}, changing)
		} else {
			assert.Equal(t, []string{"write " + temporary, "sync " + temporary, "rename " + temporary + " " + file, "sync " + dir}, changing)
		}
	}
}

// TestACallThatIsOverChangesNothing: its caller was told so.
func TestACallThatIsOverChangesNothing(t *testing.T) {
	for _, c := range changes {
		dir := t.TempDir()
		before := files{"a.policy": old, "b.policy": old, "include/c": old}
		w := at(before.in(t, dir))
		ctx, cancel := context.WithCancel(t.Context())
		w.open = func(ctx context.Context, dir string) (disk, error) {
			d, err := openDirectory(ctx, dir)
			cancel() // from here on
			return d, err
		}
		_, err := attempt(ctx, w, c.order)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, before, held(t, dir))
	}
}
