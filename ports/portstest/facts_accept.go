package portstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// accepting is a person's decision about a payment.
func accepting(tb testing.TB, p payment.Payment) ports.AuditEntry {
	tb.Helper()

	entry := entryFor(tb, ports.AuditPaymentAccepted, p.ID.String())
	entry.ObjectType = "payment"

	return entry
}

func (b StoreBed) accept(tb testing.TB, p payment.Payment, entry ports.AuditEntry) bool {
	tb.Helper()

	written, err := b.Accept(tb.Context(), ports.FullPayment{Payment: p}, entry)
	require.NoError(tb, err)

	return written
}

func acceptContradiction(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, p, payment.Cancelled))

	now := paid(b.paymentNow(t, p.ID), 50_00)
	now.Amount = amount(t, 50_00, "USD")
	entry := accepting(t, p)

	require.True(t, b.accept(t, now, entry))
	b.requireWritten(t, now)
	b.requireAudit(t, p.ID.String(), entry)

	// The amount alone.
	more := b.paymentNow(t, p.ID)
	more.Amount = amount(t, 60_00, "USD")
	require.True(t, b.accept(t, more, accepting(t, p)))
	b.requireWritten(t, more)

	history := b.history(t, p.ID)
	require.Len(t, history, 3)
	require.Equal(t, ports.Transition{
		From: payment.Cancelled, To: payment.Succeeded, Cause: string(operation.ByPerson), At: history[2].At,
	}, history[2])
}

func acceptEndsEvents(t *testing.T, b StoreBed) {
	t.Helper()

	p, other := b.mustDecline(t, "order_1"), b.mustPay(t, "order_2")
	hint := b.mustHint(t, p)

	contradict := func(p payment.Payment) ports.Event {
		e := eventOf(t, p, payment.Succeeded)
		e.Intent.Amount = amount(t, 1_00, "USD")
		require.Equal(t, ports.ParkedContradiction, b.mustApply(t, e).Reason)

		return e
	}
	wrong, others := contradict(p), contradict(other)
	waiting := eventOf(t, p, payment.Succeeded)
	require.NoError(t, b.Park(t.Context(), waiting, ports.ParkedUnknown))

	now := paid(b.paymentNow(t, p.ID), 1_00)
	now.Amount = amount(t, 1_00, "USD")
	require.True(t, b.accept(t, now, accepting(t, p)))

	b.requireStored(t, wrong, ports.EventDismissed, "")
	b.requireStored(t, hint, ports.EventApplied, "")
	b.requireStored(t, others, ports.EventParked, ports.ParkedContradiction)
	b.requireStored(t, waiting, ports.EventParked, ports.ParkedUnknown)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, wrong).Outcome)
}

func acceptRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	entry := accepting(t, p)

	for range 2 {
		require.True(t, b.accept(t, paid(p, 100_00), entry))
	}

	require.Len(t, b.history(t, p.ID), 2)
	b.requireAudit(t, p.ID.String(), entry)
}

func acceptOldVersion(t *testing.T, b StoreBed) {
	t.Helper()

	loaded := b.mustPay(t, "order_1")
	wrong := eventOf(t, loaded, payment.Succeeded)
	wrong.Intent.Amount = amount(t, 1_00, "USD")
	b.mustApply(t, wrong)
	b.mustApply(t, eventOf(t, loaded, payment.Cancelled))

	now := b.paymentNow(t, loaded.ID)
	require.False(t, b.accept(t, paid(loaded, 1_00), accepting(t, loaded)))
	require.Equal(t, now, b.paymentNow(t, loaded.ID))
	b.requireStored(t, wrong, ports.EventParked, ports.ParkedContradiction)
	b.requireAudit(t, loaded.ID.String())

	entry := accepting(t, now)
	require.True(t, b.accept(t, paid(now, 123_45), entry))

	accepted := b.paymentNow(t, now.ID)
	require.False(t, b.accept(t, paid(now, 100_00), accepting(t, now)), "another decision comes too late")
	require.Equal(t, accepted, b.paymentNow(t, now.ID))
	b.requireAudit(t, now.ID.String(), entry)
}

func acceptWithoutPayment(t *testing.T, b StoreBed) {
	t.Helper()

	p := completionOf(b.mustBegin(t, newOperation(t, "order_1"))).Payment
	_, err := b.Accept(t.Context(), ports.FullPayment{Payment: p}, accepting(t, p))
	requireNotFound(t, err)
	b.requireNoPayment(t, p.ID)
	b.requireAudit(t, p.ID.String())
}

func acceptByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const people = 8

	p := b.mustHold(t, "order_1")
	accepted := allAtOnce(t, people, func(i int) (bool, error) {
		return b.either(i).Accept(t.Context(), ports.FullPayment{Payment: paid(p, int64(1_00*(i+1)))}, accepting(t, p))
	})
	require.Equal(t, 1, count(accepted, func(accepted bool) bool { return accepted }))

	entries, err := b.AuditOf(t.Context(), p.ID.String())
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// Either the person decides about what the event has done, or the event meets what the
// person has decided: neither is lost.
func acceptAgainstEvents(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 20

	for range payments {
		p := b.mustHold(t, "")
		e := eventOf(t, p, payment.Succeeded)
		applied := make([]ports.Applied, 1)

		accepted := allAtOnce(t, 2, func(i int) (accepted bool, err error) {
			if i == 0 {
				applied[0], err = b.Apply(t.Context(), e)

				return false, err
			}

			return b.Twin.Accept(t.Context(), ports.FullPayment{Payment: paid(p, 100_00)}, accepting(t, p))
		})[1]

		now := b.paymentNow(t, p.ID)
		require.Equal(t, payment.Succeeded, now.Status)

		if accepted {
			require.Equal(t, ports.ParkedContradiction, applied[0].Reason, "it says that more was captured")
			require.Equal(t, int64(100_00), now.Captured.Minor())
		} else {
			require.Equal(t, ports.EventApplied, applied[0].Outcome)
			require.Equal(t, p.Amount.Money(), now.Captured)
			b.requireAudit(t, p.ID.String())
		}
	}
}
