package methods_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/qube"
)

// unchanged asserts that call leaves the published snapshot the very same.
func (s *system) unchanged(call func()) {
	before := s.book.Snapshot()
	call()
	assert.Same(s.t, before, s.book.Snapshot(), "a call that fails leaves nothing behind")
}

// TestCreationPayloads is each violation of the payload's grammar, in every class (spec: methods.yaml
// admin.vm.Create.{class} and admin.vm.CreateInPool.{class} stage1_checks).
func TestCreationPayloads(t *testing.T) {
	s := start(t)
	both := []string{"Create.", "CreateInPool."}
	for payload, c := range map[string]struct {
		want    string
		methods []string
	}{
		"":                               {"ProtocolError", both},
		" ":                              {"ProtocolError", both},
		"name=x":                         {"ProtocolError", both},
		"label=red":                      {"ProtocolError", both},
		"name=x label=red ":              {"ProtocolError", both},
		" name=x label=red":              {"ProtocolError", both},
		"name=x  label=red":              {"ProtocolError", both},
		"name=x label=red extra":         {"ProtocolError", both},
		"name=x label=red extra=1":       {"ProtocolError", both},
		"name=x label=red =":             {"ProtocolError", both},
		"name=x label=red template=x":    {"ProtocolError", both},
		"name=x name=y label=red":        {"ProtocolError", both},
		"name=x label=red label=blue":    {"ProtocolError", both},
		"name=x label=red\tname=y":       {"QubesInvalidLabelError", both},
		"name=x label=red\xc3\xa9":       {"ProtocolError", both},
		"name= label=red":                {"QubesValueError", both},
		"name=-x label=red":              {"QubesValueError", both},
		"name=x-dm label=red":            {"QubesValueError", both},
		"name=a=b label=red":             {"QubesValueError", both},
		"name=x label=":                  {"QubesInvalidLabelError", both},
		"name=x label=1":                 {"QubesInvalidLabelError", both},
		"name=x label=a/b":               {"QubesInvalidLabelError", both},
		"name=x label=red\n":             {"QubesInvalidLabelError", both},
		"name=x label=red pool=p":        {"ProtocolError", both[:1]},
		"name=x label=red pool:root=p":   {"ProtocolError", both[:1]},
		"name=x label=red pool=p pool=p": {"ProtocolError", both[1:]},
		"name=x label=red pool:foo=p":    {"ProtocolError", both[1:]},
		"name=x label=red pool:=p":       {"ProtocolError", both[1:]},
		"name=x label=red pool=a/b":      {"QubesException", both[1:]},
		"name=x label=red pool=":         {"QubesException", both[1:]},
		"name=x label=red pool:private=p pool:private=p": {"ProtocolError", both[1:]},
		"name=x label=red pool=p pool:private=p":         {"ProtocolError", both[1:]},
	} {
		for _, method := range c.methods {
			for _, class := range qube.Classes {
				s.unchanged(func() {
					assert.Equal(t, c.want, s.dom0("admin.vm."+method+class.Shown(), "dom0", payload), "%s%s %q", method, class, payload)
				})
			}
		}
	}
	for _, class := range []string{"TemplateVM", "StandaloneVM", "AdminVM", "RemoteVM"} {
		assert.Equal(t, "ProtocolError", s.dom0("admin.vm.Create."+class+"+base", "dom0", "name=x label=red"), class)
	}
	assert.Equal(t, "ProtocolError", s.dom0("admin.vm.Create.NoSuchVM", "dom0", "name=x label=red"))
	assert.Equal(t, "QubesVMNotFoundError", s.dom0("admin.vm.Create.AppVM+a/b", "dom0", "name=x label=red"))
}

