package sandbox_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// A state file from before there were accounts, logs of attempts and kinds of
// disputes is the default account's.
func TestState_OfAnOlderSandboxIsTheDefaultAccounts(t *testing.T) {
	t.Parallel()

	older, err := os.ReadFile(filepath.Join("testdata", "state-before-accounts"))
	require.NoError(t, err)

	state := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(state, older, 0o600))

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		StateFile: state, WebhookURL: "http://127.0.0.1:9/",
		Now:      func() time.Time { return time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC) }, // when the file was written
		Accounts: []sandbox.Account{{ID: sandbox.DefaultAccount}, {ID: otherAccount, Keys: []string{otherKey}}},
	}))
	c := caller{t, server.URL, testKey, ""}

	require.Equal(t, "whsec_old", server.WebhookSecret())

	replay := c.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "old/1")
	require.Equal(t, "succeeded", replay.text("status"))
	require.Equal(t, "true", replay.header.Get("Idempotent-Replayed"))

	require.Len(t, c.call("GET", "/v1/payment_intents", "").body["data"], 3)
	require.Empty(t, caller{t, server.URL, otherKey, ""}.call("GET", "/v1/payment_intents", "").body["data"])
	require.Len(t, c.call("GET", "/v1/refunds", "").body["data"], 1)

	disputes, _ := c.call("GET", "/v1/disputes", "").body["data"].([]any)
	require.Len(t, disputes, 1)

	dispute, _ := disputes[0].(map[string]any)
	details, _ := dispute["evidence_details"].(map[string]any)
	created, _ := dispute["created"].(float64)
	require.InDelta(t, created+9*24*60*60, details["due_by"], 0, "as it was told then")

	id, _ := dispute["id"].(string)
	require.Equal(t, "under_review",
		c.call("POST", "/v1/disputes/"+id, "evidence[uncategorized_text]=winning_evidence").text("status"))
	server.Advance(time.Minute)
	require.Eventually(t, func() bool { return c.call("GET", "/v1/disputes/"+id, "").text("status") == "won" }, patience,
		glance)

	for _, delivery := range server.Deliveries("", "") {
		if delivery.Attempts > 0 {
			require.Len(t, delivery.Log, delivery.Attempts)
			require.NotEmpty(t, delivery.LastError)
		}
	}

	require.Equal(t, http.StatusOK, c.call("GET", "/v1/charges?limit=100&expand[]=data.balance_transaction", "").status)

	// Refund events that were made then are not shown as if they were of this
	// version, and stay where their ids lead.
	require.Empty(t, c.call("GET", "/v1/events?type=refund.created", "").body["data"])
}
