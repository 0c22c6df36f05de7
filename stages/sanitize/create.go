package sanitize

import (
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/messages/untrusted"
	"sallyport/stages"
)

// NewQube is the payload of admin.vm.Create and admin.vm.CreateInPool: what a qube is created as (spec: model.md 6).
type NewQube struct {
	Name  qube.Name
	Label qube.LabelName
	Pool  string                     // for all volumes that can be moved; empty: none was named
	Pools map[qube.VolumeName]string // for single volumes; not together with Pool
}

// Creation is that payload without pools.
var Creation = stages.Field[NewQube]{
	Want: stages.Optional, Doc: "name=NAME label=LABEL",
	Read: func(u untrusted.Bytes) (NewQube, error) { return newQube(u, false) },
}

// CreationInPool is it with them.
var CreationInPool = stages.Field[NewQube]{
	Want: stages.Optional, Doc: "name=NAME label=LABEL, and pool=POOL or any of pool:VOLUME=POOL",
	Read: func(u untrusted.Bytes) (NewQube, error) { return newQube(u, true) },
}

var (
	errItems    = exception.New(exception.ProtocolError, "what to create is told by items KEY=VALUE with one space between")
	errTwice    = exception.New(exception.ProtocolError, "what to create is told twice")
	errItemKey  = exception.New(exception.ProtocolError, "what to create is told by the keys that the method takes")
	errNeeded   = exception.New(exception.ProtocolError, "what to create needs a name and a label")
	errBothWays = exception.New(exception.ProtocolError, "either one pool is named for all volumes, or some for single ones")
	errQubeName = exception.New(exception.QubesValueError, "this cannot be the name of a qube")
	errNumber   = exception.New(exception.QubesInvalidLabelError, "the label of a new qube is told by its name")
	errPoolName = exception.New(exception.QubesException, "no pool can have such a name")
)

var volumeNames = func() map[string]qube.VolumeName {
	names := map[string]qube.VolumeName{}
	for _, n := range qube.VolumeNames {
		names[n.Shown()] = n
	}
	return names
}()

// newQube reads the items from left to right: the first that is wrong is told. An unknown label is not known here: it is
// refused after permission (spec: methods.yaml admin.vm.Create.{class}, SAFER).
func newQube(u untrusted.Bytes, pools bool) (n NewQube, err error) {
	if !u.IsASCII() {
		return NewQube{}, errItems
	}
	for more := true; more; {
		var item untrusted.Bytes
		item, u, more = u.Cut(' ')
		if err := n.take(item, pools); err != nil {
			return NewQube{}, err
		}
	}
	switch {
	case n.Name == (qube.Name{}) || n.Label == (qube.LabelName{}):
		return NewQube{}, errNeeded
	case n.Pool != "" && n.Pools != nil:
		return NewQube{}, errBothWays
	}
	return n, nil
}

// take reads one item.
func (n *NewQube) take(item untrusted.Bytes, pools bool) (err error) {
	key, value, pair := item.Cut('=')
	volume, single := key.StartsWith("pool:")
	switch {
	case !pair:
		return errItems
	case key.Is("name"):
		if n.Name != (qube.Name{}) {
			return errTwice
		}
		n.Name, err = qubeName(value)
	case key.Is("label"):
		if n.Label != (qube.LabelName{}) {
			return errTwice
		}
		if n.Label, err = LabelToFind.Read(value); err == nil && allDigits(value) {
			err = errNumber
		}
	case key.Is("pool") && pools:
		if n.Pool != "" {
			return errTwice
		}
		n.Pool, err = poolName(value)
	case single && pools:
		name, known := untrusted.Among(volume, volumeNames)
		if !known {
			return errItemKey
		}
		if _, twice := n.Pools[name]; twice {
			return errTwice
		}
		if n.Pools == nil {
			n.Pools = map[qube.VolumeName]string{}
		}
		n.Pools[name], err = poolName(value)
	default:
		return errItemKey
	}
	return err
}

var qubeName = word(untrusted.NameChars, qube.MaxName, qube.ParseName, errQubeName)

func allDigits(u untrusted.Bytes) bool {
	_, err := u.Word(untrusted.Digits, 1, u.Len())
	return err == nil
}

// poolName is a name that a pool can have (spec: storage.md 2, admin.pool.Add).
var poolName = word(untrusted.NameChars, 255, func(s string) (string, error) { return s, nil }, errPoolName)