// TestCreationOrder: what is wrong is told in this order (spec: methods.yaml admin.vm.Create.{class} action).
func TestCreationOrder(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ call, payload, want string }{
		{"admin.vm.CreateInPool.AppVM+ghost", "name=work label=ghost pool=ghost", "QubesVMAlreadyExistsError"},
		{"admin.vm.CreateInPool.AppVM+ghost", "name=x label=ghost pool=ghost", "QubesVMNotFoundError"},
		{"admin.vm.CreateInPool.AppVM+work", "name=x label=ghost pool=ghost", "QubesLabelNotFoundError"},
		{"admin.vm.CreateInPool.AppVM+work", "name=x label=red pool=ghost", "QubesException"},
		{"admin.vm.CreateInPool.AppVM+work", "name=x label=red pool=varlibqubes", "QubesPropertyValueError"},
		{"admin.vm.CreateInPool.AdminVM", "name=x label=red pool=ghost", "QubesException"},
		{"admin.vm.CreateInPool.AdminVM", "name=x label=red", "QubesPropertyValueError"},
		{"admin.vm.CreateInPool.DispVM+work", "name=x label=red", "QubesValueError"},
		{"admin.vm.CreateInPool.DispVM+dom0", "name=x label=red", "QubesValueError"},
		{"admin.vm.CreateInPool.DispVM", "name=x label=red", "QubesValueError"},
		{"admin.vm.CreateInPool.AppVM", "name=x label=red", "QubesValueError"}, // default_template is None
		{"admin.vm.CreateInPool.AppVM+base", "name=x label=red pool:root=varlibqubes", "QubesException"},
		{"admin.vm.CreateInPool.DispVM+dvm", "name=x label=red pool:private=varlibqubes", "QubesException"},
		{"admin.vm.CreateInPool.DispVM+dvm", "name=x label=red pool:volatile=varlibqubes", ok},
		{"admin.vm.CreateInPool.TemplateVM", "name=y label=red pool:root=varlibqubes pool:private=linux-kernel", ok},
	} {
		if c.want == ok {
			assert.Equal(t, ok, s.dom0(c.call, "dom0", c.payload), c.call)
			continue
		}
		s.unchanged(func() { assert.Equal(t, c.want, s.dom0(c.call, "dom0", c.payload), "%s %s", c.call, c.payload) })
		assert.Empty(t, s.told, c.call)
	}
	s.unchanged(func() { // a name with a dot makes no tag
		assert.Equal(t, "QubesException", s.call("a.dot", "admin.vm.Create.AppVM+base", "dom0", "name=w label=red"))
		assert.Equal(t, "QubesException", s.call("a.dot", "admin.vm.CreateDisposable", "dvm", ""))
	})
	for _, global := range []string{"default_guivm", "default_audiovm"} {
		s := start(t)
		s.global(global, "a.dot")
		s.unchanged(func() {
			assert.Equal(t, "QubesException", s.dom0("admin.vm.Create.AppVM+base", "dom0", "name=x label=red"), global)
		})
	}
}

// global sets a property of the system without its rules.
func (s *system) global(name, value string) {
	p, err := qube.ParsePropertyName(name)
	require.NoError(s.t, err)
	v, err := qube.ParsePropertyValue(value)
	require.NoError(s.t, err)
	require.NoError(s.t, s.change(func(tx qube.Tx) error { return tx.SetGlobal(p, v) }))
}

// set sets a property of a qube without its rules.
func (s *system) set(name, property, value string) {
	p, err := qube.ParsePropertyName(property)
	require.NoError(s.t, err)
	v, err := qube.ParsePropertyValue(value)
	require.NoError(s.t, err)
	require.NoError(s.t, s.change(func(tx qube.Tx) error { return tx.SetProperty(s.uuid(name), p, v) }))
}

