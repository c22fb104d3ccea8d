package operations_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// After a loss nothing is sent whose key Stripe may have forgotten, unless reconciliation
// would have brought it home.
func TestEngine_Do_InALaterLife(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		life operation.Standing
		sent bool
	}{
		"NothingIsMissing": {operation.Standing{Reconciled: true}, true},
		"ALittleTime":      {operation.Standing{Behind: 19 * time.Hour}, true},
		"ALongTime":        {operation.Standing{Behind: 21 * time.Hour}, false},
		"OneWholeLook":     {operation.Standing{Reconciled: true, Behind: 21 * time.Hour}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := apptest.New(t)
			b.InLife(c.life)

			answer, err := b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_00)))

			if c.sent {
				require.NoError(t, err)
				require.Equal(t, http.StatusCreated, answer.Response.Status)

				return
			}

			apptest.RequireFault(t, fault.Unknown, err)
			require.Empty(t, b.Intents())

			// It is not given up: recovery sends it as soon as it may.
			b.Elapse(time.Hour)
			b.InLife(operation.Standing{Reconciled: true})

			done, err := b.Recover().Do(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, done.Finished)
			require.Len(t, b.Intents(), 1)
		})
	}
}

// The operation under a key may be another request's, because the first one was lost. So
// whoever comes with another body is told to use a new key only when that is settled.
func TestEngine_Do_KeyReusedInALaterLife(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	op := b.Begin(key)
	other := b.Request(key, apptest.Order(t, 10_01))
	b.InLife(operation.Standing{Behind: operation.Unknown})

	_, err := b.Engine().Do(t.Context(), other)
	apptest.RequireFault(t, fault.InFlight, err)

	b.InLife(operation.Standing{Reconciled: true})

	_, err = b.Engine().Do(t.Context(), other)
	apptest.RequireFault(t, fault.KeyReused, err)

	// What is finished has its object's fingerprint, so that there is no doubt.
	_, err = b.Engine().Finish(t.Context(), op, ports.Object{Intent: b.Send(op)}, operation.ByRequest)
	require.NoError(t, err)

	b.InLife(operation.Standing{Behind: operation.Unknown})

	_, err = b.Engine().Do(t.Context(), other)
	apptest.RequireFault(t, fault.KeyReused, err)
}

// What was refused has no object that tells whose key it is.
func TestEngine_Do_RefusedForAnotherInALaterLife(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	_, err := b.Store.FinishRejected(t.Context(), b.Begin(key), ports.FrozenResponse{Status: http.StatusBadGateway})
	require.NoError(t, err)

	other := b.Request(key, apptest.Order(t, 10_01))
	b.InLife(operation.Standing{Behind: time.Hour})

	_, err = b.Engine().Do(t.Context(), other)
	apptest.RequireFault(t, fault.InFlight, err)

	b.InLife(operation.Standing{Reconciled: true})

	_, err = b.Engine().Do(t.Context(), other)
	apptest.RequireFault(t, fault.KeyReused, err)
}

// A rejection that Stripe keeps asks for a new key, but only if that is known to be safe.
func TestEngine_Do_KeptRejectionInALaterLife(t *testing.T) {
	t.Parallel()

	for _, reconciled := range []bool{true, false} {
		b := apptest.New(t)
		b.InLife(operation.Standing{Reconciled: reconciled})
		b.Provider = keeping{b.Provider}

		_, err := b.Engine().Do(t.Context(), b.Request(key, apptest.Order(t, 10_00)))
		apptest.RequireFault(t, fault.Rejected, err)

		for _, promise := range []string{"use a new key", "Nothing was made"} {
			require.Equal(t, reconciled, strings.Contains(fault.From(err).Detail, promise), promise)
		}
	}
}

// keeping rejects everything because of the deployment, and keeps that.
type keeping struct{ ports.Provider }

func (keeping) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	return ports.Object{}, &ports.DeploymentError{Message: "no", Kept: true}
}

// "Nothing was made, use a new key" is said only if it is known.
func TestEngine_Do_RejectedInALaterLife(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	b.Fault(apptest.AccountIncomplete())

	request := b.Request(key, apptest.Order(t, 10_00))
	_, err := b.Engine().Do(t.Context(), request)
	apptest.RequireFault(t, fault.Rejected, err)

	b.Elapse(24 * time.Hour)
	b.InLife(operation.Standing{Behind: operation.Unknown})

	_, err = b.Engine().Do(t.Context(), request)
	apptest.RequireFault(t, fault.Unknown, err)

	b.InLife(operation.Standing{Reconciled: true})

	_, err = b.Engine().Do(t.Context(), request)
	apptest.RequireFault(t, fault.Rejected, err)
	require.Contains(t, fault.From(err).Detail, "use a new key")
}

