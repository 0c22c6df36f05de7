package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sallyport/actors"
	"sallyport/config"
	"sallyport/internal/hypervisor"
	"sallyport/internal/hypervisor/simulated"
	"sallyport/internal/inventory"
	"sallyport/internal/judge"
	"sallyport/internal/policy"
	"sallyport/internal/policyfiles"
	"sallyport/internal/store"
	"sallyport/internal/telemetry"
	"sallyport/messages"
	"sallyport/stages"
	"sallyport/stages/lifecycle"
	"sallyport/stages/methods"
	"sallyport/stages/permission"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

// daemon is the parts, and how to close them.
type daemon struct {
	cfg     config.Config
	log     telemetry.Log // of the configured level
	life    telemetry.Log // the lines about the daemon itself, whatever the level
	isReady bool
	actors  *actors.Daemon
	book    *inventory.Inventory
	policy  *judge.Keeper
	driver  *simulated.Driver
	stages  *stageTimes // nil: nobody could read them
	failed  chan error  // something stopped that should not
	closers []func() error
}

// drainFor is how long calls that have arrived may still run when the daemon is told to stop.
const drainFor = 30 * time.Second

// build puts the parts together, from the log upwards. After an error, nothing is left open.
func build(cfg config.Config, stderr io.Writer) (d *daemon, err error) {
	d = &daemon{cfg: cfg, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	peers, err := peersOf(cfg.Peers)
	if err != nil {
		return d, usageError{err}
	}
	remote, err := remoteOf(cfg.TLS)
	if err != nil {
		return d, usageError{err}
	}
	sockets, err := socketsIn(cfg.SocketDir)
	if err != nil {
		return d, usageError{err}
	}
	logger, sink, err := d.openLog(stderr)
	if err != nil {
		return d, err
	}
	if err = d.openInventory(); err != nil {
		return d, err
	}
	if err = ownDir(cfg.SocketDir, passable(), 0o755); err != nil {
		return d, err
	}
	sources, err := policySources(cfg.PolicyDirs)
	if err != nil {
		return d, err
	}
	verdicts := judge.New()
	d.policy = judge.Keep(verdicts, sources, d.log, systemClock{})
	d.onClose(d.policy.Close)
	entries, crew := methods.All(), hypervisor.Crew{Power: lifecycle.NewWorker(d.driver), Policy: policyfiles.New(sources)}
	if cfg.Drill {
		entries = append(entries, methods.Drill()...)
	}
	var timed func(actors.Timing)
	if cfg.HTTP.IsValid() {
		d.stages = newStageTimes()
		timed = d.stages.observe
	}
	d.actors, err = actors.Start(actors.Settings{
		Catalogue:      stages.NewCatalogue(entries...),
		Gate:           stages.NewGate(verdicts, permission.AdminExtension...),
		Book:           d.book,
		Worker:         crew,
		Attendants:     map[string]actors.Attendant{"power": crew.Power, "disposables": crew.Disposables},
		Sockets:        sockets,
		Peers:          peers,
		Remote:         remote,
		Log:            logger,
		Timed:          timed,
		MaxConnections: cfg.Limits.Connections,
		HeaderLimit:    cfg.Limits.HeaderBytes,
		ReadTimeout:    cfg.Limits.ReadTimeout,
		CallBudget:     cfg.Limits.CallBudget,
		QubeQueue:      cfg.Limits.QubeQueue,
		StageQueue:     cfg.Limits.StageQueue,
		Backlog:        cfg.Limits.SubscriberBacklog,
		CrashLimit:     cfg.Limits.CrashesWithoutSuccess,
	})
	if err != nil {
		return d, err
	}
	err = d.serveHTTP(sink)
	d.onClose(func() error { // before HTTP, which tells of it
		ctx, cancel := context.WithTimeout(context.Background(), drainFor)
		defer cancel()
		return d.actors.Close(ctx)
	})
	return d, err
}

// policySources are the directories of the policy.
func policySources(dirs []string) (policy.Sources, error) {
	s := policy.Sources{Legacy: policy.DefaultSources.Legacy}
	for _, dir := range dirs {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return policy.Sources{}, err
		}
		s.Dirs = append(s.Dirs, dir)
	}
	return s, nil
}

