package methods

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/properties"
	"sallyport/stages/sanitize"
)

var events = []stages.Entry{
	stages.Declare(stages.Method[sanitize.From, nothing]{
		Name: "admin.Events", Dest: stages.AnyQube, Access: stages.Read, Scope: stages.Global,
		Help:  "send events as they happen: all, or those of the destination",
		Gives: "event frames",
		Arg:   sanitize.EventsFrom, Payload: stages.None,
		Stream: followEvents,
	}),
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.vm.Stats", Dest: stages.AnyQube, Access: stages.Read, Scope: stages.Global,
		Help:  "send now and again what running qubes use: all, or the destination",
		Gives: "event frames",
		Arg:   stages.None, Payload: stages.None,
		Stream: followStats,
	}),
}

// followEvents sends every event to whoever asks dom0, and otherwise those of the destination. Another qube that gets its
// name later is another.
func followEvents(_ qube.View, g stages.Grant[sanitize.From, nothing], feed stages.Feed) error {
	everything, id := g.Dest().Class() == qube.AdminVM, g.Dest().ID()
	feed.Follow(stages.Follow{
		Numbered: g.Arg().Numbered, After: g.Arg().After,
		Keeps: func(v qube.View, e qube.Event) bool {
			if hiddenEvent(e) {
				return false
			}
			if !everything {
				if q, there := v.Qube(e.Subject); !there || q.ID() != id {
					return false
				}
			}
			return g.Sees(v, e)
		},
	})
	return nil
}

// hiddenEvents are those of qubes that nobody is sent (spec: events.md 2), by what their names begin with, or, without a
// colon, by name. What a guest says of itself is among them (spec: events.md 4 features-request, SAFER).
var hiddenEvents = []string{
	"admin-permission:", "device-get:", "device-list:", "device-list-attached:", "domain-is-fully-usable", "features-request",
}

func hiddenEvent(e qube.Event) bool {
	return e.Subject != (qube.Name{}) && slices.ContainsFunc(hiddenEvents, func(hidden string) bool {
		return e.Name == hidden || strings.HasSuffix(hidden, ":") && strings.HasPrefix(e.Name, hidden)
	})
}

// followStats measures all running qubes for whoever asks dom0, and otherwise the destination, for as long as it runs
// (spec: methods.yaml admin.vm.Stats; model.md 13).
func followStats(_ qube.View, g plain, feed stages.Feed) error {
	var m meter
	feed.Every(func(v qube.View) ([]qube.Event, time.Duration, error) {
		next := statsInterval(v)
		measured := slices.Collect(v.Qubes())
		if g.Dest().Class() != qube.AdminVM {
			dest, there := v.QubeByID(g.Dest().ID())
			if !there || !measurable(dest) {
				return nil, 0, exception.New(exception.QubesVMNotRunningError, "qube %s is not running", g.Dest())
			}
			measured = []qube.Qube{dest}
		}
		measured = slices.DeleteFunc(measured, func(q qube.Qube) bool { return !measurable(q) || !g.SeesQube(v, q) })
		return m.round(v, measured, next), next, nil
	})
	return nil
}

// statsInterval is read anew in every round. Less than a second would be no pause (spec: methods.yaml admin.vm.Stats,
// SAFER).
func statsInterval(v qube.View) time.Duration {
	seconds, err := strconv.ParseUint(properties.Global(v, properties.StatsInterval).Shown(), 10, 31)
	if err != nil {
		seconds = 3 // spec: properties.yaml app.stats_interval
	}
	return time.Duration(max(1, seconds)) * time.Second
}

// measurable reports whether there is something to measure: a remote qube runs elsewhere.
func measurable(q qube.Qube) bool {
	return q.Class() != qube.RemoteVM && stateOf(q) != qube.Halted
}

// meter turns what qubes have used so far into what they use now.
type meter struct {
	last map[qube.UUID]measurement
	span time.Duration // since the round before
}

type measurement struct {
	qube.Usage
	started time.Time
}

// round is the events of one round. The CPU usage is that since the round before; 0 for a qube that was not measured
// then, or has started anew.
func (m *meter) round(v qube.View, measured []qube.Qube, next time.Duration) []qube.Event {
	var events []qube.Event
	now := map[qube.UUID]measurement{}
	for _, q := range measured {
		u := measurement{v.Usage(q), q.Runtime().Started}
		now[q.ID()] = u
		var percent uint64
		if last, was := m.last[q.ID()]; was && last.started.Equal(u.started) && u.CPUNanos >= last.CPUNanos && u.VCPUs > 0 {
			percent = 100 * (u.CPUNanos - last.CPUNanos) / uint64(m.span) / uint64(u.VCPUs)
		}
		memory := strconv.FormatUint(u.MemoryKiB, 10)
		events = append(events, qube.Event{Subject: q.Name(), Name: "vm-stats", Args: []qube.EventArg{
			{Key: "memory_kb", Value: memory},
			{Key: "memory_assigned_total", Value: memory},
			{Key: "memory_assigned_usable", Value: memory},
			{Key: "memory_with_swap_used", Value: memory},
			{Key: "cpu_time", Value: strconv.FormatUint(u.CPUNanos/1e6, 10)},
			{Key: "cpu_usage", Value: strconv.FormatUint(percent, 10)},
			{Key: "online_vcpus", Value: strconv.Itoa(u.VCPUs)},
		}})
	}
	m.last, m.span = now, next
	return events
}
