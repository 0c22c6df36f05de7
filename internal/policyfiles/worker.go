// Package policyfiles carries out the orders about the files of the policy: it lists, reads, writes and removes those of
// one directory and of include/ below it (spec: policy.md 7).
//
// A file is only ever replaced whole, and only when the policy with the change loads, or is at least not worse than it was.
// What is there and is no regular file is left alone, and no symbolic link leads anywhere. Content is never logged. The
// package tells nobody: whoever evaluates the policy watches its directories.
package policyfiles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport/internal/policy"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

// Worker carries out the orders from messages.PolicyList to messages.PolicyGetFiles, and no others. It is for the actors
// (actors.Worker). Safe for concurrent use: whoever has the directory locked is waited for.
type Worker struct {
	sources policy.Sources
	system  fs.FS // from which policies are loaded: its root is the root directory
	open    func(ctx context.Context, dir string) (disk, error)
}

// New makes a Worker for the last directory of sources, which counts least and is the one that outlives the system's end.
// Paths are absolute.
func New(sources policy.Sources) *Worker {
	return &Worker{sources: sources, system: os.DirFS("/"), open: openDirectory}
}

// dir is the directory that is administered.
func (w *Worker) dir() string { return w.sources.Dirs[len(w.sources.Dirs)-1] }

// works are the kinds of orders.
var works = map[messages.OrderKind]func(*work) (messages.Reply, error){
	messages.PolicyList:     (*work).list,
	messages.PolicyGet:      (*work).get,
	messages.PolicyReplace:  (*work).replace,
	messages.PolicyRemove:   (*work).remove,
	messages.PolicyGetFiles: (*work).files,
}

// work is an order that is being carried out.
type work struct {
	*Worker
	order messages.Order
	disk  disk
	ctx   context.Context
}

// Begin takes an order in. It returns at once; the function that it returns does the work.
func (w *Worker) Begin(o messages.Order, desk messages.Desk) (func(context.Context) (messages.Reply, error), error) {
	do, known := works[o.Kind]
	if !known {
		return nil, fmt.Errorf("policyfiles: no order of this kind is for it: %s", o.Kind)
	}
	return func(ctx context.Context) (messages.Reply, error) {
		// The order may have waited for others, which changed the policy: this has the call judged again.
		if err := desk.Change(ctx, func(qube.Tx) error { return nil }); err != nil {
			return messages.Empty, err
		}
		d, err := w.open(ctx, w.dir())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return messages.Empty, errNoDirectory
		case err != nil:
			return messages.Empty, failed("open", err)
		}
		defer d.Close()
		return do(&work{w, o, d, ctx})
	}, nil
}

// In the order in which they are asked (spec: policy.md 7).
var (
	errNoDirectory = exception.New(exception.PolicyAdminFileNotFoundException, "there is no directory for the policy")
	errNoIncludes  = exception.New(exception.PolicyAdminFileNotFoundException, "the policy has no directory for include files")
	errLink        = exception.New(exception.PolicyAdminInvalidFilePathException, "include is there, but is no directory")
	errIsThere     = exception.New(exception.PolicyAdminTokenException, "the token says that the file is new, but it is there")
	errIsNotThere  = exception.New(exception.PolicyAdminTokenException, "the token is of a file that is not there any more")
	errIsAnother   = exception.New(exception.PolicyAdminTokenException, "the token is of another content than the file has")
)

// file is one that an order is about, as it is in the directory.
type file struct {
	name  qube.PolicyFile
	path  string // from the directory
	there bool
}

// file gives what the order is about.
func (w *work) file() (file, error) {
	name, err := qube.ParsePolicyFile(w.order.Args["file"])
	if err != nil {
		return file{}, fmt.Errorf("policyfiles: an order about no file: %w", err)
	}
	f := file{name: name, path: name.Shown() + suffix}
	if w.isInclude() {
		if err := w.hasIncludes(); err != nil {
			return file{}, err
		}
		f.path = path.Join(includes, name.Shown())
	}
	info, err := w.disk.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return file{}, failed("look at", err)
	case !info.Mode().IsRegular(): // nobody knows where it leads
		return file{}, exception.New(exception.PolicyAdminInvalidFilePathException, "%s is there, but is no regular file", name)
	}
	f.there = true
	return f, nil
}

const (
	suffix   = ".policy"
	includes = "include"
)

func (w *work) isInclude() bool {
	_, is := w.order.Args["include"]
	return is
}

// hasIncludes checks that there is a directory for include files. Nothing here makes one.
func (w *work) hasIncludes() error {
	info, err := w.disk.Stat(includes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNoIncludes
	case err != nil:
		return failed("look at", err)
	case !info.IsDir():
		return errLink
	}
	return nil
}

// checkToken says whether the order's token is that of f.
func (w *work) checkToken(f file) error {
	token, err := qube.ParsePolicyToken(w.order.Args["token"])
	if err != nil {
		return fmt.Errorf("policyfiles: an order without a token: %w", err)
	}
	switch {
	case token == qube.AnyContent:
		return nil
	case token == qube.NoContent && f.there:
		return errIsThere
	case token == qube.NoContent:
		return nil
	case !f.there:
		return errIsNotThere
	}
	text, err := w.disk.Read(f.path, policy.MaxText+1)
	if err != nil {
		return failed("read", err)
	}
	if !tokenOf(text).Is(token) { // of one that is too long, it is of its beginning, which is no token that Get gave
		return errIsAnother
	}
	return nil
}

