package actors

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
)

// filled is a request of so many bytes.
func filled(total int) string {
	head := "test.Echo dom0 name work\x00"
	return head + strings.Repeat("p", total-len(head))
}

// headed is a request with a header of so many bytes.
func headed(total int) string {
	head := "test.Echo+ dom0 name work"
	return strings.Replace(head, "+", "+"+strings.Repeat("a", total-len(head)), 1) + "\x00"
}

// TestFraming is spec: wire.md 2 and 4. Where the reference says nothing, the answer is a ProtocolError (SAFER).
func TestFraming(t *testing.T) {
	l := serve(t, plainly)
	const dom0 = "00000000-0000-0000-0000-000000000000"
	for request, want := range map[string]string{
		"test.Echo+a dom0 name work\x00b":           "a b",
		"test.Echo+ dom0 name work\x00":             " ",
		"test.Echo dom0 name work\x00":              " ",
		"test.Echo+a+b dom0 name work\x00c d":       "a+b c d",
		"test.Echo dom0 keyword adminvm\x00":        " ",
		"test.Echo uuid:" + dom0 + " name work\x00": " ",
		"test.Echo dom0 name uuid:" + dom0 + "\x00": " ",
		headed(4096):  headed(4096)[len("test.Echo+"):4096-len(" dom0 name work")] + " ",
		filled(65536): " " + filled(65536)[len("test.Echo dom0 name work\x00"):],

		"":                                   "ProtocolError",
		"test.Echo+ dom0 name work":          "ProtocolError",
		"\x00":                               "ProtocolError",
		"test.Echo+ dom0 name\x00":           "ProtocolError",
		"test.Echo+ dom0 name\x00 work":      "ProtocolError",
		"test.Echo+a b dom0 name work\x00":   "ProtocolError",
		"test.Echo+  dom0 name work\x00":     "ProtocolError",
		"test.Echo+ dom0 keyword dispvm\x00": "ProtocolError",
		"test.Echo+ dom0 tag work\x00":       "ProtocolError",
		"test.Echo+ dom0 NAME work\x00":      "ProtocolError",
		"+ dom0 name dom0\x00":               "ProtocolError",
		"test.Nothing+ dom0 name dom0\x00":   "ProtocolError",
		"test.Echo\xff dom0 name work\x00":   "ProtocolError",
		"test.Echo+\xff dom0 name work\x00":  "ProtocolError",
		"test.Echo+ d\xff name work\x00":     "ProtocolError",
		"test.Echo+ dom0 name w\xff\x00":     "ProtocolError",
		headed(4097):                         "ProtocolError",
		strings.Repeat("a", 5000):            "ProtocolError",
		filled(65537):                        "ProtocolError",
		filled(3 << 20):                      "ProtocolError",

		"test.Echo+ 1bad name work\x00":                    "QubesValueError",
		"test.Echo+ dom0 name 1bad\x00":                    "QubesValueError",
		"test.Echo+ dom0 name work\n\x00":                  "QubesValueError",
		"test.Echo+ dom0 name work vault\x00":              "QubesValueError",
		"test.Echo+ dom0 name uuid:\x00":                   "QubesVMInvalidUUIDError",
		"test.Echo+ dom0 name uuid:" + dom0[:35] + "_\x00": "QubesVMInvalidUUIDError",
		"test.Echo+ dom0 name uuid:" + dom0[:35] + "A\x00": "QubesVMInvalidUUIDError",
		"test.Echo+ dom0 name nobody\x00":                  "QubesVMNotFoundError",
		"test.Echo+ nobody name work\x00":                  "QubesVMNotFoundError",
	} {
		a := l.raw(request)
		shown := request[:min(len(request), 60)]
		if a.Type == "" {
			assert.Equal(t, want, string(a.Content), "%q", shown)
		} else {
			assert.Equal(t, want, a.Type, "%q", shown)
			assert.NotEmpty(t, a.Format)
		}
	}
	assert.Zero(t, l.Stats().Crashes)
}

// TestHowARequestArrives makes no difference: byte by byte, in one piece, with the payload or the half-close late.
func TestHowARequestArrives(t *testing.T) {
	l := serve(t, plainly)
	requests := []string{
		"test.Echo+a dom0 name work\x00payload", "test.Echo+a dom0 name work\x00", "test.Echo+a dom0 name work", "test.Tag+x dom0 name work\x00",
		"nothing", "test.Echo+ dom0 name nobody\x00\x00", headed(4096), headed(4097), filled(65536), filled(65537), filled(70000),
	}
	whole := map[string]messages.Answer{}
	for _, r := range requests {
		whole[r] = l.raw(r)
	}
	rapid.Check(t, func(t *rapid.T) {
		request := rapid.SampledFrom(requests).Draw(t, "request")
		c := l.dial(stages.Admin)
		rest := request
		for len(rest) > 0 {
			most := map[bool]int{true: 3, false: len(rest)}[len(request) < 100]
			n := rapid.IntRange(1, min(most, len(rest))).Draw(t, "bytes")
			c.send([]byte(rest[:n]))
			if rest = rest[n:]; rapid.Bool().Draw(t, "late") {
				c.taken()
			}
		}
		assert.Equal(t, whole[request], c.end().answer())
	})
	for _, request := range requests[:6] {
		c := l.dial(stages.Admin)
		for i := range len(request) {
			c.send([]byte{request[i]}).taken()
		}
		assert.Equal(t, whole[request], c.end().answer(), "byte by byte")
	}
}

