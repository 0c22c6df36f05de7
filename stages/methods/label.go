package methods

import (
	"strconv"
	"strings"

	"sallyport/messages"
	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages"
	"sallyport/stages/action"
	"sallyport/stages/sanitize"
)

type labelGrant = stages.Grant[qube.LabelName, nothing]

var labels = []stages.Entry{
	stages.Declare(stages.Method[nothing, nothing]{
		Name: "admin.label.List", Dest: stages.OnlyAdminVM, Access: stages.Read, Scope: stages.Global,
		Help:  "list the labels, by index",
		Gives: "LABEL LF each",
		Arg:   stages.None, Payload: stages.None,
		Read: func(v qube.View, g plain) (messages.Reply, error) {
			return action.Lines(v.Labels(), g.Keeps, action.Shown), nil
		},
	}),
	stages.Declare(stages.Method[qube.LabelName, nothing]{
		Name: "admin.label.Get", Dest: stages.OnlyAdminVM, Access: stages.Read, Scope: stages.Global,
		Help:  "tell a label's colour",
		Gives: "0xRRGGBB",
		Arg:   sanitize.LabelToFind, Payload: stages.None,
		Read: func(v qube.View, g labelGrant) (messages.Reply, error) {
			l, err := findLabel(v, g.Arg())
			return messages.Text(l.Color.Shown()), err
		},
	}),
	stages.Declare(stages.Method[qube.LabelName, nothing]{
		Name: "admin.label.Index", Dest: stages.OnlyAdminVM, Access: stages.Read, Scope: stages.Global,
		Help:  "tell a label's index",
		Gives: "a number",
		Arg:   sanitize.LabelToFind, Payload: stages.None,
		Read: func(v qube.View, g labelGrant) (messages.Reply, error) {
			l, err := findLabel(v, g.Arg())
			return messages.Text(strconv.Itoa(l.Index)), err
		},
	}),
	stages.Declare(stages.Method[qube.LabelName, qube.Color]{
		Name: "admin.label.Create", Dest: stages.OnlyAdminVM, Access: stages.Read | stages.Write, Scope: stages.Global,
		Help: "create a label of a colour",
		Arg:  sanitize.NewLabel, Payload: sanitize.Color,
		Change: createLabel,
	}),
	stages.Declare(stages.Method[qube.LabelName, nothing]{
		Name: "admin.label.Remove", Dest: stages.OnlyAdminVM, Access: stages.Read | stages.Write, Scope: stages.Global,
		Help: "remove a label that is neither built in nor in use",
		Arg:  sanitize.LabelToFind, Payload: stages.None,
		Change: func(tx qube.Tx, g labelGrant) (messages.Reply, error) {
			l, err := findLabel(tx, g.Arg())
			if err != nil {
				return messages.Empty, err
			}
			return messages.Empty, tx.RemoveLabel(l.Name)
		},
	}),
}

// findLabel looks for the exact name, then for an index (spec: model.md 9).
func findLabel(v qube.View, name qube.LabelName) (qube.Label, error) {
	if l, ok := v.Label(name); ok {
		return l, nil
	}
	if i, ok := labelIndex(name.Shown()); ok {
		if l, ok := v.LabelByIndex(i); ok {
			return l, nil
		}
	}
	return qube.Label{}, exception.New(exception.QubesLabelNotFoundError, "no such label: %s", name)
}

// labelIndex reads a number as the reference does, which lets single underscores stand between digits.
func labelIndex(s string) (int, bool) {
	for _, group := range strings.Split(s, "_") {
		if group == "" || strings.Trim(group, "0123456789") != "" {
			return 0, false
		}
	}
	i, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	return i, err == nil
}

// createLabel takes the index after the highest of all, whoever may see them (spec: methods.yaml admin.label.Create).
func createLabel(tx qube.Tx, g stages.Grant[qube.LabelName, qube.Color]) (messages.Reply, error) {
	highest := 0
	for l := range tx.System().Labels() {
		highest = max(highest, l.Index)
	}
	return messages.Empty, tx.AddLabel(qube.Label{Name: g.Arg(), Index: highest + 1, Color: g.Payload()})
}
