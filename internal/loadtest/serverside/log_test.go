package serverside

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"

	"sallyport/actors"
	"sallyport/internal/daemontest"
	"sallyport/internal/inventory"
	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/report"
	"sallyport/internal/loadtest/scenario"
	"sallyport/internal/telemetry"
	"sallyport/stages/properties"
	"sallyport/stages/reactions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at is a clock that stands still.
type at time.Time

func (a at) Now() time.Time                       { return time.Time(a) }
func (at) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// written is the line of a call that ended at when, as a daemon writes it.
func written(when time.Time, c telemetry.Call) string {
	var b bytes.Buffer
	core := zapcore.NewCore(telemetry.Encoder(false), zapcore.AddSync(&b), zapcore.InfoLevel)
	l := telemetry.NewLog(zap.New(core, zap.WithClock(at(when))))
	l.Call(&c)
	return b.String()
}

// aCall is one that takes 100 µs.
func aCall(method, source string) telemetry.Call {
	us := time.Microsecond
	return telemetry.Call{Event: telemetry.RequestDone, Outcome: telemetry.OK, Method: method, Source: source,
		Read: 10 * us, Sanitize: 20 * us, Permission: 30 * us, Action: 15 * us, Reply: 25 * us, Total: 100 * us}
}

// measured is a run that began at a time, and made so many calls of a method, as dom0.
func measured(began time.Time, calls map[string]int) *measure.Result {
	r := measure.NewRecorder(0)
	for name, n := range calls {
		for range n {
			r.Add(measure.Key{Method: name, Source: "dom0", Outcome: measure.OK}, measure.Sample{Done: time.Millisecond})
		}
	}
	result := r.Result()
	result.Began = began
	return result
}

// logFile is a file that a daemon writes.
type logFile struct {
	t    require.TestingT
	path string
}

func newLogFile(t *testing.T, text string) logFile {
	l := logFile{t, filepath.Join(t.TempDir(), "log")}
	l.write(text)
	return l
}

func (l logFile) write(text string) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(l.t, err)
	_, err = f.WriteString(text)
	require.NoError(l.t, err)
	require.NoError(l.t, f.Close())
}

func (l logFile) open() *Log {
	log, err := OpenLog(l.path)
	require.NoError(l.t, err)
	return log
}

// TestLinesAreWhatLiesBetweenLineFeeds, in whatever pieces they come, but for those that are too long, which are counted.
func TestLinesAreWhatLiesBetweenLineFeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text bytes.Buffer
		var want []string
		var long uint64
		for _, n := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 50), rapid.IntRange(mostLine-2, mostLine+2), rapid.IntRange(0, 5*mostLine)), 0, 8).Draw(t, "lines") {
			line := strings.Repeat(string(rune('a'+n%26)), n)
			text.WriteString(line + "\n")
			if n >= mostLine { // with its end, it has no room
				long++
			} else {
				want = append(want, line)
			}
		}
		text.WriteString("the half of one")
		var got []string
		l := newLines()
		r := io.Reader(&pieces{t, text.Bytes()})
		for err := error(nil); err == nil; {
			_, err = l.read(r, func(line []byte) { got = append(got, string(line)) })
		}
		assert.Equal(t, want, got)
		assert.Equal(t, long, l.long)
		_, err := l.read(strings.NewReader(", and the rest\n"), func(line []byte) { got = append(got, string(line)) })
		assert.NoError(t, err)
		assert.Equal(t, "the half of one, and the rest", got[len(got)-1])
	})
}

// pieces are read in sizes that are drawn.
type pieces struct {
	t    *rapid.T
	left []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), rapid.SampledFrom([]int{1, 7, 4096, mostLine, 1 << 20}).Draw(p.t, "piece"))], p.left)
	p.left = p.left[n:]
	return n, nil
}

