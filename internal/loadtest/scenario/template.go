package scenario

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync/atomic"
)

// Template makes a field of a call: text, with variables in it. The zero Template is empty.
type Template struct{ parts []part }

// part is text, or a variable and which of its columns.
type part struct {
	text   string
	of     *Variable
	column int
}

// Text is a template without variables.
func Text(s string) Template {
	if s == "" {
		return Template{}
	}
	return Template{[]part{{text: s}}}
}

// Append appends what t makes for the arrival that a draw is for.
func (t Template) Append(b []byte, d *Draw) []byte {
	for i := range t.parts {
		switch p := &t.parts[i]; {
		case p.of == nil:
			b = append(b, p.text...)
		case p.of.reply != nil:
			b = append(b, d.kept[p.of.index]...)
		default:
			b = p.of.append(b, p.column, d.value(p.of))
		}
	}
	return b
}

// Variable is what differs from arrival to arrival. It is safe for concurrent use.
type Variable struct {
	index   int        // among the scenario's
	columns []string   // of rows, by name; nil: there is one, without a name
	rows    [][]string // to choose from; nil: numbers
	from    int64
	span    uint64 // how many numbers; 0: without end
	inOrder bool
	reply   *regexp.Regexp // what is kept of a reply; nil: it is drawn
	next    atomic.Uint64
}

func (v *Variable) draw(d *Draw) uint64 {
	of := v.span
	if v.rows != nil {
		of = uint64(len(v.rows))
	}
	if !v.inOrder {
		return d.random.Uint64N(of)
	}
	next := d.part + d.of*(v.next.Add(1)-1)
	if of == 0 {
		return next
	}
	return next % of
}

func (v *Variable) append(b []byte, column int, drawn uint64) []byte {
	if v.rows != nil {
		return append(b, v.rows[drawn][column]...)
	}
	return strconv.AppendInt(b, v.from+int64(drawn), 10)
}

// Draw is what the variables are for one arrival: the same in all fields of all its calls. It is for one goroutine, and
// is used again for the next arrival after Next.
type Draw struct {
	random   *rand.Rand
	drawn    []uint64
	known    []bool
	kept     [][]byte // from replies
	part, of uint64   // which of all the values in order are for this machine: each of'th, from part on
}

// NewDraw makes the Draw of one thread of a driver.
func (s *Scenario) NewDraw(thread int) *Draw {
	n := len(s.variables)
	return &Draw{rand.New(rand.NewPCG(s.Seed, uint64(thread))), make([]uint64, n), make([]bool, n), make([][]byte, n), 0, 1}
}

// Share has d give each of'th value only of what is drawn in order, beginning with the one of index part: several machines,
// each with a part of its own, give each value once. All Draws of a machine have the same share, and each, over all machines, a
// thread of its own, so that no two have the same chance.
func (d *Draw) Share(part, of int) *Draw {
	d.part, d.of = uint64(part), uint64(of)
	return d
}

// Next forgets what was drawn, and what was kept.
func (d *Draw) Next() {
	clear(d.known)
	for i := range d.kept {
		d.kept[i] = d.kept[i][:0]
	}
}

// keep keeps what v has of a reply's content: nothing, if that does not match.
func (d *Draw) keep(v *Variable, content []byte) {
	var found []byte
	if m := v.reply.FindSubmatch(content); m != nil {
		found = m[len(m)-1] // the group; without one, all that matched
	}
	d.kept[v.index] = append(d.kept[v.index][:0], found[:min(len(found), mostKept)]...)
}

// Random is for other choices of that arrival.
func (d *Draw) Random() *rand.Rand { return d.random }

func (d *Draw) value(v *Variable) uint64 {
	if !d.known[v.index] {
		d.known[v.index], d.drawn[v.index] = true, v.draw(d)
	}
	return d.drawn[v.index]
}

// Fork makes another Draw for the same goroutine, which shares nothing with d but its chance.
func (d *Draw) Fork() *Draw {
	return &Draw{d.random, make([]uint64, len(d.drawn)), make([]bool, len(d.known)), make([][]byte, len(d.kept)), d.part, d.of}
}
