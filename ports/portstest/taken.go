package portstest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Disputes is the contract of ports.Disputes, and of what Facts does to disputes. Each call of
// newBed gives an empty store.
func Disputes(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Dispute/none is NotFound":              disputeIsNotFound,
		"Write/disputes with their payment":     writesDisputes,
		"Write/nothing that has moved on":       writesNoDisputeOfBefore,
		"OpenDisputes/those that are undecided": opensDisputes,
		"ListDisputes/every filter and order":   listsDisputesAsModel,
		"Backlog/by the time that is left":      countsDisputes,
	})
}

// RefundLists is the contract of ports.RefundLists.
func RefundLists(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"ListRefunds/every filter, page by page": listsRefundsAsModel,
		"ListRefunds/few among many":             listsFewRefunds,
	})
}

// aDispute is one of a payment. n makes it different from others.
func aDispute(p payment.Payment, n int) dispute.Dispute {
	statuses := []dispute.Status{
		dispute.NeedsResponse, dispute.UnderReview, dispute.Won, dispute.Lost, dispute.InquiryNeedsResponse, "prevented",
	}
	currency := p.Amount.Currency()
	at := time.Date(2024, time.January, 15, 12, 0, n/3, 0, time.UTC)
	d := dispute.Dispute{
		ID: uuid.NewSHA1(p.ID, []byte(strconv.Itoa(n))), Tenant: p.Tenant, PaymentID: p.ID,
		Snapshot: dispute.Snapshot{
			ProviderID: fmt.Sprintf("du_%s_%d", p.ID, n), Amount: money.Of(500, currency), Status: statuses[n%len(statuses)],
			Reason: "fraudulent", NetworkReasonCode: "10.4", Submissions: n % 2,
			Balance: []dispute.Balance{
				{Amount: money.Of(-500, currency), Fee: money.Of(1500, currency), At: at},
				{Amount: money.Of(100, currency), Fee: money.Of(0, currency), At: at.Add(time.Hour)},
			},
			CreatedAt: at,
		},
	}

	if n%4 > 0 {
		d.EvidenceDueBy = at.Add(time.Duration(n%4) * 24 * time.Hour)
	}

	d.Counted = d.CountedOf(p.Amount.Money())

	return d
}

// writeFull writes a payment with what belongs to it.
func (b StoreBed) writeFull(tb testing.TB, f ports.FullPayment) bool {
	tb.Helper()

	written, err := b.Write(tb.Context(), f.Counting(), nil, ports.EventApplied, "recovery")
	require.NoError(tb, err)

	return written
}

func (b StoreBed) full(tb testing.TB, id uuid.UUID) ports.FullPayment {
	tb.Helper()

	f, err := b.FullPayment(tb.Context(), id)
	require.NoError(tb, err)

	return f
}

func disputeIsNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Dispute(t.Context(), uuid.New())
	requireNotFound(t, err)

	found, err := b.DisputesByProviderID(t.Context(), []string{"du_none"})
	require.NoError(t, err)
	require.Empty(t, found)
}

func writesDisputes(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	other := b.mustPay(t, "order_2")
	f := ports.FullPayment{Payment: p, Disputes: []dispute.Dispute{aDispute(p, 0), aDispute(p, 5)}}
	require.True(t, b.writeFull(t, f))

	written := b.full(t, p.ID)
	require.Len(t, written.Disputes, 2)
	requireNewer(t, p, written.Payment)

	for i, d := range written.Disputes {
		require.True(t, d.SameAs(f.Disputes[i]), "%+v", d)
		require.GreaterOrEqual(t, d.Version, p.UpdatedAt.UnixMilli())
		require.False(t, d.UpdatedAt.IsZero())

		one, err := b.Twin.Dispute(t.Context(), d.ID)
		require.NoError(t, err)
		require.Equal(t, d, one)
	}

	found, err := b.DisputesByProviderID(t.Context(), []string{f.Disputes[1].ProviderID, "du_none"})
	require.NoError(t, err)
	require.Equal(t, map[string]dispute.Dispute{f.Disputes[1].ProviderID: written.Disputes[1]}, found)

	// The same is no change.
	require.True(t, b.writeFull(t, written))
	require.Equal(t, written, b.full(t, p.ID))

	changed := written
	changed.Disputes = slices.Clone(written.Disputes)
	changed.Disputes[0].Status, changed.Disputes[0].Balance = dispute.Won, nil
	require.True(t, b.writeFull(t, changed))

	after := b.full(t, p.ID)
	require.Greater(t, after.Disputes[0].Version, written.Disputes[0].Version)
	require.True(t, after.Disputes[0].SameAs(changed.Disputes[0]))
	require.Equal(t, written.Disputes[1], after.Disputes[1], "what does not change keeps its version")
	require.Greater(t, after.Payment.Version, written.Payment.Version)
	require.Empty(t, b.full(t, other.ID).Disputes)
}

