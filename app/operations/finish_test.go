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

func TestEngine_Do_Rejected(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) *apptest.World {
		t.Helper()

		return apptest.New(t)
	}

	t.Run("TheOrderIsFrozen", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		small := apptest.Order(t, 10) // less than Stripe charges

		first, err := b.Engine().Do(t.Context(), b.Request(key, small))
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, first.Response.Status)
		require.Equal(t, operation.Finished, b.Operation(first.PaymentID).State)
		require.Equal(t, []string{"create finished by request: rejected: amount_too_small", "answered"},
			b.Observer.Told(first.PaymentID))
		b.RequireNoPayment(first.PaymentID)

		b.ForgetReplays()

		again, err := b.Engine().Do(t.Context(), b.Request(key, small))
		require.NoError(t, err)
		require.Equal(t, operations.Answer{PaymentID: first.PaymentID, Response: first.Response, Replayed: true}, again)
	})

	t.Run("TheDeploymentIsOpenedAgain", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		repair := b.Fault(apptest.AccountIncomplete())
		order := apptest.Order(t, 10_00)

		_, err := b.Engine().Do(t.Context(), b.Request(key, order))
		apptest.RequireFault(t, fault.Rejected, err)
		require.Contains(t, fault.From(err).Detail, "same idempotency key")

		op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.Equal(t, operation.Rejected, op.State)
		require.Equal(t, []string{"create finished by request: deployment_rejected: testmode_charges_only"}, b.Observer.Told(op.ID))

		repair()

		_, err = b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_01)))
		apptest.RequireFault(t, fault.KeyReused, err)

		answer, err := b.Engine().Do(t.Context(), b.Request(key, order))
		require.NoError(t, err)
		require.False(t, answer.Replayed)
		require.Equal(t, op.ID, answer.PaymentID, "under the same key at Stripe")
		b.RequireIntents(b.Payment(op.ID).IntentID)
	})

	t.Run("TheDeploymentAndTooOld", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		repair := b.Fault(apptest.AccountIncomplete())
		request := b.Request(key, apptest.Order(t, 10_00))

		_, err := b.Engine().Do(t.Context(), request)
		apptest.RequireFault(t, fault.Rejected, err)
		repair()
		b.Elapse(24 * time.Hour)

		_, err = b.Engine().Do(t.Context(), request)
		apptest.RequireFault(t, fault.Rejected, err)
		require.Contains(t, fault.From(err).Detail, "use a new key")
		require.Empty(t, b.Intents())
	})
}

// unsent gets no connection to the provider.
type unsent struct{ ports.Provider }

func (unsent) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	return ports.Object{}, ports.ErrUnavailable
}

// undecided writes and cannot tell whether it did.
type undecided struct{ ports.Operations }

var errInDoubt = fault.New(fault.Unknown, "it may have been written")

func (u undecided) Begin(ctx context.Context, wanted ports.NewOperation) (ports.Operation, error) {
	_, _ = u.Operations.Begin(ctx, wanted)

	return ports.Operation{}, errInDoubt
}

// unfinishing cannot write what came of a call.
type unfinishing struct{ ports.Operations }

func (unfinishing) Finish(context.Context, ports.Completion) (ports.Finished, error) {
	return ports.Finished{}, errInDoubt
}

// An outcome that nobody knows is never called a failure: the operation stays pending
// and recovery goes on with it.
func TestEngine_Do_Unknown(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) *apptest.World {
		t.Helper()

		return apptest.New(t)
	}
	pending := func(t *testing.T, b *apptest.World) ports.OperationDetails {
		t.Helper()

		_, err := b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_00)))
		apptest.RequireFault(t, fault.Unknown, err)
		require.NotZero(t, fault.From(err).RetryAfter)
		require.Contains(t, fault.From(err).Detail, "same idempotency key")

		op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.Equal(t, operation.Pending, op.State)

		return op
	}

	t.Run("TheAnswerIsLost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter})
		op := pending(t, b)
		require.False(t, op.InHand, "the lease was given back")
		require.Equal(t, []string{"create outcome unknown"}, b.Observer.Told(op.ID))
		require.Len(t, b.Intents(), 1)

		repair()
		b.Elapse(time.Hour)

		answer, err := b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_00)))
		require.NoError(t, err)
		b.RequireIntents(b.Payment(answer.PaymentID).IntentID)
	})

	t.Run("NotSent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Provider = unsent{b.Provider}
		op := pending(t, b)
		require.False(t, op.InHand)
		require.Zero(t, op.Attempts, "what was not sent is no attempt")
		require.Equal(t, []string{"create not sent"}, b.Observer.Told(op.ID))
		require.Empty(t, b.Intents())
	})

	t.Run("WhetherItIsWrittenDown", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Operations = undecided{b.Operations}
		pending(t, b)
		require.Empty(t, b.Intents())
	})

	t.Run("WhetherItIsFinished", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Operations = unfinishing{b.Operations}
		op := pending(t, b)
		b.RequireNoPayment(op.ID)
		require.Empty(t, b.Observer.Told(op.ID), "nothing is said that is not sure")
	})
}

func TestEngine_Finish(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) (*apptest.World, ports.Operation) {
		t.Helper()

		b := apptest.New(t)

		return b, b.Begin(key)
	}

	t.Run("AnotherAmount", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		intent := b.Send(op)
		intent.Amount = apptest.Order(t, 10_01).Amount

		_, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRequest)
		apptest.RequireFault(t, fault.Unknown, err)
		require.ErrorIs(t, err, ports.ErrContradiction)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		b.RequireNoPayment(op.ID)
		require.Equal(t, []string{"create needs attention: contradiction"}, b.Observer.Told(op.ID))
	})

	t.Run("AnotherIntent", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		taken := b.Create("another order")
		intent := b.Send(op)
		intent.ID = taken.IntentID

		_, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRequest)
		require.ErrorIs(t, err, ports.ErrContradiction)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		b.RequireNoPayment(op.ID)
	})

	t.Run("TheFirstAnswerStands", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		intent := b.Send(op)
		first, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRequest)
		require.NoError(t, err)

		intent.ClientSecret = "another"
		again, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRecovery)
		require.NoError(t, err)
		require.Equal(t, first.Response, again.Response)
		require.Equal(t, []string{"request: pending"}, b.History(op.ID))
	})

	t.Run("TheWebhookHasNoSecret", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		intent := b.Send(op)
		intent.ClientSecret = ""

		stands, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByWebhook)
		require.NoError(t, err)
		require.Equal(t, operation.Pending, stands.State, "a client needs the secret: its answer waits")
		require.Equal(t, intent.ID, b.Payment(op.ID).IntentID)
		require.Equal(t, []string{"payment created by webhook"}, b.Observer.Told(op.ID))
	})

	t.Run("ParkedEventsAreApplied", func(t *testing.T) {
		t.Parallel()

		b, op := setup(t)
		intent := b.Send(op)
		event := b.Pay(intent.ID)
		b.Park(event)

		_, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRequest)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, b.Payment(op.ID).Status)
		require.Equal(t, []string{"handled: applied"}, b.Observer.Told(event.ID))
	})
}
