// Package daemontest makes daemons for tests, whole but for their process, and calls them over their sockets.
package daemontest

import (
	"io"
	"iter"
	"net"
	"os"
	"time"

	"github.com/stretchr/testify/require"

	"sallyport/actors"
	"sallyport/internal/hypervisor"
	"sallyport/internal/inventory"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
)

// Nowhere is a store that keeps nothing, for inventories that are opened once.
type Nowhere struct{}

// Load is part of inventory.Store.
func (Nowhere) Load() (qube.Revision, iter.Seq2[inventory.Record, error], error) { return 0, nil, nil }

// Commit is part of inventory.Store.
func (Nowhere) Commit(_, _ qube.Revision, _ []inventory.Record) error { return nil }

// Close is part of inventory.Store.
func (Nowhere) Close() error { return nil }

// Dir makes a directory for a socket, whose path is short enough for that, unlike t.TempDir's. Whoever asks removes it.
func Dir(t require.TestingT) string {
	dir, err := os.MkdirTemp("", "sallyport")
	require.NoError(t, err)
	return dir
}

// Start starts a daemon that serves the whole API of book on the admin socket at path, to everybody, unless change has it
// otherwise. Whoever starts it closes it.
func Start(t require.TestingT, path string, book qube.Book, power *lifecycle.Worker, change ...func(*actors.Settings)) *actors.Daemon {
	settings := actors.Settings{
		Catalogue:  stages.NewCatalogue(methods.All()...),
		Gate:       stages.NewGate(permission.Everyone{}, permission.AdminExtension...),
		Book:       book,
		Worker:     hypervisor.Crew{Power: power},
		Attendants: map[string]actors.Attendant{"power": power},
		Sockets:    map[stages.Socket]string{stages.Admin: path},
	}
	for _, c := range change {
		c(&settings)
	}
	daemon, err := actors.Start(settings)
	require.NoError(t, err)
	return daemon
}

// Patience is far more than anything takes that a test waits for.
const Patience = 20 * time.Second

// Dial sends a whole request to the socket at path, and gives the connection, on which the answer is waited for with
// Patience.
func Dial(t require.TestingT, path string, request []byte) *net.UnixConn {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(Patience)))
	_, err = conn.Write(request)
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	return conn
}

// Frame sends a whole request to the socket at path, and gives all that the daemon says to it.
func Frame(t require.TestingT, path string, request []byte) []byte {
	conn := Dial(t, path, request)
	defer conn.Close()
	frame, err := io.ReadAll(conn)
	require.NoError(t, err, "%q", frame)
	return frame
}

// OK is how Said puts a reply.
const OK = "OK "

// Said is what a frame says: OK and the content, or an exception's type.
func Said(t require.TestingT, frame []byte) string {
	a, err := messages.ParseAnswer(frame)
	require.NoError(t, err, "a frame: %q", frame)
	if a.Type != "" {
		return a.Type
	}
	return OK + string(a.Content)
}
