package policy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sallyport/internal/policy"
)

// TestDecisionsThatNoVectorHas (spec: policy.md 4).
func TestDecisionsThatNoVectorHas(t *testing.T) {
	sys, _ := readVectors(t)
	for _, c := range []struct{ rules, source, target, requested, want string }{
		// Redirects that lead nowhere.
		{"* * work vault allow target=nosuch", "work", "vault", "", "deny rule no-target"},
		{"* * work vault allow target=uuid:nosuch", "work", "vault", "", "deny rule no-target"},
		{"* * work vault allow target=@dispvm:work", "work", "vault", "", "deny rule not-a-disposable-template"},
		{"* * vault * allow", "vault", "@dispvm", "", "deny rule no-default-dispvm"},
		{"* * work * allow", "work", "nosuch", "", "deny rule no-target"},
		{"* * work vault allow target=uuid:00000000-0000-0000-0000-000000000000", "work", "vault", "", "allow uuid:00000000-0000-0000-0000-000000000000"},
		{"* * std * allow", "std", "@dispvm", "", "allow @dispvm:work"}, // a default is not checked
		{"* * work dom0 allow autostart=no", "work", "@adminvm", "", "allow dom0"},
		{"* * work * allow target=work", "work", "vault", "", "deny execute loopback"},
		{"* * work * allow", "work", "uuid:00000002-1111-4222-8333-000000000002", "", "allow uuid:00000002-1111-4222-8333-000000000002"}, // as the reference

		// What is no request.
		{"* * * * allow", "", "vault", "", "deny request malformed"},
		{"* * * * allow", "@anyvm", "vault", "", "deny request malformed"},
		{"* * * * allow", "work", "@nonsense", "", "deny request token-not-allowed-here"},
		{"* * * * allow", "work", "*", "", "deny request token-not-allowed-here"},
		{"* * * * allow", "work", "@dispvm:", "", "deny request token-not-allowed-here"},

		// A qube that speaks for a remote one is the remote one.
		{"* * remote1 work allow", "relay", "work", "remote1", "allow work policy_source=remote1"},
		{"* * @type:RemoteVM work allow", "uuid:0000000c-1111-4222-8333-00000000000c", "work", "uuid:0000000d-1111-4222-8333-00000000000d",
			"allow work policy_source=uuid:0000000d-1111-4222-8333-00000000000d"},
		{"* * relay work allow", "relay", "work", "remote1", "deny no-rule no-rule"},
		{"* * * * allow", "relay", "work", "remote2", "deny request wrong-relay"},
		{"* * * * allow", "relay", "work", "nosuch", "deny request source-not-remote"},

		// What a person is offered: by name, so that a denial by uuid counts, once, and nothing that can not be.
		{"* * work uuid:00000003-1111-4222-8333-000000000003 deny\n* * work @tag:work ask", "work", "hidden", "", "deny rule ask-no-targets"},
		{"* * work @default ask target=uuid:00000003-1111-4222-8333-000000000003 default_target=vault", "work", "", "",
			"ask [uuid:00000003-1111-4222-8333-000000000003] uuid:00000003-1111-4222-8333-000000000003"},
		{"* * work @default ask target=nosuch", "work", "", "", "deny rule ask-no-targets"},
		{"* * work @default ask default_target=@dispvm\n* * work @dispvm allow\n* * work @dispvm:dvm allow\n* * work @dispvm:work allow\n* * work dom0 allow", "work", "", "",
			"ask [@dispvm:dvm dom0] @dispvm:dvm"},
		{"* * work @default ask\n* * work @dispvm:@tag:other allow\n* * work @type:AdminVM allow\n* * work @tag:net allow target=personal", "work", "", "",
			"ask [@dispvm:dvm2 dom0 personal] "},
		{"* * work @default ask autostart=no\n* * work vault allow\n* * work * allow target=dom0", "work", "", "", "ask [dom0] "},
	} {
		p := parse(t, c.rules)
		r := policy.Request{Service: "q.S", Argument: "+", Source: c.source, Target: c.target, RequestedSource: c.requested}
		d := same(t, p, policy.Compile(p), r, sys)
		got := d.Verdict.String()
		switch d.Verdict {
		case policy.Deny:
			got += " " + d.Stage.String() + " " + string(d.Why)
		case policy.Ask:
			got += " [" + strings.Join(d.Targets, " ") + "] " + d.DefaultTarget
		default:
			got += " " + d.Target.String()
			for _, line := range d.Response() {
				if strings.HasPrefix(line, "policy_source=") {
					got += " " + line
				}
			}
		}
		assert.Equal(t, c.want, got, "%s\n%+v", c.rules, r)
	}
}

// TestCall splits at the first plus.
func TestCall(t *testing.T) {
	for name, want := range map[string][2]string{"a": {"a", "+"}, "a+": {"a", "+"}, "a+b+c": {"a", "+b+c"}} {
		service, argument := policy.Call(name)
		assert.Equal(t, want, [2]string{service, argument})
	}
}
