package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/sandbox"
)

// said waits until the service has taken every event that Stripe has sent, and has read what they
// are only hints of.
func (w *world) said() {
	w.t.Helper()

	w.eventually(func() bool {
		for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDelivery}}) {
			if !entry.Delivery.Delivered {
				return false
			}
		}

		return w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'hint'") == 0
	}, "all events are taken")
}

// disputed is a payment of 10.00 USD that is paid and disputed, with Stripe's id of the dispute.
func (w *world) disputed(complaint sandbox.Complaint) (payment, dispute, providerID string) {
	w.t.Helper()

	payment, intent := w.paid("pm_card_visa")
	providerID, err := w.stripe.OpenDispute(intent, complaint)
	require.NoError(w.t, err)
	w.said()

	found := w.get("/disputes?payment_id=" + payment).ids()
	require.Len(w.t, found, 1)

	return payment, found[0], providerID
}

// decide is what the customer's bank does.
func (w *world) decide(providerID, status string, reinstated ...int64) {
	w.t.Helper()

	decision := sandbox.Decision{Status: status}
	if len(reinstated) > 0 {
		decision.Reinstated = &reinstated[0]
	}

	require.NoError(w.t, w.stripe.DecideDispute(providerID, decision))
	w.said()
}

// answerTo sends an operation on a dispute.
func (w *world) answerTo(dispute, operation, body string, header ...string) answer {
	w.t.Helper()

	return w.send(http.MethodPost, "/disputes/"+dispute+"/"+operation, body, header...)
}

// disputeAt is a dispute in Stripe's own records.
func (w *world) disputeAt(providerID string) (status string, submissions int, evidence map[string]string) {
	w.t.Helper()

	evidence = map[string]string{}

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDispute}}) {
		if entry.ID != providerID {
			continue
		}

		var found struct {
			Status   string             `json:"status"`
			Evidence map[string]*string `json:"evidence"`
			Details  struct {
				Submissions int `json:"submission_count"`
			} `json:"evidence_details"`
		}
		require.NoError(w.t, json.Unmarshal(entry.Object, &found))

		for name, text := range found.Evidence {
			if text != nil {
				evidence[name] = *text
			}
		}

		return found.Status, found.Details.Submissions, evidence
	}

	require.Fail(w.t, "Stripe has no dispute "+providerID)

	return "", 0, nil
}

// taken are the payment's sums about disputes and refunds.
type taken struct{ disputed, refundable, status string }

func (w *world) money(payment string) taken {
	w.t.Helper()

	read := w.get("/payments/" + payment)
	status, _ := read.field("dispute_status").(string)

	return taken{fmt.Sprint(read.field("amount_disputed")), fmt.Sprint(read.field("amount_refundable")), status}
}

