package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sallyport/internal/yamlfile"
	"sallyport/messages/exception"
)

// requestFields are the keys that say what a call sends. In an item of a mix, a plain request's name is the item's.
func (r *reading) requestFields(c *Call) []yamlfile.Field {
	if r.s.Target.Plain {
		return []yamlfile.Field{
			yamlfile.Optional("name", &c.Method, yamlfile.String),
			yamlfile.Optional("request", &c.Request, r.template),
			yamlfile.Optional("request_file", &c.Request, func(n *yamlfile.Node) (Template, error) {
				text, err := r.file(n)
				if err != nil {
					return Template{}, err
				}
				return r.parse(text, n.Expected)
			}),
		}
	}
	return []yamlfile.Field{
		yamlfile.Optional("method", &c.Method, r.method),
		yamlfile.Optional("arg", &c.Arg, r.template),
		yamlfile.Optional("source", &c.Source, r.template),
		yamlfile.Optional("dest", &c.Dest, r.template),
		yamlfile.Optional("payload", &c.Payload, r.template),
	}
}

// said reports whether anything has been said of c.
func (c Call) said() bool {
	texts := len(c.Arg.parts) + len(c.Source.parts) + len(c.Dest.parts) + len(c.Payload.parts) + len(c.Request.parts)
	return c.Method != "" || texts > 0 || c.Expect != Expect{} || c.Think > 0 || c.keep != nil
}

// callFields are the keys of a call in a mix.
func (r *reading) callFields(c *Call) []yamlfile.Field {
	return append(r.requestFields(c),
		yamlfile.Optional("expect", &c.Expect, r.expect),
		yamlfile.Optional("think", &c.Think, pause),
		yamlfile.Optional("keep", &c.keep, r.kept))
}

// complete gives a call what goes without saying, and fails if it lacks what does not.
func (r *reading) complete(n *yamlfile.Node, c *Call) error {
	for _, t := range []*Template{&c.Source, &c.Dest} {
		if len(t.parts) == 0 && !r.s.Target.Plain {
			*t = Text(dom0)
		}
	}
	switch {
	case r.s.Target.Plain && c.Method == "":
		return n.Expected("the key name")
	case r.s.Target.Plain && len(c.Request.parts) == 0:
		return n.Expected("one of the keys request, request_file")
	case c.Method == "":
		return n.Expected("the key method")
	}
	return nil
}

// kept reads which variable keeps something of a reply.
func (r *reading) kept(n *yamlfile.Node) (*Variable, error) {
	name, err := yamlfile.String(n)
	if v := r.named[name]; err == nil && (v == nil || v.reply == nil) {
		err = n.Expected("a variable that has the key reply")
	}
	return r.named[name], err
}

func (r *reading) method(n *yamlfile.Node) (string, error) {
	name, err := yamlfile.String(n)
	if err == nil {
		err = r.checks.method(name, func(want string) error { return n.Expected("%s", want) })
	}
	return name, err
}

var aMethod = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// method checks a method's name.
func (c Checks) method(name string, expected func(string) error) error {
	switch {
	case !aMethod.MatchString(name):
		return expected("a method's name, without an argument")
	case c.Method != nil && !c.Method(name):
		return expected("a method of the API")
	}
	return nil
}

// item reads an item of the mix: a call, or steps.
func (r *reading) item(n *yamlfile.Node) (Item, error) {
	item := Item{Weight: defaultWeight}
	var call Call
	var steps yamlfile.At[[]Call]
	fields := []yamlfile.Field{
		yamlfile.Optional("weight", &item.Weight, number(1e9, true)),
		yamlfile.Optional("steps", &steps, yamlfile.Placed(someOf(mostSteps, r.step))),
	}
	if !r.s.Target.Plain {
		fields = append(fields, yamlfile.Optional("name", &item.Name, yamlfile.String))
	}
	if err := n.Fields(append(fields, r.callFields(&call)...)...); err != nil {
		return item, err
	}
	if item.Steps = steps.Value; steps.Node == nil {
		if err := r.complete(n, &call); err != nil {
			return item, err
		}
		item.Steps = []Call{call}
	} else if r.s.Target.Plain {
		item.Name, call.Method = call.Method, "" // the one key that both have
	}
	if steps.Node != nil && call.said() {
		return item, n.Expected("either one call, or the key steps with calls")
	}
	if item.Name == "" {
		item.Name = item.Steps[0].Method
	}
	return item, nil
}

func (r *reading) step(n *yamlfile.Node) (Call, error) {
	var c Call
	if err := n.Fields(r.callFields(&c)...); err != nil {
		return c, err
	}
	return c, r.complete(n, &c)
}

// subscribers reads who follows events.
func (r *reading) subscribers(n *yamlfile.Node) ([]Subscribers, error) {
	all := 0
	return atMost(mostSubscribers, func(n *yamlfile.Node) (Subscribers, error) {
		s := Subscribers{Count: 1}
		if !r.s.Target.Plain {
			s.Call.Method = defaultMethod
		}
		err := n.Fields(append(r.requestFields(&s.Call),
			yamlfile.Optional("count", &s.Count, yamlfile.Between(1, mostSubscribers)),
			yamlfile.Optional("silent", &s.Silent, yamlfile.Bool))...)
		if all += s.Count; err == nil && all > mostSubscribers {
			err = n.Expected("at most %d subscribers in all", mostSubscribers)
		}
		if err != nil {
			return s, err
		}
		return s, r.complete(n, &s.Call)
	})(n)
}

// expect reads which replies are right.
func (r *reading) expect(n *yamlfile.Node) (Expect, error) {
	text, err := yamlfile.String(n)
	if err != nil {
		return r.expectContent(n)
	}
	e, err := parseExpect(text)
	if err != nil || r.s.Target.Plain && e.Type != "" {
		return e, n.Expected("ok, any, {content: REGEXP}, or the type of an exception that the API has")
	}
	return e, nil
}

// expectContent reads a pattern of an OK's content.
func (r *reading) expectContent(n *yamlfile.Node) (e Expect, err error) {
	content := yamlfile.Parsed(yamlfile.String, "a regular expression, as RE2 has them", parseContent)
	return e, n.Fields(yamlfile.Required("content", &e.Content, content))
}

func parseContent(text string) (*regexp.Regexp, error) {
	if len(text) > 1000 {
		return nil, errors.New("too long")
	}
	return regexp.Compile(text)
}

// parseExpect reads what is expected in one word.
func parseExpect(text string) (Expect, error) {
	switch {
	case text == "ok":
		return Expect{}, nil
	case text == "any":
		return Expect{Any: true}, nil
	case slices.Contains(exception.Types, exception.Type(text)):
		return Expect{Type: text}, nil
	}
	return Expect{}, errors.New("expected ok, any, or the type of an exception that the API has")
}

// cutMethod is METHOD and ARG of METHOD+ARG.
func cutMethod(call string, c Checks) (method, arg string, err error) {
	method, arg, _ = strings.Cut(call, "+")
	return method, arg, c.method(method, func(want string) error { return fmt.Errorf("expected %s", want) })
}
