package actors

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	durable "sallyport/internal/inventory"
	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	acts "sallyport/stages/action"
	"sallyport/stages/methods"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// These tests follow the real API's events, over real sockets, out of the real inventory.

// shelf is a store in memory, from which an inventory can be opened again.
type shelf struct {
	revision qube.Revision
	records  map[string][]byte
}

func (s *shelf) Load() (qube.Revision, iter.Seq2[durable.Record, error], error) {
	return s.revision, func(yield func(durable.Record, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(s.records)) {
			if !yield(durable.Record{Key: key, Value: s.records[key]}, nil) {
				return
			}
		}
	}, nil
}

func (s *shelf) Commit(_, next qube.Revision, records []durable.Record) error {
	if s.records == nil {
		s.records = map[string][]byte{}
	}
	for _, r := range records {
		if s.records[r.Key] = r.Value; r.Deleted {
			delete(s.records, r.Key)
		}
	}
	s.revision = next
	return nil
}

func (s *shelf) Close() error { return nil }

// usage is what the qubes of a test use.
type usage struct {
	now atomic.Pointer[map[string]qube.Usage]
}

func (u *usage) Usage(id qube.UUID) qube.Usage {
	if now := u.now.Load(); now != nil {
		return (*now)[id.Shown()]
	}
	return qube.Usage{}
}

const system = `version: 1
qubes:
  - {name: tmpl, class: TemplateVM, label: black}
  - {name: work, class: AppVM, label: blue, properties: {template: tmpl}, state: Running, uuid: 11111111-0000-4000-8000-000000000000}
  - {name: vault, class: AppVM, label: gray, properties: {template: tmpl}, uuid: 22222222-0000-4000-8000-000000000000}
`

// aired is a daemon whose events can be followed.
func aired(t *testing.T, store durable.Store, change func(*Settings)) *live {
	return metered(t, store, &usage{}, change)
}

func metered(t *testing.T, store durable.Store, u *usage, change func(*Settings)) *live {
	file := filepath.Join(t.TempDir(), "system.yaml")
	require.NoError(t, os.WriteFile(file, []byte(system), 0o600))
	book, _, err := durable.Open(store, func() (*durable.Snapshot, error) { return durable.FromFile(file, properties.Schema{}) }, durable.Options{Reactions: reactions.All(), Meter: u})
	require.NoError(t, err)
	return serve(t, func(s *Settings) {
		s.Book, s.Catalogue = book, stages.NewCatalogue(append(methods.All(), causes...)...)
		change(s)
	})
}

// causes are methods that make events happen for which there is no shorter way.
var causes = []stages.Entry{
	change("test.Burst", func(tx qube.Tx, g grant) error { // so many, of a kilobyte each
		n := must(strconv.Atoi(g.Arg()))
		for i := range n {
			if err := tx.Fire(qube.Event{Subject: g.Dest().Name(), Name: "burst:" + strconv.Itoa(i), Args: []qube.EventArg{{Key: "long", Value: kilobyte}}}); err != nil {
				return err
			}
		}
		return nil
	}),
	change("test.Tag", func(tx qube.Tx, g grant) error { return acts.AddTag(tx, g.Dest(), must(qube.ParseTag(g.Arg()))) }),
	change("test.Untag", func(tx qube.Tx, g grant) error { return acts.RemoveTag(tx, g.Dest(), must(qube.ParseTag(g.Arg()))) }),
	change("test.Fire", func(tx qube.Tx, g grant) error { // an event of the destination
		return tx.Fire(qube.Event{Subject: g.Dest().Name(), Name: g.Arg(), Args: []qube.EventArg{{Key: "said", Value: "a\u00e9\x00b"}, {Key: "", Value: "x"}}})
	}),
	change("test.FireSystem", func(tx qube.Tx, g grant) error {
		return tx.Fire(qube.Event{Name: g.Arg()})
	}),
	change("test.Add", func(tx qube.Tx, g grant) error {
		q, err := tx.AddQube(qube.NewQube{Name: must(qube.ParseName(g.Arg())), Class: qube.AppVM, Label: must(qube.ParseLabelName("red"))})
		if err != nil {
			return err
		}
		return tx.Fire(qube.Event{Name: "domain-add", Args: []qube.EventArg{{Key: "vm", Value: q.Shown()}}})
	}),
	change("test.Remove", func(tx qube.Tx, g grant) error {
		args := []qube.EventArg{{Key: "vm", Value: g.Dest().Shown()}}
		if err := tx.Fire(qube.Event{Name: "domain-pre-delete", Args: args, Pre: true}); err != nil {
			return err
		}
		if err := tx.RemoveQube(g.Dest().ID()); err != nil {
			return err
		}
		if err := tx.Fire(qube.Event{Name: "domain-delete", Args: args}); err != nil {
			return err
		}
		return tx.Fire(qube.Event{Subject: g.Dest().Name(), Name: "domain-remove-from-disk"})
	}),
	change("test.SetState", func(tx qube.Tx, g grant) error {
		return tx.SetRuntime(g.Dest().ID(), qube.Runtime{State: qube.PowerState(g.Arg())})
	}),
	change("test.Interval", func(tx qube.Tx, g grant) error {
		return tx.SetGlobal(must(qube.ParsePropertyName("stats_interval")), must(qube.ParsePropertyValue(g.Arg())))
	}),
}

