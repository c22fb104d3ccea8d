package apptest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/sandbox"
)

// Cards whose refunds take another way (sandbox/README.md).
const (
	SlowRefundCard = "pm_card_pendingRefund"
	BadRefundCard  = "pm_card_refundFail"
	AskRefundCard  = "pm_card_refundRequiresAction"
)

// Paid makes a payment of ten dollars that the customer has paid with a card, and applies Stripe's
// event about it.
func (w *World) Paid(key operation.Key, card string) payment.Payment {
	w.tb.Helper()

	return w.PaidFor(key, Order(w.tb, 10_00), card)
}

// PaidFor is Paid for an order.
func (w *World) PaidFor(key operation.Key, order operation.Order, card string) payment.Payment {
	w.tb.Helper()

	p := w.CreateFor(key, order)
	w.Confirm(p.IntentID, card)

	_, err := w.Apply().Do(w.tb.Context(), w.Event(p.IntentID, "payment_intent.succeeded"))
	require.NoError(w.tb, err)

	return w.Payment(p.ID)
}

// RefundCommand asks for a refund of an amount in major units.
func (w *World) RefundCommand(p payment.Payment, key operation.Key, amount string) payments.RefundCommand {
	return payments.RefundCommand{
		ChangeCommand: payments.ChangeCommand{
			Tenant: operation.DefaultTenant, PaymentID: p.ID, Key: key, RequestID: RequestID,
		}, Amount: amount,
	}
}

// Refund refunds an amount of a payment, and requires that it is made.
func (w *World) Refund(p payment.Payment, key operation.Key, amount string) refund.Refund {
	w.tb.Helper()

	answer, err := payments.NewRefund(w.Change()).Do(w.tb.Context(), w.RefundCommand(p, key, amount))
	require.NoError(w.tb, err)
	require.Equal(w.tb, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)

	return w.RefundOf(answer.RefundID)
}

// RefundOf reads a refund.
func (w *World) RefundOf(id uuid.UUID) refund.Refund {
	w.tb.Helper()

	r, err := w.Store.Refund(w.tb.Context(), id)
	require.NoError(w.tb, err)

	return r
}

// RefundsOf reads a payment's refunds, the oldest first.
func (w *World) RefundsOf(p payment.Payment) []refund.Refund {
	w.tb.Helper()

	f, err := w.Store.FullPayment(w.tb.Context(), p.ID)
	require.NoError(w.tb, err)

	return f.Refunds
}

// DashboardRefund is what somebody gives back in Stripe's Dashboard, in minor units. It returns the
// refund's id.
func (w *World) DashboardRefund(p payment.Payment, minor int64) string {
	w.tb.Helper()

	made, err := w.Stripe.Dashboard("/v1/refunds", url.Values{
		"payment_intent": {p.IntentID}, "amount": {strconv.FormatInt(minor, 10)},
	})
	require.NoError(w.tb, err)

	var object struct {
		ID string `json:"id"`
	}
	require.NoError(w.tb, json.Unmarshal(made, &object))

	return object.ID
}

// MoveRefund is what the customer's bank does.
func (w *World) MoveRefund(id, status string) {
	w.tb.Helper()
	require.NoError(w.tb, w.Stripe.MoveRefund(id, sandbox.RefundMove{Status: status}))
}

// RefundAtStripe is what Stripe's books say about a refund.
type RefundAtStripe struct {
	ID       string            `json:"id"`
	Amount   int64             `json:"amount"`
	Status   string            `json:"status"`
	Intent   string            `json:"payment_intent"`
	Reason   string            `json:"reason"`
	Metadata map[string]string `json:"metadata"`
}

// RefundsAtStripe reads Stripe's books about the refunds of a payment.
func (w *World) RefundsAtStripe(p payment.Payment) []RefundAtStripe {
	w.tb.Helper()

	found := []RefundAtStripe{}

	for entry := range w.Stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		var one RefundAtStripe
		require.NoError(w.tb, json.Unmarshal(entry.Object, &one))

		if one.Intent == p.IntentID {
			found = append(found, one)
		}
	}

	return found
}
