package policy

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a policy may be. The reference has none of these limits; a policy that reaches one does not load.
const (
	MaxDepth  = 16       // of includes in includes (spec: policy.md 3, SAFER)
	MaxLine   = 64 << 10 // bytes
	MaxText   = 16 << 20 // bytes, each time they are inserted; a line and a file count for 32 more
	MaxRules  = 1 << 17
	MaxErrors = 1000 // that are told
)

// Sources are the directories of a policy, as absolute paths.
type Sources struct {
	Dirs   []string // of .policy files, the one whose files count first
	Legacy string   // of the files that !compat-4.0 means; empty: there is none
}

// DefaultSources are where a policy is by default (spec: policy.md 1, 3).
var DefaultSources = Sources{
	Dirs:   []string{"/run/qubes/policy.d", "/etc/qubes/policy.d"},
	Legacy: "/etc/qubes-rpc/policy",
}

// Load reads a policy. The root of fsys is the root directory: os.DirFS("/"), or another for a test. The error is
// LoadErrors, all that there are; then there is no Policy, since one that is half loaded allows what it should not.
func Load(fsys fs.FS, s Sources) (*Policy, error) {
	l := loader{fs: fsys, sources: s, files: map[string]content{}, told: map[LoadError]bool{}}
	l.load()
	if len(l.errors) > 0 {
		return nil, l.errors
	}
	return &l.policy, nil
}

// Parse reads the text of one file, which can include nothing; file is its name in positions.
func Parse(file, text string) (*Policy, error) {
	l := loader{fs: nothing{}, files: map[string]content{file: split(file, []byte(text))}, told: map[LoadError]bool{}}
	l.insert(where{file: file, dir: "/"}, nil)
	if len(l.errors) > 0 {
		return nil, l.errors
	}
	return &l.policy, nil
}

// nothing is a file system without files.
type nothing struct{}

