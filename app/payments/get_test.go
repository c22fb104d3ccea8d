package payments_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestGet_Do(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	get := payments.NewGet(w.Store, w.Lives, w.Observer)
	created := w.Create("order_1")

	read, err := get.Do(t.Context(), operation.DefaultTenant, created.ID)
	require.NoError(t, err)
	require.Equal(t, created, read)

	_, err = w.Apply().Do(t.Context(), w.Pay(created.IntentID))
	require.NoError(t, err)

	read, err = get.Do(t.Context(), operation.DefaultTenant, created.ID)
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, read.Status, "as it is now")

	_, err = get.Do(t.Context(), operation.DefaultTenant, uuid.New())
	apptest.RequireFault(t, fault.NotFound, err)
	require.Contains(t, w.Observer.Spans(), "app.GetPayment")
}
