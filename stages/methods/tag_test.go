package methods_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
)

// tags are all tags of a qube.
func (s *system) tags(name string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s.dom0("admin.vm.tag.List", name, ""), ok), "\n", " ")
}

// property is a qube's explicit property, which no method tells yet; "-" if it is not set.
func (s *system) property(name, property string) string {
	p, err := qube.ParsePropertyName(property)
	require.NoError(s.t, err)
	q, _ := s.book.View().QubeByID(s.uuid(name))
	v, set := q.Property(p)
	if !set {
		return "-"
	}
	return v.Shown()
}

// TestTags is spec: model.md 11.
func TestTags(t *testing.T) {
	s := start(t)
	longest := strings.Repeat("x", 255)
	for _, step := range []struct{ call, want string }{
		{"admin.vm.tag.Get+office", ok + "1"},
		{"admin.vm.tag.Get+Office", ok + "0"},
		{"admin.vm.tag.Set+office", ok},
		{"admin.vm.tag.Set+" + longest, ok},
		{"admin.vm.tag.Get+" + longest, ok + "1"},
		{"admin.vm.tag.Set+" + longest + "x", "QubesInvalidTagError"},
		{"admin.vm.tag.Get+a.b", "QubesInvalidTagError"},
		{"admin.vm.tag.Remove+a+b", "QubesInvalidTagError"},
		{"admin.vm.tag.Remove+office", ok},
		{"admin.vm.tag.Remove+office", "QubesTagNotFoundError"},
		{"admin.vm.tag.Get+office", ok + "0"},
	} {
		assert.Equal(t, step.want, s.dom0(step.call, "work", ""), step.call)
	}
	before := s.book.View().Revision()
	s.dom0("admin.vm.tag.Set+"+longest, "work", "")
	assert.Equal(t, before, s.book.View().Revision(), "adding a tag that is there changes nothing")
	assert.Equal(t, ok, s.dom0("admin.vm.tag.Set+x", "away", ""))
	assert.Equal(t, ok, s.dom0("admin.vm.tag.Set+x", "dom0", ""))
}

