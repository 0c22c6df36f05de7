package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// daemon has all that a Server may have.
func daemon() []Server {
	stages := func(count uint64, micros float64) (all []ServerStage) {
		for i, name := range ServerStages {
			at := micros * float64(i)
			all = append(all, ServerStage{name, count, at, Times{at, at * 2, at * 3, at * 4, at * 5, at * 6}})
		}
		return all
	}
	return []Server{
		{
			Source: ServerLog, Calls: 1990, Measured: 1980, Others: 3, Dropped: 4, Unread: 5, Stages: stages(1990, 100),
			Methods: []ServerMethod{{"admin.vm.List", 1600, 1600, stages(1600, 100)}, {"admin.vm.feature.Get", 390, 380, stages(390, 1e6)}},
			Notes:   []string{"<b>10 calls</b> in the log were not measured"},
		},
		{Source: ServerMetrics, Calls: 1980, Measured: 1980, Stages: stages(1980, 128), Methods: []ServerMethod{{"admin.vm.List", 1600, 1600, stages(1600, 128)}}},
		{Source: ServerMetrics, Measured: 1980, Notes: []string{"the daemon was started again: nothing is joined"}},
	}
}

// TestOutside is what is left of the clients' time, which is never less than nothing, and nobody knows of bounds.
func TestOutside(t *testing.T) {
	s := daemon()
	p50, p99, ok := s[0].Outside(Times{P50: 2010, P99: 2990, Max: 3010}, s[0].Stages)
	assert.True(t, ok)
	assert.Equal(t, []float64{1510, 1490}, []float64{p50, p99})
	p50, p99, ok = s[0].Outside(Times{P50: 200, P99: 200, Max: 200}, s[0].Stages)
	assert.True(t, ok)
	assert.Equal(t, []float64{0, 0}, []float64{p50, p99})
	for _, s := range []Server{s[1], s[2], {Source: ServerLog}} {
		_, _, ok := s.Outside(Times{P50: 1, P99: 1, Max: 1}, s.Stages)
		assert.False(t, ok)
	}
	_, _, ok = s[0].Outside(Times{}, s[0].Stages)
	assert.False(t, ok, "no client was answered")
}

// TestServerInJSON has the names that others rely on, and what is none is refused.
func TestServerInJSON(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteJSON(&b))
	whole := b.String()
	read, err := ReadJSON(&b)
	require.NoError(t, err)
	assert.Equal(t, daemon(), read.Server)
	for _, name := range []string{`"server": [`, `"source": "log"`, `"calls": 1990`, `"measured": 1980`, `"dropped": 4`, `"unread": 5`, `"others": 3`, `"stage": "permission"`, `"mean_us": `} {
		assert.Contains(t, whole, name)
	}
	for want, text := range map[string]string{
		"server[0].source: expected log or metrics": strings.Replace(whole, `"source": "log"`, `"source": "moon"`, 1),
		"server[0].stages: expected [read sanitize": strings.Replace(whole, `"stage": "reply"`, `"stage": "moon"`, 1),
	} {
		_, err := ReadJSON(strings.NewReader(text))
		assert.ErrorContains(t, err, want)
	}
	d := document()
	d.Server[0].Methods[1].Stages = d.Server[0].Methods[1].Stages[:3]
	assert.ErrorContains(t, d.check(), "server[0].stages")
}

// TestServerInHTML: a table for each source, in which each method has its stages.
func TestServerInHTML(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, document().WriteHTML(&b))
	page := b.String()
	for _, text := range []string{"<h2>The daemon's log</h2>", "<h2>The daemon's metrics</h2>", "<td>permission</td><td>1990</td>", "<td>permission</td><td>390</td><td>2.00 s</td>", "upper bounds",
		"&lt;b&gt;10 calls&lt;/b&gt;", "<td>outside</td><td></td><td></td><td>1.51 ms</td><td></td><td>1.49 ms</td>", "<td>&lt; 1 µs</td>"} {
		assert.Contains(t, page, text)
	}
}