func TestEngine_AdoptLost(t *testing.T) {
	t.Parallel()

	t.Run("AsTheObjectSays", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		p := b.CreateFor(key, apptest.Manual(apptest.Order(t, 10_00)))
		lost := b.Operation(p.ID)
		intent, err := b.Provider.Intent(t.Context(), p.IntentID)
		require.NoError(t, err)

		b.LoseEverything()

		for range 2 {
			require.NoError(t, b.Engine().AdoptLost(t.Context(), ports.Object{Intent: intent}, operation.ByRecovery))

			op := b.Operation(p.ID)
			require.Equal(t, operation.Finished, op.State)
			require.Equal(t, lost.Fingerprint, op.Fingerprint)
			require.Equal(t, lost.Key, op.Key)
			require.Equal(t, lost.Order, op.Order)
			require.Equal(t, lost.Call, op.Call)
			require.Equal(t, lost.Response, op.Response)

			back := b.Payment(p.ID)
			require.Equal(t, p.Metadata, back.Metadata)
			require.Equal(t, p.Key, back.Key)
			require.True(t, intent.CreatedAt.Equal(back.CreatedAt))
			require.Equal(t, []string{"recovery: pending"}, b.History(p.ID))
		}

		b.RequireIntents(p.IntentID)
	})

	// It would be sent again if it left nothing.
	t.Run("WhatDoesNotFit", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		taken := b.Create("another order")
		op := b.Begin(key)
		intent := b.Send(op)
		b.Exec("DELETE FROM operations WHERE id = $1", op.ID)

		intent.ID = taken.IntentID

		err := b.Engine().AdoptLost(t.Context(), ports.Object{Intent: intent}, operation.ByRecovery)
		require.ErrorIs(t, err, ports.ErrContradiction)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		b.RequireNoPayment(op.ID)
		require.Contains(t, b.Observer.Told(op.ID), "create needs attention: contradiction")
	})
}

// The database is restored while a call is under way.
func TestEngine_Finish_Vanished(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	op := b.Begin(key)
	intent := b.Send(op)
	b.LoseEverything()

	done, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRequest)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, done.Response.Status)
	require.Equal(t, op.Fingerprint, b.Operation(op.ID).Fingerprint)
	require.Equal(t, payment.Pending, b.Payment(op.ID).Status)
}

// Meanwhile another request has taken the key in the restored database. What was made
// decides whose it is.
func TestEngine_Finish_AnotherHasTheKey(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	first := b.NewOperation(key, apptest.Order(t, 10_00))
	intent := b.Send(b.BeginOne(first))
	b.LoseEverything()

	second := b.NewOperation(key, apptest.Order(t, 10_01))
	second.ID = first.ID // a key has one id
	op := b.BeginOne(second)

	done, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByReconciliation)
	require.NoError(t, err)
	require.Equal(t, first.Fingerprint(), done.Fingerprint)
	require.Equal(t, first.Order.Amount, b.Payment(op.ID).Amount)

	_, err = b.Engine().Do(t.Context(), b.Request(key, second.Order))
	apptest.RequireFault(t, fault.KeyReused, err)

	answer, err := b.Engine().Do(t.Context(), b.Request(key, first.Order))
	require.NoError(t, err)
	require.Equal(t, op.ID, answer.PaymentID)
	require.True(t, answer.Replayed)
}

// A key has one id, so that the id does not tell who has written the operation.
func TestEngine_Do_TheKeyIsTakenMeanwhile(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Held("order_1")
	cancel := b.NewCancel(key, p)
	capture := b.NewCapture(key, p, 0)
	capture.ID = cancel.ID

	_, err := b.Engine().Do(t.Context(), operations.Request{
		Tenant: operation.DefaultTenant, Key: key, Fingerprint: cancel.Fingerprint(), LookFirst: true,
		New: func(context.Context) (ports.NewOperation, error) {
			b.BeginOne(capture)

			cancel.Response = new(b.Renderer.Payment(p)) // nothing to do

			return cancel, nil
		},
	})
	apptest.RequireFault(t, fault.KeyReused, err)
}

// A rejection is the answer to what was sent. The database has lost that request meanwhile, and
// another one has its key.
func TestEngine_Send_RejectedForALostRequest(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	lost := b.NewOperation(key, apptest.Order(t, 10_00))
	op := b.BeginOne(lost)

	b.LoseEverything()

	other := b.NewOperation(key, apptest.Order(t, 10_01))
	other.ID = lost.ID
	b.BeginOne(other)

	b.Provider = refusing{b.Provider}

	_, err := b.Engine().Send(t.Context(), op, operation.ByRequest)
	apptest.RequireFault(t, fault.InFlight, err)
	require.Equal(t, operation.Pending, b.Operation(op.ID).State)
	require.Equal(t, other.Fingerprint(), b.Operation(op.ID).Fingerprint)
}

// refusing rejects every order.
type refusing struct{ ports.Provider }

func (refusing) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	return ports.Object{}, &ports.RejectedError{Message: "no"}
}
