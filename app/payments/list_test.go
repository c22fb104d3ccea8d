package payments_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// params are a request's parameters: a=1&b=2.
func params(pairs ...string) map[string][]string {
	values := map[string][]string{}

	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = append(values[name], value)
	}

	return values
}

func idsOf(list []payment.Payment) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(list))
	for _, p := range list {
		ids = append(ids, p.ID)
	}

	return ids
}

func TestList_Do(t *testing.T) {
	t.Parallel()

	t.Run("PageByPage", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)

		const count = 23

		want := make([]uuid.UUID, 0, count)

		for n := range count {
			want = append(want, w.Create(operation.Key(fmt.Sprintf("order_%d", n))).ID)
		}

		slices.Reverse(want)

		page, err := w.List().Do(t.Context(), operation.DefaultTenant, params())
		require.NoError(t, err)
		require.Equal(t, want[:20], idsOf(page.Payments), "twenty, if no limit is given")
		require.Equal(t, w.Payment(want[0]), page.Payments[0])

		page, err = w.List().Do(t.Context(), operation.DefaultTenant, params("cursor="+page.Next))
		require.NoError(t, err)
		require.Equal(t, want[20:], idsOf(page.Payments))
		require.Empty(t, page.Next)

		page, err = w.List().Do(t.Context(), operation.DefaultTenant, params("limit=100"))
		require.NoError(t, err)
		require.Equal(t, want, idsOf(page.Payments))
		require.Contains(t, w.Observer.Spans(), "app.ListPayments")
	})

	t.Run("EachParameter", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		order := apptest.Order(t, 25_00)
		order.Metadata = map[string]string{"order_id": "A&B", "shop": "left"}
		p := w.CreateFor("order_1", order)
		at := func(name string, off time.Duration) string {
			return name + "=" + p.CreatedAt.Add(off).Format(time.RFC3339Nano)
		}
		us := time.Microsecond

		for _, pairs := range [][]string{
			{"status=pending"},
			{"intent_status=requires_payment_method"},
			{"currency=USD"},
			{"currency=usd"},
			{at("created[gte]", 0)},
			{at("created[gt]", -us)},
			{at("created[lte]", 0)},
			{at("created[lt]", us)},
			{at("created[gt]", -1)},
			{at("created[lt]", 1)},
			{at("created[gte]", -time.Hour), at("created[lt]", time.Hour), at("created[gt]", -us)},
			{"currency=USD", "amount[gte]=25"},
			{"currency=USD", "amount[gt]=24.99"},
			{"currency=USD", "amount[lte]=25.00"},
			{"currency=USD", "amount[lt]=25.01", "amount[gt]=1", "amount[gte]=24.99"},
			{"idempotency_key=order_1"},
			{"stripe_payment_intent_id=" + p.IntentID},
			{"q=order_1"},
			{"q=" + p.IntentID},
			{"q=" + p.ID.String()},
			{"metadata[order_id]=A&B"},
			{"metadata[order_id]=A&B", "metadata[shop]=left", "status=pending"},
		} {
			page, err := w.List().Do(t.Context(), operation.DefaultTenant, params(pairs...))
			require.NoError(t, err, "%q", pairs)
			require.Equal(t, []uuid.UUID{p.ID}, idsOf(page.Payments), "%q", pairs)
		}

		for _, pairs := range [][]string{
			{"status=failed"},
			{"intent_status=succeeded"},
			{"currency=EUR"},
			{at("created[gte]", us)},
			{at("created[gte]", 1)},
			{at("created[gt]", 0)},
			{at("created[lte]", -1)},
			{at("created[lt]", 0)},
			{"currency=USD", "amount[gte]=25.01"},
			{"currency=USD", "amount[gt]=25"},
			{"currency=USD", "amount[lt]=25"},
			{"currency=EUR", "amount[gte]=1"},
			{"currency=USD", "amount[gte]=30", "amount[lte]=20"},
			{"idempotency_key=order_2"},
			{"customer_id=" + p.ID.String()},
			{"q=order"},
			{"q=A&B"},
			{"metadata[order_id]=A"},
			{"metadata[shop]=left", "metadata[order_id]=B"},
		} {
			page, err := w.List().Do(t.Context(), operation.DefaultTenant, params(pairs...))
			require.NoError(t, err, "%q", pairs)
			require.Empty(t, page, "%q", pairs)
		}
	})

	t.Run("WhatIsWrong", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		long := strings.Repeat("x", 501)

		for pair, says := range map[string]string{
			"customer_id=1":                       "customer_id: must be the id of a customer",
			"customer_id=cus_1":                   "customer_id: must be the id of a customer",
			"customer=1":                          "customer is an unknown filter",
			"refunded=false":                      "refunded: must be true, or be left out",
			"disputed=1":                          "disputed: must be true, or be left out",
			"created=2026-01-01T00:00:00Z":        "created is an unknown filter",
			"metadata=x":                          "metadata is an unknown filter",
			"Status=failed":                       "Status is an unknown filter",
			"status=":                             "status has no value",
			"status=paid":                         "status: must be pending",
			"status=pending,status=failed":        "status is given more than once",
			"intent_status=Requires":              "intent_status: must be a word",
			"currency=XXX":                        "currency: currency",
			"created[gte]=yesterday":              "created[gte]: must be a time such as",
			"created[gte]=2026-01-31":             "created[gte]: must be a time such as",
			"created[lt]=2026-02-30T00:00:00Z":    "created[lt]: must be a time such as",
			"created[lt]=1769817600":              "created[lt]: must be a time such as",
			"created[lt]=2026-01-01T00:00:00 1:0": "write + as %2B",
			"amount[gte]=1":                       "amount[gte]: an amount needs a currency",
			"amount[gte]=much,currency=USD":       "amount[gte]: amount \"much\" is not a decimal number",
			"amount[lt]=-1,currency=USD":          "amount[lt]: amount must be greater than 0",
			"amount[lt]=1.001,currency=USD":       "amount[lt]: amount has more decimals",
			"amount[eq]=1,currency=USD":           "amount[eq] is an unknown filter",
			"idempotency_key=a\nb":                "idempotency_key: idempotency key holds",
			"stripe_payment_intent_id=ch_1":       "stripe_payment_intent_id: must be the id of a payment intent",
			"q=":                                  "q has no value",
			"q=" + long:                           "q is over 500 characters",
			"q=a\x00":                             "q is not valid text",
			"q=\xff":                              "q is not valid text",
			"metadata[order]=1":                   "metadata[order]: payments are not found by this name; the names are order_id, shop",
			"metadata[]=1":                        "metadata[]: payments are not found by this name",
			"metadata[order_id=1":                 "metadata[order_id is an unknown filter",
			"metadata[order_id]=":                 "metadata[order_id] has no value",
			"limit=0":                             "limit must be a whole number from 1 to 100",
			"limit=101":                           "limit must be a whole number from 1 to 100",
			"limit=-1":                            "limit must be a whole number from 1 to 100",
			"limit=+5":                            "limit must be a whole number from 1 to 100",
			"limit=1.5":                           "limit must be a whole number from 1 to 100",
			"limit=":                              "limit has no value",
			"limit=1,limit=1":                     "limit is given more than once",
			"cursor=":                             "cursor has no value",
			"cursor=x,cursor=y":                   "cursor is given more than once",
			"cursor=not a cursor":                 "cursor is not one that was given here",
		} {
			_, err := w.List().Do(t.Context(), operation.DefaultTenant, params(strings.Split(pair, ",")...))
			apptest.RequireFault(t, fault.Invalid, err)
			require.Contains(t, fault.From(err).Detail, says, "%q", pair)
		}

		none := payments.NewList(w.Store, w.Lives, w.Installation, nil, w.Observer)
		_, err := none.Do(t.Context(), operation.DefaultTenant, params("metadata[order_id]=1"))
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "METADATA_INDEX")
	})

	t.Run("Cursors", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		w.Create("order_1")
		w.Create("order_2")

		page, err := w.List().Do(t.Context(), operation.DefaultTenant, params("limit=1", "status=pending"))
		require.NoError(t, err)
		require.NotEmpty(t, page.Next)

		rest, err := w.List().Do(t.Context(), operation.DefaultTenant, params("limit=50", "status=pending", "cursor="+page.Next))
		require.NoError(t, err, "the limit may change")
		require.Len(t, rest.Payments, 1)

		for _, others := range [][]string{{}, {"status=failed"}, {"status=pending", "currency=USD"}} {
			_, err = w.List().Do(t.Context(), operation.DefaultTenant, params(append(others, "cursor="+page.Next)...))
			apptest.RequireFault(t, fault.Invalid, err)
			require.Contains(t, fault.From(err).Detail, "belongs to another filter", "%q", others)
		}

		form, err := base64.RawURLEncoding.DecodeString(page.Next)
		require.NoError(t, err)

		for i := range form {
			changed := slices.Clone(form)
			changed[i] ^= 1

			_, err = w.List().Do(
				t.Context(), operation.DefaultTenant, params("status=pending", "cursor="+base64.RawURLEncoding.EncodeToString(changed)))
			apptest.RequireFault(t, fault.Invalid, err)
			require.Contains(t, fault.From(err).Detail, "not one that was given here", "byte %d", i)
		}

		other := payments.NewList(w.Store, w.Lives, operation.Installation{ID: uuid.New()}, nil, w.Observer)
		_, err = other.Do(t.Context(), operation.DefaultTenant, params("status=pending", "cursor="+page.Next))
		apptest.RequireFault(t, fault.Invalid, err)
	})

	// That there is no payment of a name is not said while the database may lack it.
	t.Run("WhileComparing", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		w.Create("order_1")
		w.InLife(operation.Standing{})

		for _, pair := range []string{"q=order_2", "idempotency_key=order_2", "stripe_payment_intent_id=pi_1", "metadata[shop]=left"} {
			_, err := w.List().Do(t.Context(), operation.DefaultTenant, params(pair))
			apptest.RequireFault(t, fault.Unavailable, err)
		}

		for _, pair := range []string{"q=order_1", "status=failed"} {
			_, err := w.List().Do(t.Context(), operation.DefaultTenant, params(pair))
			require.NoError(t, err)
		}
	})
}

func TestList_Export(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)

	var exported []payment.Payment

	export := func(pairs ...string) error {
		exported = nil

		return w.List().Export(t.Context(), operation.DefaultTenant, params(pairs...), func(list []payment.Payment) error {
			exported = append(exported, list...)

			return nil
		})
	}

	require.NoError(t, export())
	require.Empty(t, exported)

	first, second := w.Create("order_1"), w.Create("order_2")
	_, err := w.Apply().Do(t.Context(), w.Pay(first.IntentID))
	require.NoError(t, err)

	require.NoError(t, export())
	require.Equal(t, []uuid.UUID{second.ID, first.ID}, idsOf(exported))
	require.NoError(t, export("status=succeeded"))
	require.Equal(t, []uuid.UUID{first.ID}, idsOf(exported))

	for _, pair := range []string{"limit=10", "cursor=x", "status=paid", "customer_id=1"} {
		apptest.RequireFault(t, fault.Invalid, export(pair))
	}
}
