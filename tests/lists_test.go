package tests

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
)

// listed are the objects of a page.
func (a answer) listed() []json.RawMessage {
	a.t.Helper()
	require.Equal(a.t, http.StatusOK, a.status, "%s", a.body)

	var page struct {
		Data []json.RawMessage `json:"data"`
	}

	require.NoError(a.t, json.Unmarshal(a.body, &page))

	return page.Data
}

// Payments are found page by page, by metadata, and as CSV, and each is what its own address
// answers.
func TestListPayments(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.MetadataIndex = []string{"order_id"} })
	ids := make([]string, 3)

	for n := range ids {
		ids[n] = w.create(fmt.Sprintf(`{"amount":10.0%[1]d,"currency":"USD","description":"order %[1]d",`+
			`"metadata":{"order_id":"o %[1]d"}}`, n)).text("id")
	}

	first := w.get("/payments?limit=2")
	require.Len(t, first.listed(), 2)
	require.Equal(t, true, first.field("has_more"))

	second := w.get("/payments?limit=2&cursor=" + first.text("next_cursor"))
	require.Len(t, second.listed(), 1)
	require.Nil(t, second.field("next_cursor"))

	// Stripe's times are whole seconds, so these have no order.
	listed, read := make([]string, 0, len(ids)), make([]string, 0, len(ids))

	for n, one := range append(first.listed(), second.listed()...) {
		listed, read = append(listed, string(one)), append(read, string(w.get("/payments/"+ids[n]).body))
	}

	require.ElementsMatch(t, read, listed)

	for _, query := range []string{
		"metadata[order_id]=o+1", "metadata%5Border_id%5D=o%201&status=pending", "q=" + ids[1],
		"currency=USD&amount[gte]=10.01&amount[lt]=10.02",
	} {
		found := w.get("/payments?" + query).listed()
		require.Len(t, found, 1, query)
		require.Equal(t, string(w.get("/payments/"+ids[1]).body), string(found[0]), query)
	}

	w.get("/payments?metadata[shop]=1").problem(http.StatusBadRequest, "invalid-request")
	w.get("/payments?limit=101").problem(http.StatusBadRequest, "invalid-request")
	w.get("/payments?cursor="+first.text("next_cursor")+"&currency=USD").problem(http.StatusBadRequest, "invalid-request")

	table := w.do(w.request(http.MethodGet, "/payments?"+url.Values{"currency": {"USD"}}.Encode(), "", "Accept", "text/csv"))
	rows, err := csv.NewReader(strings.NewReader(string(table.body))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+len(ids))
	require.Equal(t, "id", rows[0][0])
	require.ElementsMatch(t, ids, []string{rows[1][0], rows[2][0], rows[3][0]})
}

// The story of a payment that was declined, paid and captured.
func TestTimeline(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	id, intent := w.unpaid()
	w.confirm(intent, "pm_card_chargeDeclined")
	w.confirm(intent, "pm_card_visa")
	require.Equal(t, http.StatusOK, w.on(id, "capture", "", "X-Request-Id", "capture-1").status)

	var entries []map[string]any

	w.eventually(func() bool {
		told := w.get("/payments/" + id + "/timeline").listed()
		entries = make([]map[string]any, len(told))

		for i, one := range told {
			require.NoError(t, json.Unmarshal(one, &entries[i]))
		}

		return strings.Contains(fmt.Sprint(entries), "payment_intent.succeeded")
	}, "Stripe's event about the capture is there")

	require.Equal(t, "create asked for", entries[0]["title"])

	kinds := map[any]int{}
	for _, entry := range entries {
		kinds[entry["kind"]]++
	}

	require.Equal(t, 4, kinds["operation"], "the create and the capture, begun and finished")
	require.Positive(t, kinds["transition"])
	require.Positive(t, kinds["stripe_event"])
	require.Contains(t, fmt.Sprint(entries), "capture-1")
	require.NotContains(t, fmt.Sprint(entries), "_secret_")

	w.get("/payments/0190d2a0-0000-7000-8000-000000000000/timeline").problem(http.StatusNotFound, "not-found")
}

// Payments that were there before a name are indexed beside the traffic, once every process
// has had it for a while.
func TestMetadataIndex_OlderPayments(t *testing.T) {
	t.Parallel()

	const indexed = "SELECT count(*) FROM payment_metadata"

	w := newWorld(t)
	older := w.create(`{"amount":10.00,"currency":"USD","metadata":{"order_id":"old"}}`).text("id")

	w.config.MetadataIndex = []string{"order_id"}
	with := w.second()
	newer := with.create(`{"amount":10.00,"currency":"USD","metadata":{"order_id":"new"}}`).text("id")

	require.Equal(t, 1, w.count(indexed), "with the payment")

	requireFound := func(process *world, order, id string) {
		found := process.get("/payments?metadata[order_id]=" + order).listed()
		require.Len(t, found, 1)
		require.Contains(t, string(found[0]), id)
	}
	requireFound(with, "old", older) // by looking at all payments
	requireFound(with, "new", newer)

	w.exec("UPDATE metadata_index SET added_at = now() - interval '1 hour'")

	after := w.second()

	w.eventually(func() bool { return w.count(indexed+" WHERE value = 'old'") == 1 }, "the older one is indexed")
	w.eventually(func() bool { return w.count("SELECT count(*) FROM metadata_index WHERE complete") == 1 }, "all are")
	requireFound(after, "old", older)
	requireFound(after, "new", newer)
}
