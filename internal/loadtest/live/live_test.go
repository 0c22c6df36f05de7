package live

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/testpty"
)

func TestMain(m *testing.M) {
	if who := os.Getenv(panics); who != "" {
		panicked(who)
		return
	}
	goleak.VerifyTestMain(m)
}

var update = flag.Bool("update", false, "write testdata/*.golden")

// mornings has a ramp, a warm-up, and more than one call.
var mornings = &scenario.Scenario{
	Name: "mornings at work", Target: scenario.Target{Socket: "/run/sallyport/qubesd.sock"},
	Warmup: 2 * time.Second, MaxLag: time.Millisecond,
	Load: scenario.Load{Stages: []scenario.Stage{{Name: "ramp", From: 100, To: 2000, For: 20 * time.Second}, {From: 2000, To: 2000, For: time.Minute}}},
}

// second is what a look in that second tells: as many calls as the stage has, one in ten of which fails, and slower ones each.
func second(n int) drive.Progress {
	r := measure.NewRecorder(0)
	calls := 50 + 95*n
	for i := range calls {
		k := measure.Key{Method: "admin.vm.feature.Get", Outcome: measure.OK}
		switch {
		case i%10 == 1:
			k = measure.Key{Method: "admin.vm.Start", Outcome: measure.Unexpected, Type: "QubesVMNotFoundError"}
		case i%50 == 2:
			k = measure.Key{Method: "admin.vm.List", Outcome: measure.Timeout}
		}
		r.Begun(0, time.Duration(i)*time.Microsecond/10)
		r.Add(k, measure.Sample{Done: time.Duration(n*i) * time.Microsecond})
	}
	return drive.Progress{At: time.Duration(n) * time.Second, Of: 80 * time.Second, InFlight: n, Recent: r.Recent(), Counts: r.Counts()}
}

// at is the run after so many seconds.
func at(seconds int) *run {
	r := newRun(mornings)
	for n := range seconds {
		r.add(second(n + 1))
	}
	return r
}

// TestPictures are in testdata, without their colours, so that they show that these are never the only sign; run with
// -update to write them.
func TestPictures(t *testing.T) {
	late := at(23)
	late.now.Invalid = []string{"the tool was the bottleneck: 99.9 % of calls began up to 2.3ms late, and max_lag is 1ms", "12 calls were never begun, since max_in_flight is 4096"}
	late.now.Recent.Lag = 3 * time.Millisecond
	workers := newRun(&scenario.Scenario{Name: "workers", Target: scenario.Target{Addr: "work:4711"}, MaxLag: time.Second,
		Load: scenario.Load{Closed: true, Stages: []scenario.Stage{{From: 16, To: 16, For: 80 * time.Second}}}})
	workers.add(second(1))
	for name, p := range map[string]struct {
		run           *run
		width, height int
		paused        bool
	}{
		"begun": {at(0), 80, 24, false}, "warmup": {at(2), 80, 24, false}, "usual": {at(19), 80, 24, false}, "wide": {at(19), 170, 30, true},
		"narrow": {at(19), 40, 24, false}, "low": {at(19), 80, 9, false}, "invalid": {late, 80, 24, false}, "workers": {workers, 80, 24, false},
	} {
		drawn := regexp.MustCompile(` +\n`).ReplaceAllString(ansi.Strip(p.run.draw(p.width, p.height, p.paused))+"\n", "\n")
		file := filepath.Join("testdata", name+".golden")
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(drawn), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, string(want), drawn, name)
	}
}

// TestWarmupIsApart: what ended in the warm-up is shown until it is over, and then no more.
func TestWarmupIsApart(t *testing.T) {
	for seconds, want := range map[int]uint64{1: 145, 2: 145 + 240, 3: 335, 4: 335 + 430} {
		r := at(seconds)
		all, _ := r.soFar.Count()
		assert.Equal(t, want, all, "after %d s", seconds)
		assert.Equal(t, seconds < 3, r.warm)
	}
}

// TestNothingGrows with the length of a run.
func TestNothingGrows(t *testing.T) {
	r, p := newRun(mornings), second(1)
	for range 3 * mostPoints {
		r.add(p)
	}
	assert.Len(t, r.rates, mostPoints)
	assert.Len(t, r.slow, mostPoints)
}

