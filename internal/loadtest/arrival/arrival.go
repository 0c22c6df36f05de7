// Package arrival says when calls of an open model are due: evenly spaced or at random, at a rate that may change evenly.
//
// Arrivals are counted in a space in which one comes in each unit, or one on average; the rate's integral leads from there
// to times. So a ramp is as exact as a constant rate, and several drivers that count the same arrivals share them without
// a word.
package arrival

import (
	"math"
	"math/rand/v2"
	"time"
)

// Stage is a span in which the rate goes evenly from one value to another, in arrivals per second.
type Stage struct {
	From, To float64
	For      time.Duration
}

// total is how many arrivals the stage has.
func (s Stage) total() float64 { return (s.From + s.To) / 2 * s.For.Seconds() }

// at is when so many arrivals of the stage have come.
func (s Stage) at(n float64) time.Duration {
	growth := (s.To - s.From) / s.For.Seconds()
	root := s.From + math.Sqrt(max(0, s.From*s.From+2*growth*n))
	if n == 0 || root == 0 {
		return 0
	}
	return min(s.For, time.Duration(2*n/root*float64(time.Second)))
}

// Schedule gives the times of arrivals, in order. It is for one goroutine.
type Schedule struct {
	stages []Stage
	began  time.Duration // of stages[0]
	before float64       // arrivals before it

	next   float64    // the next arrival, in units
	random *rand.Rand // nil: evenly spaced

	part, of, index int // which arrivals are this Schedule's
}

// New makes a Schedule of stages: evenly spaced, or, with a random source, a Poisson process.
func New(stages []Stage, random *rand.Rand) *Schedule {
	s := &Schedule{stages: stages, random: random, of: 1}
	s.step()
	if random == nil {
		s.next = 0 // the first comes at once
	}
	return s
}

// Share has s give each of'th arrival only, beginning with the one of index part. Of Schedules that are alike, each with a
// part of its own, every arrival is given by one.
func (s *Schedule) Share(part, of int) *Schedule {
	s.part, s.of = part, of
	return s
}

// Next gives when the next arrival is due, since the beginning of the first stage; false when all stages are over.
func (s *Schedule) Next() (due time.Duration, ok bool) {
	for {
		due, ok = s.one()
		mine := s.index%s.of == s.part
		s.index++
		if !ok || mine {
			return due, ok
		}
	}
}

func (s *Schedule) one() (time.Duration, bool) {
	for len(s.stages) > 0 {
		stage := s.stages[0]
		if n := s.next - s.before; n < stage.total() {
			s.step()
			return s.began + stage.at(n), true
		}
		s.began, s.before, s.stages = s.began+stage.For, s.before+stage.total(), s.stages[1:]
	}
	return 0, false
}

// step moves on by one arrival.
func (s *Schedule) step() {
	if s.random == nil {
		s.next++
	} else {
		s.next += s.random.ExpFloat64()
	}
}
