package sanitize_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
	"sallyport/stages/sanitize"
)

// refusal is the type of what a field says of text; empty if it takes it.
func refusal[T any](t require.TestingT, f stages.Field[T], text string) exception.Type {
	_, err := f.Read(untrusted.Seal([]byte(text)))
	if err == nil {
		return ""
	}
	var e *exception.Exception
	require.ErrorAs(t, err, &e)
	require.NotContains(t, string(e.AppendFrame(nil)), marker)
	return e.Type()
}

// TestPolicyFileNames: which characters an argument may have is asked before what a name may be (spec: policy.md 7).
func TestPolicyFileNames(t *testing.T) {
	const name, protocol = exception.PolicyAdminInvalidFileNameException, exception.ProtocolError
	for text, want := range map[string][3]exception.Type{ // to find, to write, a service
		"30-user":                {},
		"a":                      {},
		"A_b-9":                  {"", name, ""},
		"30-USER" + marker:       {"", name, ""},
		"30-user.policy":         {name, name, ""},
		"." + marker:             {name, name, ""},
		"..":                     {name, name, ""},
		"a+b":                    {name, name, protocol},
		"+":                      {name, name, protocol},
		"a/b":                    {protocol, protocol, protocol},
		"../" + marker:           {protocol, protocol, protocol},
		"a:" + marker:            {protocol, protocol, protocol},
		"a b":                    {protocol, protocol, protocol},
		"é":                      {protocol, protocol, protocol},
		"a.\x00":                 {protocol, protocol, protocol},
		"":                       {protocol, protocol, protocol},
		"*":                      {protocol, protocol, protocol},
		"!a":                     {protocol, protocol, protocol},
		strings.Repeat("x", 247): {},
		strings.Repeat("x", 248): {name, name, ""},
		strings.Repeat("x", 256): {name, name, protocol},
	} {
		assert.Equal(t, want, [3]exception.Type{
			refusal(t, sanitize.PolicyFile, text), refusal(t, sanitize.NewPolicyFile, text), refusal(t, sanitize.PolicyService, text),
		}, "%q", text)
	}
}

func TestPolicyPayloads(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0aF9", 16)
	for _, token := range []string{"any", "new", hash} {
		assert.Empty(t, refusal(t, sanitize.PolicyToken, token))
		for _, text := range []string{"", "\n", "any\nnew", "a\r\n\ttext: é\x7f", marker, strings.Repeat("x", qube.MaxPolicyText)} {
			p, err := sanitize.PolicyReplacement.Read(untrusted.Seal([]byte(token + "\n" + text)))
			require.NoError(t, err)
			assert.Equal(t, []string{token, text}, []string{p.Token.Shown(), p.Text.Shown()})
		}
		for _, text := range []string{"\x00", marker + "\x00", "\xff", "\xed\xa0\x80", strings.Repeat("x", qube.MaxPolicyText+1)} {
			assert.Equal(t, exception.ProtocolError, refusal(t, sanitize.PolicyReplacement, token+"\n"+text))
		}
		for _, payload := range []string{token + "\n", " " + token, token + " ", token + "\r", token + marker} {
			assert.Equal(t, exception.ProtocolError, refusal(t, sanitize.PolicyToken, payload), "%q", payload)
		}
	}
	for _, token := range []string{"", "Any", "ANY", "old", "sha256:", "sha1:00", hash[:70], hash + "0", strings.Replace(hash, "F", "g", 1), "SHA256" + hash[6:], marker} {
		assert.Equal(t, exception.ProtocolError, refusal(t, sanitize.PolicyToken, token), token)
		assert.Equal(t, exception.ProtocolError, refusal(t, sanitize.PolicyReplacement, token+"\ntext"), token)
	}
	assert.Equal(t, exception.ProtocolError, refusal(t, sanitize.PolicyReplacement, "any"), "no line feed")
}

// TestPolicyFieldsAreCopies: nothing of a payload is shared with what is made of it.
func TestPolicyFieldsAreCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`(\PC|\n){0,20}`).Draw(t, "text")
		sent := []byte("any\n" + text)
		p, err := sanitize.PolicyReplacement.Read(untrusted.Seal(sent))
		require.NoError(t, err)
		clear(sent)
		require.Equal(t, text, p.Text.Shown())
	})
}