// TestTheTallyIsThatOfTheLines, as telemetry writes them: each call of the run is in each histogram of its method, and
// nothing else is.
func TestTheTallyIsThatOfTheLines(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		tally := &tally{from: began, to: began.Add(time.Minute), found: map[string][]histogram{}, measured: map[string]*method{
			"a": {sources: map[string]bool{"dom0": true}}, "b": {sources: map[string]bool{"dom0": true, "work": true}},
		}}
		want := map[string][]histogram{}
		var others, unread uint64
		span := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, 1e9)).Draw(t, "micros")) * time.Microsecond
		})
		for range rapid.IntRange(0, 30).Draw(t, "lines") {
			c := telemetry.Call{
				Event:  rapid.SampledFrom([]telemetry.Event{telemetry.RequestDone, telemetry.RequestDenied}).Draw(t, "event"),
				Method: rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(t, "method"), Source: rapid.SampledFrom([]string{"dom0", "work", ""}).Draw(t, "source"),
				Read: span.Draw(t, "read"), Sanitize: span.Draw(t, "sanitize"), Permission: span.Draw(t, "permission"), Action: span.Draw(t, "action"), Reply: span.Draw(t, "reply"), Total: span.Draw(t, "total"),
			}
			start := began.Add(time.Duration(rapid.Int64Range(-2, 62).Draw(t, "second")) * time.Second)
			tally.line([]byte(written(start.Add(c.Total), c)))
			switch {
			case start.Before(tally.from) || start.After(tally.to):
			case c.Method == "a" && c.Source != "work", c.Method == "b":
				if want[c.Method] == nil {
					for range report.ServerStages {
						want[c.Method] = append(want[c.Method], newHistogram())
					}
				}
				for i, d := range []time.Duration{c.Read, c.Sanitize, c.Permission, c.Action, c.Reply, c.Total} {
					want[c.Method][i].add(d.Microseconds())
				}
			default:
				others++
			}
			if garbage := rapid.SampledFrom([]string{"", "{", "nonsense", `{"event.name":"request.done"}`, `{"timestamp":"2027-01-15T08:00:01Z","event.name":"request.done","rpc.method":"a"}`, `[]`, `{"timestamp":7,"event.name":"x"}`, `{"timestamp":"2027-01-15T08:00:01Z"}`, `{"event.name":"x"}`}).Draw(t, "garbage"); garbage != "" {
				tally.line([]byte(garbage))
				unread++
			}
		}
		assert.Equal(t, bucketsIn(want), bucketsIn(tally.found))
		assert.Equal(t, []uint64{others, unread}, []uint64{tally.others, tally.unread})
	})
}

func bucketsIn(all map[string][]histogram) map[string][]map[int64]int64 {
	plain := map[string][]map[int64]int64{}
	for name, histograms := range all {
		for _, h := range histograms {
			m := map[int64]int64{}
			for value, count := range h.ForEachBucket {
				m[value] += count
			}
			plain[name] = append(plain[name], m)
		}
	}
	return plain
}

// TestStagesAreNotMixedUp, and those of all methods are of all calls.
func TestStagesAreNotMixedUp(t *testing.T) {
	f := newLogFile(t, "")
	l := f.open()
	defer l.Close()
	now := time.Now()
	f.write(written(now.Add(time.Second), aCall("a", "dom0")) + written(now.Add(time.Second), aCall("b", "dom0")))
	s := l.Join(t.Context(), measured(now, map[string]int{"a": 1, "b": 1}))
	assert.Empty(t, s.Notes)
	assert.Equal(t, []uint64{2, 2}, []uint64{s.Calls, s.Measured})
	require.Len(t, s.Methods, 2)
	one, other := newHistogram(), newHistogram()
	one.add(1)
	other.add(2)
	assert.EqualValues(t, 2, one.plus(other).TotalCount())
	assert.Equal(t, []int64{1, 1}, []int64{one.TotalCount(), other.TotalCount()}, "to add changes neither")
	for i, micros := range []float64{10, 20, 30, 15, 25, 100} {
		stage := report.ServerStage{Stage: report.ServerStages[i], Count: 1, Mean: micros, Times: report.Times{P50: micros, P90: micros, P99: micros, P999: micros, P9999: micros, Max: micros}}
		assert.Equal(t, stage, s.Methods[0].Stages[i])
		assert.Equal(t, stage, s.Methods[1].Stages[i])
		stage.Count = 2
		assert.Equal(t, stage, s.Stages[i])
	}
}

