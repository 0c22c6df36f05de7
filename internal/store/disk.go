package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is the file system that Pebble is given. The first change that fails stops it: it is logged, and neither that
// change nor any later one reaches the directory, which stays as a power cut at that moment would leave it.
//
// Pebble is told that all of them succeeded; the store asks stopped before it believes it. For Pebble does not survive
// the truth: when it cannot rotate its log it unlocks an unlocked mutex, which ends the process past any recover
// (cockroachdb/pebble#5601); when a commit's write fails it calls Fatalf, and reports success if that returns; a failed
// flush it tries again at once, for ever; a file that failed to sync it may go on writing, and believe.
type disk struct {
	vfs.FS
	dir   string
	log   Logger
	cause atomic.Pointer[error]
}

// stopped is nil, or the error of everything from now on. Any goroutine may call it.
func (d *disk) stopped() error {
	if cause := d.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// stop ends all changes to the directory. Only the first call counts. Any goroutine may call it.
func (d *disk) stop(cause error) {
	cause = fmt.Errorf("store: stopped, nothing is written to %s any more: mend the disk, then restart the daemon: %w", d.dir, cause)
	if d.cause.CompareAndSwap(nil, &cause) {
		d.log.Error(cause.Error())
	}
}

// change makes one change, unless the disk has stopped; it stops the disk if the change fails.
func (d *disk) change(what, name string, make func() error) {
	if d.stopped() != nil {
		return
	}
	if err := make(); err != nil {
		d.stop(fmt.Errorf("%s %s: %w", what, d.PathBase(name), err))
	}
}

// open makes a change that gives a file to write to: if none came of it, one that leads nowhere.
func (d *disk) open(what, name string, make func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	d.change(what, name, func() (err error) { f, err = make(); return err })
	if f == nil {
		f = vfs.NewMemFile(nil)
	}
	return &file{f, d, name}, nil
}

// Create makes the directory durable before it makes a marker in it. Pebble's markers name the list of files that counts,
// but v2.1.7 syncs the two names together, after: a power cut may leave a marker that names nothing, and no way to open
// (cockroachdb/pebble#5915 is the same cure).
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(d.PathBase(name), "marker.") {
		if err := d.syncDir(d.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return d.open("create", name, func() (vfs.File, error) { return d.FS.Create(name, c) })
}

func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open("reuse", from, func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, c) })
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return d.open("open", name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, o...) })
}

// OpenDir changes nothing, but what it opens can be synced.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{f, d, name}, nil
}

func (d *disk) syncDir(name string) error {
	dir, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *disk) Link(from, to string) error {
	d.change("link", from, func() error { return d.FS.Link(from, to) })
	return nil
}

func (d *disk) Rename(from, to string) error {
	d.change("rename", from, func() error { return d.FS.Rename(from, to) })
	return nil
}

func (d *disk) Remove(name string) error {
	d.change("remove", name, func() error {
		if err := d.FS.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	return nil
}

func (d *disk) RemoveAll(name string) error {
	d.change("remove", name, func() error { return d.FS.RemoveAll(name) })
	return nil
}

// MkdirAll makes directories that only their owner can read, whatever Pebble asks for.
func (d *disk) MkdirAll(name string, _ os.FileMode) error {
	d.change("mkdir", name, func() error { return d.FS.MkdirAll(name, 0o700) })
	return nil
}

// Lock is what Pebble does first in a directory. Its failure is the caller's to handle, so it does not stop the disk.
func (d *disk) Lock(name string) (io.Closer, error) {
	lock, err := d.FS.Lock(name)
	var notReached *fs.PathError // the file cannot be made, so nobody got as far as locking it
	if err != nil && !errors.As(err, &notReached) {
		const advice = "%w: stop the other daemon (fuser %s shows it), or choose another directory: %w"
		return nil, fmt.Errorf(advice, ErrLocked, name, err)
	}
	return lock, err
}

// file is a file or directory of a disk that can be written or synced.
type file struct {
	vfs.File
	disk *disk
	name string
}

func (f *file) Write(p []byte) (int, error) {
	f.disk.change("write", f.name, func() error { _, err := f.File.Write(p); return err })
	return len(p), nil
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	f.disk.change("write", f.name, func() error { _, err := f.File.WriteAt(p, at); return err })
	return len(p), nil
}

func (f *file) Sync() error {
	f.disk.change("sync", f.name, f.File.Sync)
	return nil
}

func (f *file) SyncData() error {
	f.disk.change("sync", f.name, f.File.SyncData)
	return nil
}

func (f *file) SyncTo(length int64) (full bool, _ error) {
	f.disk.change("sync", f.name, func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, nil
}

// Preallocate is a hint: not every file system can.
func (f *file) Preallocate(from, length int64) error {
	if f.disk.stopped() == nil {
		_ = f.File.Preallocate(from, length)
	}
	return nil
}

// Stat stops the disk if it fails, since Pebble asks in the midst of rotating its log.
func (f *file) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		f.disk.stop(fmt.Errorf("stat %s: %w", f.disk.PathBase(f.name), err))
		return vfs.NewMemFile(nil).Stat()
	}
	return info, nil
}

// Close always closes, so that a stopped disk keeps no descriptor.
func (f *file) Close() error {
	if err := f.File.Close(); err != nil {
		f.disk.stop(fmt.Errorf("close %s: %w", f.disk.PathBase(f.name), err))
	}
	return nil
}
