package reconcile_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

func TestReconcile_Do_Customers(t *testing.T) {
	t.Parallel()

	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		before := b.CreateCustomer("customer_1", apptest.Jenny())
		b.LoseEverything()

		report := b.look(t)
		require.Equal(t, counts{ports.DiscrepancyMissingCustomer: 1}, report.Repaired)
		require.True(t, before.SameAs(b.Customer(before.ID)))
		require.Equal(t, operation.Finished, b.Operation(before.ID).State)
		require.Contains(t, b.Observer.Told(before.ID), "missing_customer: repaired")

		require.Empty(t, b.look(t).Found)
	})

	t.Run("ADryRun", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.CreateCustomer("customer_1", apptest.Jenny())
		b.LoseEverything()

		report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour, DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 1, report.Left())
	})

	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.Stripe.Dashboard("/v1/customers", map[string][]string{"email": {"x@example.com"}})
		require.NoError(t, err)
		require.Empty(t, b.look(t).Found)
	})

	// What cannot be listed was not looked at.
	t.Run("Unreadable", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Provider = deaf{b.Provider}
		_, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour})
		require.ErrorIs(t, err, errDeaf)
		require.Zero(t, b.cursor(t))
	})
}

var errDeaf = errors.New("customers cannot be listed now")

// deaf is a provider that does not list customers now.
type deaf struct{ ports.Provider }

func (deaf) Customers(context.Context, time.Time, time.Time) iter.Seq2[ports.CustomerObject, error] {
	return func(yield func(ports.CustomerObject, error) bool) { yield(ports.CustomerObject{}, errDeaf) }
}