// TestWhatCannotHaveReachedTheDaemonIsNotMissed.
func TestWhatCannotHaveReachedTheDaemonIsNotMissed(t *testing.T) {
	r := measure.NewRecorder(0)
	for _, outcome := range measure.Outcomes {
		r.Add(measure.Key{Method: "a", Source: "dom0", Outcome: outcome}, measure.Sample{Done: 1})
	}
	assert.EqualValues(t, 6, measuredOf(r.Result())["a"].measured, "ok, unexpected, garbage, empty, timeout, reset")
}

// TestLateLinesAreWaitedFor, be the last of them there by half; but not for ever.
func TestLateLinesAreWaitedFor(t *testing.T) {
	f := newLogFile(t, "an older li") // it is opened in the middle of a line, which is no garbage of the run
	synctest.Test(t, func(t *testing.T) {
		l, now := f.open(), time.Now()
		defer l.Close()
		text := written(now.Add(time.Second), aCall("a", "dom0"))
		f.write("ne\n" + text + text[:100])
		time.Sleep(time.Second)
		ended := time.Now()
		go func() {
			time.Sleep(500 * time.Millisecond)
			f.write(text[100:])
		}()
		s := l.Join(t.Context(), measured(now, map[string]int{"a": 2}))
		assert.EqualValues(t, 2, s.Calls)
		assert.Empty(t, s.Notes)
		assert.Less(t, time.Since(ended), lateness, "nothing is waited for that has come")
	})
	synctest.Test(t, func(t *testing.T) {
		l, now := f.open(), time.Now()
		defer l.Close()
		f.write(written(now, aCall("a", "dom0")) + written(now.Add(time.Second), aCall("a", "dom0")) + "half a li")
		s := l.Join(t.Context(), measured(now, map[string]int{"a": 3}))
		assert.EqualValues(t, 1, s.Calls, "one came before it began")
		assert.Equal(t, []string{"2 of the calls are not in the log: the stages are of the others alone"}, s.Notes)
		assert.Zero(t, s.Unread)
		assert.Equal(t, lateness, time.Since(now))
	})
}

// TestWhoIsImpatientGetsWhatWasRead.
func TestWhoIsImpatientGetsWhatWasRead(t *testing.T) {
	f := newLogFile(t, "")
	synctest.Test(t, func(t *testing.T) {
		l, now := f.open(), time.Now()
		defer l.Close()
		f.write(written(now.Add(time.Second), aCall("a", "dom0")))
		ctx, cancel := context.WithTimeout(t.Context(), lateness/2)
		defer cancel()
		s := l.Join(ctx, measured(now, map[string]int{"a": 2}))
		assert.EqualValues(t, 1, s.Calls)
		assert.Contains(t, s.Notes, "the log was not read to its end")
		assert.Equal(t, lateness/2, time.Since(now))
	})
}

// TestNotesTellWhatIsNotWhole.
func TestNotesTellWhatIsNotWhole(t *testing.T) {
	for name, c := range map[string]struct {
		write func(now time.Time) string
		calls uint64
		notes string
	}{
		"nothing":     {func(time.Time) string { return "" }, 0, "--log-level info"},
		"a console's": {func(now time.Time) string { return now.Format(time.RFC3339) + "\tINFO\trequest.done\n" }, 0, "1 lines of the log could not be read"},
		"too long a one": {func(now time.Time) string {
			return strings.Repeat("x", 1<<20) + "\n" + written(now, aCall("a", "dom0"))
		}, 1, "1 lines of the log could not be read"},
		"more": {func(now time.Time) string { return strings.Repeat(written(now, aCall("a", "dom0")), 3) }, 3,
			"2 calls in the log were not measured"},
		"another's": {func(now time.Time) string {
			return written(now, aCall("a", "work")) + written(now, aCall("b", "dom0")) + written(now, aCall("a", "dom0"))
		}, 1, "2 calls of other methods or sources are left out"},
		"dropped": {func(now time.Time) string {
			return fmt.Sprintf(`{"timestamp":%q,"severity_text":"WARN","event.name":"log.dropped","sallyport.count":7}`+"\n", now.UTC().Format(time.RFC3339Nano))
		}, 0, "left out 7 lines"},
		"a restart": {func(now time.Time) string {
			return fmt.Sprintf(`{"timestamp":%q,"event.name":"ready","sallyport.schema":1}`+"\n", now.Format(time.RFC3339Nano)) + written(now, aCall("a", "dom0"))
		}, 1, "started again"},
		"another schema": {func(now time.Time) string {
			return fmt.Sprintf(`{"timestamp":%q,"event.name":"ready","sallyport.schema":2}`+"\n", now.Format(time.RFC3339Nano)) + written(now, aCall("a", "dom0"))
		}, 0, "2 lines of the log could not be read, since they are no lines of its schema, version 1"},
		"one that is not there": {func(now time.Time) string { return written(now, aCall("a", "")) }, 1, ""}, // its source does not exist
	} {
		t.Run(name, func(t *testing.T) {
			f := newLogFile(t, written(time.Now(), aCall("a", "dom0")))
			synctest.Test(t, func(t *testing.T) {
				l, now := f.open(), time.Now()
				defer l.Close()
				f.write(c.write(now.Add(time.Second)))
				s := l.Join(t.Context(), measured(now, map[string]int{"a": 1}))
				assert.Equal(t, c.calls, s.Calls)
				assert.Contains(t, strings.Join(s.Notes, "\n"), c.notes)
				if c.notes == "" {
					assert.Empty(t, s.Notes)
				}
			})
		})
	}
}

