package operations_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

const key operation.Key = "order_1"

func TestEngine_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		order operation.Order
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		return testBundle{World: apptest.New(t), order: apptest.Order(t, 10_00)}
	}

	t.Run("New", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		answer, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		require.NoError(t, err)
		require.False(t, answer.Replayed)
		require.Equal(t, http.StatusCreated, answer.Response.Status)

		p := b.Payment(answer.PaymentID)
		require.Equal(t, b.order.Amount, p.Amount)
		require.Equal(t, payment.Metadata(b.order.Metadata), p.Metadata)
		require.Equal(t, key, p.Key)
		require.Equal(t, payment.Pending, p.Status)
		require.Equal(t, []string{"request: pending"}, b.History(p.ID))
		b.RequireIntents(p.IntentID)
		require.Contains(t, string(answer.Response.Body), p.IntentID)

		op := b.Operation(p.ID)
		require.Equal(t, operation.Finished, op.State)
		require.Equal(t, answer.Response, op.Response)
		require.Equal(t, ports.Origin{RequestID: apptest.RequestID, TraceParent: apptest.TraceParent}, op.Origin)
		require.Equal(t, []string{"payment created by request", "create finished by request: done", "answered"}, b.Observer.Told(p.ID))
	})

	t.Run("WithoutKey", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		engine := b.Engine()

		for range 2 {
			answer, err := engine.Do(t.Context(), b.Request("", b.order))
			require.NoError(t, err)
			require.False(t, answer.Replayed)
		}

		require.Len(t, b.Intents(), 2)
	})

	t.Run("ReplayedFromMemory", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		first, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		require.NoError(t, err)

		// Neither the database nor Stripe is asked.
		b.Operations, b.Provider = nil, nil
		again, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		require.NoError(t, err)
		require.Equal(t, operations.Answer{PaymentID: first.PaymentID, Response: first.Response, Replayed: true}, again)
		require.Contains(t, b.Observer.Told(first.PaymentID), "answered from cache")
	})

	t.Run("ReplayedFromTheDatabase", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		first, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		require.NoError(t, err)

		b.ForgetReplays()
		engine := b.Engine()

		for _, from := range []string{"database", "cache"} {
			again, err := engine.Do(t.Context(), b.Request(key, b.order))
			require.NoError(t, err)
			require.Equal(t, operations.Answer{PaymentID: first.PaymentID, Response: first.Response, Replayed: true}, again)
			require.Contains(t, b.Observer.Told(first.PaymentID), "answered from "+from)
		}

		require.Len(t, b.Intents(), 1)
	})

	t.Run("KeyReused", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create(key)
		another := b.Request(key, apptest.Order(t, 10_01))

		_, err := b.Engine().Do(t.Context(), another)
		apptest.RequireFault(t, fault.KeyReused, err)

		b.ForgetReplays()
		_, err = b.Engine().Do(t.Context(), another)
		apptest.RequireFault(t, fault.KeyReused, err)

		b.RequireIntents(p.IntentID)
		require.Equal(t, []string{
			"duplicate prevented: " + string(fault.KeyReused), "duplicate prevented: " + string(fault.KeyReused),
		}, b.Observer.Told(apptest.Nothing))
	})

	t.Run("InFlight", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Begin(key)

		_, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		apptest.RequireFault(t, fault.InFlight, err)
		require.Equal(t, time.Second, fault.From(err).RetryAfter)
		require.Empty(t, b.Intents())
		require.Equal(t, []string{"duplicate prevented: " + string(fault.InFlight)}, b.Observer.Told(apptest.Nothing))

		_, err = b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_01)))
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("AfterACrash", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		intent := b.Send(op)
		b.Elapse(time.Hour)

		answer, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		require.NoError(t, err)
		require.Equal(t, op.ID, answer.PaymentID)
		require.Equal(t, intent.ID, b.Payment(op.ID).IntentID)
		b.RequireIntents(intent.ID)
	})

	t.Run("NeedsAttention", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.GiveUp(b.Begin(key))

		_, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		apptest.RequireFault(t, fault.Unknown, err)
		require.Equal(t, time.Minute, fault.From(err).RetryAfter)
		require.Empty(t, b.Intents())
	})

	t.Run("ClientDisconnects", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		held, err := b.Stripe.AddFault(sandbox.Fault{Action: sandbox.Hold, Method: http.MethodPost})
		require.NoError(t, err)

		ctx, disconnect := context.WithCancel(t.Context())
		answered := make(chan error, 1)

		go func() {
			_, err := b.Engine().Do(ctx, b.Request(key, b.order))
			answered <- err
		}()

		require.NoError(t, b.Stripe.WaitFault(t.Context(), held.ID, 1))
		disconnect()
		require.NoError(t, b.Stripe.ReleaseFault(held.ID))
		require.NoError(t, <-answered)
		require.Len(t, b.Intents(), 1)
	})
}

// away is a provider that is out of reach.
type away struct{ ports.Provider }

func (away) Ready() error { return ports.ErrUnavailable }

func TestEngine_Do_ProviderAway(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		order operation.Order
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		return testBundle{World: apptest.New(t), order: apptest.Order(t, 10_00)}
	}

	t.Run("NothingIsWritten", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Provider = away{b.Provider}

		for _, k := range []operation.Key{key, ""} {
			_, err := b.Engine().Do(t.Context(), b.Request(k, b.order))
			apptest.RequireFault(t, fault.Unavailable, err)
			require.NotZero(t, fault.From(err).RetryAfter)
		}

		all, err := b.Store.Operations(t.Context(), 0, nil, 10)
		require.NoError(t, err)
		require.Empty(t, all)
	})

	t.Run("ReplaysAreAnswered", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create(key)
		b.Provider = away{b.Provider}
		b.ForgetReplays()

		again, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, p.ID, again.PaymentID)

		b.ForgetReplays()
		_, err = b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_01)))
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("PendingIsUnknown", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Begin(key)
		b.Provider = away{b.Provider}

		_, err := b.Engine().Do(t.Context(), b.Request(key, b.order))
		apptest.RequireFault(t, fault.Unknown, err)
	})
}
