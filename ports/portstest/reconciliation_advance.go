package portstest

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func advanceByTheTable(t *testing.T, b StoreBed) {
	t.Helper()

	for _, from := range payment.Statuses() {
		for _, to := range payment.Statuses() {
			before := b.mustPayAt(t, time.Now(), from)

			moved, err := b.Advance(t.Context(), before.ID, to, "reconciliation")
			require.NoError(t, err)
			require.Equal(t, from.CanBecome(to), moved, "%s → %s", from, to)

			if !moved {
				require.Equal(t, before, b.paymentNow(t, before.ID))
				require.Len(t, b.history(t, before.ID), 1)

				continue
			}

			b.requireTrueHistory(t, before.ID)
			require.Equal(t, to, b.paymentNow(t, before.ID).Status)
			require.Equal(t, "reconciliation", b.history(t, before.ID)[1].Cause)

			again, err := b.Advance(t.Context(), before.ID, to, "reconciliation")
			require.NoError(t, err)
			require.False(t, again, "it is there")
		}
	}
}

func advanceNothing(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))

	for _, id := range []uuid.UUID{op.PaymentID, uuid.New()} {
		moved, err := b.Advance(t.Context(), id, payment.Succeeded, "reconciliation")
		require.NoError(t, err)
		require.False(t, moved)
		b.requireNoPayment(t, id)
	}
}

// Reconciliation and an event find the same change at the same moment.
func advanceAgainstEvent(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 20, 4

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))
		failed, succeeded := eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded)

		moved := allAtOnce(t, callers, func(i int) (bool, error) {
			switch i {
			case 0:
				applied, err := b.Apply(t.Context(), failed)

				return applied.Outcome == ports.EventApplied, err
			case 1:
				applied, err := b.Twin.Apply(t.Context(), succeeded)

				return applied.Outcome == ports.EventApplied, err
			default:
				return b.either(i).Advance(t.Context(), p.ID, payment.Succeeded, "reconciliation")
			}
		})

		require.Equal(t, 1, count(moved[1:], func(moved bool) bool { return moved }), "who is first has moved it")
		require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
		require.Len(t, b.history(t, p.ID), 2+count(moved[:1], func(moved bool) bool { return moved }))
		b.requireTrueHistory(t, p.ID)
	}
}
