package actors

import "sallyport/messages/qube"

// feeds is who is sent events. Safe for concurrent use.
type feeds struct{}

// deliver queues what happened for every subscriber, in order. One goroutine calls it at a time.
func (f *feeds) deliver([]qube.Batch) {}
