package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/stages/methods"
)

// policed is a daemon on the system of the policy's vectors, and its policy directory.
type policed struct {
	*process
	dir  string
	args []string
}

// underPolicy starts a daemon with files as its policy: names below the directory, and what they hold.
func underPolicy(t *testing.T, files map[string]string, args ...string) policed {
	dir := t.TempDir()
	p := policed{dir: dir}
	for name, text := range files {
		p.put(t, name, text)
	}
	args = append([]string{"--policy-dir", dir, "--state-dir", t.TempDir(), "--inventory", filepath.Join("..", "..", "testdata", "vectors", "policy-system.yaml")}, args...)
	p.args = args
	p.process = start(t, nil, args...)
	return p
}

// again is another daemon, after this one was killed.
func (p policed) again() policed {
	p.kill()
	p.process = start(p.t, nil, p.args...)
	return p
}

// put writes a file of the policy, in place of another or anew.
func (p policed) put(t *testing.T, name, text string) {
	path := filepath.Join(p.dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o644))
	require.NoError(t, os.Rename(path+".new", path))
}

// said is what source is answered: OK and the content, or the exception's type.
func (p policed) said(source, method, dest string) string {
	p.t.Helper()
	a, err := send(p.socket, messages.FormatRequest(method, source, dest, nil))
	require.NoError(p.t, err, method)
	if a.Type != "" {
		return a.Type
	}
	return "OK " + string(a.Content)
}

// names are what an answer lists: the first word of each line.
func names(said string) []string {
	var all []string
	for line := range strings.Lines(strings.TrimPrefix(said, "OK ")) {
		all = append(all, strings.Fields(line)[0])
	}
	return all
}

// eventually is for what the daemon does on its own.
func (p policed) eventually(why string, is func() bool) {
	p.t.Helper()
	require.Eventually(p.t, is, timeoutOfTests, tickOfTests, why)
}

const deniedByPolicy = "PermissionDenied"

// TestPolicyJudgesCalls of every source but dom0. A verdict is right the instant that a tag changes.
func TestPolicyJudgesCalls(t *testing.T) {
	p := underPolicy(t, map[string]string{"30-test.policy": `admin.vm.tag.List  *     mgmt @tag:created-by-mgmt allow target=dom0
admin.vm.tag.List  *     mgmt sys-net              ask   target=dom0
admin.vm.tag.List  *     mgmt vault                allow
admin.vm.tag.List  *     mgmt personal             allow target=vault
admin.vm.tag.List  *     mgmt std                  deny
admin.vm.tag.List  *     *    @anyvm               deny
admin.vm.tag.Get   +work @type:AppVM @type:AppVM   allow target=@adminvm
admin.label.List   *     @anyvm @adminvm           allow target=dom0
admin.vmclass.List *     @anyvm @adminvm           allow
admin.vm.tag.List  *     *    @default             allow target=dom0
`})
	for _, c := range []struct{ why, source, method, dest, want string }{
		{"a rule allows", "mgmt", "admin.vm.tag.List", "work", "OK created-by-mgmt\nwork\n"},
		{"by uuid", "mgmt", "admin.vm.tag.List", "uuid:00000002-1111-4222-8333-000000000002", "OK created-by-mgmt\nwork\n"},
		{"nobody is asked", "mgmt", "admin.vm.tag.List", "sys-net", deniedByPolicy},
		{"it would run in vault", "mgmt", "admin.vm.tag.List", "vault", deniedByPolicy},
		{"and so would this", "mgmt", "admin.vm.tag.List", "personal", deniedByPolicy},
		{"a rule denies", "mgmt", "admin.vm.tag.List", "std", deniedByPolicy},
		{"another does", "work", "admin.vm.tag.List", "disp77", deniedByPolicy},
		{"no rule says anything", "mgmt", "admin.vm.feature.List", "work", deniedByPolicy},
		{"what is not there is denied, whatever the rules say", "mgmt", "admin.vm.tag.List", "ghost", deniedByPolicy},
		{"by uuid, too", "mgmt", "admin.vm.tag.List", "uuid:00000099-1111-4222-8333-000000000002", deniedByPolicy},
		{"rules name arguments", "vault", "admin.vm.tag.Get+work", "work", "OK 1"},
		{"and no others", "vault", "admin.vm.tag.Get+created-by-mgmt", "work", deniedByPolicy},
		{"to dom0", "std", "admin.label.List", "dom0", "OK red\norange\nyellow\ngreen\ngray\nblue\npurple\nblack\n"},
		{"where no rule has to send it", "std", "admin.vmclass.List", "dom0", "OK AppVM\nTemplateVM\nStandaloneVM\nAdminVM\nDispVM\nRemoteVM\n"},
		{"a remote qube asks through its relay", "remote1", "admin.label.List", "dom0", "OK red\norange\nyellow\ngreen\ngray\nblue\npurple\nblack\n"},
		{"or cannot ask", "remote2", "admin.label.List", "dom0", deniedByPolicy},
		{"dom0 is not judged", "dom0", "admin.vm.tag.List", "std", "OK "},
		{"and learns what is wrong", "dom0", "admin.vm.tag.List", "ghost", "QubesVMNotFoundError"},
	} {
		assert.Equal(t, c.want, p.said(c.source, c.method, c.dest), c.why)
	}
	for range 3 {
		p.must("admin.vm.tag.Remove+created-by-mgmt", "work", "")
		assert.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.tag.List", "work"))
		p.must("admin.vm.tag.Set+created-by-mgmt", "work", "")
		assert.Equal(t, "OK created-by-mgmt\nwork\n", p.said("mgmt", "admin.vm.tag.List", "work"))
	}
}

