package runner

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

// oneCustomer is I1 and I2 for customers: each customer at Stripe is one of ours, and each of
// ours is there, the deleted ones too. A create that is done has its customer.
func oneCustomer(e evidence, found *violations) {
	rows, orders, done := map[string][]personRow{}, map[string]string{}, map[string]operationRow{}

	for _, op := range e.service.operations {
		if op.Kind == kindCreatePerson && op.done() {
			done[op.ID] = op
		}
	}

	for _, p := range e.service.persons {
		rows[p.Stripe] = append(rows[p.Stripe], p)

		if _, made := done[p.ID]; !made {
			found.addf("I2", "customer "+p.ID, "no create is done that made it")
		}

		delete(done, p.ID)
	}

	for id := range done {
		found.addf("I2", "create of customer "+id, "is done, and there is no such customer")
	}

	for _, p := range e.stripe.persons {
		here, order := rows[p.ID], p.Metadata["order"]
		if len(here) != 1 || !p.Deleted && here[0].ID != operationOf(p.Metadata["marketflow"]) {
			found.addf("I2", "customer "+p.ID, "is %v here; made by %q", here, operationOf(p.Metadata["marketflow"]))
		}

		if other := orders[order]; order != "" && other != "" {
			found.addf("I1", "key "+order, "has made the customers %s and %s", other, p.ID)
		}

		orders[order] = p.ID

		delete(rows, p.ID)
	}

	for id := range rows {
		found.addf("I2", "customer "+id, "is not at Stripe")
	}

	for _, p := range e.stripe.others {
		if len(rows[p.ID]) > 0 {
			found.addf("I7", "customer "+p.ID, "is another program's, and is here")
		}
	}
}

// customersAreEqual is I3 and C3 for customers. What waits for a person may be on one side alone.
func customersAreEqual(e evidence, found *violations) {
	waits, theirs := map[string]bool{}, by(e.stripe.persons, func(p stripePerson) string { return p.ID })

	for _, op := range e.service.operations {
		if (op.Kind == kindUpdatePerson || op.Kind == kindDeletePerson) && op.State == "needs_attention" {
			waits[op.Payment] = true
		}
	}

	for _, p := range e.service.persons {
		at, ours := theirs[p.Stripe], map[string]string{}

		if err := json.Unmarshal([]byte(p.Metadata), &ours); err != nil {
			found.addf("I3", "customer "+p.ID, "%v", err)
		}

		metadata := maps.Clone(at.Metadata)
		for _, mark := range []string{"marketflow", "marketflow_key", "marketflow_reference"} {
			delete(metadata, mark)
		}

		if !waits[p.ID] && (p.Deleted != at.Deleted || p.Name != at.Name || p.Reference != at.reference() ||
			!maps.Equal(ours, metadata)) {
			found.addf("I3", "customer "+p.ID, "is %+v here and %+v at Stripe", p, at)
		}
	}
}

// referencesAreUnique is C1: a reference belongs to one customer, on both sides.
func referencesAreUnique(e evidence, found *violations) {
	here, there := map[string]string{}, map[string]string{}

	for _, p := range e.service.persons {
		if other := here[p.Reference]; p.Reference != "" && other != "" {
			found.addf("C1", "reference "+p.Reference, "belongs to %s and to %s", other, p.ID)
		}

		here[p.Reference] = p.ID
	}

	for _, p := range e.stripe.persons {
		if other := there[p.reference()]; p.reference() != "" && other != "" {
			found.addf("C1", "reference "+p.reference(), "belongs to %s and to %s at Stripe", other, p.ID)
		}

		there[p.reference()] = p.ID
	}
}

// deletedIsGone is C2: a customer whose deletion was told is deleted on both sides, without its
// personal data and its payment methods, and nobody reads it any more.
func deletedIsGone(e evidence, found *violations) {
	rows, theirs := by(e.service.persons, func(p personRow) string { return p.ID }), map[string]bool{}

	for _, p := range e.stripe.persons {
		theirs[p.ID] = p.Deleted
	}

	for _, m := range e.stripe.methods {
		if theirs[m.Customer] {
			found.addf("C2", "customer "+m.Customer, "is deleted, and has %s at Stripe", m.ID)
		}
	}

	gone := map[string]request{}

	for _, r := range e.requests {
		if r.kind != kindDeletePerson || r.result.status != http.StatusNoContent {
			continue
		}

		if first, seen := gone[r.person.id]; !seen || r.ret < first.ret {
			gone[r.person.id] = r
		}

		if p := rows[r.person.id]; !p.Deleted || !theirs[r.person.stripe] || p.Name+p.Reference != "" {
			found.addf("C2", "customer "+r.person.id, "was told as deleted; here %+v, deleted at Stripe %t", p, theirs[r.person.stripe])
		}
	}

	for _, r := range e.requests {
		if first, was := gone[r.person.id]; was && r.kind == kindReadPerson && r.call > first.ret && r.result.status == http.StatusOK {
			found.addf("C2", "customer "+r.person.id, "was deleted at %s and read at %s: %s", first.ret, r.call, r.result)
		}
	}
}

