package live

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	sideBySide = 160 // columns, from which on lists are
	headed     = 12  // columns of a list's name
	counted    = 10  // columns of a number
)

// lists are the errors, the exceptions and the methods, as many of each as there is room for.
func (r *run) lists(width, rows int) []string {
	all, _ := r.soFar.Count()
	wrong := outcomes(r.soFar)
	for i := range wrong {
		wrong[i].note = share(wrong[i].count, all)
	}
	lists := [][]tally{wrong, exceptions(r.soFar), r.methods()}
	names := []string{"errors", "exceptions", "methods"}
	styles := []lipgloss.Style{bad, strong, strong}
	if width < sideBySide {
		longest := 0
		for i, n := range shared(lists, rows) {
			lists[i] = fewest(lists[i], n)
			longest = max(longest, widest(lists[i]))
		}
		var lines []string
		for i, l := range lists {
			lines = append(lines, listed(names[i], styles[i], l, longest, width)...)
		}
		return lines
	}
	const gap = 2
	var columns []string
	for i, l := range lists {
		l = fewest(l, rows)
		if lines := listed(names[i], styles[i], l, widest(l), width/len(lists)-gap); len(lines) > 0 {
			columns = append(columns, lipgloss.NewStyle().PaddingRight(gap).Render(strings.Join(lines, "\n")))
		}
	}
	if len(columns) == 0 {
		return nil
	}
	return strings.Split(lipgloss.JoinHorizontal(lipgloss.Top, columns...), "\n")
}

// shared gives each list as many of the rows as it needs, or, if they are too few, takes turns.
func shared(lists [][]tally, rows int) []int {
	given := make([]int, len(lists))
	for before := -1; rows > 0 && before != rows; {
		before = rows
		for i := range lists {
			if rows > 0 && given[i] < len(lists[i]) {
				given[i]++
				rows--
			}
		}
	}
	return given
}

// widest is how many columns the longest name has.
func widest(list []tally) (columns int) {
	for _, t := range list {
		columns = max(columns, ansi.StringWidth(t.name))
	}
	return columns
}

// listed are the lines of a list, the first with its name. Those of names have so many columns, if there is room.
func listed(name string, style lipgloss.Style, list []tally, columns, width int) (lines []string) {
	noted := 0
	for _, t := range list {
		noted = max(noted, len(t.note)+2)
	}
	if width < headed+columns+counted+noted {
		noted = 0 // there is no room for notes
	}
	columns = max(0, min(columns, width-headed-counted-noted))
	for i, t := range list {
		if i > 0 {
			name = ""
		}
		t.name = cut(t.name, columns)
		line := style.Render(fmt.Sprintf("%-*s", headed, name)) + t.name + strings.Repeat(" ", columns-ansi.StringWidth(t.name)) + fmt.Sprintf("%*d", counted, t.count)
		if noted > 0 {
			line += fmt.Sprintf("%*s", noted, t.note)
		}
		lines = append(lines, line)
	}
	return lines
}
