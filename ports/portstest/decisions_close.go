package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

func closeFreezes(t *testing.T, b StoreBed) {
	t.Helper()

	for key, state := range map[operation.Key]operation.State{
		"given up": operation.NeedsAttention, "pending": operation.Pending,
	} {
		op := b.mustBegin(t, newOperation(t, key))
		if state == operation.NeedsAttention {
			require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("given up")))
		}

		b.Elapse(t, lease+time.Second)

		entry := entryFor(t, ports.AuditOperationClosed, op.ID.String())
		closed, err := b.close(t, op.ID, state, entry)
		require.NoError(t, err)
		require.Equal(t, operation.Finished, closed.State)
		require.Equal(t, rejection(), closed.Response)
		requireSameOperation(t, closed, b.operationNow(t, op.ID))
		b.requireAudit(t, op.ID.String(), entry)
		b.requireNoPayment(t, op.ID)

		// A late answer cannot change what a person has decided.
		_, err = b.Finish(t.Context(), completionOf(op))
		require.ErrorIs(t, err, ports.ErrContradiction)
	}

	backlog, err := b.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, backlog.Operations[operation.NeedsAttention]+backlog.Operations[operation.Pending])
}

// A capture that was never done makes room for the next one. Its payment stays as it is.
func closeCapture(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustGiveUpOn(t, p)
	entry := entryFor(t, ports.AuditOperationClosed, op.ID.String())

	closed, err := b.close(t, op.ID, op.State, entry)
	require.NoError(t, err)
	require.Equal(t, operation.Finished, closed.State)
	require.Equal(t, p, b.paymentNow(t, p.ID))
	b.requireAudit(t, op.ID.String(), entry)
	b.mustBegin(t, newCapture(t, p, "capture_2"))
}

func closeRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationClosed, op.ID.String())

	first, err := b.close(t, op.ID, op.State, entry)
	require.NoError(t, err)

	again, err := b.close(t, op.ID, op.State, entry)
	require.NoError(t, err)
	requireSameOperation(t, first, again)
	b.requireAudit(t, op.ID.String(), entry)

	_, err = b.close(t, op.ID, op.State, entryFor(t, ports.AuditOperationClosed, op.ID.String()))
	require.ErrorIs(t, err, ports.ErrMoved, "another decision comes too late")
	b.requireAudit(t, op.ID.String(), entry)
}

func closeMoved(t *testing.T, b StoreBed) {
	t.Helper()

	given := b.mustGiveUp(t, "given up")
	paid := b.mustPay(t, "paid")

	for id, state := range map[uuid.UUID]operation.State{
		given.ID: operation.Pending, paid.ID: operation.NeedsAttention,
	} {
		before := b.operationNow(t, id)

		_, err := b.close(t, id, state, entryFor(t, ports.AuditOperationClosed, id.String()))
		require.ErrorIs(t, err, ports.ErrMoved)
		requireSameOperation(t, before, b.operationNow(t, id))
		b.requireAudit(t, id.String())
	}
}

func closeInHand(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	entry := entryFor(t, ports.AuditOperationClosed, op.ID.String())

	_, err := b.close(t, op.ID, operation.Pending, entry)
	require.ErrorIs(t, err, ports.ErrMoved)

	// Its last holder may still be calling the provider.
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("given up")))

	_, err = b.close(t, op.ID, operation.NeedsAttention, entry)
	require.ErrorIs(t, err, ports.ErrMoved)
	require.False(t, b.operationNow(t, op.ID).Finished())
	b.requireAudit(t, op.ID.String())
}

func closePaid(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	open := completionOf(op)
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.close(t, op.ID, operation.NeedsAttention,
		entryFor(t, ports.AuditOperationClosed, op.ID.String()))
	require.ErrorIs(t, err, ports.ErrMoved)
	require.False(t, b.operationNow(t, op.ID).Finished())
}

func closeNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	id := uuid.New()
	_, err := b.close(t, id, operation.NeedsAttention, entryFor(t, ports.AuditOperationClosed, id.String()))
	requireNotFound(t, err)
	b.requireAudit(t, id.String())
}

// Recovery finds the intent while a person closes the operation. Either the payment
// exists, or the frozen answer says that there is none: never both, never neither.
func closeAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	for i := range 10 {
		op := b.mustGiveUp(t, operation.Key(rune('a'+i)))
		entry := entryFor(t, ports.AuditOperationClosed, op.ID.String())

		_, errs := atOnce(2, func(caller int) (struct{}, error) {
			if caller == 0 {
				_, err := b.close(t, op.ID, op.State, entry)

				return struct{}{}, err
			}

			_, err := b.Twin.Finish(t.Context(), completionOf(op))

			return struct{}{}, err
		})

		now := b.operationNow(t, op.ID)

		if errs[0] == nil {
			require.ErrorIs(t, errs[1], ports.ErrContradiction)
			require.Equal(t, operation.Finished, now.State)
			b.requireNoPayment(t, op.ID)
			b.requireAudit(t, op.ID.String(), entry)
		} else {
			require.ErrorIs(t, errs[0], ports.ErrMoved)
			require.NoError(t, errs[1])
			require.Equal(t, operation.Finished, now.State)
			b.requireTrueHistory(t, op.ID)
			b.requireAudit(t, op.ID.String())
		}
	}
}

func closeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const people = 8

	op := b.mustGiveUp(t, "order_1")
	_, errs := atOnce(people, func(i int) (ports.Operation, error) {
		return b.either(i).Close(t.Context(), op.ID, op.State, rejection(),
			entryFor(t, ports.AuditOperationClosed, op.ID.String()))
	})

	require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }))
	require.Equal(t, people-1, count(errs, func(err error) bool { return errors.Is(err, ports.ErrMoved) }))

	entries, err := b.AuditOf(t.Context(), op.ID.String())
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func (b StoreBed) close(
	tb testing.TB, id uuid.UUID, state operation.State, entry ports.AuditEntry,
) (ports.Operation, error) {
	tb.Helper()

	return b.Close(tb.Context(), id, state, rejection(), entry)
}
