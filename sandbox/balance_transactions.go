package sandbox

import (
	"slices"
	"time"
)

// balanceTransaction is one movement on the account's balance. It never
// changes; whether its money is available depends on the clock alone.
type balanceTransaction struct {
	ID       string
	Seq      int64
	Kind     string
	Category string
	Amount   int64
	Fee      int64
	Currency string
	Created  int64
	Source   string
	// Immediate is true for a charge whose money is available at once.
	Immediate bool `json:"immediate,omitempty"`
	// Bank is true for what a bank account paid or gets back.
	Bank        bool   `json:"bank,omitempty"`
	Description string `json:"description,omitempty"`
}

// Types of balance transactions; those of payments are what is not by card.
const (
	transactionCharge        = "charge"
	transactionPayment       = "payment"
	transactionRefund        = "refund"
	transactionPaymentRefund = "payment_refund"
	transactionRefundFailure = "refund_failure"
	transactionAdjustment    = "adjustment"
)

// Reporting categories that are not called as their types are.
const (
	categoryDispute         = "dispute"
	categoryDisputeReversal = "dispute_reversal"
)

const (
	// Stripe's standard price for cards: 2.9 % and 30 minor units.
	feePerMille = 29
	feeFixed    = 30
	perMille    = 1000
	roundHalf   = 500
	// disputeFee is what a dispute costs, in minor units.
	disputeFee = 1500
	// settlement is when a charge's money becomes available.
	settlement = 2 * hoursOfDay * time.Hour
	hoursOfDay = 24
)

// fee is what Stripe keeps of a charge.
func fee(amount int64) int64 {
	return min((amount*feePerMille+roundHalf)/perMille+feeFixed, amount)
}

// newTransaction books a movement of a charge's money.
func (s *account) newTransaction(pay *payment, c *charge, moved balanceTransaction) *balanceTransaction {
	made := s.prepare(pay, c, moved)
	s.ledger.enter(made)
	s.file(pay, made)

	return made
}

// prepare completes a movement of a charge's money, for the ledger and the books to
// enter. The balance is kept in each charge's own currency: nothing is converted.
func (s *account) prepare(pay *payment, c *charge, moved balanceTransaction) *balanceTransaction {
	made := &moved
	made.ID, made.Currency, made.Created = newID("txn_3"), pay.intent.Currency, s.clock.seconds()
	made.Seq, made.Bank = s.books.sequence.Add(1), c.Method.card().bank != nil

	if made.Category == "" {
		made.Category = made.Kind
	}

	if made.Bank {
		switch made.Kind {
		case transactionCharge:
			made.Kind = transactionPayment
		case transactionRefund:
			made.Kind = transactionPaymentRefund
		}
	}

	return made
}

// file enters a movement that the ledger has into the books.
func (s *account) file(pay *payment, made *balanceTransaction) {
	pay.transactions = append(pay.transactions, made)
	s.books.transactions.add(made.ID, made.Created, member{payment: pay, index: len(pay.transactions) - 1})

	if made.Amount > made.Fee {
		s.fundsComing(made.available())
	}
}

func (t *balanceTransaction) writeJSON(w *jsonWriter) { t.write(w, view{}) }

func (t *balanceTransaction) write(w *jsonWriter, v view) {
	available := t.available()

	w.beginObject()
	w.str("id", t.ID)
	w.str("object", objectTransaction)
	w.num("amount", t.Amount)
	w.num("available_on", available)
	w.num("created", t.Created)
	w.str("currency", t.Currency)
	w.strOrNull("description", t.Description)
	w.null("exchange_rate")
	w.num("fee", t.Fee)
	w.array("fee_details")

	if t.Fee != 0 {
		w.element()
		w.beginObject()
		w.num("amount", t.Fee)
		w.null("application")
		w.str("currency", t.Currency)
		w.str("description", t.feeFor())
		w.str("type", "stripe_fee")
		w.endObject()
	}

	w.endArray()
	w.num("net", t.Amount-t.Fee)
	w.str("reporting_category", t.Category)
	v.ref(w, "source", t.Source)
	w.str("status", t.status(v.now))
	w.str("type", t.Kind)
	w.endObject()
}

func (t *balanceTransaction) feeFor() string {
	if t.Kind == transactionAdjustment {
		return "Dispute fee"
	}

	return "Stripe processing fees"
}

// available is when the money can be paid out: at once, but for what was earned.
func (t *balanceTransaction) available() int64 {
	if (t.Kind != transactionCharge && t.Kind != transactionPayment) || t.Immediate {
		return t.Created
	}

	return t.Created + int64(settlement/time.Second)
}

func (t *balanceTransaction) status(now int64) string {
	if now < t.available() {
		return "pending"
	}

	return "available"
}

// getTransaction is GET /v1/balance_transactions/:id.
func (s *account) getTransaction(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.transactions.get(rq.objectID)
	if !ok {
		return missing("balance transaction", rq.objectID, "id")
	}

	rq.read(at.payment)

	rq.answer(at.payment, at.payment.transactions[at.index])

	return nil
}

// listTransactions is GET /v1/balance_transactions.
func (s *account) listTransactions(rq *request) *refusal {
	p := rq.params
	kind, source, currency := p.text("type"), p.text("source"), p.text("currency")

	if payout := p.text("payout"); payout != "" { // the sandbox makes none
		p.refuse(badReference(missing("payout", payout, "payout")))
	}

	return list(rq, listing[member]{
		kind: "balance transaction", url: "/v1/balance_transactions",
		items: s.books.transactions.all(), position: s.books.transactions.position,
		keep: func(m member) bool {
			m.payment.mu.Lock()
			defer m.payment.mu.Unlock()

			t := m.payment.transactions[m.index]

			return (kind == "" || t.Kind == kind) && (currency == "" || t.Currency == currency) &&
				(source == "" || m.isOriginal(source))
		},
		show: showMember(s, func(p *payment, i int) viewable { return p.transactions[i] }),
	})
}

// isOriginal tells whether a transaction of a locked payment is the first of a
// source: the filter finds no others, and those of disputes not at all.
func (m member) isOriginal(source string) bool {
	first := slices.IndexFunc(m.payment.transactions, func(t *balanceTransaction) bool { return t.Source == source })

	return first == m.index && m.payment.transactions[first].Kind != transactionAdjustment
}
