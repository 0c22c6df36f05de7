package policyfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/internal/policy"
	"sallyport/messages"
)

const syntax = "PolicyAdminSyntaxException"

// TestChangesThatBreakThePolicyAreRefused, and those that leave a broken one no worse are not (spec: policy.md 7, trap 3).
func TestChangesThatBreakThePolicyAreRefused(t *testing.T) {
	includes := "!include-service x.Y * include/inc\n"
	for name, c := range map[string]struct {
		files  files
		change messages.Order
		want   string
	}{
		"a rule that is none":                          {files{}, replace("a", "new", broken), syntax},
		"one in place of one that is":                  {files{"a.policy": allow}, replace("a", "any", broken), syntax},
		"a control character":                          {files{}, replace("a", "new", "# \x01\n"), syntax},
		"a file that is not there":                     {files{}, replace("a", "new", includes), syntax},
		"a file that is there":                         {files{"include/inc": "a b deny\n"}, replace("a", "new", includes), "OK "},
		"a file of the wrong form":                     {files{"include/inc": allow}, replace("a", "new", includes), syntax},
		"the wrong form, in the included file":         {files{"a.policy": includes, "include/inc": "a b deny\n"}, replace("include/inc", "any", allow), syntax},
		"an included file goes":                        {files{"a.policy": includes, "include/inc": "a b deny\n"}, remove("include/inc", "any"), syntax},
		"one that is not included goes":                {files{"a.policy": "#" + includes, "include/inc": broken}, remove("include/inc", "any"), "OK "},
		"it includes itself":                           {files{}, replace("a", "new", "!include a.policy\n"), syntax},
		"it is included by what it includes":           {files{"a.policy": "!include b.policy\n", "b.policy": ""}, replace("b", "any", "!include a.policy\n"), syntax},
		"what includes itself is removed":              {files{"a.policy": "!include a.policy\n"}, remove("a", "any"), "OK "},
		"it brings what was broken before":             {files{"include/bad": broken}, replace("a", "new", "!include include/bad\n"), syntax},
		"a directory":                                  {files{"more/b.policy": broken}, replace("a", "new", "!include-dir more\n"), syntax},
		"the last file goes":                           {files{"a.policy": allow}, remove("a", "any"), "OK "},
		"broken: it is mended":                         {files{"a.policy": broken}, replace("a", "any", allow), "OK "},
		"broken: it is removed":                        {files{"a.policy": broken}, remove("a", "any"), "OK "},
		"broken: it is mended in part":                 {files{"a.policy": broken + "x\n"}, replace("a", "any", "#\n#\n"+broken), "OK "},
		"broken: it stays as it is, elsewhere":         {files{"a.policy": broken}, replace("a", "any", "#\n"+broken), "OK "},
		"broken: it is twice what it was once":         {files{"a.policy": broken}, replace("a", "any", broken+broken), syntax},
		"broken: it is so in another way":              {files{"a.policy": broken}, replace("a", "any", "x.Y * a @nothing allow\n"), syntax},
		"broken: one of two is mended":                 {files{"a.policy": broken, "b.policy": broken}, replace("a", "any", allow), "OK "},
		"broken: one of two is removed":                {files{"a.policy": broken, "b.policy": broken}, remove("a", "any"), "OK "},
		"broken: another is added":                     {files{"a.policy": broken}, replace("b", "any", broken), syntax},
		"broken: it says what it included":             {files{"a.policy": "!include include/bad\n", "include/bad": broken}, replace("a", "any", broken), syntax},
		"broken: a good one is added":                  {files{"a.policy": broken}, replace("b", "new", allow), "OK "},
		"broken: a good one goes":                      {files{"a.policy": broken, "b.policy": allow}, remove("b", "any"), "OK "},
		"broken: a good one is made a bad one":         {files{"a.policy": broken, "b.policy": allow}, replace("b", "any", broken), syntax},
		"broken: what another includes goes":           {files{"a.policy": broken, "b.policy": includes, "include/inc": "a b deny\n"}, remove("include/inc", "any"), syntax},
		"broken: the missing file is made":             {files{"a.policy": includes}, replace("include/inc", "new", "a b deny\n"), "OK "},
		"broken: the missing file is made, badly":      {files{"a.policy": includes}, replace("include/inc", "new", allow), syntax},
		"broken by upper case: that is removed":        {files{"a.policy": allow, "B.policy": allow}, remove("B", "any"), "OK "},
		"broken by upper case: another is changed":     {files{"a.policy": allow, "B.policy": allow}, replace("a", "any", ""), "OK "},
		"broken by many: one is mended":                {files{"a.policy": many(broken), "b.policy": many(broken)}, replace("b", "any", allow), "OK "},
		"broken by many: one is removed":               {files{"a.policy": many(broken), "b.policy": many(broken)}, remove("a", "any"), "OK "},
		"broken by many: those behind are not counted": {files{"a.policy": many(broken), "b.policy": broken}, replace("a", "any", allow), "OK "},
		"broken by many: the first is no better":       {files{"a.policy": many(broken), "b.policy": ""}, replace("a", "any", "x.Y * a @nothing allow\n"), syntax},
		"so many that it stops":                        {files{}, replace("a", "any", many(broken)), syntax},
	} {
		t.Run(name, func(t *testing.T) {
			w := at(c.files.in(t, t.TempDir()))
			before := held(t, w.dir())
			require.Equal(t, c.want, do(t, w, c.change))
			if c.want != "OK " {
				assert.Equal(t, before, held(t, w.dir()), "nothing is left behind")
			}
		})
	}
}

// many is more errors than are told.
func many(line string) string { return strings.Repeat(line, policy.MaxErrors+1) }

