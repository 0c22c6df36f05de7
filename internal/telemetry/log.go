package telemetry

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Log writes events of the schema. Safe for concurrent use. The zero Log writes nothing.
type Log struct{ zap *zap.Logger }

// NewLog writes through z, whose encoder is Encoder's.
func NewLog(z *zap.Logger) Log { return Log{z} }

// Encoder is how lines are written: JSON, or, for eyes, a console form.
func Encoder(console bool) zapcore.Encoder {
	cfg := zapcore.EncoderConfig{
		TimeKey: KeyTime, LevelKey: KeySeverity, MessageKey: KeyEvent, LineEnding: "\n",
		EncodeTime:     func(t time.Time, e zapcore.PrimitiveArrayEncoder) { zapcore.RFC3339NanoTimeEncoder(t.UTC(), e) },
		EncodeLevel:    zapcore.CapitalLevelEncoder,
		EncodeDuration: zapcore.NanosDurationEncoder,
	}
	if console {
		return zapcore.NewConsoleEncoder(cfg)
	}
	return zapcore.NewJSONEncoder(cfg)
}

// Enabled reports whether lines of that level are written at all.
func (l Log) Enabled(level zapcore.Level) bool { return l.zap != nil && l.zap.Core().Enabled(level) }

func (l Log) write(level zapcore.Level, event Event, fields ...zap.Field) {
	if l.zap == nil {
		return
	}
	if line := l.zap.Check(level, string(event)); line != nil {
		line.Write(fields...)
	}
}

// Sync returns when all lines so far are written.
func (l Log) Sync() {
	if l.zap != nil {
		_ = l.zap.Sync() // a log that cannot be written cannot say so
	}
}

// Call is what is told of one call. Durations are shown in microseconds.
type Call struct {
	Event     Event // RequestDone or RequestDenied
	Socket    string
	Method    string // empty: it named none that exists
	Source    string // empty: unknown
	Dest      string // empty: not permitted
	DestLen   int
	DestPrint string
	ArgLen    int
	ArgPrint  string
	PayLen    int
	PayPrint  string
	PeerUID   *uint32 // nil: unknown, since it is a certificate that says who calls
	PeerName  string  // that the certificate says; empty: it was the kernel
	Outcome   string
	ErrorType string
	Incident  string
	ReplyLen  int
	Events    int // of a stream

	Read, Sanitize, Permission, Action, Reply, Total time.Duration
}

// The outcomes of calls.
const (
	OK         = "ok"
	Exception  = "exception"
	Denied     = "denied"
	Malformed  = "malformed"
	InIncident = "incident"
	Refused    = "shed"
	Gone       = "gone"
)

// Call writes one line.
func (l Log) Call(c *Call) {
	if l.zap == nil {
		return
	}
	line := l.zap.Check(zapcore.InfoLevel, string(c.Event))
	if line == nil {
		return
	}
	var room [24]zap.Field
	f := append(room[:0], zap.String(KeySocket, c.Socket), zap.String(KeyOutcome, c.Outcome))
	if c.PeerUID != nil {
		f = append(f, zap.Uint32(KeyPeerUID, *c.PeerUID))
	}
	f = appendText(f, KeyPeerName, c.PeerName)
	f = appendText(f, KeyMethod, c.Method)
	f = appendText(f, KeySource, c.Source)
	f = appendText(f, KeyDest, c.Dest)
	f = appendSealed(f, KeyDestLen, KeyDestPrint, c.DestLen, c.DestPrint)
	f = appendSealed(f, KeyArgLen, KeyArgPrint, c.ArgLen, c.ArgPrint)
	f = appendSealed(f, KeyPayloadLen, KeyPayloadPrint, c.PayLen, c.PayPrint)
	f = appendText(f, KeyErrorType, c.ErrorType)
	f = appendText(f, KeyIncident, c.Incident)
	if c.Events > 0 {
		f = append(f, zap.Int(KeyEvents, c.Events))
	}
	f = append(f,
		zap.Int(KeyReplyLen, c.ReplyLen),
		micros(KeyReadTime, c.Read), micros(KeySanitizeTime, c.Sanitize), micros(KeyPermitTime, c.Permission),
		micros(KeyActionTime, c.Action), micros(KeyReplyTime, c.Reply), micros(KeyTotalTime, c.Total))
	line.Write(f...)
}

func appendText(f []zap.Field, k Key, v string) []zap.Field {
	if v == "" {
		return f
	}
	return append(f, zap.String(k, v))
}

func appendSealed(f []zap.Field, length, print Key, n int, fingerprint string) []zap.Field {
	if fingerprint == "" {
		return f
	}
	return append(f, zap.Int(length, n), zap.String(print, fingerprint))
}

func micros(k Key, d time.Duration) zap.Field { return zap.Int64(k, d.Microseconds()) }

// Crash is what is told of a panic.
type Crash struct {
	Incident    string
	Actor, Kind string
	Handling    string // type of the message
	PanicType   string
	Fingerprint string
	Stack       string
	Method      string // that was called, if a call was being handled
	Streak      int
}

