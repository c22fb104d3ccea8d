package main

import (
	"encoding/csv"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// taken is a payment of 10.00 USD, refunded by 4.00 under the key refund_1 and then disputed.
type taken struct{ payment, refund, dispute, providerID string }

func (d *desk) taken(service string) taken {
	d.t.Helper()

	d.stripe.AddWebhook(service+"/webhooks/stripe", testWebhookSecret)

	status, made := d.create(service, `{"amount":10.00,"currency":"USD","idempotency_key":"order_1"}`)
	require.Equal(d.t, http.StatusCreated, status, made)

	intent := text(d.t, made, "stripe_payment_intent_id")
	status, paid := d.post(d.stripe.URL+"/v1/payment_intents/"+intent+"/confirm", "application/x-www-form-urlencoded",
		"payment_method=pm_card_visa&return_url=https://example.com/")
	require.Equal(d.t, http.StatusOK, status, paid)

	all := taken{payment: text(d.t, made, "id")}

	require.Eventually(d.t, func() bool {
		status, refunded := d.post(service+"/payments/"+all.payment+"/refunds", "application/json",
			`{"amount":4.00,"reason":"duplicate","idempotency_key":"refund_1"}`)
		if status == http.StatusCreated {
			all.refund = text(d.t, refunded, "id")
		}

		return status == http.StatusCreated
	}, 20*time.Second, 20*time.Millisecond, "the payment is paid, and refunded")

	var err error

	all.providerID, err = d.stripe.OpenDispute(intent, sandbox.Complaint{DueInDays: 3})
	require.NoError(d.t, err)
	require.Eventually(d.t, func() bool {
		rows, ok := at(d.t, d.json("disputes", "list", "--payment-id", all.payment), "data").([]any)
		if ok && len(rows) == 1 {
			all.dispute = text(d.t, rows[0], "id")
		}

		return all.dispute != ""
	}, 20*time.Second, 100*time.Millisecond, "the dispute is read")

	return all
}

// one is the only row of a list.
func (d *desk) one(args ...string) any {
	d.t.Helper()

	rows, ok := at(d.t, d.json(args...), "data").([]any)
	require.True(d.t, ok, args)
	require.Len(d.t, rows, 1, args)

	return rows[0]
}

// table is what a list writes with -o csv, without its head.
func (d *desk) table(args ...string) [][]string {
	d.t.Helper()

	got := d.run(append(args, "-o", "csv")...)
	require.Zero(d.t, got.code, got.stderr)

	rows, err := csv.NewReader(strings.NewReader(got.stdout)).ReadAll()
	require.NoError(d.t, err)
	require.NotEmpty(d.t, rows)

	return rows[1:]
}

func TestRefunds(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	all := d.taken(d.serve())

	shown := d.object("refunds", "show", all.refund)
	require.Equal(t, all.payment, text(t, shown, "refund", "payment_id"))
	require.Equal(t, "succeeded", text(t, shown, "refund", "status"))
	require.Equal(t, []any{}, shown["audit"])
	require.Equal(t, shown, d.object("refunds", "show", "--key", "refund_1"))

	for _, word := range []string{"4.00 USD", "duplicate", all.payment} {
		require.Contains(t, d.run("refunds", "show", all.refund).stdout, word)
	}

	for _, args := range [][]string{nil, {"--status", "succeeded", "--origin", "api"}, {"--payment-id", all.payment}} {
		require.Equal(t, shown["refund"], d.one(append([]string{"refunds", "list"}, args...)...), args)
	}

	require.Contains(t, d.run("refunds", "list").stdout, all.refund)
	require.Empty(t, at(t, d.json("refunds", "list", "--status", "failed"), "data"))
	require.Equal(t, all.refund, d.table("refunds", "list")[0][0])
	require.Empty(t, d.table("refunds", "list", "--origin", "stripe"))

	// All of it was disputed, though a part was back already.
	overdrawn, ok := d.json("refunds", "overdrawn").([]any)
	require.True(t, ok)
	require.Len(t, overdrawn, 1)
	require.Equal(t, all.payment, text(t, overdrawn[0], "payment", "id"))

	// A key is a tenant's, an id is not.
	d.object("tenants", "create", "acme")
	require.Equal(t, shown, d.object("refunds", "show", all.refund, "--tenant", "acme"))
	require.Empty(t, at(t, d.json("refunds", "list", "--tenant", "acme"), "data"))
	d.fails("there is no operation under the key refund_1", "refunds", "show", "--key", "refund_1", "--tenant", "acme")

	nobody := uuid.NewString()
	d.fails("there is no refund "+nobody, "refunds", "show", nobody)
	d.fails("no refund was asked for, but a create", "refunds", "show", "--key", "order_1")
	d.fails("is not an id", "refunds", "show", "re_1")
	d.fails("an id is needed, or --key", "refunds", "show")
	d.fails("not both", "refunds", "show", nobody, "--key", "refund_1")
	d.fails("status", "refunds", "list", "--status", "gone")
	d.fails("limit", "refunds", "list", "--limit", "0")
}

// What was rejected has no refund, and the command says where its story is.
func TestRefunds_ShowOneThatWasRejected(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	service := d.serve()
	all := d.taken(service)
	require.NoError(t, d.stripe.DecideDispute(all.providerID, sandbox.Decision{Status: "lost", Reinstated: new(int64(700))}))

	// Stripe gives nothing back of what was charged back, though some of it is here again.
	require.Eventually(t, func() bool {
		status, _ := d.post(service+"/payments/"+all.payment+"/refunds", "application/json",
			`{"amount":1,"idempotency_key":"refund_2"}`)

		return status == http.StatusUnprocessableEntity
	}, 20*time.Second, 50*time.Millisecond)
	d.fails("was never made: marketflow operations show ", "refunds", "show", "--key", "refund_2")
}

func TestDisputes(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	all := d.taken(d.serve())

	shown := d.object("disputes", "show", all.dispute)
	require.Equal(t, all.payment, shown["payment_id"])
	require.Equal(t, "needs_response", shown["status"])
	require.Equal(t, shown, d.object("disputes", "show", all.providerID))

	for _, word := range []string{all.providerID, "needs_response", "10.00 USD", "-10.00 USD", "15.00 USD", "chargeback"} {
		require.Contains(t, d.run("disputes", "show", all.dispute).stdout, word)
	}

	for _, args := range [][]string{
		nil,
		{"--status", "needs_response", "--kind", "chargeback"},
		{"--sort", "evidence_due_by"},
		{"--evidence-due-by-lt", time.Now().AddDate(0, 0, 5).UTC().Format(time.RFC3339)},
	} {
		require.Equal(t, any(shown), d.one(append([]string{"disputes", "list"}, args...)...), args)
	}

	require.Contains(t, d.run("disputes", "list").stdout, all.dispute)
	require.Empty(t, at(t, d.json("disputes", "list", "--kind", "inquiry"), "data"))
	require.Equal(t, all.dispute, d.table("disputes", "list")[0][0])
	require.Empty(t, d.table("disputes", "list", "--status", "won"))

	// A list is of one tenant.
	d.object("tenants", "create", "acme")
	require.Empty(t, at(t, d.json("disputes", "list", "--tenant", "acme"), "data"))

	nobody := uuid.NewString()
	d.fails("there is no dispute "+nobody, "disputes", "show", nobody)
	d.fails("there is no dispute du_x", "disputes", "show", "du_x")
	d.fails("is not an id", "disputes", "show", "x")
	d.fails("kind", "disputes", "list", "--kind", "theft")
	d.fails("sort", "disputes", "list", "--sort", "amount")
}
