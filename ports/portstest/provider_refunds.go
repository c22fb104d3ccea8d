package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// cardOfRefundsThatAsk pays, and its refunds wait for the customer.
const cardOfRefundsThatAsk = "pm_card_refundRequiresAction"

// paid is an intent of five dollars that was paid.
func (b ProviderBed) paid(tb testing.TB, card string) ports.Intent {
	tb.Helper()

	intent := b.create(tb, uuid.New(), providerOrder(tb, 500))
	object, err := b.Provider.Send(tb.Context(), b.confirmCall(tb, intent, confirming(card)), false)
	require.NoError(tb, err)

	return object.Intent
}

func (b ProviderBed) refundCall(tb testing.TB, intent ports.Intent, minor int64) (ports.Call, operation.Mark) {
	tb.Helper()

	order := operation.Order{
		Amount: amount(tb, minor, "USD"), Metadata: map[string]string{"ticket": "7", "empty": ""},
		Options: map[string]string{"reason": "duplicate"},
	}
	mark := markOf(operation.Refund, intent.PaymentID, order)
	call, err := b.Calls.Refund(mark, "refund_1", intent.PaymentID, intent.ID, order)
	require.NoError(tb, err)

	return call, mark
}

func refundsGiveBack(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.paid(t, goodCard)
	call, mark := b.refundCall(t, intent, 200)

	made := b.answered(t, call).Refund
	require.NotEmpty(t, made.ID)
	require.Equal(t, intent.ID, made.IntentID)
	require.Equal(t, intent.PaymentID, made.PaymentID)
	require.Equal(t, int64(200), made.Amount.Minor())
	require.Equal(t, refund.Succeeded, made.Status)
	require.Equal(t, "duplicate", made.Reason)
	require.True(t, made.MovedMoney)
	require.True(t, made.Marked)
	require.Equal(t, mark, made.Mark)
	require.Equal(t, operation.Key("refund_1"), made.Key)
	require.Equal(t, map[string]string{"ticket": "7"}, made.Metadata)
	require.WithinDuration(t, time.Now(), made.CreatedAt, time.Minute)

	listed, err := b.Provider.RefundsOf(t.Context(), intent.ID)
	require.NoError(t, err)
	require.Equal(t, []refund.Snapshot{made}, listed)

	second, _ := b.refundCall(t, intent, 200)
	b.answered(t, second)

	listed, err = b.Provider.RefundsOf(t.Context(), intent.ID)
	require.NoError(t, err)
	require.Len(t, listed, 2)
	require.Equal(t, made.ID, listed[0].ID, "oldest first")

	none, err := b.Provider.RefundsOf(t.Context(), b.create(t, uuid.New(), providerOrder(t, 500)).ID)
	require.NoError(t, err)
	require.Empty(t, none)
}

// What speaks of money that has moved is said of a copy too: the core reads the list.
func refundsRejected(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.paid(t, goodCard)
	over, _ := b.refundCall(t, intent, 501)

	for _, copied := range []bool{false, true} {
		rejected, ok := errors.AsType[*ports.RejectedError](b.sendFails(t, over, copied))
		require.True(t, ok)
		require.True(t, rejected.State)
		require.True(t, rejected.Amount)
	}

	all, _ := b.refundCall(t, intent, 500)
	b.answered(t, all)

	again, _ := b.refundCall(t, intent, 500)
	rejected, ok := errors.AsType[*ports.RejectedError](b.sendFails(t, again, true))
	require.True(t, ok)
	require.True(t, rejected.State)
}

func refundsCancel(t *testing.T, b ProviderBed) {
	t.Helper()

	call, _ := b.refundCall(t, b.paid(t, cardOfRefundsThatAsk), 200)
	made := b.answered(t, call).Refund
	require.Equal(t, refund.RequiresAction, made.Status)

	cancel, err := b.Calls.CancelRefund(markOf(operation.CancelRefund, uuid.New(), operation.Order{}), made.ID)
	require.NoError(t, err)
	cancelled := b.answered(t, cancel).Refund
	require.Equal(t, made.ID, cancelled.ID)
	require.Equal(t, refund.Cancelled, cancelled.Status)
	require.NotEmpty(t, cancelled.FailureReason)

	once, err := b.Calls.CancelRefund(markOf(operation.CancelRefund, uuid.New(), operation.Order{}), made.ID)
	require.NoError(t, err)
	rejected, ok := errors.AsType[*ports.RejectedError](b.sendFails(t, once, false))
	require.True(t, ok)
	require.True(t, rejected.State)
}

func refundsWithinBounds(t *testing.T, b ProviderBed) {
	t.Helper()

	call, _ := b.refundCall(t, b.paid(t, goodCard), 200)
	made := b.answered(t, call).Refund

	between := func(from, to time.Time) (found []refund.Snapshot) {
		for s, err := range b.Provider.Refunds(t.Context(), from, to) {
			require.NoError(t, err)

			found = append(found, s)
		}

		return found
	}

	require.Equal(t, []refund.Snapshot{made}, between(made.CreatedAt, made.CreatedAt))
	require.Empty(t, between(made.CreatedAt.Add(time.Second), made.CreatedAt.Add(time.Minute)))
	require.Empty(t, between(made.CreatedAt.Add(-time.Minute), made.CreatedAt.Add(-time.Second)))

	_, err := b.Provider.RefundsOf(t.Context(), "no intent")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
