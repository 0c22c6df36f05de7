package twoworlds

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
)

// scripted is a stages.Judge that does what the test says when it is asked.
type scripted struct {
	generation atomic.Uint64
	allows     atomic.Pointer[func(source, method string, dest qube.Qube) bool]
}

func newScripted(allows func(source, method string, dest qube.Qube) bool) *scripted {
	j := &scripted{}
	j.set(allows)
	return j
}

// set is a reload of the policy.
func (j *scripted) set(allows func(source, method string, dest qube.Qube) bool) {
	j.allows.Store(&allows)
	j.generation.Add(1)
}

func (j *scripted) Generation() uint64 { return j.generation.Load() }

func (j *scripted) Allows(_ qube.View, s stages.Subject) bool {
	return (*j.allows.Load())(s.Source.Shown(), s.Service, s.Dest)
}

func (j *scripted) Mask(v qube.View, source, dest qube.Qube) qube.View {
	allows, who := *j.allows.Load(), source.Shown()
	return permission.Masked(v, permission.Sight{Qube: func(q qube.Qube) bool { return allows(who, "admin.vm.List", q) }, Dest: dest})
}

// move is something that happens between the doors: after a call was judged, and before the ledger has it.
type move struct {
	what   string
	event  string    // of the last of by, at which the ledger is held until the call was judged
	by     []request // done by dom0
	policy bool      // the policy is replaced as well, by one that forbids everything
	fits   func(stages.Entry) bool
}

var moves = []move{
	{"removed and made anew", "domain-add", []request{
		{"dom0", "admin.vm.Remove", "{X}", ""}, {"dom0", "admin.vm.Create.AppVM+base", "dom0", "name={X} label=red"},
	}, false, func(e stages.Entry) bool { return e.Dest != stages.OnlyAdminVM && !runs[e.Name] }},
	{"the tag is taken away", "domain-tag-delete:may", []request{{"dom0", "admin.vm.tag.Remove+may", "{X}", ""}}, false, func(stages.Entry) bool { return true }},
	{"the policy is another", "domain-feature-pre-delete:none", []request{ // which fails, so that the inventory is as it was
		{"dom0", "admin.vm.feature.Remove+none", "mgmt", ""},
	}, true, func(stages.Entry) bool { return true }},
}

// runs are the methods that are refused at once of a qube that is halted, so that it cannot be removed meanwhile.
var runs = map[string]bool{
	"admin.vm.Shutdown": true, "admin.vm.Pause": true, "admin.vm.Unpause": true, "admin.vm.Suspend": true, "admin.vm.Resume": true,
	"admin.vm.Kill": true, "admin.vm.Console": true,
}

// TestJudgedAgain: a verdict that held when it was given, and holds no more when the ledger has the call, is none. That
// is so for every method that changes something or works, and it leaves nothing behind (design: 6).
func TestJudgedAgain(t *testing.T) {
	for _, m := range moves {
		t.Run(m.what, func(t *testing.T) {
			for _, e := range methods.All() {
				if t.Failed() {
					return
				}
				if (e.Kind == stages.Changes || e.Kind == stages.Works) && m.fits(e) && !strings.HasSuffix(e.Name, ".AdminVM") {
					judgedAgain(t, m, e)
				}
			}
		})
	}
}

func judgedAgain(t *testing.T, m move, e stages.Entry) {
	a := calls[e.Name]
	victim := a.dest
	switch { // one that can be removed, or is in the state that the method is for
	case e.Name == "admin.vm.CreateDisposable":
		victim = "idle"
	case runs[e.Name]:
		victim = "net"
	}
	r := request{source, call(e.Name, a.arg), victim, a.payload}

	var events [2]string
	for i, calls := range []bool{false, true} {
		// The ledger is held by a reaction to the last of what happens.
		held, release, judged := make(chan bool), make(chan bool), make(chan bool, 1)
		j := newScripted(func(who, method string, dest qube.Qube) bool {
			if who == source && method == e.Name {
				select {
				case judged <- true:
				default:
				}
			}
			return dest.HasTag(must(qube.ParseTag("may"))) || method == "admin.Events"
		})
		w := begin(t, options{inventory: kind{}.inventory(false), judge: j, quiet: true, reaction: qube.Reaction{
			On: m.event, React: func(qube.Tx, qube.Event) error { held <- true; <-release; return nil },
		}})
		w.dom0("admin.vm.tag.Set+may", victim, "")
		if e.Name == "admin.vm.Unpause" || e.Name == "admin.vm.Resume" {
			w.dom0("admin.vm.Pause", victim, "")
		}
		s := w.subscribe("dom0")

		w.store.open.Lock() // so that what happens is not published before the call is judged
		moved, replied := make(chan string, len(m.by)), make(chan string, 1)
		ask := func(r request, into chan<- string) {
			r.dest, r.payload = named(r.dest, victim), named(r.payload, victim)
			into <- w.call(r)
		}
		for n, by := range m.by {
			go ask(by, moved)
			if n == len(m.by)-1 {
				wait(t, held)
			} else {
				require.Eventually(t, func() bool { return w.store.waits() }, patience, time.Millisecond)
			}
		}
		if calls {
			go ask(r, replied)
			wait(t, judged)
		}
		if m.policy {
			j.set(func(_, method string, _ qube.Qube) bool { return method == "admin.Events" })
		}
		close(release)
		if calls {
			select {
			case frame := <-replied: // nothing has to be written for it
				assert.Equal(t, string(exception.Denied.AppendFrame(nil)), frame, "%s: %+v", m.what, r)
			case <-time.After(patience / 2):
				assert.Fail(t, "was not refused", "%s: %+v", m.what, r)
			}
		}
		w.store.open.Unlock()
		for range m.by {
			assert.Equal(t, m.policy, strings.HasPrefix(<-moved, "2\x00QubesFeatureNotFoundError"))
		}
		if t.Failed() {
			w.stop()
			return
		}
		events[i] = strings.Join(s.sinceLast("mgmt"), "\n")
		w.stop()
	}
	assert.Equal(t, events[0], events[1], "%s: %+v has left something behind", m.what, r)
}

func wait(t *testing.T, what <-chan bool) {
	select {
	case <-what:
	case <-time.After(patience):
		require.Fail(t, "it does not happen")
	}
}
