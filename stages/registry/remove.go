package registry

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
	"sallyport/stages/properties"
)

// Remove removes a qube that nobody needs, and tells of it (spec: model.md 8). What it says of a qube in use names nobody.
func Remove(tx qube.Tx, q qube.Qube) error {
	_, working := q.Intent()
	switch {
	case q.Class() == qube.AdminVM:
		return exception.New(exception.QubesVMInUseError, "dom0 cannot be removed")
	case properties.Flag(tx.System(), q, properties.InstalledByRPM):
		return exception.New(exception.QubesVMInUseError, "qube %s was installed by a package, which is to be removed instead", q)
	case q.Class() != qube.RemoteVM && (q.State() != qube.Halted || working):
		return exception.New(exception.QubesVMNotHaltedError, "qube %s can be removed only while it is halted", q)
	}
	return Unregister(tx, q)
}

// Unregister removes a qube that is not in use, whatever its state: a disposable, once it has stopped.
func Unregister(tx qube.Tx, q qube.Qube) error {
	pre := about("domain-pre-delete", q)
	pre.Pre = true
	if err := tx.Fire(pre); err != nil {
		return err
	}
	orphans, err := users(tx.System(), q)
	if err != nil {
		return err
	}
	for _, o := range orphans {
		if err := Remove(tx, o); err != nil {
			return err
		}
	}
	if err := tx.RemoveQube(q.ID()); err != nil {
		return err
	}
	return tx.Fire(about("domain-delete", q))
}

// users fails if q is in use. Disposables that were made from it in advance do not count, and go with it.
func users(v qube.View, q qube.Qube) (preloaded []qube.Qube, err error) {
	inUse := exception.New(exception.QubesVMInUseError, "qube %s is in use", q)
	for _, p := range properties.OfTheSystem() {
		if p.Type.IsReference() && properties.Global(v, p.Name).Shown() == q.Shown() {
			return nil, inUse
		}
	}
	for user, by := range v.Referrers(q.Name()) {
		template, _ := v.Template(user)
		switch {
		case user.ID() == q.ID():
		case !action.IsPreloaded(v, user) || template.ID() != q.ID():
			return nil, inUse
		case by == properties.Template:
			preloaded = append(preloaded, user)
		case by != properties.DefaultDispvm && by != properties.ManagementDispvm:
			return nil, inUse
		}
	}
	return preloaded, nil
}