var kilobyte = strings.Repeat("x", 1024)

func change(name string, do func(qube.Tx, grant) error) stages.Entry {
	return declare(name, func(m *method) {
		m.Access = stages.Write
		m.Change = func(tx qube.Tx, g grant) (messages.Reply, error) { return messages.Empty, do(tx, g) }
	})
}

// must makes a call that is answered with OK.
func (l *live) must(method, dest, payload string) {
	l.t.Helper()
	require.Empty(l.t, l.call(method, dest, payload).Type, "%s %s", method, dest)
}

// follower is a client of a stream.
type follower struct {
	*client
	frames *bufio.Reader
}

// follow begins a stream, and reads its first event, which it also gives.
func (l *live) follow(source, method, dest string) (*follower, string) {
	l.t.Helper()
	f := l.open(source, method, dest)
	return f, f.next()
}

func (l *live) open(source, method, dest string) *follower {
	c := l.dial(stages.Admin).send(messages.FormatRequest(method, source, dest, nil)).end()
	l.t.Cleanup(func() { _ = c.Close() })
	return &follower{c, bufio.NewReaderSize(c, 1<<16)}
}

// next is the next event: SUBJECT EVENT KEY=VALUE..., the system being "-".
func (f *follower) next() string {
	f.t.Helper()
	if tag, err := f.frames.Peek(2); err == nil && string(tag) == "2\x00" {
		b, _ := io.ReadAll(f.frames)
		require.Fail(f.t, "an exception, and no event", "%q", b)
	}
	e, err := messages.ReadEvent(f.frames)
	require.NoError(f.t, err)
	return text(e)
}

func (f *follower) expect(events ...string) {
	f.t.Helper()
	for _, e := range events {
		require.Equal(f.t, e, f.next())
	}
}

// here is what has arrived and was not read yet, in bytes.
func (f *follower) here() int { return f.frames.Buffered() + f.bytes(unix.SIOCINQ) }

// rest is all that the stream still says: events, and then the type of an exception, or nothing.
func (f *follower) rest() (events []string, end messages.Answer) {
	f.t.Helper()
	for {
		switch tag, err := f.frames.Peek(2); {
		case err == io.EOF && len(tag) == 0:
			return events, end
		case err == nil && string(tag) == "1\x00":
			events = append(events, f.next())
		default:
			require.NoError(f.t, err)
			b, err := io.ReadAll(f.frames)
			require.NoError(f.t, err)
			return events, must(messages.ParseAnswer(b))
		}
	}
}

func text(e messages.Event) string {
	parts := []string{e.Subject, e.Name}
	if e.Subject == "" {
		parts[0] = "-"
	}
	for _, a := range e.Args {
		parts = append(parts, a.Key+"="+a.Value)
	}
	return strings.Join(parts, " ")
}

const established = "- connection-established"

// TestEventsArePartOfTheCall: whoever follows has them, in order, before the call that caused them is answered.
func TestEventsArePartOfTheCall(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	var all []*follower
	for range 8 {
		f, first := l.follow("dom0", "admin.Events", "dom0")
		require.Equal(t, established, first)
		all = append(all, f)
	}
	for i := range 50 {
		value := strconv.Itoa(i)
		l.must("admin.vm.feature.Set+a", "work", value)
		for _, f := range all {
			require.Positive(t, f.here(), "there before the reply")
			old := ""
			if i > 0 {
				old = " oldvalue=" + strconv.Itoa(i-1)
			}
			f.expect("work domain-feature-pre-set:a feature=a value="+value+old, "work domain-feature-set:a feature=a value="+value+old)
		}
	}
	l.must("test.Fire+x", "work", "")
	all[0].expect("work x said=a?b")
	assert.EqualValues(t, 8, l.Stats().Streams)
}