// stock is the default policy, with rules of an administrator qube in its include files (spec: policy.md 6).
func stock() map[string]string {
	files := methods.DefaultPolicy()
	files["include/admin-global-rwx"] = "mgmt @adminvm allow target=dom0\n"
	files["include/admin-local-rwx"] = "mgmt @tag:created-by-mgmt allow target=dom0\n"
	return files
}

// TestTheStockPolicy: what an administrator qube may do that it names.
func TestTheStockPolicy(t *testing.T) {
	p := underPolicy(t, stock())
	assert.Equal(t, []string{"dom0"}, names(p.said("mgmt", "admin.vm.List", "dom0")), "the one that it may list")
	assert.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.List", "work"), "List is global, so that its rules are for dom0")
	assert.Equal(t, "OK created-by-mgmt\n", p.said("mgmt", "admin.vm.tag.List", "disp77"))
	assert.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.Start", "vault"))
	assert.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.property.GetAll", "vault"))
	assert.Contains(t, names(p.said("mgmt", "admin.vm.property.GetAll", "work")), "klass")
	assert.Equal(t, "OK default=True type=str AppVM", p.said("mgmt", "admin.vm.property.Get+klass", "work"))
	assert.Equal(t, deniedByPolicy, p.said("work", "admin.vm.Start", "disp77"))

	p.put(t, "30-mgmt.policy", "admin.vm.List * mgmt @tag:created-by-mgmt allow target=dom0\n")
	p.eventually("the new file counts", func() bool { return p.said("mgmt", "admin.vm.List", "work") != deniedByPolicy })
	assert.Equal(t, []string{"work"}, names(p.said("mgmt", "admin.vm.List", "work")))
	assert.Equal(t, []string{"dom0", "disp77", "work"}, names(p.said("mgmt", "admin.vm.List", "dom0")))
	p.must("admin.vm.tag.Remove+created-by-mgmt", "disp77", "")
	assert.Equal(t, []string{"dom0", "work"}, names(p.said("mgmt", "admin.vm.List", "dom0")))
	assert.Len(t, names("OK "+p.must("admin.vm.List", "dom0", "")), 15, "dom0 sees all")
}

// TestGetAllTellsWhatGetWould (spec: methods.yaml admin.vm.property.GetAll, SAFER).
func TestGetAllTellsWhatGetWould(t *testing.T) {
	p := underPolicy(t, map[string]string{"30-test.policy": `admin.vm.property.GetAll *        mgmt work     allow target=dom0
admin.vm.property.Get    +klass   mgmt work     allow target=dom0
admin.vm.property.Get    +netvm   mgmt work     ask   target=dom0
admin.vm.property.Get    +label   mgmt @tag:net allow target=dom0
admin.property.GetAll    *        mgmt dom0     allow target=dom0
admin.property.Get       +clockvm mgmt dom0     allow target=dom0
`})
	assert.Equal(t, "OK klass default=True type=str AppVM\n", p.said("mgmt", "admin.vm.property.GetAll", "work"))
	assert.Equal(t, "OK clockvm default=True type=vm \n", p.said("mgmt", "admin.property.GetAll", "dom0"))
	p.must("admin.vm.tag.Set+net", "work", "")
	assert.Equal(t, []string{"klass", "label"}, names(p.said("mgmt", "admin.vm.property.GetAll", "work")))
}

