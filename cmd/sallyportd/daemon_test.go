package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/stages/methods"
	"sallyport/stages/permission"
)

func name(i int) string { return fmt.Sprintf("q%d", i) }

func TestDemoServesAndEndsCleanly(t *testing.T) {
	p := start(t, nil, "--demo")
	assert.Contains(t, p.must("admin.vm.List", "dom0", ""), "\nwork class=AppVM state=Running uuid=")
	assert.Equal(t, "1", p.must("admin.vm.feature.Get+service.cups", "work", ""))
	state := p.events("inventory.loaded")[0].text("sallyport.path")
	assert.DirExists(t, state)
	assert.Equal(t, 0, p.terminate())
	assert.NoDirExists(t, state, "a demo leaves nothing behind")
	assert.NoFileExists(t, p.socket)
	assert.Len(t, p.events("stopped"), 1)
	assert.Len(t, p.events("ready"), 1)
}

func TestEverySocketServesItsOwnMethods(t *testing.T) {
	p := start(t, nil, "--demo")
	dir := filepath.Dir(p.socket)
	for _, name := range []string{"qubesd.internal.sock", "qubesd.misc.sock"} {
		a, err := callOn(filepath.Join(dir, name), "admin.vm.List", "dom0", "")
		require.NoError(t, err)
		assert.Equal(t, "ProtocolError", a.Type, name)
	}
}

func TestDrillsExistOnlyWhenAskedFor(t *testing.T) {
	p := start(t, nil, "--demo")
	for _, method := range []string{"drill.Crash+sanitizer", "drill.Crash+ledger", "drill.Stall+1ms"} {
		a, err := p.call(method, "work", "")
		require.NoError(t, err)
		assert.Equal(t, "ProtocolError", a.Type, method)
	}
	assert.Empty(t, p.events("actor.crashed"))
}

func TestSecondDaemonLeavesTheFirstAlone(t *testing.T) {
	p := start(t, nil, "--demo")
	code, out := runHere(t, "--socket-dir", filepath.Dir(p.socket), "--demo")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, p.socket+": another daemon listens there already")
	assert.Contains(t, p.must("admin.vm.List", "dom0", ""), "work")
}

func TestStateOfAnotherDaemonIsRefused(t *testing.T) {
	state := t.TempDir()
	start(t, nil, "--state-dir", state)
	code, out := runHere(t, "--socket-dir", shortDir(t), "--state-dir", state)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "in use by another process")
}

func TestInventoryIsLoadedOnlyIntoAnEmptyState(t *testing.T) {
	state := t.TempDir()
	p := start(t, nil, "--state-dir", state, "--inventory", inventoryOf(t, 1))
	p.must("admin.vm.feature.Set+there", "q0", "after")
	require.Equal(t, 0, p.terminate())

	p = start(t, nil, "--state-dir", state, "--inventory", inventoryOf(t, 2))
	assert.Equal(t, "after", p.must("admin.vm.feature.Get+there", "q0", ""))
	a, err := p.call("admin.vm.feature.Get+there", "q1", "")
	require.NoError(t, err)
	assert.Equal(t, "QubesVMNotFoundError", a.Type)
	assert.Len(t, p.events("inventory.ignored"), 1)
}

func TestReadyIsToldAtEveryLevel(t *testing.T) {
	p := start(t, nil, "--demo", "--log-level", "error")
	assert.Equal(t, 0, p.terminate())
	assert.Len(t, p.events("ready"), 1)
	assert.Len(t, p.events("stopped"), 1)
	assert.Empty(t, p.events("actor.started"))
}

// Whoever reads the log may go away, as head does: that costs lines, not calls.
func TestLogReaderMayLeave(t *testing.T) {
	p := start(t, nil, "--demo", "--drill")
	require.NoError(t, p.stderr.Close())
	for range 3 {
		_, err := p.call("drill.Crash+action", "work", "") // which has the log flushed
		require.NoError(t, err)
	}
	assert.Equal(t, "1", p.must("admin.vm.feature.Get+service.cups", "work", ""))
	assert.Equal(t, 0, p.terminate())
}

func TestStateIsForItsOwnerOnly(t *testing.T) {
	deep := filepath.Join(t.TempDir(), "a", "b")
	start(t, nil, "--state-dir", deep)
	info, err := os.Stat(deep)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	open := t.TempDir()
	require.NoError(t, os.Chmod(open, 0o777))
	start(t, nil, "--state-dir", open)
	info, err = os.Stat(open)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

// A handler that names no method would protect nothing.
func TestHandlersNameMethods(t *testing.T) {
	served := map[string]bool{}
	for _, e := range methods.All() {
		served[e.Name] = true
	}
	for _, h := range permission.AdminExtension {
		for _, m := range h.Methods {
			assert.True(t, served[m], m)
		}
	}
}

func TestProfilesShowNoArguments(t *testing.T) {
	w := httptest.NewRecorder()
	withoutArguments(w, httptest.NewRequest("GET", "/debug/pprof/goroutine?debug=2", nil))
	assert.Equal(t, 403, w.Code)
	w = httptest.NewRecorder()
	withoutArguments(w, httptest.NewRequest("GET", "/debug/pprof/goroutine?debug=1", nil))
	assert.Equal(t, 200, w.Code)
}

// runHere runs a daemon that is expected to refuse to start, in this process.
func runHere(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // if it starts after all, it ends at once
	code = run(ctx, args, &out, &errs)
	return code, strings.TrimSpace(errs.String())
}

func TestBadInputIsOneLineAndExit2(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	inventory := file("inventory.yaml", "version: 1\nqubes:\n  - name: work\n    class: AppVm\n")
	dangling := file("dangling.yaml", "version: 1\nglobal:\n  default_netvm: nosuch\n")
	settings := file("config.yaml", "log_level: info\nlimits:\n  conections: 5\n")
	source := file("source.yaml", "peers:\n  - {user: 0, sources: [1bad]}\n")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--nosuch"}, "sallyportd: --nosuch: expected a flag that --help lists"},
		{[]string{"--log-level", "loud"}, "sallyportd: --log-level: expected one of debug, info, warn, error"},
		{[]string{"--policy-dir", "/nosuch"}, "sallyportd: --policy-dir: expected a directory that exists"},
		{[]string{"--http", "0.0.0.0:80", "--demo"}, "sallyportd: --http: expected a loopback address and a port, such as 127.0.0.1:9100"},
		{[]string{"--demo", "--log-file", filepath.Join(dir, "no", "such")}, "sallyportd: --log-file: expected a file that can be written: "},
		{[]string{"--config", settings}, "sallyportd: " + settings + ":3: limits.conections: expected one of the keys connections, "},
		{[]string{"--config", source, "--demo"}, "sallyportd: " + source + ":2: peers[0].sources[0]: expected a qube's name"},
		{[]string{"--state-dir", filepath.Join(dir, "s"), "--inventory", inventory}, "sallyportd: " + inventory + ":4: qubes[0].class: expected one of AppVM, "},
		{[]string{"--state-dir", filepath.Join(dir, "s"), "--inventory", dangling}, "sallyportd: " + dangling + ":3: global.default_netvm: expected a qube that exists"},
	} {
		code, said := runHere(t, append(c.args, "--socket-dir", filepath.Join(dir, "sockets"))...)
		assert.Equal(t, 2, code, c.args)
		assert.True(t, strings.HasPrefix(said, c.want), "%v: %s", c.args, said)
		assert.NotContains(t, said, "\n", c.args)
	}
}
