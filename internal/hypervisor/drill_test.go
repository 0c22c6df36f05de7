package hypervisor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sallyport/messages"
	"sallyport/messages/exception"
)

func TestStallLastsAsLongAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work, err := Drill{}.Begin(messages.Order{Kind: messages.DrillStall, Args: map[string]string{"for": "1m30s"}}, nil)
		require.NoError(t, err)
		began := time.Now()
		reply, err := work(t.Context())
		require.NoError(t, err)
		assert.Empty(t, reply.Body)
		assert.Equal(t, 90*time.Second, time.Since(began))
	})
}

func TestStallEndsWhenItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work, err := Drill{}.Begin(messages.Order{Kind: messages.DrillStall, Args: map[string]string{"for": "1h"}}, nil)
		require.NoError(t, err)
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		began := time.Now()
		_, err = work(ctx)
		require.ErrorIs(t, err, enough)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestOtherOrders(t *testing.T) {
	assert.Panics(t, func() { _, _ = Drill{}.Begin(messages.Order{Kind: messages.DrillCrash}, nil) })
	_, err := Drill{}.Begin(messages.Order{Kind: messages.DrillStall}, nil)
	require.Error(t, err)
	_, err = Drill{}.Begin(messages.Order{Kind: "start"}, nil)
	var e *exception.Exception
	require.ErrorAs(t, err, &e)
	assert.Equal(t, exception.QubesNotImplementedError, e.Type())
}
