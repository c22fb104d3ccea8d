package reconcile_test

import (
	"context"
	"iter"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// setupAnew has a database that was made in an earlier life, so that it may have lost
// commits. cursor is how old reconciliation's cursor is; 0 for none.
func setupAnew(t *testing.T, cursor time.Duration) testBundle {
	t.Helper()

	b := setup(t)
	b.Exec("UPDATE installation SET incarnation = 'an earlier life'")

	if cursor > 0 {
		b.Exec("INSERT INTO reconciliation (through) VALUES (now() - $1::interval)", cursor)
	}

	return b
}

func TestReconcile_Anew(t *testing.T) {
	t.Parallel()

	t.Run("UntilARunHasEnded", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, time.Hour)
		require.True(t, b.reconcile().Anew(t.Context()))
		require.Zero(t, b.reconcile().UntilDue(t.Context(), time.Hour))

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.False(t, b.reconcile().Anew(t.Context()))
		require.NotZero(t, b.reconcile().UntilDue(t.Context(), time.Hour))
	})

	// What was lost is not on its way any more.
	t.Run("LooksAtTheLastMinuteToo", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, time.Hour)
		b.Stripe.Advance(30 * time.Minute) // to the present
		op := b.Begin("order_1")
		b.Send(op)
		b.LoseEverything()

		report, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, report.Repaired[ports.DiscrepancyMissingPayment])
		require.Equal(t, op.Fingerprint, b.Operation(op.ID).Fingerprint)
		require.False(t, b.reconcile().Anew(t.Context()))
	})

	// Nobody knows since when something is missing.
	t.Run("WithoutACursorItLooksAsFarBackAsItCan", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, 0)

		report, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(-30*24*time.Hour), report.Since, time.Hour)
		require.False(t, b.reconcile().Anew(t.Context()))
	})

	// Nothing would be sent once the cursor is 20 hours old.
	t.Run("UnsureUntilADayLater", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, 2*time.Hour)
		require.True(t, b.reconcile().Unsure(t.Context()))

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.False(t, b.reconcile().Unsure(t.Context()))

		b.Exec("UPDATE reconciliation SET through = now() - interval '2 hours', looked_at = now() - interval '25 hours'")
		require.True(t, b.reconcile().Unsure(t.Context()))

		b.Exec("UPDATE reconciliation SET looked_at = now() - interval '27 hours'")
		require.False(t, b.reconcile().Unsure(t.Context()))
	})

	// It has not looked at everything since the cursor.
	t.Run("AShortLookEndsNothing", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, 2*time.Hour)

		_, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour})
		require.NoError(t, err)
		require.True(t, b.reconcile().Anew(t.Context()))

		_, err = b.reconcile().Do(t.Context(), reconcile.Options{Back: 3 * time.Hour})
		require.NoError(t, err)
		require.False(t, b.reconcile().Anew(t.Context()))
	})

	t.Run("NorDoesAFailure", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, time.Hour)
		b.Pay(b.Create("order_1").IntentID)
		b.apply = failing{b.Apply()}

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.True(t, b.reconcile().Anew(t.Context()))

		b.apply = nil

		_, err = b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.False(t, b.reconcile().Anew(t.Context()))
	})
}

// The operation of a capture that the database has lost, or that it believes to be rejected,
// comes home. So a retry gets its answer, and nothing is sent.
func TestReconcile_Anew_LostCaptures(t *testing.T) {
	t.Parallel()

	for name, lose := range map[string]func(t *testing.T, b testBundle, p payment.Payment){
		"AllOfIt": func(t *testing.T, b testBundle, p payment.Payment) {
			t.Helper()
			b.Exec("DELETE FROM operations WHERE kind = 'capture'")
			b.Exec(`UPDATE payments SET status = 'pending', intent_status = 'requires_capture', amount_captured = 0,
				amount_capturable = amount WHERE id = $1`, p.ID)
		},
		"TheOperation": func(t *testing.T, b testBundle, p payment.Payment) {
			t.Helper()
			b.Exec("DELETE FROM operations WHERE kind = 'capture'")
			b.known(b.Event(p.IntentID, "payment_intent.succeeded"))
		},
		"TheEventIsHere": func(t *testing.T, b testBundle, p payment.Payment) {
			t.Helper()
			b.Exec("DELETE FROM operations WHERE kind = 'capture'")
			b.known(b.Event(p.IntentID, "payment_intent.succeeded"))
			b.Provider = withoutIntents{b.Provider} // it was made before the window
		},
		"ItWasRejected": func(t *testing.T, b testBundle, _ payment.Payment) {
			t.Helper()
			b.Exec(`UPDATE operations SET state = 'rejected', response_status = NULL, response_body = NULL, fingerprint = sha256('')
				WHERE kind = 'capture'`)
		},
		"AnotherWasRefused": func(t *testing.T, b testBundle, _ payment.Payment) {
			t.Helper()
			b.Exec("UPDATE operations SET response_status = 409, fingerprint = sha256('') WHERE kind = 'capture'")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupAnew(t, 2*time.Hour)
			p := b.Held("order_1")
			command := payments.CaptureCommand{
				ChangeCommand: payments.ChangeCommand{
					Tenant: operation.DefaultTenant, PaymentID: p.ID, Key: "capture_1", RequestID: "request-9",
				}, Amount: "4",
			}
			capture := func() (operations.Answer, error) { return payments.NewCapture(b.Change()).Do(t.Context(), command) }

			b.InLife(operation.Standing{Reconciled: true})

			_, err := capture()
			require.NoError(t, err)

			id := b.Installation.OperationID(operation.DefaultTenant, "capture_1")
			before := b.Operation(id)

			b.InLife(operation.Standing{Behind: 2 * time.Hour})
			lose(t, b, p)
			b.ForgetReplays()

			report, err := b.reconcile().Scheduled(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, report.Repaired[ports.DiscrepancyMissingOperation])
			require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)

			home := b.Operation(id)
			require.Equal(t, operation.Finished, home.State)
			require.Equal(t, before.Fingerprint, home.Fingerprint)
			require.Equal(t, before.Order.Amount, home.Order.Amount)

			b.Provider = unsent{b.Provider}

			again, err := capture()
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, again.Response.Status)
			require.True(t, again.Replayed)

			command.Amount = "5"
			_, err = capture()
			require.Equal(t, fault.KeyReused, fault.KindOf(err))
		})
	}
}

// unsent is never sent anything.
type unsent struct{ ports.Provider }

func (unsent) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	return ports.Object{}, ports.ErrUnavailable
}

// withoutIntents lists none.
type withoutIntents struct{ ports.Provider }

func (withoutIntents) Intents(context.Context, time.Time, time.Time) iter.Seq2[ports.Intent, error] {
	return func(func(ports.Intent, error) bool) {}
}
