package payments_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// decision is what people say of their decisions here.
var decision = operations.Decision{Actor: "cli:ann", Reason: "looked at the dashboard"}

// needsAttention makes the operation wait for a person.
func (b changeBundle) needsAttention() ports.Operation {
	op := b.begin()
	b.GiveUp(op)
	b.Elapse(time.Hour)

	return op
}

// What nobody else can finish is a person's.
func TestChange_Close(t *testing.T) {
	t.Parallel()

	closing := func(t *testing.T, b changeBundle, id uuid.UUID) (ports.OperationDetails, error) {
		t.Helper()

		return operations.NewClose(b.Decisions, b.Store, b.Provider, b.Renderer, b.Engine(), b.Observer).
			Do(t.Context(), id, decision)
	}

	ofBothKinds(t, "NotDone", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()
		closed, err := closing(t, b, op.ID)
		require.NoError(t, err)
		require.Equal(t, operation.Finished, closed.State)
		require.Equal(t, http.StatusBadGateway, closed.Response.Status)
		require.Contains(t, string(closed.Response.Body), "use a new key")
		require.Contains(t, string(closed.Response.Body), b.payment.ID.String())
		require.Len(t, b.Audit(op.ID.String()), 1)
		require.Contains(t, b.Observer.Told(b.payment.ID), string(b.kind)+" finished by person: rejected")

		again, err := b.do(t, changeKey)
		require.NoError(t, err)
		require.Equal(t, operations.Answer{PaymentID: b.payment.ID, Response: closed.Response, Replayed: true}, again)

		// The payment is free.
		answer, err := b.do(t, "another")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Response.Status)
		require.Equal(t, b.becomes, b.Payment(b.payment.ID).Status)
	})

	ofBothKinds(t, "Done", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()
		b.Send(op)

		_, err := closing(t, b, op.ID)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "marketflow operations adopt "+op.ID.String())
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Empty(t, b.Audit(op.ID.String()))
	})

	// Somebody else's capture is not what was asked for.
	ofBothKinds(t, "SomebodyElseHasDoneAnother", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()
		b.Dashboard(b.payment.IntentID, b.dashboard, nil)

		closed, err := closing(t, b, op.ID)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadGateway, closed.Response.Status)
		require.Equal(t, b.other().becomes, b.Payment(b.payment.ID).Status)
	})

	ofBothKinds(t, "StripeDoesNotTell", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()
		b.Provider = silent{b.Provider, ports.ErrUnavailable}

		_, err := closing(t, b, op.ID)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
	})
}

// silent is a provider that cannot be read.
type silent struct {
	ports.Provider

	cause error
}

func (s silent) Intent(context.Context, string) (ports.Intent, error) {
	return ports.Intent{}, s.cause
}

func TestChange_Adopt(t *testing.T) {
	t.Parallel()

	adopt := func(t *testing.T, b changeBundle, id uuid.UUID) (ports.OperationDetails, error) {
		t.Helper()

		return operations.NewAdopt(b.Decisions, b.Provider, b.Engine(), b.Observer).Do(t.Context(), id, "", decision)
	}

	ofBothKinds(t, "Done", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()
		b.Send(op)

		adopted, err := adopt(t, b, op.ID)
		require.NoError(t, err)
		require.Equal(t, operation.Finished, adopted.State)
		b.requireDone(t, op.ID)
		require.Contains(t, b.Observer.Told(b.payment.ID), string(b.kind)+" finished by person: done")

		entries := b.Audit(op.ID.String())
		require.Len(t, entries, 1)
		require.Equal(t, ports.AuditOperationAdopted, entries[0].Action)
		require.Equal(t, b.payment.IntentID, entries[0].After["stripe_payment_intent_id"])
	})

	ofBothKinds(t, "NotDone", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()

		_, err := adopt(t, b, op.ID)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "marketflow operations close "+op.ID.String())
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Empty(t, b.Audit(op.ID.String()))
	})

	ofBothKinds(t, "MovedMeanwhile", func(t *testing.T, b changeBundle) {
		t.Helper()

		op := b.needsAttention()
		b.Send(op)
		b.Decisions = moved{b.Decisions}

		_, err := adopt(t, b, op.ID)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "has changed meanwhile")
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
	})
}

// moved finds that somebody else was faster.
type moved struct{ ports.Decisions }

func (moved) AdoptOn(context.Context, uuid.UUID, ports.Change, ports.AuditEntry) (ports.Finished, error) {
	return ports.Finished{}, ports.ErrMoved
}