// TestEventsArePermittedOneByOne, as they come: by rules and tags of their moment.
func TestEventsArePermittedOneByOne(t *testing.T) {
	p := underPolicy(t, map[string]string{"30-test.policy": `admin.Events +                         mgmt @adminvm         allow target=dom0
admin.Events +domain-feature-set_shown mgmt @tag:watched     allow target=dom0
admin.Events +domain-feature-set_shown mgmt vault            ask   target=dom0
admin.Events +domain-tag-add_watched   mgmt @anyvm           allow target=dom0
admin.Events +property-set_clockvm     mgmt @adminvm         allow target=dom0
admin.Events +domain-feature-set_end   mgmt work             allow target=dom0
`})
	next := p.follow("mgmt")
	for _, call := range [][2]string{
		{"admin.vm.feature.Set+shown", "work"}, // it has no such tag yet
		{"admin.vm.tag.Set+watched", "work"},
		{"admin.vm.tag.Set+other", "work"},
		{"admin.vm.feature.Set+shown", "work"},
		{"admin.vm.feature.Set+hidden", "work"},
		{"admin.vm.feature.Set+shown", "personal"},
		{"admin.vm.feature.Set+shown", "vault"}, // ask is a no
		{"admin.property.Set+clockvm", "dom0"},
		{"admin.property.Set+updatevm", "dom0"},
		{"admin.vm.feature.Set+end", "work"},
	} {
		p.must(call[0], call[1], "")
	}
	var told []string
	for len(told) == 0 || !strings.HasSuffix(told[len(told)-1], ":end") {
		told = append(told, next())
	}
	assert.Equal(t, []string{"work domain-tag-add:watched", "work domain-feature-set:shown", " property-set:clockvm", "work domain-feature-set:end"}, told)
}

// TestWhoWasAwayIsToldWhatHeMayKnow: what a subscriber reads who goes on after a revision is what he would have read then,
// although the qubes are gone since, or have other tags, or their names are others', and the daemon was killed.
func TestWhoWasAwayIsToldWhatHeMayKnow(t *testing.T) {
	p := underPolicy(t, map[string]string{"30-test.policy": `admin.Events * mgmt @adminvm             allow target=dom0
admin.Events * mgmt @tag:created-by-mgmt allow target=dom0
`})
	there := p.listen("mgmt", "admin.Events+from-now")
	live, ends := []messages.Event{there()}, 0
	happens := func(calls ...[2]string) {
		for _, call := range calls {
			payload := ""
			if strings.HasPrefix(call[0], "admin.vm.Create.") {
				payload, call[1] = "name="+call[1]+" label=red", "dom0"
			}
			p.must(call[0], call[1], payload)
		}
		ends++
		end := fmt.Sprintf("end%d", ends)
		p.must("admin.vm.tag.Set+"+end, "work", "")
		for live[len(live)-1].Name != "domain-tag-add:"+end {
			live = append(live, there())
		}
	}
	happens(
		[2]string{"admin.vm.tag.Set+unseen", "vault"},
		[2]string{"admin.vm.tag.Set+created-by-mgmt", "vault"},
		[2]string{"admin.vm.tag.Set+seen", "vault"},
		[2]string{"admin.vm.Create.AppVM", "hers"},
		[2]string{"admin.vm.Remove", "hers"},
		[2]string{"admin.vm.Create.AppVM", "his"},
		[2]string{"admin.vm.tag.Set+created-by-mgmt", "his"},
		[2]string{"admin.vm.Remove", "vault"},
	)
	happens(
		[2]string{"admin.vm.feature.Set+seen", "his"},
		[2]string{"admin.vm.Remove", "his"},
		[2]string{"admin.vm.Create.AppVM", "his"}, // another one
		[2]string{"admin.vm.feature.Set+unseen", "his"},
		[2]string{"admin.vm.Create.StandaloneVM", "vault"},
		[2]string{"admin.vm.tag.Remove+created-by-mgmt", "work"},
		[2]string{"admin.vm.tag.Set+unseen", "work"},
		[2]string{"admin.vm.tag.Set+created-by-mgmt", "work"},
	)
	all := fmt.Sprint(live)
	for _, seen := range []string{"tag-add:seen", "domain-pre-delete [{vm vault}", "domain-delete [{vm vault}", "domain-feature-set:seen", "domain-delete [{vm his}"} {
		assert.Contains(t, all, seen)
	}
	for _, unseen := range []string{"unseen", "hers"} {
		assert.NotContains(t, all, unseen)
	}
	for _, how := range []string{"the same daemon", "another", "a third"} {
		away := p.listen("mgmt", "admin.Events+from-"+live[0].Args[0].Value)
		for i, told := range live {
			if !assert.Equal(t, told, away(), "%s, event %d", how, i) {
				break
			}
		}
		p = p.again()
	}
}

