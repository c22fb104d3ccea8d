package sandbox_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// A checker that cannot find anything proves nothing.
func TestSchemaChecker_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()

	schemas, err := stripeSchemas()
	require.NoError(t, err)

	for field, value := range map[string]any{
		"amount":                    "2000",
		"status":                    "paid",
		"created":                   nil,
		"livemode":                  json.Number("0"),
		"payment_method_types":      "card",
		"metadata":                  map[string]any{"k": json.Number("1")},
		"automatic_payment_methods": map[string]any{"enabled": "yes"},
		"latest_charge":             json.Number("3"),
	} {
		in := newInspection(schemas)
		in.check("payment_intent", map[string]any{field: value}, schemas["payment_intent"])
		require.Len(t, in.wrong, 1, field)
	}

	in := newInspection(schemas)
	in.check("url", "/v1/refunds", &schema{Type: "string", Pattern: "^/v1/charges"})
	require.Len(t, in.wrong, 1)

	in = newInspection(schemas)
	in.check("refund", map[string]any{"color": "red"}, schemas["refund"])
	require.Equal(t, map[string]bool{"refund.color": true}, in.more)
	require.Contains(t, in.neverSeen(), "refund.amount")

	in.check("refund", map[string]any{"amount": json.Number("1")}, schemas["refund"])
	require.Equal(t, []string{"refund.amount"}, in.sometimes())
}
