package twoworlds

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// timed is two requests that differ in a name alone: hidden is there and may not be seen, absent is not there.
type timed struct {
	method, where  string // what is called, and where the name is
	main           bool   // one method for each code path gets more samples
	hidden, absent request
}

// samples of each of the two are taken in one daemon, interleaved at random.
const (
	samplesOfMain   = 1_000_000
	samplesOfOthers = 100_000
	samplesOfSmoke  = 50
)

// absentName and absentID are as long as what is hidden, and differ from it in the first byte.
const (
	absentName = "brute"
	absentID   = "09e663cd-a765-4c11-ac33-66fb1bcea8c7"
)

// timings are the methods that a name can be tried with: six for the code paths in which one is looked up, and then every
// other that has a destination, and every other kind of thing that is named.
func timings() (all []timed) {
	pair := func(where string, main bool, method, dest, payload string) {
		with := func(name, id string) request {
			fill := strings.NewReplacer("{X}", name, "{ID}", id).Replace
			return request{source, fill(method), fill(dest), fill(payload)}
		}
		name, _, _ := strings.Cut(method, "+{")
		all = append(all, timed{name, where, main, with(hiddenName, hiddenID), with(absentName, absentID)})
	}
	pair("destination, by name", true, "admin.vm.List", "{X}", "")
	pair("destination, by UUID", true, "admin.vm.List", "uuid:{ID}", "")
	pair("destination, of which something is required", true, "dest.feat.Set+there", "{X}", "1")
	pair("template in the argument", true, "admin.vm.Create.AppVM+{X}", "dom0", "name=new label=red")
	pair("reference in the payload", true, "admin.vm.property.Set+netvm", "work", "{X}")
	pair("qube in a feature", true, "admin.vm.feature.Set+set-created-guivm", "mgmt", "{X}")
	timedByDest := map[string]bool{"admin.vm.List": true, "dest.feat.Set": true}
	for _, e := range methods.All() {
		if a := calls[e.Name]; e.Dest != stages.OnlyAdminVM && !timedByDest[e.Name] {
			pair("destination", false, call(e.Name, a.arg), "{X}", a.payload)
		}
	}
	pair("destination and payload", false, "admin.vm.property.Set+netvm", "{X}", "{X}")
	pair("reference of the system", false, "admin.property.Set+updatevm", "dom0", "{X}")
	pair("template and pool", false, "admin.vm.CreateInPool.AppVM+{X}", "dom0", "name=new label=red pool=varlibqubes")
	pair("label in the argument", false, "admin.label.Get+{X}", "dom0", "")
	pair("label in the payload", false, "admin.vm.property.Set+label", "work", "{X}")
	pair("label of a new qube", false, "admin.vm.Create.RemoteVM", "dom0", "name=new label={X}")
	pair("pool in the payload", false, "admin.property.Set+default_pool", "dom0", "{X}")
	pair("pool of a new qube", false, "admin.vm.CreateInPool.StandaloneVM", "dom0", "name=new label=red pool={X}")
	pair("kernel in the payload", false, "admin.vm.property.Set+kernel", "work", "{X}")
	return all
}

// number is how many samples are taken, of each of the two requests.
func (p timed) number() int {
	if os.Getenv("SALLYPORT_LONG") == "" {
		return samplesOfSmoke
	}
	if given, err := strconv.Atoi(os.Getenv("SALLYPORT_SAMPLES")); err == nil {
		return given
	}
	if p.main {
		return samplesOfMain
	}
	return samplesOfOthers
}

