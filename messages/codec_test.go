package messages_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
)

// TestSplitRules is spec: wire.md 2. What dest-type must be, and where the method ends, is not for the codec to say.
func TestSplitRules(t *testing.T) {
	filled := func(total int) string { head := "m+a s name d\x00"; return head + strings.Repeat("p", total-len(head)) }
	header := func(total int) string { head := "m+a s name "; return head + strings.Repeat("d", total-len(head)) }
	for name, c := range map[string]struct {
		in   string
		want []string // call, source, dest-type, dest, payload
		err  error
	}{
		"whole":                    {"m+a s name d\x00p", []string{"m+a", "s", "name", "d", "p"}, nil},
		"no payload":               {"m+a s name d\x00", []string{"m+a", "s", "name", "d", ""}, nil},
		"payload with NULs":        {"m+a s name d\x00\x00p\x00", []string{"m+a", "s", "name", "d", "\x00p\x00"}, nil},
		"payload with spaces":      {"m+a s name d\x00p q r s t", []string{"m+a", "s", "name", "d", "p q r s t"}, nil},
		"spaces in dest":           {"m+a s name d e  f\x00", []string{"m+a", "s", "name", "d e  f", ""}, nil},
		"line feed in dest":        {"m+a s name d\n\x00", []string{"m+a", "s", "name", "d\n", ""}, nil},
		"a space in the argument":  {"m+a b s name d\x00", []string{"m+a", "b", "s", "name d", ""}, nil},
		"two spaces in a row":      {"m+a  name d\x00", []string{"m+a", "", "name", "d", ""}, nil},
		"nothing but spaces":       {"   \x00", []string{"", "", "", "", ""}, nil},
		"keyword":                  {"m+a s keyword adminvm\x00", []string{"m+a", "s", "keyword", "adminvm", ""}, nil},
		"not ASCII":                {"m+\xff s name d\x00\xfe", []string{"m+\xff", "s", "name", "d", "\xfe"}, nil},
		"empty":                    {"", nil, messages.ErrNoRequest},
		"no NUL":                   {"m+a s name d", nil, messages.ErrUnframed},
		"only a NUL":               {"\x00", nil, messages.ErrUnframed},
		"one part":                 {"m+a\x00", nil, messages.ErrUnframed},
		"two parts":                {"m+a s\x00", nil, messages.ErrUnframed},
		"three parts":              {"m+a s name\x00", nil, messages.ErrUnframed},
		"the fourth after the NUL": {"m+a s name\x00 d", nil, messages.ErrUnframed},
		"65536 bytes":              {filled(65536), []string{"m+a", "s", "name", "d", filled(65536)[13:]}, nil},
		"65537 bytes":              {filled(65537), nil, messages.ErrTooLarge},
		"a header of 4096 bytes":   {header(4096) + "\x00", []string{"m+a", "s", "name", header(4096)[11:], ""}, nil},
		"a header of 4097 bytes":   {header(4097) + "\x00", nil, messages.ErrLongHead},
		"4097 bytes without a NUL": {header(4097), nil, messages.ErrLongHead},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := messages.ParseRequest([]byte(c.in))
			require.Equal(t, c.err, err)
			for i, want := range c.want {
				assert.True(t, parts(r)[i].Is(want), "part %d is not %q", i, want)
			}
			if err != nil {
				assert.True(t, r.Encode().Is("   \x00"), "a refused request holds nothing")
			}
		})
	}
}

func parts(r messages.Request) []untrusted.Bytes {
	return []untrusted.Bytes{r.Call, r.Source, r.DestType, r.Dest, r.Payload}
}

func TestHeaderLimitCanBeSet(t *testing.T) {
	_, err := messages.ParseRequestWithin([]byte("m+ s name d\x00"), 11)
	assert.NoError(t, err)
	_, err = messages.ParseRequestWithin([]byte("m+ s name d\x00"), 10)
	assert.Equal(t, messages.ErrLongHead, err)
}

// FuzzParseRequest: what is accepted encodes to the bytes that came; what is refused is a ProtocolError.
func FuzzParseRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := messages.ParseRequest(bytes.Clone(b))
		if err != nil {
			var e *exception.Exception
			require.ErrorAs(t, err, &e)
			require.Equal(t, exception.ProtocolError, e.Type())
			return
		}
		require.True(t, r.Encode().Equal(untrusted.Seal(b)))
	})
}

// FuzzFormatRequest: what a client formats of words, the daemon splits into these words.
func FuzzFormatRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, call, source, dest string, payload []byte) {
		b := messages.FormatRequest(call, source, dest, payload)
		if strings.ContainsAny(call+source, " \x00") || strings.Contains(dest, "\x00") ||
			len(b)-len(payload) > messages.MaxHeader || len(b) > messages.MaxRequest {
			t.Skip("no client sends that")
		}
		r, err := messages.ParseRequest(b)
		require.NoError(t, err)
		for i, want := range []string{call, source, "name", dest, string(payload)} {
			require.True(t, parts(r)[i].Is(want), "part %d is not %q", i, want)
		}
	})
}

