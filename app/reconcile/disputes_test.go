package reconcile_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

func TestReconcile_Do_Disputes(t *testing.T) {
	t.Parallel()

	t.Run("NeverHeardOf", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", "pm_card_visa")
		b.OpenDispute(p, sandbox.Complaint{Amount: 300})

		report := b.look(t)
		require.Equal(t, 1, report.Repaired[ports.DiscrepancyDispute])
		require.Equal(t, int64(300), b.Payment(p.ID).Disputed.Minor())
		require.Contains(t, b.Observer.Told(p.ID), "dispute: repaired")
		require.Zero(t, b.look(t).Found[ports.DiscrepancyDispute])
	})

	// The lists tell what is new; what became of an older one is read.
	t.Run("DecidedLongAfter", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p, d := b.Disputed("order_1", sandbox.Complaint{})
		closed, _ := b.Disputed("order_2", sandbox.Complaint{Final: true})
		b.DecideDispute(d.ProviderID, dispute.Won)

		report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: 2 * time.Minute})
		require.NoError(t, err)
		require.Equal(t, 1, report.Repaired[ports.DiscrepancyDispute])
		require.Equal(t, "won", b.Payment(p.ID).DisputeStatus)
		require.Equal(t, "lost", b.Payment(closed.ID).DisputeStatus)
	})

	t.Run("ADryRun", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Paid("order_1", "pm_card_visa")
		b.OpenDispute(p, sandbox.Complaint{})

		report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour, DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 1, report.Found[ports.DiscrepancyDispute])
		require.Zero(t, b.Payment(p.ID).Disputed.Minor())
	})

	t.Run("NotOurs", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		strange := b.StrangeIntent("amount=1000&currency=usd")
		b.Confirm(strange, "pm_card_createDispute")
		require.Zero(t, b.look(t).Found[ports.DiscrepancyDispute])
	})

	// The database has lost everything: payment and dispute come home together.
	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p, d := b.Disputed("order_1", sandbox.Complaint{Amount: 300})
		b.LoseEverything()
		b.Exec("DELETE FROM disputes")
		b.look(t)

		home := b.Dispute(d.ID)
		require.True(t, home.SameAs(d))
		require.GreaterOrEqual(t, home.Version, d.Version)
		require.Equal(t, int64(300), b.Payment(p.ID).Disputed.Minor())
	})
}

// A dispute carries no mark, so an event of one that comes before its payment is written is taken for
// another program's. The next run lists the dispute, after the intents, so its payment is there by then.
func TestReconcile_Do_DisputeThatOvertakesItsPayment(t *testing.T) {
	t.Parallel()

	for name, finish := range map[string]func(b testBundle, op ports.Operation, intent ports.Intent) error{
		"ItsHolderFinishesIt": func(b testBundle, op ports.Operation, intent ports.Intent) error {
			_, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByRequest)

			return err
		},
		"NobodyFinishesIt": func(testBundle, ports.Operation, ports.Intent) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			op := b.Begin("order_1")
			intent := b.Send(op)
			b.Confirm(intent.ID, "pm_card_createDispute")

			for _, eventType := range []string{"charge.dispute.created", "charge.dispute.funds_withdrawn"} {
				event := b.Event(intent.ID, eventType)
				applied, err := b.Apply().Do(t.Context(), event)
				require.NoError(t, err)
				require.Equal(t, ports.EventForeign, applied.Outcome)
				require.Empty(t, b.Stored(event.ID).Raw, "nothing is kept of what may be another's")
			}

			require.NoError(t, finish(b, op, intent))

			report := b.look(t)
			require.Equal(t, 1, report.Repaired[ports.DiscrepancyDispute])

			p := b.Payment(op.ID)
			require.Equal(t, int64(10_00), p.Disputed.Minor())
			require.Equal(t, "needs_response", p.DisputeStatus)
			require.NotEqual(t, uuid.Nil, p.BlockedBy)
			require.Zero(t, b.look(t).Found[ports.DiscrepancyDispute])
		})
	}
}

// A key that may not list disputes hides them and nothing else: what was refunded is read, what is known of a
// dispute stays, and once the key has the right, the next run finds what was missed.
func TestReconcile_Do_DisputesThatMayNotBeListed(t *testing.T) {
	t.Parallel()

	b := setup(t)
	known, d := b.Disputed("order_1", sandbox.Complaint{Amount: 300})
	p := b.Paid("order_2", "pm_card_visa")
	b.OpenDispute(p, sandbox.Complaint{Amount: 200})

	other := b.Paid("order_3", "pm_card_visa")
	b.DashboardRefund(other, 4_00)

	repair := b.Fault(sandbox.Fault{
		Method: http.MethodGet, Path: "/v1/disputes", Action: sandbox.Error, Status: http.StatusForbidden,
		Type: "invalid_request_error", Message: "The provided key does not have the required permissions for this endpoint.",
	})

	report := b.look(t)
	require.Zero(t, report.Found[ports.DiscrepancyDispute])
	require.Equal(t, int64(4_00), b.Payment(other.ID).Refunded.Minor())
	require.Zero(t, b.Payment(p.ID).Disputed.Minor())

	full := b.Reread(known)
	require.Equal(t, int64(3_00), full.Payment.Disputed.Minor())
	require.Equal(t, d, full.Disputes[0])

	repair()

	require.Equal(t, 1, b.look(t).Repaired[ports.DiscrepancyDispute])
	require.Equal(t, int64(2_00), b.Payment(p.ID).Disputed.Minor())
}
