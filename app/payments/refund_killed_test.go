package payments_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
)

// fewestSteps is what a request cannot do without: it looks its key up, writes the operation down, asks
// Stripe and writes the result, and hears of each.
const fewestSteps = 8

// A process that is killed between any two steps of a refund: recovery finishes what was begun, the money
// goes back once or not at all, our sums are Stripe's, and the same request gets the one refund then.
func TestRefund_KilledAtEachStep(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}
	made := map[int]int{} // how often recovery left so many refunds

	var cmd payments.RefundCommand

	steps := b.KilledAtEachStep(func(run int) func(context.Context, *apptest.World) {
		b.payment = b.Paid(operation.Key(fmt.Sprintf("order_%d", run)), apptest.GoodCard)
		cmd = b.RefundCommand(b.payment, operation.Key(fmt.Sprintf("refund_%d", run)), "4.00")

		return func(ctx context.Context, process *apptest.World) {
			_, _ = payments.NewRefund(process.Change()).Do(ctx, cmd)
		}
	}, func(run int) {
		given := len(b.RefundsAtStripe(b.payment))
		require.LessOrEqual(t, given, 1, "step %d", run)
		b.requireSums(t, 0, int64(given)*4_00, 10_00-int64(given)*4_00)
		require.Len(t, b.RefundsOf(b.payment), given, "step %d", run)

		made[given]++

		b.ForgetReplays()

		answer, err := b.refund(t, cmd)
		require.NoError(t, err, "step %d", run)
		require.Equal(t, http.StatusCreated, answer.Response.Status, "step %d: %s", run, answer.Response.Body)
		require.Equal(t, given == 1, answer.Replayed, "step %d", run)

		require.Len(t, b.RefundsAtStripe(b.payment), 1, "step %d", run)
		require.Equal(t, b.RefundsAtStripe(b.payment)[0].ID, b.RefundOf(answer.RefundID).ProviderID, "step %d", run)
		b.requireSums(t, 0, 4_00, 6_00)
	})

	t.Logf("%d steps; %v refunds after recovery", steps, made)
	require.GreaterOrEqual(t, steps, fewestSteps)
	require.NotZero(t, made[0], "no process died before it had written anything")
	require.Greater(t, made[1], 1)
}

// The same of a cancellation.
func TestCancelRefund_KilledAtEachStep(t *testing.T) {
	t.Parallel()

	b := refundBundle{World: apptest.New(t)}

	var (
		r   refund.Refund
		cmd payments.CancelRefundCommand
	)

	cancelled := map[bool]int{}

	steps := b.KilledAtEachStep(func(run int) func(context.Context, *apptest.World) {
		b.payment = b.Paid(operation.Key(fmt.Sprintf("order_%d", run)), apptest.AskRefundCard)
		r = b.Refund(b.payment, operation.Key(fmt.Sprintf("refund_%d", run)), "4.00")
		cmd = payments.CancelRefundCommand{
			Tenant: operation.DefaultTenant, RefundID: r.ID, Key: operation.Key(fmt.Sprintf("cancel_%d", run)),
		}

		return func(ctx context.Context, process *apptest.World) {
			_, _ = payments.NewCancelRefund(process.Change(), process.Refunds).Do(ctx, cmd)
		}
	}, func(run int) {
		at := b.RefundsAtStripe(b.payment)
		require.Len(t, at, 1)

		isCancelled := at[0].Status == "canceled"
		cancelled[isCancelled]++

		if isCancelled {
			require.Equal(t, refund.Cancelled, b.RefundOf(r.ID).Status, "step %d", run)
			b.requireSums(t, 0, 0, 10_00)
		} else {
			require.Equal(t, refund.RequiresAction, b.RefundOf(r.ID).Status, "step %d", run)
			b.requireSums(t, 4_00, 0, 6_00)
		}

		b.ForgetReplays()

		answer, err := payments.NewCancelRefund(b.Change(), b.Refunds).Do(t.Context(), cmd)
		require.NoError(t, err, "step %d", run)
		require.Equal(t, http.StatusOK, answer.Response.Status, "step %d: %s", run, answer.Response.Body)
		require.Equal(t, refund.Cancelled, b.RefundOf(r.ID).Status, "step %d", run)
		b.requireSums(t, 0, 0, 10_00)
	})

	t.Logf("%d steps; cancelled after recovery: %v", steps, cancelled)
	require.GreaterOrEqual(t, steps, fewestSteps)
	require.NotZero(t, cancelled[false])
	require.Greater(t, cancelled[true], 1)
}
