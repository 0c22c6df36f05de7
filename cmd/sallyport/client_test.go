package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file is how the reference's client reads what a daemon sends (spec: wire.md 6; README.md, ten things). It is no
// kinder than that client: where that one would end with a traceback, there is an error here.

// readReply splits a whole reply: content, or an exception's type.
func readReply(reply []byte) (content []byte, exception string, err error) {
	switch {
	case len(reply) == 0:
		return nil, "", errors.New("an empty reply, which means: no access")
	case bytes.HasPrefix(reply, []byte("0\x00")):
		return reply[2:], "", nil
	case bytes.HasPrefix(reply, []byte("2\x00")):
		parts := bytes.SplitN(reply, []byte("\x00"), 5)
		if len(parts) < 5 {
			return nil, "", errors.New("an exception without its end")
		}
		if len(parts[1]) == 0 || !isASCII(parts[1]) || !utf8.Valid(reply) {
			return nil, "", errors.New("an exception that is no text")
		}
		return nil, string(parts[1]), nil
	default:
		return nil, "", errors.New("not a reply")
	}
}

// A reader says what the client understands of content, one line for each thing.
type reader func(content []byte) ([]string, error)

// readers are those of the methods, by name; a name that ends in a dot is for all that begin so.
var readers = map[string]reader{
	"admin.vm.List":                readQubes,
	"admin.vm.CurrentState":        readState,
	"admin.vm.property.List":       readLines,
	"admin.vm.property.Get":        readProperty,
	"admin.vm.property.GetAll":     readProperties,
	"admin.vm.property.GetDefault": readDefault,
	"admin.vm.property.Help":       readText,
	"admin.vm.property.Set":        readNothing,
	"admin.vm.property.Reset":      readNothing,
	"admin.property.List":          readLines,
	"admin.property.Get":           readProperty,
	"admin.property.GetAll":        readProperties,
	"admin.property.GetDefault":    readDefault,
	"admin.property.Help":          readText,
	"admin.property.Set":           readNothing,
	"admin.property.Reset":         readNothing,
	"admin.vm.feature.List":        readLines,
	"admin.vm.feature.Get":         readText,
	"admin.vm.feature.Set":         readNothing,
	"admin.vm.feature.Remove":      readNothing,
	"admin.vm.feature.":            readText, // the checks with others
	"admin.vm.tag.List":            readLines,
	"admin.vm.tag.Get":             readBit,
	"admin.vm.tag.Set":             readNothing,
	"admin.vm.tag.Remove":          readNothing,
	"admin.vm.notes.Get":           readText,
	"admin.vm.notes.Set":           readNothing,
	"admin.label.List":             readNames,
	"admin.label.Get":              readColor,
	"admin.label.Index":            readNumber,
	"admin.label.Create":           readNothing,
	"admin.label.Remove":           readNothing,
	"admin.vmclass.List":           readLines,
	"admin.deviceclass.List":       readLines,
	"admin.vm.device.":             readLines,
	"admin.vm.volume.List":         readLines,
	"admin.vm.volume.Info":         readVolume,
	"admin.vm.volume.CloneFrom":    readCloneToken,
	"admin.vm.volume.CloneTo":      readNothing,
	"admin.vm.firewall.Get":        readRules,
	"admin.vm.firewall.Set":        readNothing,
	"admin.vm.Create.":             readNothing,
	"admin.vm.CreateInPool.":       readNothing,
	"admin.vm.CreateDisposable":    readText,
	"admin.vm.Remove":              readNothing,
	"admin.vm.Start":               readNothing,
	"admin.vm.Shutdown":            readNothing,
	"admin.vm.Kill":                readNothing,
	"admin.vm.Pause":               readNothing,
	"admin.vm.Unpause":             readNothing,
	"admin.vm.Suspend":             readNothing,
	"admin.vm.Resume":              readNothing,
}

// read is what the client understands of the content that method, with or without an argument, was answered with.
func read(method string, content []byte) ([]string, error) {
	name, _, _ := strings.Cut(method, "+")
	r, ok := readers[name]
	for prefix := name; !ok && prefix != ""; r, ok = readers[prefix] {
		prefix = prefix[:strings.LastIndexByte(prefix[:len(prefix)-1], '.')+1]
	}
	if !ok {
		return nil, errors.New("no client is known to call this")
	}
	lines, err := r(content)
	if err != nil {
		return nil, fmt.Errorf("the client cannot read %q: %w", content, err)
	}
	return lines, nil
}

