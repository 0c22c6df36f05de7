package judge

import (
	"iter"

	"sallyport/internal/policy"
	"sallyport/messages/qube"
	"sallyport/stages/properties"
)

// system is the qubes of a view as a policy asks about them: a policy.System. The two that a call is about need no
// look-up.
type system struct {
	view         qube.View
	source, dest policy.Qube
}

// known is q as a policy knows it.
func known(q qube.Qube) policy.Qube {
	return policy.Qube{Name: word(q), UUID: q.ID().Shown(), Class: string(q.Class()), Of: q}
}

func of(q policy.Qube) qube.Qube { return q.Of.(qube.Qube) }

// Named finds the qube of that name. A stranger is found, too: see rules.allow.
func (s *system) Named(name string) (policy.Qube, bool) {
	switch name {
	case s.dest.Name:
		return s.dest, true
	case s.source.Name:
		return s.source, true
	}
	n, err := qube.ParseName(name)
	if err != nil {
		return policy.Qube{}, false
	}
	q, ok := s.view.Qube(n)
	if !ok {
		return policy.Qube{}, false
	}
	return known(q), true
}

// Identified finds the qube of that uuid.
func (s *system) Identified(uuid string) (policy.Qube, bool) {
	id, err := qube.ParseUUID(uuid)
	if err != nil {
		return policy.Qube{}, false
	}
	q, ok := s.view.QubeByID(id)
	if !ok {
		return policy.Qube{}, false
	}
	return known(q), true
}

// Qubes are all.
func (s *system) Qubes() iter.Seq[policy.Qube] {
	return func(yield func(policy.Qube) bool) {
		for q := range s.view.Qubes() {
			if !yield(known(q)) {
				return
			}
		}
	}
}

// HasTag is asked of words that stand in a policy: what is no tag is nobody's.
func (s *system) HasTag(q policy.Qube, tag string) bool {
	t, err := qube.ParseTag(tag)
	return err == nil && of(q).HasTag(t)
}

// AppendTags appends q's tags.
func (s *system) AppendTags(tags []string, q policy.Qube) []string { return of(q).AppendTags(tags) }

// DisposableTemplate is the property template_for_dispvms.
func (s *system) DisposableTemplate(q policy.Qube) bool {
	return properties.Flag(s.view, of(q), properties.TemplateForDispvms)
}

// DefaultDispVM is the property default_dispvm.
func (s *system) DefaultDispVM(q policy.Qube) string {
	return properties.Value(s.view, of(q), properties.DefaultDispvm).Shown()
}

// Running is the power state: dom0 and remote qubes always run (spec: model.md 4).
func (s *system) Running(q policy.Qube) bool {
	c := of(q).Class()
	return c == qube.AdminVM || c == qube.RemoteVM || of(q).State() == qube.Running
}

// Internal is the feature internal.
func (s *system) Internal(q policy.Qube) bool {
	value, _ := of(q).Feature(internal)
	return value != qube.FeatureValue{}
}

var internal, _ = qube.ParseFeatureName("internal")

// Relay is through whom a RemoteVM is reached, and by which service.
func (s *system) Relay(q policy.Qube) (relay, transport string) { return relayOf(s.view, of(q)) }

func relayOf(v qube.View, q qube.Qube) (relay, transport string) {
	return properties.Value(v, q, properties.Relayvm).Shown(), properties.Value(v, q, properties.TransportRPC).Shown()
}
