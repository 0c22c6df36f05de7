package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// passable is the mode of the sockets' directory: members of the sockets' group pass through root's.
func passable() os.FileMode {
	if os.Geteuid() == 0 {
		return 0o755
	}
	return 0o700
}

// ownDir makes dir with the mode create, with all that leads to it, so that a power cut does not take it away again; or
// sees that what is there is ours, and takes away what others may do beyond atMost.
func ownDir(dir string, create, atMost os.FileMode) error {
	if err := makeDir(dir, create); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !ours(info) {
		return fmt.Errorf("%s: it belongs to somebody else; choose another directory, or change its owner", dir)
	}
	if mode := info.Mode().Perm(); mode&^atMost != 0 {
		return os.Chmod(dir, mode&atMost)
	}
	return nil
}

// makeDir makes dir and whatever is missing above it, and has each new name synced.
func makeDir(dir string, mode os.FileMode) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s: expected a directory", dir)
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := makeDir(parent, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(p.Sync(), p.Close())
}

// ours reports whether a file belongs to the daemon's user, or to root.
func ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}