// TestCreationEvents is spec: events.md 5.
func TestCreationEvents(t *testing.T) {
	s := start(t)
	assert.Equal(t, ok, s.call("work", "admin.vm.Create.AppVM+base", "dom0", "name=x label=red"))
	assert.Equal(t, []string{" domain-add vm=x", "x domain-tag-add:created-by-work tag=created-by-work", "x domain-create-on-disk"}, s.told)
	assert.Equal(t, "audiovm-dom0 created-by-work guivm-dom0 ", s.tags("x"))

	assert.Equal(t, ok, s.dom0("admin.vm.feature.Set+tag-created-vm-with", "work", "b a"))
	assert.Equal(t, ok, s.call("work", "admin.vm.Create.StandaloneVM", "dom0", "label=red name=y"))
	assert.Equal(t, []string{" domain-add vm=y", "y domain-tag-add:b tag=b", "y domain-tag-add:a tag=a",
		"y domain-tag-add:created-by-work tag=created-by-work", "y domain-create-on-disk"}, s.told)

	assert.Equal(t, ok, s.call("work", "admin.vm.Create.RemoteVM", "dom0", "name=r label=red"))
	assert.Equal(t, []string{" domain-add vm=r", "r domain-tag-add:created-by-work tag=created-by-work"}, s.told)
	assert.Equal(t, "created-by-work ", s.tags("r"))

	name := strings.TrimPrefix(s.dom0("admin.vm.CreateDisposable", "dvm", ""), ok)
	assert.Regexp(t, `^disp\d{1,4}$`, name)
	assert.Equal(t, []string{" domain-add vm=" + name, name + " domain-create-on-disk",
		name + " domain-tag-add:created-by-dom0 tag=created-by-dom0", name + " domain-tag-add:disp-created-by-dom0 tag=disp-created-by-dom0"}, s.told)
	assert.Equal(t, "True", s.property(name, "auto_cleanup"))

	s.global("check_updates_vm", "False")
	assert.Equal(t, ok, s.dom0("admin.vm.Create.AppVM+base", "dom0", "name=z label=red"))
	assert.Equal(t, []string{" domain-add vm=z", "z domain-tag-add:created-by-dom0 tag=created-by-dom0", "z domain-create-on-disk"}, s.told)
	assert.Equal(t, ok, s.dom0("admin.vm.feature.Get+check-updates", "z", ""))
	assert.Equal(t, "QubesFeatureNotFoundError", s.dom0("admin.vm.feature.Get+check-updates", "x", ""))
}

// TestDisposables: what a disposable takes over from its template, and what not (spec: model.md 6).
func TestDisposables(t *testing.T) {
	s := start(t)
	for call, payload := range map[string]string{
		"admin.vm.feature.Set+f": "1", "admin.vm.feature.Set+preload-dispvm-delay": "1", "admin.vm.tag.Set+t": "",
		"admin.vm.tag.Set+created-by-work": "", "admin.vm.tag.Set+disp-created-by-work": "", "admin.vm.tag.Set+guivm-Zoo": "",
		"admin.vm.firewall.Set": "action=drop\n",
	} {
		require.Equal(t, ok, s.dom0(call, "dvm", payload), call)
	}
	s.set("dvm", "memory", "321")
	s.set("dvm", "template_for_dispvms", "True")
	answer := strings.TrimPrefix(s.call("work", "admin.vm.CreateDisposable", "dvm", "uuid"), ok)
	require.True(t, strings.HasPrefix(answer, "uuid:"), answer)
	id, err := qube.ParseUUID(strings.TrimPrefix(answer, "uuid:"))
	require.NoError(t, err)
	q, there := s.book.View().QubeByID(id)
	require.True(t, there)
	name := q.Shown()
	assert.Equal(t, "audiovm-dom0 created-by-work disp-created-by-work guivm-dom0 t ", s.tags(name))
	assert.Equal(t, ok+"in-dvm\nf\n", s.dom0("admin.vm.feature.List", name, ""))
	assert.Equal(t, ok+"action=drop\n", s.dom0("admin.vm.firewall.Get", name, ""))
	assert.Equal(t, "321", s.property(name, "memory"))
	assert.Equal(t, "-", s.property(name, "template_for_dispvms"))
	assert.Equal(t, "dvm", s.property(name, "template"))
	dvm, _ := s.book.View().QubeByID(s.uuid("dvm"))
	assert.Equal(t, dvm.Label(), q.Label())

	s.unchanged(func() {
		for call, want := range map[string]string{
			"admin.vm.CreateDisposable work":         "QubesException",
			"admin.vm.CreateDisposable dom0":         "QubesException", // dom0 has no default_dispvm
			"admin.vm.CreateDisposable away":         "QubesException",
			"admin.vm.CreateDisposable+preload work": "QubesException",
			"admin.vm.CreateDisposable+foo dvm":      "PermissionDenied",
		} {
			method, dest, _ := strings.Cut(call, " ")
			assert.Equal(t, want, s.dom0(method, dest, ""), call)
		}
		assert.Equal(t, "ProtocolError", s.dom0("admin.vm.CreateDisposable", "dvm", "name"))
	})
	assert.Equal(t, ok, s.dom0("admin.vm.CreateDisposable+preload", "dvm", ""), "base has what is needed")
	s.set("work", "default_dispvm", "dvm")
	assert.Equal(t, ok, s.call("work", "admin.vm.CreateDisposable+preload", "dom0", ""))
	assert.Regexp(t, `^OK disp\d`, s.call("work", "admin.vm.CreateDisposable", "dom0", ""), "of the source's default_dispvm")
}

