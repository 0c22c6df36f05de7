package policyfiles

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// disk is a directory that is locked, and all that is done to the files in it: few things, so that a test can have each
// fail. Paths are relative to it.
type disk interface {
	// Stat says what is at a path. It does not follow a symbolic link.
	Stat(path string) (fs.FileInfo, error)
	// List gives what is in a directory, in any order.
	List(path string) ([]fs.DirEntry, error)
	// Read gives up to most bytes of a regular file.
	Read(path string, most int) ([]byte, error)
	// Write makes a file of the mode and the owner that those of a policy have. What is at the path is removed first.
	Write(path string, text []byte) error
	// Sync returns when a file's content, or a directory's names, are on disk.
	Sync(path string) error
	// Rename gives a file another's name at once: whoever looks sees the one or the other.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(path string) error
	// Close unlocks the directory.
	Close() error
}

// directory is one of the operating system. Nothing that happens to it leads out of it (os.Root).
type directory struct {
	root *os.Root
	lock *os.File
}

// lockTick is how often somebody else's lock is looked at.
const lockTick = 10 * time.Millisecond

// openDirectory opens and locks a directory, as the reference's services do (spec: policy.md 7). It waits for whoever has it
// locked, until ctx ends.
func openDirectory(ctx context.Context, dir string) (disk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := directory{root: root}
	if d.lock, err = root.Open("."); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for {
		err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return d, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(err, d.Close())
		}
		select {
		case <-time.After(lockTick):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), d.Close())
		}
	}
}

func (d directory) Close() error {
	if d.lock != nil {
		_ = d.lock.Close() // which unlocks
	}
	return d.root.Close()
}

func (d directory) Stat(path string) (fs.FileInfo, error) { return d.root.Lstat(path) }

func (d directory) List(path string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func (d directory) Read(path string, most int) ([]byte, error) {
	// What was a regular file may be another thing by now: not to wait for a pipe, and to look at what was opened.
	f, err := d.root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, syscall.EINVAL)
	}
	return io.ReadAll(io.LimitReader(f, int64(most)))
}

func (d directory) Write(path string, text []byte) error {
	if err := d.root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if os.Geteuid() == 0 {
		if group, err := user.LookupGroup("qubes"); err == nil {
			if gid, err := strconv.Atoi(group.Gid); err == nil {
				_ = f.Chown(0, gid) // some file systems know no owners
			}
		}
	}
	return errors.Join(err, f.Chmod(0o664), f.Close())
}

func (d directory) Sync(path string) error {
	f, err := d.root.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d directory) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d directory) Remove(path string) error     { return d.root.Remove(path) }