// sgr are the only sequences of a terminal that a picture has: how text looks.
var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// TestPicturesFit: whatever the size of the terminal, and whatever names a server, a scenario or a method has, a picture is
// no wider and no higher, in either way in which terminals count columns, and none of it is for the terminal to obey.
func TestPicturesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		evil := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"\x1b]0;evil\x07", "\x1b[2J", "a\r\nb", strings.Repeat("x", 300), strings.Repeat("字", 40), "e\u0301\u0301", "\u202eevil", "👩‍👩‍👧", "❤️❤️❤️", "🇩🇪🇩🇪🇩🇪", strings.Repeat("1\ufe0f\u20e3", 30), "\x9b2J", "กำำำ", "\u1100\u1161",
		}))
		s := &scenario.Scenario{
			Name: evil.Draw(t, "name"), Target: scenario.Target{Addr: evil.Draw(t, "target")}, Warmup: time.Duration(rapid.IntRange(0, 5).Draw(t, "warmup")) * time.Second,
			Load: scenario.Load{Closed: rapid.Bool().Draw(t, "closed"), Stages: []scenario.Stage{{Name: evil.Draw(t, "stage"), From: 1e7, To: rapid.Float64Range(0, 1e7).Draw(t, "to"), For: time.Hour}}},
		}
		r := newRun(s)
		for second := range rapid.IntRange(0, 8).Draw(t, "seconds") {
			p := drive.Progress{At: time.Duration(second+1) * time.Second, Of: time.Hour, InFlight: second, Recent: measure.NewWindow(0, 0), Counts: map[measure.Key]uint64{}}
			p.Recent.Lag = time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "lag"))
			for range rapid.IntRange(0, 10).Draw(t, "calls") {
				k := measure.Key{Method: evil.Draw(t, "method"), Type: evil.Draw(t, "type"), Outcome: rapid.SampledFrom(measure.Outcomes).Draw(t, "outcome")}
				n := rapid.Uint64Range(1, 1<<40).Draw(t, "count")
				p.Counts[k] += n
				p.Recent.Counts[k.Outcome] += n
				p.Recent.Types[k.Type] += n
				_ = p.Recent.Total.RecordValue(rapid.Int64Range(0, int64(measure.Highest)).Draw(t, "time"))
			}
			p.Invalid = rapid.SliceOfN(rapid.SampledFrom([]string{"short", strings.Repeat("long ", 60), strings.Repeat("l", 300)}), 0, 3).Draw(t, "invalid")
			r.add(p)
		}
		width, height := rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		picture := r.draw(width, height, rapid.Bool().Draw(t, "paused"))
		lines := strings.Split(picture, "\n")
		require.LessOrEqual(t, len(lines), height)
		for _, line := range lines {
			require.LessOrEqual(t, ansi.StringWidth(line), width, "%q", line)
			require.LessOrEqual(t, ansi.StringWidthWc(line), width, "%q", line)
			for _, c := range sgr.ReplaceAllString(line, "") {
				require.True(t, unicode.IsPrint(c), "%q", line)
			}
		}
	})
}

// TestLines: errors are told with their types, as far as these may be shown.
func TestLines(t *testing.T) {
	var b bytes.Buffer
	fine := drive.Progress{At: 1001 * time.Millisecond, Of: 80 * time.Second, InFlight: 3, Recent: measure.NewWindow(0, 0)}
	fine.Recent.Counts[measure.OK] = 7
	_ = fine.Recent.Total.RecordValue(int64(5 * time.Millisecond))
	writeLine(&b, fine)
	p := second(12)
	p.Recent.Types["\x1b]0;evil\x07"] = 1
	for n := range 9 {
		p.Recent.Types[fmt.Sprint("Rare", n)] = 2
	}
	writeLine(&b, p)
	assert.Equal(t, `  1 of 80 s: 7 calls/s, 0 errors, p50 5.01 ms, p99 5.01 ms, 3 under way
 12 of 80 s: 1190 calls/s, 143 errors, p50 7.14 ms, p99 14.2 ms, 12 under way; unexpected 119, timeout 24; exceptions: QubesVMNotFoundError 119, Rare0 2, Rare1 2, Rare2 2, (7 more) 13
`, b.String())
}

// options are those of a run that somebody looks at.
func options(terminal *testpty.Terminal, end func()) Options {
	return Options{In: terminal.File, Out: terminal.File, Env: func(string) string { return "xterm-256color" }, End: end}
}

// TestKeys: p holds the picture, until it is pressed again; q ends the run.
func TestKeys(t *testing.T) {
	terminal := testpty.Open(t, 80, 24)
	before, ended := terminal.Modes(t), make(chan struct{})
	v := Start(mornings, options(terminal, func() { close(ended) }))
	v.Progress(second(1))
	terminal.Await(t, "1s of 1m20s")
	assert.NotEqual(t, before, terminal.Modes(t))
	terminal.Press(t, "p")
	terminal.Await(t, "paused")
	v.Progress(second(2))
	v.Progress(second(3))
	require.Eventually(t, func() bool { return len(v.news) == 0 }, time.Minute, time.Millisecond)
	time.Sleep(2 * time.Second / perSecond) // in which it would be drawn
	held := terminal.Output()
	terminal.Press(t, "p")
	require.Eventually(t, func() bool { return len(terminal.Output()) > len(held) }, time.Minute, time.Millisecond)
	assert.NotContains(t, held, "335/s")
	terminal.Await(t, "335") // all of those that came meanwhile are shown
	terminal.Press(t, "q")
	<-ended
	v.Close()
	v.Close()
	assert.Equal(t, before, terminal.Modes(t))
	v.Progress(second(4))
	_, err := terminal.File.WriteString("and what comes then")
	require.NoError(t, err)
	terminal.Await(t, "and what comes then")
	_, left, _ := strings.Cut(terminal.Output(), "\x1b[?1049l")
	assert.NotContains(t, left, "1049h", "the screen is what it was")
	assert.NotContains(t, left, "of 80 s", "it is over")
}

