package scenario

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"sallyport/internal/yamlfile"
)

// MostPacked is how many bytes the files in a Packed have together.
const MostPacked = 40 << 20

// Packed is a scenario as it can be sent to another machine, in JSON, which reads it as if it had been written there. It
// has the files that the scenario names in it, but for those of its target: by which certificate a machine is known, it
// says itself, and no key leaves its place.
type Packed struct {
	File    string            // its path, for errors
	Text    []byte            // what it says; empty: there is no file, and Options are all
	Files   map[string][]byte // what those say that it names, by these names
	Options Options           // which override it
	Socket  string            // where calls go if nothing names a target
}

// sentOptions are Options in JSON, whose strings are UTF-8: what targets are sent may be anything, and goes as bytes.
type sentOptions struct {
	bareOptions
	Request, Payload []byte
}

// bareOptions are Options without methods.
type bareOptions Options

// MarshalJSON encodes o for another machine, which gets the same bytes of Request and Payload. All else is to be UTF-8; see
// Packed.Check.
func (o Options) MarshalJSON() ([]byte, error) {
	return json.Marshal(sentOptions{bareOptions(o), []byte(o.Request), []byte(o.Payload)})
}

// UnmarshalJSON makes o what was encoded. What Options do not have is an error.
func (o *Options) UnmarshalJSON(data []byte) error {
	var sent sentOptions
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&sent); err != nil {
		return err
	}
	*o = Options(sent.bareOptions)
	o.Request, o.Payload = string(sent.Request), string(sent.Payload)
	return nil
}

// Check finds what would be something else when it arrives: a text that is not UTF-8. Its error begins with what the text
// is of.
func (p *Packed) Check() error {
	o := p.Options
	texts := [][2]string{
		{"the scenario's path", p.File}, {"--socket", p.Socket}, {"--socket", o.Target.Socket}, {"--tls", o.Target.Addr}, {"METHOD", o.Call}, {"DEST", o.Dest},
		{"--source", o.Source}, {"--expect", o.Expect}, {"--content", o.Content},
	}
	for _, t := range o.Thresholds {
		texts = append(texts, [2]string{"--threshold", t})
	}
	for name := range p.Files {
		texts = append(texts, [2]string{"the name of a file", name})
	}
	for _, t := range texts {
		if !utf8.ValidString(t[1]) {
			return fmt.Errorf("%s: expected UTF-8, to send it to other machines, and found %q", t[0], t[1])
		}
	}
	return nil
}

// Identity is how a machine proves who it is to a server at addr, whose certificate is to bear name. An error says why it
// does not.
type Identity func(addr, name string) (*tls.Config, error)

// Pack reads a scenario as Read does, for other machines to make the load: it leaves the files of its target unread. Its
// Target has no TLS.
func Pack(file string, checks Checks) (*Scenario, *Packed, error) {
	text, err := yamlfile.Load(file)
	if err != nil {
		return nil, nil, err
	}
	root, err := yamlfile.Read(file, text)
	if err != nil {
		return nil, nil, err
	}
	p := &Packed{File: file, Text: text, Files: map[string][]byte{}}
	s, err := read(root, packing{onDisk{filepath.Dir(file)}, p}, checks)
	if err != nil {
		return nil, nil, err
	}
	all := len(text)
	for _, f := range p.Files {
		all += len(f)
	}
	if all > MostPacked {
		return nil, nil, fmt.Errorf("%s: expected at most %d MiB, with the files that it names, to send to other machines", file, MostPacked>>20)
	}
	return s.named(file), p, p.Check()
}

// Unpack reads the scenario, from nothing but p. p may come from anybody.
func (p *Packed) Unpack(checks Checks, identity Identity) (*Scenario, error) {
	s, err := p.scenario(checks, identity)
	if err != nil {
		return nil, err
	}
	if s.Target.Socket == "" && s.Target.Addr == "" {
		s.Target.Socket = p.Socket
	}
	if s.Target.Socket == "" && s.Target.Addr == "" {
		return nil, errors.New("expected a target")
	}
	return s, nil
}

func (p *Packed) scenario(checks Checks, identity Identity) (*Scenario, error) {
	o, files := p.Options, unpacking{p, identity}
	if o.Target.Addr != "" {
		var err error
		if o.Target.TLS, err = files.clientTLS(o.Target.Addr, "", "", "", ""); err != nil {
			return nil, fmt.Errorf("expected %w", err)
		}
	}
	if len(p.Text) == 0 {
		return Simple(o, checks)
	}
	root, err := yamlfile.Read(p.File, p.Text)
	if err != nil {
		return nil, err
	}
	s, err := read(root, files, checks)
	if err != nil {
		return nil, err
	}
	return s.named(p.File), s.Override(o, checks)
}

// packing keeps the files that are read.
type packing struct {
	onDisk
	p *Packed
}

func (k packing) file(name string) (string, error) {
	text, err := k.onDisk.file(name)
	k.p.Files[name] = []byte(text)
	return text, err
}

func (packing) clientTLS(addr, _, _, _, _ string) (*tls.Config, error) {
	_, err := hostOf(addr)
	return nil, err
}

// unpacking has no files but those that came along.
type unpacking struct {
	p        *Packed
	identity Identity
}

func (u unpacking) file(name string) (string, error) {
	text, ok := u.p.Files[name]
	if !ok || len(text) > mostFile {
		return "", fmt.Errorf("a file that came along, of at most %d MiB", mostFile>>20)
	}
	return string(text), nil
}

func (u unpacking) clientTLS(addr, _, _, _, name string) (*tls.Config, error) {
	if _, err := hostOf(addr); err != nil {
		return nil, err
	}
	return u.identity(addr, name)
}
