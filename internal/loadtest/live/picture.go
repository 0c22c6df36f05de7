package live

import (
	"fmt"
	"runtime/debug"

	tea "charm.land/bubbletea/v2"
)

// picture is what bubbletea draws. It is for bubbletea's goroutine.
type picture struct {
	view          *View
	end           func()
	width, height int
	paused        bool
	shown         string
	failure       string // a panic, which ended it; empty: there was none
}

// changed says that there is something new to show.
type changed struct{}

// Init waits for the first news.
func (p *picture) Init() tea.Cmd { return p.wait }

// wait gives the next news, or that there will be none.
func (p *picture) wait() tea.Msg {
	select {
	case <-p.view.news:
		return changed{}
	case <-p.view.done:
		return tea.QuitMsg{}
	}
}

// Update takes news, sizes and keys.
func (p *picture) Update(msg tea.Msg) (model tea.Model, next tea.Cmd) {
	defer func() { // bubbletea would recover, too, but close the terminal while it is still read
		if r := recover(); r != nil {
			p.failure = fmt.Sprintf("%v\n%s", r, debug.Stack())
			model, next = p, tea.Quit
		}
	}()
	switch msg := msg.(type) {
	case changed:
		if !p.paused {
			p.draw()
		}
		return p, p.wait
	case tea.WindowSizeMsg:
		p.width, p.height = msg.Width, msg.Height
		p.draw()
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c":
			p.end()
		case "p":
			p.paused = !p.paused
			p.draw()
		}
	}
	return p, nil
}

func (p *picture) draw() { p.shown = p.view.run.draw(p.width, p.height, p.paused) }

// View gives what was drawn last, on a screen of its own, so that the terminal's is as it was in the end.
func (p *picture) View() tea.View {
	v := tea.NewView(p.shown)
	v.AltScreen = true
	return v
}
