package fleet

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers everything, and keeps the requests.
type server struct {
	path  string
	conns sync.WaitGroup

	mu   sync.Mutex
	seen []string
}

func serve(t *testing.T) *server {
	dir, err := os.MkdirTemp("", "fleet") // t.TempDir is too long for the name of a socket
	require.NoError(t, err)
	s := &server{path: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", s.path)
	require.NoError(t, err)
	s.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Go(func() {
				defer conn.Close()
				request, _ := io.ReadAll(conn)
				s.mu.Lock()
				s.seen = append(s.seen, string(request))
				s.mu.Unlock()
				_, _ = io.WriteString(conn, "0\x00fine")
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.conns.Wait()
		_ = os.RemoveAll(dir)
	})
	return s
}

// requests gives what came since it was called the last time, in an order of its own.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	slices.Sort(seen)
	return seen
}

var authority = testcert.NewAuthority()

// agent is one that serves until the test ends, or it is ended.
type agent struct {
	addr string
	end  func()

	mu   sync.Mutex
	told []string
}

func (a *agent) tell(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, text)
}

func start(t *testing.T) *agent {
	a := new(agent)
	a.serve(t, a.tell)
	return a
}

// serve has a serve.
func (a *agent) serve(t *testing.T, tell func(text string)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	a.addr = l.Addr().String()
	served := make(chan error)
	serves := Agent{
		TLS: endpoint.ServerTLS(authority.Server("127.0.0.1"), authority.Pool()), Tell: tell,
		Identity: func(string, string) (*tls.Config, error) { return nil, errors.New("an agent with certificates") },
	}
	go func() { served <- serves.Serve(ctx, l) }()
	a.end = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-served)
	})
	t.Cleanup(a.end)
}

// client is how a coordinator proves who it is.
func client() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{authority.Client("coordinator")}, RootCAs: authority.Pool(), MinVersion: tls.VersionTLS13}
}

// counting is a scenario of calls that differ: each arrival has a number, and a row.
func counting(t *testing.T, s *server, more string) (*scenario.Scenario, *Coordinator) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.yaml")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rows.csv"), []byte("qube\na\nb\nc\nd\n"), 0o600))
	require.NoError(t, os.WriteFile(file, []byte(`version: 1
name: counting
max_lag: 10m
variables:
  n: {count: {}}
  row: {csv: rows.csv}
  m: {count: {}}
  q: {number: {from: 0, to: 1000000000000}}
mix: [{method: admin.x, arg: '{n}', dest: '{row.qube}'}]
`+more), 0o600))
	scen, p, err := scenario.Pack(file, scenario.Checks{})
	require.NoError(t, err)
	p.Socket, scen.Target.Socket = s.path, s.path
	return scen, &Coordinator{TLS: client(), Scenario: p}
}

func everything(measure.Key) bool { return true }

// TestAgentsMakeOneLoad: together they make exactly the calls that one machine makes, and their results are one.
func TestAgentsMakeOneLoad(t *testing.T) {
	s := serve(t)
	agents := []*agent{start(t), start(t), start(t)}
	for _, more := range []string{
		"stages: [{rate: 200, for: 400ms}, {from: 200, to: 400, for: 200ms}]\nseed: 7\nwarmup: 100ms",
		"stages: [{rate: 500, for: 200ms}]\narrivals: poisson\nseed: 7",
	} {
		scen, c := counting(t, s, more)
		for _, a := range agents {
			c.Agents = append(c.Agents, a.addr)
		}
		alone, err := drive.Run(context.Background(), scen, drive.Options{})
		require.NoError(t, err)
		want := s.requests()

		together, err := c.Run(context.Background(), scen, drive.Options{})
		require.NoError(t, err)
		assert.Equal(t, want, s.requests())
		assert.Equal(t, alone.Due, together.Due)
		assert.Equal(t, alone.Keys(), together.Keys())
		a, _ := alone.Of(everything)
		b, errs := together.Of(everything)
		assert.Equal(t, a.Count, b.Count)
		assert.EqualValues(t, b.Count, b.Total.TotalCount())
		assert.Zero(t, errs)
		assert.Empty(t, together.Invalid)
		assert.Equal(t, alone.Took, together.Took)
		ended := uint64(0)
		for _, w := range together.Windows {
			n, _ := w.Count()
			ended += n
		}
		assert.EqualValues(t, len(want), ended)

		require.Len(t, together.Agents, 3)
		due, late := uint64(0), int64(0)
		for i, a := range together.Agents {
			assert.Equal(t, agents[i].addr, a.Name)
			assert.Positive(t, a.Within)
			assert.Empty(t, a.Lost)
			due, late = due+a.Due, late+a.Lag.TotalCount()
		}
		assert.Equal(t, together.Due, due)
		assert.Equal(t, together.Lag.TotalCount(), late)
	}
}