// Template names the template of a new qube, if it is not the system's default.
var Template = stages.Field[qube.Name]{
	Want: stages.Optional, Doc: "the name of the template; the system's default if empty",
	Read: func(u untrusted.Bytes) (qube.Name, error) {
		if u.Len() == 0 {
			return qube.Name{}, nil
		}
		return toFind(u)
	},
}

var toFind = word(untrusted.NameChars, qube.MaxName, qube.ParseName,
	exception.New(exception.QubesVMNotFoundError, "no qube can have such a name"))

// NoTemplate is that field for classes that have no template.
var NoTemplate = stages.Field[qube.Name]{
	Want: stages.Optional, Doc: "none: the class has no template",
	Read: func(u untrusted.Bytes) (qube.Name, error) {
		if u.Len() > 0 {
			return qube.Name{}, exception.New(exception.ProtocolError, "qubes of this class have no template")
		}
		return qube.Name{}, nil
	},
}

// Preload is the argument of admin.vm.CreateDisposable: whether disposables are made in advance.
var Preload = oneWord("preload", exception.New(exception.PermissionDenied, "the argument is empty or preload"))

// AsUUID is its payload: whether the answer shall be a UUID.
var AsUUID = oneWord("uuid", exception.New(exception.ProtocolError, "the payload is empty or uuid"))

func oneWord(word string, otherwise error) stages.Field[string] {
	return stages.Field[string]{
		Want: stages.Optional, Doc: "empty, or " + word,
		Read: func(u untrusted.Bytes) (string, error) {
			switch {
			case u.Len() == 0:
				return "", nil
			case u.Is(word):
				return word, nil
			}
			return "", otherwise
		},
	}
}

// Volume names a volume. A wrong name is answered as one of a volume that the qube does not have
// (spec: storage.md 0, SAFER).
var Volume = stages.Field[qube.VolumeName]{
	Want: stages.Required, Doc: "root, private, volatile or kernel",
	Read: func(u untrusted.Bytes) (qube.VolumeName, error) {
		if name, known := untrusted.Among(u, volumeNames); known {
			return name, nil
		}
		return "", exception.Denied
	},
}

// CloneToken is what admin.vm.volume.CloneFrom gave (spec: storage.md 1).
var CloneToken = stages.Field[string]{
	Want: stages.Required, Doc: "32 of A-Z a-z 0-9",
	Read: func(u untrusted.Bytes) (string, error) {
		if !u.IsASCII() {
			return "", exception.New(exception.ProtocolError, "a token is ASCII")
		}
		token, err := u.TrimSpace().Word(tokenChars, 32, 32)
		if err != nil {
			return "", exception.New(exception.QubesVolumeCopyTokenNotFoundError, "there is no such token")
		}
		return token, nil
	},
}

var tokenChars = untrusted.NewCharset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")

// Firewall is the rules of a qube's firewall, a line each (spec: firewall.md 1, 2; SAFER: only LF ends a line, and what is
// wrong is told).
var Firewall = stages.Field[[]qube.FirewallRule]{
	Want: stages.Required, Doc: "a rule on each line: action=accept or action=drop, and conditions",
	Read: func(u untrusted.Bytes) (rules []qube.FirewallRule, err error) {
		for u.Len() > 0 {
			var line untrusted.Bytes
			line, u, _ = u.Cut('\n')
			text, err := line.Printable(qube.MaxFirewallRule)
			if err != nil {
				return nil, errRule
			}
			rule, err := qube.ParseFirewallRule(text)
			if err != nil {
				return nil, errRule
			}
			rules = append(rules, rule)
		}
		return rules, nil
	},
}

var errRule = exception.New(exception.ProtocolError, "a rule is not one of the firewall's grammar")

// DeviceToFind is the address of a device, BACKEND+PORT (spec: devices.md 2.1).
var DeviceToFind = stages.Field[string]{
	Want: stages.Optional, Doc: "BACKEND+PORT; all if empty",
	Read: func(u untrusted.Bytes) (string, error) {
		backend, port, pair := u.Cut('+')
		switch _, err := qubeName(backend); {
		case u.Len() == 0:
			return "", nil
		case !pair || port.Len() == 0 || err != nil && !backend.Is("_") && !backend.Is("*"):
			return "", errDevice
		}
		address, err := u.Printable(255)
		if err != nil {
			return "", errDevice
		}
		return address, nil
	},
}

var errDevice = exception.New(exception.ProtocolError, "the argument is not the address of a device")
