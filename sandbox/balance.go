package sandbox

import "slices"

// balance is what the account has in one currency.
type balance struct {
	currency           string
	available, pending int64
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
	writeFunds(w, "available", balances, func(b balance) int64 { return b.available })
	w.boolean("livemode", s.live)
	writeFunds(w, "pending", balances, func(b balance) int64 { return b.pending })
	w.endObject()

	rq.body = rawDocument(w.buf)

	return nil
}

// balances adds the transactions up by currency; the account's own comes first
// even where it is empty.
func (s *account) balances() []balance {
	now, balances := s.clock.seconds(), []balance{{currency: defaultCurrency}}

	for _, item := range s.books.transactions.all() {
		m := item.object
		m.payment.mu.Lock()
		t := m.payment.transactions[m.index]
		m.payment.mu.Unlock()

		index := slices.IndexFunc(balances, func(b balance) bool { return b.currency == t.Currency })
		if index < 0 {
			index = len(balances)
			balances = append(balances, balance{currency: t.Currency})
		}

		if net := t.Amount - t.Fee; t.status(now) == "pending" {
			balances[index].pending += net
		} else {
			balances[index].available += net
		}
	}

	return balances
}

func writeFunds(w *jsonWriter, name string, balances []balance, amount func(balance) int64) {
	w.array(name)

	for _, b := range balances {
		w.element()
		w.beginObject()
		w.num("amount", amount(b))
		w.str("currency", b.currency)
		w.object("source_types")
		w.num("card", amount(b))
		w.endObject()
		w.endObject()
	}

	w.endArray()
}
