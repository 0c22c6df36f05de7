package judge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/internal/policy"
	"sallyport/internal/telemetry"
)

// Clock is the time. Tests hand in a virtual one. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	// AfterFunc calls fn on a goroutine of its own after d. stop is like time.Timer's Stop.
	AfterFunc(d time.Duration, fn func()) (stop func() bool)
}

// Files that change are read again when nothing more has changed for a while, but without end only so long: who writes
// many of them wants all of them or none.
const (
	quietFor = 100 * time.Millisecond
	atMost   = time.Second
)

// Keeper keeps a Judge's policy as its files say: it loads them, watches them, and loads them again. A policy that does not
// load never takes the place of one that did. Its methods may be called by many goroutines.
type Keeper struct {
	judge   *Judge
	root    fs.FS // whose root is the root directory
	sources policy.Sources
	log     telemetry.Log
	clock   Clock

	asked, due  chan struct{} // to load
	stop, ended chan struct{}

	// Of the goroutine that loads.
	watch  watch
	relied map[string]bool // directories of the policy in force: that one is gone is no policy without it
	since  time.Time       // of the first change that is not loaded yet; zero: there is none
	cancel func() bool     // stops the clock until due

	mu    sync.Mutex
	state State
}

// State is what an operator wants to know.
type State struct {
	Generation        uint64 // of the policy in force; 0: there is none, and every source but dom0 is denied
	Rules             int    // of the policy in force
	Reloaded, Refused uint64 // loads
	Problem           string // why what the files say is not in force; empty: it is. It quotes them.
	Unwatched         string // why changes are not noticed; empty: they are
}

// Keep loads the policy of sources, which are absolute paths, into judge, and goes on doing so until Close. Of the
// directories, those that do not exist yet are no part of it until they do.
func Keep(judge *Judge, sources policy.Sources, log telemetry.Log, clock Clock) *Keeper {
	return keep(judge, os.DirFS("/"), sources, log, clock)
}

func keep(judge *Judge, root fs.FS, sources policy.Sources, log telemetry.Log, clock Clock) *Keeper {
	k := &Keeper{
		judge: judge, root: root, sources: sources, log: log, clock: clock, relied: map[string]bool{}, cancel: func() bool { return true },
		asked: make(chan struct{}, 1), due: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	k.load()
	go k.run()
	return k
}

// Reload has the files read again soon, whether or not anything has changed.
func (k *Keeper) Reload() { poke(k.asked) }

// State is how things are.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Close ends the watch. The Judge goes on by what it has. It is called once.
func (k *Keeper) Close() error {
	close(k.stop)
	<-k.ended
	return nil
}

func (k *Keeper) run() {
	defer close(k.ended)
	defer k.watch.close()
	for {
		select {
		case <-k.stop:
			k.cancel()
			return
		case <-k.asked:
			k.load()
		case <-k.due:
			k.load()
		case e := <-k.watch.events():
			if k.watch.concerns(e) {
				k.changed()
			}
		case <-k.watch.errors(): // events were lost, and perhaps one of them matters
			k.changed()
		}
	}
}

// changed has the files read when they have come to rest.
func (k *Keeper) changed() {
	now := k.clock.Now()
	if k.since.IsZero() {
		k.since = now
	}
	k.cancel()
	k.cancel = k.clock.AfterFunc(max(0, min(quietFor, k.since.Add(atMost).Sub(now))), func() { poke(k.due) })
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is asked for already
	}
}

// rounds is how often files are read again because they changed meanwhile, or because others have to be watched than before.
const rounds = 4

// load reads the files. What it puts into force is one policy, as the files were at one moment, and what changes from then on
// is noticed: they are read once more after the watch began that is meant for them.
func (k *Keeper) load() {
	k.cancel()
	k.since = time.Time{}
	began := k.clock.Now()
	for round := 1; ; round++ {
		root := newRecorder(k.root)
		sources := k.present(root)
		p, err := loadFrom(root, sources)
		unseen, unwatched := k.watch.follow(root.looked)
		moved := root.moved()
		if (moved || unseen) && round < rounds {
			continue
		}
		if moved {
			err = errMoving
		}
		k.conclude(p, sources, err, unwatched, k.clock.Now().Sub(began))
		if moved || unseen { // somebody is at work
			k.changed()
		}
		return
	}
}

var errMoving = errors.New("the files of the policy change while they are read; they are read again soon")

var errNoDirectory = errors.New("none of the directories of the policy exists")

func loadFrom(root *recorder, s policy.Sources) (*policy.Policy, error) {
	if len(s.Dirs) == 0 {
		return nil, errNoDirectory
	}
	return policy.Load(root, s)
}

// present are the sources without the directories that have yet to appear.
func (k *Keeper) present(root *recorder) policy.Sources {
	s := k.sources
	s.Dirs = slices.DeleteFunc(slices.Clone(s.Dirs), func(dir string) bool {
		_, err := root.Stat(inFS(dir))
		return errors.Is(err, os.ErrNotExist) && !k.relied[dir]
	})
	return s
}

// conclude puts a policy that loaded into force, and tells the log either way.
func (k *Keeper) conclude(p *policy.Policy, s policy.Sources, err error, unwatched string, took time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state.Unwatched = unwatched
	if err != nil {
		k.state.Refused++
		k.state.Problem = k.problem(err)
		at, count := k.placeOf(err)
		k.log.PolicyRefused(at, err.Error(), count, k.judge.Generation())
		return
	}
	k.judge.Use(p)
	for _, dir := range s.Dirs {
		k.relied[dir] = true
	}
	k.state.Reloaded++
	k.state.Generation, k.state.Rules, k.state.Problem = k.judge.Generation(), len(p.Rules()), ""
	k.log.PolicyReloaded(k.state.Rules, k.state.Generation, took)
	for _, at := range p.Legacy() {
		k.log.PolicyLegacy(at.String())
	}
}

// problem is err in one line, and what it means.
func (k *Keeper) problem(err error) string {
	first := err
	more := ""
	var all policy.LoadErrors
	if errors.As(err, &all) {
		if first = all[0]; len(all) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(all)-1)
		}
	}
	goesOn := "the policy before it is in force"
	if k.judge.Generation() == 0 {
		goesOn = "every source but dom0 is denied"
	}
	return fmt.Sprintf("the policy does not load: %s%s; %s", first, more, goesOn)
}

// placeOf is where the first error is, and how many there are.
func (k *Keeper) placeOf(err error) (at string, count int) {
	var all policy.LoadErrors
	if errors.As(err, &all) {
		return all[0].At.String(), len(all)
	}
	return strings.Join(k.sources.Dirs, ", "), 1
}