// follow subscribes source to all events, and gives what tells the next.
func (p policed) follow(source string) (next func() string) {
	p.t.Helper()
	events := p.listen(source, "admin.Events")
	next = func() string {
		p.t.Helper()
		e := events()
		return e.Subject + " " + e.Name
	}
	require.Equal(p.t, " connection-established", next())
	return next
}

// listen has source call a method that streams, and gives what tells the next event.
func (p policed) listen(source, method string) (next func() messages.Event) {
	p.t.Helper()
	conn, err := net.Dial("unix", p.socket)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write(messages.FormatRequest(method, source, "dom0", nil))
	require.NoError(p.t, err)
	require.NoError(p.t, conn.(*net.UnixConn).CloseWrite())
	r := bufio.NewReader(conn)
	return func() messages.Event {
		p.t.Helper()
		e, err := messages.ReadEvent(r)
		require.NoError(p.t, err)
		return e
	}
}

// TestDecidedPeersAreFilteredToo: qrexec has decided on the call, and asked a person if need be; what a list shows is for
// the policy to say (design: 7).
func TestDecidedPeersAreFilteredToo(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "peers:\n  - {user: %d, sources: \"*\", policy: decided}\n", os.Geteuid()), 0o600))
	p := underPolicy(t, map[string]string{"30-test.policy": `admin.vm.List         *      mgmt vault allow target=dom0
admin.vm.List         *      mgmt work  ask   target=dom0
admin.Events          *      mgmt vault allow target=dom0
admin.vm.property.Get +klass mgmt work  allow target=dom0
`}, "--config", config)
	assert.Equal(t, "OK created-by-mgmt\nwork\n", p.said("mgmt", "admin.vm.tag.List", "work"), "as qrexec says")
	assert.Equal(t, []string{"vault"}, names(p.said("mgmt", "admin.vm.List", "dom0")))
	assert.Equal(t, []string{"vault"}, names(p.said("mgmt", "admin.vm.List", "vault")))
	assert.Equal(t, "OK ", p.said("mgmt", "admin.vm.List", "work"))
	assert.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.List", "ghost"))
	assert.Equal(t, []string{"klass"}, names(p.said("mgmt", "admin.vm.property.GetAll", "work")))
	next := p.follow("mgmt")
	p.must("admin.vm.tag.Set+new", "work", "")
	p.must("admin.vm.tag.Set+new", "vault", "")
	assert.Equal(t, "vault domain-tag-add:new", next())
}