func writesNoDisputeOfBefore(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	require.True(t, b.writeFull(t, ports.FullPayment{Payment: p, Disputes: []dispute.Dispute{aDispute(p, 0)}}))
	now := b.full(t, p.ID)

	late := ports.FullPayment{Payment: p, Disputes: []dispute.Dispute{aDispute(p, 1)}}
	require.False(t, b.writeFull(t, late), "the payment has another version")
	require.Equal(t, now, b.full(t, p.ID))
}

func opensDisputes(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	f := ports.FullPayment{Payment: p}

	want := map[uuid.UUID]bool{}

	for n := range 12 {
		d := aDispute(p, n)
		f.Disputes = append(f.Disputes, d)

		if !d.Status.Closed() {
			want[d.ID] = true
		}
	}

	require.True(t, b.writeFull(t, f))

	got := map[uuid.UUID]bool{}

	for after := uuid.Nil; ; {
		open, err := b.OpenDisputes(t.Context(), after, 3)
		require.NoError(t, err)

		if len(open) == 0 {
			break
		}

		for _, d := range open {
			require.False(t, got[d.ID])
			got[d.ID] = true
		}

		after = open[len(open)-1].ID
	}

	require.Equal(t, want, got)
}

func listsDisputesAsModel(t *testing.T, b StoreBed) {
	t.Helper()

	all := make([]dispute.Dispute, 0, 24)

	for i := range 6 {
		p := b.mustPayFor(t, []operation.Tenant{operation.DefaultTenant, another}[i%2], "")
		f := ports.FullPayment{Payment: p}

		for n := range 4 {
			f.Disputes = append(f.Disputes, aDispute(p, 4*i+n))
		}

		require.True(t, b.writeFull(t, f))
		all = append(all, b.full(t, p.ID).Disputes...)
	}

	rapid.Check(t, func(t *rapid.T) {
		filter, limit := drawDisputes(t, all), rapid.IntRange(1, 9).Draw(t, "limit")

		var want, got []dispute.Dispute

		for _, d := range all {
			if filter.Fits(d) {
				want = append(want, d)
			}
		}

		slices.SortFunc(want, func(a, b dispute.Dispute) int {
			if filter.PositionOf(a).Precedes(filter.PositionOf(b)) == filter.ByDue {
				return -1
			}

			return 1
		})

		for at := (list.Position{}); ; {
			page, err := b.ListDisputes(context.Background(), filter, at, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), limit)

			got = append(got, page...)

			if len(page) < limit {
				break
			}

			at = filter.PositionOf(page[limit-1])
		}

		require.Equal(t, want, got, "%+v", filter)
	})
}

func drawDisputes(t *rapid.T, all []dispute.Dispute) (f ports.DisputeFilter) {
	like := func(name string) dispute.Dispute { return rapid.SampledFrom(all).Draw(t, name) }
	with := func(name string, most int) bool { return rapid.IntRange(0, most).Draw(t, "with "+name) == 0 }

	f.Tenant, f.ByDue = like("tenant").Tenant, rapid.Bool().Draw(t, "by due")

	if with("status", 2) {
		f.Status = like("status").Status
	}

	if with("kind", 3) {
		f.Kind = like("kind").Kind()
	}

	if with("payment", 3) {
		f.PaymentID = like("payment").PaymentID
	}

	if with("due from", 3) {
		f.Due.From = like("due from").EvidenceDueBy
	}

	if with("due before", 3) {
		f.Due.Before = like("due before").EvidenceDueBy
	}

	if with("from", 3) {
		f.Created.From = like("from").CreatedAt
	}

	if with("before", 3) {
		f.Created.Before = like("before").CreatedAt
	}

	return f
}

func countsDisputes(t *testing.T, b StoreBed) {
	t.Helper()

	stats, err := b.Backlog(t.Context())
	require.NoError(t, err)
	require.Empty(t, stats.Disputes.AtStake)

	const day = 24 * time.Hour

	p := b.mustPay(t, "order_1")
	f := ports.FullPayment{Payment: p}

	for n, c := range []struct {
		status dispute.Status
		left   time.Duration
	}{
		{dispute.NeedsResponse, -time.Hour},
		{dispute.NeedsResponse, day / 2},
		{dispute.InquiryNeedsResponse, 2 * day},
		{dispute.NeedsResponse, 5 * day},
		{dispute.NeedsResponse, 6 * day},
		{dispute.NeedsResponse, 20 * day},
		{dispute.UnderReview, 2 * day},
		{dispute.Lost, 2 * day},
		{"prevented", 2 * day},
	} {
		d := aDispute(p, n)
		d.Status, d.EvidenceDueBy = c.status, time.Now().Add(c.left).UTC().Truncate(time.Second)
		d.Counted = d.CountedOf(p.Amount.Money())
		f.Disputes = append(f.Disputes, d)
	}

	require.True(t, b.writeFull(t, f))

	stats, err = b.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[ports.TimeLeft]int64{
		ports.Overdue: 1, ports.WithinOne: 1, ports.WithinThree: 1, ports.WithinSeven: 2, ports.Later: 1,
	}, stats.Disputes.Unanswered)

	// Four of five are away of each that is an open chargeback: not of the inquiry, nor of the lost one.
	require.Equal(t, []money.Money{money.Of(7*400, p.Amount.Currency())}, stats.Disputes.AtStake)
}

