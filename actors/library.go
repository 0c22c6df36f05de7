package actors

import (
	"context"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap/zapcore"

	"sallyport/internal/telemetry"
)

// newSystem is the library's system, with its voice redacted: it logs panic values and whole messages, which may hold
// what a client sent.
func newSystem(d *Daemon) *actor.ActorSystem {
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(redacted{d.log}) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
	system.EventStream.Subscribe(func(event any) {
		if letter, ok := event.(*actor.DeadLetterEvent); ok {
			d.refuse(letter.Message) // nobody is left to handle it, but somebody waits for an answer
		}
	})
	return system
}

// redacted passes on that the library spoke, and its constant sentence, but no value.
type redacted struct{ log telemetry.Log }

func (r redacted) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (r redacted) Handle(_ context.Context, line slog.Record) error {
	level := zapcore.WarnLevel
	if line.Level >= slog.LevelError {
		level = zapcore.ErrorLevel
	}
	r.log.Library(level, line.Message)
	return nil
}

func (r redacted) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r redacted) WithGroup(string) slog.Handler      { return r }