// TestALogThatChangedIsNotJoined: figures of half a run would look like those of a whole one.
func TestALogThatChangedIsNotJoined(t *testing.T) {
	old := written(time.Now(), aCall("a", "dom0"))
	for name, c := range map[string]struct {
		change func(f logFile)
		note   string
	}{
		"replaced": {func(f logFile) { require.NoError(t, os.Rename(f.path, f.path+".1")); f.write(old) }, "was replaced"},
		"removed":  {func(f logFile) { require.NoError(t, os.Remove(f.path)) }, "no such file"},
		"emptied":  {func(f logFile) { require.NoError(t, os.Truncate(f.path, 0)) }, "was emptied"},
		"emptied, and grown again": {func(f logFile) {
			require.NoError(t, os.Truncate(f.path, 0))
			f.write(strings.Repeat(written(time.Now().Add(time.Second), aCall("a", "dom0")), 10))
		}, "was emptied"},
		"emptied while it is read": {func(f logFile) {
			go func() {
				time.Sleep(lateness / 2)
				_ = os.Truncate(f.path, int64(len(old)))
			}()
		}, "was emptied"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newLogFile(t, old)
			synctest.Test(t, func(t *testing.T) {
				l, now := f.open(), time.Now()
				defer l.Close()
				f.write(written(now.Add(time.Second), aCall("a", "dom0")))
				c.change(f)
				s := l.Join(t.Context(), measured(now, map[string]int{"a": 2}))
				assert.Zero(t, s.Calls)
				assert.EqualValues(t, 2, s.Measured)
				assert.Nil(t, s.Stages)
				require.Len(t, s.Notes, 1)
				assert.Contains(t, s.Notes[0], c.note)
				assert.Contains(t, s.Notes[0], "nothing is joined")
			})
		})
	}
}

// TestOpenLogSaysWhatItExpected.
func TestOpenLogSaysWhatItExpected(t *testing.T) {
	for _, path := range []string{"no/such/file", t.TempDir(), "/dev/null"} {
		_, err := OpenLog(path)
		assert.ErrorContains(t, err, "expected the file that the daemon writes its log to")
		assert.ErrorContains(t, err, path)
	}
}

