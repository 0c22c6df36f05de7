package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
)

// beClient tells this test binary to be a client: SOCKET CALL SOURCE DEST. It prints the type of the exception, or OK.
const beClient = "SALLYPORTD_TEST_CLIENT"

func client(args []string) {
	a, err := send(args[0], messages.FormatRequest(args[1], args[2], args[3], nil))
	switch {
	case err != nil:
		fmt.Println(err)
	case a.Type != "":
		fmt.Println(a.Type)
	default:
		fmt.Println("OK")
	}
	os.Exit(0)
}

// nobody is a user that has nothing to do with this daemon.
const nobody = 65534

// The kernel says who calls, and the configuration what he may claim to be.
func TestPeersClaimOnlyWhatTheyMay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can call as somebody else")
	}
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`peers:
  - {user: 0, sources: "*"}
  - {user: 65534, sources: [work], policy: decided}
  - {group: 65533, sources: "*"}
`), 0o600))
	as := callAs(t, start(t, nil, "--demo", "--config", config))
	for _, c := range []struct {
		why                string
		uid                uint32
		groups             []uint32
		call, source, dest string
		want               string
	}{
		{"its own source, which it has judged itself", nobody, nil, "admin.vm.feature.Get+gui", "work", "work", "OK"},
		{"handlers judge it all the same", nobody, nil, "admin.vm.tag.Set+created-by-work", "work", "work", "PermissionDenied"},
		{"dom0 is not its own", nobody, nil, "admin.vm.feature.Get+gui", "dom0", "work", "PermissionDenied"},
		{"nor is another qube", nobody, nil, "admin.vm.feature.Get+gui", "vault", "work", "PermissionDenied"},
		{"nor one that does not exist", nobody, nil, "admin.vm.feature.Get+gui", "nosuch", "work", "PermissionDenied"},
		{"an absent destination is hidden from it", nobody, nil, "admin.vm.feature.Get+gui", "work", "nosuch", "PermissionDenied"},
		{"somebody without an entry", 65532, nil, "admin.vm.feature.Get+gui", "work", "work", "PermissionDenied"},
		{"a member of a group that may claim any", 65532, []uint32{65533}, "admin.vm.feature.Get+gui", "dom0", "work", "OK"},
		{"and who claims what does not exist", 65532, []uint32{65533}, "admin.vm.feature.Get+gui", "nosuch", "work", "QubesVMNotFoundError"},
		{"but policy judges him", 65532, []uint32{65533}, "admin.vm.feature.Get+gui", "work", "work", "PermissionDenied"},
	} {
		assert.Equal(t, c.want, as(c.uid, 65534, c.groups, c.call, c.source, c.dest), c.why)
	}
}

// Groups count wherever the kernel has them: the process's own, or one of many others. The first entry that fits counts,
// for better or worse, and an entry that names nobody shuts its peer out.
func TestPeersByGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can call as somebody else")
	}
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(`peers:
  - {user: root, sources: "*"}
  - {user: 65530, sources: []}
  - {group: 65533, sources: [work], policy: decided}
  - {group: 65531, sources: "*", policy: decided}
  - {user: 65529, sources: [dom0, vault]}
`), 0o600))
	as := callAs(t, start(t, nil, "--demo", "--config", config))
	var many []uint32
	for g := range uint32(300) { // more than are asked for at first
		many = append(many, 70000+g)
	}
	const get = "admin.vm.feature.Get+gui"
	for _, c := range []struct {
		why          string
		uid, gid     uint32
		groups       []uint32
		source, want string
	}{
		{"its own group", nobody, 65533, nil, "work", "OK"},
		{"another of its groups", nobody, nobody, []uint32{70000, 65533}, "work", "OK"},
		{"the last of many", nobody, nobody, append(many, 65533), "work", "OK"},
		{"its group may claim no other", nobody, 65533, nil, "vault", "PermissionDenied"},
		{"nor dom0", nobody, 65533, nil, "dom0", "PermissionDenied"},
		{"nor one that does not exist", nobody, 65533, nil, "nosuch", "PermissionDenied"},
		{"a group that may claim any, and has judged itself", nobody, 65531, nil, "vault", "OK"},
		{"dom0 as well", nobody, 65531, nil, "dom0", "OK"},
		{"and is told who does not exist", nobody, 65531, nil, "nosuch", "QubesVMNotFoundError"},
		{"in both groups, the first entry counts", nobody, 65531, []uint32{65533}, "vault", "PermissionDenied"},
		{"whose user is shut out, for him no group counts", 65530, 65531, []uint32{65533}, "work", "PermissionDenied"},
		{"a user who is named", 65529, nobody, nil, "dom0", "OK"},
		{"for another source, policy counts", 65529, nobody, nil, "vault", "PermissionDenied"},
		{"a user whose number is a group's", 65531, nobody, nil, "work", "PermissionDenied"},
		{"a group whose number is a user's", nobody, 65529, nil, "dom0", "PermissionDenied"},
		{"nobody in particular", nobody, nobody, many, "work", "PermissionDenied"},
		{"root, by name", 0, nobody, nil, "dom0", "OK"},
	} {
		assert.Equal(t, c.want, as(c.uid, c.gid, c.groups, get, c.source, "work"), c.why)
	}
}

// Without an entry of the configuration, only root and the daemon's own user may claim anything.
func TestPeersByDefault(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can call as somebody else")
	}
	p := start(t, nil, "--demo")
	as := callAs(t, p)
	for _, source := range []string{"dom0", "work", "nosuch"} {
		assert.Equal(t, "PermissionDenied", as(nobody, 0, []uint32{0}, "admin.vm.feature.Get+gui", source, "work"), source)
	}
	assert.Equal(t, "OK", as(0, 0, nil, "admin.vm.feature.Get+gui", "dom0", "work"))
	assert.Equal(t, "QubesVMNotFoundError", as(0, 0, nil, "admin.vm.feature.Get+gui", "nosuch", "work"))
	require.Equal(t, 0, p.terminate())
	uids := map[any]int{}
	for _, l := range append(p.events("request.denied"), p.events("request.done")...) {
		uids[l["sallyport.peer.uid"]]++
	}
	assert.Equal(t, map[any]int{65534.0: 3, 0.0: 2}, uids, "the log says who it was")
}

// callAs lets everybody connect to p, and gives a call by a process of that user and those groups: the type of the
// exception, or OK.
func callAs(t *testing.T, p *process) func(uid, gid uint32, groups []uint32, call, source, dest string) string {
	require.NoError(t, os.Chmod(filepath.Dir(p.socket), 0o755))
	require.NoError(t, os.Chmod(p.socket, 0o777))
	self := executableForAll(t)
	return func(uid, gid uint32, groups []uint32, call, source, dest string) string {
		cmd := exec.Command(self, p.socket, call, source, dest)
		cmd.Env = append(os.Environ(), beClient+"=1")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
}

// executableForAll copies this binary to where others can run it.
func executableForAll(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(self)
	require.NoError(t, err)
	dir := shortDir(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "client")
	require.NoError(t, os.WriteFile(path, b, 0o755))
	return path
}
