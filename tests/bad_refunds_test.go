package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

var (
	disputedNow = refusal{http.StatusConflict, "disputed"}
	stale       = refusal{http.StatusPreconditionFailed, "precondition-failed"}
)

// nobody is the id of nothing.
const nobody = "0190d2a0-0000-7000-8000-000000000000"

// bought is a payment that its customer has paid, all that Stripe said of it taken.
func (w *world) bought(amount, currency string) (id string) {
	w.t.Helper()

	made := w.create(fmt.Sprintf(`{"amount":%s,"currency":%q}`, amount, currency))
	require.Equal(w.t, http.StatusCreated, made.status, "%s", made.body)
	w.confirm(made.text("stripe_payment_intent_id"), "pm_card_visa")
	w.eventually(func() bool { return w.status(made.text("id")) == "succeeded" }, "the payment succeeds")
	w.said()

	return made.text("id")
}

// moneyBack is all that is known of refunds and disputes, here and at Stripe.
func (w *world) moneyBack() string {
	w.t.Helper()

	var all strings.Builder

	for _, list := range []string{"payments", "refunds", "disputes"} {
		all.Write(w.get("/" + list + "?limit=100").body)
	}

	for entry := range w.stripe.Books(sandbox.BooksFilter{
		Kinds: []string{sandbox.KindIntent, sandbox.KindCharge, sandbox.KindRefund, sandbox.KindDispute},
	}) {
		all.Write(entry.Object)
	}

	return all.String()
}

// refuses sends what cannot be done, twice: the answers are the same, and nothing has changed.
func (w *world) refuses(requests map[string]bad) {
	w.t.Helper()
	w.said()

	before := w.moneyBack()

	for name, b := range requests {
		for range 2 {
			got := w.sendBad(b)
			require.Equal(w.t, b.answer.status, got.status, "%s: %s", name, got.body)
			got.problem(b.answer.status, b.answer.problem)
		}

		require.Equal(w.t, before, w.moneyBack(), name)
	}

	require.Zero(w.t, w.count("SELECT count(*) FROM operations WHERE idempotency_key LIKE 'bad%'"))
}

func TestRefund_BadInputChangesNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	paid, yen, dinar := w.bought("10.00", "USD"), w.bought("1000", "JPY"), w.bought("10.500", "KWD")

	part := w.bought("10.00", "USD")
	require.Equal(t, http.StatusCreated, w.on(part, "refunds", `{"amount":4,"idempotency_key":"part"}`).status)

	all := w.bought("10.00", "USD")
	require.Equal(t, http.StatusCreated, w.on(all, "refunds", `{"expected_refundable":10,"idempotency_key":"all"}`).status)

	unpaid := w.create(`{"amount":10.00,"currency":"USD"}`).text("id")
	held, _ := w.held()
	failed := w.create(`{"amount":10.00,"currency":"USD"}`)
	w.confirm(failed.text("stripe_payment_intent_id"), "pm_card_chargeDeclined")

	cancelled, _ := w.unpaid()
	require.Equal(t, http.StatusOK, w.on(cancelled, "cancel", `{"idempotency_key":"cancelled"}`).status)

	captured, _ := w.held()
	require.Equal(t, http.StatusOK, w.on(captured, "capture", `{"amount":4.00,"idempotency_key":"captured"}`).status)

	disputed, _, _ := w.disputed(sandbox.Complaint{Amount: 100})
	w.eventually(func() bool { return w.status(failed.text("id")) == "failed" }, "the bank declines it")

	refund := func(payment, body, key string, answer refusal) bad {
		return bad{http.MethodPost, "/payments/" + payment + "/refunds", body, key, answer}
	}

	w.refuses(map[string]bad{
		"no key":                        refund(paid, `{"amount":1}`, "", noKey),
		"a key of bad form":             refund(paid, `{"amount":1}`, strings.Repeat("k", 256), invalid),
		"no amount":                     refund(paid, `{}`, "bad1", invalid),
		"nothing":                       refund(paid, `{"amount":0}`, "bad2", invalid),
		"less than nothing":             refund(paid, `{"amount":-1}`, "bad3", invalid),
		"half a cent":                   refund(paid, `{"amount":0.005}`, "bad4", invalid),
		"a cent too much":               refund(paid, `{"amount":10.01}`, "bad5", exceeds),
		"text":                          refund(paid, `{"amount":"ten"}`, "bad6", invalid),
		"a reason that is not Stripe's": refund(paid, `{"amount":1,"reason":"bored"}`, "bad7", invalid),
		"our own metadata":              refund(paid, `{"amount":1,"metadata":{"payment_id":"x"}}`, "bad8", invalid),
		"a field that is not known":     refund(paid, `{"amount":1,"currency":"USD"}`, "bad9", invalid),
		"a stale belief":                refund(part, `{"expected_refundable":10.00}`, "bad10", stale),
		"a stale belief and an amount":  refund(part, `{"amount":1,"expected_refundable":10.00}`, "bad11", stale),
		"a cent more than is left":      refund(part, `{"amount":6.01}`, "bad12", exceeds),
		"nothing is left":               refund(all, `{"amount":0.01}`, "bad13", exceeds),
		"a yen too much":                refund(yen, `{"amount":1001}`, "bad14", exceeds),
		"half a yen":                    refund(yen, `{"amount":1.5}`, "bad15", invalid),
		"a fils that banks do not have": refund(dinar, `{"amount":1.001}`, "bad17", invalid),
		"ten fils too much":             refund(dinar, `{"amount":10.510}`, "bad18", exceeds),
		"more than was captured":        refund(captured, `{"amount":4.01}`, "bad19", exceeds),
		"not paid":                      refund(unpaid, `{"amount":1}`, "bad20", wrong),
		"not captured":                  refund(held, `{"amount":1}`, "bad21", wrong),
		"declined":                      refund(failed.text("id"), `{"amount":1}`, "bad22", wrong),
		"cancelled":                     refund(cancelled, `{"amount":1}`, "bad23", wrong),
		"disputed":                      refund(disputed, `{"amount":1}`, "bad24", disputedNow),
		"the key of another amount":     refund(part, `{"amount":3}`, "part", reused),
		"the key of another payment":    refund(paid, `{"amount":4}`, "part", reused),
		"the key of a capture":          refund(captured, `{"amount":4}`, "captured", reused),
		"no such payment":               refund(nobody, `{"amount":1}`, "bad25", missing),
		"no such refund":                {http.MethodPost, "/refunds/" + nobody + "/cancel", "", "bad26", missing},
	})

	// What is right is done, to the last unit.
	for payment, amount := range map[string]string{yen: "1000", dinar: "10.500", paid: "10.00"} {
		made := w.on(payment, "refunds", `{"amount":`+amount+`}`, "Idempotency-Key", "all of "+payment)
		require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
		require.Equal(t, json.Number(amount), made.field("amount"))
		require.Equal(t, json.Number(amount), w.get("/payments/"+payment).field("amount_refunded"))
	}
}

