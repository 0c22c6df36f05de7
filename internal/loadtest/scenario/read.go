package scenario

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/yamlfile"
)

// Checks judge what this package knows nothing of. One that is nil judges nothing.
type Checks struct {
	Method    func(name string) bool       // whether the API has it; of drill.Crash+x, it is asked for drill.Crash
	Threshold func(condition string) error // what was expected instead: "a percentile from 0 to 100"
}

// What holds where nobody said anything.
const (
	defaultTimeout     = 10 * time.Second
	defaultMaxInFlight = 4096
	defaultMaxLag      = time.Millisecond
	defaultWeight      = 1
	defaultMisdeeds    = 100 // of an adversary, at the same time
	defaultMethod      = "admin.Events"
	dom0               = "dom0" // where a call comes from, and goes to
)

// MostRate is the highest rate, in calls per second.
const MostRate = 1e7

// LeastMisdeeds is the lowest rate of an adversary, per second: one in 1000 s.
const LeastMisdeeds = 0.001

// The limits of a scenario: it may be large, but it may not use up the machine that runs it.
const (
	mostStages      = 1000
	mostItems       = 1000 // of the mix
	mostSteps       = 1000 // of an item
	mostVariables   = 100
	mostChoices     = 10000
	mostSubscribers = 100000 // all together
	mostAdversaries = 100
	mostThresholds  = 100
	mostInFlight    = 1 << 20
	mostWorkers     = 1 << 16
	mostText        = 1 << 20
	mostKept        = 4 << 10 // bytes of a reply, in a variable
	mostFile        = 4 << 20
	mostFiles       = 256 << 20 // all together, each as often as it is named
	longest         = 1000 * time.Hour
)

// reading is a scenario that is being read. Templates are read last, when all variables are known, wherever they stand.
type reading struct {
	s      *Scenario
	beside beside
	checks Checks
	named  map[string]*Variable
	files  int // bytes of them that were read
}

// beside is what the files are that a scenario names. Errors say what was expected.
type beside interface {
	file(name string) (string, error) // its content
	clientTLS(addr, certificate, key, authority, name string) (*tls.Config, error)
}

// Read reads the scenario in file. What is wrong with its content is a *yamlfile.Error, which names the file, the line, the
// key, and what was expected there. Files that it names are relative to it, and are read at once. Its Target is the zero
// one if it names none: whoever runs it does.
func Read(file string, checks Checks) (*Scenario, error) {
	root, err := yamlfile.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := read(root, onDisk{filepath.Dir(file)}, checks)
	return s.named(file), err
}

// named gives a scenario that has no name that of its file.
func (s *Scenario) named(file string) *Scenario {
	if s != nil && s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	return s
}

