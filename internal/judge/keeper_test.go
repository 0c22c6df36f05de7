package judge

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sallyport/internal/policy"
	"sallyport/internal/telemetry"
	"sallyport/stages"
)

// manual is a Clock that stands still: a test says when what was asked for is due.
type manual struct {
	mu      sync.Mutex
	now     time.Time
	pending func()
	after   []time.Duration // of every AfterFunc
	armed   chan struct{}
}

func newManual() *manual { return &manual{now: time.Unix(1e9, 0), armed: make(chan struct{}, 1)} }

func (m *manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *manual) AfterFunc(d time.Duration, fn func()) func() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending, m.after = fn, append(m.after, d)
	poke(m.armed)
	return func() bool { return true }
}

// fire has what was asked for last be due.
func (m *manual) fire() {
	m.mu.Lock()
	fn := m.pending
	m.pending = nil
	m.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// shelf is a folder with policy files, and a Keeper of them.
type shelf struct {
	t      *testing.T
	root   string
	clock  *manual
	judge  *Judge
	keeper *Keeper
	log    *observer.ObservedLogs
	loaded chan struct{} // after each load
}

// tell is a zap core that pokes.
type tell struct {
	zapcore.Core
	loaded chan struct{}
}

func (c tell) With(f []zapcore.Field) zapcore.Core { return tell{c.Core.With(f), c.loaded} }
func (c tell) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, c)
}
func (c tell) Write(e zapcore.Entry, f []zapcore.Field) error {
	err := c.Core.Write(e, f)
	poke(c.loaded)
	return err
}

// onShelf keeps dirs, below a new folder, as they are after prepare.
func onShelf(t *testing.T, prepare func(s *shelf), dirs ...string) *shelf {
	core, log := observer.New(zap.DebugLevel)
	s := &shelf{t: t, root: t.TempDir(), clock: newManual(), judge: New(), log: log, loaded: make(chan struct{}, 1)}
	prepare(s)
	sources := policy.Sources{Legacy: s.at("legacy")}
	for _, dir := range dirs {
		sources.Dirs = append(sources.Dirs, s.at(dir))
	}
	s.keeper = Keep(s.judge, sources, telemetry.NewLog(zap.New(tell{core, s.loaded})), s.clock)
	t.Cleanup(func() { assert.NoError(t, s.keeper.Close()) })
	return s
}

func (s *shelf) at(path string) string { return filepath.Join(s.root, path) }

// write puts text into a file, in place.
func (s *shelf) write(path, text string) {
	require.NoError(s.t, os.MkdirAll(filepath.Dir(s.at(path)), 0o755))
	require.NoError(s.t, os.WriteFile(s.at(path), []byte(text), 0o644))
}

// replace puts a file of that text in the place of another.
func (s *shelf) replace(path, text string) {
	s.write(path+".new", text)
	require.NoError(s.t, os.Rename(s.at(path+".new"), s.at(path)))
}

// point makes a link in the place of another.
func (s *shelf) point(link, target string) {
	require.NoError(s.t, os.Symlink(target, s.at(link+".new")))
	require.NoError(s.t, os.Rename(s.at(link+".new"), s.at(link)))
}

// until returns when the state is as wanted. Whenever the Keeper waits for files to come to rest, they do.
func (s *shelf) until(why string, wanted func(State) bool) {
	s.t.Helper()
	tooLong := time.After(30 * time.Second)
	for !wanted(s.keeper.State()) {
		select {
		case <-s.clock.armed:
			s.clock.fire()
		case <-s.loaded:
		case <-tooLong:
			s.t.Fatalf("%s: %+v", why, s.keeper.State())
		}
	}
}

// untilAllows returns when the policy allows service, and nothing that was asked of it before.
func (s *shelf) untilAllows(service string) {
	s.t.Helper()
	s.until(service+" is not allowed", func(state State) bool { return s.allows(service) && state.Problem == "" })
}

