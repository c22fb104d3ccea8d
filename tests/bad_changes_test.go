package tests

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

// refusal is the answer to what cannot be done.
type refusal struct {
	status  int
	problem string
}

var (
	invalid  = refusal{http.StatusBadRequest, "invalid-request"}
	noKey    = refusal{http.StatusBadRequest, "key-required"}
	missing  = refusal{http.StatusNotFound, "not-found"}
	wrong    = refusal{http.StatusConflict, "invalid-state"}
	exceeds  = refusal{http.StatusUnprocessableEntity, "amount-exceeded"}
	reused   = refusal{http.StatusUnprocessableEntity, "idempotency-key-reused"}
	rejected = refusal{http.StatusUnprocessableEntity, "rejected-by-provider"}
)

// bad is a request that cannot be done, and how it is answered.
type bad struct {
	method, path, body, key string
	answer                  refusal
}

func (w *world) sendBad(b bad) answer {
	w.t.Helper()

	var header []string
	if b.key != "" {
		header = append(header, "Idempotency-Key", b.key)
	}

	return w.send(b.method, b.path, b.body, header...)
}

// everything is all that clients can read, and all of Stripe's intents.
func (w *world) everything() string {
	w.t.Helper()

	var all strings.Builder

	all.Write(w.get("/payments?limit=100").body)

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent, sandbox.KindMethod}}) {
		all.Write(entry.Object)
	}

	return all.String()
}

// changesNothing sends bad requests, each twice: it is answered in the same way again, and
// neither a payment nor an intent has changed.
func (w *world) changesNothing(requests map[string]bad) {
	w.t.Helper()

	before := w.everything()

	for name, b := range requests {
		first, again := w.sendBad(b), w.sendBad(b)
		require.Equal(w.t, b.answer.status, first.status, "%s: %s", name, first.body)
		first.problem(b.answer.status, b.answer.problem)
		require.Equal(w.t, b.answer.status, again.status, "%s: %s", name, again.body)
		require.Equal(w.t, first.text("type"), again.text("type"), "%s: %s", name, again.body)

		require.Equal(w.t, before, w.everything(), name)
	}
}

func TestChange_BadInputChangesNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	open, _ := w.unpaid()
	held, heldIntent := w.held()
	captured, _ := w.held()
	require.Equal(t, http.StatusOK, w.on(captured, "capture", `{"amount":4.00,"idempotency_key":"captured"}`).status)

	cancelled, _ := w.unpaid()
	require.Equal(t, http.StatusOK, w.on(cancelled, "cancel", `{"idempotency_key":"cancelled"}`).status)

	lapsed, lapsedIntent := w.held()
	require.NoError(t, w.stripe.Lapse(lapsedIntent))
	w.on(lapsed, "capture", `{"idempotency_key":"lapsed"}`).problem(http.StatusConflict, "invalid-state") // and our records know it

	require.Equal(t, "requires_capture", w.atStripe(heldIntent).Status)
	w.on(held, "capture", `{"amount":10.01}`).problem(http.StatusUnprocessableEntity, "amount-exceeded") // and it is held

	entries := make([]string, 0, 47)
	for i := range 47 {
		entries = append(entries, fmt.Sprintf(`"k%d":"v"`, i))
	}

	post, patch := http.MethodPost, http.MethodPatch
	card := `{"payment_method":"pm_card_visa",` + returning + `}`
	many := `{"metadata":{` + strings.Join(entries, ",") + `}}`

	w.changesNothing(map[string]bad{
		"a capture before it is authorised": {post, "/payments/" + open + "/capture", "", "b1", wrong},
		"a capture above the hold":          {post, "/payments/" + held + "/capture", `{"amount":10.01}`, "b2", exceeds},
		"a capture of nothing":              {post, "/payments/" + held + "/capture", `{"amount":0}`, "b3", invalid},
		"a capture of half a cent":          {post, "/payments/" + held + "/capture", `{"amount":1.005}`, "b4", invalid},
		"a second capture":                  {post, "/payments/" + captured + "/capture", "", "b5", wrong},
		"a capture after the lapse":         {post, "/payments/" + lapsed + "/capture", "", "b6", wrong},
		"a capture of what is cancelled":    {post, "/payments/" + cancelled + "/capture", "", "b7", wrong},
		"a cancel of what is captured":      {post, "/payments/" + captured + "/cancel", "", "b8", wrong},
		"a cancel for no reason of Stripe's": {
			post, "/payments/" + open + "/cancel", `{"reason":"because"}`, "b9", invalid,
		},
		"a confirm of what is captured":    {post, "/payments/" + captured + "/confirm", card, "b10", wrong},
		"a confirm of what is cancelled":   {post, "/payments/" + cancelled + "/confirm", card, "b11", wrong},
		"a confirm of what is held":        {post, "/payments/" + held + "/confirm", card, "b12", wrong},
		"a confirm without a key":          {post, "/payments/" + open + "/confirm", card, "", noKey},
		"a confirm without a method":       {post, "/payments/" + open + "/confirm", `{` + returning + `}`, "b13", invalid},
		"the key of another route":         {post, "/payments/" + open + "/cancel", "", "captured", reused},
		"the key of another payment":       {post, "/payments/" + held + "/capture", `{"amount":4.00}`, "captured", reused},
		"the key with another amount":      {post, "/payments/" + captured + "/capture", `{"amount":3.00}`, "captured", reused},
		"the key of a cancel for a create": {post, "/payments", `{"amount":1,"currency":"USD"}`, "cancelled", reused},
		"a change of our id":               {patch, "/payments/" + open, `{"metadata":{"payment_id":"7"}}`, "b14", invalid},
		"a change of our mark":             {patch, "/payments/" + open, `{"metadata":{"marketflow":null}}`, "b15", invalid},
		"a change of our key":              {patch, "/payments/" + open, `{"metadata":{"marketflow_key":"x"}}`, "b16", invalid},
		"a change of the capture's mark":   {patch, "/payments/" + open, `{"metadata":{"marketflow_capture":""}}`, "b17", invalid},
		"47 entries":                       {patch, "/payments/" + open, many, "b18", invalid},
		"a change of what is cancelled":    {patch, "/payments/" + cancelled, `{"description":"late"}`, "b19", wrong},
		"no such payment":                  {post, "/payments/0190d2a0-0000-7000-8000-000000000000/capture", "", "b20", missing},
	})
}

