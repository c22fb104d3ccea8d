package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/sandbox"
)

// stripeDispute is a Dispute as the sandbox knows it.
type stripeDispute struct {
	ID       string             `json:"id"`
	Intent   string             `json:"payment_intent"`
	Amount   int64              `json:"amount"`
	Status   string             `json:"status"`
	Metadata map[string]string  `json:"metadata"`
	Evidence map[string]*string `json:"evidence"`
	Details  struct {
		Submissions int `json:"submission_count"`
	} `json:"evidence_details"`
	Transactions []struct {
		Amount int64 `json:"amount"`
	} `json:"balance_transactions"`
}

// takes is how much of a payment is gone because of it. Whether it is, the money that was moved
// says, never the status.
func (d stripeDispute) takes(received int64) int64 {
	away := int64(0)
	for _, t := range d.Transactions {
		away -= t.Amount
	}

	return min(max(away, 0), received)
}

// isOpen: the bank has not decided.
func (d stripeDispute) isOpen() bool {
	return d.Status != "won" && d.Status != "lost" && d.Status != "warning_closed"
}

// needsResponse: the bank waits for the shop.
func (d stripeDispute) needsResponse() bool {
	return d.Status == "needs_response" || d.Status == "warning_needs_response"
}

type disputeRow struct {
	ID, Payment, Stripe, Amount, Currency, Status string
	Submissions                                   int
	Counted                                       string
}

func readDisputes(s *sandbox.Sandbox) (byIntent map[string][]stripeDispute, err error) {
	byIntent = map[string][]stripeDispute{}

	for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDispute}}) {
		var d stripeDispute
		if err := json.Unmarshal(entry.Object, &d); err != nil {
			return nil, fmt.Errorf("reading the sandbox's disputes: %w", err)
		}

		byIntent[entry.Intent] = append(byIntent[entry.Intent], d)
	}

	return byIntent, nil
}

func readDisputeRows(ctx context.Context, tx pgx.Tx) ([]disputeRow, error) {
	return rows[disputeRow](ctx, tx, `SELECT id::text, payment_id::text, stripe_dispute_id, amount::text, currency, status,
		submissions, counted::text FROM disputes ORDER BY created_at, id`)
}

// disputesAreEqual is J6: our disputes, and what they take of their payments, are Stripe's.
func disputesAreEqual(e evidence, found *violations) {
	ours := map[string][]disputeRow{}
	for _, d := range e.service.disputes {
		ours[d.Payment] = append(ours[d.Payment], d)
	}

	intents := e.intents()

	for _, p := range e.service.payments {
		theirs, taken := by(e.stripe.disputes[p.Intent], func(d stripeDispute) string { return d.ID }), int64(0)
		last, blocks := "", false

		for _, d := range theirs {
			taken += d.takes(intents[p.Intent].Received)
		}

		for _, d := range ours[p.ID] {
			at := theirs[d.Stripe]
			delete(theirs, d.Stripe)

			minor, err := minorUnits(d.Amount, d.Currency)
			counted, err2 := minorUnits(d.Counted, p.Currency)

			if err != nil || err2 != nil || minor != at.Amount || d.Status != at.Status || d.Submissions != at.Details.Submissions ||
				counted != at.takes(intents[p.Intent].Received) {
				found.addf("J6", "dispute "+d.ID, "is %+v here and %+v at Stripe", d, at)
			}

			// Of several the last one that blocks refunds is shown, else the last.
			open := at.isOpen() && !strings.HasPrefix(at.Status, "warning_")
			if open || !blocks {
				last, blocks = at.Status, open
			}
		}

		for id, d := range theirs {
			found.addf("J6", "dispute "+id, "of payment %s is not here: %+v", p.ID, d)
		}

		disputed, err := minorUnits(p.Disputed, p.Currency)
		if err != nil || disputed != taken || p.DisputeStatus != last {
			found.addf("J6", "payment "+p.ID, "disputed are %s (%s) here, and %d (%s) at Stripe", p.Disputed, p.DisputeStatus, taken, last)
		}
	}
}

// evidenceText is where a call has the text for the bank.
const evidenceText = "evidence[product_description]"

