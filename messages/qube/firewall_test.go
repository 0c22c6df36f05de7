package qube_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"sallyport/messages/qube"
)

// TestFirewallRulesAreCanonical: what is shown is read again as the same rule, whatever order it was written in
// (spec: firewall.md 4).
func TestFirewallRulesAreCanonical(t *testing.T) {
	option := rapid.OneOf(
		rapid.StringMatching(`action=(accept|drop)`), rapid.StringMatching(`proto=(tcp|udp|icmp)`),
		rapid.StringMatching(`(dsthost|dst4|dst6|dstname)=([a-z]{1,3}\.org|1\.2\.3\.4(/[0-9]{1,2})?|fe80::[0-9a-f](/[0-9]{1,3})?)`),
		rapid.StringMatching(`dstports=[0-9]{1,5}(-[0-9]{1,5})?`), rapid.StringMatching(`icmptype=[0-9]{1,3}`),
		rapid.Just("specialtarget=dns"), rapid.StringMatching(`expire=[0-9]{1,13}`), rapid.StringMatching(`comment=[a-z ,]{0,5}`),
	)
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		line := "action=accept"
		for _, o := range rapid.SliceOfN(option, 0, 3).Draw(t, "options") {
			if rapid.Bool().Draw(t, "before") && len(o) > 7 && o[:7] != "comment" {
				line = o + " " + line
			} else {
				line += " " + o
			}
		}
		rule, err := qube.ParseFirewallRule(line)
		if err != nil {
			require.ErrorIs(t, err, qube.ErrGrammar)
			require.Zero(t, rule)
			return
		}
		accepted++
		again, err := qube.ParseFirewallRule(rule.Shown())
		require.NoError(t, err, "%q of %q", rule.Shown(), line)
		require.Equal(t, rule, again)
	})
	assert.Positive(t, accepted)
}

func TestFirewallRulesExpire(t *testing.T) {
	rule, err := qube.ParseFirewallRule("action=accept expire=100")
	require.NoError(t, err)
	assert.False(t, rule.Expired(time.Unix(100, 0)))
	assert.True(t, rule.Expired(time.Unix(101, 0)))
	forever, err := qube.ParseFirewallRule("action=accept")
	require.NoError(t, err)
	assert.False(t, forever.Expired(time.Unix(1<<40, 0)))
}
