package actors

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/internal/telemetry"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	judges "sallyport/stages/permission"
)

// calls are the lines of calls, once no connection is open.
func (l *live) calls() []line {
	until(l.t, func() bool { return l.Stats().Open == 0 })
	return append(l.log.lines(telemetry.RequestDone), l.log.lines(telemetry.RequestDenied)...)
}

// TestOneLineForEachCall says what became of it, and no more than was accepted of what the client sent.
func TestOneLineForEachCall(t *testing.T) {
	for name, c := range map[string]struct {
		socket  stages.Socket
		request string
		want    line
		without []telemetry.Key
	}{
		"ok": {stages.Admin, "test.Echo+arg dom0 name work\x00load", line{
			"event.name": "request.done", "severity_text": "INFO", "sallyport.outcome": "ok", "rpc.method": "test.Echo",
			"sallyport.socket": "admin", "sallyport.source": "dom0", "sallyport.dest": "work",
			"sallyport.arg.length": 3.0, "sallyport.payload.length": 4.0, "sallyport.reply.length": 10.0,
		}, []telemetry.Key{"error.type", "sallyport.incident", "sallyport.dest.fingerprint"}},
		"an exception": {stages.Admin, "test.Tag+$ dom0 name work\x00", line{
			"event.name": "request.done", "sallyport.outcome": "exception", "rpc.method": "test.Tag", "error.type": "QubesInvalidTagError",
			"sallyport.source": "dom0", "sallyport.dest": "work", "sallyport.arg.length": 1.0,
		}, []telemetry.Key{"sallyport.payload.length", "sallyport.payload.fingerprint"}},
		"a refusal": {stages.Internal, "test.Internal+a work name vault\x00", line{
			"event.name": "request.denied", "sallyport.outcome": "denied", "rpc.method": "test.Internal", "error.type": "PermissionDenied",
			"sallyport.socket": "internal", "sallyport.dest.length": 5.0,
		}, []telemetry.Key{"sallyport.dest", "sallyport.source"}},
		"an absent destination": {stages.Admin, "test.Echo+a dom0 name nobody\x00", line{
			"event.name": "request.done", "sallyport.outcome": "exception", "rpc.method": "test.Echo", "error.type": "QubesVMNotFoundError",
			"sallyport.source": "dom0", "sallyport.dest.length": 6.0,
		}, []telemetry.Key{"sallyport.dest"}},
		"a crash": {stages.Admin, "crash.action+a dom0 name work\x00", line{
			"event.name": "request.done", "sallyport.outcome": "incident", "rpc.method": "crash.action", "error.type": "QubesInternalError",
		}, nil},
		"no method": {stages.Admin, "test.Nothing+a dom0 name work\x00", line{
			"event.name": "request.done", "sallyport.outcome": "malformed", "error.type": "ProtocolError",
			"sallyport.arg.length": 14.0, "sallyport.dest.length": 4.0,
		}, []telemetry.Key{"rpc.method", "sallyport.source", "sallyport.dest"}},
		"no frame": {stages.Admin, "test.Echo+arg", line{
			"event.name": "request.done", "sallyport.outcome": "malformed", "error.type": "ProtocolError",
		}, []telemetry.Key{"rpc.method", "sallyport.arg.length"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := serve(t, plainly)
			a := l.dial(c.socket).send([]byte(c.request)).end().answer()
			lines := l.calls()
			if !assert.Len(t, lines, 1) {
				return
			}
			for key, want := range c.want {
				assert.Equal(t, want, lines[0][key], key)
			}
			for _, key := range c.without {
				assert.NotContains(t, lines[0], key)
			}
			for _, sealed := range []string{"sallyport.arg", "sallyport.payload", "sallyport.dest"} {
				if lines[0][sealed+".length"] != nil {
					assert.Regexp(t, "^[0-9a-f]{16}$", lines[0][sealed+".fingerprint"])
				}
			}
			if a.Type == string(exception.QubesInternalError) {
				assert.Equal(t, a.Fields[0], lines[0]["sallyport.incident"])
			}
		})
	}
}

