package actors

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// crash is a panic as it may be told: the type of what was panicked with, and where. The value itself may hold what a
// client sent, so it is dropped here and nowhere kept; so are the arguments that debug.Stack would print.
type crash struct {
	panicType string
	frames    []runtime.Frame
}

// newCrash is called by the deferred function that recovered reason, while the stack still exists.
func newCrash(reason any) *crash {
	if carried, ok := reason.(*crash); ok { // never errors.As, which would run the reason's own methods
		return carried // from a goroutine that worked for the actor
	}
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	c := &crash{panicType: fmt.Sprintf("%T", reason)}
	panicked := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic" || f.Function == "runtime.Goexit":
			panicked = true
		case panicked && !outside(f.Function):
			c.frames = append(c.frames, f)
		}
		if !more || panicked && outside(f.Function) {
			return c
		}
	}
}

// guarded calls fn on a goroutine that works for an actor, and then tells its error: a panic, or a runtime.Goexit, which
// nobody could tell otherwise, becomes one that carries the crash.
func guarded(fn func() error, tell func(error)) {
	var err error
	returned := false
	defer func() {
		if reason := recover(); reason != nil {
			err = newCrash(reason)
		} else if !returned {
			err = newCrash(goexit{})
		}
		tell(err)
	}()
	err = fn()
	returned = true
}

// goexit stands for the value that runtime.Goexit does not give.
type goexit struct{}

// outside reports whether a function is where a guard stands: what called it has nothing to do with the crash.
func outside(function string) bool {
	return strings.HasSuffix(function, "actors.(*mailbox).some") || strings.HasSuffix(function, "actors.guarded")
}

// Error makes a crash an error, so that a goroutine that works for an actor can hand one over. It says as little as its
// other text forms.
func (c *crash) Error() string { return c.String() }

func (c *crash) String() string               { return "crash " + c.fingerprint() }
func (c *crash) GoString() string             { return c.String() }
func (c *crash) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, c.String()) }
func (c *crash) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// stack is functions, files and lines, innermost first, a line each.
func (c *crash) stack() string {
	var b strings.Builder
	for _, f := range c.frames {
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
	}
	return b.String()
}

// fingerprint is the same for crashes with the same stack: 12 hexadecimal digits.
func (c *crash) fingerprint() string {
	h := sha256.New()
	for _, f := range c.frames {
		fmt.Fprintf(h, "%s:%d\n", f.Function, f.Line)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}