// What was saved for one customer pays for no other, nor for nobody, and a customer who is
// deleted pays no more.
func TestChange_AnothersMethodAndADeletedCustomer(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	ann, ben, gone := w.customer(`{"name":"Ann"}`), w.customer(`{"name":"Ben"}`), w.customer(`{"name":"Gone"}`)
	saved := func(customer string) string {
		return w.savedCard(w.send(http.MethodGet, "/customers/"+customer, "").text("stripe_customer_id"))
	}
	anns, gones := saved(ann), saved(gone)

	of := func(customer string) string {
		made := w.create(`{"amount":10.00,"currency":"USD","customer_id":"` + customer + `"}`)
		require.Equal(t, http.StatusCreated, made.status, "%s", made.body)

		return made.text("id")
	}

	nobodys, bens, late := w.create(`{"amount":10.00,"currency":"USD"}`).text("id"), of(ben), of(gone)
	require.Equal(t, http.StatusNoContent, w.send(http.MethodDelete, "/customers/"+gone, "").status)

	order := func(customer string) string {
		return `{"amount":10.00,"currency":"USD","customer_id":"` + customer + `"}`
	}
	paid := func(method string) string { return `{"payment_method":"` + method + `",` + returning + `}` }
	post := http.MethodPost
	stolen := `{"amount":10.00,"currency":"USD","confirm":true,"off_session":true,"payment_method":"` + anns + `","customer_id":"` +
		ben + `"}`

	w.changesNothing(map[string]bad{
		"a confirm with another's method":    {post, "/payments/" + bens + "/confirm", paid(anns), "m1", rejected},
		"a confirm of nobody's payment":      {post, "/payments/" + nobodys + "/confirm", paid(anns), "m2", rejected},
		"a confirm with a deleted one's":     {post, "/payments/" + late + "/confirm", paid(gones), "m3", rejected},
		"a create with another's method":     {post, "/payments", stolen, "m4", rejected},
		"a create for somebody deleted":      {post, "/payments", order(gone), "m5", missing},
		"a setup session of a deleted one":   {post, "/customers/" + gone + "/setup_sessions", "", "m6", missing},
		"a change of a deleted one":          {http.MethodPatch, "/customers/" + gone, `{"name":"x"}`, "m7", missing},
		"a detachment from a deleted one":    {http.MethodDelete, "/payment_methods/" + gones, "", "m8", missing},
		"a reference that is no text":        {post, "/customers", `{"reference":7}`, "m9", invalid},
		"a payment of a customer of nowhere": {post, "/payments", order("0190d2a0-0000-7000-8000-000000000000"), "m10", missing},
	})

	require.Equal(t, http.StatusOK, w.on(of(ann), "confirm", paid(anns), "Idempotency-Key", "m11").status, "her own pays")
}