// TestAFailedCallTellsItsAnnouncements, in their place, and without a revision.
func TestAFailedCallTellsItsAnnouncements(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	plain, _ := l.follow("dom0", "admin.Events", "dom0")
	numbered, first := l.follow("dom0", "admin.Events+from-now", "dom0")
	now := revisionOf(t, first)
	l.must("test.Tag+a", "work", "")
	assert.Equal(t, "QubesFeatureNotFoundError", l.call("admin.vm.feature.Remove+no", "work", "").Type)
	l.must("test.Tag+b", "work", "")
	plain.expect("work domain-tag-add:a tag=a", "work domain-feature-pre-delete:no feature=no", "work domain-tag-add:b tag=b")
	numbered.expect(fmt.Sprintf("work domain-tag-add:a tag=a revision=%d", now+1), "work domain-feature-pre-delete:no feature=no",
		fmt.Sprintf("work domain-tag-add:b tag=b revision=%d", now+2))
}

func revisionOf(t require.TestingT, event string) int {
	_, text, ok := strings.Cut(event, "revision=")
	require.True(t, ok, event)
	return must(strconv.Atoi(text))
}

// TestOneQubesEvents end with it, whoever gets its name; its stream does not.
func TestOneQubesEvents(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	all, _ := l.follow("dom0", "admin.Events", "dom0")
	l.must("test.Add+new", "dom0", "")
	one, first := l.follow("dom0", "admin.Events", "new")
	assert.Equal(t, established, first)
	l.must("test.Tag+a", "new", "")
	l.must("test.Tag+b", "work", "")
	l.must("test.Remove", "new", "")
	l.must("test.Add+new", "dom0", "")
	l.must("test.Tag+c", "new", "")
	all.expect("- domain-add vm=new", "new domain-tag-add:a tag=a", "work domain-tag-add:b tag=b",
		"- domain-pre-delete vm=new", "- domain-delete vm=new", "- domain-add vm=new", "new domain-tag-add:c tag=c")
	one.expect("new domain-tag-add:a tag=a")
	assert.Zero(t, one.here())
	assert.EqualValues(t, 2, l.Stats().Streams)
}

// TestHiddenEvents are sent to nobody; of the system, nothing is hidden.
func TestHiddenEvents(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	f, _ := l.follow("dom0", "admin.Events", "dom0")
	hidden := []string{"admin-permission:admin.vm.List", "device-get:pci", "device-list:pci", "device-list-attached:pci", "domain-is-fully-usable", "features-request"}
	for _, e := range append(hidden, "device-list-change:pci", "domain-is-fully-usable2") {
		l.must("test.Fire+"+e, "work", "")
	}
	f.expect("work device-list-change:pci said=a?b", "work domain-is-fully-usable2 said=a?b")
	for _, e := range hidden {
		l.must("test.FireSystem+"+e, "dom0", "")
		f.expect("- " + e)
	}
}

// TestWhereAStreamBegins: anything that is not from-now or from- and a revision is refused, and so is a revision from
// which one cannot go on, with the oldest or the newest from which one can.
func TestWhereAStreamBegins(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	for _, arg := range []string{"from", "from-", "from-x", "from--1", "from-1.0", "from-18446744073709551616", "now", "from-now-", "x"} {
		assert.Equal(t, string(exception.ProtocolError), l.call("admin.Events+"+arg, "dom0", "").Type, arg)
	}
	assert.Equal(t, []string{"0", "1"}, l.call("admin.Events+from-0", "dom0", "").Fields)
	assert.Equal(t, []string{"99", "1"}, l.call("admin.Events+from-99", "dom0", "").Fields)
	_, first := l.follow("dom0", "admin.Events+from-1", "dom0")
	assert.Equal(t, established+" revision=1", first)
	assert.EqualValues(t, 1, l.Stats().Streams)
}

// rules is a Judge of a test: it allows a call if allows does.
type rules struct {
	everything
	allows func(method, source, dest, arg string) bool
}

type everything struct{}

func (everything) Generation() uint64                         { return 0 }
func (everything) Mask(v qube.View, _, _ qube.Qube) qube.View { return v }
func (r rules) Allows(_ qube.View, s stages.Subject) bool {
	return r.allows(s.Service, s.Source.Shown(), s.Dest.Shown(), s.Arg)
}