// TestPolicyIsReloaded when its files change or on SIGHUP; a broken one changes nothing, loudly.
func TestPolicyIsReloaded(t *testing.T) {
	const allow = "admin.vm.tag.List * mgmt work allow target=dom0\n"
	p := underPolicy(t, map[string]string{"30-test.policy": allow}, "--http", "127.0.0.1:"+freePort(t))
	allowed := func() bool { return p.said("mgmt", "admin.vm.tag.List", "work") != deniedByPolicy }
	require.True(t, allowed())
	code, health := p.get("/healthz")
	assert.Equal(t, []any{200, "ok\n"}, []any{code, health})

	p.put(t, "30-test.policy", "")
	p.eventually("the empty file counts", func() bool { return !allowed() })
	p.put(t, "30-test.policy", allow)
	p.eventually("and so does the next", allowed)

	p.put(t, "30-test.policy", "\nadmin.vm.tag.List * mgmt work deny target=dom0\nnonsense\n")
	p.eventually("the log says so", func() bool { return len(p.events("policy.refused")) > 0 })
	assert.True(t, allowed())
	line := p.events("policy.refused")[0]
	assert.True(t, strings.HasPrefix(line.text("sallyport.place"), filepath.Join(p.dir, "30-test.policy:2:")), line)
	assert.Contains(t, line.text("exception.message"), filepath.Join(p.dir, "30-test.policy:3:"))
	code, health = p.get("/healthz")
	assert.Equal(t, 200, code, "the daemon can be used")
	assert.Contains(t, health, "30-test.policy:2:")
	_, metrics := p.get("/metrics")
	for _, m := range []string{"\nsallyport_policy_current 0\n", "\nsallyport_policy_rules 1\n", "\nsallyport_healthy 1\n"} {
		assert.Contains(t, metrics, m)
	}
	before := len(p.events("policy.refused"))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.eventually("SIGHUP has it read again", func() bool { return len(p.events("policy.refused")) > before })

	p.put(t, "30-test.policy", "")
	p.eventually("what is mended counts", func() bool { return !allowed() })
	_, metrics = p.get("/metrics")
	assert.Contains(t, metrics, "\nsallyport_policy_current 1\n")
	assert.Equal(t, 0, p.terminate())
}

// TestWithoutAPolicyOnlyDom0IsServed, and the log and health say so.
func TestWithoutAPolicyOnlyDom0IsServed(t *testing.T) {
	p := underPolicy(t, map[string]string{"30-test.policy": "admin.vm.List * * * allow target=dom0\nnonsense\n"}, "--http", "127.0.0.1:"+freePort(t))
	assert.Len(t, p.events("policy.refused"), 1)
	assert.Len(t, names("OK "+p.must("admin.vm.List", "dom0", "")), 15)
	assert.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.List", "dom0"))
	code, health := p.get("/healthz")
	assert.Equal(t, 200, code)
	assert.Contains(t, health, "every source but dom0 is denied")
}

// TestPolicyIsMendedThroughTheAPI: a daemon that came up with a broken one can be told a better one.
func TestPolicyIsMendedThroughTheAPI(t *testing.T) {
	p := underPolicy(t, map[string]string{"30-test.policy": "nonsense\n"})
	require.Equal(t, deniedByPolicy, p.said("mgmt", "admin.vm.tag.List", "work"))
	p.must("policy.Replace+30-test", "dom0", "any\nadmin.vm.tag.List * mgmt work allow target=dom0\n")
	p.eventually("it counts", func() bool { return p.said("mgmt", "admin.vm.tag.List", "work") != deniedByPolicy })
}

// TestFirstDirectoryCounts: of two files of one name, that of the directory that was named first.
func TestFirstDirectoryCounts(t *testing.T) {
	second := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(second, "30-test.policy"), []byte("admin.vm.tag.List * mgmt work allow target=dom0\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(second, "40-test.policy"), []byte("admin.vm.tag.List * mgmt vault allow target=dom0\n"), 0o600))
	p := underPolicy(t, map[string]string{"30-test.policy": "admin.vm.tag.List * mgmt std allow target=dom0\n"}, "--policy-dir", second)
	var may []string
	for _, dest := range []string{"work", "vault", "std"} {
		if p.said("mgmt", "admin.vm.tag.List", dest) != deniedByPolicy {
			may = append(may, dest)
		}
	}
	slices.Sort(may)
	assert.Equal(t, []string{"std", "vault"}, may)
}

// freePort is a port that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// get asks the daemon's HTTP address, which is its argument after --http.
func (p policed) get(path string) (code int, body string) {
	p.t.Helper()
	args := p.cmd.Args
	address := args[slices.Index(args, "--http")+1]
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+address+path, nil)
	require.NoError(p.t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	require.NoError(p.t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(p.t, err)
	return answer.StatusCode, string(b)
}
