package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/api"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// newTenant makes a tenant with a key that may do everything, as a person does by commands.
func (w *world) newTenant(name string) (made tenants.Made) {
	w.t.Helper()

	require.NoError(w.t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		by := tenants.By{Actor: ports.Actor{Name: "cli:me@here"}, May: tenant.AllScopes()}

		t, err := tools.Tenants.Create(ctx, by, name)
		if err != nil {
			return err
		}

		by.Tenant = t.ID
		made, err = tools.Keys.Create(ctx, by, tenants.Order{Name: "a shop", Scopes: []string{tenant.Admin}})

		return err
	}))

	return made
}

// belongings are what a tenant has, by the resource of a path.
func (w *world) belongings(owner tenants.Made) map[string]string {
	w.t.Helper()

	payment := w.as(owner, http.MethodPost, "/payments", order)
	require.Equal(w.t, http.StatusCreated, payment.status, "%s", payment.body)

	buyer := w.as(owner, http.MethodPost, "/customers", `{"reference":"user-42","email":"jenny@example.com"}`)
	require.Equal(w.t, http.StatusCreated, buyer.status, "%s", buyer.body)

	card := w.savedCard(buyer.text("stripe_customer_id"))

	return map[string]string{
		"payments": payment.text("id"), "customers": buyer.text("id"), "payment_methods": card, "api_keys": owner.ID.String(),
	}
}

// taken is a payment of a tenant that is paid, of which the customer's bank asks why, and of which a part is given back.
func (w *world) taken(owner tenants.Made) (refund, dispute string) {
	w.t.Helper()

	payment := w.as(owner, http.MethodPost, "/payments", `{"amount":10,"currency":"USD"}`)
	require.Equal(w.t, http.StatusCreated, payment.status, "%s", payment.body)

	path := "/payments/" + payment.text("id")
	w.confirm(payment.text("stripe_payment_intent_id"), "pm_card_createDisputeInquiry")

	var disputes []string

	w.eventually(func() bool {
		disputes = w.as(owner, http.MethodGet, "/disputes?payment_id="+payment.text("id"), "").ids()

		return len(disputes) == 1
	}, "the bank asks")

	refunded := w.as(owner, http.MethodPost, path+"/refunds", `{"amount":1,"idempotency_key":"refund_1"}`)
	require.Equal(w.t, http.StatusCreated, refunded.status, "%s", refunded.body)

	return refunded.text("id"), disputes[0]
}

// savedCard saves a card for a customer, as a browser would.
func (w *world) savedCard(stripeCustomer string) string {
	w.t.Helper()

	status, saved, err := (&sandbox.Client{URL: w.stripe.URL, Key: w.config.StripeSecretKey.Reveal()}).
		Call(w.t.Context(), http.MethodPost, "/v1/payment_methods/pm_card_visa/attach", "customer="+stripeCustomer)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusOK, status, "%v", saved)

	id, ok := saved["id"].(string)
	require.True(w.t, ok, "%v", saved)

	return id
}

// ids are those of what is in a list.
func (a answer) ids() []string {
	a.t.Helper()
	require.Equal(a.t, http.StatusOK, a.status, "%s", a.body)

	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}

	require.NoError(a.t, json.Unmarshal(a.body, &list))

	ids := make([]string, 0, len(list.Data))
	for _, one := range list.Data {
		ids = append(ids, one.ID)
	}

	return ids
}

// Whatever the route, what is another tenant's is not there, and nothing happens to it.
func TestTenants_SeeNothingOfEachOther(t *testing.T) {
	t.Parallel()

	var first tenants.Made

	w := newWorld(t, withKey(t, &first, "admin"))
	w.deliverWebhooks()

	second := w.newTenant("acme")
	theirs := w.belongings(first)
	theirs["refunds"], theirs["disputes"] = w.taken(first)

	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(t, err)

	walked := 0

	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		if !strings.Contains(path, "{") {
			continue
		}

		resource, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		id, known := theirs[resource]
		require.True(t, known, "%s: a resource that this test does not know", path)

		for method := range doc.Paths.Value(path).Operations() {
			body := map[string]string{"POST": `{}`, "PATCH": `{"metadata":{"a":"b"}}`}[method]

			switch path[strings.LastIndex(path, "/")+1:] {
			case "confirm":
				body = `{"payment_method":"pm_card_visa"}`
			case "evidence":
				body = `{"evidence":{"customer_name":"Jenny"}}`
			case "accept":
				body = `{"confirm":true}`
			}

			target := strings.Replace(path, "{id}", id, 1)
			got := w.do(w.request(method, target, body, "Content-Type", "application/json",
				"Authorization", "Bearer "+second.Secret.Reveal(), "Idempotency-Key", uuid.NewString()))
			require.Equal(t, http.StatusNotFound, got.status, "%s %s: %s", method, path, got.body)

			none := w.do(w.request(method, strings.Replace(path, "{id}", strings.Replace(id, id[len(id)-4:], "0000", 1), 1), body,
				"Content-Type", "application/json", "Authorization", "Bearer "+second.Secret.Reveal(),
				"Idempotency-Key", uuid.NewString()))
			require.Equal(t, none.text("detail"), got.text("detail"), "%s %s: it does not tell that the id exists", method, path)

			walked++
		}
	}

	require.Greater(t, walked, 12)

	for path, id := range map[string]string{
		"/payments/": theirs["payments"], "/customers/": theirs["customers"],
	} {
		require.Equal(t, http.StatusOK, w.as(first, http.MethodGet, path+id, "").status, "nothing has happened to it")
	}

	for _, list := range []string{"refunds", "disputes"} {
		require.Equal(t, []string{theirs[list]}, w.as(first, http.MethodGet, "/"+list, "").ids())
		require.Empty(t, w.as(second, http.MethodGet, "/"+list, "").ids())
	}

	require.Equal(t, "warning_needs_response", w.as(first, http.MethodGet, "/disputes/"+theirs["disputes"], "").text("status"))

	require.Equal(t, "pending", w.as(first, http.MethodGet, "/payments/"+theirs["payments"], "").text("status"))
	w.as(second, http.MethodPost, "/payments", `{"amount":1,"currency":"USD","customer_id":"`+theirs["customers"]+`"}`).
		problem(http.StatusNotFound, "not-found")
}