// TestAStoppedTerminalStopsNothing, be it that of a picture or of lines: who measures does not wait for it, and in the end
// its modes are what they were.
func TestAStoppedTerminalStopsNothing(t *testing.T) {
	for plain, shown := range map[bool]string{false: "as expected", true: "under way"} {
		terminal := testpty.Open(t, 200, 60)
		before := terminal.Modes(t)
		o := options(terminal, func() {})
		o.Plain = plain
		v := Start(mornings, o)
		v.Progress(second(1))
		terminal.Await(t, shown)
		terminal.Stop(t)
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			for n := range 5 {
				v.Progress(second(n + 2))
				time.Sleep(time.Second / perSecond) // in which it would be drawn
			}
		}()
		select {
		case <-looked:
		case <-time.After(time.Minute):
			require.Fail(t, "a look waits for the terminal", "plain: %v", plain)
		}
		began := time.Now()
		v.Close()
		assert.GreaterOrEqual(t, time.Since(began), patience, "the terminal was not stopped")
		assert.Equal(t, before, terminal.Modes(t))
		terminal.Go(t)
		<-v.told
	}
}

// TestTheLastLineIsWritten before Close returns, in a file, too.
func TestTheLastLineIsWritten(t *testing.T) {
	for range 100 {
		file, err := os.Create(filepath.Join(t.TempDir(), "file"))
		require.NoError(t, err)
		v := Start(mornings, Options{In: file, Out: file, Env: os.Getenv})
		v.Progress(second(1))
		v.Close()
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		assert.Contains(t, string(text), "1 of 80 s: 145 calls/s")
		require.NoError(t, file.Close())
	}
}

// panics, in the environment, makes the test a process in which the picture or the load panics.
const panics = "LIVE_PANICS"

func panicked(who string) {
	s := &scenario.Scenario{Target: scenario.Target{Socket: "nosuch"}, MaxInFlight: 1, Mix: []scenario.Item{{Weight: 1}}} // an item of no call
	if who == "load" {
		s.Load.Stages = []scenario.Stage{{To: 100, For: 20 * time.Second}} // so that the picture is there first
	}
	v := Start(s, Options{In: os.Stdin, Out: os.Stderr, Env: os.Getenv})
	if who == "picture" { // there is no stage that it could show
		<-v.ended
		v.Progress(second(1))
		v.Close()
		return
	}
	_, _ = drive.Run(context.Background(), s, drive.Options{Progress: v.Progress, Crashed: v.Close})
}

// TestPanics: a picture that panics costs the picture, and not the run; a load that does ends the process. The terminal is
// what it was in any case.
func TestPanics(t *testing.T) {
	for who, last := range map[string]string{"picture": "1 of 80 s: 145 calls/s", "load": "index out of range"} {
		terminal := testpty.Open(t, 80, 24)
		before := terminal.Modes(t)
		tool := exec.Command(os.Args[0])
		tool.Env = append(os.Environ(), panics+"="+who, "TERM=xterm")
		tool.Stdin, tool.Stderr = terminal.File, terminal.File
		tool.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		err := tool.Run()
		assert.Equal(t, who == "picture", err == nil, "%s: %v: %s", who, err, terminal.Output())
		assert.Equal(t, before, terminal.Modes(t), who)
		terminal.Await(t, last)
		out := terminal.Output()
		assert.Contains(t, out, "out of range", who)
		assert.Equal(t, strings.Contains(out, "\x1b[?1049h"), strings.Contains(out, "\x1b[?1049l"), who)
		assert.Greater(t, strings.LastIndex(out, last), strings.LastIndex(out, "\x1b[?1049l"), who)
	}
}

// TestWhereLinesAre: no picture is drawn where none can be seen.
func TestWhereLinesAre(t *testing.T) {
	terminal := testpty.Open(t, 80, 24)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	assert.True(t, drawable(terminal.File, "xterm"))
	assert.False(t, drawable(terminal.File, "dumb"))
	assert.False(t, drawable(terminal.File, ""))
	assert.False(t, drawable(file, "xterm"))
	o := options(terminal, func() {})
	o.Plain = true
	v := Start(mornings, o)
	v.Progress(second(1))
	terminal.Await(t, "under way; unexpected 15, timeout 3; exceptions: QubesVMNotFoundError 15")
	v.Close()
	assert.NotContains(t, terminal.Output(), "\x1b")
}

// BenchmarkPicture is what a look at a run costs, but for the terminal.
func BenchmarkPicture(b *testing.B) {
	r, p := at(19), second(20)
	b.ReportAllocs()
	for b.Loop() {
		r.add(p)
		r.draw(80, 24, false)
	}
}