func (s *shelf) allows(service string) bool {
	v := vectorsSystem(s.t)
	return s.judge.Allows(v, stages.Subject{Service: service, Source: named(s.t, v, "mgmt"), Dest: named(s.t, v, "work")})
}

// rule allows service.
func rule(service string) string { return service + " * mgmt work allow target=dom0\n" }

// TestFilesAreFollowed, in whatever way they change.
func TestFilesAreFollowed(t *testing.T) {
	for name, change := range map[string]struct{ before, change func(s *shelf) }{
		"a file is written": {
			func(s *shelf) { s.write("a/1.policy", rule("old")) },
			func(s *shelf) { s.write("a/1.policy", rule("new")) },
		},
		"a file is replaced": {
			func(s *shelf) { s.write("a/1.policy", rule("old")) },
			func(s *shelf) { s.replace("a/1.policy", rule("new")) },
		},
		"a file is added": {
			func(s *shelf) { s.write("a/1.policy", rule("old")) },
			func(s *shelf) { s.write("a/2.policy", rule("new")) },
		},
		"a file is removed": {
			func(s *shelf) {
				s.write("a/1.policy", "new * * * deny\n")
				s.write("a/2.policy", rule("new")+rule("old"))
			},
			func(s *shelf) { require.NoError(s.t, os.Remove(s.at("a/1.policy"))) },
		},
		"a file can be read again": {
			func(s *shelf) {
				s.write("a/1.policy", rule("old"))
				s.point("a/2.policy", "nowhere")
			},
			func(s *shelf) { s.write("a/nowhere", rule("new")) },
		},
		"an included file is written": {
			func(s *shelf) {
				s.write("a/1.policy", rule("old")+"!include-service new * include/who\n")
				s.write("a/include/who", "")
			},
			func(s *shelf) { s.write("a/include/who", "mgmt work allow target=dom0\n") },
		},
		"an included file appears": {
			func(s *shelf) { s.write("a/1.policy", rule("old")+"!include-service new * include/who\n") },
			func(s *shelf) { s.write("a/include/who", "mgmt work allow target=dom0\n") },
		},
		"a file elsewhere that is included": {
			func(s *shelf) {
				s.write("elsewhere/deep/f", "")
				s.write("a/1.policy", rule("old")+"!include "+s.at("elsewhere/deep/f")+"\n")
			},
			func(s *shelf) { s.replace("elsewhere/deep/f", rule("new")) },
		},
		"a legacy file": {
			func(s *shelf) { s.write("a/1.policy", rule("old")+"!compat-4.0\n"); s.write("legacy/other", "") },
			func(s *shelf) { s.write("legacy/new", "mgmt work allow,target=dom0\n") },
		},
		"a directory appears": {
			func(s *shelf) { s.write("a/1.policy", rule("old")) },
			func(s *shelf) { s.write("b/c/2.policy", rule("new")) },
		},
		"the first directory appears": {
			func(s *shelf) {},
			func(s *shelf) { s.write("b/c/2.policy", rule("new")) },
		},
		"a directory is swapped": {
			func(s *shelf) { s.write("a/1.policy", rule("old")); s.write("next/1.policy", rule("new")) },
			func(s *shelf) {
				require.NoError(s.t, os.Rename(s.at("a"), s.at("last")))
				require.NoError(s.t, os.Rename(s.at("next"), s.at("a")))
			},
		},
		"a directory that was swapped before": {
			func(s *shelf) { s.write("a/1.policy", rule("old")) },
			func(s *shelf) {
				require.NoError(s.t, os.Rename(s.at("a"), s.at("last")))
				s.write("a/1.policy", rule("between"))
				s.untilAllows("between")
				s.write("a/1.policy", rule("new"))
			},
		},
		"a link to a directory": {
			func(s *shelf) {
				s.write("v1/1.policy", rule("old"))
				s.write("v2/1.policy", rule("new"))
				s.point("a", "v1")
			},
			func(s *shelf) { s.point("a", "v2") },
		},
		"a link on the way": {
			func(s *shelf) {
				s.write("v1/c/1.policy", rule("old"))
				s.write("v2/c/1.policy", rule("new"))
				s.point("v", s.at("v1"))
				s.point("b", "v")
			},
			func(s *shelf) { s.point("v", "v2") },
		},
		"a file behind a link": {
			func(s *shelf) {
				s.write("data/1", rule("old"))
				s.write("a/none", "")
				s.point("a/1.policy", "../data/1")
			},
			func(s *shelf) { s.write("data/1", rule("new")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := onShelf(t, change.before, "a", "b/c")
			require.False(t, s.allows("new"))
			change.change(s)
			s.untilAllows("new")
		})
	}
}

// TestABrokenPolicyChangesNothing: what was in force is, until the files load again. The log has all errors, and what an
// operator asks for has the first.
func TestABrokenPolicyChangesNothing(t *testing.T) {
	s := onShelf(t, func(s *shelf) { s.write("a/1.policy", rule("old")) }, "a")
	require.Equal(t, State{Generation: 1, Rules: 1, Reloaded: 1}, s.keeper.State())
	for name, spoil := range map[string]func() (mend func()){
		"two lines": func() func() {
			s.write("a/1.policy", rule("new")+"nonsense\n\nmore nonsense\n")
			return func() { s.write("a/1.policy", rule("old")) }
		},
		"a name": func() func() {
			s.write("a/Upper.policy", "")
			return func() { require.NoError(t, os.Remove(s.at("a/Upper.policy"))) }
		},
		"no directory": func() func() { // an empty policy would deny less than one with rules that deny
			require.NoError(t, os.Rename(s.at("a"), s.at("gone")))
			return func() { require.NoError(t, os.Rename(s.at("gone"), s.at("a"))) }
		},
		"a loop": func() func() {
			s.write("a/1.policy", "!include 1.policy\n"+rule("new"))
			return func() { s.write("a/1.policy", rule("old")) }
		},
		"a line too long": func() func() {
			s.write("a/1.policy", rule("new")+"# "+strings.Repeat("x", 1<<20)+"\n")
			return func() { s.write("a/1.policy", rule("old")) }
		},
		"NULs": func() func() {
			s.write("a/1.policy", rule("new")+"\x00\n")
			return func() { s.write("a/1.policy", rule("old")) }
		},
	} {
		before := s.keeper.State()
		mend := spoil()
		s.until(name, func(state State) bool { return state.Problem != "" })
		state := s.keeper.State()
		assert.Equal(t, before.Generation, state.Generation, name)
		assert.Contains(t, state.Problem, "the policy before it is in force", name)
		assert.Contains(t, state.Problem, s.root, name)
		assert.NotContains(t, state.Problem, "\n", name)
		assert.True(t, s.allows("old"), name)
		assert.False(t, s.allows("new"), name)
		lines := s.log.FilterMessage(string(telemetry.PolicyRefused)).All()
		last := lines[len(lines)-1].ContextMap()
		assert.EqualValues(t, before.Generation, last[telemetry.KeyGeneration], name)
		assert.EqualValues(t, strings.Count(last[telemetry.KeyMessage].(string), "\n")+1, last[telemetry.KeyCount], name)
		if name == "two lines" {
			assert.EqualValues(t, 2, last[telemetry.KeyCount])
			assert.True(t, strings.HasPrefix(last[telemetry.KeyPlace].(string), s.at("a/1.policy:2")), last[telemetry.KeyPlace])
			assert.Contains(t, last[telemetry.KeyMessage], s.at("a/1.policy:4"))
			assert.Contains(t, state.Problem, "(and 1 more)")
		}
		mend()
		s.until(name+" is mended", func(state State) bool { return state.Problem == "" })
		assert.True(t, s.allows("old"), name)
	}
}

// TestWithoutAPolicy everything is denied, loudly, until there is one.
func TestWithoutAPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		before func(s *shelf)
		place  string
	}{
		"no directory": {func(*shelf) {}, "a"},
		"a broken one": {func(s *shelf) { s.write("a/1.policy", rule("old")+"nonsense\n") }, "a/1.policy:2:1"},
	} {
		s := onShelf(t, c.before, "a")
		state := s.keeper.State()
		assert.Zero(t, state.Generation, name)
		assert.EqualValues(t, 1, state.Refused, name)
		assert.Contains(t, state.Problem, "every source but dom0 is denied", name)
		assert.False(t, s.allows("old"), name)
		line := s.log.FilterMessage(string(telemetry.PolicyRefused)).All()[0]
		assert.Equal(t, zapcore.ErrorLevel, line.Level, name)
		assert.Equal(t, s.at(c.place), line.ContextMap()[telemetry.KeyPlace], name)
		s.write("a/1.policy", rule("new"))
		s.untilAllows("new")
	}
}

