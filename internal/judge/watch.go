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

// recorder is the file system, and what a load looked at: whether a directory's entries matter, or only the path.
type recorder struct {
	root   fs.FS
	looked map[string]bool // absolute path to whether it was listed
}

func newRecorder() *recorder { return &recorder{os.DirFS("/"), map[string]bool{}} }

func (r *recorder) look(name string, listed bool) {
	p := "/" + name
	r.looked[p] = r.looked[p] || listed
}

// Open, Stat and ReadDir are those of fs.FS, fs.StatFS and fs.ReadDirFS.
func (r *recorder) Open(name string) (fs.File, error) {
	r.look(name, false)
	return r.root.Open(name)
}

func (r *recorder) Stat(name string) (fs.FileInfo, error) {
	r.look(name, false)
	return fs.Stat(r.root, name)
}

func (r *recorder) ReadDir(name string) ([]fs.DirEntry, error) {
	r.look(name, true)
	return fs.ReadDir(r.root, name)
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
func (w *watch) follow(looked map[string]bool) (moved bool, failed string) {
	next := watch{dirs: map[string]inode{}, names: map[string]bool{}, listed: map[string]bool{}}
	for path, listed := range looked {
		next.trace(path, listed)
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