// TestPolicySelectsEvents: by the name of the event as the argument, on the qube that the event is about, or dom0; about a
// removal as long as the qube was there, about an addition once it is (spec: extensions.md 3). A handler's filter comes on
// top, for dom0 too.
func TestPolicySelectsEvents(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]bool{}
	filter := stages.Handler{Methods: []string{"admin.Events"}, Check: func(stages.Facts) (stages.Filter, error) {
		return func(item qube.Noun) bool { return item.(qube.Event).Name != "domain-tag-add:filtered" }, nil
	}}
	l := aired(t, &shelf{}, func(s *Settings) {
		s.Gate = stages.NewGate(rules{allows: func(method, source, dest, arg string) bool {
			mu.Lock()
			defer mu.Unlock()
			if arg != "" {
				asked[source+" "+dest+" "+arg] = true
			}
			return method != "admin.Events" || arg == "" || dest != "vault" && dest != "" && arg != "secret"
		}}, filter)
	})
	dom0, _ := l.follow("dom0", "admin.Events", "dom0")
	work, first := l.follow("work", "admin.Events", "dom0")
	assert.Equal(t, established, first, "which no policy is asked of")
	l.must("test.Tag+a", "work", "")
	l.must("test.Tag+b", "vault", "")
	l.must("test.Tag+filtered", "work", "")
	l.must("test.FireSystem+secret", "dom0", "")
	l.must("test.FireSystem+property-set:x", "dom0", "")
	l.must("test.Add+new", "dom0", "")
	l.must("test.Remove", "new", "")
	l.must("test.Remove", "vault", "")
	dom0.expect("work domain-tag-add:a tag=a", "vault domain-tag-add:b tag=b", "- secret", "- property-set:x",
		"- domain-add vm=new", "- domain-pre-delete vm=new", "- domain-delete vm=new", "- domain-pre-delete vm=vault", "- domain-delete vm=vault")
	work.expect("work domain-tag-add:a tag=a", "- property-set:x", "- domain-add vm=new", "- domain-pre-delete vm=new", "- domain-delete vm=new")
	assert.Zero(t, work.here())
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{
		"work dom0 property-set_x", "work dom0 secret", "work new domain-add", "work new domain-delete", "work new domain-pre-delete",
		"work vault domain-delete", "work vault domain-pre-delete", "work vault domain-tag-add_b", "work work domain-tag-add_a", "work work domain-tag-add_filtered",
	}, slices.Sorted(maps.Keys(asked)))
}

// TestAFilterThatPanics costs its subscriber his stream, and nobody anything else.
func TestAFilterThatPanics(t *testing.T) {
	filter := stages.Handler{Methods: []string{"admin.Events"}, Check: func(f stages.Facts) (stages.Filter, error) {
		if f.Source.Shown() == "dom0" {
			return nil, nil
		}
		return func(item qube.Noun) bool {
			if item.(qube.Event).Name == "domain-tag-add:fatal" {
				crashing(secret, "")
			}
			return true
		}, nil
	}}
	l := aired(t, &shelf{}, func(s *Settings) {
		s.Gate = stages.NewGate(rules{allows: func(_, _, _, _ string) bool { return true }}, filter)
	})
	well, _ := l.follow("dom0", "admin.Events", "dom0")
	ill, _ := l.follow("work", "admin.Events", "dom0")
	l.must("test.Tag+a", "work", "")
	l.must("test.Tag+fatal", "work", "")
	l.must("test.Tag+b", "work", "")
	well.expect("work domain-tag-add:a tag=a", "work domain-tag-add:fatal tag=fatal", "work domain-tag-add:b tag=b")
	events, end := ill.rest()
	assert.Equal(t, []string{"work domain-tag-add:a tag=a"}, events)
	lines := l.log.lines(telemetry.ActorCrashed)
	require.Len(t, lines, 1)
	assert.Equal(t, lines[0][telemetry.KeyIncident], incidentOf(t, end))
	healthy, _ := l.Healthy()
	assert.True(t, healthy)
	assert.EqualValues(t, 1, l.Stats().Streams)
}