// TestASlowClient gets an answer when its time is up, wherever its request stands, and others do not wait for it.
func TestASlowClient(t *testing.T) {
	l := serve(t, plainly)
	var slow []*client
	for _, part := range []string{"", "test", "test.Echo dom0 name work\x00", filled(65537)} {
		c := l.dial(stages.Admin).send([]byte(part))
		c.taken()
		slow = append(slow, c)
	}
	until(t, func() bool { return l.waiting() == len(slow) })
	l.clock.advance(30*time.Second - 1)
	slow[1].send([]byte(".Echo")).taken() // which gives it no more time
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""))
	assert.Equal(t, len(slow), l.waiting())
	l.clock.advance(1)
	for _, c := range slow {
		assert.Equal(t, answerOf(messages.ErrSlow), c.answer())
	}
}

// waiting is how many requests wait for their clients.
func (l *live) waiting() (n int) {
	l.watched.mu.Lock()
	defer l.watched.mu.Unlock()
	for r := l.watched.first; r != nil; r = r.line.after {
		n++
	}
	return n
}

// TestAClientThatDoesNotRead its large reply is left when its time is up; meanwhile it holds up nobody.
func TestAClientThatDoesNotRead(t *testing.T) {
	l := serve(t, plainly)
	const request = "test.Long dom0 name work\x00"
	assert.Equal(t, longText, string(l.raw(request).Content), "a client that reads gets all of it")
	c := l.dial(stages.Admin).send([]byte(request)).end()
	defer c.Close()
	c.answered()
	until(t, func() bool { return l.waiting() == 1 })
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""))
	l.clock.advance(30 * time.Second)
	until(t, func() bool { return l.Stats().Open == 0 })
	assert.EqualValues(t, 1, l.Stats().Gone)
}

// TestAClientThatReadsLate but in time gets all of its large reply.
func TestAClientThatReadsLate(t *testing.T) {
	l := serve(t, plainly)
	c := l.dial(stages.Admin).send([]byte("test.Long dom0 name work\x00")).end()
	c.answered()
	until(t, func() bool { return l.waiting() == 1 })
	l.clock.advance(30*time.Second - 1)
	assert.Equal(t, longText, string(c.answer().Content))
}

// TestClientsThatLeave early cost nothing that lasts.
func TestClientsThatLeave(t *testing.T) {
	l := serve(t, plainly)
	l.call("test.Echo", "work", "")
	before := descriptors(t)
	for n := range 500 {
		part := []string{"", "test", "test.Echo dom0 name work\x00", "test.Long dom0 name work\x00", "test.Tag+a dom0 name work\x00"}[n%5]
		c := l.dial(stages.Admin).send([]byte(part))
		if n%2 == 0 {
			c.end()
		}
		assert.NoError(t, c.Close())
	}
	until(t, func() bool { return l.Stats().Open == 0 })
	until(t, func() bool { return descriptors(t) <= before })
	assert.Zero(t, l.Stats().Crashes)
	assert.Zero(t, l.waiting())
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""))
}

// TestTooManyConnections are refused in words, until there is room again.
func TestTooManyConnections(t *testing.T) {
	l := serve(t, func(s *Settings) { s.MaxConnections = 2 })
	first, second := l.dial(stages.Admin), l.dial(stages.Misc)
	until(t, func() bool { return l.Stats().Open == 2 })
	for range 3 {
		assert.Equal(t, answerOf(errFull), l.call("test.Echo+a", "work", ""))
	}
	assert.NoError(t, first.Close())
	until(t, func() bool { return l.Stats().Open == 1 })
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""))
	assert.Equal(t, ok("b "), second.send([]byte("test.Misc+b dom0 name work\x00")).end().answer())
	assert.EqualValues(t, 3, l.Stats().Refused)
	refused := slices.DeleteFunc(column(l.calls(), telemetry.KeyOutcome), func(o any) bool { return o != telemetry.Refused })
	assert.Len(t, refused, 3, "the log calls them what they are")
}

// TestEachSocket knows its own methods, and no others.
func TestEachSocket(t *testing.T) {
	l := serve(t, plainly)
	methods := map[stages.Socket]string{stages.Admin: "test.Echo", stages.Internal: "test.Internal", stages.Misc: "test.Misc"}
	for socket := range methods {
		for its, method := range methods {
			a := l.dial(socket).send(messages.FormatRequest(method+"+a", "dom0", "work", nil)).end().answer()
			if its == socket {
				assert.Equal(t, ok("a "), a)
			} else {
				assert.Equal(t, string(exception.ProtocolError), a.Type)
			}
		}
	}
}