// TestSubscribersAreShared: each is there once, with the values that it would have on one machine, and the chance of nobody
// else.
func TestSubscribersAreShared(t *testing.T) {
	s := serve(t)
	scen, c := counting(t, s, "stages: [{rate: 1, for: 1h}]\nsubscribers: [{count: 4, arg: '{m}'}, {count: 1, arg: '{q}'}, {count: 3, arg: '{q}'}]")
	for range 3 {
		c.Agents = append(c.Agents, start(t).addr)
	}
	subscribed := func(run func(context.Context, *scenario.Scenario, drive.Options) (*measure.Result, error)) []string {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() {
			_, err := run(ctx, scen, drive.Options{})
			ended <- err
		}()
		var all []string
		for deadline := time.Now().Add(time.Minute); len(all) < 8; time.Sleep(time.Millisecond) {
			for _, request := range s.requests() {
				if strings.HasPrefix(request, "admin.Events") {
					all = append(all, request)
				}
			}
			slices.Sort(all)
			all = slices.Compact(all) // those that were answered came again
			require.True(t, time.Now().Before(deadline), "%q", all)
		}
		cancel()
		require.NoError(t, <-ended)
		s.requests()
		return all
	}
	want := subscribed(drive.Run)
	assert.Equal(t, want, subscribed(c.Run))
	assert.Contains(t, want, "admin.Events+3 dom0 name dom0\x00")
}

// TestReasonsNameTheAgent that has them.
func TestReasonsNameTheAgent(t *testing.T) {
	s, a := serve(t), start(t)
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Scenario.Text = bytes.Replace(c.Scenario.Text, []byte("max_lag: 10m"), []byte("max_lag: 1ns"), 1)
	c.Agents = []string{a.addr}
	r, err := c.Run(context.Background(), scen, drive.Options{})
	require.NoError(t, err)
	require.Len(t, r.Invalid, 1)
	assert.Contains(t, r.Invalid[0], "agent "+a.addr+": the tool was the bottleneck")
}

// TestStrangersAreRefused, on either side.
func TestStrangersAreRefused(t *testing.T) {
	s, a := serve(t), start(t)
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Agents = []string{a.addr}
	other := testcert.NewAuthority()
	for what, change := range map[string]func(){
		"tls":                  func() { c.TLS.Certificates = []tls.Certificate{other.Client("coordinator")} },
		"certificate required": func() { c.TLS.Certificates = nil },
		"unknown authority":    func() { c.TLS.RootCAs = other.Pool() },
		"other.example":        func() { c.TLS.ServerName = "other.example" },
		"bad certificate":      func() { c.TLS.Certificates = []tls.Certificate{authority.Server("127.0.0.1")} },
	} {
		c.TLS = client()
		change()
		_, err := c.Run(context.Background(), scen, drive.Options{})
		var of *AgentError
		require.ErrorAs(t, err, &of, what)
		assert.ErrorContains(t, err, what)
		assert.Equal(t, a.addr, of.Agent)
	}
	assert.Empty(t, s.requests())
	a.end()
	assert.Contains(t, strings.Join(a.told, "\n"), "no coordinator: ")
}

// TestAnyBytesAreSent by agents, as they would be from here; and a text that cannot be sent to them is told of at once.
func TestAnyBytesAreSent(t *testing.T) {
	s, a := serve(t), start(t)
	o := scenario.Options{Target: scenario.Target{Socket: s.path}, Call: "x", Request: "\xff\x00\xfe\n", Rate: 100, Duration: 50 * time.Millisecond, MaxLag: measure.Highest}
	scen, err := scenario.Simple(o, scenario.Checks{})
	require.NoError(t, err)
	c := &Coordinator{Agents: []string{a.addr}, TLS: client(), Scenario: &scenario.Packed{Options: o}}
	_, err = c.Run(context.Background(), scen, drive.Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{o.Request}, slices.Compact(s.requests()))
	c.Scenario.Options.Content = "\xff"
	_, err = c.Run(context.Background(), scen, drive.Options{})
	assert.EqualError(t, err, `--content: expected UTF-8, to send it to other machines, and found "\xff"`)
	assert.Empty(t, s.requests())
}

