package portstest

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Reconciliation is the contract of ports.Reconciliation. Each call of newBed
// gives an empty store.
func Reconciliation(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"ReconciledThrough/never moves back": reconciledThrough,
		"ReconciledThrough/the furthest run": reconciledThroughByMany,
		"UnknownEvents/what is not stored":   unknownEvents,
		"PaymentsByIntent/those that exist":  paymentsByIntent,
		"Unsettled/page by page":             unsettledByPage,
		"Unsettled/created before":           unsettledBefore,
		"Advance/by the state machine":       advanceByTheTable,
		"Advance/no such payment":            advanceNothing,
		"Advance/against the event":          advanceAgainstEvent,
	})
}

func reconciledThrough(t *testing.T, b StoreBed) {
	t.Helper()

	got, err := b.ReconciledThrough(t.Context())
	require.NoError(t, err)
	require.True(t, got.IsZero())

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)

	for _, step := range []struct{ set, want time.Time }{
		{noon, noon},
		{noon.Add(-time.Hour), noon},
		{noon, noon},
		{noon.Add(time.Microsecond), noon.Add(time.Microsecond)},
	} {
		require.NoError(t, b.SetReconciledThrough(t.Context(), step.set))

		for _, store := range []Store{b.Store, b.Twin} {
			got, err = store.ReconciledThrough(t.Context())
			require.NoError(t, err)
			require.Equal(t, step.want, got)
		}
	}
}

func reconciledThroughByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const runs = 16

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)

	allAtOnce(t, runs, func(i int) (struct{}, error) {
		return struct{}{}, b.either(i).SetReconciledThrough(t.Context(), noon.Add(time.Duration(i)*time.Minute))
	})

	got, err := b.ReconciledThrough(t.Context())
	require.NoError(t, err)
	require.Equal(t, noon.Add((runs-1)*time.Minute), got)
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

func paymentsByIntent(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := b.mustPay(t, "order_1"), b.mustPay(t, "order_2")
	b.mustPay(t, "order_3")

	found, err := b.PaymentsByIntent(t.Context(), []string{first.IntentID, "pi_none", second.IntentID})
	require.NoError(t, err)
	require.Equal(t, map[string]payment.Payment{first.IntentID: first, second.IntentID: second}, found)

	for _, ids := range [][]string{nil, {}, {"pi_none"}} {
		found, err = b.PaymentsByIntent(t.Context(), ids)
		require.NoError(t, err)
		require.Empty(t, found)
	}
}

// Several payments are created at one moment, so a page may end between them.
func unsettledByPage(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, page = 20, 3

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	want := make([]uuid.UUID, 0, payments)

	for i := range payments {
		p := b.mustPayAt(t, noon.Add(time.Duration(i/4)*time.Second), payment.Statuses()[i%4])
		if !p.Status.Final() {
			want = append(want, p.ID)
		}
	}

	var (
		got  []uuid.UUID
		last payment.Payment
	)

	for {
		some, err := b.Unsettled(t.Context(), noon.Add(time.Hour), last, page)
		require.NoError(t, err)
		require.LessOrEqual(t, len(some), page)

		if len(some) == 0 {
			break
		}

		for _, p := range some {
			require.False(t, p.CreatedAt.Before(last.CreatedAt), "oldest first")
			require.Equal(t, b.paymentNow(t, p.ID), p)

			got, last = append(got, p.ID), p
		}
	}

	require.ElementsMatch(t, want, got, "each once")
}

func unsettledBefore(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	old := b.mustPayAt(t, noon.Add(-time.Microsecond), payment.Failed)
	b.mustPayAt(t, noon, payment.Pending)

	some, err := b.Unsettled(t.Context(), noon, payment.Payment{}, 10)
	require.NoError(t, err)
	require.Equal(t, []payment.Payment{old}, some)
}

func advanceByTheTable(t *testing.T, b StoreBed) {
	t.Helper()

	for _, from := range payment.Statuses() {
		for _, to := range payment.Statuses() {
			before := b.mustPayAt(t, time.Now(), from)

			moved, err := b.Advance(t.Context(), before.ID, to, "reconciliation")
			require.NoError(t, err)
			require.Equal(t, from.CanBecome(to), moved, "%s → %s", from, to)

			if !moved {
				require.Equal(t, before, b.paymentNow(t, before.ID))
				require.Len(t, b.history(t, before.ID), 1)

				continue
			}

			b.requireTrueHistory(t, before.ID)
			require.Equal(t, to, b.paymentNow(t, before.ID).Status)
			require.Equal(t, "reconciliation", b.history(t, before.ID)[1].Cause)

			again, err := b.Advance(t.Context(), before.ID, to, "reconciliation")
			require.NoError(t, err)
			require.False(t, again, "it is there")
		}
	}
}

func advanceNothing(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))

	for _, id := range []uuid.UUID{claim.PaymentID, uuid.New()} {
		moved, err := b.Advance(t.Context(), id, payment.Succeeded, "reconciliation")
		require.NoError(t, err)
		require.False(t, moved)
		b.requireNoPayment(t, id)
	}
}

// Reconciliation finds what an event, which is just arriving, tells too.
func advanceAgainstEvent(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 20, 4

	for n := range payments {
		p := b.mustPay(t, payment.Key(strconv.Itoa(n)))
		failed, succeeded := eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded)

		moved := allAtOnce(t, callers, func(i int) (bool, error) {
			switch i {
			case 0:
				applied, err := b.Apply(t.Context(), failed)

				return applied.Outcome == ports.EventApplied, err
			case 1:
				applied, err := b.Twin.Apply(t.Context(), succeeded)

				return applied.Outcome == ports.EventApplied, err
			default:
				return b.either(i).Advance(t.Context(), p.ID, payment.Succeeded, "reconciliation")
			}
		})

		require.Equal(t, 1, count(moved[1:], func(moved bool) bool { return moved }), "who is first has moved it")
		require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
		require.Len(t, b.history(t, p.ID), 2+count(moved[:1], func(moved bool) bool { return moved }))
		b.requireTrueHistory(t, p.ID)
	}
}

// mustPayAt makes a payment that was created at a time and stands at status.
func (b StoreBed) mustPayAt(tb testing.TB, at time.Time, status payment.Status) payment.Payment {
	tb.Helper()
	require.True(tb, slices.Contains(payment.Statuses(), status))

	completion := completionOf(b.mustClaim(tb, newClaim(tb, "")))
	completion.Payment.CreatedAt, completion.Payment.Status = at, status
	b.mustComplete(tb, completion)

	return b.paymentNow(tb, completion.Payment.ID)
}
