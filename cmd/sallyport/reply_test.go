package main

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
)

// client asks a daemon as the reference's client does, and fails the test where that one would fail.
type client struct {
	t      *testing.T
	socket string
}

// calls gives what the client understands of the reply, which must be content.
func (c client) calls(method, dest, payload string) []string {
	c.t.Helper()
	content, refusal := c.exchange(method, dest, payload)
	require.Empty(c.t, refusal, "%s %s %.100q", method, dest, payload)
	understood, err := read(method, content)
	require.NoError(c.t, err, "%s %s", method, dest)
	return understood
}

// refused is for what must end with an exception.
func (c client) refused(method, dest, payload string) {
	c.t.Helper()
	content, refusal := c.exchange(method, dest, payload)
	assert.NotEmpty(c.t, refusal, "%.100s %s %.100q has %q", method, dest, payload, content)
}

func (c client) exchange(method, dest, payload string) (content []byte, refusal string) {
	c.t.Helper()
	if !strings.Contains(method, "+") {
		method += "+"
	}
	reply, err := Call(c.t.Context(), c.socket, messages.FormatRequest(method, "dom0", dest, []byte(payload)))
	require.NoError(c.t, err)
	content, refusal, err = readReply(reply)
	require.NoError(c.t, err, "%s %s: %q", method, dest, reply)
	if refusal != "" && !exception.Type(refusal).Raw() {
		a, err := messages.ParseAnswer(reply)
		require.NoError(c.t, err)
		_, ok := percent(a.Format, a.Fields)
		assert.True(c.t, ok, "clients fail to format %q with %q", a.Format, a.Fields)
	}
	return content, refusal
}

// awkward is a system of names and values at the limits of what a client can be told.
var awkward = `version: 1
global: {default_template: t.p-l_9}
labels: [{name: ` + longLabel + `, color: "0xAbCdEf"}]
kernels: ["6.6.1-1.fc37"]
qubes:
  - {name: t.p-l_9, class: TemplateVM, label: ` + longLabel + `}
  - {name: ` + longName + `, class: AppVM, label: ` + longLabel + `}
  - {name: None, class: StandaloneVM}
  - {name: Z, class: AppVM, properties: {template_for_dispvms: true}, state: Running}
  - {name: d, class: DispVM, properties: {template: Z}, state: Paused}
  - {name: a, class: RemoteVM}
  - {name: name-only, class: AppVM}
  - {name: gone, class: AppVM, state: Suspended}
`

var (
	longLabel   = "L." + strings.Repeat("_-", 126) + "9"
	longTag     = strings.Repeat("T-_9", 63) + "abc"
	longFeature = strings.Repeat("F.-_", 63) + "abc"
)

const longName = "q234567890123456789012345678901"

// values are such as a client takes apart in the wrong places, if they are not told with care.
var values = []string{
	``, ` `, `\`, `\\`, `\n`, `a\b\n\\n c`, ` both ends `, `x=y default=True type=int 4`, `%s %d %% 100%`, `'"`, `~!#$^&*()+{}|:<>?`,
}

// testEveryReply reads every kind of reply of an awkward system, and every event that comes of making it more so.
func testEveryReply(t *testing.T, binary string) {
	dir := t.TempDir()
	inventory := filepath.Join(dir, "awkward.yaml")
	require.NoError(t, os.WriteFile(inventory, []byte(awkward), 0o600))
	d, err := startDaemon(binary, dir, inventory)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.stop()) })
	c := client{t, d.socket}
	events := c.follow("dom0")
	require.Equal(t, "connection-established", events.next().Name)

	// What is set is read back, alone and among all others, and told as it is.
	var told []string
	for _, value := range values {
		c.calls("admin.vm.property.Set+kernelopts", longName, value)
		assert.Equal(t, []string{"- str " + value}, c.calls("admin.vm.property.Get+kernelopts", longName, ""))
		assert.Contains(t, c.calls("admin.vm.property.GetAll", longName, ""), "kernelopts - str "+value)
		c.calls("admin.vm.feature.Set+"+longFeature, "None", value)
		assert.Equal(t, []string{value}, c.calls("admin.vm.feature.Get+"+longFeature, "None", ""))
		told = append(told, "property-set:kernelopts "+value, "domain-feature-set:"+longFeature+" "+value)
	}
	c.calls("admin.vm.tag.Set+"+longTag, "Z", "")
	assert.Contains(t, c.calls("admin.vm.tag.List", "Z", ""), longTag)
	told = append(told, "domain-tag-add:"+longTag+" "+longTag)
	notes := strings.Repeat("Grüße, 日本語\n\t\\n \n", 2500)
	c.calls("admin.vm.notes.Set", "Z", notes)
	assert.Equal(t, []string{notes}, c.calls("admin.vm.notes.Get", "Z", ""))
	c.calls("admin.vm.firewall.Set", "Z", "action=accept dsthost=a-b.example comment= x : [y]; z\naction=drop expire=1\naction=drop\n")
	assert.Equal(t, []string{"action=accept dsthost=a-b.example comment= x : [y]; z", "action=drop"}, c.calls("admin.vm.firewall.Get", "Z", ""))
	c.calls("admin.label.Create+"+longLabel[:254], "dom0", "0xFFffFF")
	c.calls("admin.vm.Create.AppVM", "dom0", "name="+strings.Repeat("b", 31)+" label="+longLabel[:254])

	// What would forge lines or frames is not let in; nor is anything of it in the exception.
	for _, forger := range []string{"\n", "\r", "\v", "\f", "\x1c", "\x1e", "\x00", "\x7f", "\u0085", "\u2028", "\xff"} {
		c.refused("admin.vm.property.Set+kernelopts", longName, "a"+forger+"b")
		c.refused("admin.vm.property.Set+default_user", longName, "a"+forger)
		c.refused("admin.vm.feature.Set+x", longName, "a"+forger+"b")
		c.refused("admin.vm.property.Get+a"+strings.Trim(forger, "\x00")+"%s", longName, "")
		c.refused("admin.vm.feature.Get+a%s"+strings.Trim(forger, "\x00"), longName, "")
		c.refused("admin.vm.tag.Set+a"+strings.Trim(forger, "\x00")+"%d", longName, "")
		c.refused("admin.vm.Create.AppVM", "dom0", "name=a"+forger+" label=red")
		c.refused("admin.vm.firewall.Set", "Z", "action=drop comment=a"+strings.Trim(forger, "\n")+"%s")
	}

	readEverything(c)

	// Every event can be read, and none is missing.
	c.calls("admin.vm.Remove", "name-only", "")
	c.calls("admin.vm.Kill", "gone", "")
	c.calls("admin.vm.tag.Set+the-end", "dom0", "")
	for {
		e := events.next()
		if len(told) > 0 && told[0] == e.Name+" "+e.Values[map[bool]string{true: "newvalue", false: "value"}[strings.HasPrefix(e.Name, "property-")]]+e.Values["tag"] {
			told = told[1:]
		}
		if e.Name == "domain-tag-add:the-end" {
			break
		}
	}
	assert.Empty(t, told, "these were not told, or not in this order")
}