// TestAReaderThatFallsBehind is cut off between two events, and told so; others are sent everything, and what waited for it
// is freed.
func TestAReaderThatFallsBehind(t *testing.T) {
	l := aired(t, &shelf{}, func(s *Settings) { s.Backlog = 1 << 16 })
	reads, _ := l.follow("dom0", "admin.Events", "dom0")
	lazy, _ := l.follow("dom0", "admin.Events+from-now", "dom0")
	for n := 0; l.Stats().StreamsCut == 0; n++ {
		require.Less(t, n, 1000, "it is cut off some time")
		l.must("test.Burst+8", "work", "")
		for i := range 8 {
			reads.expect("work burst:" + strconv.Itoa(i) + " long=" + kilobyte)
		}
	}
	assert.EqualValues(t, 1, l.Stats().Streams)
	l.must("test.Tag+after", "work", "")
	reads.expect("work domain-tag-add:after tag=after")
	events, end := lazy.rest()
	assert.NotEmpty(t, events)
	last := revisionOf(t, events[len(events)-1])
	assert.Equal(t, answerOf(errBehind), end)
	until(t, func() bool { return l.Stats().Open == 1 })
	cut, done := l.log.lines(telemetry.StreamCut), l.log.lines(telemetry.RequestDone)
	require.Len(t, cut, 1)
	assert.EqualValues(t, []any{"admin.Events", "dom0", "dom0"}, []any{cut[0][telemetry.KeyMethod], cut[0][telemetry.KeySource], cut[0][telemetry.KeyDest]})
	line := done[slices.IndexFunc(done, func(l line) bool { return l[telemetry.KeyErrorType] != nil })]
	assert.Equal(t, []any{telemetry.Refused, "QubesException", float64(len(events) + 1)}, []any{line[telemetry.KeyOutcome], line[telemetry.KeyErrorType], line[telemetry.KeyEvents]})

	again, _ := l.follow("dom0", "admin.Events+from-"+strconv.Itoa(last), "dom0")
	for next := again.next(); !strings.Contains(next, "tag=after"); next = again.next() {
		last++
		require.Equal(t, last, revisionOf(t, next), "it goes on where it was cut off")
	}
}

// TestAReaderThatIsCutOffAndGone holds nothing any longer than a reader of a reply does.
func TestAReaderThatIsCutOffAndGone(t *testing.T) {
	l := aired(t, &shelf{}, func(s *Settings) { s.Backlog = 1 << 16 })
	l.follow("dom0", "admin.Events", "dom0")
	for l.Stats().StreamsCut == 0 {
		l.must("test.Burst+32", "work", "")
	}
	assert.Equal(t, 1, l.waiting())
	l.clock.advance(30 * time.Second)
	until(t, func() bool { return l.Stats().Open == 0 })
	assert.EqualValues(t, 1, l.Stats().Gone)
}

// TestALongHistory is read in full by whoever reads it, however much more than a backlog that is, while changes go on.
func TestALongHistory(t *testing.T) {
	l := aired(t, &shelf{}, func(s *Settings) { s.Backlog = 1 << 16 })
	for range 30 {
		l.must("test.Burst+32", "work", "")
	}
	f := l.open("dom0", "admin.Events+from-1", "dom0")
	f.answered()
	const more = 50
	for range more { // while it has most of the history before it
		l.must("test.Tag+a", "work", "")
		l.must("test.Untag+a", "work", "")
	}
	f.expect(established + " revision=1")
	last := 1
	for range 30*32 + 2*more {
		last++
		require.Equal(t, last, revisionOf(t, f.next()))
	}
	l.must("test.Tag+b", "work", "")
	require.Positive(t, f.here(), "it has caught up: before the reply")
	f.expect(fmt.Sprintf("work domain-tag-add:b tag=b revision=%d", last+1))
	assert.Zero(t, l.Stats().StreamsCut)
}

// forgetful is a Book that has forgotten everything as soon as it is told to.
type forgetful struct {
	qube.Book
	now atomic.Bool
}

func (b *forgetful) Since(r qube.Revision) ([]qube.Batch, error) {
	if b.now.Load() {
		return nil, exception.New(exception.QubesException, "it is forgotten")
	}
	return b.Book.Since(r)
}

// TestAReaderThatIsOvertaken by the forgetting of what it has before it is told so, between two events.
func TestAReaderThatIsOvertaken(t *testing.T) {
	var book *forgetful
	l := aired(t, &shelf{}, func(s *Settings) { book = &forgetful{Book: s.Book}; s.Book = book })
	for range 30 {
		l.must("test.Burst+32", "work", "")
	}
	f := l.open("dom0", "admin.Events+from-1", "dom0")
	f.answered()
	until(t, func() bool { return l.watchedFor(f) })
	book.now.Store(true)
	events, end := f.rest()
	assert.NotEmpty(t, events)
	assert.Less(t, len(events), 30*32)
	assert.Equal(t, "it is forgotten", end.Format)
}

