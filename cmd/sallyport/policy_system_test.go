package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/actors"
	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/internal/policy"
	"sallyport/stages"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// TestADaemonIsAskedForItsQubes: every fact that policy asks for comes over the socket.
func TestADaemonIsAskedForItsQubes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "inventory.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`version: 1
global: {default_dispvm: dvm}
qubes:
  - {name: fedora, class: TemplateVM}
  - {name: dvm, class: AppVM, uuid: 00000007-1111-4222-8333-000000000007, properties: {template: fedora, template_for_dispvms: true}}
  - {name: dvm2, class: AppVM, properties: {template: fedora, template_for_dispvms: true}}
  - {name: work, class: AppVM, properties: {template: fedora}, tags: [a, b], state: Running}
  - {name: vault, class: AppVM, properties: {template: fedora, default_dispvm: dvm2}, features: {internal: "1"}, state: Paused}
  - {name: alone, class: StandaloneVM, properties: {default_dispvm: ""}, features: {internal: ""}}
  - {name: far, class: RemoteVM, properties: {relayvm: work, transport_rpc: x.Proxy}}
`), 0o600))
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) { return inventory.FromFile(file, properties.Schema{}) },
		inventory.Options{Reactions: reactions.All()})
	require.NoError(t, err)
	socket := filepath.Join(dir, "s")
	d, err := actors.Start(actors.Settings{
		Catalogue: stages.NewCatalogue(methods.All()...), Gate: stages.NewGate(permission.Everyone{}), Book: book,
		Sockets: map[stages.Socket]string{stages.Admin: socket},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close(context.Background())) })

	sys, err := askSystem(t.Context(), socket)
	require.NoError(t, err)
	got := map[string]policy.Facts{}
	for q := range sys.Qubes() {
		f := policy.Facts{Name: q.Name, Class: q.Class, Tags: sys.AppendTags([]string{}, q), DisposableTemplate: sys.DisposableTemplate(q), DefaultDispVM: sys.DefaultDispVM(q)}
		f.Relay, f.Transport = sys.Relay(q)
		if sys.Running(q) {
			f.PowerState = "Running"
		}
		if sys.Internal(q) {
			f.Internal = "1"
		}
		assert.Len(t, q.UUID, 36)
		f.Tags = slices.DeleteFunc(f.Tags, func(tag string) bool { return len(tag) > 1 }) // those that the daemon sets
		got[f.Name] = f
	}
	assert.Equal(t, map[string]policy.Facts{
		"dom0":   {Name: "dom0", Class: "AdminVM", DefaultDispVM: "dvm", PowerState: "Running", Tags: []string{}},
		"fedora": {Name: "fedora", Class: "TemplateVM", DefaultDispVM: "dvm", Tags: []string{}},
		"dvm":    {Name: "dvm", Class: "AppVM", DisposableTemplate: true, DefaultDispVM: "dvm", Tags: []string{}},
		"dvm2":   {Name: "dvm2", Class: "AppVM", DisposableTemplate: true, DefaultDispVM: "dvm", Tags: []string{}},
		"work":   {Name: "work", Class: "AppVM", DefaultDispVM: "dvm", PowerState: "Running", Tags: []string{"a", "b"}},
		"vault":  {Name: "vault", Class: "AppVM", DefaultDispVM: "dvm2", Internal: "1", Tags: []string{}},
		"alone":  {Name: "alone", Class: "StandaloneVM", Tags: []string{}},
		"far":    {Name: "far", Class: "RemoteVM", PowerState: "Running", Relay: "work", Transport: "x.Proxy", Tags: []string{}},
	}, got)
	q, ok := sys.Identified("00000007-1111-4222-8333-000000000007")
	assert.True(t, ok)
	assert.Equal(t, "dvm", q.Name)
}

// TestQubesThatGoMeanwhile are left out; whatever else goes wrong ends the tool.
func TestQubesThatGoMeanwhile(t *testing.T) {
	const list = "0\x00dom0 class=AdminVM state=Running uuid=u0\ngone class=AppVM state=Halted uuid=u1\nwork class=AppVM state=Running uuid=u2\n"
	refused := func(typ string) string { return "2\x00" + typ + "\x00\x00no\x00" }
	for _, c := range []struct{ list, ofGone, ends string }{
		{list, refused("QubesVMNotFoundError"), ""},
		{list, refused("PermissionDenied"), "admin.vm.property.GetAll+ of gone: PermissionDenied: no"},
		{list, "what", "not a reply frame"},
		{list, "", "not a reply: the daemon closed the connection"},
		{"0\x00work\n", "0\x00", "not a list of qubes"},
		{refused("PermissionDenied"), "0\x00", "admin.vm.List+ of dom0: PermissionDenied: no"},
	} {
		socket := answers(t, func(call, dest string) string {
			switch {
			case call == "admin.vm.List+":
				return c.list
			case dest == "gone" && call == "admin.vm.property.GetAll+":
				return c.ofGone
			case call == "admin.vm.feature.Get+internal":
				return refused("QubesFeatureNotFoundError")
			}
			return "0\x00"
		})
		sys, err := askSystem(t.Context(), socket)
		if c.ends != "" {
			assert.ErrorContains(t, err, c.ends)
			continue
		}
		require.NoError(t, err)
		_, there := sys.Named("gone")
		assert.False(t, there)
		work, there := sys.Named("work")
		assert.True(t, there)
		assert.False(t, sys.Internal(work))
	}
}

// answers makes a daemon that answers each call with what answer says.
func answers(t *testing.T, answer func(call, dest string) string) (socket string) {
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			request, _ := io.ReadAll(c)
			header, _, _ := strings.Cut(string(request), "\x00") // METHOD+ARG SOURCE name DEST
			if words := strings.Split(header, " "); len(words) == 4 {
				_, _ = io.WriteString(c, answer(words[0], words[3]))
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return socket
}
