package policy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/policy"
)

// load gives what keeps files from being loaded, a line for each.
func load(t *testing.T, files map[string]string) []string {
	t.Helper()
	p, err := policy.Load(disk(files), policy.DefaultSources)
	if err == nil {
		return nil
	}
	require.Nil(t, p, "half a policy")
	var errs policy.LoadErrors
	require.True(t, errors.As(err, &errs))
	var lines []string
	for _, e := range errs {
		assert.NotEmpty(t, e.Reason)
		lines = append(lines, strings.ReplaceAll(e.Error(), policy.DefaultSources.Dirs[1]+"/", ""))
	}
	return lines
}

// TestLoadErrorsSayWhereAndWhat was read and expected. All are told at once, in the order of the files.
func TestLoadErrorsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"a * b c", `:1:1: rule of four fields: expected at least five fields: SERVICE ARGUMENT SOURCE TARGET ACTION`},
		{"  a.* * b c deny", `:1:3: service "a.*": expected * or letters, digits, '-', '.' and '_'`},
		{"a  x b c deny", `:1:4: argument "x": expected * or a '+' with the argument after it`},
		{"a +x:y b c deny", `:1:3: argument "+x:y": expected letters, digits, '+', '-', '.' and '_' after the first '+'`},
		{"* +x b c deny", `:1:3: argument "+x": expected * because the service is *`},
		{"a * @default c deny", `:1:5: source "@default": expected a name, uuid:`},
		{"a * @nobody c deny", `:1:5: source "@nobody": expected a name, uuid:`},
		{"a * b @tag: deny", `:1:7: target "@tag:": expected a name`},
		{"a * b @dispvm: deny", `:1:7: target "@dispvm:": expected a name`},
		{"a * b @dispvm:@tag: deny", `:1:7: target "@dispvm:@tag:": expected a name`},
		{"a * b @dispvm:@type:AppVM deny", `:1:7: target "@dispvm:@type:AppVM": expected a name`},
		{"a * b uuid: deny", `:1:7: target "uuid:": expected a name`},
		{"a * b c Deny", `:1:9: action "Deny": expected deny, allow or ask`},
		{"a * b c deny user=x", `:1:14: parameter of deny "user=x": expected one of notify=`},
		{"a * b c allow x=y", `:1:15: parameter of allow "x=y": expected one of autostart=, notify=, target=, user=`},
		{"a * b c allow default_target=d", `:1:15: parameter of allow "default_target=d": expected one of autostart=, notify=, target=, user=`},
		{"a * b c ask x", `:1:13: parameter "x": expected NAME=VALUE`},
		{"a * b c allow user=x user=y", `:1:22: parameter "user=y": expected user= once`},
		{"a * b c allow notify=Yes", `:1:22: notify= "Yes": expected yes or no`},
		{"a * b c ask default_target=", `:1:28: default_target=: expected a name, uuid:, @adminvm, @dispvm or @dispvm:`},
		{"a * b c ask target=*", `:1:20: target= "*": expected a name`},
		{"a * b c allow target=@default", `:1:22: target= "@default": expected a name`},
		{"a * b @default allow", `:1:7: target "@default": expected a parameter target=`},
		{"!nothing x", `:1:1: directive "!nothing": expected !include, !include-dir, !include-service or !compat-4.0`},
		{" !include", `:1:2: directive "!include": expected !include PATH`},
		{"!include missing", `:1:10: path "missing": expected a regular file that exists, relative to `},
		{"!include /", `:1:10: path "/": expected a regular file that exists, relative to `},
		{"!include-dir x", `:1:14: path "x": expected a directory that exists, relative to `},
		{"!include-service a.* * x", `:1:18: service "a.*": expected `},
		{"a\x00 * b c deny", `:1:2: line "\x00": expected no control characters`},
		{"# a comment\rthat hides * * * deny", `:1:12: line "\r": expected no control characters`},
		{"a * \xffb c deny", `:1:5: line: expected UTF-8`},
		{"# fine\na * b c deny\r\n" + strings.Repeat("x", 1<<20), `:3: line: expected at most 65536 bytes`},
		{"a * b " + strings.Repeat("ä", 1000) + " Deny" + strings.Repeat("y", 75) + "ää", `:1:2008: action "Deny` + strings.Repeat("y", 75) + `...": expected deny`},
	} {
		lines := load(t, map[string]string{"30-a.policy": c.text})
		if assert.Len(t, lines, 1, "%.80q", c.text) {
			assert.True(t, strings.HasPrefix(lines[0], "30-a.policy"+c.says), "got  %s\nwant %s", lines[0], c.says)
		}
	}
	lines := load(t, map[string]string{"20-b.policy": "one\na * b c deny\ntwo\n", "10-a.policy": "three", "Bad.policy": "", "include/s": "four",
		"40-c.policy": "!include-service x * include/s\n!include-service y * include/s\n"})
	require.Len(t, lines, 5, "what is wrong with an included file is told once: %q", lines)
	for i, at := range []string{"Bad.policy: file name", "10-a.policy:1:1:", "20-b.policy:1:1:", "20-b.policy:3:1:", "include/s:1:1:"} {
		assert.True(t, strings.HasPrefix(lines[i], at), "%s: %s", at, lines[i])
	}
}