// answeredAsTold is J6 in the operations: evidence that was told as submitted was given to the bank once, the
// text is the last operation's, and what was told as accepted or cancelled is.
func answeredAsTold(e evidence, found *violations) {
	// Without a text there may be nothing that is staged, and then nothing is given to the bank.
	least, most, byID := map[string]int{}, map[string]int{}, map[string]operationRow{}
	won := e.decidedLater("won")

	for _, op := range e.service.operations {
		byID[op.ID] = op

		d := e.disputeOf(op)

		switch {
		case !op.done():
		case op.Kind == kindEvidence && op.asked("submit") == "true":
			most[d.ID]++

			if op.asked(evidenceText) != "" {
				least[d.ID]++
			}
		case op.Kind == kindAccept && d.Status != "lost" && d.Status != "warning_closed" && !won[d.ID]:
			found.addf("J6", "accept "+op.ID, "answers %d, and %s is %s", op.Status, d.ID, d.Status)
		case op.Kind == kindCancelRefund && e.refundOf(op).Status != "canceled":
			found.addf("J1", "cancel of refund "+op.ID, "answers %d, and at Stripe it is %+v", op.Status, e.refundOf(op))
		}
	}

	for _, all := range e.stripe.disputes {
		for _, d := range all {
			if n := d.Details.Submissions; n < least[d.ID] || n > most[d.ID] {
				found.addf("J6", "dispute "+d.ID, "evidence was submitted %d times at Stripe; told were %d to %d", n, least[d.ID], most[d.ID])
			}

			mark := operationOf(d.Metadata["marketflow_evidence"])
			op, here := byID[mark]
			text := ""

			if at := d.Evidence["product_description"]; at != nil {
				text = *at
			}

			if mark != "" && (!here || op.Kind != kindEvidence || !op.done() ||
				op.asked(evidenceText) != "" && op.asked(evidenceText) != text) {
				found.addf("J6", "dispute "+d.ID, "has the evidence %q of %s %q, which is %s and answers %d",
					text, op.Kind, mark, op.State, op.Status)
			}
		}
	}

	for _, r := range e.requests {
		if r.kind == kindCancelRefund && r.result.status == http.StatusOK &&
			!strings.Contains(string(r.result.body), `"status":"cancelled"`) {
			found.addf("J1", "key "+r.key, "was told that the refund is cancelled: %s", r.result)
		}
	}
}

// decidedLater are the disputes that the bank has once decided so, by Stripe's ids.
func (e evidence) decidedLater(status string) map[string]bool {
	decided := map[string]bool{}

	for _, r := range e.requests {
		if r.kind == kindBankDecides && r.tag == status && r.result.status == http.StatusOK {
			decided[r.key] = true
		}
	}

	return decided
}

// disputeOf is the dispute at Stripe that an operation is about.
func (e evidence) disputeOf(op operationRow) stripeDispute {
	id, below := strings.CutPrefix(strings.TrimSuffix(op.StripePath, "/close"), disputesPath+"/")

	for _, all := range e.stripe.disputes {
		for _, d := range all {
			if below && d.ID == id {
				return d
			}
		}
	}

	return stripeDispute{}
}

// refundOf is the refund at Stripe that an operation cancels.
func (e evidence) refundOf(op operationRow) stripeRefund {
	id, below := strings.CutPrefix(strings.TrimSuffix(op.StripePath, "/cancel"), refundsPath+"/")

	for _, all := range e.stripe.refunds {
		for _, r := range all {
			if below && r.ID == id {
				return r
			}
		}
	}

	return stripeRefund{}
}

// executedOnBelonging tells whether Stripe's records show what became of an operation on a refund
// or a dispute: it was done, or cannot be done any more.
func (e evidence) executedOnBelonging(op operationRow) bool {
	d := e.disputeOf(op)

	switch op.Kind {
	case kindCancelRefund:
		return e.refundOf(op).Status != "requires_action"
	case kindEvidence:
		return operationOf(d.Metadata["marketflow_evidence"]) == op.ID || !d.needsResponse()
	default:
		return !d.needsResponse()
	}
}
