package report

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Server is what the daemon itself told of its calls while a load lasted. It can be less than the whole, and more: compare
// Calls with Measured, and read Notes.
type Server struct {
	Source   ServerSource   `json:"source"`
	Calls    uint64         `json:"calls"`             // that the stages are of
	Measured uint64         `json:"measured"`          // that the tool made and that may have reached the daemon
	Others   uint64         `json:"others,omitempty"`  // of other methods or sources, in the log at the same time; left out
	Dropped  uint64         `json:"dropped,omitempty"` // lines that the daemon left out of its log, be they of calls or not
	Unread   uint64         `json:"unread,omitempty"`  // lines of the log that are none of its schema
	Stages   []ServerStage  `json:"stages,omitempty"`  // of all those calls; left out if there are none
	Methods  []ServerMethod `json:"methods,omitempty"` // by name
	Notes    []string       `json:"notes,omitempty"`   // for people: why it is not what it should be
}

// ServerSource is where it was told.
type ServerSource string

// The sources.
const (
	ServerLog     ServerSource = "log"     // a line for each call, to the microsecond
	ServerMetrics ServerSource = "metrics" // buckets: percentiles and max are the upper bounds of those that they are in
)

// ServerMethod is the calls of one method.
type ServerMethod struct {
	Name     string        `json:"name"`
	Calls    uint64        `json:"calls"`
	Measured uint64        `json:"measured"`
	Stages   []ServerStage `json:"stages,omitempty"`
}

// ServerStage is how long calls were at one stage. Zero is less than a microsecond; or, if Count is zero, nothing; or,
// in metrics, more than the highest bound.
type ServerStage struct {
	Stage string  `json:"stage"` // one of ServerStages
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_us"`
	Times
}

// ServerStages are the stages in the order of a call, and their total. A call that is refused is not at all of them.
var ServerStages = []string{"read", "sanitize", "permission", "action", "reply", "total"}

// Title is what it is, and how much of it there is.
func (s Server) Title() string {
	title := fmt.Sprintf("the daemon's %s: %d calls, of %d measured", s.Source, s.Calls, s.Measured)
	if s.Source == ServerMetrics {
		title += "; times are upper bounds"
	}
	return title
}

// Outside is by how much what clients found, as client has it, is more than the daemon's own total. It is a difference of
// percentiles, since nothing tells which line belongs to which call. ok: there is such a thing, which bounds do not have.
func (s Server) Outside(client Times, stages []ServerStage) (p50, p99 float64, ok bool) {
	if s.Source != ServerLog || len(stages) == 0 || client.Max == 0 {
		return 0, 0, false
	}
	t := stages[len(stages)-1]
	return max(0, client.P50-t.P50), max(0, client.P99-t.P99), true
}

// summarize writes s for people, below the figures of clients.
func (s Server) summarize(b *strings.Builder, client Times) {
	fmt.Fprintln(b, s.Title())
	if len(s.Stages) > 0 {
		t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "\tp50\tp90\tp99\tp99.9\tmax\t")
		for _, x := range s.Stages {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Stage, s.span(x.P50), s.span(x.P90), s.span(x.P99), s.span(x.P999), s.span(x.Max))
		}
		_ = t.Flush() // a strings.Builder takes everything
	}
	if p50, p99, ok := s.Outside(client, s.Stages); ok {
		fmt.Fprintf(b, "outside of the daemon: p50 is %s more than its total, p99 %s: %s\n", s.span(p50), s.span(p99), outside)
	}
	for _, note := range s.Notes {
		fmt.Fprintf(b, "note: %s\n", note)
	}
}

// serverTable is a Server as the page has it.
type serverTable struct {
	Server
	Where string
	Rows  []serverRow // of all methods, and of each
}

// serverRow is the calls of a method.
type serverRow struct {
	Name     string
	Stages   []ServerStage
	P50, P99 float64 // outside of the daemon
	Has      bool    // those
}

func (d Document) serverTables() (tables []serverTable) {
	client := map[string]Times{}
	for _, g := range d.Groups {
		if g.By == Method {
			client[g.Name] = g.Times
		}
	}
	for _, s := range d.Server {
		t := serverTable{Server: s, Where: outside}
		add := func(name string, stages []ServerStage, client Times) {
			row := serverRow{Name: name, Stages: stages}
			row.P50, row.P99, row.Has = s.Outside(client, stages)
			t.Rows = append(t.Rows, row)
		}
		add("all", s.Stages, d.Overall.Times)
		for _, m := range s.Methods {
			add(m.Name, m.Stages, client[m.Name])
		}
		tables = append(tables, t)
	}
	return tables
}

// Span is a time for people, as Server has it.
func (t serverTable) Span(micros float64) string { return t.span(micros) }

// Spans are the times of a stage for people, its mean first.
func (t serverTable) Spans(s ServerStage) (texts []string) {
	for _, micros := range []float64{s.Mean, s.P50, s.P90, s.P99, s.P999, s.P9999, s.Max} {
		texts = append(texts, t.span(micros))
	}
	return texts
}

// check says what is wrong with what was read.
func (s Server) check() error {
	if s.Source != ServerLog && s.Source != ServerMetrics {
		return fmt.Errorf("source: expected %s or %s", ServerLog, ServerMetrics)
	}
	for _, m := range append(s.Methods, ServerMethod{Stages: s.Stages}) {
		for i, x := range m.Stages {
			if len(m.Stages) != len(ServerStages) || x.Stage != ServerStages[i] {
				return fmt.Errorf("stages: expected %v", ServerStages)
			}
		}
	}
	return nil
}

// outside is what calls do there.
const outside = "late in the tool, queueing at the socket, waiting for a processor"

// span is a time for people, as Server has it.
func (s Server) span(micros float64) string {
	switch {
	case micros > 0:
		return Span(micros)
	case s.Source == ServerMetrics:
		return "-"
	}
	return "< 1 µs"
}
