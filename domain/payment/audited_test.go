package payment_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

// The audit can be kept for ever because nothing in it is a person's.
func TestPayment_Audited(t *testing.T) {
	t.Parallel()

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)

	p := payment.Payment{
		Status: payment.Succeeded, IntentStatus: payment.IntentSucceeded, Description: "for Jenny",
		Metadata:      payment.Metadata{"email": "jenny@example.com"},
		Decline:       payment.Decline{Message: "Jenny's card was declined."},
		Captured:      money.Of(1000, usd),
		Capturable:    money.Of(0, usd),
		Refunded:      money.Of(250, usd),
		RefundPending: money.Of(100, usd),
		Disputed:      money.Of(0, usd),
	}
	require.Equal(t, map[string]any{
		"status": "succeeded", "intent_status": "succeeded", "amount_capturable": "0.00", "amount_captured": "10.00",
		"amount_refunded": "2.50", "amount_refund_pending": "1.00", "amount_disputed": "0.00",
	}, p.Audited())

	form, err := json.Marshal(p.Audited())
	require.NoError(t, err)
	require.NotContains(t, string(form), "enny")

	p.DisputeStatus = "needs_response"
	require.Equal(t, "needs_response", p.Audited()["dispute_status"])
}

func TestChangedDetails(t *testing.T) {
	t.Parallel()

	before := payment.Payment{Description: "a chair", Metadata: payment.Metadata{"order": "1", "seat": "a", "same": ""}}
	after := payment.Payment{Description: "a sofa", Metadata: payment.Metadata{"order": "2", "table": "9", "same": ""}}

	require.Equal(t, []string{"description", "metadata.order", "metadata.seat", "metadata.table"},
		payment.ChangedDetails(before, after))
	require.Equal(t, []string{"metadata.order"}, payment.ChangedDetails(payment.Payment{}, payment.Payment{
		Metadata: payment.Metadata{"order": ""},
	}))
	require.Empty(t, payment.ChangedDetails(before, before))
	require.Empty(t, payment.ChangedDetails(payment.Payment{}, payment.Payment{Metadata: payment.Metadata{}}))
}
