package verdict

import (
	"context"
	"errors"
	"math"
)

// Range is where Search looks, in calls per second.
type Range struct {
	From, To  float64 // both above zero
	Precision float64 // how near, as a share; zero: 2 %
	Most      int     // probes; zero: 100
}

const (
	defaultPrecision = 0.02
	defaultProbes    = 100
)

// Capacity is what a search found.
type Capacity struct {
	Rate   float64 // the highest that held, to the precision; zero: none did
	Found  Found
	Probes []Probe // in the order in which they were made
}

// Beyond is the lowest rate above Rate that was tried and did not hold; zero: there is none.
func (c Capacity) Beyond() (lowest float64) {
	for _, p := range c.Probes {
		if !p.Held && p.Rate > c.Rate && (lowest == 0 || p.Rate < lowest) {
			lowest = p.Rate
		}
	}
	return lowest
}

// Found is how a search ended.
type Found string

// The ends of a search.
const (
	TheEdge    Found = "edge"       // Rate holds, and what is higher does not
	NoneHeld   Found = "none held"  // not even From
	AllHeld    Found = "all held"   // up to To, so that the capacity is that or more
	Unfinished Found = "unfinished" // no probe was left, or the search was ended; Rate is what held so far
)

// Probe is one run at a rate, and whether its thresholds held.
type Probe struct {
	Rate float64
	Held bool
}

// Search finds the highest rate that holds. A rate near the edge holds in one run and not in the next, and any run may
// have bad luck; so:
//
//   - it doubles the rate until one does not hold, twice;
//   - between that rate and the last that held it halves the distance, on a logarithmic scale, by the majority of up to
//     three runs, until the distance is the precision;
//   - the rate that did not hold must not hold once more, by majority; if it does, luck was bad before, and the search
//     goes on upwards, at first in small steps;
//   - the rate that held has to hold once more, by majority, or is lowered by the precision until it does.
//
// Probe is called from the caller's goroutine. An error of it, or the end of ctx, ends the search; the Capacity that comes
// with the error has what was found until then.
func Search(ctx context.Context, r Range, probe func(ctx context.Context, rate float64) (held bool, err error)) (Capacity, error) {
	if r.Precision == 0 {
		r.Precision = defaultPrecision
	}
	if r.Most == 0 {
		r.Most = defaultProbes
	}
	if !(0 < r.From && r.From <= r.To && r.To < math.Inf(1) && 0 < r.Precision && r.Most > 0) {
		return Capacity{}, errors.New("a search goes from a rate above zero to one that is not below it, with a precision above zero")
	}
	s := &search{ctx: ctx, Range: r, probe: probe, found: Capacity{Found: Unfinished}}
	err := s.run()
	if errors.Is(err, errSpent) {
		err = nil
	}
	return s.found, err
}

// search is one that is under way.
type search struct {
	ctx context.Context
	Range
	probe func(context.Context, float64) (bool, error)
	found Capacity
}

// errSpent ends a search that has no probe left.
var errSpent = errors.New("no probe is left")

func (s *search) run() error {
	fails, err := s.rise(s.From, 2)
	for err == nil && s.found.Rate > 0 && s.found.Rate < s.To {
		if fails, err = s.halve(fails); err != nil {
			break
		}
		var held bool
		if held, err = s.holds(fails, 2); err != nil || !held {
			break
		}
		fails, err = s.rise(fails, 1+s.Precision)
	}
	if err != nil {
		return err
	}
	return s.confirm()
}

// rise goes up from a rate in steps of a factor, each the square of the one before, and 2 at most. It gives the first
// rate that did not hold, if there is one up to To.
func (s *search) rise(rate, factor float64) (fails float64, err error) {
	for {
		held, err := s.holds(rate, 1)
		if err != nil || !held {
			return rate, err
		}
		if s.found.Rate = rate; rate == s.To {
			return 0, nil
		}
		rate = min(rate*factor, s.To)
		factor = min(factor*factor, 2)
	}
}

// halve brings a rate that does not hold, and the one that was found, to within the precision.
func (s *search) halve(fails float64) (float64, error) {
	for fails > s.found.Rate*(1+s.Precision) {
		middle := math.Sqrt(fails * s.found.Rate)
		held, err := s.holds(middle, 2)
		if err != nil {
			return 0, err
		}
		if held {
			s.found.Rate = middle
		} else {
			fails = middle
		}
	}
	return fails, nil
}

// confirm lowers what was found until it holds once more, by majority.
func (s *search) confirm() error {
	for s.found.Rate > 0 {
		held, err := s.holds(s.found.Rate, 2)
		switch {
		case err != nil:
			return err
		case held && s.found.Rate == s.To:
			s.found.Found = AllHeld
			return nil
		case held:
			s.found.Found = TheEdge
			return nil
		case s.found.Rate == s.From:
			s.found.Rate = 0
		default:
			s.found.Rate = max(s.From, s.found.Rate/(1+s.Precision))
		}
	}
	s.found.Found = NoneHeld
	return nil
}

// holds probes a rate until enough probes held, or two did not.
func (s *search) holds(rate float64, enough int) (bool, error) {
	for held, failed := 0, 0; ; {
		ok, err := s.once(rate)
		if err != nil {
			return false, err
		}
		if ok {
			held++
		} else {
			failed++
		}
		if held == enough || failed == 2 {
			return held == enough, nil
		}
	}
}

func (s *search) once(rate float64) (bool, error) {
	if err := s.ctx.Err(); err != nil {
		return false, err
	}
	if len(s.found.Probes) == s.Most {
		return false, errSpent
	}
	held, err := s.probe(s.ctx, rate)
	if err == nil {
		err = s.ctx.Err() // a run that was cut short says nothing
	}
	if err == nil {
		s.found.Probes = append(s.found.Probes, Probe{rate, held})
	}
	return held, err
}