// Crash writes the line and waits until it is written: the next thing to happen may be worse.
func (l Log) Crash(c Crash) {
	l.write(zapcore.ErrorLevel, ActorCrashed,
		zap.String(KeyIncident, c.Incident), zap.String(KeyActor, c.Actor), zap.String(KeyActorKind, c.Kind),
		zap.String(KeyHandling, c.Handling), zap.String(KeyPanicType, c.PanicType), zap.String(KeyCrashPrint, c.Fingerprint),
		method(c.Method), zap.Int(KeyStreak, c.Streak), zap.String(KeyStack, c.Stack))
	l.Sync()
}

// Incident tells of a failure of ours that is no crash.
func (l Log) Incident(id, actor, kind, called, message string) {
	l.write(zapcore.ErrorLevel, Incident, zap.String(KeyIncident, id), zap.String(KeyActor, actor),
		zap.String(KeyActorKind, kind), method(called), zap.String(KeyMessage, message))
	l.Sync()
}

// method is left out where none is known.
func method(name string) zap.Field {
	if name == "" {
		return zap.Skip()
	}
	return zap.String(KeyMethod, name)
}

// Actor tells that an actor started, stopped or was restarted. Those that live for one connection are told of by their
// call's line.
func (l Log) Actor(e Event, name, kind, parent string) {
	l.write(zapcore.InfoLevel, e, zap.String(KeyActor, name), zap.String(KeyActorKind, kind), zap.String(KeyParent, parent))
}

// Escalated tells that an actor makes no progress.
func (l Log) Escalated(name, kind string, streak int, retry time.Duration) {
	l.write(zapcore.ErrorLevel, Escalated, zap.String(KeyActor, name), zap.String(KeyActorKind, kind),
		zap.Int(KeyStreak, streak), micros(KeyRetry, retry))
	l.Sync()
}

// Health tells what the daemon's health is now, and why.
func (l Log) Health(healthy bool, reason string) {
	level := zapcore.InfoLevel
	if !healthy {
		level = zapcore.ErrorLevel
	}
	l.write(level, HealthChanged, zap.Bool(KeyHealthy, healthy), zap.String(KeyReason, reason))
}

// Shed tells that a limit was reached, and how often since the last such line.
func (l Log) Shed(what string, count uint64) {
	l.write(zapcore.WarnLevel, Shed, zap.String(KeyReason, what), zap.Uint64(KeyCount, count))
}

// Unproven tells of a connection of a client that did not prove who it is. reason is our own words, and address the
// kernel's.
func (l Log) Unproven(socket, address, reason string) {
	l.write(zapcore.InfoLevel, ConnectionRefused, zap.String(KeySocket, socket), zap.String(KeyPeerAddress, address), zap.String(KeyReason, reason))
}

// StreamCut tells of a subscriber that was cut off after so many events.
func (l Log) StreamCut(called, source, dest string, events int) {
	l.write(zapcore.WarnLevel, StreamCut, method(called), zap.String(KeySource, source), zap.String(KeyDest, dest), zap.Int(KeyEvents, events))
}

// Committed tells of a group of changes.
func (l Log) Committed(changes int, revision uint64, took time.Duration) {
	l.write(zapcore.DebugLevel, CommitGroup, zap.Int(KeyCount, changes), zap.Uint64(KeyRevision, revision), micros(KeyCommitTime, took))
}

// PolicyReloaded tells of a policy that is in force now.
func (l Log) PolicyReloaded(rules int, generation uint64, took time.Duration) {
	l.write(zapcore.InfoLevel, PolicyReloaded, zap.Int(KeyCount, rules), zap.Uint64(KeyGeneration, generation), micros(KeyLoadTime, took))
}

// PolicyRefused tells of a policy that does not load, and which one stays in force. The message may quote the operator's
// files.
func (l Log) PolicyRefused(at, message string, count int, generation uint64) {
	l.write(zapcore.ErrorLevel, PolicyRefused, zap.String(KeyPlace, at), zap.String(KeyMessage, message), zap.Int(KeyCount, count),
		zap.Uint64(KeyGeneration, generation))
	l.Sync()
}

// PolicyLegacy tells of a directive that is to be replaced (spec: policy.md 3).
func (l Log) PolicyLegacy(at string) {
	l.write(zapcore.WarnLevel, PolicyLegacy, zap.String(KeyPlace, at))
}

// Library passes on that the actor library spoke, without the values, which may be a client's.
func (l Log) Library(level zapcore.Level, message string) {
	l.write(level, LibraryMessage, zap.String(KeyMessage, message))
}

// Store tells that the store cannot write.
func (l Log) Store(message string) {
	l.write(zapcore.ErrorLevel, StoreFailed, zap.String(KeyMessage, message))
	l.Sync()
}

// Daemon tells where the daemon stands in its life. fields are of the schema.
func (l Log) Daemon(e Event, fields ...zap.Field) { l.write(zapcore.InfoLevel, e, fields...) }