// readQubes gives "NAME CLASS STATE" for each.
func readQubes(content []byte) ([]string, error) {
	if !bytes.HasSuffix(content, []byte("\n")) || !isASCII(content) {
		return nil, errors.New("expected lines of ASCII, at least one")
	}
	var qubes []string
	for _, line := range splitLines(content) {
		name, rest, ok := strings.Cut(line, " ")
		facts, err := readFacts(strings.Split(rest, " "))
		if !ok || name == "" || err != nil || facts["class"] == "" || facts["state"] == "" || facts["uuid"] == "" {
			return nil, errors.New("expected NAME class=CLASS state=STATE uuid=UUID")
		}
		qubes = append(qubes, name+" "+facts["class"]+" "+facts["state"])
	}
	return qubes, nil
}

// readState gives the facts as they are.
func readState(content []byte) ([]string, error) {
	lines := strings.Fields(string(content))
	facts, err := readFacts(lines)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"mem", "mem_static_max", "cputime"} {
		if _, err := strconv.ParseInt(facts[key], 10, 64); err != nil {
			return nil, fmt.Errorf("expected a number for %s", key)
		}
	}
	if facts["power_state"] == "" {
		return nil, errors.New("expected power_state")
	}
	return lines, nil
}

// readProperty gives "D TYPE VALUE" for a default, "- TYPE VALUE" for what was set, "U TYPE" for what has no value, as
// qvm-prefs marks them.
func readProperty(content []byte) ([]string, error) {
	parts := strings.SplitN(string(content), " ", 3)
	if len(parts) < 3 {
		return nil, errors.New("expected three parts")
	}
	isDefault, ok := strings.CutPrefix(parts[0], "default=")
	typ, typed := strings.CutPrefix(parts[1], "type=")
	if !ok || !typed || !utf8.Valid(content) {
		return nil, errors.New("expected default=, type=, and text")
	}
	value, err := readValue(typ, parts[2])
	switch {
	case errors.Is(err, errNoValue):
		return []string{"U " + typ}, nil
	case err != nil:
		return nil, err
	case isDefault == "True":
		return []string{"D " + typ + " " + value}, nil
	default: // anything but True means that it was set
		return []string{"- " + typ + " " + value}, nil
	}
}

// errNoValue says that a property has no value, which is no failure of the client.
var errNoValue = errors.New("no value")

// readValue is a property's value: None for an absent object.
func readValue(typ, text string) (string, error) {
	switch typ {
	case "str":
		return text, nil
	case "vm", "label":
		if text == "" {
			return "None", nil
		}
		return text, nil
	case "int":
		if text == "" {
			return "", errNoValue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		return strconv.FormatInt(n, 10), err
	case "bool":
		if text == "" {
			return "", errNoValue
		}
		return strconv.FormatBool(text == "True"), nil
	default:
		return "", fmt.Errorf("no type %q is known", typ)
	}
}

// readProperties gives the name before what readProperty gives.
func readProperties(content []byte) ([]string, error) {
	var all []string
	for _, line := range splitLines(content) {
		name, rest, ok := strings.Cut(line, " ")
		if !ok || name == "" {
			return nil, errors.New("expected NAME default=")
		}
		var value []byte
		for i := 0; i < len(rest); i++ {
			c := rest[i]
			if c == '\\' {
				i++
				switch {
				case i < len(rest) && rest[i] == 'n':
					c = '\n'
				case i >= len(rest) || rest[i] != '\\':
					return nil, errors.New("expected n or a backslash after a backslash")
				}
			}
			value = append(value, c)
		}
		p, err := readProperty(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, name+" "+p[0])
	}
	return all, nil
}

// readDefault gives "D TYPE VALUE", "U TYPE", or "no default".
func readDefault(content []byte) ([]string, error) {
	if len(content) == 0 {
		return []string{"no default"}, nil
	}
	first, value, ok := strings.Cut(string(content), " ")
	typ, typed := strings.CutPrefix(first, "type=")
	if !ok || !typed {
		return nil, errors.New("expected type= and a value")
	}
	value, err := readValue(typ, value)
	if errors.Is(err, errNoValue) {
		return []string{"U " + typ}, nil
	}
	return []string{"D " + typ + " " + value}, err
}

// readLines gives the lines, if any.
func readLines(content []byte) ([]string, error) {
	if !isASCII(content) {
		return nil, errors.New("expected ASCII")
	}
	return splitLines(content), nil
}

// readNames gives the lines, of which there must be some.
func readNames(content []byte) ([]string, error) {
	if !bytes.HasSuffix(content, []byte("\n")) {
		return nil, errors.New("expected lines, at least one")
	}
	return readLines(content)
}

// readVolume gives the facts as they are.
func readVolume(content []byte) ([]string, error) {
	lines := splitLines(content)
	facts, err := readFacts(lines)
	for _, key := range []string{"size", "usage", "revisions_to_keep"} {
		if _, bad := strconv.ParseInt(facts[key], 10, 64); bad != nil {
			err = errors.Join(err, fmt.Errorf("expected a number for %s", key))
		}
	}
	for _, key := range []string{"rw", "save_on_stop", "snap_on_start"} {
		if facts[key] != "True" && facts[key] != "False" {
			err = errors.Join(err, fmt.Errorf("expected a truth value for %s", key))
		}
	}
	for _, key := range []string{"pool", "vid", "source"} {
		if _, there := facts[key]; !there {
			err = errors.Join(err, fmt.Errorf("expected %s", key))
		}
	}
	return lines, err
}

// readRules gives the rules as they are.
func readRules(content []byte) ([]string, error) {
	rules := splitLines(content)
	for _, rule := range rules {
		options, _, _ := strings.Cut(rule, "comment=")
		facts, err := readFacts(strings.Split(strings.TrimSpace(options), " "))
		if err != nil {
			return nil, err
		}
		for key := range facts {
			if !slices.Contains([]string{"action", "expire", "dst4", "dst6", "dsthost", "proto", "specialtarget", "dstports", "icmptype"}, key) {
				return nil, fmt.Errorf("no option %q is known", key)
			}
		}
		if facts["action"] == "" {
			return nil, errors.New("expected an action")
		}
	}
	return rules, nil
}

// readFacts splits KEY=VALUE.
func readFacts(parts []string) (map[string]string, error) {
	facts := map[string]string{}
	for _, part := range parts {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("expected KEY=VALUE, not %q", part)
		}
		facts[key] = value
	}
	return facts, nil
}

