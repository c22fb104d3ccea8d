package portstest

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
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
		"HoldReconciliation/one at a time":          holdReconciliation,
		"HoldReconciliation/by many":                holdReconciliationByMany,
		"HoldReconciliation/runs out":               holdReconciliationRunsOut,
		"Sweep/each band has its place":             sweepPlaces,
		"UnknownEvents/what is not stored":          unknownEvents,
		"PaymentsByIntent/those that exist":         paymentsByIntent,
		"OpenPayments/page by page, newest first":   openByPage,
		"OpenPayments/within bounds":                openWithinBounds,
		"OpenPayments/behind many that are final":   openBehindMany,
		"Advance/by the state machine":              advanceByTheTable,
		"Advance/no such payment":                   advanceNothing,
		"Advance/against the event":                 advanceAgainstEvent,
	})
}

func reconciledNow(t *testing.T, b StoreBed) {
	t.Helper()

	through, now, err := b.ReconciledThrough(t.Context())
	require.NoError(t, err)
	require.True(t, through.IsZero())
	require.WithinDuration(t, time.Now(), now, time.Minute)

	_, later, err := b.Twin.ReconciledThrough(t.Context())
	require.NoError(t, err)
	require.False(t, later.Before(now))
}

func moveReconciled(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)

	for _, step := range []struct {
		from, to time.Time
		moved    bool
		want     time.Time
	}{
		{noon, noon.Add(time.Hour), false, time.Time{}}, // there is none yet
		{time.Time{}, noon, true, noon},
		{time.Time{}, noon.Add(time.Hour), false, noon},
		{noon.Add(time.Microsecond), noon.Add(time.Hour), false, noon},
		{noon, noon.Add(time.Microsecond), true, noon.Add(time.Microsecond)},
		{noon.Add(time.Microsecond), noon.Add(-time.Hour), true, noon.Add(-time.Hour)}, // one that a wrong clock wrote
	} {
		moved, err := b.MoveReconciledThrough(t.Context(), step.from, step.to)
		require.NoError(t, err)
		require.Equal(t, step.moved, moved, "%+v", step)

		for _, store := range []Store{b.Store, b.Twin} {
			through, _, err := store.ReconciledThrough(t.Context())
			require.NoError(t, err)
			require.Equal(t, step.want, through)
		}
	}
}

func moveReconciledByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const runs = 16

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)

	for _, from := range []time.Time{{}, noon} {
		moved := allAtOnce(t, runs, func(i int) (bool, error) {
			return b.either(i).MoveReconciledThrough(t.Context(), from, noon.Add(time.Duration(i)*time.Minute))
		})

		if from.IsZero() {
			require.Equal(t, 1, count(moved, func(moved bool) bool { return moved }), "the first cursor")

			through, _, err := b.ReconciledThrough(t.Context())
			require.NoError(t, err)

			_, err = b.MoveReconciledThrough(t.Context(), through, noon)
			require.NoError(t, err)

			continue
		}

		// Whoever sets it to what it is lets another one through.
		require.Contains(t, []int{1, 2}, count(moved, func(moved bool) bool { return moved }))
	}
}

func holdReconciliation(t *testing.T, b StoreBed) {
	t.Helper()

	mine, theirs := newLease(), newLease()

	for _, step := range []struct {
		store Store
		lease ports.Lease
		held  bool
	}{{b.Store, mine, true}, {b.Twin, theirs, false}, {b.Twin, mine, true}, {b.Store, theirs, false}} {
		held, err := step.store.HoldReconciliation(t.Context(), step.lease)
		require.NoError(t, err)
		require.Equal(t, step.held, held)
	}

	require.NoError(t, b.ReleaseReconciliation(t.Context(), theirs.Token), "it is not theirs")

	held, err := b.Twin.HoldReconciliation(t.Context(), theirs)
	require.NoError(t, err)
	require.False(t, held)

	require.NoError(t, b.ReleaseReconciliation(t.Context(), mine.Token))
	require.NoError(t, b.ReleaseReconciliation(t.Context(), mine.Token), "again")

	held, err = b.Twin.HoldReconciliation(t.Context(), theirs)
	require.NoError(t, err)
	require.True(t, held)
}

func holdReconciliationByMany(t *testing.T, b StoreBed) {
	t.Helper()

	held := allAtOnce(t, 16, func(i int) (bool, error) { return b.either(i).HoldReconciliation(t.Context(), newLease()) })
	require.Equal(t, 1, count(held, func(held bool) bool { return held }))
}

