package lifecycle

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// The table of spec: model.md 4. A method asks it of what its caller sees, so that a refusal needs no work, and the work
// asks it again of what is the case when its turn has come.

// IsActive reports whether the hypervisor has the qube, in any state.
func IsActive(q qube.Qube) bool { return q.State() != qube.Halted }

// alwaysRuns reports whether a qube has no power states: dom0, and what is on another machine.
func alwaysRuns(q qube.Qube) bool { return q.Class() == qube.AdminVM || q.Class() == qube.RemoteVM }

// errAlwaysRuns is for dom0 and remote qubes (spec: model.md 4, SAFER).
var errAlwaysRuns = exception.New(exception.QubesVMError, "this cannot be done to dom0 or a remote qube")

// MayStart refuses what has no power states. A qube that is not Halted may be started, and nothing is done.
func MayStart(q qube.Qube) error {
	if alwaysRuns(q) {
		return exception.New(exception.QubesVMNotHaltedError, "qube %s is not halted", q)
	}
	return nil
}

// MayShutdown refuses what is halted. What is refused only after it was announced is for the work: see vetoes.
func MayShutdown(q qube.Qube) error {
	switch {
	case alwaysRuns(q):
		return errAlwaysRuns
	case !IsActive(q):
		return exception.New(exception.QubesVMNotStartedError, "qube %s is not started", q)
	}
	return nil
}

// MayKill refuses what is halted.
func MayKill(q qube.Qube) error { return MayShutdown(q) }

// MayPause refuses what is halted; pausing what is paused is well.
func MayPause(q qube.Qube) error {
	switch {
	case alwaysRuns(q):
		return errAlwaysRuns
	case !IsActive(q):
		return exception.New(exception.QubesVMNotRunningError, "qube %s is not running", q)
	}
	return nil
}

// MaySuspend refuses what is halted.
func MaySuspend(q qube.Qube) error { return MayPause(q) }

// MayUnpause refuses what is not paused; what sleeps is not paused.
func MayUnpause(q qube.Qube) error {
	switch {
	case alwaysRuns(q):
		return errAlwaysRuns
	case q.State() != qube.Paused:
		return exception.New(exception.QubesVMNotPausedError, "qube %s is not paused", q)
	}
	return nil
}

// MayResume refuses what neither sleeps nor is paused.
func MayResume(q qube.Qube) error {
	if q.State() == qube.Suspended && !alwaysRuns(q) {
		return nil
	}
	return MayUnpause(q)
}

// MayOpenConsole refuses what is halted, and remote qubes, whose console is not here (spec: methods.yaml
// admin.vm.Console, SAFER).
func MayOpenConsole(q qube.Qube) error {
	if q.Class() == qube.RemoteVM || !IsActive(q) {
		return exception.New(exception.QubesVMNotRunningError, "qube %s is not running", q)
	}
	return nil
}

// needs are the relations that a running qube may be needed by, and how its shutdown is refused then, without saying by
// whom (spec: model.md 4, LEAK).
var needs = []struct {
	needed  func(v qube.View, client qube.Qube) (qube.Qube, bool)
	refusal *exception.Exception
}{
	{qube.View.Netvm, exception.New(exception.QubesVMInUseError, "qubes that run use this one for their network")},
	{reference(properties.Guivm), exception.New(exception.QubesVMError, "qubes that run use this one for their display")},
	{reference(properties.Audiovm), exception.New(exception.QubesVMInUseError, "qubes that run use this one for their sound")},
}

func reference(p qube.PropertyName) func(qube.View, qube.Qube) (qube.Qube, bool) {
	return func(v qube.View, q qube.Qube) (qube.Qube, bool) { return properties.Reference(v, q, p) }
}

// needed refuses to shut q down while other qubes that are active need it. Preloaded disposables do not count.
func needed(v qube.View, q qube.Qube) error {
	for _, need := range needs {
		for client := range v.Qubes() {
			if alwaysRuns(client) || !IsActive(client) || properties.Flag(v, client, properties.IsPreload) {
				continue
			}
			if by, ok := need.needed(v, client); ok && by.ID() == q.ID() && client.ID() != q.ID() {
				return need.refusal
			}
		}
	}
	return nil
}
