package scenario

import (
	"errors"
	"fmt"
	"math"
	"time"

	"sallyport/internal/loadtest/measure"
)

// Options are a scenario of one call, as flags say it. What is zero is as in a file that does not name it.
type Options struct {
	Target      Target // which is plain if there is a Request
	Call        string // METHOD or METHOD+ARG; as all texts here, without variables. With a Request, its name
	Request     string // what a plain target is sent, in which {{ and }} are braces
	Dest        string // empty: dom0
	Source      string // empty: dom0
	Payload     string
	Expect      string  // ok, any, or an exception's type; empty: ok
	Content     string  // a regular expression that an OK's content matches; empty: whatever it is
	Rate        float64 // calls per second, or else
	Workers     int     // so many callers
	Duration    time.Duration
	Poisson     bool
	Warmup      time.Duration
	Timeout     time.Duration
	MaxInFlight int
	MaxLag      time.Duration
	Seed        uint64
	Thresholds  []string
}

// Simple makes the scenario. Its errors begin with the flag that they are about, or with METHOD or DEST.
func Simple(o Options, checks Checks) (*Scenario, error) {
	if err := o.checkLoad(); err != nil {
		return nil, err
	}
	s, err := Bare(o, checks)
	if err != nil {
		return nil, err
	}
	s.Target.Plain = o.Request != ""
	s.Load = Load{Closed: o.Workers > 0, Poisson: o.Poisson}
	level := o.Rate
	if s.Load.Closed {
		level = float64(o.Workers)
	}
	s.Load.Stages = []Stage{{From: level, To: level, For: o.Duration}}
	call, err := o.call(checks)
	if err != nil {
		return nil, err
	}
	s.Mix = []Item{{Name: call.Method, Weight: defaultWeight, Steps: []Call{call}}}
	return s, nil
}

// Bare makes a scenario that has no load and no mix yet. Of o, it is all but what these are made of that counts, and its
// errors begin with the flag that they are about.
func Bare(o Options, checks Checks) (*Scenario, error) {
	if err := o.checkLimits(); err != nil {
		return nil, err
	}
	if err := o.checkJudgement(checks); err != nil {
		return nil, err
	}
	return &Scenario{
		Name: o.Call, Target: o.Target, Seed: o.Seed, Warmup: o.Warmup, Thresholds: o.Thresholds,
		Timeout: orElse(o.Timeout, defaultTimeout), MaxInFlight: orElse(o.MaxInFlight, defaultMaxInFlight), MaxLag: orElse(o.MaxLag, defaultMaxLag),
	}, nil
}

