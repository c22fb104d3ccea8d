package portstest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// newConfirm makes an attempt to pay p, of which one was declined before.
func newConfirm(tb testing.TB, p payment.Payment, key operation.Key) ports.NewOperation {
	tb.Helper()

	c := newChange(tb, operation.Confirm, p, key, operation.Order{Options: map[string]string{"payment_method": "pm_1"}})
	c.Before = ports.Before{IntentStatus: payment.IntentRequiresPaymentMethod, LatestCharge: "ch_1"}

	return c
}

func newUpdate(tb testing.TB, p payment.Payment, key operation.Key) ports.NewOperation {
	tb.Helper()

	return newChange(tb, operation.Update, p, key, operation.Order{
		Metadata: map[string]string{"order": "", "cart": "7"}, Options: map[string]string{"description": ""},
	})
}

// How the intent stood before an attempt is kept, and is no part of what was asked for.
func beginKeepsBefore(t *testing.T, b StoreBed) {
	t.Helper()

	for _, before := range []ports.Before{
		{IntentStatus: payment.IntentRequiresPaymentMethod, LatestCharge: "ch_1"}, {IntentStatus: payment.IntentRequiresAction},
	} {
		for _, options := range []map[string]string{{"payment_method": "pm_1"}, nil} {
			p := b.mustPay(t, "")
			c := newConfirm(t, p, "")
			c.Order.Options, c.Before = options, before

			op := b.mustBegin(t, c)
			require.Equal(t, before, op.Before)
			require.Equal(t, c.Order.Fingerprint(c.Kind, p.ID), op.Fingerprint)

			found := b.operationNow(t, op.ID)
			require.Equal(t, before, found.Before)
			require.Len(t, found.Order.Options, len(options))
			require.Equal(t, op.Fingerprint, found.Order.Fingerprint(c.Kind, p.ID))

			require.NoError(t, b.Release(t.Context(), op, 0, errRepairable))
			b.Elapse(t, lease)

			taken, err := b.Take(t.Context(), 1, newLease())
			require.NoError(t, err)
			require.Equal(t, before, taken[0].Before)
			require.NoError(t, b.GiveUp(t.Context(), op.ID, errRepairable))
		}
	}
}

// Updates have a turn of their own.
func beginOneUpdate(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	update := b.mustBegin(t, newUpdate(t, p, "update_1"))
	b.requireInProgress(t, newUpdate(t, p, "update_2"))
	b.requireInProgress(t, newUpdate(t, p, ""))

	capture := b.mustBegin(t, newCapture(t, p, "capture_1"))
	b.requireBlocked(t, p)
	b.requireInProgress(t, newUpdate(t, p, ""))

	b.mustFinishOn(t, update, func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		return p, showing(p), nil
	})
	b.mustBegin(t, newUpdate(t, p, "update_2"))
	b.requireBlocked(t, p)
	b.mustFinishOn(t, capture, capturing(p.Amount))
}

// A create that was declined has its payment: its answer is no refusal.
func finishDeclined(t *testing.T, b StoreBed) {
	t.Helper()

	for _, key := range []operation.Key{"order_1", ""} {
		op := b.mustBegin(t, newOperation(t, key))
		c := completionOf(op)
		c.Payment = declinedPayment(c.Payment)
		c.Response = &ports.FrozenResponse{Status: http.StatusPaymentRequired, Body: []byte(`{"title":"Payment declined"}`)}

		done := b.mustFinish(t, c)
		require.True(t, done.Created)
		require.True(t, done.Operation.Declined())
		require.False(t, done.Operation.Row().Refused)

		p := b.paymentNow(t, op.ID)
		require.Equal(t, payment.Failed, p.Status)
		require.Equal(t, c.Payment.Decline, p.Decline)
		require.Equal(t, c.Payment.Method, p.Method)

		again := b.mustFinish(t, completionOf(op)) // by another's answer
		require.False(t, again.Created)
		requireResponse(t, *c.Response, again.Operation.Response)
		require.Equal(t, p, b.paymentNow(t, op.ID))
	}
}