// TestADirectoryThatWasThereIsMissed: the rules in it may have been those that deny.
func TestADirectoryThatWasThereIsMissed(t *testing.T) {
	s := onShelf(t, func(s *shelf) { s.write("a/1.policy", rule("new")); s.write("b/2.policy", "nonsense\n") }, "a", "b")
	require.NoError(t, os.RemoveAll(s.at("b")))
	s.until("it is not missed", func(state State) bool { return strings.Contains(state.Problem, s.at("b")+": directory") })
	assert.False(t, s.allows("new"))
	require.NoError(t, os.Mkdir(s.at("b"), 0o755))
	s.untilAllows("new")
}

// TestAReloadIsNoticedOnRequest, without a change and without waiting.
func TestAReloadIsNoticedOnRequest(t *testing.T) {
	s := onShelf(t, func(s *shelf) { s.write("a/1.policy", rule("old")+"!compat-4.0\n"); s.write("legacy/x", "") }, "a")
	s.keeper.Reload()
	s.until("nothing is loaded", func(state State) bool { return state.Reloaded == 2 })
	assert.EqualValues(t, 2, s.judge.Generation())
	assert.Equal(t, s.at("a/1.policy:2"), s.log.FilterMessage(string(telemetry.PolicyLegacy)).All()[0].ContextMap()[telemetry.KeyPlace])
	assert.Empty(t, s.clock.after, "nobody waits for a request")
}

