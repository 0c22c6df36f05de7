package policyfiles

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/actors"
	"sallyport/internal/daemontest"
	"sallyport/internal/hypervisor"
	"sallyport/internal/inventory"
	"sallyport/internal/policy"
	"sallyport/messages"
	"sallyport/stages"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
)

// served starts a daemon for a policy directory, and gives a way to call it as dom0: what it answers, or the type of its
// exception.
func served(t *testing.T, dir string) func(call, dest, payload string) string {
	book, _, err := inventory.Open(daemontest.Nowhere{}, inventory.Empty, inventory.Options{})
	require.NoError(t, err)
	sockets, err := os.MkdirTemp("", "sallyport") // t.TempDir is too long for the name of a socket
	require.NoError(t, err)
	socket := filepath.Join(sockets, "s")
	daemon, err := actors.Start(actors.Settings{
		Catalogue: stages.NewCatalogue(methods.All()...),
		Gate:      stages.NewGate(permission.OnlyDom0{}),
		Book:      book,
		Worker:    hypervisor.Crew{Policy: New(policy.Sources{Dirs: []string{dir}})},
		Sockets:   map[stages.Socket]string{stages.Admin: socket},
		Peers:     func(actors.Credentials) *messages.Peer { return &messages.Peer{Any: true} },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, daemon.Close(context.Background()))
		assert.NoError(t, os.RemoveAll(sockets))
	})
	return func(call, dest, payload string) string {
		conn, err := net.Dial("unix", socket)
		if !assert.NoError(t, err) {
			return ""
		}
		defer conn.Close()
		_, err = conn.Write(messages.FormatRequest(call, "dom0", dest, []byte(payload)))
		assert.NoError(t, err)
		assert.NoError(t, conn.(*net.UnixConn).CloseWrite())
		frame, err := io.ReadAll(conn)
		assert.NoError(t, err)
		a, err := messages.ParseAnswer(frame)
		assert.NoError(t, err)
		if a.Type != "" {
			return a.Type
		}
		return "OK " + string(a.Content)
	}
}

// TestOrderOfChecks: each call is wrong in one way and in every later one; the first is told (spec: policy.md 7). What each
// of the specification's classes is on this wire is here, too.
func TestOrderOfChecks(t *testing.T) {
	const (
		protocol = "ProtocolError" // its PolicyAdminProtocolException
		name     = "PolicyAdminInvalidFileNameException"
		path     = "PolicyAdminInvalidFilePathException"
		tokens   = "PolicyAdminTokenException"
		notFound = "PolicyAdminFileNotFoundException"
	)
	other, bad := token("other"), "\n"+broken
	upper := strings.ToUpper(other)
	for _, c := range []struct{ call, dest, payload, want string }{
		{"policy.Replaces+a:b", "dom0", "", protocol},          // no such method, and all that follows
		{"policy.Replace+X.y", "dom0", "", protocol},           // no payload
		{"policy.Replace+", "dom0", upper + bad, protocol},     // no argument
		{"policy.Replace", "dom0", upper + bad, protocol},      //
		{"policy.List+a", "dom0", "", protocol},                // an argument
		{"policy.include.List+a", "dom0", "", protocol},        //
		{"policy.List", "dom0", "x", protocol},                 // a payload
		{"policy.Get+a.b", "dom0", "x", protocol},              //
		{"policy.include.Get+a.b", "dom0", "x", protocol},      //
		{"policy.GetFiles+x.Y", "dom0", "x", protocol},         //
		{"policy.Get", "dom0", "", protocol},                   //
		{"policy.GetFiles", "dom0", "", protocol},              // no service
		{"policy.GetFiles+a+b", "dom0", "", protocol},          // a bad one
		{"policy.Remove+x.y", "dom0", "", protocol},            //
		{"policy.Replace+x.y", "sys-net", upper, protocol},     // not to dom0
		{"policy.Replace+a:B", "dom0", upper, protocol},        // characters
		{"policy.Replace+a.B", "dom0", upper, name},            // the name
		{"policy.include.Replace+a.b", "dom0", upper, name},    //
		{"policy.Replace+30-Upper", "dom0", upper, name},       //
		{"policy.Remove+a.policy", "dom0", upper, name},        //
		{"policy.Get+a.policy", "dom0", "", name},              //
		{"policy.Replace+link", "dom0", upper, protocol},       // no line feed
		{"policy.Replace+link", "dom0", upper + bad, protocol}, // no token
		{"policy.Remove+link", "dom0", upper, protocol},        //
		{"policy.Remove+link", "dom0", other + "\n", protocol}, // byte by byte
		{"policy.Replace+link", "dom0", other + "\n\xff", protocol},
		{"policy.Replace+link", "dom0", other + "\n\x00", protocol},
		{"policy.Replace+link", "dom0", other + bad, path}, // a symbolic link
		{"policy.include.Replace+link", "dom0", other + bad, path},
		{"policy.Remove+link", "dom0", other, path},
		{"policy.Get+link", "dom0", "", path},
		{"policy.Replace+used", "dom0", other + bad, tokens}, // the token
		{"policy.Replace+used", "dom0", "new" + bad, tokens},
		{"policy.Replace+missing", "dom0", other + bad, tokens},
		{"policy.include.Replace+missing", "dom0", other + bad, tokens},
		{"policy.Remove+missing", "dom0", other, tokens}, // before whether it is there
		{"policy.Remove+used", "dom0", "new", tokens},
		{"policy.include.Remove+inc", "dom0", other, tokens},
		{"policy.Remove+missing", "dom0", "any", notFound}, // whether it is there
		{"policy.Remove+missing", "dom0", "new", notFound},
		{"policy.include.Remove+missing", "dom0", "any", notFound},
		{"policy.Get+missing", "dom0", "", notFound},
		{"policy.include.Get+missing", "dom0", "", notFound},
		{"policy.Replace+used", "dom0", "any" + bad, syntax}, // whether it loads
		{"policy.Replace+missing", "dom0", "new" + bad, syntax},
		{"policy.include.Replace+inc", "dom0", token("a b deny\n") + bad[:1] + allow, syntax},
		{"policy.include.Remove+inc", "dom0", "any", syntax},
		{"policy.include.Remove+inc", "dom0", token("a b deny\n"), syntax},
	} {
		t.Run(strings.ToValidUTF8(fmt.Sprintf("%s %.9q", c.call, c.payload), ""), func(t *testing.T) {
			dir := t.TempDir()
			before := files{"used.policy": "!include-service x.Y * include/inc\n", "include/inc": "a b deny\n", "link.policy": "->used.policy", "include/link": "->inc"}
			call := served(t, before.in(t, dir))
			assert.Equal(t, c.want, call(c.call, c.dest, c.payload))
			assert.Equal(t, before, held(t, dir), "nothing is left behind")
		})
	}
}

