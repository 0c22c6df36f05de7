// Package live shows how a load test goes while it runs: as a picture that is drawn again each second, if somebody looks
// at a terminal, or as lines.
//
//	drive ─Progress→ View ─┬→ run ─draw→ bubbletea → terminal
//	                       └→ lines
//
// It measures nothing, and is made not to disturb what does: nothing is drawn but when there is something new, about once
// a second, and nobody waits for a terminal, or for whatever else takes lines. What a server says is shown only as far as
// report.Printable lets it.
package live

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/scenario"
)

// Options are what a View depends on beside the scenario.
type Options struct {
	In, Out *os.File            // the terminal: where keys come from, which may be anything else, and where the picture goes
	Plain   bool                // lines, whatever Out is
	Env     func(string) string // TERM and NO_COLOR
	End     func()              // ends the run, since a key says so; it must not wait for the View
}

// View is what shows one run. Its methods may be called concurrently.
type View struct {
	in, out  *os.File
	run      *run
	pictured bool
	failed   bool          // it could not be drawn; of the picture's goroutine, until ended
	ended    chan struct{} // the terminal is what it was
	told     chan struct{} // and all lines are written
	done     chan struct{} // that is to be so
	finish   sync.Once
	before   *term.State // of the terminal, where keys come from; nil: it was not touched
	news     chan struct{}
	looks    chan drive.Progress // for lines
}

// perSecond is how often it is looked whether there is something to draw.
const perSecond = 4

// Start begins to show a run of s. The terminal, if it is one, belongs to the View until Close.
func Start(s *scenario.Scenario, o Options) *View {
	v := &View{
		in: o.In, out: o.Out, run: newRun(s), ended: make(chan struct{}), told: make(chan struct{}), done: make(chan struct{}),
		news: make(chan struct{}, 1), looks: make(chan drive.Progress, 1),
	}
	if v.pictured = !o.Plain && drawable(o.Out, o.Env("TERM")); !v.pictured {
		close(v.ended)
		go v.tell()
		return v
	}
	colours := colorprofile.ANSI // all that are used; to find out what there is, others would be run, such as tmux
	if o.Env("NO_COLOR") != "" {
		colours = colorprofile.ASCII
	}
	options := []tea.ProgramOption{tea.WithOutput(o.Out), tea.WithFPS(perSecond), tea.WithoutSignalHandler(), tea.WithInput(nil), tea.WithColorProfile(colours)}
	if term.IsTerminal(int(o.In.Fd())) {
		options = append(options, tea.WithInput(o.In))
		v.before, _ = term.GetState(int(o.In.Fd()))
	}
	p := &picture{view: v, end: o.End}
	program := tea.NewProgram(p, options...)
	go func() {
		_, err := program.Run()
		if v.failed = err != nil || p.failure != ""; v.failed {
			fmt.Fprintf(v.out, "what follows is not drawn: %v\n", cmp.Or(err, errors.New(p.failure)))
		}
		close(v.ended)
		v.tell()
	}()
	return v
}

// drawable reports whether a picture can be drawn on f by a process that the terminal's user looks at.
func drawable(f *os.File, kind string) bool {
	if kind == "" || kind == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return false
	}
	looked, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || looked == unix.Getpgrp()
}

// Progress shows how it goes. It does not wait for a terminal, or whatever lines go to, that takes them slowly, or not at
// all.
func (v *View) Progress(p drive.Progress) {
	if v.lines() {
		select {
		case v.looks <- p:
		default: // which is not missed: the summary comes in the end
		}
		return
	}
	v.run.add(p)
	select {
	case v.news <- struct{}{}:
	default: // what is not drawn yet will be drawn with this
	}
}

// tell writes a line for each look, until there are to be no more.
func (v *View) tell() {
	defer close(v.told)
	for over := false; !over; {
		select {
		case p := <-v.looks:
			writeLine(v.out, p)
		case <-v.done:
			over = true
		}
	}
	select {
	case p := <-v.looks: // the last
		writeLine(v.out, p)
	default:
	}
}

// lines reports whether there are to be lines, for want of a picture.
func (v *View) lines() bool {
	select {
	case <-v.ended:
		return !v.pictured || v.failed
	default:
		return false
	}
}

// patience is how long a terminal has to take what makes it what it was, or the last line.
const patience = 2 * time.Second

// Close makes the terminal what it was, and returns when it is and the last line is written. A terminal that takes nothing
// more gets its modes back, and is left alone.
func (v *View) Close() {
	v.finish.Do(func() { close(v.done) })
	select {
	case <-v.told:
	case <-time.After(patience):
		if v.before != nil {
			_ = term.Restore(int(v.in.Fd()), v.before)
		}
	}
}
