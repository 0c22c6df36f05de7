package lifecycle

import (
	"context"
	"errors"
	"strings"
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

var (
	prohibitStart = known(qube.ParseFeatureName("prohibit-start"))
	restoring     = known(qube.ParseTag("backup-restore-in-progress"))
	startGUID     = qube.EventArg{Key: "start_guid", Value: "True"}
	noMemory      = qube.EventArg{Key: "mem_required", Value: "None"}
)

// known is for constants of ours.
func known[T any](noun T, err error) T {
	if err != nil {
		panic(err)
	}
	return noun
}

// Start is the order to start q. waiting is the order on behalf of which it is given; the zero Order is none.
func Start(v qube.View, q qube.Qube, waiting messages.Order) messages.Order {
	o := messages.Order{Kind: messages.QubeStart, Qube: q.ID(), Patience: startPatience(v, q), Args: map[string]string{}}
	if waiting.Kind == messages.QubeStart {
		o.Args["for"] = waiting.Args["for"] + waiting.Qube.Shown() + " "
	}
	return o
}

// startPatience is how long the guest of q and those of its chain of netvms may take until they can be used.
func startPatience(v qube.View, q qube.Qube) time.Duration {
	var sum time.Duration
	seen := map[qube.UUID]bool{}
	for ok := true; ok && !seen[q.ID()]; q, ok = v.Netvm(q) {
		seen[q.ID()] = true
		sum += seconds(v, q, properties.QrexecTimeout)
	}
	return sum
}

// start brings a halted qube up (spec: methods.yaml admin.vm.Start). Whatever fails on the way, the qube is halted in the
// end, and subscribers are told why.
func (w *work) start(ctx context.Context) error {
	p, err := w.admit(ctx)
	if p.nothing {
		return err
	}
	spawned := false
	if err == nil {
		err = w.startNetvm(ctx, p)
	}
	if err == nil {
		spawned = true
		err = w.spawn(ctx, p)
	}
	if err == nil {
		err = w.boot(ctx, p)
	}
	if err != nil {
		return w.giveUpStart(ctx, spawned, err)
	}
	return nil
}

// plan is what a start has found out before it begins.
type plan struct {
	nothing bool // is to be done
	domain  Domain
	timeout time.Duration   // until the guest is to be usable; 0: no other than the call's
	netvm   *messages.Order // to be carried out first; nil: none is needed
}

// admit decides whether the qube is to be started, announces that, and says so on disk.
func (w *work) admit(ctx context.Context) (p plan, err error) {
	p.nothing = true
	var prohibited error
	err = w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		if err := MayStart(q); err != nil || q.State() != qube.Halted {
			return err
		}
		if v, set := q.Feature(prohibitStart); set && v != (qube.FeatureValue{}) {
			prohibited = exception.New(exception.QubesException, "qube %s is not to be started: %s", q, v)
			return tell(tx, q, "domain-start-failed", reason(prohibited))
		}
		p.nothing = false
		if err := announce(tx, q, "domain-pre-start", startGUID, noMemory); err != nil {
			return err
		}
		if err := mayRun(tx, q); err != nil {
			return err
		}
		p.domain = DomainOf(tx, q)
		p.timeout = seconds(tx, q, properties.QrexecTimeout)
		if n, ok := tx.Netvm(q); ok && !alwaysRuns(n) && (n.State() == qube.Halted || n.State() == qube.Transient) {
			o := Start(tx, n, w.order)
			p.netvm = &o
		}
		if err := tx.SetIntent(q.ID(), starting); err != nil {
			return err
		}
		return turn(tx, q, qube.Transient)
	})
	if err == nil {
		err = prohibited
	}
	return p, err
}

// DomainOf is what a hypervisor is told of q.
func DomainOf(v qube.View, q qube.Qube) Domain {
	return Domain{
		ID: q.ID(), Name: q.Name(), MemoryMiB: properties.Int(v, q, properties.Memory),
		MaxmemMiB: properties.Int(v, q, properties.Maxmem), VCPUs: properties.Int(v, q, properties.VCPUs),
	}
}

// mayRun is what is refused after the start was announced.
func mayRun(v qube.View, q qube.Qube) error {
	if q.HasTag(restoring) {
		return exception.New(exception.QubesVMError, "qube %s is being restored", q)
	}
	if q.Class() != qube.DispVM {
		return nil
	}
	if t, ok := v.Template(q); !ok || !properties.Flag(v, t, properties.TemplateForDispvms) {
		return exception.New(exception.QubesException, "qube %s is based on one that is not for disposables any more", q)
	}
	return nil
}