// TestCreatedBy: who created a qube decides on more tags, and on its GUI domain (spec: extensions.md 4, 5).
func TestCreatedBy(t *testing.T) {
	for name, c := range map[string]struct {
		with, guivm string // the creator's features; "-" for none
		tag, dest   string
		want        string
		tags        string // afterwards
		property    string // guivm, afterwards
	}{
		"nothing follows":        {"-", "-", "created-by-work", "dvm", ok, "audiovm-dom0 created-by-work guivm-dom0 ", "-"},
		"more tags":              {" b  a b ", "-", "created-by-work", "dvm", ok, "a audiovm-dom0 b created-by-work guivm-dom0 ", "-"},
		"no more tags":           {"", "-", "created-by-work", "dvm", ok, "audiovm-dom0 created-by-work guivm-dom0 ", "-"},
		"something that is none": {"a b.c", "-", "created-by-work", "dvm", "QubesInvalidTagError", "audiovm-dom0 guivm-dom0 ", "-"},
		"who created it":         {"a created-by-base", "-", "created-by-work", "dvm", "QubesInvalidTagError", "audiovm-dom0 guivm-dom0 ", "-"},
		"whose disposable it is": {"disp-created-by-base", "-", "created-by-work", "dvm", "QubesInvalidTagError", "audiovm-dom0 guivm-dom0 ", "-"},
		"a GUI domain":           {"-", "Zoo", "created-by-work", "dvm", ok, "audiovm-dom0 created-by-work guivm-Zoo ", "Zoo"},
		"the same GUI domain":    {"-", "dom0", "created-by-work", "dvm", ok, "audiovm-dom0 created-by-work guivm-dom0 ", "dom0"},
		"no GUI domain":          {"-", "", "created-by-work", "dvm", ok, "audiovm-dom0 created-by-work guivm-dom0 ", "-"},
		"one that is not there":  {"a", "ghost", "created-by-work", "dvm", "QubesVMNotFoundError", "audiovm-dom0 guivm-dom0 ", "-"},
		"no name":                {"a", "a b", "created-by-work", "dvm", "QubesVMNotFoundError", "audiovm-dom0 guivm-dom0 ", "-"},
		"a remote one":           {"a", "away", "created-by-work", "dvm", "QubesVMNotFoundError", "audiovm-dom0 guivm-dom0 ", "-"},
		"one that makes no tag":  {"a", "a.dot", "created-by-work", "dvm", "QubesException", "audiovm-dom0 guivm-dom0 ", "-"},
		"one tag too many":       {"guivm-base a", "Zoo", "created-by-work", "dvm", ok, "a audiovm-dom0 created-by-work guivm-Zoo ", "Zoo"},
		"nobody":                 {"a", "Zoo", "created-by-ghost", "dvm", "QubesVMNotFoundError", "audiovm-dom0 guivm-dom0 ", "-"},
		"no name of anybody":     {"a", "Zoo", "created-by-", "dvm", "QubesVMNotFoundError", "audiovm-dom0 guivm-dom0 ", "-"},
		"another tag":            {"a", "Zoo", "xcreated-by-work", "dvm", ok, "audiovm-dom0 guivm-dom0 xcreated-by-work ", "-"},
		"of a disposable":        {"a", "Zoo", "disp-created-by-work", "dvm", ok, "audiovm-dom0 disp-created-by-work guivm-dom0 ", "-"},
		"a remote qube":          {"a", "Zoo", "created-by-ghost", "away", ok, "created-by-ghost ", "-"}, // has no such handlers
		"dom0":                   {"a", "Zoo", "created-by-work", "dom0", ok, "a created-by-work ", "-"}, // has no such property
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for feature, value := range map[string]string{"tag-created-vm-with": c.with, "set-created-guivm": c.guivm} {
				if value != "-" {
					require.Equal(t, ok, s.dom0("admin.vm.feature.Set+"+feature, "work", value))
				}
			}
			before := s.book.View().Revision()
			assert.Equal(t, c.want, s.dom0("admin.vm.tag.Set+"+c.tag, c.dest, ""))
			assert.Equal(t, c.tags, s.tags(c.dest))
			assert.Equal(t, c.property, s.property(c.dest, "guivm"))
			assert.Equal(t, c.want == ok, s.book.View().Revision() > before, "all of it is a change, or nothing is")
		})
	}
}

// TestCreatedByOnce: nothing follows from a tag that is there already.
func TestCreatedByOnce(t *testing.T) {
	s := start(t)
	require.Equal(t, ok, s.dom0("admin.vm.tag.Set+created-by-work", "dvm", ""))
	require.Equal(t, ok, s.dom0("admin.vm.feature.Set+tag-created-vm-with", "work", "a"))
	require.Equal(t, ok, s.dom0("admin.vm.tag.Set+created-by-work", "dvm", ""))
	assert.Equal(t, "audiovm-dom0 created-by-work guivm-dom0 ", s.tags("dvm"))
}

// TestCreatedByIsProtected: from every source but dom0, remote ones too, set or not, and whether or not the qube that it
// names exists (spec: extensions.md 2; model.md 11).
func TestCreatedByIsProtected(t *testing.T) {
	for _, tag := range []string{"created-by-work", "created-by-ghost", "created-by-", "disp-created-by-work", "disp-created-by-ghost"} {
		for _, method := range []string{"admin.vm.tag.Set+", "admin.vm.tag.Remove+"} {
			for _, source := range []string{"work", "away", "base"} {
				s := start(t)
				s.dom0("admin.vm.tag.Set+"+tag, "away", "")
				for _, dest := range []string{"dvm", "away", "dom0", "ghost"} {
					assert.Equal(t, "PermissionDenied", s.call(source, method+tag, dest, ""), "%s %s %s", source, method, tag)
				}
			}
		}
	}
	s := start(t)
	assert.Equal(t, ok, s.call("work", "admin.vm.tag.Set+created-by", "dvm", ""))
	assert.Equal(t, ok, s.call("work", "admin.vm.tag.Set+my-created-by-x", "dvm", ""))
	assert.Equal(t, ok+"0", s.call("work", "admin.vm.tag.Get+created-by-work", "dvm", ""))
}
