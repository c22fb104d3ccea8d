package payment_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
)

func TestStatus_CanBecome(t *testing.T) {
	t.Parallel()

	allowed := map[payment.Status][]payment.Status{
		payment.Pending: {payment.Failed, payment.Succeeded, payment.Cancelled},
		payment.Failed:  {payment.Pending, payment.Succeeded, payment.Cancelled},
	}

	all := append(payment.Statuses(), "", "paid")

	for _, from := range all {
		for _, to := range all {
			require.Equal(t, slices.Contains(allowed[from], to), from.CanBecome(to), "%q to %q", from, to)
		}
	}
}

func TestStatus_FinalAndValid(t *testing.T) {
	t.Parallel()

	for status, final := range map[payment.Status]bool{
		"pending": false, "failed": false, "succeeded": true, "cancelled": true,
	} {
		require.True(t, status.Valid())
		require.Contains(t, payment.Statuses(), status)
		require.Equal(t, final, status.Final(), status)
	}

	require.Len(t, payment.Statuses(), 4)

	for _, other := range []payment.Status{"", "canceled", "Pending", "paid"} {
		require.False(t, other.Valid(), other)
	}
}