// TestFilesThatAreNoPolicyAreNotRead.
func TestFilesThatAreNoPolicyAreNotRead(t *testing.T) {
	files := disk(map[string]string{"30-a.policy": "a * b c allow\n", ".hidden.policy": "wrong", "30-b.policy.rpmsave": "wrong", "include/x.policy": "wrong", "README": "wrong"})
	files["etc/qubes/policy.d/sub.policy/30-x.policy"] = &fstest.MapFile{Data: []byte("wrong")}
	files["etc/qubes/policy.d/pipe.policy"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	p, err := policy.Load(files, policy.DefaultSources)
	require.NoError(t, err)
	assert.Equal(t, "a * b c allow\n", p.String())
}

// TestTheFirstDirectoryHidesFilesOfTheSecond, by name, whatever they say.
func TestTheFirstDirectoryHidesFilesOfTheSecond(t *testing.T) {
	p, err := policy.Load(disk(map[string]string{"30-a.policy": "wrong", "run/30-a.policy": "a * b c allow\n", "20-x.policy": "x * * * deny\n"}), policy.DefaultSources)
	require.NoError(t, err)
	assert.Equal(t, "x * * * deny\na * b c allow\n", p.String())
	for _, gone := range []string{"run/qubes/policy.d", "etc/qubes/policy.d"} {
		files := disk(map[string]string{})
		delete(files, gone)
		_, err := policy.Load(files, policy.DefaultSources)
		assert.ErrorContains(t, err, "/"+gone+": directory")
	}
}

// TestIncludesInsertWhereTheyStand.
func TestIncludesInsertWhereTheyStand(t *testing.T) {
	p, err := policy.Load(disk(map[string]string{
		"30-a.policy":     "a * b c deny\n!include-dir more\n!include /elsewhere/../etc/qubes/policy.d/include/x\n!include-service s +arg include/short\nz * b c deny\n",
		"more/2-b.policy": "d * @anyvm * ask\n", "more/10-b.policy": "e * @anyvm * ask\n", "more/ignored": "wrong",
		"include/x":     "# comment\n!include include/y\nf * @anyvm * allow user=a,b notify=yes\n",
		"include/y":     "g + @anyvm @dispvm:@tag:x allow autostart=yes notify=no\n",
		"include/short": "# comment, with commas\n$include:include/s2\n",
		"include/s2":    "$tag:x,$adminvm\tallow,target=$adminvm,notify=yes\n",
	}), policy.DefaultSources)
	require.NoError(t, err)
	assert.Equal(t, `a * b c deny
e * @anyvm * ask
d * @anyvm * ask
g + @anyvm @dispvm:@tag:x allow
f * @anyvm * allow user=a,b notify=yes
s +arg @tag:x @adminvm allow target=dom0 notify=yes
z * b c deny
`, p.String())
}

// TestLegacyFiles come by service, those for one argument first, each with its end.
func TestLegacyFiles(t *testing.T) {
	p, err := policy.Load(disk(map[string]string{"35-c.policy": "!compat-4.0\n", "legacy/b": "$anyvm $anyvm ask\n", "legacy/b+y": "w $default allow,target=x\n", "legacy/b+x": "",
		"legacy/a": "$anyvm dom0 deny\n", "legacy/.a": "wrong", "legacy/a.rpmnew": "wrong", "legacy/a~": "wrong", "legacy/b.x": "q q allow"}), policy.DefaultSources)
	require.NoError(t, err)
	assert.Equal(t, `a * @anyvm @adminvm deny
b +x @anyvm @anyvm deny
b +x @anyvm @adminvm deny
b +y w @default allow target=x
b +y @anyvm @anyvm deny
b +y @anyvm @adminvm deny
b * @anyvm @anyvm ask
b.x * q q allow
`, p.String())
	assert.True(t, p.Rules()[1].Implied)
	assert.False(t, p.Rules()[3].Implied)
	assert.Equal(t, "/etc/qubes/policy.d/35-c.policy:1", p.Legacy()[0].String())
	lines := load(t, map[string]string{"35-c.policy": "!compat-4.0\n", "legacy/b": "!compat-4.0\n"})
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0], `/etc/qubes-rpc/policy/b:1:1: directive "!compat-4.0"`)
	_, err = policy.Load(disk(map[string]string{"35-c.policy": "!compat-4.0\n"}), policy.Sources{Dirs: policy.DefaultSources.Dirs})
	assert.ErrorContains(t, err, "none is configured")
}

