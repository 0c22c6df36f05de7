package action_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// tally is a transaction on one qube that keeps what is done and told.
type tally struct {
	qube.View
	qube.ReadOnly
	tags     map[qube.Tag]bool
	features map[qube.FeatureName]qube.FeatureValue
	told     []string
	veto     string // the event that a reaction refuses
}

func (t *tally) System() qube.Tx                        { return t }
func (t *tally) QubeByID(qube.UUID) (qube.Qube, bool)   { return thing{tally: t}, true }
func (t *tally) AddTag(_ qube.UUID, tag qube.Tag) error { t.tags[tag] = true; return nil }
func (t *tally) RemoveTag(_ qube.UUID, tag qube.Tag) error {
	if !t.tags[tag] {
		return exception.New(exception.QubesTagNotFoundError, "no such tag")
	}
	delete(t.tags, tag)
	return nil
}
func (t *tally) SetFeature(_ qube.UUID, n qube.FeatureName, v qube.FeatureValue) error {
	t.features[n] = v
	return nil
}
func (t *tally) RemoveFeature(_ qube.UUID, n qube.FeatureName) error {
	if _, there := t.features[n]; !there {
		return exception.New(exception.QubesFeatureNotFoundError, "no such feature")
	}
	delete(t.features, n)
	return nil
}
func (t *tally) Fire(e qube.Event) error {
	line := e.Subject.Shown() + " " + e.Name
	for _, a := range e.Args {
		line += " " + a.Key + "=" + a.Value
	}
	if e.Pre {
		line += " (announced)"
	}
	t.told = append(t.told, line)
	if e.Name == t.veto {
		return exception.New(exception.QubesValueError, "refused")
	}
	return nil
}

// thing is the qube.
type thing struct {
	qube.Plain
	*tally
}

func (q thing) Name() qube.Name          { return work }
func (q thing) ID() qube.UUID            { return qube.Dom0UUID }
func (q thing) HasTag(tag qube.Tag) bool { return q.tags[tag] }
func (q thing) Shown() string            { return work.Shown() }
func (q thing) Class() qube.Class        { return qube.AppVM }
func (q thing) Feature(n qube.FeatureName) (qube.FeatureValue, bool) {
	v, ok := q.features[n]
	return v, ok
}

var work = must(qube.ParseName("work"))

// TestWritesTell: which events are fired, in what order, with what values (spec: events.md 4, 5).
func TestWritesTell(t *testing.T) {
	tx := &tally{View: qube.Only(), tags: map[qube.Tag]bool{}, features: map[qube.FeatureName]qube.FeatureValue{}}
	q := thing{tally: tx}
	tag, name := must(qube.ParseTag("office")), must(qube.ParseFeatureName("service.cups"))
	value := func(s string) qube.FeatureValue { return must(qube.ParseFeatureValue(s)) }
	for _, step := range []struct {
		do   func() error
		fail exception.Type
		told []string
	}{
		{func() error { return action.AddTag(tx, q, tag) }, "", []string{"work domain-tag-add:office tag=office"}},
		{func() error { return action.AddTag(tx, q, tag) }, "", nil}, // which is there
		{func() error { return action.RemoveTag(tx, q, tag) }, "", []string{"work domain-tag-delete:office tag=office"}},
		{func() error { return action.RemoveTag(tx, q, tag) }, exception.QubesTagNotFoundError, nil},
		{func() error { return action.SetFeature(tx, q, name, value("1")) }, "", []string{
			"work domain-feature-pre-set:service.cups feature=service.cups value=1 (announced)",
			"work domain-feature-set:service.cups feature=service.cups value=1",
		}},
		{func() error { return action.SetFeature(tx, q, name, value("")) }, "", []string{
			"work domain-feature-pre-set:service.cups feature=service.cups value= oldvalue=1 (announced)",
			"work domain-feature-set:service.cups feature=service.cups value= oldvalue=1",
		}},
		{func() error { return action.RemoveFeature(tx, q, name) }, "", []string{
			"work domain-feature-pre-delete:service.cups feature=service.cups (announced)",
			"work domain-feature-delete:service.cups feature=service.cups",
		}},
		{func() error { return action.RemoveFeature(tx, q, name) }, exception.QubesFeatureNotFoundError, []string{
			"work domain-feature-pre-delete:service.cups feature=service.cups (announced)",
		}},
		{func() error {
			tx.veto = "domain-feature-pre-set:service.cups"
			return action.SetFeature(tx, q, name, value("2"))
		}, exception.QubesValueError, []string{"work domain-feature-pre-set:service.cups feature=service.cups value=2 (announced)"}},
	} {
		tx.told = nil
		err := step.do()
		assert.Equal(t, step.told, tx.told)
		if step.fail == "" {
			require.NoError(t, err)
			continue
		}
		var e *exception.Exception
		require.ErrorAs(t, err, &e)
		assert.Equal(t, step.fail, e.Type())
	}
	assert.Empty(t, tx.features, "what a reaction refuses is not stored")
}
