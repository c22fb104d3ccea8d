package portstest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// mustGiveUpOn makes a capture of a payment that needs attention and that nobody holds.
func (b StoreBed) mustGiveUpOn(tb testing.TB, p payment.Payment) ports.Operation {
	tb.Helper()

	op := b.mustBegin(tb, newCapture(tb, p, ""))
	require.NoError(tb, b.GiveUp(tb.Context(), op.ID, errUndecided))
	b.Elapse(tb, lease)

	return b.operationNow(tb, op.ID)
}

func adoptOnFinishes(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustGiveUpOn(t, p)
	entry := entryFor(t, ports.AuditOperationAdopted, op.ID.String())

	done, err := b.AdoptOn(t.Context(), op.ID, ports.Change{Decide: capturing(p.Amount)}, entry)
	require.NoError(t, err)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, p, done.Before)
	require.Equal(t, b.paymentNow(t, p.ID), done.After)
	require.Equal(t, payment.Succeeded, done.After.Status)
	require.Equal(t, showing(done.After), done.Operation.Response)
	requireSameOperation(t, done.Operation, b.operationNow(t, op.ID))
	b.requireTrueHistory(t, p.ID)
	require.Equal(t, string(operation.ByPerson), b.history(t, p.ID)[1].Cause)
	b.requireAudit(t, op.ID.String(), entry)
}

// Another decision about a finished operation, or the same one again, finds what stands.
func adoptOnRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustGiveUpOn(t, p)
	entry := entryFor(t, ports.AuditOperationAdopted, op.ID.String())

	first, err := b.AdoptOn(t.Context(), op.ID, ports.Change{Decide: capturing(p.Amount)}, entry)
	require.NoError(t, err)

	for _, again := range []ports.AuditEntry{entry, entryFor(t, ports.AuditOperationAdopted, op.ID.String())} {
		done, err := b.AdoptOn(t.Context(), op.ID, ports.Change{Decide: cancelling}, again)
		require.NoError(t, err)
		requireSameOperation(t, first.Operation, done.Operation)
	}

	require.Equal(t, first.After, b.paymentNow(t, p.ID))
	b.requireAudit(t, op.ID.String(), entry)
}

func adoptOnUndecided(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustGiveUpOn(t, p)

	undecided := ports.Change{Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		return p, ports.FrozenResponse{}, errUndecided
	}}

	_, err := b.AdoptOn(t.Context(), op.ID, undecided, entryFor(t, ports.AuditOperationAdopted, op.ID.String()))
	require.ErrorIs(t, err, errUndecided)

	requireSameOperation(t, op, b.operationNow(t, op.ID))
	require.Equal(t, p, b.paymentNow(t, p.ID))
	b.requireAudit(t, op.ID.String())
}

func adoptOnNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	orphan := b.mustGiveUpOn(t, payment.Payment{ID: uuid.New(), IntentID: "pi_none"})

	for _, id := range []uuid.UUID{uuid.New(), orphan.ID} {
		_, err := b.AdoptOn(t.Context(), id, ports.Change{Decide: cancelling}, entryFor(t, ports.AuditOperationAdopted, id.String()))
		requireNotFound(t, err)
		b.requireAudit(t, id.String())
	}
}

func adoptOnAgainstClose(t *testing.T, b StoreBed) {
	t.Helper()

	for range 10 {
		p := b.mustHold(t, "")
		op := b.mustGiveUpOn(t, p)
		adopting := entryFor(t, ports.AuditOperationAdopted, op.ID.String())
		closing := entryFor(t, ports.AuditOperationClosed, op.ID.String())

		_, errs := atOnce(2, func(caller int) (struct{}, error) {
			if caller == 0 {
				_, err := b.AdoptOn(t.Context(), op.ID, ports.Change{Decide: capturing(p.Amount)}, adopting)

				return struct{}{}, err
			}

			_, err := b.Twin.Close(t.Context(), op.ID, op.State, rejection(), closing)

			return struct{}{}, err
		})
		require.NoError(t, errs[0], "it is done, or what stands is returned")

		if errs[1] == nil {
			requireResponse(t, rejection(), b.operationNow(t, op.ID).Response)
			require.Equal(t, p, b.paymentNow(t, p.ID))
			b.requireAudit(t, op.ID.String(), closing)
		} else {
			require.ErrorIs(t, errs[1], ports.ErrMoved)
			require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
			b.requireAudit(t, op.ID.String(), adopting)
		}
	}
}
