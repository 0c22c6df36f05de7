package fleet

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// Coordinator has agents make a load.
type Coordinator struct {
	Agents   []string         // HOST:PORT of each
	TLS      *tls.Config      // of a client that proves who it is; without a name, HOST is to be in an agent's certificate
	Scenario *scenario.Packed // what they are to do
}

// AgentError says why an agent does not make its share of a load, so that nothing was begun.
type AgentError struct {
	Agent string
	Err   error
}

func (e *AgentError) Error() string { return fmt.Sprintf("agent %s: %v", e.Agent, e.Err) }

// Unwrap gives Err.
func (e *AgentError) Unwrap() error { return e.Err }

// remote is an agent, as its coordinator has it.
type remote struct {
	name   string
	link   *link
	within time.Duration // since all were told to begin
	result *measure.Result
	lost   error // why there is none
}

// Run has the agents make the load of s, which is what they find in c.Scenario, and gives what they measured, merged: as
// drive.Run would, with as many times the threads, but for Agents. Of o, Ready and Progress count. If an agent is lost on the way,
// the others go on, and the result is invalid. If ctx ends early, the result is what was measured until then. An error is
// only that nothing was begun; it is an *AgentError if an agent is the reason.
func (c *Coordinator) Run(ctx context.Context, s *scenario.Scenario, o drive.Options) (*measure.Result, error) {
	if err := c.Scenario.Check(); err != nil {
		return nil, err
	}
	remotes, err := c.gather(ctx)
	defer func() {
		for _, r := range remotes {
			if r.link != nil {
				_ = r.link.Close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	if o.Ready != nil {
		if err := o.Ready(); err != nil {
			return nil, err
		}
	}
	told := time.Now()
	v := &view{told: told, of: s.Load.Duration(), show: o.Progress, live: len(remotes), last: map[*remote]*progress{}, inFlight: map[*remote]int{}, reported: map[*remote]bool{}}
	v.clear()
	var all sync.WaitGroup
	for _, r := range remotes {
		all.Go(func() {
			r.lost = r.follow(ctx, told, told.Add(longest(s)), v)
			v.gone(r)
		})
	}
	all.Wait()
	result := merged(remotes)
	result.Began, result.Took = told.Add(s.Warmup), min(result.Took, s.Load.Duration()-s.Warmup)
	return result, nil
}

// gather has all agents prepare their shares.
func (c *Coordinator) gather(ctx context.Context) ([]*remote, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, gathering, fmt.Errorf("it was not ready within %v", gathering))
	defer cancel()
	remotes, errs := make([]*remote, len(c.Agents)), make([]error, len(c.Agents))
	var all sync.WaitGroup
	for i, name := range c.Agents {
		remotes[i] = &remote{name: name}
		all.Go(func() {
			if err := c.prepare(ctx, remotes[i], i); err != nil {
				errs[i] = &AgentError{name, err}
			}
		})
	}
	all.Wait()
	return remotes, cmp.Or(errs...)
}

// prepare has an agent prepare its share.
func (c *Coordinator) prepare(ctx context.Context, r *remote, part int) error {
	conn, err := (&tls.Dialer{Config: c.TLS}).DialContext(ctx, "tcp", r.name)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	r.link = &link{Conn: conn.(*tls.Conn)}
	going := context.AfterFunc(ctx, func() { _ = r.link.NetConn().Close() })
	if err := c.agree(r.link, part); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	if !going() {
		return context.Cause(ctx)
	}
	return nil
}

// agree says what an agent is to do, and waits until it can.
func (c *Coordinator) agree(l *link, part int) error {
	m, err := l.hear(mostShort, hello, refused)
	switch {
	case err != nil:
		return err
	case m.Kind == refused:
		return errors.New(m.Why)
	case m.Version != version:
		return fmt.Errorf("it speaks version %d of what agents speak, and not %d: it is of another sallyport", m.Version, version)
	}
	if err := l.say(message{Kind: assign, Job: &job{part, len(c.Agents), c.Scenario}}); err != nil {
		return err
	}
	if m, err = l.hear(mostShort, ready, refused); err == nil && m.Kind == refused {
		err = errors.New(m.Why)
	}
	return err
}

// longest is when a load has certainly ended, since it began.
func longest(s *scenario.Scenario) time.Duration {
	last := time.Duration(0) // how long what arrives last may take
	for _, item := range s.Mix {
		all := time.Duration(0)
		for _, c := range item.Steps {
			all += s.Timeout + c.Think
		}
		last = max(last, all)
	}
	return s.Load.Duration() + last + patience
}

// follow has an agent begin, and hears it until it has given its result, which it is to have done by end.
func (r *remote) follow(ctx context.Context, told, end time.Time, v *view) error {
	if err := r.link.say(message{Kind: proceed}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = r.link.say(message{Kind: stop}) })()
	m, err := r.link.hear(mostShort, begun, failed)
	r.within = time.Since(told)
	for {
		switch {
		case err != nil:
			return err
		case m.Kind == failed:
			return errors.New(m.Why)
		case m.Kind == measured:
			r.result = m.Result
			return nil
		case m.Kind == under:
			v.add(r, m.Progress)
			err = r.link.say(message{Kind: heard})
		}
		if err == nil && time.Now().After(end) {
			err = errors.New("it does not end")
		}
		if err == nil {
			m, err = r.link.hear(mostLong, under, measured, failed)
		}
	}
}

// merged is what all agents have measured.
func merged(remotes []*remote) *measure.Result {
	all := measure.NewResult()
	for _, r := range remotes {
		a := measure.Agent{Name: r.name, Within: r.within, Lag: measure.NewHistogram()}
		if r.result == nil {
			a.Lost = measure.Shown(r.lost.Error())
			all.Invalid = append(all.Invalid, fmt.Sprintf("agent %s was lost with what it measured: %s", r.name, a.Lost))
		} else {
			a.Due, a.Lag = r.result.Due, r.result.Lag
			for _, texts := range [][]string{r.result.Notes, r.result.Invalid} {
				for i, text := range texts {
					texts[i] = fmt.Sprintf("agent %s: %s", r.name, text)
				}
			}
			r.result.Agents = nil // it has none
			all.Merge(r.result)
		}
		all.Agents = append(all.Agents, a)
	}
	return all
}

// view puts together what agents say while a load goes on: it is shown when all have said something, or one has twice.
type view struct {
	told time.Time
	of   time.Duration
	show func(drive.Progress) // nil: nobody looks

	mu       sync.Mutex
	live     int                   // agents that have not ended
	last     map[*remote]*progress // of each agent, also of those that have ended
	inFlight map[*remote]int
	reported map[*remote]bool // since it was shown
	recent   *measure.Window
}

func (v *view) add(r *remote, p *progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.reported[r] {
		v.tell()
	}
	v.last[r], v.reported[r], v.inFlight[r] = p, true, p.InFlight
	v.recent.Merge(p.Recent)
	if len(v.reported) == v.live {
		v.tell()
	}
}

// gone forgets an agent that has ended.
func (v *view) gone(r *remote) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.inFlight, r)
	delete(v.reported, r)
	v.live--
}

func (v *view) tell() {
	if v.show != nil {
		p := drive.Progress{At: time.Since(v.told), Of: v.of, Recent: v.recent, Counts: measure.Counts{}}
		for _, n := range v.inFlight {
			p.InFlight += n
		}
		for r, last := range v.last {
			p.Counts.Merge(last.Counts)
			for _, why := range last.Invalid {
				p.Invalid = append(p.Invalid, fmt.Sprintf("agent %s: %s", r.name, why))
			}
		}
		slices.Sort(p.Invalid)
		v.show(p)
	}
	v.clear()
}

func (v *view) clear() {
	clear(v.reported)
	v.recent = measure.NewWindow(0, 0)
}
