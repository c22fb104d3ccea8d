package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

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

// Several payments are created at one moment, and a page may end between two of them.
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

// An open payment is found behind newer ones that are all final.
func openBehindMany(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	want := b.mustPayAt(t, noon.Add(-time.Hour), payment.Failed)

	for n := range 5 {
		b.mustPayAt(t, noon.Add(-time.Duration(n+1)*time.Minute), payment.Succeeded)
	}

	require.Equal(t, []payment.Payment{want}, b.openPages(t, time.Time{}, noon, 1))
}

// openPages reads every page and requires that each begins where the last one ended.
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