// TestOtherOutcomes: a client that left, and two that were refused for no fault of theirs.
func TestOtherOutcomes(t *testing.T) {
	l := serve(t, plainly)
	assert.NoError(t, l.dial(stages.Admin).send([]byte("test.Long dom0 name work\x00")).Close())
	assert.NoError(t, l.system.Root.StopFuture(l.ledger).Wait())
	assert.Equal(t, answerOf(errBusy), l.call("test.Tag+a", "work", ""))
	half := l.dial(stages.Admin).send([]byte("test"))
	half.taken()
	until(t, func() bool { return l.waiting() == 1 })
	assert.NoError(t, l.Close(context.Background()))
	assert.Equal(t, answerOf(errStopping), half.answer())
	assert.ElementsMatch(t, []any{"gone", "shed", "shed"}, column(l.calls(), telemetry.KeyOutcome))
}

// TestStageDurations: each stage's is what the clock says, and together they are no more than the whole.
func TestStageDurations(t *testing.T) {
	l := serve(t, func(s *Settings) { s.Clock = &ticking{clock: s.Clock.(*clock)} })
	for _, method := range []string{"test.Echo+a", "test.Tag+a", "test.Work+a"} {
		l.call(method, "work", "")
	}
	for _, call := range l.calls() {
		sum := 0.0
		for _, stage := range []telemetry.Key{
			telemetry.KeyReadTime, telemetry.KeySanitizeTime, telemetry.KeyPermitTime, telemetry.KeyActionTime, telemetry.KeyReplyTime,
		} {
			assert.GreaterOrEqual(t, call[stage], 1000.0, stage)
			sum += call[stage].(float64)
		}
		assert.LessOrEqual(t, sum, call[telemetry.KeyTotalTime])
	}
}

// ticking is a clock on which every look takes a millisecond.
type ticking struct{ *clock }

func (c *ticking) Now() time.Time {
	c.advance(time.Millisecond)
	return c.clock.Now()
}

// TestFingerprintsOfCalls are equal where the bytes are, and say nothing across two runs.
func TestFingerprintsOfCalls(t *testing.T) {
	prints := func() []any {
		l := serve(t, plainly)
		for _, arg := range []string{"a", "a", "b"} {
			l.call("test.Echo+"+arg, "work", "")
			l.calls() // the line comes after the answer
		}
		return column(l.calls(), telemetry.KeyArgPrint)
	}
	first, second := prints(), prints()
	assert.Equal(t, first[0], first[1])
	assert.NotEqual(t, first[0], first[2])
	assert.NotEqual(t, first[0], second[0])
}

// TestAQuietLog costs calls nothing but their lines.
func TestAQuietLog(t *testing.T) {
	l := serve(t, func(s *Settings) { s.Log = s.Log.WithOptions(zap.IncreaseLevel(zap.WarnLevel)) })
	assert.Equal(t, ok("a "), l.call("test.Echo+a", "work", ""))
	assert.Equal(t, ok("tagged a"), l.call("test.Tag+a", "work", ""))
	id := incidentOf(t, l.call("crash.action", "work", ""))
	l.calls()
	if lines := l.log.lines(""); assert.Len(t, lines, 1) {
		assert.Equal(t, id, lines[0][telemetry.KeyIncident])
	}
}