// aRefund is one of a payment. n makes it different from others.
func aRefund(tb testing.TB, p payment.Payment, n int) refund.Refund {
	tb.Helper()

	price, err := money.NewPrice(int64(100*(1+n%3)), p.Amount.Currency())
	require.NoError(tb, err)

	r := refund.Refund{
		ID: uuid.NewSHA1(p.ID, []byte("refund"+strconv.Itoa(n))), PaymentID: p.ID, Amount: price,
		ProviderID: fmt.Sprintf("re_%s_%d", p.ID, n), Status: refund.Statuses()[n%5], Origin: refund.Origins()[n%3],
		CreatedAt: time.Date(2024, time.January, 15, 12, 0, 0, 1000*(n/3), time.UTC),
	}

	if n%2 > 0 {
		r.Reason = refund.Reasons()[n/2%3]
	}

	return r
}

func listsRefundsAsModel(t *testing.T, b StoreBed) {
	t.Helper()

	all := make([]refund.Refund, 0, 30)

	for i := range 6 {
		p := b.mustPayFor(t, []operation.Tenant{operation.DefaultTenant, another}[i%2], "")
		f := ports.FullPayment{Payment: p}

		for n := range 5 {
			f.Refunds = append(f.Refunds, aRefund(t, p, 5*i+n))
		}

		require.True(t, b.writeFull(t, f))
		all = append(all, b.full(t, p.ID).Refunds...)
	}

	slices.SortFunc(all, func(r, s refund.Refund) int {
		if ports.PositionOfRefund(r).Precedes(ports.PositionOfRefund(s)) {
			return 1
		}

		return -1
	})

	rapid.Check(t, func(t *rapid.T) {
		filter, limit := drawRefunds(t, all), rapid.IntRange(1, 9).Draw(t, "limit")

		var want, got []refund.Refund

		for _, r := range all {
			if filter.Fits(r) {
				want = append(want, r)
			}
		}

		for at := (list.Position{}); ; {
			page, err := b.ListRefunds(context.Background(), filter, at, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page.Refunds), limit)

			got = append(got, page.Refunds...)

			if at = page.Next; at.IsZero() {
				break
			}
		}

		require.Equal(t, want, got, "%+v", filter)
	})
}

func drawRefunds(t *rapid.T, all []refund.Refund) (f ports.RefundFilter) {
	like := func(name string) refund.Refund { return rapid.SampledFrom(all).Draw(t, name) }
	with := func(name string, most int) bool { return rapid.IntRange(0, most).Draw(t, "with "+name) == 0 }

	f.Tenant = like("tenant").Tenant

	if with("status", 2) {
		f.Status = like("status").Status
	}

	if with("reason", 3) {
		f.Reason = like("reason").Reason
	}

	if with("origin", 2) {
		f.Origin = like("origin").Origin
	}

	if with("payment", 3) {
		f.PaymentID = like("payment").PaymentID
	}

	if with("currency", 2) {
		bound := like("amount").Amount
		f.Currency = bound.Currency()

		if with("least", 1) {
			f.Amount.From = bound.Money()
		}

		if with("most", 1) {
			f.Amount.To = bound.Money()
		}
	}

	if with("from", 3) {
		f.Created.From = like("from").CreatedAt
	}

	if with("before", 3) {
		f.Created.Before = like("before").CreatedAt
	}

	return f
}

// A page looks at a bounded number of refunds, and finds those that fit behind the first slice.
func listsFewRefunds(t *testing.T, b StoreBed) {
	t.Helper()

	const many = 450

	p := b.mustPay(t, "order_1")
	f := ports.FullPayment{Payment: p}

	for n := range many {
		r := aRefund(t, p, n)
		if r.Status = refund.Failed; n == 0 { // the oldest
			r.Status = refund.Succeeded
		}

		f.Refunds = append(f.Refunds, r)
	}

	require.True(t, b.writeFull(t, f))

	page, err := b.ListRefunds(t.Context(), ports.RefundFilter{
		Tenant: operation.DefaultTenant, Status: refund.Succeeded,
	}, list.Position{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Refunds, 1)
	require.Equal(t, f.Refunds[0].ID, page.Refunds[0].ID)
	require.True(t, page.Next.IsZero())
}