// readEverything asks for all that there is to be read.
func readEverything(c client) {
	t := c.t
	system := c.calls("admin.property.GetAll", "dom0", "")
	for i, name := range c.calls("admin.property.List", "dom0", "") {
		assert.Equal(t, system[i], name+" "+c.calls("admin.property.Get+"+name, "dom0", "")[0])
		c.calls("admin.property.GetDefault+"+name, "dom0", "")
		c.calls("admin.property.Help+"+name, "dom0", "")
	}
	for _, label := range c.calls("admin.label.List", "dom0", "") {
		c.calls("admin.label.Get+"+label, "dom0", "")
		c.calls("admin.label.Index+"+label, "dom0", "")
	}
	c.calls("admin.vmclass.List", "dom0", "")
	devices := c.calls("admin.deviceclass.List", "dom0", "")

	qubes := c.calls("admin.vm.List", "dom0", "")
	assert.Equal(t, "dom0 AdminVM Running", qubes[0], "dom0 comes first, whatever the others are called")
	for _, qube := range qubes {
		name, rest, _ := strings.Cut(qube, " ")
		class, state, _ := strings.Cut(rest, " ")
		if name != "dom0" {
			assert.Equal(t, []string{qube}, c.calls("admin.vm.List", name, ""))
		}
		assert.Contains(t, c.calls("admin.vm.CurrentState", name, ""), "power_state="+state)
		all := c.calls("admin.vm.property.GetAll", name, "")
		for i, property := range c.calls("admin.vm.property.List", name, "") {
			assert.Equal(t, all[i], property+" "+c.calls("admin.vm.property.Get+"+property, name, "")[0])
			c.calls("admin.vm.property.GetDefault+"+property, name, "")
			assert.NotEmpty(t, c.calls("admin.vm.property.Help+"+property, name, ""))
		}
		assert.Contains(t, all, "klass D str "+class)
		for _, feature := range c.calls("admin.vm.feature.List", name, "") {
			c.calls("admin.vm.feature.Get+"+feature, name, "")
			c.calls("admin.vm.feature.CheckWithTemplateAndAdminVM+"+feature, name, "")
		}
		for _, tag := range c.calls("admin.vm.tag.List", name, "") {
			assert.Equal(t, []string{"1"}, c.calls("admin.vm.tag.Get+"+tag, name, ""))
		}
		for _, volume := range c.calls("admin.vm.volume.List", name, "") {
			c.calls("admin.vm.volume.Info+"+volume, name, "")
		}
		for _, devclass := range devices {
			c.calls("admin.vm.device."+devclass+".Assigned", name, "")
		}
		if class != "AdminVM" && class != "RemoteVM" {
			c.calls("admin.vm.notes.Get", name, "")
			c.calls("admin.vm.firewall.Get", name, "")
		}
	}
}

// stream is one of events.
type stream struct {
	t      *testing.T
	frames *bufio.Reader
}

// follow opens a stream.
func (c client) follow(dest string) stream {
	conn, err := net.Dial("unix", c.socket)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write(messages.FormatRequest("admin.Events+", "dom0", dest, nil))
	require.NoError(c.t, err)
	require.NoError(c.t, conn.(*net.UnixConn).CloseWrite())
	require.NoError(c.t, conn.SetReadDeadline(time.Now().Add(patience)))
	return stream{c.t, bufio.NewReader(conn)}
}

// next is the next event.
func (s stream) next() event {
	e, err := readAnEvent(s.frames)
	require.NoError(s.t, err)
	for _, key := range e.keys {
		assert.NotEmpty(s.t, key)
	}
	return e
}
