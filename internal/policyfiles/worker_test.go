package policyfiles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/internal/policy"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is that of a ledger which judges every call again as verdict says.
type desk struct {
	messages.Desk
	verdict error
}

func (d desk) Change(_ context.Context, change func(qube.Tx) error) error {
	if d.verdict != nil {
		return d.verdict
	}
	return change(nil)
}

// do carries an order out, and tells its reply, or the type of its exception.
func do(t require.TestingT, w *Worker, o messages.Order) string {
	reply, err := attempt(context.Background(), w, o)
	if err != nil {
		var e *exception.Exception
		require.ErrorAs(t, err, &e)
		return string(e.Type())
	}
	return "OK " + string(reply.Body)
}

func attempt(ctx context.Context, w *Worker, o messages.Order) (messages.Reply, error) {
	do, err := w.Begin(o, desk{})
	if err != nil {
		return messages.Empty, err
	}
	return do(ctx)
}

// order is one about a file: NAME, or include/NAME. more are pairs.
func order(kind messages.OrderKind, file string, more ...string) messages.Order {
	o := messages.Order{Kind: kind, Qube: qube.Dom0UUID, Args: map[string]string{}}
	name, included := strings.CutPrefix(file, "include/")
	if o.Args["file"] = name; included {
		o.Args["include"] = ""
	}
	for i := 0; i < len(more); i += 2 {
		o.Args[more[i]] = more[i+1]
	}
	return o
}

func replace(file, token, text string) messages.Order {
	return order(messages.PolicyReplace, file, "token", token, "text", text)
}

func remove(file, token string) messages.Order {
	return order(messages.PolicyRemove, file, "token", token)
}

func token(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(hash[:])
}

// files are what a directory holds: content by path. One of "->TO" is a symbolic link, and one of a path that ends in "/" a
// directory.
type files map[string]string

// in makes a directory of files, and include/ in it.
func (f files) in(t require.TestingT, dir string) string {
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "include"), 0o755))
	for path, text := range f {
		path := filepath.Join(dir, path) + strings.Repeat("/", strings.Count(path[len(path)-1:], "/"))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, link := strings.CutPrefix(text, "->"); link {
			require.NoError(t, os.Symlink(to, path))
		} else if !strings.HasSuffix(path, "/") {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
	}
	return dir
}

// held is what a directory holds.
func held(t require.TestingT, dir string) files {
	f := files{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			require.NoError(t, err)
			f[name] = "->" + to
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			f[name] = string(text)
		case !d.IsDir():
			f[name] = d.Type().String()
		}
		return nil
	}))
	return f
}

// sorted are the paths of f.
func sorted(f files) []string { return slices.Sorted(maps.Keys(f)) }

// at is a Worker for one directory.
func at(dir string) *Worker { return New(policy.Sources{Dirs: []string{dir}}) }

const (
	allow  = "qubes.A * a b allow\n"
	broken = "qubes.A * a b\n"
)

func TestFilesAreReadAndWritten(t *testing.T) {
	dir := t.TempDir()
	w := at(files{"20-b.policy": allow, "include/inc": "a b deny\n"}.in(t, dir))
	says := func(o messages.Order) string { return do(t, w, o) }
	assert.Equal(t, "OK "+token(allow)+"\n"+allow, says(order(messages.PolicyGet, "20-b")))
	assert.Equal(t, "OK "+token("a b deny\n")+"\na b deny\n", says(order(messages.PolicyGet, "include/inc")))

	assert.Equal(t, "OK ", says(replace("10-a", "new", "")), "an empty file is a policy")
	assert.Equal(t, "OK ", says(replace("10-a", token(""), "!include-service x.Y * include/inc\n")))
	assert.Equal(t, "OK ", says(replace("20-b", "sha256:"+strings.ToUpper(token(allow)[7:]), "# é\n")))
	assert.Equal(t, "OK ", says(replace("include/inc", "any", "a b allow\n")))
	assert.Equal(t, "OK ", says(replace("include/Upper", "any", "not even policy, and nobody includes it")))
	assert.Equal(t, files{"10-a.policy": "!include-service x.Y * include/inc\n", "20-b.policy": "# é\n", "include/inc": "a b allow\n",
		"include/Upper": "not even policy, and nobody includes it"}, held(t, dir))
	assert.Equal(t, "OK 10-a\n20-b\n", says(order(messages.PolicyList, "")))
	assert.Equal(t, "OK Upper\ninc\n", says(order(messages.PolicyList, "include/")))

	assert.Equal(t, "OK ", says(remove("10-a", token("!include-service x.Y * include/inc\n"))))
	assert.Equal(t, "OK ", says(remove("include/inc", "any")))
	assert.Equal(t, "OK 20-b\n", says(order(messages.PolicyList, "")))
	assert.Equal(t, "OK Upper\n", says(order(messages.PolicyList, "include/")))
}