// TestARealDaemonsLogHasEachCall, by method, exactly: those that are refused, too.
func TestARealDaemonsLogHasEachCall(t *testing.T) {
	dir := daemontest.Dir(t)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "log")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer file.Close()
	sink := telemetry.NewSink(file, 64<<20, 100*time.Millisecond)
	defer sink.Close()
	book, _, err := inventory.Open(daemontest.Nowhere{}, func() (*inventory.Snapshot, error) { return inventory.Demo(properties.Schema{}) }, inventory.Options{Reactions: reactions.All()})
	require.NoError(t, err)
	d := daemontest.Start(t, filepath.Join(dir, "socket"), book, nil, func(s *actors.Settings) {
		s.Log, s.Attendants = zap.New(zapcore.NewCore(telemetry.Encoder(false), sink, zapcore.InfoLevel)), nil
	})
	defer func() { assert.NoError(t, d.Close(context.Background())) }()

	l, err := OpenLog(path)
	require.NoError(t, err)
	defer l.Close()
	s := &scenario.Scenario{Name: "s", Target: scenario.Target{Socket: filepath.Join(dir, "socket")}, Timeout: time.Minute, MaxInFlight: 4096, MaxLag: time.Minute,
		Load: scenario.Load{Stages: []scenario.Stage{{From: 500, To: 500, For: time.Second}}},
		Mix: []scenario.Item{
			{Name: "read", Weight: 2, Steps: []scenario.Call{{Method: "admin.vm.List", Source: scenario.Text("dom0"), Dest: scenario.Text("dom0")}, {Method: "admin.vm.feature.Get", Arg: scenario.Text("none"), Source: scenario.Text("work"), Dest: scenario.Text("work"), Expect: scenario.Expect{Any: true}}}},
			{Name: "absent", Weight: 1, Steps: []scenario.Call{{Method: "admin.vm.CurrentState", Source: scenario.Text("dom0"), Dest: scenario.Text("nosuch"), Expect: scenario.Expect{Any: true}}}},
		}}
	r, err := drive.Run(t.Context(), s, drive.Options{})
	require.NoError(t, err)
	joined := l.Join(t.Context(), r)
	assert.Empty(t, joined.Notes)
	require.Len(t, joined.Methods, 3)
	for _, m := range joined.Methods {
		g, errors := r.Of(func(k measure.Key) bool { return k.Method == m.Name })
		assert.Zero(t, errors, m.Name)
		assert.NotZero(t, m.Calls)
		assert.Equal(t, []uint64{g.Count, g.Count}, []uint64{m.Calls, m.Measured}, m.Name)
		total := m.Stages[5]
		assert.Equal(t, "total", total.Stage)
		assert.GreaterOrEqual(t, total.Max, m.Stages[0].Max, m.Name)
	}
}

// FuzzLog: whatever is in a file, each of its lines is a call, another one, or counted as unread.
func FuzzLog(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add([]byte(written(now, aCall("a", "dom0")) + "garbage\n"))
	f.Add([]byte(`{"timestamp":"2027-01-15T08:00:00Z","event.name":"ready","sallyport.schema":9}` + "\n"))
	f.Add([]byte(`{"timestamp":"2027-01-15T08:00:00Z","event.name":"log.dropped","sallyport.count":-9223372036854775808}` + "\n"))
	f.Add([]byte(`{"timestamp":"9999-12-31T23:59:59Z","event.name":"request.done","rpc.method":"a","sallyport.duration_us":9223372036854775807}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		tally := &tally{from: now.Add(-time.Hour), to: now.Add(time.Hour), found: map[string][]histogram{}, measured: map[string]*method{"a": {sources: map[string]bool{"dom0": true}}}}
		l, n := newLines(), uint64(0)
		r := iotest.HalfReader(bytes.NewReader(text))
		for err := error(nil); err == nil; {
			_, err = l.read(r, func(line []byte) {
				n++
				before := tally.calls("a") + tally.others + tally.unread
				tally.line(line)
				if after := tally.calls("a") + tally.others + tally.unread; after > before+1 {
					t.Fatal("it counts twice")
				}
			})
		}
		if n+l.long > uint64(bytes.Count(text, []byte{'\n'}))+1 || tally.calls("a")+tally.others+tally.unread > n {
			t.Fatal("there are more calls than lines")
		}
		if s := tally.server(); s.Calls != tally.calls("a") {
			t.Fatal("calls are lost")
		}
	})
}

// BenchmarkLine is what a line costs, of which a long load has millions.
func BenchmarkLine(b *testing.B) {
	now := time.Unix(1_800_000_000, 0)
	tally := &tally{from: now.Add(-time.Hour), to: now.Add(time.Hour), found: map[string][]histogram{}, measured: map[string]*method{"admin.vm.feature.Get": {sources: map[string]bool{"dom0": true}}}}
	c := aCall("admin.vm.feature.Get", "dom0")
	c.Socket, c.Dest, c.ArgLen, c.ArgPrint, c.ReplyLen = "admin", "work", 12, "256c7530a1a383c7", 3
	text := []byte(written(now, c))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tally.line(text)
	}
}
