// Command outside shows what another module can make of sallyport: a daemon with methods and state of its own. Its qubes
// are languages, whose features are the words of a dictionary, kept in memory. It serves two methods on a socket, calls
// them as a client, and prints the replies.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"

	"sallyport/actors"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/permission"
	"sallyport/stages/sanitize"
)

type (
	nothing = struct{}
	lookup  = stages.Grant[qube.FeatureName, nothing]
	entry   = stages.Grant[qube.FeatureName, qube.FeatureValue]
)

var catalogue = stages.NewCatalogue(
	stages.Declare(stages.Method[qube.FeatureName, nothing]{
		Name: "dictionary.Get", Dest: stages.NotAdminVM, Access: stages.Read,
		Help: "tell the word of a language for an English word",
		Arg:  sanitize.FeatureWord, Payload: stages.None,
		Read: func(_ qube.View, g lookup) (messages.Reply, error) {
			word, ok := g.Dest().Feature(g.Arg())
			if !ok {
				return messages.Empty, exception.New(exception.QubesFeatureNotFoundError, "%s has no word for %s", g.Dest(), g.Arg())
			}
			return messages.Text(word.Shown()), nil
		},
	}),
	stages.Declare(stages.Method[qube.FeatureName, qube.FeatureValue]{
		Name: "dictionary.Set", Dest: stages.NotAdminVM, Access: stages.Read | stages.Write,
		Help: "give a language its word for an English word",
		Arg:  sanitize.FeatureWord, Payload: sanitize.FeatureValue,
		Change: func(tx qube.Tx, g entry) (messages.Reply, error) {
			return messages.Empty, tx.SetFeature(g.Dest().ID(), g.Arg(), g.Payload())
		},
	}),
)

func main() {
	dir, err := os.MkdirTemp("", "outside")
	check(err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "dictionary.sock")
	daemon, err := actors.Start(actors.Settings{
		Catalogue: catalogue,
		Gate:      stages.NewGate(permission.OnlyDom0{}),
		Book:      newShelf("french", "german"),
		Sockets:   map[stages.Socket]string{stages.Admin: socket},
	})
	check(err)
	defer daemon.Close(context.Background())

	for _, c := range []struct{ call, source, dest, payload string }{
		{"dictionary.Get+bread", "dom0", "french", ""},
		{"dictionary.Set+bread", "dom0", "french", "pain"},
		{"dictionary.Get+bread", "dom0", "french", ""},
		{"dictionary.Get+bread", "dom0", "german", ""},
		{"dictionary.Set+bread", "french", "german", "pain"},
		{"dictionary.Get+bread", "dom0", "dutch", ""},
	} {
		a := call(socket, c.call, c.source, c.dest, c.payload)
		fmt.Printf("%s: %s on %s: ", c.source, c.call, c.dest)
		if a.Type != "" {
			fmt.Println(a.Type)
		} else {
			fmt.Printf("%q\n", a.Content)
		}
	}
}

// call is a client: one connection for one request.
func call(socket, call, source, dest, payload string) messages.Answer {
	conn, err := net.Dial("unix", socket)
	check(err)
	defer conn.Close()
	_, err = conn.Write(messages.FormatRequest(call, source, dest, []byte(payload)))
	check(err)
	check(conn.(*net.UnixConn).CloseWrite())
	frame, err := io.ReadAll(conn)
	check(err)
	answer, err := messages.ParseAnswer(frame)
	check(err)
	return answer
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