// TestWhatAnAgentCannotDoItSays, before anything is begun anywhere.
func TestWhatAnAgentCannotDoItSays(t *testing.T) {
	s, a, b := serve(t), start(t), start(t)
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Agents = []string{a.addr, b.addr}
	text := string(c.Scenario.Text)
	for want, change := range map[string]func(p *scenario.Packed){
		"stages[0].workers: expected": func(p *scenario.Packed) { p.Text = []byte(strings.Replace(text, "rate", "workers", 1)) },
		"a file that came along":      func(p *scenario.Packed) { p.Files = nil },
		"an agent with certificates":  func(p *scenario.Packed) { p.Text = []byte(text + "\ntarget: {connect: 'h:1'}") },
		"the path of a unix socket":   func(p *scenario.Packed) { p.Socket = strings.Repeat("x", 200) },
	} {
		p := *c.Scenario
		change(&p)
		other := *c
		other.Scenario = &p
		_, err := other.Run(context.Background(), scen, drive.Options{})
		require.ErrorAs(t, err, new(*AgentError), want)
		assert.ErrorContains(t, err, want)
	}
	assert.Empty(t, s.requests())
	_, err := c.Run(context.Background(), scen, drive.Options{})
	require.NoError(t, err, "they are free again")
}

// eventually has a coordinator try until the agent is free.
func eventually(t *testing.T, c *Coordinator, scen *scenario.Scenario) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := c.Run(context.Background(), scen, drive.Options{})
		if err == nil {
			return
		}
		require.ErrorContains(t, err, "it makes another load")
		require.True(t, time.Now().Before(deadline))
	}
}

// await waits until the server has had requests.
func (s *server) await(t *testing.T) {
	for deadline := time.Now().Add(time.Minute); len(s.requests()) == 0; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline))
	}
}

// TestOneLoadAtATime: it is seen from afar; whoever comes meanwhile is told that it is there. An end gives what ran, and
// makes the agents free at once.
func TestOneLoadAtATime(t *testing.T) {
	s, a, b := serve(t), start(t), start(t)
	scen, c := counting(t, s, "stages: [{rate: 100, for: 1h}]")
	c.Agents = []string{a.addr, b.addr}
	ctx, cancel := context.WithCancel(context.Background())
	ended, looks := make(chan *measure.Result), make(chan drive.Progress, 1000)
	go func() {
		r, err := c.Run(ctx, scen, drive.Options{Progress: func(p drive.Progress) { looks <- p }})
		assert.NoError(t, err)
		ended <- r
	}()
	var seen, due, counted uint64
	for range 2 {
		p := <-looks
		n, _ := p.Recent.Count()
		seen, due, counted = seen+n, due+p.Recent.Due, 0
		for _, n := range p.Counts {
			counted += n
		}
		assert.Equal(t, time.Hour, p.Of)
	}
	assert.NotZero(t, seen)
	assert.NotZero(t, due)
	assert.Equal(t, seen, counted, "no call of a warm-up is among them")
	assert.NotEmpty(t, s.requests())
	short, other := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	other.Agents = c.Agents
	_, err := other.Run(context.Background(), short, drive.Options{})
	assert.EqualError(t, err, "agent "+a.addr+": it makes another load")

	cancel()
	r := <-ended
	assert.GreaterOrEqual(t, r.Due, seen)
	assert.Empty(t, r.Invalid)
	assert.Less(t, r.Took, time.Hour)
	_, err = other.Run(context.Background(), short, drive.Options{})
	require.NoError(t, err)
}

// TestAnEndAtOnceIsAResult, too: nobody is lost who began and was told to stop in the same moment.
func TestAnEndAtOnceIsAResult(t *testing.T) {
	s, a := serve(t), start(t)
	for range 20 {
		_, c := counting(t, s, "stages: [{rate: 100, for: 1h}]")
		c.Agents = []string{a.addr}
		l := dial(t, a.addr)
		require.NoError(t, c.agree(l, 0))
		require.NoError(t, l.say(message{Kind: proceed}))
		require.NoError(t, l.say(message{Kind: stop}))
		_, err := l.hear(mostShort, begun)
		require.NoError(t, err)
		_, err = l.hear(mostLong, measured)
		require.NoError(t, err)
	}
}

