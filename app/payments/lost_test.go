package payments_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
)

// That there is no payment is believed only once reconciliation is through.
func TestGet_Do_InALaterLife(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	created := b.Create("order_1")

	for _, c := range []struct {
		life apptest.Life
		want fault.Kind
	}{{apptest.Life{}, fault.Unavailable}, {apptest.Life{Reconciled: true}, fault.NotFound}} {
		b.Lives = c.life
		get := payments.NewGet(b.Store, b.Lives, b.Observer)

		_, err := get.Do(t.Context(), uuid.New())
		apptest.RequireFault(t, c.want, err)
		require.Equal(t, c.want == fault.Unavailable, fault.From(err).RetryAfter > 0)

		_, err = payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), payments.CancelCommand{
			ChangeCommand: payments.ChangeCommand{PaymentID: uuid.New()},
		})
		apptest.RequireFault(t, c.want, err)

		read, err := get.Do(t.Context(), created.ID)
		require.NoError(t, err)
		require.Equal(t, created, read, "what is here is read")
	}
}
