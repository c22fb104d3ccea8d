package tests

import (
	"context"
	"encoding/csv"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/internal/config"
)

// actingAs sends a request with a key, on somebody's behalf.
func (w *world) actingAs(made tenants.Made, behalf, method, path, body string) answer {
	w.t.Helper()

	return w.do(w.request(method, path, body, "Content-Type", "application/json", "X-Actor", behalf,
		"Authorization", "Bearer "+made.Secret.Reveal()))
}

// entries are a page of the audit.
func (w *world) entries(made tenants.Made, query string) []map[string]any {
	w.t.Helper()

	page := w.as(made, http.MethodGet, "/audit"+query, "")
	require.Equal(w.t, http.StatusOK, page.status, "%s", page.body)

	rows, ok := page.field("data").([]any)
	require.True(w.t, ok)

	list := make([]map[string]any, 0, len(rows))
	for _, row := range rows {
		entry, ok := row.(map[string]any)
		require.True(w.t, ok)

		list = append(list, entry)
	}

	return list
}

// Whatever a client does is in the audit with its key, and with whom it acts for.
func TestAudit_TellsWhoDidWhat(t *testing.T) {
	t.Parallel()

	var admin tenants.Made

	w := newWorld(t, withKey(t, &admin, "admin"))
	actor := "key:" + admin.Prefix + " a shop"

	created := w.actingAs(admin, "Jenny, support", http.MethodPost, "/payments", order)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)

	id := created.text("id")
	require.Equal(t, http.StatusOK, w.actingAs(admin, "Rosen", http.MethodPost, "/payments/"+id+"/cancel",
		`{"reason":"abandoned"}`).status)

	customer := w.as(admin, http.MethodPost, "/customers", `{"email":"jenny@example.com","name":"Jenny Rosen"}`)
	require.Equal(t, http.StatusCreated, customer.status)

	shop := w.actingAs(admin, "Rosen", http.MethodPost, "/api_keys", `{"name":"Shop","scopes":["checkout"],"reason":"a new shop"}`)
	require.Equal(t, http.StatusCreated, shop.status, "%s", shop.body)

	all := w.entries(admin, "")

	actions := make([]any, 0, len(all))
	for _, entry := range all {
		actions = append(actions, entry["action"])
	}

	require.Equal(t, []any{"api_key.create", "customer.create", "payment.cancel", "payment.create", "api_key.create"}, actions)

	for _, entry := range all[:4] {
		require.Equal(t, actor, entry["actor"])
		require.NotEmpty(t, entry["request_id"])
	}

	require.Equal(t, "Rosen", all[0]["on_behalf_of"])
	require.Equal(t, "a new shop", all[0]["reason"])
	require.Nil(t, all[1]["on_behalf_of"])
	require.Equal(t, id, all[2]["object_id"])
	require.Equal(t, "Jenny, support", all[3]["on_behalf_of"])
	require.Equal(t, "cli:me@here", all[4]["actor"])

	for _, person := range []string{"jenny@example.com", "Jenny Rosen"} {
		require.NotContains(t, string(w.as(admin, http.MethodGet, "/audit", "").body), person, "it can be erased elsewhere")
	}

	require.Len(t, w.entries(admin, "?object_id="+id), 2)
	require.Len(t, w.entries(admin, "?action=payment.cancel"), 1)
	require.Len(t, w.entries(admin, "?actor="+strings.ReplaceAll(actor, " ", "+")), 4)
	require.Empty(t, w.entries(admin, "?at[lt]=2001-01-01T00:00:00Z"))

	// The timeline names the key.
	timeline := w.as(admin, http.MethodGet, "/payments/"+id+"/timeline", "")
	require.Contains(t, string(timeline.body), `"actor":"`+actor+`"`)
	require.Contains(t, string(timeline.body), `"on_behalf_of":"Jenny, support"`)

	table := w.do(w.request(http.MethodGet, "/audit", "", "Accept", "text/csv", "Authorization", "Bearer "+admin.Secret.Reveal()))
	require.Equal(t, http.StatusOK, table.status)

	rows, err := csv.NewReader(strings.NewReader(string(table.body))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 6)
	require.Equal(t, actor, rows[1][2])

	for _, query := range []string{"?actor=", "?who=x", "?at[gte]=yesterday", "?limit=0", "?cursor=x", "?action=%00"} {
		w.as(admin, http.MethodGet, "/audit"+query, "").problem(http.StatusBadRequest, "invalid-request")
	}
}

