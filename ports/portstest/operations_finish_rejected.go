package portstest

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func finishRejectedFreezes(t *testing.T, b StoreBed) {
	t.Helper()

	want := b.mustBegin(t, newOperation(t, "order_1"))
	want.State, want.Lease, want.Response = operation.Finished, uuid.Nil, rejection()

	op, err := b.FinishRejected(t.Context(), want, rejection())
	require.NoError(t, err)
	requireSameOperation(t, want, op)

	again, err := b.FinishRejected(t.Context(), want, *created("something else"))
	require.NoError(t, err)
	requireSameOperation(t, want, again)
	b.requireNoPayment(t, want.ID)

	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)
}

func finishRejectedAfterFinish(t *testing.T, b StoreBed) {
	t.Helper()

	done := b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "order_1"))))

	stands, err := b.FinishRejected(t.Context(), done.Operation, rejection())
	require.NoError(t, err)
	requireSameOperation(t, done.Operation, stands)
}

func finishRejectedAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))

	no, err := b.FinishRejected(t.Context(), op, rejection())
	require.NoError(t, err)
	require.Equal(t, operation.Finished, no.State)
	require.Equal(t, rejection(), no.Response)
}

// The database has lost the request that was rejected, and another one has its key since.
func finishRejectedOfAnother(t *testing.T, b StoreBed) {
	t.Helper()

	lost := b.mustBegin(t, newOperation(t, "order_1"))
	now := lost
	lost.Fingerprint[0]++

	stands, err := b.FinishRejected(t.Context(), lost, rejection())
	require.NoError(t, err)
	require.Equal(t, operation.Pending, stands.State)
	require.Equal(t, now.Fingerprint, stands.Fingerprint)

	b.requireHeldByOther(t)
}

// Nothing is frozen either where the provider said no because of the deployment.
func finishRejectedAfterReject(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustReject(t, newOperation(t, "order_1"))

	stands, err := b.FinishRejected(t.Context(), op, rejection())
	require.NoError(t, err)
	require.Equal(t, operation.Rejected, stands.State)
}

func finishAfterFinishRejected(t *testing.T, b StoreBed) {
	t.Helper()

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "order_1")), rejection())
	require.NoError(t, err)

	_, err = b.Finish(t.Context(), completionOf(no))
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireSameOperation(t, no, b.operationNow(t, no.ID))
	b.requireNoPayment(t, no.ID)
}

// A webhook has told us of an intent. Then the API says that it rejected the order.
func finishRejectedAfterPayment(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	open := completionOf(op)
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.FinishRejected(t.Context(), op, rejection())
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, operation.Pending, b.operationNow(t, open.Payment.ID).State)
}

func finishRejectedAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	const ops = 20

	for n := range ops {
		op := b.mustBegin(t, newOperation(t, ""))
		completion := completionOf(op)

		if n%2 == 0 {
			completion.Response = nil
		}

		_, errs := atOnce(2, func(i int) (struct{}, error) {
			if i == 0 {
				_, err := b.FinishRejected(t.Context(), op, rejection())

				return struct{}{}, err
			}

			_, err := b.Twin.Finish(t.Context(), completion)

			return struct{}{}, err
		})

		if b.operationNow(t, op.ID).Response.Status == rejection().Status {
			require.NoError(t, errs[0])
			require.ErrorIs(t, errs[1], ports.ErrContradiction)
			b.requireNoPayment(t, op.ID)

			continue
		}

		require.NoError(t, errs[1])
		require.Equal(t, payment.Pending, b.paymentNow(t, op.ID).Status)

		if completion.Response == nil {
			require.ErrorIs(t, errs[0], ports.ErrContradiction)
		} else {
			require.NoError(t, errs[0], "what stands is returned")
		}
	}
}

func finishRejectedWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.FinishRejected(t.Context(), ports.Operation{ID: uuid.New()}, rejection())
	requireNotFound(t, err)
}
