package sandbox

import (
	"slices"
	"sync"
)

// ledger is an account's balance: what each balance transaction moved, and when
// that is available. Its lock is the last one taken, so that it may be held with
// a payment's.
type ledger struct {
	mu   sync.Mutex
	rows []ledgerRow
}

type ledgerRow struct {
	currency       string
	net, available int64
	bank           bool
}

// enter adds a balance transaction.
func (l *ledger) enter(t *balanceTransaction) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.append(t)
}

// enterCovered adds a balance transaction that takes no more than is available when
// it is made.
func (l *ledger) enterCovered(t *balanceTransaction) bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	left := t.Amount - t.Fee

	for _, row := range l.rows {
		if row.currency == t.Currency && row.available <= t.Created {
			left += row.net
		}
	}

	if left < 0 {
		return false
	}

	l.append(t)

	return true
}

func (l *ledger) append(t *balanceTransaction) {
	l.rows = append(l.rows, ledgerRow{
		currency: t.Currency, net: t.Amount - t.Fee, available: t.available(), bank: t.Bank,
	})
}

// balance is what the account has in one currency.
type balance struct {
	currency           string
	available, pending funds
}

// funds are an amount by what it came from.
type funds struct{ card, bank int64 }

func (f funds) sum() int64 { return f.card + f.bank }

func (f funds) with(row ledgerRow) funds {
	if row.bank {
		f.bank += row.net
	} else {
		f.card += row.net
	}

	return f
}

// balances adds the transactions up by currency; the account's own comes first
// even where it is empty.
func (s *account) balances() []balance {
	now, balances := s.clock.seconds(), []balance{{currency: defaultCurrency}}

	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()

	for _, row := range s.ledger.rows {
		index := slices.IndexFunc(balances, func(b balance) bool { return b.currency == row.currency })
		if index < 0 {
			index = len(balances)
			balances = append(balances, balance{currency: row.currency})
		}

		if now < row.available {
			balances[index].pending = balances[index].pending.with(row)
		} else {
			balances[index].available = balances[index].available.with(row)
		}
	}

	return balances
}

// getBalance is GET /v1/balance: the sum of all balance transactions.
func (s *account) getBalance(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	balances := s.balances()

	w := &jsonWriter{buf: make([]byte, 0, renderedSize)}
	w.beginObject()
	w.str("object", "balance")
	writeFunds(w, "available", balances, func(b balance) funds { return b.available })
	w.boolean("livemode", s.live)
	writeFunds(w, "pending", balances, func(b balance) funds { return b.pending })
	w.endObject()

	rq.body = rawDocument(w.buf)

	return nil
}

func writeFunds(w *jsonWriter, name string, balances []balance, pick func(balance) funds) {
	w.array(name)

	for _, b := range balances {
		f := pick(b)

		w.element()
		w.beginObject()
		w.num("amount", f.sum())
		w.str("currency", b.currency)
		w.object("source_types")

		if f.bank != 0 {
			w.num("bank_account", f.bank)
		}

		w.num("card", f.card)
		w.endObject()
		w.endObject()
	}

	w.endArray()
}
