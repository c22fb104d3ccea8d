package portstest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// IndexedNames are the names of metadata that the stores of a StoreBed have, all but
// Unindexed.
func IndexedNames() []string { return []string{"order", "shop"} }

// PaymentLists is the contract of ports.PaymentLists. Each call of newBed gives an empty
// store.
func PaymentLists(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"ListPayments/every filter, page by page":  listsAsModel,
		"ListPayments/as they are read one by one": listsWhole,
		"ListPayments/by each kind of id":          listsByName,
		"ListPayments/while payments are created":  listsWhileCreating,
		"ListPayments/none":                        listsNothing,
	})
}

// listsAsModel compares random filters and pages with the same done in Go.
func listsAsModel(t *testing.T, b StoreBed) {
	t.Helper()
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	all := b.mustPayVariety(t)

	check := func(t *testing.T) {
		t.Helper()
		rapid.Check(t, func(t *rapid.T) {
			filter, limit := drawFilter(t, all), rapid.IntRange(1, 9).Draw(t, "limit")

			var want []uuid.UUID

			for _, p := range all {
				if fits(p, filter) {
					want = append(want, p.ID)
				}
			}

			require.Equal(t, want, b.listed(t, filter, limit), "%+v", filter)
		})
	}

	check(t) // the names are not indexed yet

	for b.index(t, 7) {
	}

	check(t)
}

// mustPayVariety makes payments of which several share each property, and several a moment.
// They come back in the order of lists.
func (b StoreBed) mustPayVariety(t *testing.T) []payment.Payment {
	t.Helper()

	const count = 48

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	all := make([]payment.Payment, 0, count)
	prices := []money.Price{amount(t, 10_00, "USD"), amount(t, 10_01, "USD"), amount(t, 10_00, "EUR"), amount(t, 10, "JPY")}

	for n := range count {
		var key operation.Key
		if n%3 > 0 {
			key = operation.Key(fmt.Sprintf("order_%d", n))
		}

		wanted := newOperation(t, key)
		wanted.Order.Amount = prices[n%len(prices)]

		switch n % 5 {
		case 0:
			wanted.Order.Metadata = nil
		case 1:
			wanted.Order.Metadata = map[string]string{"shop": "left", "other": "x"}
		default:
			wanted.Order.Metadata = map[string]string{"shop": []string{"left", "right"}[n%2], "order": strconv.Itoa(n % 7)}
		}

		done := completionOf(b.mustBegin(t, wanted))
		done.Payment.CreatedAt = noon.Add(time.Duration(n/5) * time.Microsecond)
		done.Payment.Status = payment.Statuses()[n/2%4]
		done.Payment.CustomerID = []uuid.UUID{uuid.Nil, {1}, {2}}[n%3]
		done.Payment.IntentStatus = []payment.IntentStatus{"", payment.IntentProcessing, "a_new_word"}[n%3]
		b.mustFinish(t, done)
		b.takeFrom(t, done.Payment.ID, n)
		all = append(all, b.paymentNow(t, done.Payment.ID))
	}

	slices.SortFunc(all, func(p, q payment.Payment) int {
		return cmp.Or(q.CreatedAt.Compare(p.CreatedAt), bytes.Compare(q.ID[:], p.ID[:]))
	})

	return all
}

// takeFrom gives some payments refunds and disputes, several of a kind to some.
func (b StoreBed) takeFrom(t *testing.T, id uuid.UUID, n int) {
	t.Helper()

	f := b.full(t, id)

	for i := range n % 4 {
		f.Refunds = append(f.Refunds, aRefund(t, f.Payment, n+i))
	}

	for i := range n % 3 {
		f.Disputes = append(f.Disputes, aDispute(f.Payment, n+i))
	}

	require.True(t, b.writeFull(t, f))
}