// socketsIn are the paths of the sockets (spec: wire.md 1).
func socketsIn(dir string) (map[stages.Socket]string, error) {
	const longest = len(syscall.RawSockaddrUnix{}.Path) - 1
	sockets := map[stages.Socket]string{
		stages.Admin:    filepath.Join(dir, "qubesd.sock"),
		stages.Internal: filepath.Join(dir, "qubesd.internal.sock"),
		stages.Misc:     filepath.Join(dir, "qubesd.misc.sock"),
	}
	for _, path := range sockets {
		if len(path) > longest {
			return nil, fmt.Errorf("--socket-dir: expected a directory of at most %d bytes, since the kernel allows no longer path of a socket", longest-len("/qubesd.internal.sock"))
		}
	}
	return sockets, nil
}

func (d *daemon) onClose(fn func() error) { d.closers = append(d.closers, fn) }

// close ends everything, last opened first.
func (d *daemon) close() error {
	if d.isReady {
		d.life.Daemon(telemetry.Stopping)
	}
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}

// The log holds this much while whoever reads it is slow, and is at most this old.
const (
	logRoom  = 4 << 20
	logDelay = 500 * time.Millisecond
)

func (d *daemon) openLog(stderr io.Writer) (*zap.Logger, *telemetry.Sink, error) {
	out := stderr
	if d.cfg.Log.File != "" {
		f, err := os.OpenFile(d.cfg.Log.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--log-file: expected a file that can be written: %w", err)}
		}
		d.onClose(f.Close)
		out = f
	}
	level, err := zapcore.ParseLevel(string(d.cfg.Log.Level))
	if err != nil {
		return nil, nil, err
	}
	sink := telemetry.NewSink(out, logRoom, logDelay)
	encoder := telemetry.Encoder(d.cfg.Log.Format == config.Console)
	core := zapcore.NewCore(encoder, sink, level)
	logger := zap.New(telemetry.Limited(core, d.cfg.Limits.LogLinesPerSecond, sink))
	d.log, d.life = telemetry.NewLog(logger), telemetry.NewLog(zap.New(zapcore.NewCore(encoder, sink, zapcore.InfoLevel)))
	d.onClose(func() error {
		if d.isReady {
			d.life.Daemon(telemetry.Stopped)
		}
		sink.Close()
		return nil
	})
	return logger, sink, nil
}

// openInventory opens the store and reads it, or fills it from the inventory file or the demo.
func (d *daemon) openInventory() error {
	dir, initial, from := d.cfg.StateDir, inventory.Empty, ""
	switch {
	case d.cfg.Demo:
		temp, err := os.MkdirTemp("", "sallyport-demo-")
		if err != nil {
			return err
		}
		d.onClose(func() error { return os.RemoveAll(temp) })
		dir, from = temp, "the demo"
		initial = func() (*inventory.Snapshot, error) { return inventory.Demo(properties.Schema{}) }
	case d.cfg.Inventory != "":
		from = d.cfg.Inventory
		initial = func() (*inventory.Snapshot, error) {
			s, err := inventory.FromFile(from, properties.Schema{})
			if err != nil {
				err = usageError{err}
			}
			return s, err
		}
	}
	if err := ownDir(dir, 0o700, 0o700); err != nil {
		return err
	}
	st, err := store.Open(dir, storeLog{d.log})
	if err != nil {
		return err
	}
	d.onClose(st.Close)
	d.driver = simulated.New(systemClock{})
	book, fresh, err := inventory.Open(st, initial, inventory.Options{Reactions: reactions.All(), Meter: d.driver})
	if err != nil {
		return err
	}
	d.book = book
	if err := d.beginSimulation(); err != nil {
		return err
	}
	event := telemetry.InventoryLoaded
	if from != "" && !fresh {
		event = telemetry.InventoryIgnored
	}
	d.log.Daemon(event, zap.String(telemetry.KeyPath, dir), zap.String(telemetry.KeyReason, from),
		zap.Uint64(telemetry.KeyRevision, uint64(book.View().Revision())))
	return nil
}

