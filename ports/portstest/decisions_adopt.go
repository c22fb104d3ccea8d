package portstest

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

func adoptFinishes(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	completion := completionOf(op)
	completion.Cause = "person"
	entry := entryFor(t, ports.AuditOperationAdopted, op.ID.String())

	done, err := b.Adopt(t.Context(), completion, entry)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, *completion.Response, done.Operation.Response)
	b.requireTrueHistory(t, op.ID)
	require.Equal(t, "person", b.history(t, op.ID)[0].Cause)
	b.requireAudit(t, op.ID.String(), entry)
}

func adoptOpenPayment(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	open := completionOf(op)
	open.Response = nil
	b.mustFinish(t, open)

	done, err := b.Adopt(t.Context(), completionOf(op), entryFor(t, ports.AuditOperationAdopted, op.ID.String()))
	require.NoError(t, err)
	require.False(t, done.Created)
	require.True(t, done.Operation.Finished())
	require.Len(t, b.history(t, op.ID), 1)
}

func adoptRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationAdopted, op.ID.String())

	for range 2 {
		done, err := b.Adopt(t.Context(), completionOf(op), entry)
		require.NoError(t, err)
		require.True(t, done.Operation.Finished())
	}

	require.Len(t, b.history(t, op.ID), 1)
	b.requireAudit(t, op.ID.String(), entry)
}

func adoptFinished(t *testing.T, b StoreBed) {
	t.Helper()

	paid := b.mustPay(t, "order_1")
	_, err := b.Adopt(t.Context(), completionOf(b.operationNow(t, paid.ID)),
		entryFor(t, ports.AuditOperationAdopted, paid.ID.String()))
	require.ErrorIs(t, err, ports.ErrMoved)
	b.requireAudit(t, paid.ID.String())
}

func adoptTakenIntent(t *testing.T, b StoreBed) {
	t.Helper()

	paid := b.mustPay(t, "order_1")
	op := b.mustGiveUp(t, "order_2")

	_, err := b.Adopt(t.Context(), completionWith(op, paid.IntentID),
		entryFor(t, ports.AuditOperationAdopted, op.ID.String()))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, operation.NeedsAttention, b.operationNow(t, op.ID).State)
	b.requireNoPayment(t, op.ID)
	b.requireAudit(t, op.ID.String())
}

func adoptNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(ports.Operation{ID: uuid.New(), Order: newOperation(t, "").Order, CreatedAt: time.Now()})
	_, err := b.Adopt(t.Context(), completion, entryFor(t, ports.AuditOperationAdopted, completion.Payment.ID.String()))
	requireNotFound(t, err)
}

func adoptAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationAdopted, op.ID.String())

	_, errs := atOnce(2, func(caller int) (ports.Finished, error) {
		if caller == 0 {
			return b.Adopt(t.Context(), completionOf(op), entry)
		}

		return b.Twin.Finish(t.Context(), completionOf(op))
	})

	require.NoError(t, errs[1], "recovery finds the same payment")
	require.True(t, b.operationNow(t, op.ID).Finished())
	require.Len(t, b.history(t, op.ID), 1)

	if errs[0] == nil {
		b.requireAudit(t, op.ID.String(), entry)
	} else {
		require.ErrorIs(t, errs[0], ports.ErrMoved)
		b.requireAudit(t, op.ID.String())
	}
}

func adoptAgainstClose(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	adopting := entryFor(t, ports.AuditOperationAdopted, op.ID.String())
	closing := entryFor(t, ports.AuditOperationClosed, op.ID.String())

	_, errs := atOnce(2, func(caller int) (struct{}, error) {
		if caller == 0 {
			_, err := b.Adopt(t.Context(), completionOf(op), adopting)

			return struct{}{}, err
		}

		_, err := b.Twin.Close(t.Context(), op.ID, op.State, rejection(), closing)

		return struct{}{}, err
	})

	if errs[0] == nil {
		require.ErrorIs(t, errs[1], ports.ErrMoved)
		b.requireAudit(t, op.ID.String(), adopting)
		require.Equal(t, http.StatusCreated, b.operationNow(t, op.ID).Response.Status)
	} else {
		require.ErrorIs(t, errs[0], ports.ErrMoved)
		require.NoError(t, errs[1])
		b.requireAudit(t, op.ID.String(), closing)
		b.requireNoPayment(t, op.ID)
	}
}
