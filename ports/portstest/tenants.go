package portstest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// another is a tenant beside the default one.
const another operation.Tenant = 132030889

// TenantsApart is the part of the store's contracts about tenants: whatever they have in common,
// their payments and customers stay apart. Each call of newBed gives an empty store.
func TenantsApart(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Begin/the same key":         tenantsShareKey,
		"ListPayments/by every name": tenantsListPayments,
		"Customers/one reference":    tenantsShareReference,
	})
}

// mustPayFor is mustPay for a tenant.
func (b StoreBed) mustPayFor(tb testing.TB, tenant operation.Tenant, key operation.Key) payment.Payment {
	tb.Helper()

	asked := newOperation(tb, key)
	asked.Tenant = tenant

	c := completionOf(b.mustBegin(tb, asked))
	b.mustFinish(tb, c)

	return b.paymentNow(tb, c.Payment.ID)
}

func tenantsShareKey(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := b.mustPayFor(t, operation.DefaultTenant, "order_1"), b.mustPayFor(t, another, "order_1")
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, operation.DefaultTenant, first.Tenant)
	require.Equal(t, another, second.Tenant)

	for _, p := range []payment.Payment{first, second} {
		op, err := b.Find(t.Context(), p.Tenant, "order_1")
		require.NoError(t, err)
		require.Equal(t, p.ID, op.ID)
		require.Equal(t, p.Tenant, op.Tenant)
	}

	_, err := b.Find(t.Context(), another+1, "order_1")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func tenantsListPayments(t *testing.T, b StoreBed) {
	t.Helper()
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	first, second := b.mustPayFor(t, operation.DefaultTenant, "order_1"), b.mustPayFor(t, another, "order_1")
	third := b.mustPayFor(t, another, "order_2")

	list := func(f ports.PaymentFilter) (ids []uuid.UUID) {
		for _, f.Tenant = range []operation.Tenant{operation.DefaultTenant, another} {
			ids = append(ids, b.listed(t, f, 1)...)
		}

		return ids
	}

	require.Equal(t, []uuid.UUID{first.ID, third.ID, second.ID}, list(ports.PaymentFilter{}))
	require.Equal(t, []uuid.UUID{first.ID, second.ID}, list(ports.PaymentFilter{Key: "order_1"}))
	require.Equal(t, []uuid.UUID{first.ID, third.ID, second.ID},
		list(ports.PaymentFilter{Metadata: map[string]string{"order": "42"}}))

	for _, p := range []payment.Payment{first, second} { // only whose it is finds it
		require.Equal(t, []uuid.UUID{p.ID}, list(ports.PaymentFilter{IntentID: p.IntentID}))
		require.Equal(t, []uuid.UUID{p.ID}, list(ports.PaymentFilter{AnyID: p.ID.String()}))
	}
}

func tenantsShareReference(t *testing.T, b StoreBed) {
	t.Helper()

	first := b.mustMakeCustomer(t, "first", "user-42")

	asked := newCustomer(t, "second", "user-42")
	asked.Tenant = another
	op := b.mustBegin(t, asked)

	b.mustFinishOnCustomer(t, op, making(op))

	for tenant, id := range map[operation.Tenant]uuid.UUID{operation.DefaultTenant: first.ID, another: op.ID} {
		for _, f := range []ports.CustomerFilter{{}, {Reference: "user-42"}} {
			f.Tenant = tenant
			found, err := b.ListCustomers(t.Context(), f, ports.CustomerPosition{}, 10)
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, id, found[0].ID)
			require.Equal(t, tenant, found[0].Tenant)
		}
	}
}