// tokenOf is the token of a content.
func tokenOf(text []byte) qube.PolicyToken {
	hash := sha256.Sum256(text)
	token, _ := qube.ParsePolicyToken("sha256:" + hex.EncodeToString(hash[:])) // it is one
	return token
}

// list tells the files of one kind, in byte order, whatever they are: of one that is no regular file, Get says so.
func (w *work) list() (messages.Reply, error) {
	dir, names := ".", []string(nil)
	if w.isInclude() {
		if err := w.hasIncludes(); err != nil {
			return messages.Empty, err
		}
		dir = includes
	}
	entries, err := w.disk.List(dir)
	if err != nil {
		return messages.Empty, failed("list", err)
	}
	for _, e := range entries {
		name, ok := e.Name(), true
		if !w.isInclude() {
			name, ok = strings.CutSuffix(name, suffix)
		}
		if ok && !e.IsDir() && isListed(name) {
			names = append(names, name+"\n")
		}
	}
	slices.Sort(names)
	return messages.Text(strings.Join(names, "")), nil
}

// isListed reports whether a file of that name is told of: not one that is hidden or being written, nor one whose name is
// more than a line.
func isListed(name string) bool {
	return name != "" && name[0] != '.' && name[0] != '!' &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// get tells what a file holds.
func (w *work) get() (messages.Reply, error) {
	f, err := w.file()
	if err != nil {
		return messages.Empty, err
	}
	if !f.there {
		return messages.Empty, notFound(f)
	}
	text, err := w.disk.Read(f.path, policy.MaxText+1)
	switch {
	case err != nil:
		return messages.Empty, failed("read", err)
	case len(text) > policy.MaxText || !utf8.Valid(text):
		return messages.Empty, exception.New(exception.PolicyAdminSyntaxException, "%s is not UTF-8 text, or is longer than a policy may be", f.name)
	}
	return messages.Reply{Body: slices.Concat([]byte(tokenOf(text).Shown()), []byte("\n"), text)}, nil
}

// replace writes a file anew.
func (w *work) replace() (messages.Reply, error) {
	f, err := w.file()
	if err != nil {
		return messages.Empty, err
	}
	text, err := qube.ParsePolicyText(w.order.Args["text"])
	if err != nil {
		return messages.Empty, fmt.Errorf("policyfiles: an order without a text: %w", err)
	}
	if err := w.checkToken(f); err != nil {
		return messages.Empty, err
	}
	if err := w.check(change{path.Join(w.dir(), f.path), []byte(text.Shown()), false}); err != nil {
		return messages.Empty, err
	}
	return messages.Empty, w.write(f, []byte(text.Shown()))
}

// write puts a file in the place of f: until it is renamed, the old one is there, and from then on the new one, whole, since
// it is on disk by then. Its name until then ends in no suffix, so that nobody takes it for policy.
//
// Whether the new name is on disk too is known only at the end. If that fails, the caller is told, and which of the two a
// power cut would leave is open.
func (w *work) write(f file, text []byte) error {
	temporary := path.Join(path.Dir(f.path), "!"+f.name.Shown())
	err := func() error {
		if err := w.disk.Write(temporary, text); err != nil {
			return failed("write", err)
		}
		if err := w.disk.Sync(temporary); err != nil {
			return failed("sync", err)
		}
		if err := context.Cause(w.ctx); err != nil {
			return err // the caller was told already that nothing came of it
		}
		if err := w.disk.Rename(temporary, f.path); err != nil {
			return failed("rename", err)
		}
		return nil
	}()
	if err != nil {
		_ = w.disk.Remove(temporary) // the next one to write the file would do it
		return err
	}
	return w.settle(f)
}

// settle has what was done to the name of f on disk.
func (w *work) settle(f file) error {
	if err := w.disk.Sync(path.Dir(f.path)); err != nil {
		return failed("sync", err)
	}
	return nil
}

// remove removes a file. Its token is asked before whether it is there (spec: policy.md 7).
func (w *work) remove() (messages.Reply, error) {
	f, err := w.file()
	if err != nil {
		return messages.Empty, err
	}
	if err := w.checkToken(f); err != nil {
		return messages.Empty, err
	}
	if !f.there {
		return messages.Empty, notFound(f)
	}
	if err := w.check(change{path.Join(w.dir(), f.path), nil, true}); err != nil {
		return messages.Empty, err
	}
	if err := context.Cause(w.ctx); err != nil {
		return messages.Empty, err
	}
	if err := w.disk.Remove(f.path); err != nil {
		return messages.Empty, failed("remove", err)
	}
	return messages.Empty, w.settle(f)
}

// files tells which files of the directory alone have a rule for a service, or for all.
func (w *work) files() (messages.Reply, error) {
	p, err := policy.Load(w.system, w.alone())
	var wrong policy.LoadErrors
	if errors.As(err, &wrong) {
		return messages.Empty, exception.New(exception.PolicyAdminSyntaxException, "the policy does not load: %s", place{wrong[0]})
	}
	var names []string
	for _, r := range p.Rules() {
		name := strings.TrimSuffix(path.Base(r.At.File), suffix) + "\n"
		if (r.Service == "*" || r.Service == w.order.Args["service"]) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return messages.Text(strings.Join(names, "")), nil
}

func notFound(f file) error {
	return exception.New(exception.PolicyAdminFileNotFoundException, "there is no file %s", f.name)
}

// failed is an error of the file system, which is ours and goes to the log: without the path, which the client sent.
func failed(what string, err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return fmt.Errorf("policyfiles: %s: %w", what, err)
}