// A chargeback from the card to the bank's decision, as a shop's backend sees it.
func TestDisputes_ThroughTheFrontDoor(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	payment, intent := w.paid("pm_card_createDispute")
	w.said()

	found := w.get("/disputes?status=needs_response&kind=chargeback&sort=evidence_due_by&payment_id=" + payment)
	require.Len(t, found.listed(), 1)
	dispute := found.ids()[0]
	read := w.get("/disputes/" + dispute)
	require.JSONEq(t, string(read.body), string(found.listed()[0]))
	require.Equal(t, `"`+fmt.Sprint(read.field("version"))+`"`, read.header.Get("ETag"))
	require.Equal(t, payment, read.text("payment_id"))
	require.Equal(t, json.Number("10.00"), read.field("amount_counted"))
	require.Equal(t, false, read.field("evidence_submitted"))
	require.Contains(t, string(read.body), `"balance":[{"amount":-10.00,"fee":15.00,"currency":"USD"`)
	require.Equal(t, taken{"10.00", "0.00", "needs_response"}, w.money(payment))

	refused := w.on(payment, "refunds", `{"amount":1.00,"idempotency_key":"refund_1"}`)
	refused.problem(http.StatusConflict, "disputed")
	require.Equal(t, dispute, refused.text("dispute_id"))
	require.Zero(t, w.given(intent))

	// Staged, and nobody has given anything to the bank.
	provider := read.text("stripe_dispute_id")
	stage := `{"evidence":{"shipping_tracking_number":"1Z999","customer_name":"Jenny Rosen"},"idempotency_key":"stage"}`
	staged := w.answerTo(dispute, "evidence", stage)
	require.Equal(t, http.StatusOK, staged.status, "%s", staged.body)
	require.Equal(t, false, staged.field("evidence_submitted"))

	status, submissions, evidence := w.disputeAt(provider)
	require.Equal(t, "needs_response", status)
	require.Zero(t, submissions)
	require.Equal(t, map[string]string{"shipping_tracking_number": "1Z999", "customer_name": "Jenny Rosen"}, evidence)

	// The name is taken away again, and the rest is given to the bank, once.
	submit := `{"evidence":{"customer_name":null},"submit":true,"idempotency_key":"submit"}`
	submitted := w.answerTo(dispute, "evidence", submit)
	require.Equal(t, http.StatusOK, submitted.status, "%s", submitted.body)
	require.Equal(t, "under_review", submitted.text("status"))
	require.Equal(t, true, submitted.field("evidence_submitted"))

	for key, first := range map[string]answer{stage: staged, submit: submitted} {
		again := w.answerTo(dispute, "evidence", key)
		require.Equal(t, string(first.body), string(again.body))
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	}

	status, submissions, evidence = w.disputeAt(provider)
	require.Equal(t, "under_review", status)
	require.Equal(t, 1, submissions)
	require.Equal(t, map[string]string{"shipping_tracking_number": "1Z999"}, evidence)

	w.answerTo(dispute, "evidence", strings.ReplaceAll(submit, `"submit"}`, `"more"}`)).
		problem(http.StatusConflict, "invalid-state")
	w.answerTo(dispute, "accept", `{"confirm":true,"idempotency_key":"accept"}`).problem(http.StatusConflict, "invalid-state")
	require.Equal(t, taken{"10.00", "0.00", "under_review"}, w.money(payment))

	// The bank has read it: the money is back, and may be refunded.
	w.decide(provider, "won")
	require.Equal(t, taken{"0.00", "10.00", "won"}, w.money(payment))

	made := w.on(payment, "refunds", `{"amount":1.00,"idempotency_key":"refund_1"}`)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	require.Equal(t, int64(1_00), w.given(intent))

	requireTold(t, w.get("/payments/"+payment+"/timeline").body)
}

// requireTold: the timeline tells of the dispute what a person asks, and not what was written to the bank.
func requireTold(t *testing.T, timeline []byte) {
	t.Helper()

	for _, title := range []string{
		"chargeback opened", "dispute took money", "submit_evidence asked for", "submit_evidence finished", "dispute gave money back",
		"dispute won", "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed", "refund succeeded",
	} {
		require.Contains(t, string(timeline), `"title":"`+title+`"`)
	}

	require.NotContains(t, string(timeline), "1Z999")
	require.NotContains(t, string(timeline), "Jenny")
}