// TestAnswers is spec: wire.md 6.
func TestAnswers(t *testing.T) {
	for frame, want := range map[string]messages.Answer{
		"0\x00":                            {Content: []byte{}},
		"0\x00a\x00b":                      {Content: []byte("a\x00b")},
		"2\x00T\x00\x00m\x00":              {Type: "T", Format: "m"},
		"2\x00T\x00trace\nback\x00m\x00":   {Type: "T", Format: "m"},
		"2\x00T\x00\x00%s %s\x00a\x00\x00": {Type: "T", Format: "%s %s", Fields: []string{"a", ""}},
	} {
		got, err := messages.ParseAnswer([]byte(frame))
		assert.NoError(t, err, "%q", frame)
		assert.Equal(t, want, got, "%q", frame)
	}
	for _, frame := range []string{
		"", "0", "1\x00\x00connection-established\x00\x00", "00\x00", "2", "2\x00", "2\x00T\x00\x00", "2\x00T\x00\x00m", "3\x00",
	} {
		_, err := messages.ParseAnswer([]byte(frame))
		assert.Equal(t, messages.ErrNotAnAnswer, err, "%q", frame)
	}
}

// FuzzParseAnswer: whatever comes is content, an exception whose parts make up the frame, or an error.
func FuzzParseAnswer(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := messages.ParseAnswer(bytes.Clone(b))
		switch {
		case err != nil:
			require.Equal(t, messages.ErrNotAnAnswer, err)
			require.Zero(t, a)
		case b[0] == '0':
			require.Equal(t, b, messages.Reply{Body: a.Content}.AppendFrame(nil))
		default:
			traceback := bytes.SplitN(b, []byte{0}, 4)[2]
			parts := append([]string{"2", a.Type, string(traceback), a.Format}, a.Fields...)
			require.Equal(t, string(b), strings.Join(parts, "\x00")+"\x00")
		}
	})
}

type field string

func (f field) Shown() string { return string(f) }

// TestWhatIsSentIsRead: the client reads what the daemon meant, wherever in a buffer the frame was put.
func TestWhatIsSentIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOf(rapid.Byte()).Draw(t, "before")
		read := func(frame []byte) messages.Answer {
			require.Equal(t, before, frame[:len(before)])
			a, err := messages.ParseAnswer(frame[len(before):])
			require.NoError(t, err)
			return a
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		require.Equal(t, messages.Answer{Content: body}, read(messages.Reply{Body: body}.AppendFrame(bytes.Clone(before))))

		fields := rapid.SliceOfN(rapid.String(), 2, 2).Draw(t, "fields")
		e := exception.New(exception.QubesValueError, "%s is not %s", field(fields[0]), field(fields[1]))
		for i := range fields { // NUL ends a field, so none is sent
			fields[i] = strings.ReplaceAll(fields[i], "\x00", "")
		}
		require.Equal(t, messages.Answer{Type: "QubesValueError", Format: "%s is not %s", Fields: fields}, read(e.AppendFrame(bytes.Clone(before))))
		require.Equal(t, messages.Answer{Type: "PermissionDenied", Format: exception.Denied.Error()}, read(exception.Denied.AppendFrame(bytes.Clone(before))))
	})
}

// TestAFrameIsMadeOnce: it is the same whether it was made with the content or of it.
func TestAFrameIsMadeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		plain, framed := messages.Reply{Body: body}, messages.Framed(append(messages.Begin(), body...))
		require.Equal(t, plain.Frame(), framed.Frame())
		require.Equal(t, string(body), string(framed.Body))
		require.Equal(t, plain.AppendFrame(nil), framed.AppendFrame(nil))
		_ = append(framed.Body, "more"...)
		require.Equal(t, plain.Frame(), framed.Frame(), "who appends to the content appends to a copy")
	})
}

func TestRepliesOfTextAndOfNothing(t *testing.T) {
	assert.Equal(t, "0\x00", string(messages.Empty.AppendFrame(nil)))
	assert.Equal(t, "0\x00", string(messages.Text("").AppendFrame(nil)))
	assert.Equal(t, "0\x00a=b\n", string(messages.Text("a=b\n").AppendFrame(nil)))
}

// TestPeersClaimOnlyWhatIsTheirs is design: 7.
func TestPeersClaimOnlyWhatIsTheirs(t *testing.T) {
	work, err := qube.ParseName("work")
	require.NoError(t, err)
	vault, err := qube.ParseName("vault")
	require.NoError(t, err)
	for _, c := range []struct {
		peer  messages.Peer
		names []qube.Name
	}{
		{messages.Peer{}, nil},
		{messages.Peer{Decided: true}, nil},
		{messages.Peer{Sources: []qube.Name{work}}, []qube.Name{work}},
		{messages.Peer{Sources: []qube.Name{vault, qube.Dom0}}, []qube.Name{vault, qube.Dom0}},
		{messages.Peer{Any: true}, []qube.Name{work, vault, qube.Dom0}},
		{messages.Peer{Guests: true}, []qube.Name{work, vault}},
		{messages.Peer{Guests: true, Sources: []qube.Name{qube.Dom0}}, []qube.Name{work, vault, qube.Dom0}},
	} {
		for _, source := range []qube.Name{work, vault, qube.Dom0} {
			assert.Equal(t, slices.Contains(c.names, source), c.peer.May(source), "%+v %v", c.peer, source)
		}
	}
}
