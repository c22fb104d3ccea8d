package portstest

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// builders are the builders of all calls; those that change something, change "pi_1", "cus_1" and
// "pm_1".
func (b ProviderBed) builders() map[operation.Kind]func(operation.Mark, operation.Order) (ports.Call, error) {
	return map[operation.Kind]func(operation.Mark, operation.Order) (ports.Call, error){
		operation.Create: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.CreatePayment(mark, "order_1", order)
		},
		operation.Capture: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.CapturePayment(mark, "pi_1", order)
		},
		operation.Cancel: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.CancelPayment(mark, "pi_1", order)
		},
		operation.CreateCustomer: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.CreateCustomer(mark, "customer_1", order)
		},
		operation.UpdateCustomer: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.UpdateCustomer(mark, "cus_1", order)
		},
		operation.DeleteCustomer: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.DeleteCustomer(mark, "cus_1", order)
		},
		operation.CreateSetup: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.CreateSetup(mark, "cus_1", order)
		},
		operation.DetachMethod: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.DetachMethod(mark, "pm_1", order)
		},
		operation.Confirm: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.ConfirmPayment(mark, "pi_1", order)
		},
		operation.Update: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.UpdatePayment(mark, "pi_1", order)
		},
		operation.Refund: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.Refund(mark, "refund_1", uuid.Nil, "pi_1", order)
		},
		operation.CancelRefund: func(mark operation.Mark, _ operation.Order) (ports.Call, error) {
			return b.Calls.CancelRefund(mark, "re_1")
		},
		operation.SubmitEvidence: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.SubmitEvidence(mark, "du_1", order)
		},
		operation.AcceptDispute: func(mark operation.Mark, order operation.Order) (ports.Call, error) {
			return b.Calls.AcceptDispute(mark, "du_1", order)
		},
	}
}

func callsAreDeterministic(t *testing.T, b ProviderBed) {
	t.Helper()

	require.NoError(t, b.Provider.Ready())

	order := providerOrder(t, 123_45)
	for i := range 10 {
		order.Metadata[fmt.Sprintf("key_%d", i)] = "value & more = %20"
	}

	keys := map[string]bool{}

	for kind, build := range b.builders() {
		mark := markOf(kind, uuid.Nil, order)
		first, err := build(mark, order)
		require.NoError(t, err)
		require.NotEmpty(t, first.Key)
		require.NotEmpty(t, first.Path)

		for range 10 {
			again, err := build(mark, order)
			require.NoError(t, err)
			require.Equal(t, first, again, kind)
		}

		another, err := build(markOf(kind, uuid.Nil, order), order)
		require.NoError(t, err)
		require.NotEqual(t, first.Key, another.Key)

		keys[first.Key], keys[another.Key] = true, true
	}

	require.Len(t, keys, 2*len(operation.Kinds()), "each operation has a key of its own")
}

func callsOnNoIntent(t *testing.T, b ProviderBed) {
	t.Helper()

	for _, id := range []string{"", "..", "a/b?c#d e%", "pi_1/capture"} {
		for kind, build := range map[operation.Kind]func(operation.Mark, string, operation.Order) (ports.Call, error){
			operation.Capture: b.Calls.CapturePayment, operation.Cancel: b.Calls.CancelPayment,
			operation.Confirm: b.Calls.ConfirmPayment, operation.Update: b.Calls.UpdatePayment,
		} {
			_, err := build(markOf(kind, uuid.New(), operation.Order{}), id, operation.Order{})
			require.Error(t, err, "%s %q", kind, id)
		}

		_, err := b.Calls.Refund(markOf(operation.Refund, uuid.New(), operation.Order{}), "", uuid.New(), id, operation.Order{})
		require.Error(t, err, "refund %q", id)

		_, err = b.Calls.CancelRefund(markOf(operation.CancelRefund, uuid.New(), operation.Order{}), id)
		require.Error(t, err, "cancel_refund %q", id)
	}
}