// watchedFor reports whether the daemon waits for the one stream's client to take more.
func (l *live) watchedFor(*follower) bool {
	l.watched.mu.Lock()
	defer l.watched.mu.Unlock()
	return slices.ContainsFunc(l.watched.byFD, func(r *request) bool { return r != nil && r.line.events != 0 && !r.line.standing })
}

// TestHowAStreamEnds: not with the half-close that ended the request, but when the client has left, and at once when the
// daemon is stopped: then without an exception, while calls go on to their end.
func TestHowAStreamEnds(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	a, _ := l.follow("dom0", "admin.Events", "dom0")
	b, _ := l.follow("dom0", "admin.Events", "dom0")
	stats, _ := l.follow("dom0", "admin.vm.Stats", "dom0")
	require.NoError(t, a.Close())
	until(t, func() bool { return l.Stats().Open == 2 })
	line := l.log.lines(telemetry.RequestDone)[0]
	assert.Equal(t, []any{telemetry.OK, "admin.Events", 1.0}, []any{line[telemetry.KeyOutcome], line[telemetry.KeyMethod], line[telemetry.KeyEvents]})
	l.must("test.Tag+a", "work", "")
	b.expect("work domain-tag-add:a tag=a")
	require.NoError(t, l.Close(context.Background()))
	for _, f := range []*follower{b, stats} {
		_, end := f.rest()
		assert.Empty(t, end.Type)
	}
	assert.Zero(t, l.Stats().Streams)
	assert.Zero(t, l.Stats().Gone)
}

// TestStats: a round at once, and then whenever the interval has passed, which is read anew each time, and is never less
// than a second.
func TestStats(t *testing.T) {
	u := &usage{}
	use := func(work qube.Usage) {
		u.now.Store(&map[string]qube.Usage{"11111111-0000-4000-8000-000000000000": work})
	}
	l := metered(t, &shelf{}, u, func(s *Settings) {
		s.Gate = stages.NewGate(rules{allows: func(_, source, dest, arg string) bool { return source == "dom0" || dest != "work" }})
	})
	use(qube.Usage{MemoryKiB: 400, CPUNanos: 1_500_000, VCPUs: 2})
	round := func(kib, ms, percent string) string {
		return "work vm-stats memory_kb=" + kib + " memory_assigned_total=" + kib + " memory_assigned_usable=" + kib +
			" memory_with_swap_used=" + kib + " cpu_time=" + ms + " cpu_usage=" + percent + " online_vcpus=2"
	}
	f, first := l.follow("dom0", "admin.vm.Stats", "work")
	assert.Equal(t, established, first)
	f.expect(round("400", "1", "0"))
	l.must("test.Interval+0", "dom0", "")
	use(qube.Usage{MemoryKiB: 500, CPUNanos: 3_001_500_000, VCPUs: 2})
	l.clock.advance(3*time.Second - 1)
	assert.Zero(t, f.here())
	l.clock.advance(1)
	f.expect(round("500", "3001", "50"))
	l.clock.advance(time.Second - 1)
	assert.Zero(t, f.here())
	l.clock.advance(1)
	f.expect(round("500", "3001", "0"))

	all, _ := l.follow("dom0", "admin.vm.Stats", "dom0")
	assert.Contains(t, all.next(), "dom0 vm-stats memory_kb=0")
	all.expect(round("500", "3001", "0"))
	assert.Zero(t, all.here(), "what is halted is not measured")
	other, _ := l.follow("vault", "admin.vm.Stats", "dom0")
	assert.Contains(t, other.next(), "dom0 vm-stats")
	assert.Zero(t, other.here(), "policy is asked of each qube")

	l.must("test.SetState+Halted", "work", "")
	l.clock.advance(time.Second)
	events, end := f.rest()
	assert.Empty(t, events)
	assert.Equal(t, []string{"QubesVMNotRunningError", "work"}, append([]string{end.Type}, end.Fields...))
	again, first := l.follow("dom0", "admin.vm.Stats", "work")
	assert.Equal(t, established, first)
	events, end = again.rest()
	assert.Empty(t, events)
	assert.Equal(t, "QubesVMNotRunningError", end.Type)
}