// TestVolumesOfNewQubes is spec: storage.md 3.
func TestVolumesOfNewQubes(t *testing.T) {
	s := start(t)
	require.Equal(t, ok, s.dom0("admin.vm.CreateInPool.TemplateVM", "dom0", "name=t label=red pool=linux-kernel"))
	require.Equal(t, ok, s.dom0("admin.vm.Create.AppVM+t", "dom0", "name=a label=red"))
	s.set("a", "template_for_dispvms", "True")
	require.Equal(t, ok, s.dom0("admin.vm.Create.DispVM+a", "dom0", "name=d label=red"))
	info := func(qube, volume string) string {
		keys := strings.Split(strings.TrimPrefix(s.dom0("admin.vm.volume.Info+"+volume, qube, ""), ok), "\n")
		return strings.Join(append(keys[:3:3], keys[4], keys[5], keys[7], keys[8]), " ")
	}
	gib := func(n int) string { return fmt.Sprint(n << 30) }
	for at, want := range map[string]string{
		"t root":     "pool=linux-kernel vid=vm-templates/t/root size=" + gib(10) + " rw=True source= save_on_stop=True snap_on_start=False",
		"t kernel":   "pool=linux-kernel vid= size=0 rw=False source= save_on_stop=False snap_on_start=False",
		"a root":     "pool=linux-kernel vid=appvms/a/root size=" + gib(10) + " rw=True source=vm-templates/t/root save_on_stop=False snap_on_start=True",
		"a private":  "pool=varlibqubes vid=appvms/a/private size=" + gib(2) + " rw=True source= save_on_stop=True snap_on_start=False",
		"d root":     "pool=linux-kernel vid=appvms/d/root size=" + gib(10) + " rw=True source=vm-templates/t/root save_on_stop=False snap_on_start=True",
		"d private":  "pool=varlibqubes vid=appvms/d/private size=" + gib(2) + " rw=True source=appvms/a/private save_on_stop=False snap_on_start=True",
		"d volatile": "pool=varlibqubes vid=appvms/d/volatile size=" + gib(12) + " rw=True source= save_on_stop=False snap_on_start=False",
	} {
		name, volume, _ := strings.Cut(at, " ")
		assert.Equal(t, want, info(name, volume), at)
	}
	s.global("default_pool", "linux-kernel")
	assert.Contains(t, info("a", "private"), "pool=varlibqubes", "a volume stays where it was created")
	assert.Equal(t, ok+"root\nprivate\nvolatile\nkernel\n", s.dom0("admin.vm.volume.List", "work", ""))
	assert.Equal(t, ok, s.dom0("admin.vm.volume.List", "dom0", ""))
	assert.Equal(t, ok, s.dom0("admin.vm.volume.List", "away", ""))
	for _, dest := range []string{"dom0", "away"} {
		for _, method := range []string{"Info", "CloneFrom"} {
			assert.Equal(t, "PermissionDenied", s.dom0("admin.vm.volume."+method+"+root", dest, ""))
		}
	}
	assert.Equal(t, "PermissionDenied", s.dom0("admin.vm.volume.Info+nope", "work", ""))
}

