package apptest

import (
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// DisputePath is where the sandbox's disputes are, for faults.
const DisputePath = "/v1/disputes/*"

// Reread is a payment as Stripe has it, with all that belongs to it.
func (w *World) Reread(p payment.Payment) ports.FullPayment {
	w.tb.Helper()

	_, err := w.Refresh().Full(w.tb.Context(), p.ID, "test")
	require.NoError(w.tb, err)

	full, err := w.Refunds.FullPayment(w.tb.Context(), p.ID)
	require.NoError(w.tb, err)

	return full
}

// OpenDispute is what a customer's bank does. It returns Stripe's id of the dispute.
func (w *World) OpenDispute(p payment.Payment, complaint sandbox.Complaint) (providerID string) {
	w.tb.Helper()

	id, err := w.Stripe.OpenDispute(p.IntentID, complaint)
	require.NoError(w.tb, err)

	return id
}

// DecideDispute is what the bank decides.
func (w *World) DecideDispute(providerID string, status dispute.Status) {
	w.tb.Helper()
	require.NoError(w.tb, w.Stripe.DecideDispute(providerID, sandbox.Decision{Status: string(status)}))
}

// Disputed is a payment that is paid, and its open dispute of all of it.
func (w *World) Disputed(key operation.Key, complaint sandbox.Complaint) (payment.Payment, dispute.Dispute) {
	w.tb.Helper()

	p := w.Paid(key, "pm_card_visa")
	w.OpenDispute(p, complaint)

	full := w.Reread(p)
	require.Len(w.tb, full.Disputes, 1)

	return full.Payment, full.Disputes[0]
}

// Dispute is a dispute as it is written down.
func (w *World) Dispute(id uuid.UUID) dispute.Dispute {
	w.tb.Helper()

	d, err := w.Disputes.Dispute(w.tb.Context(), id)
	require.NoError(w.tb, err)

	return d
}