// TestWhatNeverEndsEnds with a clear error.
func TestWhatNeverEndsEnds(t *testing.T) {
	chain := map[string]string{"30-a.policy": "!include i0\n"}
	for i := range 30 {
		chain[fmt.Sprintf("i%d", i)] = fmt.Sprintf("!include i%d\n", i+1)
	}
	fan := map[string]string{"30-a.policy": "!include i0\n", "i9": "# nothing\n"}
	for i := range 9 {
		fan[fmt.Sprintf("i%d", i)] = strings.Repeat(fmt.Sprintf("!include i%d\n", i+1), 10) // a milliard of files
	}
	rules := map[string]string{"30-a.policy": strings.Repeat("!include i\n", 20), "i": strings.Repeat("a * b c deny\n", 10_000)}
	wrong := map[string]string{"30-a.policy": strings.Repeat("wrong\n", 100_000)}
	for name, c := range map[string]struct {
		files map[string]string
		lines int
		says  string
	}{
		"loop":         {map[string]string{"30-a.policy": "!include i\n", "i": "!include j\n!include j\n", "j": "!include i\n"}, 1, "j:1:10: path \"i\": expected a file that does not include itself"},
		"dir loop":     {map[string]string{"30-a.policy": "!include-dir .\n"}, 1, "30-a.policy:1:14: path \".\": expected a file that does not include itself"},
		"short loop":   {map[string]string{"30-a.policy": "!include-service a * i\n", "i": "$include:i\n"}, 1, "i:1:10: path \"i\": expected a file that does not"},
		"depth":        {chain, 1, "i15:1:10: path \"i16\": expected at most 16 files inside one another"},
		"much text":    {fan, 1, ": file: expected at most 16 MiB in all"},
		"many rules":   {rules, 1, "i: rule: expected at most 131072 rules"},
		"many errors":  {wrong, 1001, ": policy: expected fewer errors"},
		"a large file": {map[string]string{"30-a.policy": strings.Repeat("# x\n", 5<<20)}, 1, "30-a.policy: file: expected at most 16 MiB"},
	} {
		lines := load(t, c.files)
		if assert.Len(t, lines, c.lines, name) {
			assert.Contains(t, lines[len(lines)-1], c.says, name)
		}
	}
	delete(chain, "i16")
	chain["i15"] = "a * b c deny\n"
	assert.Empty(t, load(t, chain), "sixteen are fine")
}

