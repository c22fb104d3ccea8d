package tests

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// send sends a request with a JSON body; an empty one has no Content-Type.
func (w *world) send(method, path, body string, header ...string) answer {
	w.t.Helper()

	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}

	return w.do(w.request(method, path, body, header...))
}

// customer makes a customer, and returns its id.
func (w *world) customer(body string) string {
	w.t.Helper()

	made := w.send(http.MethodPost, "/customers", body)
	require.Equal(w.t, http.StatusCreated, made.status, "%s", made.body)

	return made.text("id")
}

func (w *world) stripeCustomers() int {
	w.t.Helper()

	_, list, err := (&sandbox.Client{URL: w.stripe.URL, Key: w.config.StripeSecretKey.Reveal()}).
		Call(w.t.Context(), http.MethodGet, "/v1/customers", "")
	require.NoError(w.t, err)

	data, ok := list["data"].([]any)
	require.True(w.t, ok, "%v", list)

	return len(data)
}

func TestCustomers_TheirLife(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	made := w.send(http.MethodPost, "/customers",
		`{"reference":"user-42","email":"jenny@example.com","name":"Jenny","metadata":{"plan":"gold"},"idempotency_key":"c1"}`)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	id := made.text("id")
	require.Equal(t, "/customers/"+id, made.header.Get("Location"))
	require.Regexp(t, `^\{"id":"[^"]+","reference":"user-42","stripe_customer_id":"cus_\w+","email":"jenny@example.com",`+
		`"name":"Jenny","metadata":\{"plan":"gold"\},"created_at":"[^"]+","updated_at":"[^"]+","version":\d+\}$`, string(made.body))

	again := w.send(http.MethodPost, "/customers",
		`{"name":"Jenny","email":"jenny@example.com","metadata":{"plan":"gold"},"reference":"user-42"}`, "Idempotency-Key", "c1")
	require.Equal(t, made.body, again.body)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, "/customers/"+id, again.header.Get("Location"))

	read := w.get("/customers/" + id)
	require.Equal(t, http.StatusOK, read.status)
	require.Equal(t, string(made.body), string(read.body))
	tag := read.header.Get("ETag")
	require.Equal(t, fmt.Sprintf(`"%s"`, read.field("version")), tag)

	changed := w.send(http.MethodPatch, "/customers/"+id, `{"name":null,"metadata":{"plan":null,"seen":"yes"}}`, "If-Match", tag)
	require.Equal(t, http.StatusOK, changed.status, "%s", changed.body)
	require.Nil(t, changed.field("name"))
	require.Equal(t, map[string]any{"seen": "yes"}, changed.field("metadata"))
	require.Equal(t, "jenny@example.com", changed.text("email"))
	require.Equal(t, fmt.Sprintf(`"%s"`, changed.field("version")), changed.header.Get("ETag"), "it can be changed again")

	for _, method := range []string{http.MethodPatch, http.MethodDelete} {
		stale := w.send(method, "/customers/"+id, "", "If-Match", tag)
		stale.problem(http.StatusPreconditionFailed, "precondition-failed")
		require.Equal(t, changed.field("version"), stale.field("version"))
		require.Equal(t, id, stale.text("customer_id"))
	}

	taken := w.send(http.MethodPost, "/customers", `{"reference":"user-42"}`)
	taken.problem(http.StatusConflict, "reference-taken")
	require.Equal(t, id, taken.text("customer_id"))

	// One key, one operation, whatever the route.
	for _, other := range []struct{ method, path, body string }{
		{http.MethodPost, "/payments", `{"amount":10.00,"currency":"USD"}`},
		{http.MethodPost, "/customers/" + id + "/setup_sessions", ""},
		{http.MethodPatch, "/customers/" + id, `{"name":"x"}`},
		{http.MethodDelete, "/customers/" + id, ""},
	} {
		w.send(other.method, other.path, other.body, "Idempotency-Key", "c1").
			problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	}

	session := w.send(http.MethodPost, "/customers/"+id+"/setup_sessions", `{"idempotency_key":"s1"}`)
	require.Equal(t, http.StatusCreated, session.status, "%s", session.body)
	require.Regexp(t, `^\{"id":"[^"]+","customer_id":"`+id+`","stripe_setup_intent_id":"seti_\w+","client_secret":"seti_\w+",`+
		`"status":"requires_payment_method","created_at":"[^"]+"\}$`, string(session.body))

	tag = changed.header.Get("ETag")
	gone := w.send(http.MethodDelete, "/customers/"+id, "", "Idempotency-Key", "d1", "If-Match", tag)
	require.Equal(t, http.StatusNoContent, gone.status, "%s", gone.body)
	require.Empty(t, gone.body)
	require.Empty(t, gone.header.Get("Content-Length"))

	replay := w.send(http.MethodDelete, "/customers/"+id, "", "Idempotency-Key", "d1")
	require.Equal(t, http.StatusNoContent, replay.status)
	require.Equal(t, "true", replay.header.Get("Idempotent-Replayed"))

	for _, late := range []struct{ method, path string }{
		{http.MethodGet, ""},
		{http.MethodPatch, ""},
		{http.MethodDelete, ""},
		{http.MethodPost, "/setup_sessions"},
		{http.MethodGet, "/payment_methods"},
	} {
		w.send(late.method, "/customers/"+id+late.path, "").problem(http.StatusNotFound, "not-found")
	}

	require.Zero(t, w.stripeCustomers())
	w.customer(`{"reference":"user-42"}`)
}