func TestChange_Do_ProviderAway(t *testing.T) {
	t.Parallel()

	ofBothKinds(t, "NothingIsWritten", func(t *testing.T, b changeBundle) {
		t.Helper()

		b.Provider = away{b.Provider}

		for _, key := range []operation.Key{changeKey, ""} {
			_, err := b.do(t, key)
			apptest.RequireFault(t, fault.Unavailable, err)
			require.NotZero(t, fault.From(err).RetryAfter)
		}

		all, err := b.Store.OperationsOn(t.Context(), b.payment.ID)
		require.NoError(t, err)
		require.Empty(t, all)
	})

	ofBothKinds(t, "ReplaysAreAnswered", func(t *testing.T, b changeBundle) {
		t.Helper()

		first, err := b.do(t, changeKey)
		require.NoError(t, err)

		b.Provider = away{b.Provider}
		b.ForgetReplays()

		again, err := b.do(t, changeKey)
		require.NoError(t, err)
		require.Equal(t, first.Response, again.Response)
		_, err = b.other().do(t, changeKey)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	// Our records say how a payment ended.
	ofBothKinds(t, "WhatIsFinalIsAnswered", func(t *testing.T, b changeBundle) {
		t.Helper()

		_, err := b.do(t, changeKey)
		require.NoError(t, err)

		b.Provider = silent{away{b.Provider}, ports.ErrUnavailable}

		for _, key := range []operation.Key{"change_2", ""} {
			_, err = b.other().do(t, key)
			apptest.RequireFault(t, fault.InvalidState, err)

			answer, err := b.do(t, key)
			if b.kind == operation.Capture {
				apptest.RequireFault(t, fault.InvalidState, err)

				continue
			}

			require.NoError(t, err, "it is cancelled already")
			require.Equal(t, operations.Answer{
				PaymentID: b.payment.ID, Response: b.Renderer.Payment(b.Payment(b.payment.ID)),
			}, answer)
		}
	})

	// Only the provider knows whether the money is held by now.
	t.Run("WhatIsOpenIsNot", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t, changeKinds()["Capture"])
		b.payment = b.Create("order_2")
		b.Provider = silent{away{b.Provider}, ports.ErrUnavailable}

		for _, key := range []operation.Key{changeKey, ""} {
			_, err := b.do(t, key)
			apptest.RequireFault(t, fault.Unavailable, err)
			require.NotZero(t, fault.From(err).RetryAfter)
		}
	})

	ofBothKinds(t, "PendingIsUnknown", func(t *testing.T, b changeBundle) {
		t.Helper()

		b.begin()
		b.Provider = away{b.Provider}

		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.Unknown, err)
		require.Equal(t, b.payment.ID, fault.From(err).PaymentID)
	})

	// It was not sent, so it is no attempt, and recovery does it.
	ofBothKinds(t, "NotSent", func(t *testing.T, b changeBundle) {
		t.Helper()

		provider := b.Provider
		b.Provider = unsent{provider}
		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.Unknown, err)

		op, err := b.Store.OperationByKey(t.Context(), operation.DefaultTenant, changeKey)
		require.NoError(t, err)
		require.Zero(t, op.Attempts)
		require.Contains(t, b.Observer.Told(b.payment.ID), string(b.kind)+" not sent")

		b.Provider = provider
		require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, b.recover(t))
		b.requireDone(t, op.ID)
	})
}

// unsent gets no connection to the provider.
type unsent struct{ ports.Provider }

func (unsent) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	return ports.Object{}, ports.ErrUnavailable
}

// The provider rejects the call because of how we are set up there. The same request opens
// the operation again.
func TestChange_Do_DeploymentRejected(t *testing.T) {
	t.Parallel()

	rejected := func(t *testing.T, b changeBundle) (op ports.OperationDetails, repair func()) {
		t.Helper()

		refusal := apptest.AccountIncomplete()
		refusal.Path = b.path
		repair = b.Fault(refusal)

		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.Rejected, err)
		require.Equal(t, b.payment.ID, fault.From(err).PaymentID)
		require.Contains(t, fault.From(err).Detail, "same idempotency key")

		op, err = b.Store.OperationByKey(t.Context(), operation.DefaultTenant, changeKey)
		require.NoError(t, err)
		require.Equal(t, operation.Rejected, op.State)
		require.Contains(t, b.Observer.Told(b.payment.ID),
			string(b.kind)+" finished by request: deployment_rejected: testmode_charges_only")
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)

		return op, repair
	}

	ofBothKinds(t, "OpenedAgain", func(t *testing.T, b changeBundle) {
		t.Helper()

		op, repair := rejected(t, b)
		repair()

		_, err := b.other().do(t, changeKey)
		apptest.RequireFault(t, fault.KeyReused, err)

		answer, err := b.do(t, changeKey)
		require.NoError(t, err)
		require.False(t, answer.Replayed)
		b.requireDone(t, op.ID) // under the same key at Stripe
	})

	ofBothKinds(t, "AnotherIsFree", func(t *testing.T, b changeBundle) {
		t.Helper()

		op, repair := rejected(t, b)
		answer, err := b.other().do(t, "another")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Response.Status)

		repair()

		answer, err = b.do(t, changeKey)
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, answer.Response.Status)
		b.requireNotDone(t, op.ID)
	})

	ofBothKinds(t, "AnotherIsInProgress", func(t *testing.T, b changeBundle) {
		t.Helper()

		op, repair := rejected(t, b)
		repair()

		wanted := b.NewCancel("another", b.payment)
		b.BeginOne(wanted)

		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.InProgress, err)
		require.Equal(t, b.payment.ID, fault.From(err).PaymentID)
		require.Equal(t, operation.Rejected, b.Operation(op.ID).State)
	})

	ofBothKinds(t, "TooOld", func(t *testing.T, b changeBundle) {
		t.Helper()

		_, repair := rejected(t, b)
		repair()
		b.Elapse(24 * time.Hour)

		_, err := b.do(t, changeKey)
		apptest.RequireFault(t, fault.Rejected, err)
		require.Contains(t, fault.From(err).Detail, "use a new key")
		require.Equal(t, "requires_capture", b.AtStripe(b.payment.IntentID).Status)
	})
}