// TestFilesComeToRest before they are read, but not for ever.
func TestFilesComeToRest(t *testing.T) {
	clock := newManual()
	k := &Keeper{clock: clock, cancel: func() bool { return true }, due: make(chan struct{}, 1)}
	for range 15 {
		k.changed()
		clock.now = clock.now.Add(90 * time.Millisecond)
	}
	var want []time.Duration
	for i := range 15 {
		want = append(want, max(0, min(quietFor, atMost-time.Duration(i)*90*time.Millisecond)))
	}
	assert.Equal(t, want, clock.after)
	assert.Zero(t, want[14], "the last is due at once")
	clock.fire()
	<-k.due
}

// TestWhatIsNoPolicyIsNotFollowed: what happens beside the files costs nothing.
func TestWhatIsNoPolicyIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	require.NoError(t, os.MkdirAll(at("a/include"), 0o755))
	require.NoError(t, os.WriteFile(at("a/1.policy"), []byte(rule("s")), 0o644))
	root, w := newRecorder(os.DirFS("/")), watch{}
	_, err := policy.Load(root, policy.Sources{Dirs: []string{at("a")}})
	require.NoError(t, err)
	moved, failed := w.follow(root.looked)
	assert.True(t, moved)
	assert.Empty(t, failed)
	defer w.close()
	for path, want := range map[string]bool{
		"a": true, "a/1.policy": true, "a/new.policy": true, "beside": false, "a/include/unused": false, "b/1.policy": false,
	} {
		assert.Equal(t, want, w.concerns(fsnotify.Event{Name: at(path)}), path)
	}
	moved, _ = w.follow(root.looked)
	assert.False(t, moved, "it is watched already")
}