// TestCopyingVolumes: a token is good once, for whom it was given to (spec: storage.md 1, CloneFrom and CloneTo).
func TestCopyingVolumes(t *testing.T) {
	s := start(t)
	token := func(source, volume, dest string) string {
		answer := strings.TrimPrefix(s.call(source, "admin.vm.volume.CloneFrom+"+volume, dest, ""), ok)
		require.Regexp(t, `^[A-Za-z0-9]{32}$`, answer)
		return answer
	}
	to := func(source, volume, dest, token string) string {
		return s.call(source, "admin.vm.volume.CloneTo+"+volume, dest, token)
	}
	first := token("dom0", "private", "work")
	assert.Equal(t, "QubesVolumeCopyTokenNotFoundError", to("work", "private", "dvm", first), "it is dom0's")
	assert.Equal(t, "PermissionDenied", to("dom0", "nope", "dvm", first))
	assert.Equal(t, "PermissionDenied", to("dom0", "root", "dom0", first))
	assert.Equal(t, ok, to("dom0", "private", "dvm", first+"\n"))
	assert.Equal(t, []string{"dvm domain-import-volume name=private source=<Volume varlibqubes:appvms/work/private>"}, s.told)
	assert.Equal(t, "QubesVolumeCopyTokenNotFoundError", to("dom0", "private", "dvm", first), "it is used up")

	assert.Equal(t, "QubesVMNotHaltedError", to("dom0", "private", "busy", token("dom0", "private", "work")))
	assert.Equal(t, "StoragePoolException", to("dom0", "private", "dvm", token("dom0", "root", "work")), "a snapshot is not kept")
	assert.Equal(t, "StoragePoolException", to("dom0", "private", "dvm", token("dom0", "kernel", "work")))
	assert.Equal(t, "StoragePoolException", to("dom0", "kernel", "dvm", token("dom0", "private", "work")))
	assert.Equal(t, ok, to("dom0", "kernel", "dvm", token("dom0", "kernel", "work")))
	assert.Equal(t, ok, to("dom0", "root", "base", token("dom0", "private", "work")))
	assert.Contains(t, s.dom0("admin.vm.volume.Info+root", "base", ""), "size=2147483648\n", "as large as its source")
	assert.Equal(t, "QubesVolumeCopyTokenNotFoundError", to("dom0", "private", "dvm", "short"))
	assert.Equal(t, "ProtocolError", to("dom0", "private", "dvm", "\xff"))

	gone := token("dom0", "private", "a.dot")
	require.Equal(t, ok, s.dom0("admin.vm.Remove", "a.dot", ""))
	require.Equal(t, ok, s.dom0("admin.vm.Create.StandaloneVM", "dom0", "name=a.dot label=red"))
	assert.Equal(t, "QubesVolumeCopyTokenNotFoundError", to("dom0", "private", "dvm", gone), "a qube of the same name is another")

	for range 64 {
		token("work", "private", "work")
	}
	assert.Equal(t, "QubesVolumeCopyInUseError", s.call("work", "admin.vm.volume.CloneFrom+private", "work", ""), "tokens are bounded")
	token("dom0", "private", "work")
}