// Two tenants may use the same key, the same reference and the same words: each has its own.
func TestTenants_HaveTheirOwnKeysListsAndReplays(t *testing.T) {
	t.Parallel()

	var first tenants.Made

	w := newWorld(t, withKey(t, &first, "admin"))
	second := w.newTenant("acme")

	ids := map[string]bool{}

	for _, owner := range []tenants.Made{first, second} {
		own := w.belongings(owner)
		id := own["payments"]
		ids[id] = true

		replayed := w.as(owner, http.MethodPost, "/payments", order)
		require.Equal(t, id, replayed.text("id"))
		require.Equal(t, "true", replayed.header.Get("Idempotent-Replayed"))

		for _, query := range []string{"", "?idempotency_key=order_123_attempt_1", "?q=" + id, "?limit=1"} {
			require.Equal(t, []string{id}, w.as(owner, http.MethodGet, "/payments"+query, "").ids(), query)
		}

		for _, query := range []string{"", "?reference=user-42", "?email=jenny@example.com"} {
			require.Equal(t, []string{own["customers"]}, w.as(owner, http.MethodGet, "/customers"+query, "").ids(), query)
		}

		require.Len(t, w.as(owner, http.MethodGet, "/api_keys", "").ids(), 1)
	}

	require.Len(t, ids, 2, "the same key, two payments")

	for id := range ids {
		found := append(w.as(first, http.MethodGet, "/payments?q="+id, "").ids(),
			w.as(second, http.MethodGet, "/payments?q="+id, "").ids()...)
		require.Equal(t, []string{id}, found, "one of them finds it")
	}

	// A cursor is for whoever got it.
	for i := range 2 {
		w.as(first, http.MethodPost, "/payments", fmt.Sprintf(`{"amount":%d,"currency":"USD"}`, i+1))
	}

	page := w.as(first, http.MethodGet, "/payments?limit=1", "")
	w.as(second, http.MethodGet, "/payments?limit=1&cursor="+page.text("next_cursor"), "").
		problem(http.StatusBadRequest, "invalid-request")
}

// A disabled tenant's keys stop within five seconds, and work again.
func TestTenants_Disabled(t *testing.T) {
	t.Parallel()

	var first tenants.Made

	w := newWorld(t, withKey(t, &first, "admin"))
	second := w.newTenant("acme")
	require.Equal(t, http.StatusOK, w.as(second, http.MethodGet, "/payments", "").status)

	disable := func(disabled bool) {
		require.NoError(t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
			_, err := tools.Tenants.Disable(ctx, tenants.By{Actor: ports.Actor{Name: "cli:me@here"}}, "acme", disabled)

			return err
		}))
	}

	for _, disabled := range []bool{true, false} {
		want := map[bool]int{true: http.StatusUnauthorized, false: http.StatusOK}[disabled]

		disable(disabled)

		since := time.Now()

		w.eventually(func() bool { return w.as(second, http.MethodGet, "/payments", "").status == want }, "it takes effect")
		require.Less(t, time.Since(since), 5*time.Second)
		require.Equal(t, http.StatusOK, w.as(first, http.MethodGet, "/payments", "").status)
	}
}

// What a person decides about a tenant's payment is in that tenant's audit, and in no other's.
func TestTenants_SeeWhatIsDecidedAboutTheirs(t *testing.T) {
	t.Parallel()

	var first tenants.Made

	w := newWorld(t, withKey(t, &first, "admin"))
	second := w.newTenant("other-shop")
	created := w.as(second, http.MethodPost, "/payments", order)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)

	require.Equal(t, http.StatusOK,
		w.webhook(minimalEvent("succeeded", created.text("stripe_payment_intent_id"), "succeeded")).status)
	w.exec("UPDATE stripe_events SET outcome = 'parked', parked_reason = 'contradiction'")

	var parked string

	require.NoError(t, w.db.Pool().QueryRow(t.Context(), "SELECT id FROM stripe_events").Scan(&parked))

	require.NoError(t, w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		_, err := tools.DismissEvent.Do(ctx, parked, operations.Decision{Actor: "cli:me@here", Reason: "looked at it"})

		return err
	}))

	require.Len(t, w.entries(second, "?action=inbox.dismiss"), 1)
	require.Empty(t, w.entries(first, "?action=inbox.dismiss"))
}