func TestCustomers_BadInput(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id := w.customer("")

	entries := make([]string, 0, 47)
	for i := range 47 {
		entries = append(entries, fmt.Sprintf(`"k%d":"v"`, i))
	}

	for name, body := range map[string]string{
		"a reference of 256":   `{"reference":"` + strings.Repeat("r", 256) + `"}`,
		"an empty reference":   `{"reference":""}`,
		"a number":             `{"reference":42}`,
		"no address":           `{"email":"jenny"}`,
		"a name with a null":   `{"name":"a\u0000b"}`,
		"a lone surrogate":     `{"name":"\ud800"}`,
		"a long name":          `{"name":"` + strings.Repeat("n", 257) + `"}`,
		"47 entries":           `{"metadata":{` + strings.Join(entries, ",") + `}}`,
		"our mark":             `{"metadata":{"marketflow":"1.x"}}`,
		"our key":              `{"metadata":{"marketflow_key":"x"}}`,
		"our reference":        `{"metadata":{"marketflow_reference":"x"}}`,
		"an entry of a number": `{"metadata":{"k":1}}`,
		"an entry with a null": `{"metadata":{"k":"a\u0000b"}}`,
		"an unknown field":     `{"phone":"1"}`,
		"a field twice":        `{"name":"a","name":"b"}`,
		"a list":               `[]`,
		"null":                 `null`,
		"half a body":          `{"name":"a"`,
		"an empty key":         `{"idempotency_key":""}`,
	} {
		for _, to := range []struct{ method, path string }{
			{http.MethodPost, "/customers"}, {http.MethodPatch, "/customers/" + id},
		} {
			got := w.send(to.method, to.path, body)
			require.Equal(t, http.StatusBadRequest, got.status, "%s %s: %s", name, to.method, got.body)
			got.problem(http.StatusBadRequest, "invalid-request")
		}
	}

	w.send(http.MethodPost, "/customers", `{"metadata":{"k":null}}`).problem(http.StatusBadRequest, "invalid-request")
	w.send(http.MethodPatch, "/customers/"+id, `{"name":"x"}`, "If-Match", `"1","2"`).
		problem(http.StatusBadRequest, "invalid-request")

	for _, tag := range []string{`W/"1"`, `"0"`, `"x"`, `""`, `"-1"`} {
		w.send(http.MethodPatch, "/customers/"+id, `{"name":"x"}`, "If-Match", tag).
			problem(http.StatusPreconditionFailed, "precondition-failed")
	}

	for _, path := range []string{"/customers/1", "/customers/" + strings.ToUpper(id), "/customers/{" + id + "}"} {
		got := w.get(path)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, got.status, path)
	}

	for _, path := range []string{"", "/setup_sessions", "/payment_methods"} {
		method := map[string]string{"": http.MethodGet, "/setup_sessions": http.MethodPost, "/payment_methods": http.MethodGet}[path]
		w.send(method, "/customers/"+uuid.NewString()+path, "").problem(http.StatusNotFound, "not-found")
	}

	for _, method := range []string{"pm_unknown", "card_1", "pi_1", strings.Repeat("p", 300)} {
		w.send(http.MethodDelete, "/payment_methods/"+method, "").problem(http.StatusNotFound, "not-found")
	}

	wrong := w.send(http.MethodPut, "/customers/"+id, "")
	wrong.problem(http.StatusMethodNotAllowed, "method-not-allowed")
	require.Equal(t, "DELETE, GET, HEAD, PATCH", wrong.header.Get("Allow"))
	require.Equal(t, 1, w.stripeCustomers())
}