// meddling is the file system, in which something happens before a file is opened.
type meddling struct {
	fs.StatFS
	file   string
	meddle func()
}

func (m meddling) Open(name string) (fs.File, error) {
	if "/"+name == m.file {
		m.meddle()
	}
	return m.StatFS.Open(name)
}

// TestAPolicyIsOfOneMoment: no load puts a part of one policy and a part of another into force.
func TestAPolicyIsOfOneMoment(t *testing.T) {
	for name, c := range map[string]struct {
		times int // that the directory is swapped while it is read
		want  State
	}{
		"once":           {1, State{Generation: 1, Rules: 3, Reloaded: 1}},
		"all the time":   {1000, State{Refused: 1}},
		"at another one": {0, State{Generation: 1, Rules: 0, Reloaded: 1}},
	} {
		s := &shelf{t: t, root: t.TempDir(), clock: newManual(), judge: New()}
		s.write("v1/1.policy", "mixed * * * deny\n")
		s.write("v1/2.policy", rule("mixed")+rule("one"))
		s.write("v2/1.policy", "\n")
		s.write("v2/2.policy", "\n")
		s.point("a", "v2")
		swaps := 0
		root := meddling{os.DirFS("/").(fs.StatFS), s.at("a/2.policy"), func() {
			if swaps++; swaps <= c.times {
				s.point("a", []string{"v2", "v1"}[swaps%2])
			}
		}}
		k := keep(s.judge, root, policy.Sources{Dirs: []string{s.at("a")}}, telemetry.Log{}, s.clock)
		state := k.State()
		assert.NoError(t, k.Close())
		assert.Equal(t, c.times > 1, strings.Contains(state.Problem, "change while they are read"), name)
		assert.Equal(t, c.times > 1, len(s.clock.after) > 0, "%s: they are read again", name)
		state.Problem = ""
		assert.Equal(t, c.want, state, name)
		assert.False(t, s.allows("mixed"), name)
		assert.Equal(t, c.times == 1, s.allows("one"), name)
	}
}

// TestLooks: what is another thing than it was when it was looked at has moved, even if it was looked at again since.
func TestLooks(t *testing.T) {
	s := &shelf{t: t, root: t.TempDir()}
	for name, change := range map[string]func(){
		"a file is written":  func() { s.write("f", "longer than before") },
		"a file is replaced": func() { s.replace("f", "one") },
		"a file is gone":     func() { require.NoError(t, os.Remove(s.at("f"))) },
		"a file appears":     func() { s.write("none", "") },
		"an entry appears":   func() { s.write("d/e", "") },
		"nothing":            func() {},
	} {
		require.NoError(t, os.RemoveAll(s.at("d")))
		_ = os.Remove(s.at("none"))
		s.write("f", "one")
		s.write("d/c", "")
		long := time.Unix(1e9, 0) // ago: some kernels' clocks for files are coarse
		require.NoError(t, os.Chtimes(s.at("d"), long, long))
		looks := func(r *recorder) {
			if f, err := r.Open(inFS(s.at("f"))); err == nil {
				assert.NoError(t, f.Close())
			}
			_, _ = r.Stat(inFS(s.at("none")))
			_, err := r.ReadDir(inFS(s.at("d")))
			assert.NoError(t, err)
		}
		once, twice := newRecorder(os.DirFS("/")), newRecorder(os.DirFS("/"))
		looks(once)
		looks(twice)
		assert.False(t, once.moved() || twice.moved(), name)
		change()
		looks(twice)
		assert.Equal(t, name != "nothing", once.moved(), name)
		assert.Equal(t, name != "nothing", twice.moved(), "%s, twice", name)
	}
	s.write("f", "one") // whichever of the above came last
	_, err := newRecorder(os.DirFS("/")).ReadDir(inFS(s.at("f")))
	assert.ErrorIs(t, err, syscall.ENOTDIR)
}
