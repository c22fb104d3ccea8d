package portstest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Reconciliation is the contract of ports.Reconciliation. Each call of newBed
// gives an empty store.
func Reconciliation(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"ReconciledThrough/by the database's clock": reconciledNow,
		"MoveReconciledThrough/compare and set":     moveReconciled,
		"MoveReconciledThrough/by many":             moveReconciledByMany,
		"MoveReconciledThrough/in its life":         moveReconciledInItsLife,
		"HoldReconciliation/one at a time":          holdReconciliation,
		"HoldReconciliation/by many":                holdReconciliationByMany,
		"HoldReconciliation/runs out":               holdReconciliationRunsOut,
		"Sweep/each band has its place":             sweepPlaces,
		"UnknownEvents/what is not stored":          unknownEvents,
		"PaymentsByIntent/those that exist":         paymentsByIntent,
		"OpenPayments/page by page, newest first":   openByPage,
		"OpenPayments/within bounds":                openWithinBounds,
		"OpenPayments/behind many that are final":   openBehindMany,
	})
}

func unknownEvents(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	applied, parked := eventOf(t, p, payment.Succeeded), eventOf(t, p, payment.Failed)
	b.mustApply(t, applied)
	require.NoError(t, b.Park(t.Context(), parked, ports.ParkedUnknown))

	unknown, err := b.UnknownEvents(t.Context(), []string{"evt_1", applied.ID, "evt_2", parked.ID})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"evt_1", "evt_2"}, unknown)

	for _, ids := range [][]string{nil, {}, {applied.ID}} {
		unknown, err = b.UnknownEvents(t.Context(), ids)
		require.NoError(t, err)
		require.Empty(t, unknown)
	}
}

// mustPayAt makes a payment with this time of creation and this status.
func (b StoreBed) mustPayAt(tb testing.TB, at time.Time, status payment.Status) payment.Payment {
	tb.Helper()
	require.True(tb, slices.Contains(payment.Statuses(), status))

	completion := completionOf(b.mustBegin(tb, newOperation(tb, "")))
	completion.Payment.CreatedAt, completion.Payment.Status = at, status
	b.mustFinish(tb, completion)

	return b.paymentNow(tb, completion.Payment.ID)
}