// TestTheLargestContent is what there is room for in a request.
func TestTheLargestContent(t *testing.T) {
	call := served(t, files{}.in(t, t.TempDir()))
	header := len(messages.FormatRequest("policy.Replace+a", "dom0", "dom0", nil))
	text := strings.Repeat("# é\n", (65536-header-len("any\n"))/5)
	assert.Equal(t, "OK ", call("policy.Replace+a", "dom0", "any\n"+text))
	assert.Equal(t, "OK "+token(text)+"\n"+text, call("policy.Get+a", "dom0", ""))
	assert.Equal(t, "ProtocolError", call("policy.Replace+a", "dom0", "any\n"+text+text[:5]))
	assert.Equal(t, "OK "+token(text)+"\n"+text, call("policy.Get+a", "dom0", ""))
}

// TestNobodyLosesAChange: many callers of two daemons add a line each to one file, again and again, each under the token of
// what it has read. One that was too late is told so.
func TestNobodyLosesAChange(t *testing.T) {
	const callers, lines = 4, 5
	dir := files{"shared.policy": ""}.in(t, t.TempDir())
	daemons := []func(call, dest, payload string) string{served(t, dir), served(t, dir)}
	var all sync.WaitGroup
	for caller := range callers {
		call := daemons[caller%len(daemons)]
		all.Go(func() {
			for line := 0; line < lines; {
				answer, ok := strings.CutPrefix(call("policy.Get+shared", "dom0", ""), "OK ")
				if !assert.True(t, ok, answer) {
					return
				}
				before, text, _ := strings.Cut(answer, "\n")
				assert.Equal(t, token(text), before, "whole")
				switch said := call("policy.Replace+shared", "dom0", fmt.Sprintf("%s\n%s# %d.%d\n", before, text, caller, line)); said {
				case "OK ":
					line++
				default:
					assert.Equal(t, "PolicyAdminTokenException", said)
				}
			}
		})
	}
	all.Wait()
	text := held(t, dir)["shared.policy"]
	assert.Equal(t, callers*lines, strings.Count(text, "\n"))
	for caller := range callers {
		for line := range lines {
			assert.Contains(t, text, fmt.Sprintf("# %d.%d\n", caller, line))
		}
	}
	assert.Equal(t, []string{"shared.policy"}, sorted(held(t, dir)))
}

// TestOneOfManyIsNew: of those who want to make a file, one does.
func TestOneOfManyIsNew(t *testing.T) {
	dir := files{}.in(t, t.TempDir())
	daemons := []func(call, dest, payload string) string{served(t, dir), served(t, dir)}
	said := make([]string, 8)
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() { said[i] = daemons[i%2]("policy.Replace+a", "dom0", fmt.Sprintf("new\n# %d\n", i)) })
	}
	all.Wait()
	first := ""
	for i, s := range said {
		if s == "OK " {
			assert.Empty(t, first)
			first = fmt.Sprintf("# %d\n", i)
		} else {
			assert.Equal(t, "PolicyAdminTokenException", s)
		}
	}
	assert.Equal(t, files{"a.policy": first}, held(t, dir))
}

// TestWithoutAWorkerNothingIsDone: a daemon may have none for this.
func TestWithoutAWorkerNothingIsDone(t *testing.T) {
	for _, kind := range []messages.OrderKind{messages.PolicyList, messages.PolicyGet, messages.PolicyReplace, messages.PolicyRemove, messages.PolicyGetFiles} {
		_, err := hypervisor.Crew{}.Begin(messages.Order{Kind: kind}, nil)
		assert.ErrorContains(t, err, "no hypervisor")
	}
}