// TestTheInternalSocket is dom0's alone, whatever policy says.
func TestTheInternalSocket(t *testing.T) {
	l := serve(t, plainly)
	for source, want := range map[string]messages.Answer{"dom0": ok("a "), "work": denied} {
		assert.Equal(t, want, l.dial(stages.Internal).send(messages.FormatRequest("test.Internal+a", source, "work", nil)).end().answer())
	}
	assert.Equal(t, ok("a "), l.dial(stages.Misc).send(messages.FormatRequest("test.Misc+a", "work", "vault", nil)).end().answer())
}

// TestWhoCalls: what a peer may claim is decided by what the kernel says of its process.
func TestWhoCalls(t *testing.T) {
	var mu sync.Mutex
	var seen []Credentials
	var groups []int
	l := serve(t, func(s *Settings) {
		s.Peers = func(c Credentials) *messages.Peer {
			all, err := c.Groups()
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			for seen = append(seen, c); len(groups) < len(all); {
				groups = append(groups, int(all[len(groups)]))
			}
			return &messages.Peer{Sources: []qube.Name{box("work", "1").IsNamed}}
		}
	})
	from := func(source string) messages.Answer {
		return l.raw(string(messages.FormatRequest("test.Echo+a", source, "vault", nil)))
	}
	assert.Equal(t, ok("a "), from("work"))
	assert.Equal(t, denied, from("dom0"))
	assert.Equal(t, denied, from("vault"))

	mu.Lock()
	defer mu.Unlock()
	ours, err := os.Getgroups()
	assert.NoError(t, err)
	assert.ElementsMatch(t, ours, groups)
	for _, c := range seen {
		assert.Equal(t, []int{os.Getpid(), os.Getuid(), os.Getgid()}, []int{int(c.PID), int(c.UID), int(c.GID)})
	}
}

// TestAPeerThatMayClaimNothing cannot tell what exists: every refusal is the same bytes, for it and for all others.
func TestAPeerThatMayClaimNothing(t *testing.T) {
	l := serve(t, func(s *Settings) { s.Peers = func(Credentials) *messages.Peer { return &messages.Peer{} } })
	want := string(exception.Denied.AppendFrame(nil))
	for _, source := range []string{"dom0", "work", "nobody", "uuid:11111111-0000-4000-8000-000000000000", "uuid:33333333-0000-4000-8000-000000000000"} {
		for _, dest := range []string{"dom0", "vault", "nobody"} {
			for _, method := range []string{"test.Echo+a", "test.Tag+a", "test.Work+a", "crash.action"} {
				frame := l.dial(stages.Admin).send(messages.FormatRequest(method, source, dest, nil)).end().frame()
				assert.Equal(t, want, string(frame), "%s calls %s of %s", source, method, dest)
			}
		}
	}
	assert.Empty(t, l.book.committed())
}

// TestACrashOfTheRequestActor: nobody else could answer its client, so it does, and the daemon goes on.
func TestACrashOfTheRequestActor(t *testing.T) {
	var n int
	l := serve(t, func(s *Settings) {
		s.Peers = func(Credentials) *messages.Peer { // one at a time: each call waits for its answer
			if n++; n%2 == 0 {
				crashing(secret, "")
			}
			return &anySource
		}
	})
	before := descriptors(t)
	var ids []any
	for i := range 50 {
		a := l.call("test.Echo+a", "work", strings.Repeat(secret, 1000))
		if i%2 == 1 {
			ids = append(ids, incidentOf(t, a))
		} else {
			assert.Empty(t, a.Type)
		}
	}
	until(t, func() bool { return l.Stats().Open == 0 && descriptors(t) <= before })
	crashes := l.log.lines("actor.crashed")
	assert.Equal(t, ids, column(crashes, "sallyport.incident"))
	assert.Contains(t, fmt.Sprint(crashes[0]), "actors.crashing")
	var told []any
	for _, line := range l.log.lines("request.done") {
		if line["sallyport.outcome"] == "incident" {
			told = append(told, line["sallyport.incident"])
		}
	}
	assert.ElementsMatch(t, ids, told, "and each call has its line")
}

// TestAGoroutineThatEnds in a door, by runtime.Goexit, is that of the request actor too, since doors run inline: its client
// gets an incident, and all actors go on.
func TestAGoroutineThatEnds(t *testing.T) {
	l := serve(t, plainly)
	for range 20 {
		for _, door := range doors[:4] {
			incidentOf(t, l.call("exit."+door+"+a", "work", ""))
		}
	}
	assert.Equal(t, ok("tagged a"), l.call("test.Tag+a", "work", ""))
	until(t, func() bool { return l.Stats().Open == 0 })
}

// TestNewsOfAClient is repeated, and may be missed; what a request actor is told by others may not, however much news there is.
func TestNewsOfAClient(t *testing.T) {
	refused := 0
	m := &mailbox{limit: requestQueue, sheds: isReady, refuse: func(any) { refused++ }}
	m.RegisterHandlers(&witness{}, &byHand{})
	for range 100 {
		m.PostUserMessage(ready{})
	}
	assert.Equal(t, 100-requestQueue, refused)
	for _, message := range []any{&call{}, &answer{}, expired{}, halted{}} {
		m.PostUserMessage(message)
	}
	assert.Equal(t, requestQueue+4, m.UserMessageCount())
}