// TestALostAgentIsTold: the others go on, and what they measured is there.
func TestALostAgentIsTold(t *testing.T) {
	s, a, b := serve(t), start(t), start(t)
	scen, c := counting(t, s, "stages: [{rate: 100, for: 2s}]")
	c.Agents = []string{a.addr, b.addr}
	go func() {
		s.await(t)
		a.end()
	}()
	r, err := c.Run(context.Background(), scen, drive.Options{})
	require.NoError(t, err)
	require.Len(t, r.Invalid, 1)
	assert.Contains(t, r.Invalid[0], "agent "+a.addr+" was lost")
	assert.EqualValues(t, 100, r.Due)
	all, errs := r.Of(everything)
	assert.EqualValues(t, 100, all.Count)
	assert.Zero(t, errs)
	assert.NotEmpty(t, r.Agents[0].Lost)
	assert.Empty(t, r.Agents[1].Lost)

	b.end()
	_, err = c.Run(context.Background(), scen, drive.Options{})
	assert.ErrorContains(t, err, "connection refused")
}

// TestNobodyWaitsForWhatIsTold: an agent whose lines nobody takes makes its share as all do, and ends.
func TestNobodyWaitsForWhatIsTold(t *testing.T) {
	s, a, stopped := serve(t), new(agent), make(chan struct{})
	a.serve(t, func(string) { <-stopped })
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Agents = []string{a.addr}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 3 {
			r, err := c.Run(context.Background(), scen, drive.Options{})
			if assert.NoError(t, err) {
				assert.Empty(t, r.Invalid)
			}
		}
		a.end()
	}()
	select {
	case <-ended:
	case <-time.After(2 * patience):
		assert.Fail(t, "the agent waits")
	}
	close(stopped)
	<-ended
}