// To accept is to lose at once: the payment counts what is gone.
func TestDisputes_Accepted(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	payment, dispute, provider := w.disputed(sandbox.Complaint{Amount: 300})
	require.Equal(t, taken{"3.00", "0.00", "needs_response"}, w.money(payment))

	w.answerTo(dispute, "accept", `{"idempotency_key":"accept"}`).problem(http.StatusBadRequest, "invalid-request")

	const accept = `{"confirm":true,"idempotency_key":"accept"}`

	accepted := w.answerTo(dispute, "accept", accept)
	require.Equal(t, http.StatusOK, accepted.status, "%s", accepted.body)
	require.Equal(t, "lost", accepted.text("status"))
	require.Equal(t, string(accepted.body), string(w.answerTo(dispute, "accept", accept).body))

	w.said()

	status, submissions, _ := w.disputeAt(provider)
	require.Equal(t, "lost", status)
	require.Zero(t, submissions)
	require.Equal(t, taken{"3.00", "7.00", "lost"}, w.money(payment))

	w.answerTo(dispute, "accept", `{"confirm":true,"idempotency_key":"twice"}`).problem(http.StatusConflict, "invalid-state")

	over := w.on(payment, "refunds", `{"amount":7.01,"idempotency_key":"refund_1"}`)
	over.problem(http.StatusUnprocessableEntity, "amount-exceeded")
	require.Equal(t, json.Number("7.00"), over.field("available"))

	// Stripe gives nothing back of a charge that was charged back, and what was reserved is free again.
	w.on(payment, "refunds", `{"amount":7.00,"idempotency_key":"refund_1"}`).
		problem(http.StatusUnprocessableEntity, "rejected-by-provider")
	require.Equal(t, taken{"3.00", "7.00", "lost"}, w.money(payment))
}

// What the bank decides, step by step, and what the payment says then.
func TestDisputes_WhatTheBankDecides(t *testing.T) {
	t.Parallel()

	type step struct {
		status     string
		reinstated []int64
		then       taken
	}

	open := taken{"10.00", "0.00", "needs_response"}
	lost := taken{"10.00", "0.00", "lost"}
	asked := taken{"0.00", "10.00", "warning_needs_response"}

	for name, c := range map[string]struct {
		complaint sandbox.Complaint
		opened    taken
		steps     []step
	}{
		"won": {sandbox.Complaint{}, open, []step{{"won", nil, taken{"0.00", "10.00", "won"}}}},
		"lost, and won late": {
			sandbox.Complaint{},
			open,
			[]step{{"lost", nil, lost}, {"won", nil, taken{"0.00", "10.00", "won"}}},
		},
		"lost, and a part comes back": {
			sandbox.Complaint{}, open, []step{{"lost", []int64{400}, taken{"6.00", "4.00", "lost"}}},
		},
		"an inquiry that comes to nothing": {
			sandbox.Complaint{Inquiry: true},
			asked,
			[]step{{"warning_closed", nil, taken{"0.00", "10.00", "warning_closed"}}},
		},
		"an inquiry that escalates, and is lost": {
			sandbox.Complaint{Inquiry: true}, asked, []step{{"needs_response", nil, open}, {"lost", nil, lost}},
		},
		"nobody may answer": {sandbox.Complaint{Final: true}, lost, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.deliverWebhooks()
			payment, dispute, provider := w.disputed(c.complaint)
			require.Equal(t, c.opened, w.money(payment))

			last := c.opened

			for _, step := range c.steps {
				w.decide(provider, step.status, step.reinstated...)
				require.Equal(t, step.then, w.money(payment), step.status)
				require.Equal(t, step.then.status, w.get("/disputes/"+dispute).text("status"))

				last = step.then
			}

			refund := w.on(payment, "refunds", `{"expected_refundable":10.00,"idempotency_key":"refund"}`)
			if last.refundable == "10.00" {
				require.Equal(t, http.StatusCreated, refund.status, "%s", refund.body)
			} else {
				refund.problem(http.StatusPreconditionFailed, "precondition-failed")
				require.Equal(t, json.Number(last.refundable), refund.field("available"))
			}
		})
	}
}

// The first deadline comes first; what needs no answer has none.
func TestDisputes_ByDueDate(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	_, late, _ := w.disputed(sandbox.Complaint{DueInDays: 9})
	_, soon, _ := w.disputed(sandbox.Complaint{DueInDays: 2})
	_, inquiry, _ := w.disputed(sandbox.Complaint{DueInDays: 5, Inquiry: true})

	first := w.get("/disputes?sort=evidence_due_by&limit=2")
	require.Equal(t, []string{soon, inquiry}, first.ids())
	require.Equal(t, []string{late}, w.get("/disputes?sort=evidence_due_by&limit=2&cursor="+first.text("next_cursor")).ids())
	require.Equal(t, []string{inquiry}, w.get("/disputes?kind=inquiry").ids())
	require.Len(t, w.get("/payments?disputed=true").ids(), 3)

	w.get("/disputes?limit=2&cursor="+first.text("next_cursor")).problem(http.StatusBadRequest, "invalid-request")
}

