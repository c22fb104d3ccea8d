package portstest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func applyUnknown(t *testing.T, b StoreBed) {
	t.Helper()

	e := eventOf(t, payment.Payment{IntentID: intentOf(uuid.New())}, payment.Succeeded)
	require.Equal(t, ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedUnknown}, b.mustApply(t, e))
	b.requireStored(t, e, ports.EventParked, ports.ParkedUnknown)

	// It names a payment that we do not have, and has no mark.
	e = eventOf(t, payment.Payment{ID: uuid.New(), IntentID: intentOf(uuid.New())}, payment.Succeeded)
	require.Equal(t, ports.Applied{Outcome: ports.EventForeign}, b.mustApply(t, e))
	b.requireForeign(t, e)
}

func applyContradiction(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	for name, spoil := range map[string]func(*ports.Event){
		"amount":     func(e *ports.Event) { e.Intent.Amount = amount(t, 123_46, "USD") },
		"hundredth":  func(e *ports.Event) { e.Intent.Amount = amount(t, 12345_00, "USD") },
		"currency":   func(e *ports.Event) { e.Intent.Amount = amount(t, 123_45, "EUR") },
		"payment id": func(e *ports.Event) { e.Intent.PaymentID = uuid.New() },
	} {
		for _, change := range []payment.Status{payment.Succeeded, ""} {
			e := eventOf(t, p, change)
			spoil(&e)

			for range 2 { // a second delivery parks it again
				applied := b.mustApply(t, e)
				require.Equal(t, ports.EventParked, applied.Outcome, name)
				require.Equal(t, ports.ParkedContradiction, applied.Reason, name)
				require.Equal(t, p.ID, applied.PaymentID, name)
			}

			b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
		}
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 1)

	// A field that the event does not have cannot contradict.
	silent := eventOf(t, p, payment.Succeeded)
	silent.Intent.Amount, silent.Intent.PaymentID = money.Price{}, uuid.Nil
	require.Equal(t, ports.EventApplied, b.mustApply(t, silent).Outcome)
}

// An operation that has an intent takes no second one, and a rejected operation takes
// none.
func applySecondIntent(t *testing.T, b StoreBed) {
	t.Helper()

	finished := b.mustPay(t, "finished").ID

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")), rejection())
	require.NoError(t, err)

	open := completionOf(b.mustBegin(t, newOperation(t, "open")))
	open.Response = nil
	b.mustFinish(t, open)

	rejected := b.mustReject(t, newOperation(t, "rejected"))

	for name, id := range map[string]uuid.UUID{
		"finished": finished, "rejected order": no.ID, "rejected": rejected.ID, "open": open.Payment.ID,
	} {
		before := b.operationNow(t, id)

		for _, change := range []payment.Status{payment.Succeeded, ""} {
			e := eventOf(t, payment.Payment{ID: id, IntentID: intentOf(uuid.New()), Amount: before.Order.Amount}, change)
			applied := b.mustApply(t, e)
			require.Equal(t, ports.EventParked, applied.Outcome, "%s, %q", name, change)
			require.Equal(t, ports.ParkedContradiction, applied.Reason, name)
			b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
		}

		requireSameOperation(t, before, b.operationNow(t, id))
	}

	require.Len(t, b.history(t, finished), 1)
	b.requireNoPayment(t, no.ID)
	b.requireNoPayment(t, rejected.ID)
}

func applyParkedThenPaid(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, payment.Succeeded)
	e.Intent.PaymentID = uuid.Nil

	require.Equal(t, ports.EventParked, b.mustApply(t, e).Outcome)
	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, e.ObjectID))

	require.True(t, b.mustFinish(t, completionOf(op)).Parked)

	stored := b.event(t, e.ID)
	require.Equal(t, []ports.StoredEvent{stored}, b.ready(t))
	require.Equal(t, []ports.StoredEvent{stored}, b.readyFor(t, e.ObjectID))
	require.Empty(t, b.readyFor(t, "pi_other"))

	applied := b.mustApply(t, e)
	require.Equal(t, ports.EventApplied, applied.Outcome)
	require.Equal(t, payment.Pending, applied.Before.Status)

	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, e.ObjectID))

	done := b.event(t, e.ID)
	require.Equal(t, stored.ReceivedAt, done.ReceivedAt)
	require.True(t, done.ProcessedAt.After(stored.ProcessedAt))
	b.requireStored(t, e, ports.EventApplied, "")

	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
	require.Len(t, b.history(t, op.ID), 2)
	require.False(t, b.mustFinish(t, completionOf(op)).Parked)
}

func applyParkedThenRedelivered(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, payment.Succeeded)
	e.Intent.PaymentID = uuid.Nil

	for range 2 {
		require.Equal(t, ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedUnknown}, b.mustApply(t, e))
	}

	b.mustFinish(t, completionOf(op))
	require.Equal(t, ports.EventApplied, b.mustApply(t, e).Outcome)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, op.ID).Status)

	// An event that contradicts stays parked after another event made the payment succeed.
	wrong := eventOf(t, b.paymentNow(t, op.ID), payment.Succeeded)
	wrong.Intent.Amount = amount(t, 1_00, "USD")

	for range 2 {
		require.Equal(t, ports.ParkedContradiction, b.mustApply(t, wrong).Reason)
	}
}
