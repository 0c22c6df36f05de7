package policyfiles

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport/internal/policy"
	"sallyport/messages/exception"
)

// change is what a file shall be. Its path is absolute.
type change struct {
	file    string
	text    []byte
	removed bool
}

// check refuses a change that breaks the policy: after it, the policy loads, or it did not load before and has no error that
// it had not. So what is broken can be mended file by file, and even line by line, through this very API (spec: policy.md 7,
// trap 3); and no change makes it worse.
//
// Which errors are the same is told by file, reason and text, since lines move: a file that had such an error twice may have
// it twice. If there were so many that loading stopped, nobody knows those behind: then only what the changed file itself
// says is held against the change.
//
// The policy is that of the administered directory alone, which it has to be when the system starts, and then, if there are
// more, that of all of them, which may include its files.
func (w *work) check(c change) error {
	after := with(w.system, c)
	for _, s := range w.policies() {
		wrong := loadErrors(after, s)
		if len(wrong) == 0 {
			continue
		}
		if e := added(loadErrors(w.system, s), wrong, c.file); e != nil {
			return exception.New(exception.PolicyAdminSyntaxException, "the policy would not load: %s", place{e})
		}
	}
	return nil
}

// alone is the policy of the administered directory.
func (w *Worker) alone() policy.Sources {
	return policy.Sources{Dirs: []string{w.dir()}, Legacy: w.sources.Legacy}
}

// policies are those that a change has to keep.
func (w *Worker) policies() []policy.Sources {
	if len(w.sources.Dirs) == 1 {
		return []policy.Sources{w.sources}
	}
	return []policy.Sources{w.alone(), w.sources}
}

func loadErrors(fsys fs.FS, s policy.Sources) policy.LoadErrors {
	_, err := policy.Load(fsys, s)
	var wrong policy.LoadErrors
	errors.As(err, &wrong)
	return wrong
}

// added gives the first error after a change that was not there before; nil if there is none.
func added(before, after policy.LoadErrors, file string) *policy.LoadError {
	had, stopped := map[policy.LoadError]int{}, slices.ContainsFunc(before, stops)
	for _, e := range before {
		had[lineless(e)]++
	}
	for _, e := range after {
		if had[lineless(e)]--; had[lineless(e)] >= 0 || stopped && e.At.File != file {
			continue
		}
		return e
	}
	return nil
}

// lineless is an error that may have moved within its file.
func lineless(e *policy.LoadError) policy.LoadError {
	l := *e
	l.At = policy.Position{File: e.At.File}
	return l
}

// stops reports whether e is an error after which nothing more was read.
func stops(e *policy.LoadError) bool {
	return e.Reason == policy.TooMuchText || e.Reason == policy.TooManyRules || e.Reason == policy.TooManyLoadErrors
}

// place tells a caller where what is wrong: FILE:LINE:COLUMN and the reason in a word. It quotes nothing of the file.
type place struct{ *policy.LoadError }

// Shown is the place, in printable ASCII.
func (p place) Shown() string {
	at := p.At
	at.File = path.Base(at.File)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, at.String()+": "+string(p.Reason))
}

// changed is a file system as it will be after a change. Policies include files through symbolic links too, so it is asked of
// each path where it really leads.
type changed struct {
	fs.FS
	change
	real string // where its file really is
}

func with(fsys fs.FS, c change) fs.FS { return changed{fsys, c, real(c.file)} }

// real is where an absolute path really leads. Of one that does not lead anywhere, its directory is looked at.
func real(p string) string {
	if to, err := filepath.EvalSymlinks(p); err == nil {
		return to
	}
	if dir, err := filepath.EvalSymlinks(path.Dir(p)); err == nil {
		return path.Join(dir, path.Base(p))
	}
	return p
}

// is reports whether a path of the file system is that of the changed file.
func (c changed) is(name string) bool { return real("/"+name) == c.real }

// Open is part of fs.FS.
func (c changed) Open(name string) (fs.File, error) {
	switch {
	case !c.is(name):
		return c.FS.Open(name)
	case c.removed:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memory{bytes.NewReader(c.text), path.Base(name)}, nil
}

// Stat is part of fs.StatFS.
func (c changed) Stat(name string) (fs.FileInfo, error) {
	if !c.is(name) {
		return fs.Stat(c.FS, name)
	}
	f, err := c.Open(name)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

// ReadDir is part of fs.ReadDirFS.
func (c changed) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(c.FS, name)
	if err != nil || real("/"+name) != path.Dir(c.real) {
		return entries, err
	}
	file := path.Base(c.real)
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == file })
	if !c.removed {
		entries = append(entries, fs.FileInfoToDirEntry(memory{bytes.NewReader(c.text), file}))
	}
	return entries, nil
}

// memory is a regular file that is not on disk, and what there is to know of it.
type memory struct {
	*bytes.Reader
	name string
}

func (m memory) Stat() (fs.FileInfo, error) { return m, nil }
func (memory) Close() error                 { return nil }

func (m memory) Name() string     { return m.name }
func (memory) Mode() fs.FileMode  { return 0o664 }
func (memory) ModTime() time.Time { return time.Time{} }
func (memory) IsDir() bool        { return false }
func (memory) Sys() any           { return nil }
