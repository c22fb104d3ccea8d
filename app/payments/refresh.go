package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// refreshTries is how often a payment is loaded and read. Each time in vain, somebody else
// has changed it.
const refreshTries = 5

// ChangeObserver is told what happens to payments.
type ChangeObserver interface {
	// PaymentChanged: a payment has changed, and this is committed.
	PaymentChanged(ctx context.Context, before, after payment.Payment)
}

// Refresh reads a payment's intent and writes down what it says.
type Refresh struct {
	payments ports.Payments
	facts    ports.Facts
	provider ports.Provider
	observer ChangeObserver
}

// NewRefresh returns the use case.
func NewRefresh(
	payments ports.Payments, facts ports.Facts, provider ports.Provider, observer ChangeObserver,
) *Refresh {
	return &Refresh{payments: payments, facts: facts, provider: provider, observer: observer}
}

// Do loads the payment, then reads its intent, and writes what was read if the payment has
// not changed in between; else it begins again. So what is written was true after the
// payment was last written. It returns the payment as it is then, and the intent.
//
// An intent that does not fit the payment is ports.ErrContradiction, and so is one that
// the provider does not know. The payment's hints are parked for a person then.
func (r *Refresh) Do(ctx context.Context, id uuid.UUID, cause string) (payment.Payment, ports.Intent, error) {
	for range refreshTries {
		p, err := r.payments.Payment(ctx, id)
		if err != nil {
			return p, ports.Intent{}, err
		}

		intent, err := r.provider.Intent(ctx, p.IntentID)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return p, intent, fmt.Errorf("reading intent %s: %w", p.IntentID, err)
		}

		verdict, after := payment.Contradicts, p
		if err == nil {
			verdict, after = payment.Read(p, intent.Snapshot())
		}

		outcome := map[payment.Verdict]ports.EventOutcome{
			payment.Applies: ports.EventApplied, payment.Stale: ports.EventStale, payment.Contradicts: ports.EventParked,
		}[verdict]

		written, err := r.facts.Write(ctx, after, outcome, cause)

		switch {
		case err != nil:
			return p, intent, err
		case !written:
			continue
		case verdict == payment.Contradicts:
			return p, intent, fmt.Errorf("payment %s is %s, its intent %s is %q: %w",
				id, p.Status, p.IntentID, intent.IntentStatus, ports.ErrContradiction)
		case verdict == payment.Applies:
			r.observer.PaymentChanged(ctx, p, after)
		}

		return after, intent, nil
	}

	return payment.Payment{}, ports.Intent{}, fault.New(fault.Unavailable,
		"The payment changes at this moment. Send the same request again.").After(time.Second)
}

// IfHinted is Do where what was told of a payment is only a hint. A payment that is not here is
// left alone.
func (r *Refresh) IfHinted(ctx context.Context, id uuid.UUID, told payment.Told, cause string) error {
	p, err := r.payments.Payment(ctx, id)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}

		return err
	}

	if verdict, _ := payment.Decide(told, payment.Known{Payment: &p}); verdict == payment.Hints {
		_, _, err = r.Do(ctx, id, cause)
	}

	return err
}