// TestADirectoryOfTheMachineLoads, through symbolic links; what can not be read is an error.
func TestADirectoryOfTheMachineLoads(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(root+"/"+name, []byte(text), 0o600))
	}
	require.NoError(t, os.Mkdir(root+"/p", 0o700))
	write("outside", "a * b c deny\n")
	write("p/20-a.policy", "!include ../outside\n")
	require.NoError(t, os.Symlink("../outside", root+"/p/10-link.policy"))
	sources := policy.Sources{Dirs: []string{root + "/p"}}
	p, err := policy.Load(os.DirFS("/"), sources)
	require.NoError(t, err)
	assert.Equal(t, "a * b c deny\na * b c deny\n", p.String())

	require.NoError(t, os.Symlink("nowhere", root+"/p/30-gone.policy"))
	_, err = policy.Load(os.DirFS("/"), sources)
	assert.EqualError(t, err, root+"/p/30-gone.policy: file: expected a file that can be read (no such file or directory)")
}

// TestTheStockPolicyLoads as it is delivered.
func TestTheStockPolicyLoads(t *testing.T) {
	dir, err := filepath.Abs("../../config/policy.d")
	require.NoError(t, err)
	p, err := policy.Load(os.DirFS("/"), policy.Sources{Dirs: []string{dir}})
	require.NoError(t, err)
	assert.NotEmpty(t, p.Rules())
	assert.Empty(t, policy.Lint(p, policy.Knowledge{}))
}

// unreadable is a file system on which reading fails.
type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".policy") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}

func TestWhatCanNotBeReadIsAnError(t *testing.T) {
	_, err := policy.Load(unreadable{disk(map[string]string{"30-a.policy": ""})}, policy.DefaultSources)
	assert.EqualError(t, err, "/etc/qubes/policy.d/30-a.policy: file: expected a file that can be read (permission denied)")
}

// reloads requires that p, printed, loads as it is.
func reloads(t require.TestingT, p *policy.Policy) {
	again, err := policy.Parse("again", p.String())
	require.NoError(t, err, p.String())
	require.Len(t, again.Rules(), len(p.Rules()))
	for i := range p.Rules() {
		require.True(t, again.Rules()[i].Same(&p.Rules()[i]), "%s\n%s", &p.Rules()[i], &again.Rules()[i])
	}
	require.Equal(t, p.String(), again.String())
}

// TestWhatLoadsPrintsAndLoadsEqual.
func TestWhatLoadsPrintsAndLoadsEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Parse("p", rules(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }))
		require.NoError(t, err)
		reloads(t, p)
	})
}

// TestRulesArePrintedInOneWay.
func TestRulesArePrintedInOneWay(t *testing.T) {
	p, err := policy.Parse("p", `
 a	*  dom0 uuid:00000000-0000-0000-0000-000000000000	ask  notify=no autostart=no default_target=@adminvm user= target=uuid:00000000-0000-0000-0000-000000000000
a * b c allow autostart=yes notify=yes user=root target=dom0
a * b c deny notify=yes
a * b c deny notify=no`)
	require.NoError(t, err)
	assert.Equal(t, `a * @adminvm @adminvm ask target=uuid:00000000-0000-0000-0000-000000000000 default_target=dom0 autostart=no
a * b c allow target=dom0 user=root notify=yes
a * b c deny
a * b c deny notify=no
`, p.String())
	reloads(t, p)
}

// FuzzParse: no text makes loading panic, in either format; what loads, prints and loads equal.
func FuzzParse(f *testing.F) {
	_, all := readVectors(f)
	for _, v := range all {
		for _, text := range v.Files {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, main := range []string{text, "!include-service x +y include/s\n"} {
			p, err := policy.Load(disk(map[string]string{"30-a.policy": main, "include/s": text, "legacy/a+b": text}), policy.DefaultSources)
			if err == nil {
				reloads(t, p)
			} else {
				require.NotEmpty(t, err.Error())
			}
		}
	})
}