// TestNothingAClientSentIsTold, wherever it sends it, whatever becomes of it, at any level: serve checks the whole log.
func TestNothingAClientSentIsTold(t *testing.T) {
	l := serve(t, func(s *Settings) {
		s.CrashLimit = 2
		s.Gate = stages.NewGate(secretPolicy{})
	})
	for _, place := range []string{
		"%s", "%s dom0 name work\x00", "test.Echo+%s dom0 name work\x00", "test.Echo %s name work\x00", "test.Echo dom0 %s work\x00",
		"test.Echo dom0 name %s\x00", "test.Echo dom0 name work\x00%s", "test.Echo+%[1]s %[1]s name %[1]s\x00%[1]s", "test.Echo+\xff%s dom0 name work\x00",
		"test.Echo dom0 name 1%s\x00", "test.Echo dom0 name uuid:%s\x00", "test.Tag+%s dom0 name work\x00", "test.Tag+$%s dom0 name work\x00",
		"test.Work+%s dom0 name work\x00%[1]s", "test.Echo+%s work name vault\x00%[1]s", "test.Echo work name %s\x00",
	} {
		l.raw(fmt.Sprintf(place, secret))
	}
	l.raw(strings.Repeat(secret, 10_000))
	for _, kind := range append(doors, "work") {
		for length := range 4 {
			l.call("crash."+kind+"+"+secret, "work", secret[:length])
			l.call("crash."+kind+"+"+secret, secret, secret)
		}
	}
	for _, leaver := range []string{"test.Long+%s dom0 name work\x00", "test.Tag+%s dom0 name work\x00", "test.Echo+%s"} {
		assert.NoError(t, l.dial(stages.Admin).send([]byte(fmt.Sprintf(leaver, secret))).Close())
	}
	l.system.Root.Stop(l.ledger)
	l.call("test.Tag+"+secret, "work", "")
	l.system.Root.Stop(l.sanitizer)
	l.call("test.Echo+"+secret, secret, secret)
	l.calls()
	assert.NotEmpty(t, l.log.lines(telemetry.ActorCrashed))
}

// secretPolicy refuses what is not dom0's.
type secretPolicy struct{ judges.Everyone }

func (secretPolicy) Allows(qube.View, stages.Subject) bool { return false }

// TestDeadLetters: a call that reaches an actor after its end is answered.
func TestDeadLetters(t *testing.T) {
	virtually(t, plainly, func(h *hall) {
		h.system.Root.Stop(h.ledger)
		assert.Equal(t, answerOf(errBusy), h.tag("a").answer())
		h.system.Root.Stop(h.sanitizer)
		synctest.Wait()
		assert.Equal(t, answerOf(errBusy), h.call("test.Echo", "work", "").answer())
		assert.Len(t, h.log.lines(telemetry.Shed), 1, "the log says so once a second")
		h.closingDown.Store(true)
		assert.Equal(t, answerOf(errStopping), h.call("test.Echo", "work", "").answer())
	})
}

// TestTheLibrarysVoice: its sentences are constant; its values are a client's.
func TestTheLibrarysVoice(t *testing.T) {
	j := &journal{}
	voice := slog.New(redacted{telemetry.NewLog(base(j).Log)}).With("with", secret).WithGroup(secret)
	voice.Debug("nothing to see", "message", secret)
	voice.Info("a dead letter", "message", secret)
	voice.Warn("a warning", "message", secret)
	voice.Error("an error", slog.Any("message", []byte(secret)), slog.Group("group", "message", secret))
	discreet(t, j)
	assert.Equal(t, []any{"a warning", "an error"}, column(j.lines(telemetry.LibraryMessage), telemetry.KeyMessage))
	assert.Equal(t, []any{zapcore.WarnLevel.CapitalString(), zapcore.ErrorLevel.CapitalString()},
		column(j.lines(""), telemetry.KeySeverity))
}

// TestErrorsAreToldByTheirTypes: what they say may quote what a client sent.
func TestErrorsAreToldByTheirTypes(t *testing.T) {
	err := fmt.Errorf("about %s: %w", secret, &fs.PathError{Op: secret, Path: secret, Err: syscall.ENOSPC})
	assert.Equal(t, "an error that is no exception: *fmt.wrapError: *fs.PathError: syscall.Errno", typesOf(err))
}
