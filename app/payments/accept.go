package payments

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Accept lets a person accept the provider's side where it contradicts our records.
type Accept struct {
	payments ports.Refunds
	facts    ports.Facts
	provider ports.Provider
	observer AcceptObserver
}

// AcceptObserver is told what people decide about payments.
type AcceptObserver interface {
	ports.Spans
	ChangeObserver

	// Decided: a person has decided something.
	Decided(ctx context.Context, entry ports.AuditEntry)
}

// NewAccept returns the use case.
func NewAccept(
	payments ports.Refunds, facts ports.Facts, provider ports.Provider, observer AcceptObserver,
) *Accept {
	return &Accept{payments: payments, facts: facts, provider: provider, observer: observer}
}

// Do reads the payment's intent and makes the payment what it says: its status, also if
// ours is final, its amount and what was captured. The payment's events that are parked as
// contradictions are dismissed. If there is nothing to accept, or the intent is of another
// payment, in another currency or unknown to the provider, the error is fault.Invalid. No
// payment: fault.NotFound.
func (uc *Accept) Do(ctx context.Context, id uuid.UUID, decision operations.Decision) (payment.Payment, error) {
	return ports.InSpan(ctx, uc.observer, "app.AcceptPayment", func(ctx context.Context) (payment.Payment, error) {
		return uc.do(ctx, id, decision)
	})
}

func (uc *Accept) do(ctx context.Context, id uuid.UUID, decision operations.Decision) (payment.Payment, error) {
	entry, err := decision.Entry(ports.AuditPaymentAccepted, "payment", id.String())
	if err != nil {
		return payment.Payment{}, err
	}

	f, err := uc.payments.FullPayment(ctx, id)
	p := f.Payment

	if err != nil {
		return p, err
	}

	if err := decision.Bind(&entry, p.Tenant); err != nil {
		return payment.Payment{}, err
	}

	intent, err := uc.provider.Intent(ctx, p.IntentID)

	switch {
	case fault.KindOf(err) == fault.NotFound:
		return p, fault.Newf(fault.Invalid, "The payment provider has no intent %s: there is nothing to accept.", p.IntentID)
	case err != nil:
		return p, fmt.Errorf("reading intent %s: %w", p.IntentID, err)
	}

	after, err := payment.Accepted(p, intent.Snapshot())
	if err != nil {
		return p, err
	}

	entry.Before, entry.After = sums(p), sums(after)

	f.Payment = after

	switch written, err := uc.facts.Accept(ctx, f, entry); {
	case err != nil:
		return p, err
	case !written:
		return p, operations.Moved(ports.ErrMoved, "Payment "+id.String())
	}

	uc.observer.Decided(ctx, entry)
	uc.observer.PaymentChanged(ctx, p, after)

	f, err = uc.payments.FullPayment(ctx, id)

	return f.Payment, err
}

// sums is what the audit keeps of a payment.
func sums(p payment.Payment) map[string]any {
	return map[string]any{
		keyStatus: string(p.Status), "amount": p.Amount.String(), "amount_captured": p.Captured.String(),
		"intent_status": string(p.IntentStatus),
	}
}