// beginSimulation has the simulated hypervisor run what the inventory says was running.
func (d *daemon) beginSimulation() error {
	host := d.book.Snapshot().Simulation()
	start, err := span(host.StartDelay)
	if err != nil {
		return err
	}
	shutdown, err := span(host.GuestDelay)
	if err != nil {
		return err
	}
	d.driver.Begin(d.book.View, simulated.Settings{
		MemoryMiB: int(host.MemoryMiB), CPUs: host.CPUs, StartOrder: host.StartOrder, StartDelay: start, ShutdownDelay: shutdown,
	})
	return nil
}

// span is a duration of the inventory; empty is none.
func span(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return time.ParseDuration(s)
}

// systemClock is the time.
type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }
func (systemClock) AfterFunc(d time.Duration, fn func()) func() bool {
	return time.AfterFunc(d, fn).Stop
}

// storeLog passes on what the store has to say when it fails.
type storeLog struct{ log telemetry.Log }

func (l storeLog) Error(msg string) {
	l.log.Store(msg)
}

// peersOf makes the rule that says what a peer may claim: the first entry that fits counts, and no entry means nothing.
func peersOf(entries []config.Peer) (func(actors.Credentials) *messages.Peer, error) {
	type rule struct {
		config.Peer
		is *messages.Peer
	}
	rules, groups, nobody := make([]rule, 0, len(entries)), false, &messages.Peer{}
	for _, e := range entries {
		p := &messages.Peer{Any: e.Any, Decided: e.Decided}
		var err error
		if p.Sources, err = namesOf(e.Sources); err != nil {
			return nil, err
		}
		rules, groups = append(rules, rule{e, p}), groups || e.Group
	}
	return func(c actors.Credentials) *messages.Peer {
		gids := []uint32{c.GID}
		if groups {
			more, err := c.Groups()
			if err != nil {
				return nobody
			}
			gids = append(gids, more...)
		}
		for _, r := range rules {
			if r.Is(c.UID, gids) {
				return r.is
			}
		}
		return nobody
	}, nil
}

// ready tells the log, and, for a demo, the person who started it, what to try next.
func (d *daemon) ready(stdout io.Writer) {
	d.isReady = true
	remote := zap.Skip()
	if addr := d.actors.RemoteAddr(); addr != nil {
		remote = zap.String(telemetry.KeyLocalAddress, addr.String())
	}
	d.life.Daemon(telemetry.Ready, remote, zap.String(telemetry.KeyService, "sallyportd"), zap.String(telemetry.KeyVersion, version()),
		zap.Int(telemetry.KeySchema, telemetry.SchemaVersion), zap.String(telemetry.KeyPath, d.cfg.SocketDir),
		zap.Uint64(telemetry.KeyRevision, uint64(d.book.View().Revision())))
	d.life.Sync()
	if !d.cfg.Demo {
		return
	}
	socket := filepath.Join(d.cfg.SocketDir, "qubesd.sock")
	fmt.Fprintf(stdout, `A demo system is served on %[1]s. Try, in another terminal:

  go run ./cmd/sallyport call --socket %[1]s admin.vm.List
  go run ./cmd/sallyport call --socket %[1]s admin.vm.feature.Get+service.cups work
  echo -n 1 | go run ./cmd/sallyport call --socket %[1]s admin.vm.feature.Set+service.crond work
  go run ./cmd/sallyport methods

Stop it with Ctrl-C. What you change is forgotten then.
`, socket)
}
