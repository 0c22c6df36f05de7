package judge

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// recorder is the file system, and what a load looked at there.
type recorder struct {
	root   fs.FS
	looked map[string]look // by absolute path
	torn   bool            // one path was two things
}

// look is what was seen at a path.
type look struct {
	listed bool // its entries matter, too
	identity
}

// identity is a file as it is, whatever it is called. The zero one is none.
type identity struct {
	device, number   uint64
	size             int64
	written, changed syscall.Timespec
}

func identify(info fs.FileInfo, err error) identity {
	if err != nil {
		return identity{}
	}
	s := info.Sys().(*syscall.Stat_t)
	return identity{uint64(s.Dev), s.Ino, s.Size, s.Mtim, s.Ctim}
}

func newRecorder(root fs.FS) *recorder { return &recorder{root: root, looked: map[string]look{}} }

func (r *recorder) look(name string, is identity, listed bool) {
	p := "/" + name
	before, again := r.looked[p]
	r.torn = r.torn || again && before.identity != is
	r.looked[p] = look{before.listed || listed, is}
}

// moved reports whether anything is not what was looked at any more, so that what was read may be a part of one policy and
// a part of another.
func (r *recorder) moved() bool {
	for path, l := range r.looked {
		if r.torn || identify(os.Stat(path)) != l.identity {
			return true
		}
	}
	return false
}

// Open, Stat and ReadDir are those of fs.FS, fs.StatFS and fs.ReadDirFS. What was looked at is what was opened, and not
// what is there a moment earlier or later.
func (r *recorder) Open(name string) (fs.File, error) { return r.open(name, false) }

func (r *recorder) open(name string, listed bool) (f fs.File, err error) {
	is := identity{}
	if f, err = r.root.Open(name); err == nil {
		is = identify(f.Stat())
	}
	r.look(name, is, listed)
	return f, err
}

func (r *recorder) Stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(r.root, name)
	r.look(name, identify(info, err), false)
	return info, err
}

func (r *recorder) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := r.open(name, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dir, is := f.(fs.ReadDirFile)
	if !is {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	return dir.ReadDir(-1)
}

// inFS is an absolute path as an fs.FS wants it.
func inFS(path string) string {
	if path = strings.TrimPrefix(filepath.Clean(path), "/"); path == "" {
		return "."
	}
	return path
}

// watch tells of changes to what a load looked at: to files, to what is on the way to them, links included, and to the
// entries of directories. The kernel watches directories, one by one; so a file that is replaced, and a directory or a link
// that is swapped or appears later, are seen in the directory that holds them. The zero watch tells of nothing.
type watch struct {
	notify *fsnotify.Watcher
	dirs   map[string]inode // that are watched
	names  map[string]bool  // paths that matter
	listed map[string]bool  // directories of which all entries matter
}

// inode is a directory whatever it is called: of another one under the same name, the old watch says nothing.
type inode struct{ device, number uint64 }

// follow watches what was looked at, in place of what was watched. moved says that there was something to change, so that
// what happened meanwhile may have been missed; failed says why nothing is watched.
func (w *watch) follow(looked map[string]look) (moved bool, failed string) {
	next := watch{dirs: map[string]inode{}, names: map[string]bool{}, listed: map[string]bool{}}
	for path, l := range looked {
		next.trace(path, l.listed)
	}
	if w.notify != nil && maps.Equal(w.dirs, next.dirs) {
		w.names, w.listed = next.names, next.listed
		return false, ""
	}
	notify, err := fsnotify.NewWatcher()
	if err == nil {
		next.notify = notify
		for dir := range next.dirs {
			if err = notify.Add(dir); err != nil && !os.IsNotExist(err) { // one that is gone makes the next round differ
				break
			}
			err = nil
		}
	}
	if err != nil {
		next.close()
		return false, "changes of the policy's files are not noticed without a SIGHUP: " + err.Error()
	}
	w.close()
	*w = next
	return true, ""
}

// mostLinks is how many symbolic links a path may lead through, as for the kernel.
const mostLinks = 40

// trace notes every step on the way to path.
func (w *watch) trace(path string, listed bool) {
	at, rest, links := "/", steps(path), 0
	for len(rest) > 0 {
		step := rest[0]
		rest = rest[1:]
		if step == ".." {
			at = filepath.Dir(at)
			continue
		}
		w.within(at)
		at = filepath.Join(at, step)
		w.names[at] = true
		info, err := os.Lstat(at)
		if err != nil {
			return // until it appears
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := os.Readlink(at)
		if links++; err != nil || links > mostLinks {
			return
		}
		if at = filepath.Dir(at); filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(steps(target), rest...)
	}
	if listed {
		w.within(at)
		w.listed[at] = true
	}
}

// steps are the parts of a path.
func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// within has dir watched, if it is one.
func (w *watch) within(dir string) {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		s := info.Sys().(*syscall.Stat_t)
		w.dirs[dir] = inode{uint64(s.Dev), s.Ino}
	}
}

// concerns reports whether e may be a change of the policy.
func (w *watch) concerns(e fsnotify.Event) bool {
	return w.names[e.Name] || w.listed[filepath.Dir(e.Name)]
}

func (w *watch) events() chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

func (w *watch) errors() chan error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Errors
}

func (w *watch) close() {
	if w.notify != nil {
		_ = w.notify.Close() // which only fails if it is closed
	}
}