// TestThePlaceOfAnError is told, and nothing of what is there.
func TestThePlaceOfAnError(t *testing.T) {
	w := at(files{"include/inc": "a b deny\n\n a secret\n"}.in(t, t.TempDir()))
	_, err := attempt(t.Context(), w, replace("a", "new", "!include-service x.Y * include/inc\n"))
	require.EqualError(t, err, "the policy would not load: inc:3:2: field-count")
	_, err = attempt(t.Context(), w, replace("a", "new", "!include secret\x01\n"))
	require.EqualError(t, err, "the policy would not load: a.policy:1:16: control-character")
	assert.Equal(t, "?x?y: unreadable", place{&policy.LoadError{At: policy.Position{File: "/secret/\xffx\ny"}, Reason: policy.Unreadable}}.Shown())
}

// TestEveryDirectoryCounts: the administered one has to load alone, as it does when the system starts, and with the others.
func TestEveryDirectoryCounts(t *testing.T) {
	run, etc := t.TempDir(), t.TempDir()
	w := New(policy.Sources{Dirs: []string{run, etc}})
	files{"hidden.policy": allow, "10-run.policy": fmt.Sprintf("!include %s/include/more\n", etc)}.in(t, run)
	files{"include/more": allow, "include/other": broken}.in(t, etc)
	assert.Equal(t, syntax, do(t, w, remove("include/more", "any")), "one in the other directory includes it")
	assert.Equal(t, syntax, do(t, w, replace("include/more", "any", broken)))
	assert.Equal(t, syntax, do(t, w, replace("hidden", "any", broken)), "it will count when the other is not there")
	assert.Equal(t, "OK ", do(t, w, replace("hidden", "any", allow)))
	assert.Equal(t, []string{"hidden.policy", "include/more", "include/other"}, sorted(held(t, etc)))
	assert.Equal(t, "OK hidden\n", do(t, w, order(messages.PolicyGetFiles, "", "service", "qubes.A")), "of this directory alone")
	other := filepath.Join(t.TempDir(), "other") // a name by which the other directory includes this one whole
	require.NoError(t, os.Symlink(etc, other))
	files{"20-run.policy": "!include-dir " + other + "\n"}.in(t, run)
	assert.Equal(t, syntax, do(t, w, replace("new", "new", "!include include/more\n")), "which is not there, seen from the other directory")
	assert.Equal(t, "OK ", do(t, w, replace("new", "new", allow)))
	assert.Equal(t, "OK ", do(t, w, remove("new", "any")))
	require.NoError(t, os.RemoveAll(run))
	assert.Equal(t, "OK ", do(t, w, replace("hidden", "any", "")), "broken by a directory that is not there")
	assert.Equal(t, syntax, do(t, w, replace("hidden", "any", broken)))
}

// TestTheChangeIsSeenAsItWillBe: what a policy with a change loads as is what it loads as when the change has been made,
// whatever includes whatever by whatever way.
func TestTheChangeIsSeenAsItWillBe(t *testing.T) {
	paths := []string{"a.policy", "b.policy", "C.policy", "include/x", "include/y"}
	rapid.Check(t, func(t *rapid.T) {
		base, err := os.MkdirTemp("", "policyfiles")
		require.NoError(t, err)
		defer os.RemoveAll(base)
		dir, err := filepath.EvalSymlinks(base)
		require.NoError(t, err)
		lines := rapid.SampledFrom([]string{allow, "x.Y * a b deny\n", broken, "a b deny\n", "# nothing\n", "!include a.policy\n", "!include b.policy\n", "!include include/x\n", "!include include/y\n",
			"!include-service x.Y * include/x\n", "!include-service x.Y +z include/../include/y\n", "!include-dir .\n", "!include-dir include\n", "!include alias/x\n", "!include alias/a.policy\n",
			"!include-dir alias\n", "!include link\n", "!include " + dir + "/include/x\n", "!include ../other/a.policy\n", "\x01\n"})
		text := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(lines, 0, 3).Draw(t, "lines"), "")
		})
		f := files{}
		for _, path := range paths {
			if rapid.Bool().Draw(t, "there") {
				f[path] = text.Draw(t, path)
			}
		}
		root := f.in(t, filepath.Join(dir, "policy.d"))
		for path, to := range map[string]string{"alias": rapid.SampledFrom([]string{"include", "."}).Draw(t, "alias"), "link": rapid.SampledFrom([]string{"include/x", "a.policy", "alias/y"}).Draw(t, "link")} {
			if rapid.Bool().Draw(t, "linked") {
				require.NoError(t, os.Symlink(to, filepath.Join(root, path)))
			}
		}
		if rapid.Bool().Draw(t, "other") { // the directory by another name
			require.NoError(t, os.Symlink("policy.d", filepath.Join(dir, "other")))
		}
		path := rapid.SampledFrom(paths).Draw(t, "change")
		c := change{file: filepath.Join(root, path), text: []byte(text.Draw(t, "text")), removed: rapid.Bool().Draw(t, "removed")}
		if _, err := os.Lstat(c.file); err != nil {
			for _, link := range []string{"link", "alias"} { // what leads nowhere yet is not foreseen to lead here
				if _, err := os.Stat(filepath.Join(root, link)); err != nil {
					_ = os.Remove(filepath.Join(root, link))
				}
			}
		}
		sources, system := policy.Sources{Dirs: []string{root}}, os.DirFS("/")
		foreseen, foreseenErr := policy.Load(with(system, c), sources)
		if c.removed {
			_ = os.Remove(c.file)
		} else {
			require.NoError(t, os.WriteFile(c.file, c.text, 0o600))
		}
		after, afterErr := policy.Load(system, sources)
		require.Equal(t, afterErr, foreseenErr)
		require.Equal(t, after, foreseen)
	})
}