// A process that has died holds nobody up for ever.
func holdReconciliationRunsOut(t *testing.T, b StoreBed) {
	t.Helper()

	dead := ports.Lease{Token: uuid.New(), For: 50 * time.Millisecond}

	held, err := b.HoldReconciliation(t.Context(), dead)
	require.NoError(t, err)
	require.True(t, held)

	require.Eventually(t, func() bool {
		held, err := b.Twin.HoldReconciliation(t.Context(), newLease())
		require.NoError(t, err)

		return held
	}, 10*time.Second, 10*time.Millisecond)

	held, err = b.HoldReconciliation(t.Context(), dead)
	require.NoError(t, err)
	require.False(t, held, "it has gone to somebody else")
}

func sweepPlaces(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 123_456_000, time.UTC)
	first, second := ports.PaymentPosition{CreatedAt: noon, ID: uuid.New()}, ports.PaymentPosition{CreatedAt: noon, ID: uuid.New()}

	for _, step := range []struct {
		band int
		at   ports.PaymentPosition
	}{{0, first}, {4, second}, {0, second}, {0, ports.PaymentPosition{}}, {0, ports.PaymentPosition{}}} {
		require.NoError(t, b.SetSweep(t.Context(), step.band, step.at))

		at, err := b.Twin.Sweep(t.Context(), step.band)
		require.NoError(t, err)
		require.Equal(t, step.at, at)
	}

	at, err := b.Sweep(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, second, at, "the other band's")
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

// openPages reads page by page, and wants each page to go on behind the last one.
func (b StoreBed) openPages(tb testing.TB, from, before time.Time, limit int) []payment.Payment {
	tb.Helper()

	var all []payment.Payment

	at := ports.PaymentPosition{CreatedAt: before}

	for {
		open, next, err := b.OpenPayments(tb.Context(), from, at, limit)
		require.NoError(tb, err)
		require.LessOrEqual(tb, len(open), limit)

		if next == (ports.PaymentPosition{}) {
			require.Empty(tb, open)

			return all
		}

		require.False(tb, next.CreatedAt.After(at.CreatedAt), "newest first")

		all, at = append(all, open...), next
	}
}

// Several payments are created at one moment, so a page may end between them.
func openByPage(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, page = 20, 3

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	want := make([]payment.Payment, 0, payments)

	for i := range payments {
		p := b.mustPayAt(t, noon.Add(time.Duration(i/4)*time.Second), payment.Statuses()[i%4])
		if !p.Status.Final() {
			want = append(want, p)
		}
	}

	got := b.openPages(t, time.Time{}, noon.Add(time.Hour), page)
	require.ElementsMatch(t, want, got, "each once")

	for i, p := range got[1:] {
		require.False(t, p.CreatedAt.After(got[i].CreatedAt), "newest first")
	}
}

func openWithinBounds(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	b.mustPayAt(t, noon.Add(-time.Hour-time.Microsecond), payment.Pending)

	want := []payment.Payment{
		b.mustPayAt(t, noon.Add(-time.Microsecond), payment.Failed),
		b.mustPayAt(t, noon.Add(-time.Hour), payment.Pending),
	}

	b.mustPayAt(t, noon, payment.Pending)
	require.Equal(t, want, b.openPages(t, noon.Add(-time.Hour), noon, 10))
	require.Empty(t, b.openPages(t, noon.Add(-time.Minute), noon.Add(-time.Minute), 10))
}

// The oldest one is found although what is before it is all final.
func openBehindMany(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	want := b.mustPayAt(t, noon.Add(-time.Hour), payment.Failed)

	for n := range 5 {
		b.mustPayAt(t, noon.Add(-time.Duration(n+1)*time.Minute), payment.Succeeded)
	}

	require.Equal(t, []payment.Payment{want}, b.openPages(t, time.Time{}, noon, 1))
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

	op := b.mustBegin(t, newOperation(t, "order_1"))

	for _, id := range []uuid.UUID{op.PaymentID, uuid.New()} {
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
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))
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

	completion := completionOf(b.mustBegin(tb, newOperation(tb, "")))
	completion.Payment.CreatedAt, completion.Payment.Status = at, status
	b.mustFinish(tb, completion)

	return b.paymentNow(tb, completion.Payment.ID)
}
