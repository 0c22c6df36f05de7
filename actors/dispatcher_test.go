package actors

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// TestWarmRunsEverything: what many schedule at once is run, each on its own, also by those that are run.
func TestWarmRunsEverything(t *testing.T) {
	d := &warm{}
	defer d.close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				all.Add(2)
				d.Schedule(func() {
					defer all.Done()
					d.Schedule(all.Done)
				})
			}
		})
	}
	all.Wait()
}

// TestWarmReusesTheLast: the goroutine whose stack was used last is used next, and a new one starts only if all are busy.
func TestWarmReusesTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &warm{}
		defer d.close()
		busy := func() (release func()) {
			done := make(chan struct{})
			d.Schedule(func() { <-done })
			return func() { close(done); synctest.Wait() }
		}
		first, second := busy(), busy()
		assert.Empty(t, d.idle)
		first()
		second()
		if !assert.Len(t, d.idle, 2) {
			return
		}
		bottom, top := d.idle[0], d.idle[1]
		release := busy()
		assert.Equal(t, []*worker{bottom}, d.idle)
		release()
		assert.Equal(t, []*worker{bottom, top}, d.idle)
	})
}

// TestWarmEnds: no more wait than are allowed to, none after close, and what is scheduled after that is run all the same.
// A bubble ends only when all of its goroutines have.
func TestWarmEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &warm{}
		gate := make(chan struct{})
		ran := make(chan bool, 2*maxIdleWorkers+1)
		for range 2 * maxIdleWorkers {
			d.Schedule(func() { <-gate; ran <- true })
		}
		close(gate)
		synctest.Wait()
		assert.Len(t, d.idle, maxIdleWorkers)
		d.close()
		d.Schedule(func() { ran <- true })
		synctest.Wait()
		assert.Len(t, ran, 2*maxIdleWorkers+1)
		assert.Empty(t, d.idle)
	})
}
