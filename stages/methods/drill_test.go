package methods_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/stages"
	"sallyport/stages/methods"
)

// TestDrillsCrashWhereTheySay: each gets as far as the actor that it is about, and no further.
func TestDrillsCrashWhereTheySay(t *testing.T) {
	s := start(t)
	s.catalogue = stages.NewCatalogue(methods.Drill()...)
	permitted := func(call string) stages.Authorized {
		a, err := s.permitted("dom0", call, "work", "")
		require.NoError(t, err, call)
		return a
	}
	assert.Panics(t, func() {
		_, _ = s.catalogue.Sanitize(stages.Admin, request(t, "drill.Crash+sanitizer", "work"))
	})
	atGate, err := s.catalogue.Sanitize(stages.Admin, request(t, "drill.Crash+permission", "work"))
	require.NoError(t, err)
	assert.Panics(t, func() { _, _ = s.gate.Judge(atGate, &messages.Peer{Any: true}, s.book.View()) })

	action := permitted("drill.Crash+action")
	assert.Equal(t, stages.Reads, action.Kind())
	assert.Panics(t, func() { _, _ = action.Read() })

	ledger := permitted("drill.Crash+ledger")
	assert.Equal(t, stages.Changes, ledger.Kind())
	assert.Panics(t, func() { _, _ = s.act(ledger) })

	work, _ := s.permitted("dom0", "drill.Crash+qube", "work", "")
	require.Equal(t, stages.Works, work.Kind())
	order, err := work.Work()
	require.NoError(t, err)
	assert.Equal(t, messages.Order{Kind: messages.DrillCrash, Qube: s.uuid("work"), Revision: s.book.View().Revision()}, order)

	order, err = permitted("drill.Stall+1m30s").Work()
	require.NoError(t, err)
	assert.Equal(t, messages.Order{
		Kind: messages.DrillStall, Qube: s.uuid("work"), Args: map[string]string{"for": "1m30s"}, Revision: s.book.View().Revision(),
	}, order)
	for _, call := range []string{"drill.Crash", "drill.Crash+", "drill.Crash+listener", "drill.Crash+action+", "drill.Stall", "drill.Stall+-1s", "drill.Stall+2h"} {
		assert.Equal(t, "ProtocolError", s.dom0(call, "work", ""), call)
	}
}

func request(t *testing.T, call, dest string) messages.Request {
	r, err := messages.ParseRequest(messages.FormatRequest(call, "dom0", dest, nil))
	require.NoError(t, err)
	return r
}