// startNetvm has the netvm started first, on its own actor. The order says for whom: in a circle of netvms, which no
// property can be set to but a store may hold, the start that would wait for itself fails, and nobody waits for ever.
func (w *work) startNetvm(ctx context.Context, p plan) error {
	if p.netvm == nil {
		return nil
	}
	if p.netvm.Qube == w.order.Qube || strings.Contains(w.order.Args["for"], p.netvm.Qube.Shown()) {
		return exception.New(exception.QubesVMError, "the qube is its own netvm, by way of others")
	}
	if _, err := w.desk.Order(ctx, *p.netvm); err != nil {
		return &netvmFailed{err}
	}
	return nil
}

// netvmFailed is why a netvm could not be started, on the way to whoever wanted a qube that uses it.
type netvmFailed struct{ error }

// Unwrap gives that.
func (e *netvmFailed) Unwrap() error { return e.error }

// discreet is err, or, if that is about a netvm, no more than that: the netvm's own events tell the rest to those who may
// know.
func discreet(err error) error {
	var failed *netvmFailed
	if errors.As(err, &failed) {
		return errNetvm
	}
	return err
}

var errNetvm = exception.New(exception.QubesVMError, "the netvm could not be started")

// spawn has the domain made, paused.
func (w *work) spawn(ctx context.Context, p plan) error {
	if err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error { return announce(tx, q, "domain-pre-spawn", startGUID) }); err != nil {
		return err
	}
	runtime, err := w.driver.Create(ctx, p.domain)
	if err != nil {
		return err
	}
	return w.change(ctx, func(tx qube.Tx, q qube.Qube) error {
		if err := tx.SetRuntime(q.ID(), runtime); err != nil {
			return err
		}
		if err := tellReset(tx, q); err != nil {
			return err
		}
		return tell(tx, q, "domain-spawn", startGUID)
	})
}

// boot lets the guest run, and waits until it can be used.
func (w *work) boot(ctx context.Context, p plan) error {
	if err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error { return announce(tx, q, "domain-pre-unpaused") }); err != nil {
		return err
	}
	if err := w.driver.Unpause(ctx, p.domain.ID); err != nil {
		return err
	}
	if err := w.change(ctx, func(tx qube.Tx, q qube.Qube) error { return tell(tx, q, "domain-unpaused") }); err != nil {
		return err
	}
	late := exception.New(exception.QubesVMError, "qube %s could not be used within its qrexec_timeout", p.domain.Name)
	waiting, cancel := within(ctx, p.timeout, late)
	defer cancel()
	if err := w.driver.Usable(waiting, p.domain.ID); err != nil {
		if context.Cause(waiting) == late {
			return late
		}
		return err
	}
	return w.change(ctx, started)
}

// started says that a qube can be used.
func started(tx qube.Tx, q qube.Qube) error {
	if err := turn(tx, q, qube.Running); err != nil {
		return err
	}
	if err := tx.SetIntent(q.ID(), none); err != nil {
		return err
	}
	return tell(tx, q, "domain-start", startGUID)
}

// giveUpStart leaves the qube halted, whatever there is of it, and gives why. An unwanted disposable is removed. What
// fails here is put in order when the qube is looked at again: the reason is what the caller wants to know.
func (w *work) giveUpStart(ctx context.Context, spawned bool, why error) error {
	if cause := context.Cause(ctx); cause != nil {
		why = cause
	}
	ctx, cancel := tidying(ctx)
	defer cancel()
	told := discreet(why) // whoever may know of the qube
	_ = w.change(ctx, func(tx qube.Tx, q qube.Qube) error { return tell(tx, q, "domain-start-failed", reason(told)) })
	if _, set := w.order.Args[messages.Discreet]; set {
		why = told
	}
	if spawned && w.driver.Destroy(ctx, w.order.Qube) != nil {
		return why
	}
	_ = w.stopped(ctx)
	return why
}

// within is ctx with a limit, if there is one.
func within(ctx context.Context, limit time.Duration, late error) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, late)
}

// seconds is a property that is a time; 0 is none.
func seconds(v qube.View, q qube.Qube, p qube.PropertyName) time.Duration {
	return time.Duration(properties.Int(v, q, p)) * time.Second
}