func TestModeOfFiles(t *testing.T) {
	dir := t.TempDir()
	w := at(files{"a.policy": ""}.in(t, dir))
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	require.NoError(t, os.Chmod(filepath.Join(dir, "a.policy"), 0o600))
	for _, name := range []string{"a", "b", "include/c"} {
		require.Equal(t, "OK ", do(t, w, replace(name, "any", "")))
	}
	for _, name := range []string{"a.policy", "b.policy", "include/c"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o664), info.Mode(), name)
	}
}

// TestLists: names that are no names, and files that are no files of the kind, are not told of.
func TestLists(t *testing.T) {
	dir := t.TempDir()
	w := at(files{"b.policy": "", "a.policy": "", ".hidden.policy": "", "!a": "", "!a.policy": "", "z": "", "Up.policy": "", "x.y.policy": "",
		"two\nlines.policy": "", "l.policy": "->/etc/passwd", "d.policy/": "", "a b.policy": "", ".policy": "", "é.policy": "", "\xff.policy": "",
		"include/b": "", "include/.h": "", "include/!b": "", "include/c.policy": "", "include/d/": "", "include/a\nb": ""}.in(t, dir))
	assert.Equal(t, "OK Up\na\nb\nl\nx.y\n", do(t, w, order(messages.PolicyList, "")))
	assert.Equal(t, "OK b\nc.policy\n", do(t, w, order(messages.PolicyList, "include/")))
}

func TestFilesOfAService(t *testing.T) {
	dir := t.TempDir()
	w := at(files{
		"10-a.policy": "x.Y * a b allow\n!include include/more\nx.Z * a b deny\n",
		"20-b.policy": "* * a b deny\n* * b a deny\n",
		"30-c.policy": "x.Y +arg a b allow\n!include-service x.Q * include/short.v2\n!include include/more\n",
		"40-d.policy": "#x.Y * a b allow\n", "include/more": "x.Z * b c deny\n", "include/short.v2": "a b deny\n", "include/other": "x.Y * a b deny\n",
	}.in(t, dir))
	for service, want := range map[string]string{"x.Y": "10-a\n20-b\n30-c\n", "x.Z": "more\n10-a\n20-b\n", "x.Q": "20-b\nshort.v2\n", "none": "20-b\n", "x": "20-b\n"} {
		assert.Equal(t, "OK "+want, do(t, w, order(messages.PolicyGetFiles, "", "service", service)), service)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "include/more")))
	assert.Equal(t, "PolicyAdminSyntaxException", do(t, w, order(messages.PolicyGetFiles, "", "service", "x.Y")))
}

// TestLinksAreNotFollowed: neither out of the directory nor within it, whatever is asked.
func TestLinksAreNotFollowed(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret\n"), 0o600))
	dir := t.TempDir()
	odd := []string{"out", "within", "dangling", "pipe", "dir", "include/out", "include/within", "include/pipe", "include/dir"}
	w := at(files{"real.policy": "", "out.policy": "->" + secret, "within.policy": "->real.policy", "dangling.policy": "->nowhere", "dir.policy/": "",
		"!new": "->" + secret, "include/out": "->" + secret, "include/within": "->../real.policy", "include/dir/": "", "include/!new": "->" + secret}.in(t, dir))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.policy"), 0o600))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "include/pipe"), 0o600))
	before := held(t, dir)
	for _, name := range odd {
		for _, o := range []messages.Order{order(messages.PolicyGet, name), remove(name, "any"), remove(name, token("")), replace(name, "any", ""), replace(name, "new", "")} {
			assert.Equal(t, "PolicyAdminInvalidFilePathException", do(t, w, o), "%v %s", o.Kind, name)
		}
	}
	assert.Equal(t, before, held(t, dir))
	for _, name := range []string{"dangling.policy", "out.policy"} { // which are no policy
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	for _, name := range []string{"new", "include/new"} { // a link in the way of the temporary file
		assert.Equal(t, "OK ", do(t, w, replace(name, "new", "# mine\n")))
	}
	text, err := os.ReadFile(secret)
	require.NoError(t, err)
	assert.Equal(t, "secret\n", string(text))

	elsewhere := t.TempDir()
	files{"x": "secret\n"}.in(t, elsewhere)
	w = at(files{"a.policy": ""}.in(t, t.TempDir()))
	require.NoError(t, os.Remove(filepath.Join(w.dir(), "include")))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(w.dir(), "include")))
	for _, o := range []messages.Order{order(messages.PolicyList, "include/"), order(messages.PolicyGet, "include/x"), replace("include/x", "any", ""), remove("include/x", "any")} {
		assert.Equal(t, "PolicyAdminInvalidFilePathException", do(t, w, o))
	}
	assert.Equal(t, files{"x": "secret\n"}, held(t, elsewhere))
}

