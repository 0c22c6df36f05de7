// Package terms is what the processes of the benchmark agree on: which qubes there are, what their one feature holds,
// and the line in which a load generator reports. The servers under test never see it, but for the plain one, which
// makes its map from it.
package terms

import "fmt"

// Feature is the feature that every qube of the benchmark has.
const Feature = "bench"

// Qube is the name of qube i.
func Qube(i int) string { return fmt.Sprintf("qube-%05d", i) }

// Value is what the Feature of qube i holds.
func Value(i int) string { return fmt.Sprintf("value-of-%05d", i) }

// Request is a whole request of dom0 (spec: wire.md 2). call is a method, or METHOD+ARGUMENT.
func Request(call, dest string) []byte { return RequestOf("dom0", call, dest) }

// RequestOf is one of another source.
func RequestOf(source, call, dest string) []byte {
	return []byte(call + " " + source + " name " + dest + "\x00")
}

// What is asked: the list of all qubes, and all events.
var (
	List   = Request("admin.vm.List+", "dom0")
	Events = Request("admin.Events+", "dom0")
)

// GetAll asks for the properties of qube i.
func GetAll(i int) []byte { return Request("admin.vm.property.GetAll+", Qube(i)) }

// Start asks to start qube i.
func Start(i int) []byte { return Request("admin.vm.Start+", Qube(i)) }

// Replies are what a server is to answer, by the whole request. The plain server reads them from a file, as JSON: it
// sends the bytes that another server would.
type Replies map[string][]byte

// Changes is what the load generator reads in mode events, one JSON object on a line: how many changes to make, one
// after the other, and how many bytes each value has.
type Changes struct {
	Count int `json:"count"`
	Size  int `json:"size"`
}

// Load is a load generator's report, one JSON object on one line. Times are nanoseconds.
type Load struct {
	Mode    string `json:"mode"`
	Workers int    `json:"workers"`
	Threads int    `json:"threads,omitempty"`

	Calls     uint64  `json:"calls"`      // answered rightly, within the measured time; ls: whole rounds; events: changes
	Total     uint64  `json:"total"`      // all calls, with warm-up, drain and read-back
	Seconds   float64 `json:"seconds"`    // the measured time
	PerSecond float64 `json:"per_second"` // Calls / Seconds

	P50  int64 `json:"p50"` // from before socket() to after close(); ls: of a round; events: until the last subscriber has read
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`

	Open    int    `json:"open,omitempty"`    // idle: connections held; events: subscribers that read
	Cut     int    `json:"cut,omitempty"`     // events: subscribers that do not read, and were cut off
	Retries uint64 `json:"retries,omitempty"` // connects that found the backlog full, and tried again
	CPU     int64  `json:"cpu"`               // of the load generator, per call

	Wrong      uint64 `json:"wrong"`                 // answers that were wrong or missing
	FirstWrong string `json:"first_wrong,omitempty"` // what was wrong with the first
}