// TestManyStrangersKeepNobodyOut: connections on which nobody says who it is.
func TestManyStrangersKeepNobodyOut(t *testing.T) {
	s, a := serve(t), start(t)
	for range 4 * mostKnown {
		conn, err := net.Dial("tcp", a.addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
	}
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Agents = []string{a.addr}
	_, err := c.Run(context.Background(), scen, drive.Options{})
	require.NoError(t, err)
}

// TestOneCoordinatorTooManyIsRefused, and told so.
func TestOneCoordinatorTooManyIsRefused(t *testing.T) {
	here, there := net.Pipe()
	a := Agent{TLS: endpoint.ServerTLS(authority.Server("127.0.0.1"), authority.Pool())}
	served, known := make(chan error), make(chan struct{}, 1)
	known <- struct{}{}
	go func() {
		served <- a.serve(context.Background(), here, known, func() { t.Error("it became one of those that are known") })
	}()
	config := client()
	config.ServerName = "127.0.0.1"
	l := &link{Conn: tls.Client(there, config)}
	m, err := l.hear(mostShort, hello, refused)
	require.NoError(t, err)
	assert.Equal(t, &message{Kind: refused, Why: "it has 1 coordinators already"}, m)
	assert.EqualError(t, <-served, m.Why)
	assert.Len(t, known, 1)
	_ = there.Close()
}

// dial is a connection of whoever has a certificate.
func dial(t *testing.T, addr string) *link {
	conn, err := tls.Dial("tcp", addr, client())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &link{Conn: conn}
}

// TestWithoutACoordinatorALoadEnds.
func TestWithoutACoordinatorALoadEnds(t *testing.T) {
	s, a := serve(t), start(t)
	_, c := counting(t, s, "stages: [{rate: 100, for: 1h}]")
	l := dial(t, a.addr)
	c.Agents = []string{a.addr}
	require.NoError(t, c.agree(l, 0))
	require.NoError(t, l.say(message{Kind: proceed}))
	s.await(t)
	require.NoError(t, l.NetConn().Close())
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Agents = []string{a.addr}
	eventually(t, c, scen)
}

// TestAnAgentBelievesNobody: what is no job is refused, and harms nobody.
func TestAnAgentBelievesNobody(t *testing.T) {
	s, a := serve(t), start(t)
	for want, bad := range map[string]string{
		"a message of 4294967295 bytes": "\xff\xff\xff\xff",
		"no message":                    "\x00\x00\x00\x04what",
		"unknown field":                 framed(`{"kind":"job","more":1}`),
		"expected one of [job], not go": framed(`{"kind":"go"}`),
		"not a?b":                       framed(`{"kind":"a\nb"}`),
		"a job without a scenario":      framed(`{"kind":"job","job":{"part":0,"of":1}}`),
		"or a share of it":              framed(`{"kind":"job","job":{"part":1,"of":1,"scenario":{}}}`),
		"expected":                      framed(`{"kind":"job","job":{"part":0,"of":1,"scenario":{}}}`),
	} {
		l := dial(t, a.addr)
		_, err := l.hear(mostShort, hello)
		require.NoError(t, err, want)
		_, err = io.WriteString(l, bad)
		require.NoError(t, err)
		m, err := l.hear(mostShort, refused)
		require.NoError(t, err, want)
		assert.Contains(t, m.Why, want)
		require.NoError(t, l.Close())
	}
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	c.Agents = []string{a.addr}
	eventually(t, c, scen)
}

func framed(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}

// TestACoordinatorBelievesNobody: what an agent says that it could not say makes it lost, or, before the beginning, ends
// it all.
func TestACoordinatorBelievesNobody(t *testing.T) {
	s := serve(t)
	scen, c := counting(t, s, "stages: [{rate: 100, for: 100ms}]")
	fake := func(say ...string) string {
		l, err := tls.Listen("tcp", "127.0.0.1:0", endpoint.ServerTLS(authority.Server("127.0.0.1"), authority.Pool()))
		require.NoError(t, err)
		var all sync.WaitGroup
		all.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			for _, text := range say {
				_, _ = io.WriteString(conn, text)
			}
			_, _ = io.Copy(io.Discard, conn)
		})
		t.Cleanup(func() {
			_ = l.Close()
			all.Wait()
		})
		return l.Addr().String()
	}
	hi := framed(`{"kind":"hello","version":1}`)
	for want, say := range map[string][]string{
		"it speaks version 2":            {framed(`{"kind":"hello","version":2}`)},
		"no message":                     {framed(`what`)},
		"a message of 1048577":           {"\x00\x10\x00\x01"},
		"expected one of":                {hi, framed(`{"kind":"result"}`)},
		"never? b":                       {hi, framed(`{"kind":"refused","why":"never\u001b b"}`)},
		strings.Repeat("x", 500) + "...": {hi, framed(`{"kind":"refused","why":"` + strings.Repeat("x", 600) + `"}`)},
	} {
		c.Agents = []string{fake(say...)}
		_, err := c.Run(context.Background(), scen, drive.Options{})
		require.ErrorAs(t, err, new(*AgentError))
		assert.ErrorContains(t, err, want)
	}
	well := []string{hi, framed(`{"kind":"ready"}`), framed(`{"kind":"begun"}`)}
	for want, say := range map[string]string{
		"expected one of":      framed(`{"kind":"hello"}`),
		"no result":            framed(`{"kind":"result"}`),
		"progress without":     framed(`{"kind":"progress","progress":{"in_flight":1}}`),
		"format: expected":     framed(`{"kind":"result","result":{}}`),
		"out of memory":        framed(`{"kind":"failed","why":"out of memory"}`),
		"a message of 6710886": "\x04\x00\x00\x01",
	} {
		c.Agents = []string{fake(append(slices.Clone(well), say)...), start(t).addr}
		r, err := c.Run(context.Background(), scen, drive.Options{})
		require.NoError(t, err)
		require.Len(t, r.Invalid, 1)
		assert.Contains(t, r.Invalid[0], want)
		assert.EqualValues(t, 5, r.Due, "the other goes on")
	}
}