// TestNothingIsMissedOrSeenTwice by a subscriber that goes on from where it left off, wherever that was, while changes go
// on, and over restarts of the daemon.
func TestNothingIsMissedOrSeenTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := &shelf{}
		l := aired(t, store, func(s *Settings) { s.Backlog = 1 << 16 })
		reader, err := newReader(l)
		require.NoError(rt, err)
		var happened []string
		tags := map[string]bool{}
		change := func() {
			switch tag := rapid.StringMatching(`[a-c]`).Draw(rt, "tag"); {
			case rapid.Bool().Draw(rt, "fails"):
				l.call("admin.vm.feature.Remove+no", "work", "")
			case tags[tag]:
				l.must("test.Untag+"+tag, "work", "")
				happened, tags[tag] = append(happened, "work domain-tag-delete:"+tag), false
			default:
				l.must("test.Tag+"+tag, "work", "")
				happened, tags[tag] = append(happened, "work domain-tag-add:"+tag), true
			}
		}
		var saw []string
		restarts := 0
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(*rapid.T) { change() },
			"burst": func(*rapid.T) {
				n := rapid.IntRange(1, 40).Draw(rt, "events")
				l.must("test.Burst+"+strconv.Itoa(n), "work", "")
				for i := range n {
					happened = append(happened, "work burst:"+strconv.Itoa(i))
				}
			},
			"read": func(rt *rapid.T) {
				saw, reader = reader.read(rt, l, saw, len(saw)+rapid.IntRange(0, len(happened)-len(saw)).Draw(rt, "events"))
			},
			"reconnect while it changes": func(rt *rapid.T) {
				reader.Close()
				var connected sync.WaitGroup
				connected.Go(func() { reader = reader.again(l) })
				change()
				connected.Wait()
				reader.established(rt)
			},
			"restart": func(rt *rapid.T) {
				if restarts++; restarts > 2 {
					rt.Skip("each takes its time")
				}
				reader.Close()
				require.NoError(rt, l.Close(context.Background()))
				l = aired(t, store, func(s *Settings) { s.Backlog = 1 << 16 })
				reader = reader.again(l)
				reader.established(rt)
			},
		})
		saw, reader = reader.read(rt, l, saw, len(happened))
		require.Equal(rt, happened, saw)
		reader.Close()
		require.NoError(rt, l.Close(context.Background()))
	})
}

// reader is a subscriber that knows where it is.
type reader struct {
	*follower
	at int
}

func newReader(l *live) (*reader, error) {
	f, first := l.follow("dom0", "admin.Events+from-now", "dom0")
	return &reader{f, revisionOf(l.t, first)}, nil
}

func (r *reader) again(l *live) *reader {
	return &reader{l.open("dom0", "admin.Events+from-"+strconv.Itoa(r.at), "dom0"), r.at}
}

func (r *reader) established(t require.TestingT) {
	require.Equal(t, fmt.Sprintf("%s revision=%d", established, r.at), r.next())
}

// read reads until it has seen so many, announcements of what failed aside. One that was cut off goes on as another reader.
func (r *reader) read(t require.TestingT, l *live, saw []string, many int) ([]string, *reader) {
	for len(saw) < many {
		if tag, err := r.frames.Peek(2); err == nil && string(tag) == "2\x00" {
			_, end := r.rest()
			require.Equal(t, answerOf(errBehind), end)
			require.NoError(t, r.Close())
			r = r.again(l)
			r.established(t)
		}
		e, err := messages.ReadEvent(r.frames)
		require.NoError(t, err)
		if e.Name == "domain-feature-pre-delete:no" {
			require.Equal(t, "work domain-feature-pre-delete:no feature=no", text(e))
			continue
		}
		now := revisionOf(t, text(e))
		require.Greater(t, now, r.at, "in order, and once")
		r.at = now
		saw = append(saw, e.Subject+" "+e.Name)
	}
	return saw, r
}