func TestDisputes_BadInputChangesNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	payment, open, _ := w.disputed(sandbox.Complaint{})
	_, lost, provider := w.disputed(sandbox.Complaint{})
	w.decide(provider, "lost")

	staged := w.answerTo(open, "evidence", `{"evidence":{"customer_name":"Jenny"},"idempotency_key":"staged"}`)
	require.Equal(t, http.StatusOK, staged.status, "%s", staged.body)

	evidence := func(dispute, body, key string, answer refusal) bad {
		return bad{http.MethodPost, "/disputes/" + dispute + "/evidence", body, key, answer}
	}
	accept := func(dispute, body, key string, answer refusal) bad {
		return bad{http.MethodPost, "/disputes/" + dispute + "/accept", body, key, answer}
	}
	long := strings.Repeat("x", 20_001)

	w.refuses(map[string]bad{
		"nothing to stage":           evidence(open, `{}`, "bad1", invalid),
		"an unknown field":           evidence(open, `{"evidence":{"excuse":"x"}}`, "bad2", invalid),
		"a file":                     evidence(open, `{"evidence":{"receipt":"file_1"}}`, "bad3", invalid),
		"too long":                   evidence(open, `{"evidence":{"uncategorized_text":"`+long+`"}}`, "bad4", invalid),
		"a number":                   evidence(open, `{"evidence":{"customer_name":7}}`, "bad5", invalid),
		"submit is no word":          evidence(open, `{"submit":"yes"}`, "bad6", invalid),
		"the key with other words":   evidence(open, `{"evidence":{"customer_name":"Jen"}}`, "staged", reused),
		"the key, now to submit":     evidence(open, `{"evidence":{"customer_name":"Jenny"},"submit":true}`, "staged", reused),
		"the key of another route":   accept(open, `{"confirm":true}`, "staged", reused),
		"the key of another thing":   {http.MethodPost, "/payments/" + payment + "/refunds", `{"amount":1}`, "staged", reused},
		"not confirmed":              accept(open, `{}`, "bad7", invalid),
		"refused":                    accept(open, `{"confirm":false}`, "bad8", invalid),
		"confirmed by a word":        accept(open, `{"confirm":"true"}`, "bad9", invalid),
		"it is lost":                 evidence(lost, `{"submit":true}`, "bad10", wrong),
		"it is lost already":         accept(lost, `{"confirm":true}`, "bad11", wrong),
		"no such dispute to answer":  evidence(nobody, `{"submit":true}`, "bad12", missing),
		"no such dispute to give up": accept(nobody, `{"confirm":true}`, "bad13", missing),
		"Stripe's id to answer":      evidence("du_1", `{"submit":true}`, "bad14", invalid),
	})

	// Somebody who has read an older version is told so.
	old := w.answerTo(open, "evidence", `{"submit":true}`, "If-Match", `"1"`)
	old.problem(http.StatusPreconditionFailed, "precondition-failed")
	require.Equal(t, open, old.text("dispute_id"))

	for _, query := range []string{
		"status=Lost", "kind=fraud", "sort=amount", "payment_id=7", "limit=0", "evidence_due_by[lt]=soon",
	} {
		w.get("/disputes?"+query).problem(http.StatusBadRequest, "invalid-request")
	}
}
