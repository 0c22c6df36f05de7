package judge

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/internal/policy"
	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/methods"
	"sallyport/stages/properties"
)

// TestACallIsJudgedAgain when a tag or the policy changed between the doors, by the rules and tags of that moment
// (design: 6).
func TestACallIsJudgedAgain(t *testing.T) {
	const rules = "admin.vm.notes.Set * @tag:mgmt @tag:created-by-mgmt allow target=dom0\n"
	untag := func(name, tag string) func(*testing.T, *inventory.Inventory, *Judge) {
		return func(t *testing.T, book *inventory.Inventory, _ *Judge) {
			group := book.Begin()
			require.NoError(t, group.Try(func(tx qube.Tx) error {
				parsed, err := qube.ParseTag(tag)
				require.NoError(t, err)
				return tx.RemoveTag(named(t, tx, name).ID(), parsed)
			}))
			require.NoError(t, group.Commit())
		}
	}
	use := func(rules string) func(*testing.T, *inventory.Inventory, *Judge) {
		return func(t *testing.T, _ *inventory.Inventory, j *Judge) {
			p, err := policy.Parse("p", rules)
			require.NoError(t, err)
			j.Use(p)
		}
	}
	for name, c := range map[string]struct {
		meanwhile func(*testing.T, *inventory.Inventory, *Judge)
		want      error
	}{
		"nothing":                       {func(*testing.T, *inventory.Inventory, *Judge) {}, nil},
		"another tag":                   {untag("work", "work"), nil},
		"the destination's tag is gone": {untag("work", "created-by-mgmt"), exception.Denied},
		"the source's tag is gone":      {untag("mgmt", "mgmt"), exception.Denied},
		"the policy is the same again":  {use(rules), nil},
		"the policy is another":         {use("admin.vm.notes.Set * mgmt work allow target=dom0\n"), nil},
		"the policy says no":            {use("admin.vm.notes.Set * mgmt work deny\n" + rules), exception.Denied},
		"the policy says nothing":       {use(""), exception.Denied},
	} {
		book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) {
			return inventory.FromFile(vectorsDir+"policy-system.yaml", properties.Schema{})
		}, inventory.Options{})
		require.NoError(t, err)
		j := using(t, rules)
		r, err := messages.ParseRequest(messages.FormatRequest("admin.vm.notes.Set", "mgmt", "work", []byte("noted")))
		require.NoError(t, err)
		sanitized, err := stages.NewCatalogue(methods.All()...).Sanitize(stages.Admin, r)
		require.NoError(t, err)
		permitted, err := stages.NewGate(j).Judge(sanitized, &messages.Peer{Any: true}, book.View())
		require.NoError(t, err)

		c.meanwhile(t, book, j)
		group := book.Begin()
		err = group.Try(func(tx qube.Tx) error {
			_, err := permitted.Change(tx)
			return err
		})
		assert.ErrorIs(t, err, c.want, name)
		require.NoError(t, group.Commit())
		assert.Equal(t, c.want == nil, named(t, book.View(), "work").Notes().Shown() == "noted", name)
	}
}