// TestTiming measures whether a name that is there and hidden takes another time than one that is not there. It decides
// nothing: with SALLYPORT_LONG=1 it reports Welch's t and the effect size (Cohen's d) of each method, of which |t| < 4.5 is
// the goal. SALLYPORT_SAMPLES is another number of samples for each, and -run TestTiming/METHOD measures some of them: with
// -v, each is reported as soon as it is known, so that a run can be broken off and gone on with.
func TestTiming(t *testing.T) {
	k := kind{qube: hiddenQubes[1].qube, label: hiddenLabel.label, pool: hiddenPool.pool, kernel: hiddenKernel.kernel}
	k.qube = strings.Replace(k.qube, "properties:", "features: {there: '1'}, properties:", 1)
	table := &strings.Builder{}
	columns := tabwriter.NewWriter(table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(columns, "method\twhere the name is\tsamples\tleft out\thidden µs\tabsent µs\tdifference ns\tt\td\t")
	measure := func(w *world, p timed) {
		t.Run(p.method+" "+p.where, func(t *testing.T) {
			n := p.number()
			began := time.Now()
			hidden, absent := w.measure(p, n)
			line := fmt.Sprintf("%s\t%s\t%d\t%.2f%%\t%.2f\t%.2f\t%.0f\t%.2f\t%.4f\t", p.method, p.where, n,
				100-50*(hidden.n+absent.n)/float64(n), hidden.mean/1e3, absent.mean/1e3, hidden.mean-absent.mean, welch(hidden, absent), cohen(hidden, absent))
			fmt.Fprintln(columns, line)
			t.Log(time.Since(began).Round(time.Second), strings.ReplaceAll(line, "\t", "  "))
		})
	}
	file := k.inventory(true) + crowd(1000)
	w := begin(t, options{inventory: file, judge: obeying(byTag), forgets: true})
	for _, p := range timings() {
		measure(w, p)
	}
	w.stop()
	// A policy that names the hidden one decides about it by another rule than about one that is absent.
	w = begin(t, options{inventory: file, judge: obeying(byName), forgets: true})
	for _, p := range timings() {
		if p.main {
			p.main, p.where = false, p.where+"; named by policy"
			measure(w, p)
		}
	}
	require.NoError(t, columns.Flush())
	if os.Getenv("SALLYPORT_LONG") != "" {
		t.Log("\n" + table.String())
	}
}

// crowd is other qubes that may be seen, so that what is looked up is not alone.
func crowd(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {name: crowd%d, class: AppVM, properties: {template: base, netvm: ''}, tags: [shown]}\n", i)
	}
	return b.String()
}

// measure takes n samples of each of two requests, one after the other, so that none waits for another. Samples that are far off, as when somebody else had the processor, say
// nothing about the path: of both, those above the same bound are left out.
func (w *world) measure(p timed, n int) (hidden, absent moments) {
	frames := [2][]byte{}
	for i, r := range []request{p.hidden, p.absent} {
		frames[i] = messages.FormatRequest(r.method, r.source, r.dest, []byte(r.payload))
		require.True(w.t, strings.HasPrefix(w.call(r), "2\x00"), "%+v is not refused, so that the next finds another system", r)
	}
	address := &net.UnixAddr{Name: w.socket(), Net: "unix"}
	buffer := make([]byte, 4096)
	once := func(frame []byte) time.Duration {
		began := time.Now()
		conn, err := net.DialUnix("unix", nil, address)
		require.NoError(w.t, err)
		_, err = conn.Write(frame)
		require.NoError(w.t, err)
		require.NoError(w.t, conn.CloseWrite())
		for err == nil {
			_, err = conn.Read(buffer)
		}
		took := time.Since(began)
		require.ErrorIs(w.t, err, io.EOF)
		require.NoError(w.t, conn.Close())
		return took
	}
	first := make([]float64, 0, 400) // which are to warm up as well
	for i := range min(cap(first), 2*n) {
		first = append(first, float64(once(frames[i%2])))
	}
	bound := 3 * median(first)
	results := [2]*moments{&hidden, &absent}
	for range n {
		which := rand.IntN(2) // who is first has the colder caches
		for range 2 {
			if took := float64(once(frames[which])); took < bound {
				results[which].add(took)
			}
			which = 1 - which
		}
	}
	return hidden, absent
}

// moments are of samples, by Welford's way.
type moments struct{ n, mean, squares float64 }

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / m.n
	m.squares += d * (x - m.mean)
}

func (m moments) variance() float64 { return m.squares / (m.n - 1) }

// welch is Welch's t.
func welch(a, b moments) float64 {
	return (a.mean - b.mean) / math.Sqrt(a.variance()/a.n+b.variance()/b.n)
}

// cohen is Cohen's d: the difference in standard deviations.
func cohen(a, b moments) float64 {
	return (a.mean - b.mean) / math.Sqrt((a.variance()+b.variance())/2)
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}
