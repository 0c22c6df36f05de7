package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// memTableSize bounds the log that is replayed at start, too. An inventory is small: a few such tables hold all of it.
const memTableSize = 4 << 20

// options are for a database that is read once, at start, and then only written, by one goroutine that waits for every
// sync. A disk given as FS keeps Pebble from adding its own watchers, one goroutine for every open file.
func options(d *disk, memTable uint64) *pebble.Options {
	events := &pebble.EventListener{
		BackgroundError: d.stop,
		DataCorruption:  func(i pebble.DataCorruptionInfo) { d.stop(fmt.Errorf("%s", i)) },
	}
	o := &pebble.Options{
		FS: d,
		// The oldest that marks in the log how far it was synced. Without it, damage anywhere in the log reads as its end,
		// and what was acknowledged after is silently gone; with it, only damage in the last 32 KiB does.
		FormatMajorVersion: pebble.FormatWALSyncChunks,

		MemTableSize: memTable,
		CacheSize:    8 << 20,
		MaxOpenFiles: 64,

		// A stall for want of compaction would outlast a disk that stopped. Nobody reads, so depth costs nothing.
		L0StopWritesThreshold: 1000,
		DisableTableStats:     true,

		Logger:        quiet{d},
		EventListener: events,
	}
	o.Experimental.CompactionScheduler = scheduler{pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest(), d}
	o.Experimental.FileCacheShards = 1
	return o
}

// quiet is Pebble's logger.
type quiet struct{ disk *disk }

func (q quiet) Infof(string, ...any) {}

func (q quiet) Errorf(text string, args ...any) {
	q.disk.log.Error("store: " + fmt.Sprintf(text, args...))
}

// Fatalf returns, which Pebble does not expect. It may: the disk has stopped, so whatever Pebble does next, in a state it
// holds to be impossible, changes nothing; reads from memory go on, and every Commit fails.
func (q quiet) Fatalf(text string, args ...any) { q.disk.stop(fmt.Errorf(text, args...)) }

// scheduler lets one compaction run at a time, without the default's goroutine that wakes ten times a second to ask
// whether the limit has risen. Once the disk has stopped it lets none begin: they would look for tables that were never
// written, and fail, and be tried again, without end.
type scheduler struct {
	*pebble.ConcurrencyLimitScheduler
	disk *disk
}

func (s scheduler) Register(n int, db pebble.DBForCompaction) {
	s.ConcurrencyLimitScheduler.Register(n, limited{db, s.disk})
}

type limited struct {
	pebble.DBForCompaction
	disk *disk
}

func (l limited) GetAllowedWithoutPermission() int {
	if l.disk.stopped() != nil {
		return 0
	}
	return l.DBForCompaction.GetAllowedWithoutPermission()
}
