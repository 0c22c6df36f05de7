package actors

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/stages"
)

// TestACrashStorm: of 2,000 calls at once, half of which crash one actor or another, none is lost, and none is wrong.
func TestACrashStorm(t *testing.T) {
	rounds := 1
	if os.Getenv("SALLYPORT_LONG") != "" {
		rounds = 50
	}
	for round := range rounds {
		l := serve(t, func(s *Settings) { s.CrashLimit = 5 })
		kinds := []string{"test.Echo", "test.Tag", "test.Work", "test.Tag", "test.Echo", "test.Work"}
		for _, door := range append(doors, "work") {
			kinds = append(kinds, "crash."+door)
		}
		const calls = 2004 // 167 of each
		var clients sync.WaitGroup
		var answers [calls]messages.Answer
		begin := make(chan struct{})
		for n := range calls {
			clients.Go(func() {
				<-begin
				c := l.dialPatiently()
				request := messages.FormatRequest(fmt.Sprint(kinds[n%len(kinds)], "+", n), "dom0", []string{"work", "vault"}[n/2%2], []byte(secret))
				answers[n] = c.send(request).end().answer()
			})
		}
		close(begin)
		clients.Wait()

		var tags []string
		incidents := map[any]bool{}
		for n, a := range answers {
			switch kind := kinds[n%len(kinds)]; kind {
			case "test.Echo":
				assert.Equal(t, ok(fmt.Sprint(n, " ", secret)), a)
			case "test.Tag":
				assert.Equal(t, ok(fmt.Sprint("tagged ", n)), a)
				tags = append(tags, fmt.Sprint(n))
			case "test.Work":
				assert.Equal(t, ok(fmt.Sprint("did ", n)), a)
			default:
				incidents[incidentOf(t, a)] = true
			}
		}
		written := l.book.all()
		slices.Sort(tags)
		slices.Sort(written)
		assert.Equal(t, tags, written, "each acknowledged change is there once, and no other is")
		assert.Len(t, incidents, calls/2)
		for _, id := range column(l.log.lines(telemetry.ActorCrashed), telemetry.KeyIncident) {
			assert.True(t, incidents[id], "each crash has the line that its caller was pointed to")
			delete(incidents, id)
		}
		assert.Empty(t, incidents)
		assert.Empty(t, l.log.lines(telemetry.HealthChanged), "round %d", round)
		assert.Len(t, l.calls(), calls)
	}
}

// dialPatiently waits for room in the kernel's queue of connections.
func (l *live) dialPatiently() *client {
	for {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: l.Sockets()[stages.Admin]})
		if !errors.Is(err, unix.EAGAIN) {
			assert.NoError(l.t, err)
			return &client{conn, l.t}
		}
	}
}
