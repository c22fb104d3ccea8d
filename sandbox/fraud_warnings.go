package sandbox

import (
	"fmt"
	"slices"
)

// fraudWarning is one version of an Early Fraud Warning: what a card's issuer says
// of a charge before the cardholder disputes it.
type fraudWarning struct {
	ID      string
	Seq     int64
	Charge  string
	Intent  string
	Created int64
	Live    bool
	Kind    string
	// Actionable is true while a refund may still keep a dispute away.
	Actionable bool
}

// usualFraud is what an issuer that does not say more calls it.
const usualFraud = "misc"

// fraudTypes are what issuers say.
//
//nolint:gochecknoglobals // a table, never written
var fraudTypes = []string{
	"card_never_received", "fraudulent_card_application", "made_with_counterfeit_card", "made_with_lost_card",
	"made_with_stolen_card", usualFraud, "unauthorized_use_of_card",
}

func (f *fraudWarning) writeJSON(w *jsonWriter) { f.write(w, view{}) }

func (f *fraudWarning) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", f.ID)
	w.str("object", objectWarning)
	w.boolean("actionable", f.Actionable)
	v.ref(w, objectCharge, f.Charge)
	w.num("created", f.Created)
	w.str("fraud_type", f.Kind)
	w.boolean("livemode", f.Live)
	v.ref(w, objectIntent, f.Intent)
	w.endObject()
}

// warn enters an issuer's warning about a charge into the books.
func (s *account) warn(rq *request, pay *payment, c *charge, kind string) *fraudWarning {
	made := &fraudWarning{
		ID: newID("issfr_1"), Seq: s.books.sequence.Add(1), Charge: c.ID, Intent: c.Intent, Created: s.clock.seconds(),
		Live: s.live, Kind: kind, Actionable: c.isActionable(),
	}
	pay.warnings = append(pay.warnings, made)
	s.books.warnings.add(made.ID, made.Created, member{payment: pay, index: len(pay.warnings) - 1})

	rq.emit("radar.early_fraud_warning.created", made, nil)

	return made
}

// isActionable tells whether something can be done about a warning: the charge is
// neither disputed nor refunded in full.
func (c *charge) isActionable() bool { return !c.Disputed && !c.Refunded }

// judgeWarnings looks whether warnings about a charge are still actionable.
func (s *account) judgeWarnings(rq *request, pay *payment, c *charge) {
	for i, before := range pay.warnings {
		if before.Charge != c.ID || before.Actionable == c.isActionable() {
			continue
		}

		next := *before
		next.Actionable = !before.Actionable
		pay.warnings[i] = &next

		rq.emit("radar.early_fraud_warning.updated", &next, changes(before, &next))
	}
}

// getWarning is GET /v1/radar/early_fraud_warnings/:id.
func (s *account) getWarning(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.warnings.get(rq.objectID)
	if !ok {
		return missing("early fraud warning", rq.objectID, "early_fraud_warning")
	}

	rq.read(at.payment)

	rq.answer(at.payment, at.payment.warnings[at.index])

	return nil
}

// listWarnings is GET /v1/radar/early_fraud_warnings.
func (s *account) listWarnings(rq *request) *refusal {
	return s.listMembers(rq, s.books.warnings, objectWarning, "/v1/radar/early_fraud_warnings",
		func(p *payment, i int) viewable { return p.warnings[i] })
}

// WarnOfFraud plays the card's issuer: it reports a paid charge, named by its id or
// its intent's, as fraud of one of Stripe's types (default: misc), and returns the
// warning's id.
func (s *Sandbox) WarnOfFraud(paymentID, fraudType string) (id string, err error) {
	kind := orDefault(fraudType, usualFraud)
	if !slices.Contains(fraudTypes, kind) {
		return "", fmt.Errorf("%w: the fraud_type is one of %v", errBadControl, fraudTypes)
	}

	a, at := s.chargeAnywhere(paymentID)
	if a == nil {
		return "", fmt.Errorf("%w: payment %s", errNoObject, paymentID)
	}

	err = a.ask(at.payment, func(rq *request) error {
		c := at.payment.charges[at.index]
		if !c.Paid || c.Method.card().bank != nil {
			return fmt.Errorf("%w: %s is no paid charge of a card", errBadControl, c.ID)
		}

		id = a.warn(rq, at.payment, c, kind).ID

		return nil
	})

	return id, err
}
