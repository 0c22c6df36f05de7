package actors

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/stages"
)

// FuzzConnection: whatever a client sends, in whatever pieces, it gets one well-formed answer, the same as if it had sent
// all at once, and the daemon stays well. A cut of 0 waits until the daemon has read what there is.
func FuzzConnection(f *testing.F) {
	served := serve(f, func(s *Settings) { s.Log = nil })
	f.Fuzz(func(t *testing.T, request, cuts []byte) {
		l := *served
		l.t = t
		c, rest := l.dial(stages.Admin), request
		for _, cut := range cuts[:min(len(cuts), 64)] {
			n := min(int(cut), len(rest))
			if c.send(rest[:n]); cut == 0 {
				c.taken()
			}
			rest = rest[n:]
		}
		a := c.send(rest).end().answer()
		healthy, reason := l.Healthy()
		require.True(t, healthy, reason)
		if a.Type == string(exception.QubesInternalError) {
			require.True(t, strings.HasPrefix(string(request), "crash."), "only what is made to crash does")
			return
		}
		require.Equal(t, a, l.raw(string(request)))
		if _, err := messages.ParseRequest(bytes.Clone(request)); err != nil {
			assert.Equal(t, string(exception.ProtocolError), a.Type)
		}
	})
}