// declinedPayment is p after its first attempt.
func declinedPayment(p payment.Payment) payment.Payment {
	p.Description = "a bicycle ☂"

	return p.Begun(payment.Snapshot{
		Status: payment.Failed, IntentStatus: payment.IntentRequiresPaymentMethod, Declined: true, Method: aCard, Decline: noFunds,
	}, time.Now())
}

var (
	aCard = payment.Method{
		Type: "card", Card: payment.Card{Brand: "visa", Last4: "0002", ExpMonth: 8, ExpYear: 2031},
	}
	noFunds = payment.Decline{Code: "card_declined", DeclineCode: "insufficient_funds", Message: `It says "no".`}
)

// What is known of the last attempt follows what is told, by whomever.
func paymentAttempts(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	c := completionOf(op)
	c.Payment.Description = "a bicycle"
	b.mustFinish(t, c)
	require.Equal(t, "a bicycle", b.paymentNow(t, op.ID).Description)

	declined := eventOf(t, c.Payment, payment.Failed)
	declined.Intent.Decline, declined.Intent.Method = noFunds, aCard
	applied := b.mustApply(t, declined)
	require.Equal(t, noFunds, applied.After.Decline)

	p := b.paymentNow(t, op.ID)
	require.Equal(t, noFunds, p.Decline)
	require.Equal(t, aCard, p.Method)
	require.Equal(t, "a bicycle", p.Description)

	hint := eventOf(t, c.Payment, "")
	hint.Intent.IntentStatus = payment.IntentRequiresAction
	require.Equal(t, ports.EventHint, b.mustApply(t, hint).Outcome)
	require.Equal(t, noFunds, b.paymentNow(t, op.ID).Decline)

	// Another method, without a card, is read.
	p = b.paymentNow(t, op.ID)
	p.Method, p.Decline = payment.Method{Type: "us_bank_account"}, payment.Decline{Code: "insufficient_funds"}
	written, err := b.Write(t.Context(), ports.FullPayment{Payment: p}, nil, ports.EventApplied, "test")
	require.NoError(t, err)
	require.True(t, written)

	read := b.paymentNow(t, op.ID)
	require.Equal(t, p.Method, read.Method)
	require.Equal(t, p.Decline, read.Decline)

	paid := b.mustApply(t, eventOf(t, c.Payment, payment.Succeeded))
	require.Equal(t, ports.EventApplied, paid.Outcome)

	p = b.paymentNow(t, op.ID)
	require.True(t, p.Decline.IsZero())
	require.Equal(t, payment.Method{}, p.Method, "it is not said how")
	require.Equal(t, "a bicycle", p.Description)
	require.Equal(t, payment.Metadata{"order": "42"}, p.Metadata)
}

// Only what a client changes moves its metadata and its description.
func finishOnWritesDetails(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	require.Equal(t, payment.Metadata{"order": "42"}, p.Metadata)

	for _, want := range []struct {
		metadata    payment.Metadata
		description string
	}{{payment.Metadata{"cart": "7"}, "two"}, {payment.Metadata{}, ""}, {nil, "three"}} {
		before := b.paymentNow(t, p.ID)
		done := b.mustFinishOn(t, b.mustBegin(t, newUpdate(t, p, "")),
			func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
				p.Metadata, p.Description = want.metadata, want.description

				return p, showing(p), nil
			})

		after := b.paymentNow(t, p.ID)
		require.Equal(t, want.metadata, after.Metadata)
		require.Equal(t, want.description, after.Description)
		require.Greater(t, after.Version, before.Version)
		require.Equal(t, after.Version, done.After.Version)

		before.Metadata, before.Description = after.Metadata, after.Description
		before.Version, before.UpdatedAt = after.Version, after.UpdatedAt
		require.Equal(t, before, after, "nothing else has changed")
	}
}