func (nothing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// loader is one load. Each file is read once, so that one that is included often says the same everywhere.
type loader struct {
	fs      fs.FS
	sources Sources
	files   map[string]content
	text    int // that was inserted: see MaxText
	full    bool
	policy  Policy
	errors  LoadErrors
	told    map[LoadError]bool
}

type content struct {
	lines []string
	wrong *LoadError // why there are none
}

// where is the file that is being read, and how it was reached.
type where struct {
	file  string
	dir   string // of the top-level file: what paths are relative to
	stack []string
	bound binding
}

func (l *loader) load() {
	from := map[string]string{} // name to directory
	var names []string
	for _, dir := range l.sources.Dirs {
		entries, err := l.policyFiles(dir)
		if err != nil {
			err.At.File = dir
			l.fail(err)
		}
		for _, name := range entries {
			if _, taken := from[name]; !taken {
				from[name] = dir
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		l.insert(where{file: path.Join(from[name], name), dir: from[name]}, nil)
	}
}

// policyFiles lists the files of dir that are policy, in byte order (spec: policy.md 1).
func (l *loader) policyFiles(dir string) ([]string, *LoadError) {
	return l.list(dir, func(name string) bool {
		if !strings.HasSuffix(name, ".policy") || name[0] == '.' {
			return false
		}
		if !among(name, "_.-") || strings.ToLower(name) != name {
			l.fail(&LoadError{At: Position{File: path.Join(dir, name)}, Reason: FileName, Read: "file name", Text: shown(name),
				Expected: "lower-case letters, digits, '_', '.' and '-': the whole policy is unusable until then"})
			return false
		}
		return true
	})
}

// list gives the names of the regular files in dir that are wanted, in byte order, through symbolic links.
func (l *loader) list(dir string, wanted func(name string) bool) (names []string, wrong *LoadError) {
	entries, err := fs.ReadDir(l.fs, inFS(dir))
	if err != nil {
		return nil, &LoadError{Reason: NoDirectory, Read: "directory", Text: shown(dir), Expected: "a directory that can be read (" + cause(err) + ")"}
	}
	for _, e := range entries {
		if e.IsDir() || !wanted(e.Name()) {
			continue
		}
		file := path.Join(dir, e.Name())
		info, err := fs.Stat(l.fs, inFS(file))
		if err != nil {
			l.fail(unreadable(file, err)) // a rule may be in it that denies
		} else if info.Mode().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// insert reads the file at w. by is the directive that asks for it, nil for a top-level file.
func (l *loader) insert(w where, by *directive) {
	if !l.takes(w.file, 0) {
		return
	}
	if by != nil && slices.Contains(w.stack, w.file) {
		l.refuse(by, IncludeLoop, "a file that does not include itself, directly or through others")
		return
	}
	if len(w.stack) > MaxDepth {
		l.refuse(by, IncludeDepth, "at most 16 files inside one another")
		return
	}
	text := l.read(w.file)
	if text.wrong != nil {
		l.fail(text.wrong)
		return
	}
	w.stack = append(w.stack, w.file)
	for i, line := range text.lines {
		l.line(w, i+1, line)
	}
}

// takes counts text that is inserted. A few files that include one another often are a lot of it.
func (l *loader) takes(file string, bytes int) bool {
	if l.text += 32 + bytes; l.text > MaxText && !l.full {
		l.stop(file, TooMuchText, "file", "at most 16 MiB in all, included files counted each time")
	}
	return !l.full
}

// line reads one line.
func (l *loader) line(w where, number int, line string) {
	if !l.takes(w.file, len(line)) {
		return
	}
	at := func(err *LoadError) {
		err.At.File, err.At.Line = w.file, number
		l.fail(err)
	}
	if err := readable(line); err != nil {
		at(err)
		return
	}
	if w.bound != (binding{}) {
		line = short.Replace(line)
	}
	all := fields(line)
	switch {
	case len(all) == 0 || all[0].text[0] == '#':
	case all[0].text[0] == '!':
		l.direct(&directive{where: w, line: number, name: all[0], params: all[1:]})
	case len(l.policy.rules) == MaxRules:
		l.stop(w.file, TooManyRules, "rule", "at most 131072 rules")
	default:
		r, err := rule(all, w.bound)
		if err != nil {
			at(err)
			return
		}
		r.At = Position{File: w.file, Line: number}
		l.policy.rules = append(l.policy.rules, r)
	}
}

// short makes a line of the short format one of the full format (spec: policy.md 3). It keeps columns.
var short = strings.NewReplacer("$include:", "!include ", "$", "@", ",", " ")

// readable says what is wrong with the bytes of a line.
func readable(line string) *LoadError {
	if len(line) > MaxLine {
		return &LoadError{Reason: LineTooLong, Read: "line", Expected: "at most 65536 bytes"}
	}
	if !utf8.ValidString(line) {
		i := strings.IndexRune(line, utf8.RuneError)
		return &LoadError{At: Position{Column: i + 1}, Reason: NotText, Read: "line", Expected: "UTF-8"}
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' && r != '\v' && r != '\f' || r == 0x7f }); i >= 0 {
		return &LoadError{At: Position{Column: i + 1}, Reason: ControlCharacter, Read: "line", Text: line[i : i+1], Expected: "no control characters"}
	}
	return nil
}

// directive is a line that begins with '!'.
type directive struct {
	where
	line   int
	name   field
	params []field
}

// direct does what a directive says (spec: policy.md 3).
func (l *loader) direct(d *directive) {
	switch d.name.text {
	case "!include":
		if l.params(d, 1, "!include PATH") {
			l.include(d, d.params[0], d.bound)
		}
		return
	case "!include-dir", "!include-service", "!compat-4.0":
		if d.bound != (binding{}) {
			l.wrong(d, d.name.wrong(DirectiveUnknown, "directive", "!include: a file in the short format has no other"))
			return
		}
	default:
		l.wrong(d, d.name.wrong(DirectiveUnknown, "directive", "!include, !include-dir, !include-service or !compat-4.0"))
		return
	}
	switch d.name.text {
	case "!include-dir":
		if l.params(d, 1, "!include-dir PATH") {
			l.includeDir(d)
		}
	case "!include-service":
		if l.params(d, 3, "!include-service SERVICE ARGUMENT PATH") {
			b, err := bind(d.params[0], d.params[1])
			if err != nil {
				l.wrong(d, err)
				return
			}
			l.include(d, d.params[2], b)
		}
	case "!compat-4.0":
		if l.params(d, 0, "!compat-4.0 alone") {
			l.compat(d)
		}
	}
}

// params checks how many parameters there are.
func (l *loader) params(d *directive, want int, expected string) bool {
	if len(d.params) != want {
		l.wrong(d, d.name.wrong(DirectiveParams, "directive", expected))
		return false
	}
	return true
}

// at resolves a path of the directive.
func (d *directive) at(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(d.dir, p)
}

func (l *loader) include(d *directive, p field, bound binding) {
	file := d.at(p.text)
	if info, err := fs.Stat(l.fs, inFS(file)); err != nil || !info.Mode().IsRegular() {
		l.wrong(d, p.wrong(NotAFile, "path", "a regular file that exists, relative to "+d.dir))
		return
	}
	w := d.where
	w.file, w.bound = file, bound
	l.insert(w, d)
}

func (l *loader) includeDir(d *directive) {
	dir := d.at(d.params[0].text)
	names, err := l.policyFiles(dir)
	if err != nil {
		l.wrong(d, d.params[0].wrong(NotADirectory, "path", "a directory that exists, relative to "+d.dir))
		return
	}
	for _, name := range names {
		w := d.where
		w.file = path.Join(dir, name)
		l.insert(w, d)
	}
}

// compat inserts the legacy files: by service, those for one argument before the one for all.
func (l *loader) compat(d *directive) {
	l.policy.legacy = append(l.policy.legacy, Position{File: d.file, Line: d.line})
	if l.sources.Legacy == "" {
		l.wrong(d, d.name.wrong(NotADirectory, "directive", "a directory of legacy files, and none is configured"))
		return
	}
	names, err := l.list(l.sources.Legacy, func(name string) bool {
		for _, suffix := range []string{".rpmsave", ".rpmnew", ".swp"} {
			if strings.HasSuffix(name, suffix) {
				return false
			}
		}
		return name[0] != '.' && name[0] != '+' && among(name, "+-._")
	})
	if err != nil {
		l.wrong(d, d.name.wrong(NotADirectory, "directive", "a directory of legacy files that exists"))
		return
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := legacyName(a), legacyName(b)
		switch {
		case x.service != y.service:
			return strings.Compare(x.service, y.service)
		case (x.argument == "*") != (y.argument == "*"):
			return map[bool]int{true: 1, false: -1}[x.argument == "*"]
		}
		return strings.Compare(x.argument, y.argument)
	})
	for _, name := range names {
		w := d.where
		w.file, w.bound = path.Join(l.sources.Legacy, name), legacyName(name)
		l.insert(w, d)
		if w.bound.argument == "*" {
			continue
		}
		for _, target := range []Kind{AnyVM, AdminVM} { // so that the file for all arguments is not asked about this one
			l.policy.rules = append(l.policy.rules, Rule{At: Position{File: w.file}, Implied: true, Service: w.bound.service,
				Argument: w.bound.argument, Source: Token{Kind: AnyVM}, Target: Token{Kind: target}, Effect: Deny.plain()})
		}
	}
}

// legacyName is what the name of a legacy file binds it to.
func legacyName(name string) binding {
	if i := strings.IndexByte(name, '+'); i >= 0 {
		return binding{name[:i], name[i:]}
	}
	return binding{name, "*"}
}

// read gives the lines of a file, without their ends.
func (l *loader) read(file string) content {
	if c, ok := l.files[file]; ok {
		return c
	}
	c := func() content {
		f, err := l.fs.Open(inFS(file))
		if err != nil {
			return content{wrong: unreadable(file, err)}
		}
		defer f.Close()
		all, err := io.ReadAll(io.LimitReader(f, MaxText+1))
		if err != nil {
			return content{wrong: unreadable(file, err)}
		}
		return split(file, all)
	}()
	l.files[file] = c
	return c
}

// split makes lines, without their ends, of what a file holds.
func split(file string, all []byte) content {
	if len(all) > MaxText {
		return content{wrong: &LoadError{At: Position{File: file}, Reason: FileTooLong, Read: "file", Expected: "at most 16 MiB"}}
	}
	var lines []string
	for line := range bytes.Lines(all) {
		lines = append(lines, strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"))
	}
	return content{lines: lines}
}

func unreadable(file string, err error) *LoadError {
	return &LoadError{At: Position{File: file}, Reason: Unreadable, Read: "file", Expected: "a file that can be read (" + cause(err) + ")"}
}

// cause is an error of the file system without the path, which the position has.
func cause(err error) string {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// inFS is an absolute path as an fs.FS wants it.
func inFS(p string) string {
	if p = strings.TrimPrefix(path.Clean(p), "/"); p == "" {
		return "."
	}
	return p
}

// wrong keeps an error about a directive.
func (l *loader) wrong(d *directive, err *LoadError) {
	err.At.File, err.At.Line = d.file, d.line
	l.fail(err)
}

// refuse keeps an error about the path of a directive.
func (l *loader) refuse(d *directive, reason Reason, expected string) {
	about := d.name
	if len(d.params) > 0 {
		about = d.params[len(d.params)-1]
	}
	l.wrong(d, about.wrong(reason, "path", expected))
}

// stop keeps an error after which nothing more is read.
func (l *loader) stop(file string, reason Reason, read, expected string) {
	l.fail(&LoadError{At: Position{File: file}, Reason: reason, Read: read, Expected: expected})
	l.full = true
}

// fail keeps an error, once: what is wrong with a file that is included often is wrong once.
func (l *loader) fail(err *LoadError) {
	if l.told[*err] || l.full {
		return
	}
	l.told[*err] = true
	if len(l.errors) == MaxErrors {
		err = &LoadError{At: err.At, Reason: TooManyLoadErrors, Read: "policy", Expected: "fewer errors; more are not told"}
		l.full = true
	}
	l.errors = append(l.errors, err)
}