func readText(content []byte) ([]string, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("expected UTF-8")
	}
	return []string{string(content)}, nil
}

// readNothing gives nothing: the client would not look, but nothing is what the daemon has to say.
func readNothing(content []byte) ([]string, error) {
	if len(content) > 0 {
		return nil, errors.New("expected nothing")
	}
	return nil, nil
}

func readBit(content []byte) ([]string, error)        { return matching(content, `^[01]$`) }
func readNumber(content []byte) ([]string, error)     { return matching(content, `^[0-9]+$`) }
func readColor(content []byte) ([]string, error)      { return matching(content, `^0x[0-9A-Fa-f]{6}$`) }
func readCloneToken(content []byte) ([]string, error) { return matching(content, `^[A-Za-z0-9]{32}$`) }

func matching(content []byte, form string) ([]string, error) {
	if !regexp.MustCompile(form).Match(content) {
		return nil, fmt.Errorf("expected %s", form)
	}
	return []string{string(content)}, nil
}

// splitLines splits where Python ends a line, which is not only at LF: whatever else of that is in a value forges lines.
func splitLines(content []byte) []string {
	if len(content) == 0 {
		return nil
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	for _, end := range "\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029" {
		text = strings.ReplaceAll(text, string(end), "\n")
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func isASCII(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= utf8.RuneSelf })
}

// readAnEvent reads one frame of a stream as the client does; io.EOF is the end of the stream between two frames.
func readAnEvent(stream io.ByteReader) (event, error) {
	token := func() (string, error) {
		var t []byte
		for {
			c, err := stream.ReadByte()
			switch {
			case err == io.EOF && len(t) > 0:
				return "", io.ErrUnexpectedEOF
			case err != nil:
				return "", err
			case c == 0:
				return string(t), nil
			}
			t = append(t, c)
		}
	}
	within := func(err error) error {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	tag, err := token()
	if err != nil {
		return event{}, err
	}
	if tag != "1" {
		return event{}, fmt.Errorf("not an event: %q", tag)
	}
	e := event{Values: map[string]string{}}
	for _, part := range []*string{&e.Subject, &e.Name} {
		if *part, err = token(); err != nil {
			return event{}, within(err)
		}
	}
	for {
		key, err := token()
		if err != nil {
			return event{}, within(err)
		}
		if key == "" {
			return e, nil
		}
		value, err := token()
		if err != nil {
			return event{}, within(err)
		}
		e.keys = append(e.keys, key)
		e.Values[key] = value
	}
}