func TestListPayments_BadInput(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.MetadataIndex = []string{"order_id"} })

	for range 3 {
		w.create(`{"amount":10.00,"currency":"USD","metadata":{"order_id":"7","shop":"left"}}`)
	}

	cursor := w.get("/payments?limit=1&currency=USD").text("next_cursor")
	changed := "A" + cursor[1:]

	for name, query := range map[string]string{
		"a cursor of another filter":        "cursor=" + cursor,
		"a cursor of another value":         "currency=EUR&cursor=" + cursor,
		"a cursor of more filters":          "currency=USD&status=pending&cursor=" + cursor,
		"a cursor that is garbage":          "cursor=garbage",
		"a cursor that was changed":         "currency=USD&cursor=" + changed[:len(changed)/2] + "A" + changed[len(changed)/2+1:],
		"half a cursor":                     "currency=USD&cursor=" + cursor[:len(cursor)/2],
		"an empty cursor":                   "cursor=",
		"two cursors":                       "currency=USD&cursor=" + cursor + "&cursor=" + cursor,
		"no objects":                        "limit=0",
		"too many":                          "limit=101",
		"fewer than none":                   "limit=-1",
		"a limit that is no number":         "limit=ten",
		"an unknown filter":                 "colour=red",
		"an unknown comparison":             "created[around]=2026-01-01T00:00:00Z",
		"created that is no time":           "created[gte]=yesterday",
		"created that is a number":          "created[lt]=1767225600",
		"created on the 31st of February":   "created[lt]=2026-02-31T00:00:00Z",
		"a status that is none":             "status=paid",
		"a currency that is none":           "currency=EURO",
		"an amount without its currency":    "amount[gte]=1",
		"an amount that is none":            "currency=USD&amount[gte]=1.005",
		"metadata that are not indexed":     "metadata[shop]=left",
		"metadata without a name":           "metadata[]=left",
		"a customer that is no id":          "customer_id=7",
		"a filter twice":                    "status=pending&status=failed",
		"a query that cannot be read":       "status=%zz",
		"an indexed one and one that isn't": "metadata[order_id]=7&metadata[shop]=left",
	} {
		got := w.get("/payments?" + query)
		require.Equal(t, http.StatusBadRequest, got.status, "%s: %s", name, got.body)
		got.problem(http.StatusBadRequest, "invalid-request")
	}

	require.Len(t, w.get("/payments?currency=USD&limit=100&cursor="+cursor).listed(), 2, "the cursor itself is good")
}

// A capture and the lapse of its hold come at the same moment: either the money was captured, or
// the payment is cancelled, and the client is told which.
func TestCapture_AtTheMomentOfTheLapse(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	for n := range 8 {
		id, intent := w.held()

		var (
			wg    sync.WaitGroup
			first answer
		)

		wg.Go(func() { first = w.change(id, "capture", fmt.Sprint("capture-", n)) })
		wg.Go(func() { _ = w.stripe.Lapse(intent) }) // too late where it was captured

		wg.Wait()

		if at := w.atStripe(intent); first.status == http.StatusOK {
			require.Equal(t, "succeeded", at.Status)
			require.Equal(t, int64(10_00), at.Received)
			w.eventually(func() bool { return w.status(id) == "succeeded" }, "the payment has succeeded")
		} else {
			first.problem(http.StatusConflict, "invalid-state")
			require.Equal(t, "canceled", first.text("intent_status"))
			require.Equal(t, "canceled", at.Status)
			w.eventually(func() bool { return w.status(id) == "cancelled" }, "the payment is cancelled")
		}

		again := w.change(id, "capture", fmt.Sprint("capture-", n))
		require.Equal(t, first.status, again.status)
	}
}
