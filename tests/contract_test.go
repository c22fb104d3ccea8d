package tests

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/api"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

// paid is a payment of which nothing was given back.
func paid(t *testing.T) payment.Payment {
	t.Helper()

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	amount, err := money.NewPrice(10_00, usd)
	require.NoError(t, err)

	return payment.Payment{
		Status: payment.Succeeded, IntentStatus: payment.IntentSucceeded, Amount: amount, Captured: amount.Money(),
	}.Counting(nil, nil)
}

// What the API's description says may be tried with a payment is what the service goes by.
func TestOpenAPI_AllowedIsTheTableOfTheDomain(t *testing.T) {
	t.Parallel()

	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(t, err)

	said, ok := doc.Components.Schemas["IntentStatus"].Value.Extensions["x-allowed"].(map[string]any)
	require.True(t, ok, "IntentStatus has a table x-allowed")
	require.Len(t, said, 7, "Stripe has seven words")

	words := map[string]bool{}

	for status, kinds := range said {
		p := payment.Payment{Status: payment.Pending, IntentStatus: payment.IntentStatus(status)}

		switch p.IntentStatus { //nolint:exhaustive // the others are of an open payment
		case payment.IntentSucceeded:
			p = paid(t)
		case payment.IntentCanceled:
			p.Status = payment.Cancelled
		}

		allowed := make([]any, 0, len(words))
		for _, kind := range p.Allowed() {
			allowed = append(allowed, string(kind))
			words[string(kind)] = true
		}

		require.Equal(t, allowed, kinds, status)
	}

	enum := doc.Components.Schemas["Problem"].Value.Properties["allowed"].Value.Items.Value.Enum
	require.Len(t, enum, len(words))

	for _, word := range enum {
		require.Contains(t, words, word)
	}
}
