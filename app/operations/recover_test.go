package operations_test

import (
	"context"
	"iter"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// counted counts what is sent.
type counted struct {
	ports.Provider

	sent   int
	resent []bool
}

func (c *counted) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	c.sent++
	c.resent = append(c.resent, resend)

	return c.Provider.Send(ctx, call, resend)
}

func TestRecover_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		gateway *counted
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.gateway = &counted{Provider: b.Provider}
		b.Provider = b.gateway

		return b
	}
	run := func(t *testing.T, b testBundle) operations.Recovered {
		t.Helper()

		done, err := operations.NewRecover(b.Operations, b.Provider, b.Engine(), b.Observer).Do(t.Context())
		require.NoError(t, err)

		return done
	}

	t.Run("NothingToDo", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Create(key)
		b.Begin("somebody works on it")

		require.Zero(t, run(t, b))
		require.Empty(t, b.Observer.Spans(), "a run that finds nothing leaves no trace")
	})

	t.Run("NeverSent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.Elapse(time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, run(t, b))
		require.Equal(t, []bool{true}, b.gateway.resent, "it may have been sent before")
		require.Equal(t, http.StatusCreated, b.Operation(op.ID).Response.Status)
		require.Equal(t, []string{"recovery: pending"}, b.History(op.ID))
		require.Equal(t, []string{"payment created by recovery", "create finished by recovery: done"}, b.Observer.Told(op.ID))
		require.Equal(t, []string{"app.RecoverOperation " + op.ID.String()}, b.Observer.Spans())
	})

	t.Run("TheAnswerWasLost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		intent := b.Send(op)
		b.Elapse(time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, run(t, b))
		require.Equal(t, intent.ID, b.Payment(op.ID).IntentID)
		b.RequireIntents(intent.ID)
	})

	t.Run("StripeKeepsAnError", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		repair := b.Fault(sandbox.Fault{Action: sandbox.Saved500})
		op := b.Begin(key)
		_, err := b.Provider.Send(t.Context(), op.Call, false)
		require.Error(t, err)
		repair()
		b.Elapse(time.Hour)

		// Sending again says 500 for ever; the list has the intent.
		b.Provider = secretive{b.Provider}
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, run(t, b))
		b.RequireIntents(b.Payment(op.ID).IntentID)
		require.Contains(t, string(b.Operation(op.ID).Response.Body), "_secret_", "the client can pay")
		require.Contains(t, b.Observer.Spans(), "app.FindLostIntents")
	})

	t.Run("StillUnknown", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Fault(sandbox.Fault{Action: sandbox.DropBefore})

		op := b.Begin(key)
		b.Elapse(time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1}, run(t, b))
		require.Equal(t, operation.Pending, b.Operation(op.ID).State, "no failure because time has passed")
		require.Equal(t, []string{"create outcome unknown"}, b.Observer.Told(op.ID))
	})

	t.Run("RejectedIsLeftAlone", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		repair := b.Fault(apptest.AccountIncomplete())
		_, err := b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_00)))
		require.Error(t, err)
		repair()
		b.Elapse(time.Hour)

		require.Zero(t, run(t, b))
		require.Empty(t, b.Intents(), "the client may have ordered again")
	})

	t.Run("TooOldAndFound", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		intent := b.Send(op)
		sent := b.gateway.sent
		b.Elapse(24 * time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, run(t, b))
		require.Equal(t, sent, b.gateway.sent, "its key may be forgotten")
		require.Equal(t, intent.ID, b.Payment(op.ID).IntentID)
		require.Equal(t, []string{"linked"}, b.Observer.Told(apptest.RequestID))
	})

	t.Run("TooOldAndMissing", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.Elapse(24 * time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1, GivenUp: 1}, run(t, b))
		require.Zero(t, b.gateway.sent)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Equal(t, []string{"create outcome unknown", "create needs attention"}, b.Observer.Told(op.ID))
		require.Zero(t, run(t, b), "a person's now")
	})

	// A database that lost its last minutes may have lost the attempt too.
	t.Run("TooOldAndNeverSent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		gateway := b.Provider
		b.Provider = unsent{gateway}
		_, err := b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_00)))
		require.Error(t, err)

		b.Provider = gateway
		b.Elapse(24 * time.Hour)

		require.Equal(t, operations.Recovered{Taken: 1, GivenUp: 1}, run(t, b), "in the first run after it has become too old")
		require.Zero(t, b.gateway.sent)
	})

	t.Run("ProviderAway", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.Elapse(time.Hour)
		before := b.Operation(op.ID).Attempts

		b.Provider = away{b.Provider}
		require.Zero(t, run(t, b))
		require.Equal(t, before, b.Operation(op.ID).Attempts, "nothing was taken")
	})

	t.Run("AListThatEndsEarly", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.Elapse(24 * time.Hour)

		b.Provider = cutShort{b.Provider}
		_, err := operations.NewRecover(b.Operations, b.Provider, b.Engine(), b.Observer).Do(t.Context())
		require.ErrorIs(t, err, errCutShort)
		require.Equal(t, operation.Pending, b.Operation(op.ID).State, "what was not seen is not known to be missing")
	})

	t.Run("Many", func(t *testing.T) {
		t.Parallel()

		b := setup(t)

		keys := []operation.Key{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
		for _, k := range keys {
			b.Begin(k)
		}

		b.Elapse(time.Hour)
		b.Provider = b.gateway.Provider // it counts for one at a time
		require.Equal(t, operations.Recovered{Taken: len(keys), Finished: len(keys)}, run(t, b))
		require.Len(t, b.Intents(), len(keys))

		finished, err := b.Store.Operations(t.Context(), 0, []operation.State{operation.Finished}, 100)
		require.NoError(t, err)
		require.Len(t, finished, len(keys))
	})
}

// The payment is written, so nothing says that the provider still has the operation's key.
func TestRecover_Do_NeverSendsWhatIsWritten(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	op := b.Begin(key)
	intent := b.Send(op)
	gateway := &counted{Provider: b.Provider}
	b.Provider = gateway

	withoutSecret := intent
	withoutSecret.ClientSecret = ""

	_, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: withoutSecret}, operation.ByWebhook)
	require.NoError(t, err)

	b.Elapse(time.Hour)

	done, err := b.Recover().Do(t.Context())
	require.NoError(t, err)
	require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, done)
	require.Zero(t, gateway.sent)
	require.Contains(t, string(b.Operation(op.ID).Response.Body), intent.ClientSecret)
}

// secretive lists intents without the client's secret.
type secretive struct{ ports.Provider }

func (g secretive) Intents(ctx context.Context, from, to time.Time) iter.Seq2[ports.Intent, error] {
	return func(yield func(ports.Intent, error) bool) {
		for intent, err := range g.Provider.Intents(ctx, from, to) {
			intent.ClientSecret = ""

			if !yield(intent, err) {
				return
			}
		}
	}
}

var errCutShort = ports.ErrUnavailable

// cutShort is a list that ends before it has shown anything.
type cutShort struct{ ports.Provider }

func (cutShort) Intents(context.Context, time.Time, time.Time) iter.Seq2[ports.Intent, error] {
	return func(yield func(ports.Intent, error) bool) { yield(ports.Intent{}, errCutShort) }
}
