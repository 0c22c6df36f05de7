package methods

import (
	"maps"
	"slices"

	"sallyport/messages"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/sanitize"
)

// policyFiles are the calls about the files of the policy (spec: policy.md 7), which the reference has as services apart
// from its daemon. All are work of dom0: its actor has them one after another, and may wait for the disk.
var policyFiles = slices.Concat(
	policyCalls("policy.", "policy files", sanitize.NewPolicyFile, map[string]string{}),
	policyCalls("policy.include.", "include files", sanitize.PolicyFile, map[string]string{"include": ""}),
	[]stages.Entry{stages.Declare(stages.Method[string, nothing]{
		Name: "policy.GetFiles", Access: stages.Read, Scope: stages.Global,
		Help:  "list the files that have a rule for a service, in the order of the rules",
		Gives: "NAME LF each, without directory and suffix",
		Arg:   sanitize.PolicyService, Payload: stages.None,
		Work: func(_ qube.View, g stages.Grant[string, nothing]) (messages.Order, error) {
			return policyOrder(messages.PolicyGetFiles, map[string]string{"service": g.Arg()}), nil
		},
	})},
)

// policyCalls are those that there are for files of either kind. name is that of one to write, and where tells the kind.
func policyCalls(prefix, what string, name stages.Field[qube.PolicyFile], where map[string]string) []stages.Entry {
	type (
		look        = stages.Grant[qube.PolicyFile, nothing]
		replacement = stages.Grant[qube.PolicyFile, sanitize.NewPolicy]
		removal     = stages.Grant[qube.PolicyFile, qube.PolicyToken]
	)
	return []stages.Entry{
		stages.Declare(stages.Method[nothing, nothing]{
			Name: prefix + "List", Access: stages.Read, Scope: stages.Global,
			Help:  "list the names of the " + what,
			Gives: "NAME LF each, without suffix",
			Arg:   stages.None, Payload: stages.None,
			Work: func(qube.View, plain) (messages.Order, error) {
				return policyOrder(messages.PolicyList, where), nil
			},
		}),
		stages.Declare(stages.Method[qube.PolicyFile, nothing]{
			Name: prefix + "Get", Access: stages.Read, Scope: stages.Global,
			Help:  "tell what one of the " + what + " holds",
			Gives: "a token for Replace and Remove, LF, the content",
			Arg:   sanitize.PolicyFile, Payload: stages.None,
			Work: func(_ qube.View, g look) (messages.Order, error) {
				return policyOrder(messages.PolicyGet, where, "file", g.Arg().Shown()), nil
			},
		}),
		stages.Declare(stages.Method[qube.PolicyFile, sanitize.NewPolicy]{
			Name: prefix + "Replace", Access: stages.Write, Scope: stages.Global,
			Help: "write one of the " + what + ", unless that breaks the policy",
			Arg:  name, Payload: sanitize.PolicyReplacement,
			Work: func(_ qube.View, g replacement) (messages.Order, error) {
				return policyOrder(messages.PolicyReplace, where, "file", g.Arg().Shown(),
					"token", g.Payload().Token.Shown(), "text", g.Payload().Text.Shown()), nil
			},
		}),
		stages.Declare(stages.Method[qube.PolicyFile, qube.PolicyToken]{
			Name: prefix + "Remove", Access: stages.Write, Scope: stages.Global,
			Help: "remove one of the " + what + ", unless that breaks the policy",
			Arg:  sanitize.PolicyFile, Payload: sanitize.PolicyToken,
			Work: func(_ qube.View, g removal) (messages.Order, error) {
				return policyOrder(messages.PolicyRemove, where, "file", g.Arg().Shown(), "token", g.Payload().Shown()), nil
			},
		}),
	}
}

// policyOrder is for dom0, whoever calls: what it is about is nobody else's. more are pairs.
func policyOrder(kind messages.OrderKind, args map[string]string, more ...string) messages.Order {
	args = maps.Clone(args)
	for pair := range slices.Chunk(more, 2) {
		args[pair[0]] = pair[1]
	}
	return messages.Order{Kind: kind, Qube: qube.Dom0UUID, Args: args}
}