// Evidence that is lost on its way is given once, whatever the client does.
func TestDisputes_EvidenceWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()

	for name, action := range map[string]sandbox.Action{"TheCall": sandbox.DropBefore, "TheAnswer": sandbox.DropAfter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.deliverWebhooks()
			_, dispute, provider := w.disputed(sandbox.Complaint{})

			fault, err := w.stripe.AddFault(sandbox.Fault{
				Method: http.MethodPost, Path: "/v1/disputes/" + provider, Action: action, Count: -1,
			})
			require.NoError(t, err)

			const body = `{"evidence":{"uncategorized_text":"It was signed for."},"submit":true,"idempotency_key":"k"}`

			w.answerTo(dispute, "evidence", body).problem(http.StatusServiceUnavailable, "outcome-unknown")
			require.NoError(t, w.stripe.RemoveFault(fault.ID))

			var again answer

			w.eventually(func() bool {
				again = w.answerTo(dispute, "evidence", body)

				return again.status == http.StatusOK
			}, "recovery finishes it")
			require.Equal(t, "under_review", again.text("status"))

			status, submissions, _ := w.disputeAt(provider)
			require.Equal(t, "under_review", status)
			require.Equal(t, 1, submissions)
		})
	}
}

// A Stripe key that may not list disputes hides them. All else comes, and an operator sees why: one line in the log,
// and each attempt in the metrics.
func TestDisputes_AKeyThatMayNotListThem(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	core, lines := observer.New(zap.WarnLevel)
	service, err := bootstrap.Start(t.Context(), w.config, "test", bootstrap.With(zap.New(core)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })

	w.url = "http://" + service.Addr()
	w.deliverWebhooks()

	fault, err := w.stripe.AddFault(sandbox.Fault{
		Method: http.MethodGet, Path: "/v1/disputes", Action: sandbox.Error, Status: http.StatusForbidden, Count: -1,
		Type: "invalid_request_error", Message: "The provided key does not have the required permissions for this endpoint.",
	})
	require.NoError(t, err)

	payment, intent := w.paid("pm_card_visa")
	_, err = w.stripe.Dashboard("/v1/refunds", url.Values{"payment_intent": {intent}, "amount": {"400"}})
	require.NoError(t, err)
	dispute, err := w.stripe.OpenDispute(intent, sandbox.Complaint{Amount: 100})
	require.NoError(t, err)
	w.said()

	require.Equal(t, json.Number("4.00"), w.get("/payments/"+payment).field("amount_refunded"))
	require.Equal(t, taken{"0.00", "6.00", ""}, w.money(payment))
	require.Empty(t, w.get("/disputes").ids())

	// Money that the bank has taken is not given back all the same: Stripe refuses.
	refused := w.on(payment, "refunds", `{"amount":6.00,"idempotency_key":"refund_1"}`)
	refused.problem(http.StatusUnprocessableEntity, "rejected-by-provider")
	require.Equal(t, int64(4_00), w.given(intent))

	require.Equal(t, 1, lines.FilterMessageSnippet("may not list disputes").Len())
	require.Regexp(t, `marketflow_stripe_calls_total\{operation="list_disputes",outcome="rejected"[^}]*\} [1-9]`,
		string(w.get("/metrics").body))

	// Once it may, the dispute's next event finds it.
	require.NoError(t, w.stripe.RemoveFault(fault.ID))
	w.decide(dispute, "lost")
	require.Equal(t, taken{"1.00", "5.00", "lost"}, w.money(payment))
}
