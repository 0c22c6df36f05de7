package messages_test

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/qube"
)

// TestEventFrames: the bytes of the specification's examples, and of what must not get onto the wire.
func TestEventFrames(t *testing.T) {
	work, err := qube.ParseName("work")
	require.NoError(t, err)
	for want, frame := range map[string]messages.Event{
		"1\x00\x00connection-established\x00\x00": messages.EventOf(qube.Event{Name: "connection-established"}, 0),
		"1\x00work\x00domain-tag-add:x\x00tag\x00x\x00\x00": messages.EventOf(
			qube.Event{Subject: work, Name: "domain-tag-add:x", Args: []qube.EventArg{{Key: "tag", Value: "x"}}}, 0),
		"1\x00work\x00x\x00revision\x0018446744073709551615\x00\x00": messages.EventOf(qube.Event{Subject: work, Name: "x"}, 1<<64-1),
		"1\x00\x00x\x00k\x00a?b?\x00e\x00\x00\x00":                   {Name: "x", Args: []qube.EventArg{{Key: "k", Value: "a\u00e9\x00b\xff"}, {Key: "\x00", Value: "v"}, {Key: "", Value: "v"}, {Key: "e"}}},
	} {
		assert.Equal(t, want, string(frame.AppendFrame(nil)))
	}
}

// TestARevisionIsNoPartOfTheEvent: many frames are made of one event.
func TestARevisionIsNoPartOfTheEvent(t *testing.T) {
	args := append(make([]qube.EventArg, 0, 4), qube.EventArg{Key: "k", Value: "v"})
	a, b := messages.EventOf(qube.Event{Args: args}, 1), messages.EventOf(qube.Event{Args: args}, 2)
	assert.Equal(t, "1", a.Args[1].Value)
	assert.Equal(t, "2", b.Args[1].Value)
}

// plainText is what a part is once it is on the wire.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x80:
			return '?'
		case r == 0:
			return -1
		}
		return r
	}, s)
}

// FuzzEventFrame: what is read is what was written, however many frames follow one another.
func FuzzEventFrame(f *testing.F) {
	f.Add("work", "property-set:memory", "name", "memory", "newvalue", "500")
	f.Add("", "connection-established", "", "", "", "")
	f.Add("a\x00b", "x\xff", "\x00", "lost", "\u00e9", "\x00")
	f.Add("", "long", "a", strings.Repeat("x", 5000), "", "")
	f.Fuzz(func(t *testing.T, subject, name, key1, value1, key2, value2 string) {
		in := messages.Event{Subject: subject, Name: name, Args: []qube.EventArg{{Key: key1, Value: value1}, {Key: key2, Value: value2}}}
		want := messages.Event{Subject: plainText(subject), Name: plainText(name)}
		for _, a := range in.Args {
			if k := plainText(a.Key); k != "" {
				want.Args = append(want.Args, qube.EventArg{Key: k, Value: plainText(a.Value)})
			}
		}
		b := in.AppendFrame(in.AppendFrame(nil))
		r := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		for range 2 {
			got, err := messages.ReadEvent(r)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		_, err := messages.ReadEvent(r)
		require.ErrorIs(t, err, io.EOF)
		_, err = messages.ReadEvent(bufio.NewReaderSize(bytes.NewReader(b[:len(b)/2-1]), len(b)))
		require.ErrorIs(t, err, io.EOF, "an end within a frame")
	})
}
