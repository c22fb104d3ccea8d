package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/sandbox"
)

var errNotPaid = errors.New("the payment that is to be refunded was not made")

// stripeRefund is a Refund as the sandbox knows it.
type stripeRefund struct {
	ID          string            `json:"id"`
	Intent      string            `json:"payment_intent"`
	Amount      int64             `json:"amount"`
	Status      string            `json:"status"`
	Transaction string            `json:"balance_transaction"`
	Metadata    map[string]string `json:"metadata"`
}

// madeBy is the id of the operation that has made it; empty if none has.
func (r stripeRefund) madeBy() string { return operationOf(r.Metadata["marketflow"]) }

// ofMoney: it is not the rest of a hold that was let go.
func (r stripeRefund) ofMoney() bool {
	return r.Transaction != "" || r.Status != "succeeded" || r.Metadata["marketflow"] != ""
}

// counts: the money has gone back, or is on its way.
func (r stripeRefund) counts() bool { return r.Status != "failed" && r.Status != "canceled" }

// status is its status in the service's words.
func (r stripeRefund) status() string {
	if r.Status == "canceled" {
		return "cancelled"
	}

	return r.Status
}

type refundRow struct{ ID, Payment, Stripe, Amount, Currency, Status, Origin string }

func readRefunds(s *sandbox.Sandbox) (byIntent map[string][]stripeRefund, err error) {
	byIntent = map[string][]stripeRefund{}

	for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		var r stripeRefund
		if err := json.Unmarshal(entry.Object, &r); err != nil {
			return nil, fmt.Errorf("reading the sandbox's refunds: %w", err)
		}

		if r.ofMoney() {
			byIntent[entry.Intent] = append(byIntent[entry.Intent], r)
		}
	}

	return byIntent, nil
}

func readRefundRows(ctx context.Context, tx pgx.Tx) ([]refundRow, error) {
	return rows[refundRow](ctx, tx, `SELECT id::text, payment_id::text, COALESCE(stripe_refund_id, ''), amount::text, currency,
		status, origin FROM refunds ORDER BY created_at`)
}

// noMoreThanCaptured is J1, in Stripe's records.
func noMoreThanCaptured(e evidence, found *violations) {
	for _, intent := range e.stripe.intents {
		given := int64(0)

		for _, r := range e.stripe.refunds[intent.ID] {
			if r.counts() {
				given += r.Amount
			}
		}

		if given > intent.Received {
			found.addf("J1", "intent "+intent.ID, "%d were received, and %d are given back", intent.Received, given)
		}
	}
}

// oneRefund is J1 in the operations: a key gives back at most once, also by the client's own name for it; what
// was told as done was, and what was refused was not.
func oneRefund(e evidence, found *violations) {
	byOperation, byOrder := map[string]stripeRefund{}, map[string]stripeRefund{}

	for _, intent := range e.stripe.intents {
		for _, r := range e.stripe.refunds[intent.ID] {
			for name, seen := range map[string]map[string]stripeRefund{r.madeBy(): byOperation, r.Metadata["order"]: byOrder} {
				if name == "" {
					continue
				}

				if other, twice := seen[name]; twice {
					found.addf("J1", "refund of "+name, "was given back as %s and as %s", other.ID, r.ID)
				}

				seen[name] = r
			}
		}
	}

	for _, op := range e.service.operations {
		if op.Kind != kindRefund {
			continue
		}

		made, there := byOperation[op.ID]

		switch {
		case op.done() && !there:
			found.addf("J1", "refund "+op.ID, "answers %d, and nothing was given back", op.Status)
		case op.State == "finished" && !op.done() && there:
			found.addf("J1", "refund "+op.ID, "answers %d %s, and %s was given back", op.Status, op.Body, made.ID)
		}
	}

	for _, r := range e.requests {
		if r.kind == kindRefund && r.result.status == http.StatusCreated && byOrder[r.key].Amount != r.minor {
			found.addf("J1", "key "+r.key, "asked for %d, was told %s, and %d were given back", r.minor, r.result, byOrder[r.key].Amount)
		}
	}
}

// refundsAreEqual is J2: our refunds and sums are Stripe's. What waits for a person stays reserved.
func refundsAreEqual(e evidence, found *violations) {
	ours := map[string][]refundRow{}
	for _, r := range e.service.refunds {
		ours[r.Payment] = append(ours[r.Payment], r)
	}

	waits, intents := map[string]bool{}, e.intents()

	for _, op := range e.service.operations {
		waits[op.ID] = op.Kind == kindRefund && (op.State == "needs_attention" || op.unprovable())
	}

	for _, p := range e.service.payments {
		theirs, pending, given := map[string]stripeRefund{}, int64(0), int64(0)

		for _, r := range e.stripe.refunds[p.Intent] {
			theirs[r.ID] = r

			switch r.Status {
			case "succeeded":
				given += r.Amount
			case "pending", "requires_action":
				pending += r.Amount
			}
		}

		for _, r := range ours[p.ID] {
			minor, err := minorUnits(r.Amount, r.Currency)
			at, there := theirs[r.Stripe]
			delete(theirs, r.Stripe)

			switch {
			case err != nil:
				found.addf("J2", "refund "+r.ID, "%v", err)
			case r.Stripe == "" && waits[r.ID]:
				pending += minor
			case !there || at.Amount != minor || at.status() != r.Status:
				found.addf("J2", "refund "+r.ID, "is %+v here and %+v at Stripe", r, at)
			}
		}

		for id, r := range theirs {
			found.addf("J2", "refund "+id, "of payment %s is not here: %+v", p.ID, r)
		}

		taken := int64(0)
		for _, d := range e.stripe.disputes[p.Intent] {
			taken += d.takes(intents[p.Intent].Received)
		}

		p.equalRefunds(pending, given, taken, found)
	}
}

func (p paymentRow) equalRefunds(pending, given, disputed int64, found *violations) {
	captured, err := minorUnits(p.Captured, p.Currency)
	ourPending, err2 := minorUnits(p.Pending, p.Currency)
	ourGiven, err3 := minorUnits(p.Refunded, p.Currency)
	over, err4 := minorUnits(p.Overdrawn, p.Currency)

	if err := errors.Join(err, err2, err3, err4); err != nil {
		found.addf("J2", "payment "+p.ID, "%v", err)
	}

	if ourPending != pending || ourGiven != given || over != max(pending+given+disputed-captured, 0) {
		found.addf("J2", "payment "+p.ID, "%d pending, %d refunded, %d too much here; %d, %d and %d disputed at Stripe, of %d",
			ourPending, ourGiven, over, pending, given, disputed, captured)
	}
}
