package methods

import (
	"crypto/rand"
	"fmt"
	"time"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/sanitize"
	"sallyport/stages/storage"
)

type volumeGrant = stages.Grant[qube.VolumeName, nothing]

// volumes are the methods of volumes that a clone needs. Each contents page has tokens of its own.
func volumes() []stages.Entry {
	tokens := cloneTokens{}
	return []stages.Entry{
		stages.Declare(stages.Method[nothing, nothing]{
			Name: "admin.vm.volume.List", Dest: stages.AnyQube, Access: stages.Read,
			Help:  "list the names of a qube's volumes",
			Gives: "VOLUME LF each",
			Arg:   stages.None, Payload: stages.None,
			Read: func(v qube.View, g plain) (messages.Reply, error) {
				var lines []byte
				for volume := range storage.Volumes(v, g.Dest()) {
					if g.Keeps(volume.Name) {
						lines = append(append(lines, volume.Name...), '\n')
					}
				}
				return messages.Reply{Body: lines}, nil
			},
		}),
		stages.Declare(stages.Method[qube.VolumeName, nothing]{
			Name: "admin.vm.volume.Info", Dest: stages.AnyQube, Access: stages.Read,
			Help:  "tell where a volume is, how large, and what it is for",
			Gives: "KEY=VALUE LF each",
			Arg:   sanitize.Volume, Payload: stages.None,
			Read: func(v qube.View, g volumeGrant) (messages.Reply, error) {
				volume, ok := storage.Of(v, g.Dest(), g.Arg())
				if !ok {
					return messages.Empty, exception.Denied
				}
				return messages.Text(info(volume)), nil
			},
		}),
		stages.Declare(stages.Method[qube.VolumeName, nothing]{
			Name: "admin.vm.volume.CloneFrom", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
			Help:  "give a token with which the volume can be copied once",
			Gives: "a token of 32 characters",
			Arg:   sanitize.Volume, Payload: stages.None,
			Change: func(tx qube.Tx, g volumeGrant) (messages.Reply, error) {
				if _, ok := storage.Of(tx, g.Dest(), g.Arg()); !ok {
					return messages.Empty, exception.Denied
				}
				token, err := tokens.give(cloneSource{g.Dest().ID(), g.Arg(), g.Source().ID(), time.Now()})
				return messages.Text(token), err
			},
		}),
		stages.Declare(stages.Method[qube.VolumeName, string]{
			Name: "admin.vm.volume.CloneTo", Dest: stages.AnyQube, Access: stages.Read | stages.Write,
			Help: "make a volume a copy of the one that a token is for",
			Arg:  sanitize.Volume, Payload: sanitize.CloneToken,
			PerItem: func(_ qube.Qube, item qube.Noun) stages.Subject { // a token is no more than the call that gave it
				from := item.(copyable)
				return stages.Subject{Service: "admin.vm.volume.CloneFrom", Dest: from.Qube, Arg: from.volume.Shown()}
			},
			Change: func(tx qube.Tx, g stages.Grant[qube.VolumeName, string]) (messages.Reply, error) {
				to, ok := storage.Of(tx.System(), g.Dest(), g.Arg())
				if !ok {
					return messages.Empty, exception.Denied
				}
				source, ok := tokens.take(g.Payload(), g.Source().ID(), time.Now())
				from, there := tx.System().QubeByID(source.qube)
				if !there {
					from = qube.Nobody
				}
				volume, has := storage.Of(tx.System(), from, source.volume)
				may := g.Keeps(copyable{from, source.volume})
				switch {
				case !ok || !has || !may: // whether it never was, is gone, or is hidden now
					return messages.Empty, errNoToken
				case g.Dest().State() != qube.Halted:
					return messages.Empty, exception.New(exception.QubesVMNotHaltedError, "qube %s is to be halted, or it would overwrite the copy", g.Dest())
				}
				return messages.Empty, storage.Import(tx, g.Dest(), to, from, volume)
			},
		}),
	}
}

// info is a volume's description (spec: storage.md 1, admin.vm.volume.Info; the path of the host is nobody's business).
func info(v storage.Volume) string {
	revisions := 1 // of a new pool (spec: storage.yaml defaults)
	if v.Name == qube.KernelVolume {
		revisions = 0
	}
	return fmt.Sprintf("pool=%s\nvid=%s\nsize=%d\nusage=0\nrw=%s\nsource=%s\npath=\nsave_on_stop=%s\nsnap_on_start=%s\nrevisions_to_keep=%d\nephemeral=False\nis_outdated=False\n",
		v.Pool, v.ID, v.Size, truth(v.Writable), v.From, truth(v.SaveOnStop), truth(v.SnapOnStart), revisions)
}

// truth is a truth value as it stands on the wire.
func truth(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// cloneTokens are the volumes that may be copied, by token. They are in memory only, and for the ledger alone, which is
// where a Change runs.
type cloneTokens map[string]cloneSource

// cloneSource is what was permitted: which volume may be copied, and who may have it copied.
type cloneSource struct {
	qube   qube.UUID
	volume qube.VolumeName
	caller qube.UUID
	given  time.Time
}

// copyable is the volume of a token, as it is judged whether the caller may still copy it.
type copyable struct {
	qube.Qube
	volume qube.VolumeName
}

// Tokens are good for ten minutes, and no qube has more than so many (spec: storage.md 1, SAFER).
const (
	tokenLife = 10 * time.Minute
	mostOfOne = 64
)

var errNoToken = exception.New(exception.QubesVolumeCopyTokenNotFoundError, "there is no such token")

// give makes a token.
func (t cloneTokens) give(s cloneSource) (string, error) {
	own := 0
	for token, other := range t {
		if other.given.Add(tokenLife).Before(s.given) {
			delete(t, token)
		} else if other.caller == s.caller {
			own++
		}
	}
	if own >= mostOfOne {
		return "", exception.New(exception.QubesVolumeCopyInUseError, "there are tokens already that nobody used")
	}
	token := rand.Text() + rand.Text()
	t[token[:tokenLength]] = s
	return token[:tokenLength], nil
}

const tokenLength = 32

// take uses a token up, if it is the caller's.
func (t cloneTokens) take(token string, caller qube.UUID, now time.Time) (cloneSource, bool) {
	s, ok := t[token]
	if !ok || s.caller != caller {
		return cloneSource{}, false
	}
	delete(t, token)
	return s, now.Before(s.given.Add(tokenLife))
}