func TestWhatIsNoTextIsNotTold(t *testing.T) {
	w := at(files{"latin.policy": "# \xe9\n", "include/long": strings.Repeat("#", policy.MaxText+1)}.in(t, t.TempDir()))
	assert.Equal(t, "PolicyAdminSyntaxException", do(t, w, order(messages.PolicyGet, "latin")))
	assert.Equal(t, "PolicyAdminSyntaxException", do(t, w, order(messages.PolicyGet, "include/long")))
	assert.Equal(t, "OK ", do(t, w, remove("include/long", "any")))
	assert.Equal(t, "OK ", do(t, w, replace("latin", token("# \xe9\n"), "# é\n")), "it can be mended")
}

func TestWithoutADirectory(t *testing.T) {
	dir := t.TempDir()
	w := at(filepath.Join(dir, "missing"))
	all := []messages.Order{order(messages.PolicyList, "include/"), order(messages.PolicyGet, "include/a"), replace("include/a", "any", ""), remove("include/a", "any")}
	for _, o := range append(all, order(messages.PolicyList, ""), replace("a", "new", ""), order(messages.PolicyGetFiles, "", "service", "a")) {
		assert.Equal(t, "PolicyAdminFileNotFoundException", do(t, w, o))
	}
	w = at(dir)
	for _, o := range all {
		assert.Equal(t, "PolicyAdminFileNotFoundException", do(t, w, o))
	}
	assert.Empty(t, held(t, dir))
}

// TestACallIsJudgedAgain before anything is looked at: it may have waited while the policy changed.
func TestACallIsJudgedAgain(t *testing.T) {
	dir := t.TempDir()
	w := at(files{"a.policy": allow}.in(t, dir))
	w.open = func(context.Context, string) (disk, error) {
		t.Error("the directory was opened")
		return nil, fs.ErrInvalid
	}
	for _, o := range []messages.Order{order(messages.PolicyList, ""), order(messages.PolicyGet, "a"), replace("a", "any", ""), remove("a", "any"), order(messages.PolicyGetFiles, "", "service", "x")} {
		work, err := w.Begin(o, desk{verdict: exception.Denied})
		require.NoError(t, err)
		_, err = work(context.Background())
		assert.Equal(t, exception.Denied, err)
	}
}

// TestWhoHasTheDirectoryLockedIsWaitedFor, until the call's time is over.
func TestWhoHasTheDirectoryLockedIsWaitedFor(t *testing.T) {
	w := at(files{"a.policy": allow}.in(t, t.TempDir()))
	other, err := openDirectory(context.Background(), w.dir())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := attempt(ctx, w, replace("a", "any", ""))
		ended <- err
	}()
	select {
	case <-ended:
		t.Error("it did not wait")
	case <-time.After(5 * lockTick): // whoever would wait for longer is no worse
	}
	cancel()
	assert.ErrorIs(t, <-ended, context.Canceled)
	assert.Equal(t, files{"a.policy": allow}, held(t, w.dir()))

	go func() {
		_, err := attempt(context.Background(), w, replace("a", "any", ""))
		ended <- err
	}()
	require.NoError(t, other.Close())
	assert.NoError(t, <-ended)
}

// TestOrdersAreReadAgain: an order is data, which may come from elsewhere than the sanitizer.
func TestOrdersAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	w := at(files{"a.policy": allow}.in(t, filepath.Join(dir, "policy.d")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.policy"), nil, 0o600))
	before := held(t, dir)
	for _, o := range []messages.Order{
		order(messages.PolicyGet, "../x"), order(messages.PolicyGet, ""), replace("../x", "any", ""), remove("../x", "any"), replace("a", "", ""), replace("a", "some", ""),
		remove("a", ""), replace("a", "any", "\x00"), replace("a", "any", "\xff"), {Kind: messages.QubeKill},
	} {
		_, err := attempt(context.Background(), w, o)
		var e *exception.Exception
		assert.Error(t, err)
		assert.NotErrorAs(t, err, &e, "%v", o)
	}
	assert.Equal(t, before, held(t, dir))
}

// TestErrorsTellNoNames: they are for the log, which has no argument of a call.
func TestErrorsTellNoNames(t *testing.T) {
	for _, err := range []error{&fs.PathError{Op: "open", Path: "secret", Err: fs.ErrPermission}, &os.LinkError{Op: "rename", Old: "secret", New: "secret", Err: fs.ErrPermission}} {
		assert.ErrorIs(t, failed("do", err), fs.ErrPermission)
		assert.NotContains(t, failed("do", err).Error(), "secret")
	}
}
