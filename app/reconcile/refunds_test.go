package reconcile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// requireOne requires that a run has found and repaired discrepancies of one kind only.
func requireOne(t *testing.T, kind ports.DiscrepancyKind, report reconcile.Report) {
	t.Helper()
	require.Equal(t, map[ports.DiscrepancyKind]int{kind: 1}, report.Found)
	require.Equal(t, map[ports.DiscrepancyKind]int{kind: 1}, report.Repaired)
}

func (b testBundle) requireClean(t *testing.T) {
	t.Helper()
	require.Empty(t, b.look(t).Found)
}

func TestReconcile_Refunds(t *testing.T) {
	t.Parallel()

	// No event of it has ever come.
	t.Run("FromTheDashboard", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", apptest.GoodCard)
		b.DashboardRefund(p, 4_00)

		report := b.look(t)
		require.Equal(t, 1, report.Refunds)
		requireOne(t, ports.DiscrepancyRefund, report)
		require.Equal(t, int64(4_00), b.Payment(p.ID).Refunded.Minor())
		b.requireClean(t)
	})

	t.Run("FailedSince", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", apptest.GoodCard)
		r := b.Refund(p, "refund_1", "10.00")
		b.MoveRefund(r.ProviderID, "failed")

		requireOne(t, ports.DiscrepancyRefund, b.look(t))
		require.Equal(t, refund.Failed, b.RefundOf(r.ID).Status)
		require.Equal(t, int64(10_00), b.Payment(p.ID).Refundable().Minor())
		b.requireClean(t)
	})

	// It comes home with its operation.
	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", apptest.GoodCard)
		r := b.Refund(p, "refund_1", "4.00")
		lost := b.Operation(r.ID)
		b.Exec("DELETE FROM refunds")
		b.Exec("DELETE FROM operations WHERE kind = 'refund'")
		b.Exec("UPDATE payments SET amount_refunded = 0")

		requireOne(t, ports.DiscrepancyRefund, b.look(t))
		op := b.Operation(r.ID)
		require.Equal(t, operation.Finished, op.State)
		require.Equal(t, lost.Call, op.Call)
		require.Equal(t, int64(4_00), b.Payment(p.ID).Refunded.Minor())
		b.requireClean(t)
	})

	// The database has lost that the operation was opened again and done.
	t.Run("RejectedAsFarAsWeKnow", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", apptest.GoodCard)
		r := b.Refund(p, "refund_1", "4.00")
		b.Exec("DELETE FROM refunds")
		b.Exec(`UPDATE operations SET state = 'rejected', response_status = NULL, response_body = NULL WHERE kind = 'refund'`)
		b.Exec("UPDATE payments SET amount_refunded = 0")

		report := b.look(t)
		require.Equal(t, map[ports.DiscrepancyKind]int{
			ports.DiscrepancyRefund: 1, ports.DiscrepancyMissingOperation: 1,
		}, report.Repaired)
		require.True(t, b.Operation(r.ID).Finished())
		require.Equal(t, b.Renderer.RefundMade(b.RefundOf(r.ID)), b.Operation(r.ID).Response)
		b.requireClean(t)
	})

	// The rest of a partial capture is no refund.
	t.Run("LetGo", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Held("order_1")
		b.Dashboard(p.IntentID, "capture", map[string][]string{"amount_to_capture": {"600"}})
		b.look(t)
		require.Equal(t, int64(6_00), b.Payment(p.ID).Refundable().Minor())
		b.requireClean(t)
	})

	// What we say was made, and Stripe does not have, a person has to look at.
	t.Run("NotThere", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", apptest.GoodCard)
		r := b.Refund(p, "refund_1", "4.00")
		b.Exec("UPDATE refunds SET stripe_refund_id = 're_gone', created_at = created_at - interval '20 minutes' WHERE id = $1", r.ID)

		report := b.look(t)
		require.Positive(t, report.Found[ports.DiscrepancyContradiction])
		require.Zero(t, report.Repaired[ports.DiscrepancyContradiction])
		require.False(t, report.Clean())
	})

	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		intent := b.StrangeIntent("amount=1000&currency=usd&payment_method=pm_card_visa&confirm=true&return_url=https://x.example/")
		strange := b.Paid("order_1", apptest.GoodCard)
		strange.IntentID = intent
		b.DashboardRefund(strange, 4_00)
		b.requireClean(t)
	})

	t.Run("DryRun", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", apptest.GoodCard)
		b.DashboardRefund(p, 4_00)

		report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour, DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 1, report.Found[ports.DiscrepancyRefund])
		require.Zero(t, b.Payment(p.ID).Refunded.Minor())
	})
}
