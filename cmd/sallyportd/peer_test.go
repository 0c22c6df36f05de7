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
	p := start(t, nil, "--demo", "--config", config)
	require.NoError(t, os.Chmod(filepath.Dir(p.socket), 0o755))
	require.NoError(t, os.Chmod(p.socket, 0o777))
	self := executableForAll(t)
	as := func(uid uint32, groups []uint32, call, source, dest string) string {
		cmd := exec.Command(self, p.socket, call, source, dest)
		cmd.Env = append(os.Environ(), beClient+"=1")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: 65534, Groups: groups}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
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
		assert.Equal(t, c.want, as(c.uid, c.groups, c.call, c.source, c.dest), c.why)
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
