package telemetry

import (
	"sync"
	"time"

	"go.uber.org/zap/zapcore"
)

// Limited is a core that writes at most so many lines a second of those below WARN, and has the rest counted as dropped.
// What an operator must see is never limited.
func Limited(core zapcore.Core, perSecond int, sink *Sink) zapcore.Core {
	return &limited{core, &budget{perSecond: perSecond, sink: sink}}
}

type limited struct {
	zapcore.Core
	*budget
}

type budget struct {
	perSecond int
	sink      *Sink
	mu        sync.Mutex
	second    int64
	lines     int
}

func (l *limited) With(fields []zapcore.Field) zapcore.Core {
	return &limited{l.Core.With(fields), l.budget}
}

func (l *limited) Check(line zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if line.Level < zapcore.WarnLevel && l.Enabled(line.Level) && !l.allows(line.Time) {
		l.sink.Drop()
		return to
	}
	return l.Core.Check(line, to)
}

func (b *budget) allows(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := now.Unix(); s != b.second {
		b.second, b.lines = s, 0
	}
	b.lines++
	return b.lines <= b.perSecond
}