// TestNobodyIsWaitedForForever: neither one who does not prove who he is, nor one who says nothing.
func TestNobodyIsWaitedForForever(t *testing.T) {
	for what, c := range map[string]struct {
		coordinator func(conn net.Conn)
		after       time.Duration
	}{
		"no handshake": {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, handshake},
		"no job": {func(conn net.Conn) {
			config := client()
			config.ServerName = "127.0.0.1"
			_, _ = io.Copy(io.Discard, tls.Client(conn, config))
		}, 2 * patience},
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			a := Agent{TLS: endpoint.ServerTLS(authority.Server("127.0.0.1"), authority.Pool()), Tell: func(string) {}}
			go c.coordinator(there)
			began := time.Now()
			assert.Error(t, a.serve(context.Background(), here, make(chan struct{}, 1), func() {}), what)
			assert.LessOrEqual(t, time.Since(began), c.after+time.Second, what)
			assert.True(t, a.running.TryLock(), what)
			_ = there.Close()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		config := client()
		config.ServerName = "127.0.0.1"
		l := &link{Conn: tls.Client(here, config)}
		began := time.Now()
		_, err := l.hear(mostShort, hello)
		assert.EqualError(t, err, "it was silent for 30s")
		assert.Equal(t, patience, time.Since(began))
		_ = there.Close()
	})
}

// TestOnlyWhatIsExpectedIsDecoded: a result tells nothing to whoever waits for something else, nor does what is no part of
// a kind of message; and progress has no more reasons than anybody gives.
func TestOnlyWhatIsExpectedIsDecoded(t *testing.T) {
	hear := func(text string, kinds ...kind) (*message, error) {
		return read(strings.NewReader(framed(text)), mostLong, kinds...)
	}
	for _, bad := range []string{`"result":[]`, `"progress":[]`, `"job":[]`} {
		_, err := hear(`{"kind":"result",`+bad+`}`, hello, ready)
		assert.ErrorContains(t, err, "expected one of [hello ready], not result")
		m, err := hear(`{"kind":"ready",`+bad+`}`, ready)
		require.NoError(t, err)
		assert.Equal(t, &message{Kind: ready}, m)
	}
	for kind, bad := range map[kind]string{measured: `"result":[]`, under: `"progress":[]`, assign: `"job":[]`} {
		_, err := hear(`{"kind":"`+string(kind)+`",`+bad+`}`, kind)
		assert.ErrorContains(t, err, "cannot unmarshal", kind)
	}
	_, err := hear(`{"kind":"progress","progress":{"in_flight":1,"recent":{},"more":1}}`, under)
	assert.ErrorContains(t, err, "unknown field")
	_, err = hear(`{"kind":"progress","progress":{"invalid":["x"`+strings.Repeat(`,"x"`, mostReasons)+`,{}]}}`, under)
	assert.ErrorContains(t, err, "expected at most 10 reasons")
}

// TestNothingIsSaidThatNobodyWouldHear.
func TestNothingIsSaidThatNobodyWouldHear(t *testing.T) {
	_, err := message{Kind: failed, Why: strings.Repeat("x", mostLong)}.bytes()
	assert.ErrorContains(t, err, "which is more than 67108864")
}

// FuzzRead: whatever comes is a message that can be said again, or an error.
func FuzzRead(f *testing.F) {
	rec := measure.NewRecorder(0)
	rec.Begun(0, 1)
	rec.Add(measure.Key{Method: "m", Outcome: measure.OK}, measure.Sample{Done: 5})
	for _, m := range []message{
		{Kind: hello, Version: 1}, {Kind: refused, Why: "it rains"}, {Kind: under, Progress: &progress{3, rec.Recent(), rec.Counts(), []string{"it rains"}}}, {Kind: measured, Result: rec.Result()},
		{Kind: assign, Job: &job{1, 3, &scenario.Packed{File: "f", Text: []byte("version: 1"), Files: map[string][]byte{"a": []byte("b")}}}},
	} {
		data, err := m.bytes()
		require.NoError(f, err)
		f.Add(data)
	}
	kinds := []kind{hello, refused, assign, ready, proceed, begun, under, heard, stop, measured, failed}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(bytes.NewReader(data), mostLong, kinds...)
		if err != nil {
			return
		}
		if m.Job != nil {
			_, _ = m.Job.Scenario.Unpack(scenario.Checks{}, func(string, string) (*tls.Config, error) { return nil, errors.New("x") })
		}
		first, err := m.bytes()
		require.NoError(t, err)
		again, err := read(bytes.NewReader(first), mostLong, kinds...)
		require.NoError(t, err)
		second, err := again.bytes()
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%q", first), fmt.Sprintf("%q", second))
	})
}