func TestCustomers_List(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	var ids []string
	for i := range 5 {
		ids = append([]string{w.customer(fmt.Sprintf(`{"reference":"user-%d","email":"same@example.com"}`, i))}, ids...)
	}

	newest := w.customer(`{"email":"other@example.com"}`)

	// Stripe's times are seconds, and these were made in one.
	for i, id := range append([]string{newest}, ids...) {
		_, err := w.db.Pool().Exec(t.Context(),
			`UPDATE customers SET created_at = '2026-01-01T12:00:00Z'::timestamptz - $1 * interval '1 minute' WHERE id = $2`, i, id)
		require.NoError(t, err)
	}

	page := func(query string) (found []string, next string) {
		t.Helper()

		got := w.get("/customers?" + query)
		require.Equal(t, http.StatusOK, got.status, "%s", got.body)

		data, _ := got.field("data").([]any)
		for _, one := range data {
			entry, _ := one.(map[string]any)
			found = append(found, fmt.Sprint(entry["id"]))
		}

		next, _ = got.field("next_cursor").(string)
		require.Equal(t, next != "", got.field("has_more"))

		return found, next
	}

	var (
		all  []string
		next = ""
	)

	for first := true; first || next != ""; first = false {
		query := "email=same%40example.com&limit=2"
		if next != "" {
			query += "&cursor=" + next
		}

		var found []string

		found, next = page(query)
		all = append(all, found...)
	}

	require.Equal(t, ids, all)

	one, _ := page("reference=user-3")
	require.Equal(t, []string{ids[1]}, one)

	none, _ := page("reference=user-3&email=other%40example.com")
	require.Empty(t, none)

	at := url.QueryEscape(w.get("/customers/" + ids[2]).text("created_at"))
	for query, want := range map[string]int{"created[gte]": 4, "created[gt]": 3, "created[lt]": 2, "created[lte]": 3} {
		found, _ := page(url.QueryEscape(query) + "=" + at)
		require.Len(t, found, want, query)
	}

	_, cursor := page("limit=1")
	for _, query := range []string{
		"limit=0", "limit=101", "limit=x", "limit=", "cursor=x", "cursor=" + cursor + "A", "email=x&limit=1", "phone=1",
		"reference=a&reference=b", "reference=%00", "created%5Bgte%5D=yesterday",
		"created%5Bgte%5D=" + at + "&created%5Bgt%5D=" + at,
		"email=same%40example.com&cursor=" + cursor, // it is of another list
	} {
		w.get("/customers?"+query).problem(http.StatusBadRequest, "invalid-request")
	}
}

// A returning customer: a card is saved with the first payment, listed, and detached.
func TestCustomers_APaymentAndItsMethod(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	id := w.customer(`{"reference":"user-42","email":"jenny@example.com"}`)

	body := `{"amount":10.00,"currency":"USD","customer_id":"` + id + `","save_payment_method":true,"idempotency_key":"p1"}`
	made := w.create(body)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	w.confirm(made.text("stripe_payment_intent_id"), "pm_card_visa")
	require.Equal(t, id, w.get("/payments/"+made.text("id")).text("customer_id"))

	list := w.get("/customers/" + id + "/payment_methods")
	require.Equal(t, http.StatusOK, list.status, "%s", list.body)

	methods, _ := list.field("data").([]any)
	require.Len(t, methods, 1, "%s", list.body)

	card, _ := methods[0].(map[string]any)
	require.Equal(t, id, card["customer_id"])

	pm := fmt.Sprint(card["id"])

	for _, key := range []string{"m1", "m1", "m2"} {
		gone := w.send(http.MethodDelete, "/payment_methods/"+pm, "", "Idempotency-Key", key)
		require.Equal(t, http.StatusNoContent, gone.status, "%s", gone.body)
	}

	require.Contains(t, string(w.get("/customers/"+id+"/payment_methods").body), `"data":[]`)

	// Once the customer is deleted its payments stay, and no new one is made.
	require.Equal(t, http.StatusNoContent, w.send(http.MethodDelete, "/customers/"+id, "").status)
	require.Equal(t, id, w.get("/payments/"+made.text("id")).text("customer_id"))
	w.create(`{"amount":10.00,"currency":"USD","customer_id":"`+id+`"}`).problem(http.StatusNotFound, "not-found")

	replay := w.create(body)
	require.Equal(t, made.body, replay.body, "what was answered stays")

	for _, body := range []string{
		`{"amount":10.00,"currency":"USD","save_payment_method":true}`,
		`{"amount":10.00,"currency":"USD","customer_id":"user-42"}`,
		`{"amount":10.00,"currency":"USD","customer_id":"` + strings.ToUpper(id) + `"}`,
		`{"amount":10.00,"currency":"USD","customer_id":1}`,
		`{"amount":10.00,"currency":"USD","customer_id":"` + id + `","save_payment_method":"yes"}`,
	} {
		w.create(body).problem(http.StatusBadRequest, "invalid-request")
	}

	w.create(`{"amount":10.00,"currency":"USD","customer_id":"`+uuid.NewString()+`"}`).problem(http.StatusNotFound, "not-found")
}