// drawFilter draws a filter whose values some of the payments have.
func drawFilter(t *rapid.T, all []payment.Payment) ports.PaymentFilter {
	f := ports.PaymentFilter{Tenant: operation.DefaultTenant}

	like := func(name string) payment.Payment { return rapid.SampledFrom(all).Draw(t, name) }
	with := func(name string, most int) bool { return rapid.IntRange(0, most).Draw(t, "with "+name) == 0 }

	if with("status", 2) {
		f.Status = like("status").Status
	}

	if with("intent status", 3) {
		f.IntentStatus = like("intent status").IntentStatus
	}

	if with("from", 2) {
		f.Created.From = like("from").CreatedAt
	}

	if with("before", 2) {
		f.Created.Before = like("before").CreatedAt
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

	if with("customer", 2) {
		f.CustomerID = like("customer").CustomerID
	}

	f.Refunded, f.Disputed = with("refunded", 3), with("disputed", 3)

	if with("metadata", 1) {
		f.Metadata = map[string]string{}

		for _, name := range IndexedNames() {
			if with(name, 1) {
				f.Metadata[name] = cmp.Or(like(name).Metadata[name], "none")
			}
		}
	}

	switch rapid.IntRange(0, 11).Draw(t, "named by") {
	case 0:
		f.Key = cmp.Or(like("key").Key, "none")
	case 1:
		f.IntentID = like("intent").IntentID
	case 2:
		f.AnyID = like("any").ID.String()
	case 3:
		f.IntentID, f.AnyID = like("intent").IntentID, string(cmp.Or(like("key").Key, "none"))
	}

	return f
}

// fits is the model: what a filter means.
func fits(p payment.Payment, f ports.PaymentFilter) bool {
	within := f.Currency.Code() == "" || f.Currency == p.Amount.Currency() &&
		(f.Amount.From.IsZero() || p.Amount.Minor() >= f.Amount.From.Minor()) &&
		(f.Amount.To.IsZero() || p.Amount.Minor() <= f.Amount.To.Minor())

	for name, value := range f.Metadata {
		if has, ok := p.Metadata[name]; !ok || has != value {
			return false
		}
	}

	return within && (!f.Refunded || p.Refunded.Minor() > 0) && (!f.Disputed || p.DisputeStatus != "") &&
		(f.Status == "" || p.Status == f.Status) &&
		(f.IntentStatus == "" || p.IntentStatus == f.IntentStatus) &&
		!p.CreatedAt.Before(f.Created.From) &&
		(f.Created.Before.IsZero() || p.CreatedAt.Before(f.Created.Before)) &&
		(f.CustomerID == uuid.Nil || p.CustomerID == f.CustomerID) &&
		(f.Key == "" || p.Key == f.Key) &&
		(f.IntentID == "" || p.IntentID == f.IntentID) &&
		(f.AnyID == "" || slices.Contains([]string{p.ID.String(), p.IntentID, string(p.Key)}, f.AnyID))
}

// listed reads every page and returns the ids.
func (b StoreBed) listed(t require.TestingT, f ports.PaymentFilter, limit int) []uuid.UUID {
	var (
		ids []uuid.UUID
		at  ports.PaymentPosition
	)

	for turn := 0; ; turn++ {
		page, err := b.either(turn).ListPayments(context.Background(), f, at, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Payments), limit)

		for _, p := range page.Payments {
			ids = append(ids, p.ID)
		}

		if page.Next.IsZero() {
			return ids
		}

		at = page.Next
	}
}

func listsWhole(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")

	page, err := b.ListPayments(t.Context(), ports.PaymentFilter{Tenant: operation.DefaultTenant}, ports.PaymentPosition{}, 1)
	require.NoError(t, err)
	require.Equal(t, ports.PaymentPage{Payments: []payment.Payment{p}}, page)
}

func listsByName(t *testing.T, b StoreBed) {
	t.Helper()

	p, other := b.mustPay(t, "order_1"), b.mustPay(t, "order_2")

	for _, f := range []ports.PaymentFilter{
		{Key: p.Key},
		{IntentID: p.IntentID},
		{AnyID: p.IntentID},
		{AnyID: string(p.Key)},
		{AnyID: p.ID.String()},
		{Key: p.Key, IntentID: p.IntentID, AnyID: p.ID.String()},
	} {
		f.Tenant = operation.DefaultTenant
		require.Equal(t, []uuid.UUID{p.ID}, b.listed(t, f, 2), "%+v", f)
	}

	for _, f := range []ports.PaymentFilter{
		{Key: "none"},
		{AnyID: "pi_none"},
		{AnyID: uuid.NewString()},
		{Key: p.Key, IntentID: other.IntentID},
		{AnyID: p.ID.String(), Status: payment.Failed},
		{AnyID: p.ID.String(), Created: list.Span{From: p.CreatedAt.Add(time.Microsecond)}},
	} {
		f.Tenant = operation.DefaultTenant
		require.Empty(t, b.listed(t, f, 2), "%+v", f)
	}
}

func listsWhileCreating(t *testing.T, b StoreBed) {
	t.Helper()

	const count = 6

	want, got := make([]uuid.UUID, 0, count), make([]uuid.UUID, 0, count)

	for range count {
		want = append(want, b.mustPay(t, "").ID)
	}

	slices.Reverse(want)

	var at ports.PaymentPosition

	for range count / 2 {
		page, err := b.ListPayments(t.Context(), ports.PaymentFilter{Tenant: operation.DefaultTenant}, at, 2)
		require.NoError(t, err)

		for _, p := range page.Payments {
			got = append(got, p.ID)
		}

		b.mustPay(t, "") // newer than all pages

		at = page.Next
	}

	require.Equal(t, want, got)
	require.True(t, at.IsZero(), "there are no older ones")
}

func listsNothing(t *testing.T, b StoreBed) {
	t.Helper()
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	for _, f := range []ports.PaymentFilter{
		{}, {Status: payment.Failed}, {Key: "order_1"}, {Metadata: map[string]string{"order": "1"}},
	} {
		f.Tenant = operation.DefaultTenant
		page, err := b.ListPayments(t.Context(), f, ports.PaymentPosition{}, 10)
		require.NoError(t, err)
		require.Empty(t, page)
	}
}