func read(root *yamlfile.Node, beside beside, checks Checks) (*Scenario, error) {
	r := &reading{&Scenario{Timeout: defaultTimeout, MaxInFlight: defaultMaxInFlight, MaxLag: defaultMaxLag}, beside, checks, map[string]*Variable{}, 0}
	s := r.s
	var version, seed int
	model, arrivals := "open", yamlfile.At[string]{Value: "constant"}
	var warmup yamlfile.At[time.Duration]
	var stages, mix, subscribers *yamlfile.Node
	err := root.Fields(
		yamlfile.Required("version", &version, yamlfile.Between(1, 1)),
		yamlfile.Optional("name", &s.Name, yamlfile.String),
		yamlfile.Optional("target", &s.Target, r.target),
		yamlfile.Optional("seed", &seed, yamlfile.Between(0, 1<<62)),
		yamlfile.Optional("model", &model, yamlfile.OneOf("open", "closed")),
		yamlfile.Optional("arrivals", &arrivals, yamlfile.Placed(yamlfile.OneOf("constant", "poisson"))),
		yamlfile.Required("stages", &stages, asNode),
		yamlfile.Optional("warmup", &warmup, yamlfile.Placed(yamlfile.Duration)),
		yamlfile.Optional("timeout", &s.Timeout, duration(measure.Highest)),
		yamlfile.Optional("max_in_flight", &s.MaxInFlight, yamlfile.Between(1, mostInFlight)),
		yamlfile.Optional("max_lag", &s.MaxLag, duration(measure.Highest)),
		yamlfile.Optional("variables", &s.variables, r.variables),
		yamlfile.Required("mix", &mix, asNode),
		yamlfile.Optional("subscribers", &subscribers, asNode),
		yamlfile.Optional("adversaries", &s.Adversaries, atMost(mostAdversaries, readAdversary)),
		yamlfile.Optional("thresholds", &s.Thresholds, atMost(mostThresholds, r.threshold)),
	)
	if err != nil {
		return nil, err
	}
	s.Seed, s.Load.Closed, s.Load.Poisson, s.Warmup = uint64(seed), model == "closed", arrivals.Value == "poisson", warmup.Value
	if s.Load.Closed && arrivals.Node != nil {
		return nil, arrivals.Node.Expected("no arrivals in the closed model, in which workers come when they have done")
	}
	if s.Load.Stages, err = r.stages(stages); err != nil {
		return nil, err
	}
	if s.Warmup >= s.Load.Duration() && warmup.Node != nil {
		return nil, warmup.Node.Expected("less than all stages take, which is %v", s.Load.Duration())
	}
	if s.Mix, err = someOf(mostItems, r.item)(mix); err != nil {
		return nil, err
	}
	if subscribers != nil {
		s.Subscribers, err = r.subscribers(subscribers)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// asNode reads nothing yet.
func asNode(n *yamlfile.Node) (*yamlfile.Node, error) { return n, nil }

// atMost reads a list of at most so many.
func atMost[T any](most int, read yamlfile.Reader[T]) yamlfile.Reader[[]T] {
	return func(n *yamlfile.Node) ([]T, error) {
		count := 0
		return yamlfile.List(func(item *yamlfile.Node) (t T, err error) {
			if count++; count > most {
				return t, n.Expected("a list of at most %d", most)
			}
			return read(item)
		})(n)
	}
}

// someOf reads a list of at most so many, and of one at least.
func someOf[T any](most int, read yamlfile.Reader[T]) yamlfile.Reader[[]T] {
	return func(n *yamlfile.Node) ([]T, error) {
		all, err := atMost(most, read)(n)
		if err == nil && len(all) == 0 {
			err = n.Expected("a list with something in it")
		}
		return all, err
	}
}

// duration reads one above zero, up to most.
func duration(most time.Duration) yamlfile.Reader[time.Duration] {
	return func(n *yamlfile.Node) (time.Duration, error) {
		d, err := yamlfile.Duration(n)
		if err == nil && (d == 0 || d > most) {
			err = n.Expected("a duration above 0s, up to %v", most)
		}
		return d, err
	}
}

// pause reads a duration that may be zero.
func pause(n *yamlfile.Node) (time.Duration, error) {
	d, err := yamlfile.Duration(n)
	if err == nil && d > longest {
		err = n.Expected("a duration up to %v", longest)
	}
	return d, err
}

// number reads one from zero to most, or, with above, above zero.
func number(most float64, above bool) yamlfile.Reader[float64] {
	return func(n *yamlfile.Node) (float64, error) {
		text, err := yamlfile.Text(n)
		f, bad := strconv.ParseFloat(text, 64)
		switch {
		case err == nil && bad == nil && f <= most && (f > 0 || f == 0 && !above): // which is false of NaN
			return f, nil
		case above:
			return 0, n.Expected("a number above 0, up to %.0f", most)
		default:
			return 0, n.Expected("a number from 0 to %.0f", most)
		}
	}
}

// stages reads the stages of the load.
func (r *reading) stages(n *yamlfile.Node) ([]Stage, error) {
	unit, most := "rate", MostRate
	if r.s.Load.Closed {
		unit, most = "workers", mostWorkers
	}
	some := false
	all, err := someOf(mostStages, func(n *yamlfile.Node) (Stage, error) {
		var stage Stage
		var even, from, to yamlfile.At[float64]
		level := yamlfile.Placed(number(most, false))
		err := n.Fields(
			yamlfile.Optional("name", &stage.Name, yamlfile.String),
			yamlfile.Optional(unit, &even, level),
			yamlfile.Optional("from", &from, level),
			yamlfile.Optional("to", &to, level),
			yamlfile.Required("for", &stage.For, duration(longest)),
		)
		stage.From, stage.To = from.Value, to.Value
		switch {
		case err != nil:
		case even.Node != nil && from.Node == nil && to.Node == nil:
			stage.From, stage.To = even.Value, even.Value
		case even.Node != nil || from.Node == nil || to.Node == nil:
			err = n.Expected("either the key %s, or from and to", unit)
		}
		some = some || stage.From > 0 || stage.To > 0
		return stage, err
	})(n)
	if err == nil && !some {
		err = n.Expected("a stage whose %s is above 0", unit)
	}
	return all, err
}

func readAdversary(n *yamlfile.Node) (Adversary, error) {
	a := Adversary{Count: defaultMisdeeds}
	err := n.Fields(
		yamlfile.Required("kind", &a.Kind, yamlfile.OneOf(Misdeeds...)),
		yamlfile.Required("rate", &a.Rate, misdeeds),
		yamlfile.Optional("count", &a.Count, yamlfile.Between(1, mostWorkers)),
	)
	return a, err
}

// misdeeds reads the rate of an adversary.
func misdeeds(n *yamlfile.Node) (float64, error) {
	rate, err := number(MostRate, true)(n)
	if err != nil || rate < LeastMisdeeds {
		err = n.Expected("a number from %v to %.0f", LeastMisdeeds, MostRate)
	}
	return rate, err
}

func (r *reading) threshold(n *yamlfile.Node) (string, error) {
	text, err := yamlfile.String(n)
	if err == nil && r.checks.Threshold != nil {
		if wrong := r.checks.Threshold(text); wrong != nil {
			err = n.Expected("%s", wrong)
		}
	}
	return text, err
}

// target reads whom calls go to.
func (r *reading) target(n *yamlfile.Node) (Target, error) {
	var t Target
	var certificate, key, authority, name string
	err := n.Fields(
		yamlfile.Optional("socket", &t.Socket, yamlfile.String),
		yamlfile.Optional("connect", &t.Addr, yamlfile.String),
		yamlfile.Optional("certificate", &certificate, fileName),
		yamlfile.Optional("key", &key, fileName),
		yamlfile.Optional("authority", &authority, fileName),
		yamlfile.Optional("server_name", &name, yamlfile.String),
		yamlfile.Optional("plain", &t.Plain, yamlfile.Bool),
	)
	switch {
	case err != nil:
		return t, err
	case t.Socket != "" && (t.Addr != "" || certificate != "" || key != "" || authority != "" || name != ""):
		return t, n.Expected("either the key socket, or connect and what belongs to it")
	case t.Socket == "" && t.Addr == "" && !t.Plain:
		return t, n.Expected("one of the keys socket, connect")
	case t.Addr != "":
		if t.TLS, err = r.beside.clientTLS(t.Addr, certificate, key, authority, name); err != nil {
			return t, n.Expected("%s", err)
		}
	}
	return t, nil
}

// fileName reads the name of a file.
func fileName(n *yamlfile.Node) (string, error) {
	name, err := yamlfile.String(n)
	if err == nil && name == "" {
		err = n.Expected("a file")
	}
	return name, err
}

// onDisk are files on this machine; those without a whole path are in dir.
type onDisk struct{ dir string }

func (d onDisk) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.dir, name)
}

func (d onDisk) clientTLS(addr, certificate, key, authority, name string) (*tls.Config, error) {
	c, err := ClientTLS(addr, d.path(certificate), d.path(key), d.path(authority), name)
	return c, errors.Unwrap(err)
}

// file reads the whole of a file.
func (d onDisk) file(name string) (string, error) {
	unread := errors.New("a file that can be read, beside the scenario's or with its whole path")
	path := d.path(name)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // a pipe might never end
		return "", unread
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unread
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostFile+1))
	if err != nil || len(data) > mostFile {
		return "", fmt.Errorf("a file of at most %d MiB", mostFile>>20)
	}
	return string(data), nil
}
