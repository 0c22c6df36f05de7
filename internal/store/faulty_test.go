package store

import (
	"cmp"
	"os"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
)

// faulty is a file system whose every change passes through a hook, which may run it, leave it, run half of it, say that
// it failed, or look at the disk meanwhile. Pebble changes things from many goroutines, so hook must bear that.
type faulty struct {
	vfs.FS
	hook func(change) error
}

// change is one thing done to the disk. A write has a size, and can be run in parts; everything else is run(0, 0).
type change struct {
	what, name string
	size       int
	run        func(from, to int) error
}

func (c change) all() error { return c.run(0, c.size) }

func (f *faulty) do(what, name string, run func() error) error {
	return f.hook(change{what, name, 0, func(int, int) error { return run() }})
}

func (f *faulty) open(what, name string, run func() (vfs.File, error)) (vfs.File, error) {
	var opened vfs.File
	if err := f.do(what, name, func() (err error) { opened, err = run(); return err }); err != nil {
		if opened != nil {
			_ = opened.Close()
		}
		return nil, err
	}
	return &faultyFile{opened, f, name}, nil
}

func (f *faulty) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("create", name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *faulty) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("reuse", to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

func (f *faulty) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{dir, f, name}, nil
}

func (f *faulty) Rename(from, to string) error {
	return f.do("rename", from, func() error { return f.FS.Rename(from, to) })
}

func (f *faulty) Remove(name string) error {
	return f.do("remove", name, func() error { return f.FS.Remove(name) })
}

func (f *faulty) MkdirAll(name string, perm os.FileMode) error {
	return f.do("mkdir", name, func() error { return f.FS.MkdirAll(name, perm) })
}

type faultyFile struct {
	vfs.File
	f    *faulty
	name string
}

func (f *faultyFile) Write(p []byte) (int, error) {
	c := change{"write", f.name, len(p), func(from, to int) error { _, err := f.File.Write(p[from:to]); return err }}
	return len(p), f.f.hook(c)
}

func (f *faultyFile) Sync() error     { return f.f.do("sync", f.name, f.File.Sync) }
func (f *faultyFile) SyncData() error { return f.f.do("sync", f.name, f.File.SyncData) }

func (f *faultyFile) Stat() (info vfs.FileInfo, err error) {
	err = f.f.do("stat", f.name, func() error { info, err = f.File.Stat(); return err })
	return info, err
}

func (f *faultyFile) Close() error {
	err := f.File.Close()
	return cmp.Or(err, f.f.do("close", f.name, func() error { return nil }))
}

// lines is a Logger that remembers.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Error(msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, msg)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// silent is a Logger for tests in which nothing may be logged.
func silent(t assert.TestingT) Logger { return mustNotLog{t} }

type mustNotLog struct{ t assert.TestingT }

func (m mustNotLog) Error(msg string) { assert.Fail(m.t, "logged", msg) }
