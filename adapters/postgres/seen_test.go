package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// newRefund asks for all of a payment, which is made one that is paid.
func newRefund(t *testing.T, db *pgtest.DB, store *postgres.Store) ports.NewOperation {
	t.Helper()

	of := paid(t, store, 1)[0]

	_, err := db.Pool().Exec(t.Context(),
		"UPDATE payments SET status = 'succeeded', amount_captured = amount, version = version + 1")
	require.NoError(t, err)

	asked := newOrder(t, "refund_1")
	asked.Kind, asked.Subject = operation.Refund, of.ID
	asked.Reserve = func(f ports.FullPayment) (ports.FullPayment, error) {
		r := refund.Refund{
			ID: asked.ID, PaymentID: of.ID, Key: asked.Key, Amount: asked.Order.Amount, Status: refund.Pending, Origin: refund.FromAPI,
		}

		p, err := f.Payment.Reserve(f.Refunds, r, payment.RefundAsk{Amount: r.Amount})
		f.Payment, f.Refunds = p, refund.With(f.Refunds, r)

		return f, err
	}

	seen, used, err := store.See(t.Context(), of.ID, asked.ID)
	require.NoError(t, err)
	require.False(t, used)

	asked.Seen = &seen

	return asked
}

func madeOf(op ports.Operation) ports.Change {
	return ports.Change{
		Subject: op.Subject, Seen: op.Seen, Asked: op.Fingerprint,
		Full: func(f ports.FullPayment) (ports.FullPayment, ports.FrozenResponse, error) {
			r, _ := refund.Find(f.Refunds, op.ID)
			r.ProviderID, r.Status = "re_1", refund.Succeeded
			f.Refunds = refund.With(f.Refunds, r.Changed(f.Payment.UpdatedAt))

			return f.Counting(), ports.FrozenResponse{Status: 201, Body: []byte("{}")}, nil
		},
	}
}

// The payment is as it was seen, but somebody holds it, or the operation. Nothing is written of it until
// he lets go, and then all of it.
func TestStore_SeenAndLocked(t *testing.T) {
	t.Parallel()

	for _, locked := range []string{"SELECT FROM payments FOR UPDATE", "SELECT FROM operations FOR UPDATE"} {
		t.Run(locked, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
			op := mustBegin(t, store, newRefund(t, db, store))

			errs := inTurnBehind(t, db, locked,
				func() error { _, err := store.FinishOn(t.Context(), op.ID, "request", madeOf(op)); return err },
				func() error {
					f, err := store.FullPayment(t.Context(), op.Subject)
					require.NoError(t, err)
					require.Equal(t, op.Seen.Payment, f.Payment, "nothing is written yet")

					_, err = store.FinishOn(t.Context(), op.ID, "request", madeOf(op)) // waits too

					return err
				})
			for _, err := range errs {
				require.NoError(t, err)
			}

			f, err := store.FullPayment(t.Context(), op.Subject)
			require.NoError(t, err)
			require.Zero(t, f.Payment.RefundPending.Minor())
			require.Equal(t, f.Payment.Amount.Minor(), f.Payment.Refunded.Minor())

			found, err := store.FindByID(t.Context(), op.ID)
			require.NoError(t, err)
			require.True(t, found.Finished())
		})
	}
}

// A key that is used after it was looked up belongs to whoever has used it: nothing is reserved twice.
func TestStore_SeenAndUsed(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	asked := newRefund(t, db, store)

	other := newOrder(t, asked.Key)
	other.ID = asked.ID
	mustBegin(t, store, other)

	found, err := store.Begin(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, operation.Create, found.Kind)
	require.False(t, found.Held())

	f, err := store.FullPayment(t.Context(), asked.Subject)
	require.NoError(t, err)
	require.Equal(t, asked.Seen.Payment, f.Payment)
	require.Empty(t, f.Refunds)
}