// What an operation has changed of a payment is in its entry, also if Stripe's event told of it
// first; and of what may be a person's there are names alone.
func TestAudit_ShowsBeforeAndAfter(t *testing.T) {
	t.Parallel()

	var admin tenants.Made

	w := newWorld(t, withKey(t, &admin, "admin"))
	w.deliverWebhooks()

	held := w.as(admin, http.MethodPost, "/payments", `{"amount":10,"currency":"USD","capture_method":"manual"}`)
	require.Equal(t, http.StatusCreated, held.status, "%s", held.body)

	path := "/payments/" + held.text("id")
	w.confirm(held.text("stripe_payment_intent_id"), "pm_card_visa")
	w.eventually(func() bool {
		return w.as(admin, http.MethodGet, path, "").text("intent_status") == "requires_capture"
	}, "the money is held")

	done := func(method, path, body string, status int) {
		answer := w.as(admin, method, path, body)
		require.Equal(t, status, answer.status, "%s %s: %s", method, path, answer.body)
	}
	done(http.MethodPost, path+"/capture", `{"amount":6}`, http.StatusOK)
	done(http.MethodPatch, path, `{"description":"for Jenny","metadata":{"order_id":"jenny-1"}}`, http.StatusOK)
	w.eventually(func() bool { // an outcome that is not known is asked for again
		refunded := w.as(admin, http.MethodPost, path+"/refunds", `{"amount":1,"reason":"duplicate","idempotency_key":"refund_1"}`)

		return refunded.status == http.StatusCreated
	}, "it is refunded")

	dropped := w.as(admin, http.MethodPost, "/payments", `{"amount":3,"currency":"USD"}`).text("id")
	done(http.MethodPost, "/payments/"+dropped+"/cancel", `{"reason":"abandoned"}`, http.StatusOK)

	buyer := w.as(admin, http.MethodPost, "/customers", `{"name":"Jenny Rosen"}`).text("id")
	done(http.MethodPatch, "/customers/"+buyer, `{"email":"jenny@example.com"}`, http.StatusOK)

	of := func(action string) map[string]any {
		found := w.entries(admin, "?action="+action)
		require.Len(t, found, 1, action)

		return found[0]
	}
	differ := func(action string, before, after map[string]any) {
		entry := of(action)
		require.Equal(t, before, entry["before"], action)

		is, ok := entry["after"].(map[string]any)
		require.True(t, ok, action)

		for name, value := range after {
			require.Equal(t, value, is[name], "%s: %s", action, name)
		}

		require.Equal(t, "finished", is["state"])
	}

	differ("payment.capture", map[string]any{
		"status": "pending", "intent_status": "requires_capture", "amount_capturable": "10.00", "amount_captured": "0.00",
	}, map[string]any{
		"status": "succeeded", "intent_status": "succeeded", "amount_capturable": "0.00", "amount_captured": "6.00", "amount": "6.00",
	})
	differ("payment.update", map[string]any{}, map[string]any{"changed": []any{"description", "metadata.order_id"}})
	differ("payment.refund", map[string]any{"amount_refunded": "0.00"}, map[string]any{"amount_refunded": "1.00"})
	differ("payment.cancel", map[string]any{"status": "pending", "intent_status": "requires_payment_method"},
		map[string]any{"status": "cancelled", "intent_status": "canceled"})

	require.Equal(t, "abandoned", of("payment.cancel")["reason"])
	require.Equal(t, "duplicate", of("payment.refund")["reason"])
	require.Equal(t, []any{"email"}, of("customer.update")["after"].(map[string]any)["changed"]) //nolint:forcetypeassert // a test

	for _, person := range []string{"enny", "example.com"} {
		require.NotContains(t, string(w.as(admin, http.MethodGet, "/audit", "").body), person)
	}
}