// detachedAsTold is C2: a payment method whose detachment was told is nobody's.
func detachedAsTold(e evidence, found *violations) {
	for _, r := range e.requests {
		if m := e.stripe.methods[r.card]; r.kind == kindDetach && r.result.status == http.StatusNoContent && m.Customer != "" {
			found.addf("C2", "payment method "+m.ID, "was told as detached, and is %s's", m.Customer)
		}
	}
}

// payersAreRight is C5: a payment's customer is the one that was named, on both sides.
func payersAreRight(e evidence, found *violations) {
	intents, persons := e.intents(), by(e.service.persons, func(p personRow) string { return p.ID })

	for _, p := range e.service.payments {
		if intent, there := intents[p.Intent]; there && persons[p.Person].Stripe != intent.Customer {
			found.addf("C5", "payment "+p.ID, "is of customer %q (%s) here and of %q at Stripe",
				p.Person, persons[p.Person].Stripe, intent.Customer)
		}
	}

	byOrder := by(e.stripe.intents, stripeIntent.order)

	for _, r := range e.requests {
		if r.kind != kindCreate || r.result.status != http.StatusCreated {
			continue
		}

		if intent := byOrder[r.payload.order]; intent.Customer != r.payload.person.stripe {
			found.addf("C5", "payment of "+r.payload.order, "was ordered by %q and is of %q at Stripe",
				r.payload.person.stripe, intent.Customer)
		}
	}
}

// othersMethodsAreRefused is C5: nobody pays with what was saved for somebody else. If that one was deleted
// before the card was saved, it is nobody's, and whoever comes first may pay with it once. If an attempt's
// answer was lost, and somebody has paid at Stripe since, it is told as the payment stands.
func othersMethodsAreRefused(e evidence, found *violations) {
	gone, triedThere := e.mayBeGone(), e.triedThere()

	for _, r := range e.requests {
		payer, card := r.payer()
		if m, saved := e.saved[card]; saved && m.owner != payer && !gone[m.owner.id] && !triedThere[r.on.intent] &&
			(r.result.status == http.StatusOK || r.result.status == http.StatusCreated || r.result.status == http.StatusPaymentRequired) {
			found.addf("C5", "key "+r.key, "%s pays with %s, which was saved for %s: %s", payer.id, card, m.owner.id, r.result)
		}
	}
}

// payer is who pays with which card, if it is a confirm, or a create that is paid at once.
func (a ask) payer() (person, string) {
	switch a.kind {
	case kindCreate:
		return a.payload.person, a.payload.card
	case kindConfirm:
		return a.on.payload.person, a.card
	default:
		return person{}, ""
	}
}

// mayBeGone are the customers that somebody has asked to delete, and the payment methods that
// are nobody's any more.
func (e evidence) mayBeGone() map[string]bool {
	gone := map[string]bool{}

	for _, r := range e.requests {
		switch r.kind {
		case kindDeletePerson, kindDeleteAtStripe:
			gone[r.person.id] = true
		case kindDetach:
			gone["detached "+r.card] = true
		}
	}

	for _, m := range e.saved {
		gone[m.id] = gone[m.owner.id]
	}

	return gone
}

// mayBeUnusable: Stripe may rightly not take the card, or the customer.
func (e evidence) mayBeUnusable(r request) bool {
	payer, card := r.payer()
	m, saved := e.saved[card]
	gone := e.mayBeGone()

	return gone[payer.id] || saved && (m.owner != payer || gone["detached "+card])
}

// executedOnPerson tells whether Stripe's records show what became of an operation on a customer.
func (e evidence) executedOnPerson(o operationRow) bool {
	row := by(e.service.persons, func(p personRow) string { return p.ID })[o.Payment]
	at := by(e.stripe.persons, func(p stripePerson) string { return p.ID })[row.Stripe]

	switch o.Kind {
	case kindCreatePerson:
		for _, p := range e.stripe.persons {
			if operationOf(p.Metadata["marketflow"]) == o.ID {
				return true
			}
		}

		return false
	case kindUpdatePerson:
		return at.Deleted || at.Metadata["tag"] == o.asked("metadata[tag]")
	case kindDeletePerson:
		return at.Deleted
	case kindDetach:
		id, _ := strings.CutSuffix(strings.TrimPrefix(o.StripePath, "/v1/payment_methods/"), "/detach")

		return e.stripe.methods[id].Customer == ""
	default:
		return true // a setup is never done without its answer
	}
}
