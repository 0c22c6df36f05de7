package actors_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"sallyport/actors"
	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
	"sallyport/stages/permission"
)

// A method of one's own: declared once, served behind the three doors.
func Example() {
	greet := stages.Declare(stages.Method[string, struct{}]{
		Name: "hello.Greet", Dest: stages.OnlyAdminVM, Access: stages.Read, Help: "greet somebody",
		Arg: stages.Field[string]{Want: stages.Required, Doc: "letters", Read: func(u untrusted.Bytes) (string, error) {
			return u.Word(untrusted.Letters, 1, 20)
		}},
		Payload: stages.None,
		Read: func(_ qube.View, g stages.Grant[string, struct{}]) (messages.Reply, error) {
			return messages.Text("hello, " + g.Arg()), nil
		},
	})
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello.sock")
	daemon, err := actors.Start(actors.Settings{
		Catalogue: stages.NewCatalogue(greet),
		Gate:      stages.NewGate(permission.OnlyDom0{}),
		Book:      qube.Fixed(qube.Only()),
		Sockets:   map[stages.Socket]string{stages.Admin: path},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer daemon.Close(context.Background())

	conn, _ := net.Dial("unix", path)
	conn.Write(messages.FormatRequest("hello.Greet+world", "dom0", "dom0", nil))
	conn.(*net.UnixConn).CloseWrite()
	frame, _ := io.ReadAll(conn)
	fmt.Printf("%q\n", frame)
	// Output: "0\x00hello, world"
}