func orElse[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Override has what o says of the target, the limit of the tool's lag and thresholds count for s, which was read from a
// file: the first two instead of the file's, if o says anything of them, and the thresholds beside the file's. s has to be new.
func (s *Scenario) Override(o Options, checks Checks) error {
	if o.Target.Socket != "" || o.Target.Addr != "" {
		o.Target.Plain = s.Target.Plain
		s.Target = o.Target
	}
	s.MaxLag = orElse(o.MaxLag, s.MaxLag)
	s.Thresholds = append(s.Thresholds, o.Thresholds...)
	return o.checkJudgement(checks)
}

// At is s with another load: calls that are due at an even rate, in calls per second; at random, if those of s are. Of its
// duration, the warm-up is not measured. Both share what variables count. Its errors begin with a flag.
func (s *Scenario) At(rate float64, duration, warmup time.Duration) (*Scenario, error) {
	even := *s
	even.Load = Load{Poisson: s.Load.Poisson, Stages: []Stage{{From: rate, To: rate, For: duration}}}
	even.Warmup = warmup
	return &even, Options{Rate: rate, Duration: duration, Warmup: warmup}.checkLoad()
}

// checkLoad is of the load of one call.
func (o Options) checkLoad() error {
	switch {
	case (o.Rate != 0) == (o.Workers != 0):
		return errors.New("--rate: expected it, or --workers, and not both")
	case math.IsNaN(o.Rate) || o.Rate < 0 || o.Rate > MostRate:
		return fmt.Errorf("--rate: expected a number above 0, up to %.0f", MostRate)
	case o.Poisson && o.Workers > 0:
		return errors.New("--poisson: expected it with --rate: workers come when they have done")
	case o.Workers < 0 || o.Workers > mostWorkers:
		return fmt.Errorf("--workers: expected a number from 1 to %d", mostWorkers)
	case o.Duration <= 0 || o.Duration > longest:
		return fmt.Errorf("--duration: expected a duration above 0s, up to %v", longest)
	case o.Warmup < 0 || o.Warmup >= o.Duration:
		return errors.New("--warmup: expected a duration shorter than --duration")
	}
	return nil
}

// checkLimits is of what a load may not go beyond.
func (o Options) checkLimits() error {
	switch {
	case o.Timeout < 0 || o.Timeout > measure.Highest:
		return fmt.Errorf("--timeout: expected a duration above 0s, up to %v", measure.Highest)
	case o.MaxInFlight < 0 || o.MaxInFlight > mostInFlight:
		return fmt.Errorf("--max-in-flight: expected a number from 1 to %d", mostInFlight)
	}
	return nil
}

// checkJudgement is of what a result is to be.
func (o Options) checkJudgement(checks Checks) error {
	if o.MaxLag < 0 || o.MaxLag > measure.Highest {
		return fmt.Errorf("--max-lag: expected a duration above 0s, up to %v", measure.Highest)
	}
	for _, t := range o.Thresholds {
		if checks.Threshold == nil {
			break
		}
		if err := checks.Threshold(t); err != nil {
			return fmt.Errorf("--threshold %q: expected %w", t, err)
		}
	}
	return nil
}

// call is the one call.
func (o Options) call(checks Checks) (Call, error) {
	expect, err := parseExpect(orElse(o.Expect, "ok"))
	if err != nil {
		return Call{}, fmt.Errorf("--expect: %w", err)
	}
	if o.Content != "" {
		if expect != (Expect{}) {
			return Call{}, errors.New("--content: expected it with --expect ok only")
		}
		if expect.Content, err = parseContent(o.Content); err != nil {
			return Call{}, errors.New("--content: expected a regular expression, as RE2 has them")
		}
	}
	if o.Request != "" {
		return o.plain(expect)
	}
	method, arg, err := cutMethod(o.Call, checks)
	if err != nil {
		return Call{}, fmt.Errorf("METHOD: %w; sallyport methods lists them", err)
	}
	return Call{
		Method: method, Arg: Text(arg), Source: Text(orElse(o.Source, dom0)), Dest: Text(orElse(o.Dest, dom0)), Payload: Text(o.Payload), Expect: expect,
	}, nil
}

// plain is the one request of a plain target.
func (o Options) plain(expect Expect) (Call, error) {
	for _, f := range []struct {
		name string
		said bool
	}{{"DEST", o.Dest != ""}, {"--source", orElse(o.Source, dom0) != dom0}, {"--payload", o.Payload != ""}, {"--expect", expect.Type != ""}} {
		if f.said {
			return Call{}, fmt.Errorf("%s: expected it without --request, since it is of the Admin API", f.name)
		}
	}
	expected := func(format string, args ...any) error { return fmt.Errorf("--request: expected "+format, args...) }
	request, err := (&reading{}).parse(o.Request, expected)
	return Call{Method: o.Call, Request: request, Expect: expect}, err
}

// ReadRequest reads the file of a Request. Its error begins with the flag.
func ReadRequest(file string) (string, error) {
	text, err := onDisk{}.file(file)
	switch {
	case err != nil:
		return "", fmt.Errorf("--request: expected %w", err)
	case text == "":
		return "", errors.New("--request: expected a file with something in it")
	}
	return text, nil
}