// Whoever reads from one complete-until to the next has each entry once, also those of
// transactions that took long to commit, while requests go on.
func TestAudit_IsReadWithoutGapOrDouble(t *testing.T) {
	t.Parallel()

	var admin tenants.Made

	w := newWorld(t, withKey(t, &admin, "admin"))

	// One has begun, and its entry has its time, before anything is read.
	slow, err := w.db.Pool().Begin(t.Context())
	require.NoError(t, err)

	defer func() { _ = slow.Rollback(context.WithoutCancel(t.Context())) }()

	_, err = slow.Exec(t.Context(), `INSERT INTO audit (id, actor, action, object_type, object_id, reason)
		VALUES (gen_random_uuid(), 'cli:slow@here', 'inbox.dismiss', 'inbox_event', 'evt_1', 'judged')`)
	require.NoError(t, err)

	times, from := make(map[string]int), "2001-01-01T00:00:00Z"
	get := func(query string) (page answer) {
		w.eventually(func() bool {
			page = w.as(admin, http.MethodGet, "/audit?"+query, "")

			return page.status == http.StatusOK // and not 429
		}, "a page")

		return page
	}
	read := func() {
		until := get("limit=1").header.Get("X-Complete-Until")

		for cursor := ""; ; {
			page := get("limit=7&at[gte]=" + from + "&at[lt]=" + until + cursor)
			for _, id := range page.ids() {
				times[id]++
			}

			next, more := page.field("next_cursor").(string)
			if !more {
				break
			}

			cursor = "&cursor=" + next
		}

		from = until
	}

	const payments = 20

	var writing sync.WaitGroup

	writing.Go(func() {
		for range payments {
			w.as(admin, http.MethodPost, "/payments", `{"amount":10,"currency":"USD"}`)
		}
	})

	defer writing.Wait()

	for range 5 {
		read()
	}

	require.NoError(t, slow.Commit(t.Context()))
	writing.Wait()

	const all = payments + 2 // the slow one, and the key

	w.eventually(func() bool {
		read()

		return len(times) >= all
	}, "everything was read")
	require.Len(t, times, all)

	for id, n := range times {
		require.Equal(t, 1, n, id)
	}
}

func TestAudit_OnBehalfOf(t *testing.T) {
	t.Parallel()

	w := newWorld(t) // also where no keys are asked for

	for _, name := range []string{"", strings.Repeat("x", 256), "a\tb", "\xff\xfe"} {
		w.create(order, "X-Actor", name).problem(http.StatusBadRequest, "invalid-request")
	}

	w.create(order, "X-Actor", "one", "X-Actor", "two").problem(http.StatusBadRequest, "invalid-request")
	require.Equal(t, http.StatusCreated, w.create(order, "X-Actor", "Zoë at the desk").status)
	require.Equal(t, 1, w.intents())
}

// Nobody rewrites what was done, not even with psql, unless they take the table apart first.
func TestAudit_CannotBeChanged(t *testing.T) {
	t.Parallel()

	var admin tenants.Made

	w := newWorld(t, func(*config.Config) {}, withKey(t, &admin, "admin"))
	require.Equal(t, http.StatusCreated, w.as(admin, http.MethodPost, "/payments", order).status)

	for _, statement := range []string{
		"UPDATE audit SET actor = 'somebody else'", "DELETE FROM audit", "TRUNCATE audit",
		"UPDATE operations SET actor = 'somebody else'", "UPDATE operations SET on_behalf_of = 'somebody else'",
		"UPDATE operations SET before = NULL", "UPDATE operations SET kind = 'update'", "UPDATE operations SET reason = 'none'",
		"DELETE FROM operations", "TRUNCATE operations",
	} {
		_, err := w.db.Pool().Exec(t.Context(), statement)
		require.Error(t, err, statement)
	}

	require.Len(t, w.entries(admin, ""), 2)
}
