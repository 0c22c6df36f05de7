package methods_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
	"sallyport/stages/preload"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opened is a new inventory of the file at path.
func opened(t require.TestingT, path string, meter inventory.Meter) *inventory.Inventory {
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) { return inventory.FromFile(path, properties.Schema{}) }, inventory.Options{Reactions: reactions.All(), Meter: meter})
	require.NoError(t, err)
	return book
}

// system is the methods behind their doors, without the actors. Every source may call everything.
type system struct {
	t         require.TestingT
	book      *inventory.Inventory
	catalogue *stages.Catalogue
	gate      *stages.Gate
	peer      messages.Peer
	told      []string // what subscribers are told of the last call that changed something or tried to
}

// start makes a system of testdata/system.yaml.
func start(t require.TestingT, handlers ...stages.Handler) *system {
	return &system{
		t: t, peer: messages.Peer{Any: true}, book: opened(t, filepath.Join("testdata", "system.yaml"), nil), catalogue: stages.NewCatalogue(methods.All()...),
		gate: stages.NewGate(permission.Everyone{}, append(handlers, permission.AdminExtension...)...),
	}
}

// ok is how said puts a reply.
const ok = daemontest.OK

// said is what an answer says: OK and the content, or an exception's type.
func said(t require.TestingT, frame []byte) string { return daemontest.Said(t, frame) }

// call answers like said; call is METHOD or METHOD+ARGUMENT.
func (s *system) call(source, call, dest, payload string) string {
	return said(s.t, s.frame(source, call, dest, payload))
}

// dom0 is a call of dom0.
func (s *system) dom0(call, dest, payload string) string { return s.call("dom0", call, dest, payload) }

// frame is a call's answer on the wire.
func (s *system) frame(source, call, dest, payload string) []byte {
	reply, err := s.answer(source, call, dest, payload)
	if err != nil {
		return exception.Of(err, func(err error) exception.Field {
			require.NoError(s.t, err, "an error that no client understands")
			return nil
		}).AppendFrame(nil)
	}
	return reply.AppendFrame(nil)
}

func (s *system) answer(source, call, dest, payload string) (messages.Reply, error) {
	a, err := s.permitted(source, call, dest, payload)
	if err != nil {
		return messages.Reply{}, err
	}
	return s.act(a)
}

// permitted is a call that has passed the second door.
func (s *system) permitted(source, call, dest, payload string) (stages.Authorized, error) {
	r, err := messages.ParseRequest(messages.FormatRequest(call, source, dest, []byte(payload)))
	require.NoError(s.t, err)
	sanitized, err := s.catalogue.Sanitize(stages.Admin, r)
	if err != nil {
		return stages.Authorized{}, err
	}
	return s.gate.Judge(sanitized, &s.peer, s.book.View())
}

// qube is one that is there.
func (s *system) qube(name string) qube.Qube {
	n, err := qube.ParseName(name)
	require.NoError(s.t, err)
	q, there := s.book.View().Qube(n)
	require.True(s.t, there, name)
	return q
}

// uuid is of a qube that is there.
func (s *system) uuid(name string) qube.UUID { return s.qube(name).ID() }

func (s *system) act(a stages.Authorized) (reply messages.Reply, err error) {
	if a.Kind() == stages.Reads {
		return a.Read()
	}
	if a.Kind() == stages.Works {
		return s.work(a)
	}
	err = s.change(func(tx qube.Tx) (err error) {
		reply, err = a.Change(tx)
		return err
	})
	return reply, err
}

// work has disposables handed out; whatever else is work there is nobody to do here.
func (s *system) work(a stages.Authorized) (messages.Reply, error) {
	o, err := a.Work()
	if err != nil || o.Kind != messages.DisposableTake && o.Kind != messages.DisposablePreload {
		return messages.Empty, err
	}
	return desk{s}.Order(context.Background(), o)
}

// desk is what that work asks for.
type desk struct{ s *system }

func (d desk) Change(_ context.Context, change func(qube.Tx) error) error { return d.s.change(change) }
func (d desk) Leave()                                                     {}
func (d desk) Order(ctx context.Context, o messages.Order) (messages.Reply, error) {
	work, err := preload.Worker{}.Begin(o, d)
	require.NoError(d.s.t, err)
	return work(ctx)
}

// change makes a change as the ledger does, and keeps what subscribers are told of it.
func (s *system) change(change func(qube.Tx) error) error {
	group := s.book.Begin()
	err := group.Try(change)
	s.told = nil
	for _, batch := range group.Events() {
		for _, e := range batch.Events {
			line := e.Subject.Shown() + " " + e.Name
			for _, a := range e.Args {
				line += " " + a.Key + "=" + a.Value
			}
			s.told = append(s.told, line)
		}
	}
	require.NoError(s.t, group.Commit())
	return err
}
