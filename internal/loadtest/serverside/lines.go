package serverside

import (
	"bytes"
	"io"
)

// mostLine is how many bytes a line may have, its end included. The daemon's are far shorter, stacks and all.
const mostLine = 64 << 10

// lines cuts what is read into lines, in memory that does not grow. What is left of a line that has not ended is kept for
// the next read, since whoever writes may be in the middle of it.
type lines struct {
	room []byte // of mostLine bytes
	held int    // of them, which are the beginning of a line
	skip bool   // what is read is the rest of a line that is passed over
	long uint64 // lines that were passed over, since they have no room
}

func newLines() *lines { return &lines{room: make([]byte, mostLine)} }

// read reads once from r, and hands over each line that ends there, without its end. The line is good until then.
func (l *lines) read(r io.Reader, line func([]byte)) (n int, err error) {
	n, err = r.Read(l.room[l.held:])
	rest := l.room[:l.held+n]
	for {
		whole, after, ended := bytes.Cut(rest, []byte{'\n'})
		if !ended {
			break
		}
		if !l.skip {
			line(whole)
		}
		l.skip, rest = false, after
	}
	if len(rest) == mostLine && !l.skip {
		l.skip = true
		l.long++
	}
	if l.skip {
		rest = nil
	}
	l.held = copy(l.room, rest)
	return n, err
}