// TestManySubscribersComeAndGo while changes go on, and each of them sees an unbroken part of what happens; no change waits
// for one that leaves.
func TestManySubscribersComeAndGo(t *testing.T) {
	l := aired(t, &shelf{}, plainly)
	var stay []*follower
	for range 100 {
		f, _ := l.follow("dom0", "admin.Events+from-now", "dom0")
		stay = append(stay, f)
	}
	var churn sync.WaitGroup
	for range 100 {
		churn.Go(func() {
			for events := range 4 { // that it waits for, the first included
				f := l.dial(stages.Admin).send(messages.FormatRequest("admin.Events+from-now", "dom0", "dom0", nil)).end()
				r := bufio.NewReader(f)
				for last, i := 0, 0; i < events; i++ {
					e, err := messages.ReadEvent(r)
					if !assert.NoError(t, err) {
						break
					}
					now := revisionOf(t, text(e))
					assert.True(t, i == 0 || now == last+1, "%d after %d", now, last)
					last = now
				}
				assert.NoError(t, f.Close())
			}
		})
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		churn.Wait()
	}()
	changes := 0
	for busy := true; busy; changes++ {
		l.must("test.Tag+t"+strconv.Itoa(changes), "work", "")
		select {
		case <-gone:
			busy = false
		default:
		}
	}
	for _, f := range stay {
		require.NoError(t, f.SetDeadline(time.Now().Add(patience)))
		for n := range changes {
			require.Contains(t, f.next(), "work domain-tag-add:t"+strconv.Itoa(n)+" ")
		}
		require.NoError(t, f.Close())
	}
	until(t, func() bool { return l.Stats().Open == 0 })
	assert.Zero(t, l.Stats().Streams)
}

// TestAMethodThatStreamsNothing is our mistake, and so an incident; one that fails is answered with its exception.
func TestAMethodThatStreamsNothing(t *testing.T) {
	stream := func(name string, do func(stages.Feed) error) stages.Entry {
		return stages.Declare(method{Name: name, Help: "for tests", Dest: stages.AnyQube, Access: stages.Read, Arg: anything, Payload: anything,
			Stream: func(_ qube.View, _ grant, f stages.Feed) error { return do(f) }})
	}
	l := serve(t, func(s *Settings) {
		s.Catalogue = stages.NewCatalogue(
			stream("test.Nothing", func(stages.Feed) error { return nil }),
			stream("test.Fails", func(stages.Feed) error { return exception.New(exception.QubesVMInUseError, "no") }),
			stream("test.Odd", func(stages.Feed) error { return errors.New(secret) }),
			stream("test.Panics", func(stages.Feed) error { panic(secret) }),
			stream("test.PanicsLater", func(f stages.Feed) error {
				f.Every(func(qube.View) ([]qube.Event, time.Duration, error) { panic(secret) })
				return nil
			}))
	})
	incidentOf(t, l.call("test.Nothing", "work", ""))
	incidentOf(t, l.call("test.Odd", "work", ""))
	incidentOf(t, l.call("test.Panics", "work", ""))
	assert.Equal(t, "QubesVMInUseError", l.call("test.Fails", "work", "").Type)
	f := l.open("dom0", "test.PanicsLater", "work")
	_, end := f.rest()
	incidentOf(t, end)
	until(t, func() bool { return l.Stats().Open == 0 })
	assert.Zero(t, l.Stats().Streams)
}

// TestASubscriberWhoseTurnDoesNotEnd holds up nobody for long, and is cut off when more waits for it than its backlog holds.
func TestASubscriberWhoseTurnDoesNotEnd(t *testing.T) {
	begun, end := make(chan struct{}, 1), make(chan struct{})
	filter := stages.Handler{Methods: []string{"admin.Events"}, Check: func(f stages.Facts) (stages.Filter, error) {
		if f.Source.Shown() == "dom0" {
			return nil, nil
		}
		return func(qube.Noun) bool {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-end
			return true
		}, nil
	}}
	l := aired(t, &shelf{}, func(s *Settings) {
		s.Backlog = 1 << 16
		s.Gate = stages.NewGate(rules{allows: func(_, _, _, _ string) bool { return true }}, filter)
	})
	well, _ := l.follow("dom0", "admin.Events", "dom0")
	stuck, _ := l.follow("work", "admin.Events", "dom0")
	for n := range 4 {
		c := l.dial(stages.Admin).send([]byte("test.Burst+40 dom0 name work\x00")).end()
		for i := range 40 {
			well.expect("work burst:" + strconv.Itoa(i) + " long=" + kilobyte)
		}
		if n == 0 {
			<-begun
		}
		if n < 3 { // then it is cut off already, and nobody waits for it
			until(t, func() bool { return l.clock.waits(turnWithin) })
			l.clock.advance(turnWithin)
		}
		assert.Equal(t, ok(""), c.answer())
	}
	close(end)
	_, said := stuck.rest()
	assert.Equal(t, answerOf(errBehind), said)
}

// waits reports whether somebody has begun to wait for so long now.
func (c *clock) waits(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.timers {
		if t.at.Equal(c.now.Add(d)) {
			return true
		}
	}
	return false
}
