package serverside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/telemetry"
)

// Log is a daemon's log, read from where it ended when it was opened. One goroutine uses it at a time.
type Log struct {
	path string
	file *os.File
	from int64  // where it ended
	mark []byte // what was before that, by which a file is known that was emptied and has grown again
}

// mostMark is more than one line of a call, whose time to the nanosecond there is only once.
const mostMark = 1024

// OpenLog opens the log that a daemon is writing. An error says what was expected. Whoever opens it closes it.
func OpenLog(path string) (*Log, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("expected the file that the daemon writes its log to: %w", err)
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for its writer
		return nil, fmt.Errorf("expected the file that the daemon writes its log to: %s is no file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("expected the file that the daemon writes its log to: %w", err)
	}
	l := &Log{path: path, file: file}
	if l.from, err = file.Seek(0, io.SeekEnd); err == nil {
		l.mark = make([]byte, min(l.from, mostMark))
		_, err = file.ReadAt(l.mark, l.from-int64(len(l.mark)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the daemon's log: %w", err), file.Close())
	}
	return l, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

const (
	lateness = 2 * time.Second       // of lines, at most: a daemon keeps them for half a second
	look     = 50 * time.Millisecond // between looks at the file
	readFor  = 2 * time.Minute       // however long the file is: some 15 million lines
)

// Join reads what the log says of a run that is over, and waits for lines that are late, unless it has exactly the calls
// that were measured. Lines count that are of a method and source of the run, and of a call that came after it began, by
// the clock that daemon and tool share, being on one machine. So calls count that another client made in the same name at
// the same time; and of those that came just when the warm-up was over, a few may count on one side alone. A log that was
// replaced or emptied meanwhile is not joined. If ctx ends, what was read until then is.
func (l *Log) Join(ctx context.Context, r *measure.Result) report.Server {
	t := &tally{from: r.Began, to: time.Now().Add(lateness), measured: measuredOf(r), found: map[string][]histogram{}}
	if err := l.follow(ctx, t); err != nil {
		return nothing(report.ServerLog, t.measured, "the daemon's log "+l.path, err)
	}
	return t.server()
}

// follow reads lines until they are whole, or late.
func (l *Log) follow(ctx context.Context, t *tally) error {
	ended, at, lines := time.Now(), l.from, newLines()
	lines.skip = len(l.mark) > 0 && l.mark[len(l.mark)-1] != '\n' // it was opened in the middle of a line
	if err := l.changed(at); err != nil {
		return err
	}
	for {
		n, err := lines.read(l.file, t.line)
		at += int64(n)
		if err != nil && err != io.EOF {
			return err
		}
		halt := ctx.Err() != nil || time.Since(ended) >= readFor
		if err == nil && !halt {
			continue
		}
		if err := l.changed(at); err != nil {
			return err
		}
		if whole := t.whole(); whole || halt || time.Since(ended) >= lateness {
			t.unread, t.halted = t.unread+lines.long, halt && !whole
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

// changed says how the file is no more what it was, after it was read up to at.
func (l *Log) changed(at int64) error {
	now, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	was, err := l.file.Stat()
	if err != nil {
		return err
	}
	mark := make([]byte, len(l.mark))
	switch _, err := l.file.ReadAt(mark, l.from-int64(len(mark))); {
	case !os.SameFile(now, was):
		return errors.New("the file was replaced while the load lasted")
	case was.Size() < at || err == io.EOF || err == nil && !bytes.Equal(mark, l.mark):
		return errors.New("the file was emptied while the load lasted")
	default:
		return err
	}
}

// line is what counts of a line. Its names are those of telemetry. Where a stage is -1, the line has none.
type line struct {
	Time   time.Time       `json:"timestamp"`
	Event  telemetry.Event `json:"event.name"`
	Schema int             `json:"sallyport.schema"`
	Count  int64           `json:"sallyport.count"`
	Method string          `json:"rpc.method"`
	Source string          `json:"sallyport.source"`

	Read       int64 `json:"sallyport.stage.read_us"`
	Sanitize   int64 `json:"sallyport.stage.sanitize_us"`
	Permission int64 `json:"sallyport.stage.permission_us"`
	Action     int64 `json:"sallyport.stage.action_us"`
	Reply      int64 `json:"sallyport.stage.reply_us"`
	Total      int64 `json:"sallyport.duration_us"`
}

// stages are those of a call, in the order of report.ServerStages.
func (x *line) stages() [6]int64 {
	return [...]int64{x.Read, x.Sanitize, x.Permission, x.Action, x.Reply, x.Total}
}

// longest is how long a stage may be, which a stream is for weeks.
const longest = int64(365 * 24 * time.Hour / time.Microsecond)

// tally is what lines come to.
type tally struct {
	from, to                time.Time // of the beginning of calls
	measured                map[string]*method
	found                   map[string][]histogram // by method, by stage
	others, dropped, unread uint64
	restarts                int
	foreign                 bool // what is read is of another schema than ours
	halted                  bool // there was more to read than there was time for
}

func (t *tally) line(text []byte) {
	x := line{Read: -1, Sanitize: -1, Permission: -1, Action: -1, Reply: -1, Total: -1}
	if json.Unmarshal(text, &x) != nil || x.Event == "" || x.Time.IsZero() {
		t.unread++
		return
	}
	if x.Event == telemetry.Ready {
		t.restarts++
		t.foreign = x.Schema != telemetry.SchemaVersion
	}
	if t.foreign {
		t.unread++
		return
	}
	switch x.Event {
	case telemetry.RequestDone, telemetry.RequestDenied:
		t.call(&x)
	case telemetry.LogDropped:
		if x.Time.After(t.from) && x.Count > 0 {
			t.dropped += uint64(x.Count)
		}
	}
}

func (t *tally) call(x *line) {
	for _, micros := range x.stages() {
		if micros < 0 || micros > longest {
			t.unread++
			return
		}
	}
	if began := x.Time.Add(-time.Duration(x.Total) * time.Microsecond); began.Before(t.from) || began.After(t.to) {
		return
	}
	m := t.measured[x.Method]
	if m == nil || x.Source != "" && !m.sources[x.Source] { // one that does not exist is in no line
		t.others++
		return
	}
	all := t.found[x.Method]
	if all == nil {
		for range report.ServerStages {
			all = append(all, newHistogram())
		}
		t.found[x.Method] = all
	}
	for i, micros := range x.stages() {
		all[i].add(micros)
	}
}

// calls are how many were found of a method.
func (t *tally) calls(method string) (n uint64) {
	if all := t.found[method]; all != nil {
		n = uint64(all[0].TotalCount())
	}
	return n
}

// whole reports whether the log has each call that was measured, and no other.
func (t *tally) whole() bool {
	for name, m := range t.measured {
		if t.calls(name) != m.measured {
			return false
		}
	}
	return true
}

func (t *tally) server() report.Server {
	s := serverOf(report.ServerLog, t.measured, t.found)
	s.Others, s.Dropped, s.Unread = t.others, t.dropped, t.unread
	note := func(told bool, format string, args ...any) {
		if told {
			s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
		}
	}
	note(s.Calls == 0 && s.Measured > 0, "the log has no line of these calls: a daemon writes them with --log-level info (or debug) and --log-format json; or it is the log of another daemon")
	note(t.halted, "the log was not read to its end")
	note(t.restarts > 0, "the daemon was started again while the load lasted")
	note(s.Dropped > 0, "the daemon left out %d lines, since its log was written too slowly or had reached log_lines_per_second", s.Dropped)
	note(s.Unread > 0, "%d lines of the log could not be read, since they are no lines of its schema, version %d", s.Unread, telemetry.SchemaVersion)
	note(s.Others > 0, "%d calls of other methods or sources are left out", s.Others)
	return s
}
