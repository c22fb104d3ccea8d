package upgrade

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// A release that knows neither refunds nor disputes has made payments, and goes on beside this one
// on the migrated database. What it has made is refunded and disputed here, and it undoes nothing of that.
func TestUpgrade_ToRefundsAndDisputes(t *testing.T) {
	t.Parallel()

	before, after := build(t, withoutRefunds)
	w := newWorld(t)

	w.migrate(before)
	old := w.serve(before)
	w.hooks.leadTo(old.url)

	whole, part := w.paid(old, order("whole", "1.00")), w.paid(old, order("part", "1.00"))
	disputed := w.paid(old, order("disputed", "1.00"))

	// The old release keeps what it hears of both, and cannot use it.
	_, err := w.stripe.Dashboard("/v1/refunds", url.Values{"payment_intent": {part.intent()}, "amount": {"40"}})
	require.NoError(t, err)

	_, err = w.stripe.OpenDispute(disputed.intent(), sandbox.Complaint{})
	require.NoError(t, err)
	w.eventually("the old process has what it does not handle", func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'unhandled' AND type IN "+
			"('charge.refunded', 'charge.dispute.created', 'charge.dispute.funds_withdrawn')") == 3
	})

	w.migrate(after)

	fresh := w.serve(after)

	// Nobody has told the new one of what happened before: it finds out when it matters.
	w.refund(fresh, whole, `{"expected_refundable":1.00,"idempotency_key":"r1"}`).is(t, http.StatusCreated)
	w.refund(fresh, part, `{"amount":1.00,"idempotency_key":"r2"}`).is(t, http.StatusUnprocessableEntity)
	w.refund(fresh, part, `{"amount":0.50,"idempotency_key":"r3"}`).is(t, http.StatusCreated)
	w.refund(fresh, disputed, `{"amount":1.00,"idempotency_key":"r4"}`).is(t, http.StatusConflict)

	w.besideEachOther(old, fresh)

	// The old one is asked about what it does not know, and writes nothing over it.
	for _, p := range []answer{whole, part, disputed} {
		w.requireAnswer(old, p)
		require.Contains(t, w.get(old, p), `"status":"succeeded"`)
		w.change(old, "/payments/"+p.id()+"/cancel", "").is(t, http.StatusConflict)
	}

	old.stop(t)
	w.hooks.leadTo(fresh.url)

	for _, eventType := range []string{
		"charge.refunded", "charge.dispute.created", "charge.dispute.funds_withdrawn",
	} {
		out, err := w.command(after, "inbox", "reprocess", "--type", eventType).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}

	w.eventually("what was kept is read", func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'hint'") == 0
	})
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events WHERE outcome IN ('unhandled', 'parked')"+
		" AND (type LIKE 'charge.refund%' OR type LIKE 'charge.dispute%')"))
	require.Equal(t, "needs_response", field(w.get(fresh, disputed), "dispute_status"))
	w.requireTrueSums()

	out, err := w.command(after, "reconcile", "--since", "1h").CombinedOutput()
	require.NoError(t, err, "nothing is left: %s", out)
	w.requireTrueSums()

	fresh.stop(t)
}

// besideEachOther: the old release makes and captures payments while the new one gives their money back.
func (w *world) besideEachOther(old, fresh *process) {
	w.t.Helper()

	held := w.post(old, `{"amount":2.00,"currency":"USD","idempotency_key":"held","capture_method":"manual"}`)
	require.Equal(w.t, http.StatusCreated, held.status, "%s", held.body)
	w.pay(held)

	const capture = `{"idempotency_key":"capture"}`

	captured := w.change(old, "/payments/"+held.id()+"/capture", capture)
	captured.is(w.t, http.StatusOK)

	var wait sync.WaitGroup

	refunds, again, more := make([]changed, 8), make([]changed, 8), make([]answer, 8)
	for i := range refunds {
		wait.Go(func() {
			refunds[i] = w.refund(fresh, held, fmt.Sprintf(`{"amount":0.50,"idempotency_key":"h%d"}`, i))
		})
		wait.Go(func() {
			more[i] = w.post(old, order(fmt.Sprintf("more %d", i), "1.00"))
			w.pay(more[i])
		})
		wait.Go(func() { again[i] = w.change(old, "/payments/"+held.id()+"/capture", capture) })
	}

	wait.Wait()

	made := 0

	for i, r := range refunds {
		require.Equal(w.t, captured, again[i])
		w.requirePaid(old, more[i])

		if r.status == http.StatusCreated {
			made++
		} else {
			r.is(w.t, http.StatusUnprocessableEntity)
		}
	}

	require.Equal(w.t, 4, made, "2.00 were captured")
}

func (w *world) refund(p *process, of answer, body string) changed {
	return w.change(p, "/payments/"+of.id()+"/refunds", body)
}

func (a answer) id() string     { return field(a.body, "id") }
func (a answer) intent() string { return field(a.body, "stripe_payment_intent_id") }

// paid is a payment that its customer has paid, and the process has been told so.
func (w *world) paid(p *process, order string) answer {
	w.t.Helper()

	made := w.post(p, order)
	w.pay(made)
	w.requirePaid(p, made)

	return made
}

func (w *world) requirePaid(p *process, made answer) {
	w.t.Helper()
	require.Equal(w.t, http.StatusCreated, made.status, "%s", made.body)
	w.eventually("it is paid", func() bool { return strings.Contains(w.get(p, made), `"status":"succeeded"`) })
}

// changed is the answer to an operation.
type changed struct {
	status int
	body   string
}

func (c changed) is(t *testing.T, status int) {
	t.Helper()
	require.Equal(t, status, c.status, "%s", c.body)
}

func (w *world) change(p *process, path, body string) changed {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		return changed{body: err.Error()}
	}

	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}

	resp, err := w.client.Do(req)
	if err != nil {
		return changed{body: err.Error()}
	}

	read, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()

	return changed{resp.StatusCode, string(read)}
}

// requireTrueSums compares what our payments say was given back and disputed with Stripe's records.
func (w *world) requireTrueSums() {
	w.t.Helper()

	refunded, taken := map[string]int64{}, map[string]int64{}

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund, sandbox.KindDispute}}) {
		var one struct {
			Amount int64  `json:"amount"`
			Intent string `json:"payment_intent"`
		}
		require.NoError(w.t, json.Unmarshal(entry.Object, &one))

		if entry.Kind == sandbox.KindRefund {
			refunded[one.Intent] += one.Amount
		} else {
			taken[one.Intent] += one.Amount
		}
	}

	rows, err := w.db.Pool().Query(w.ctx, `SELECT stripe_payment_intent_id, (amount_refunded * 100)::bigint,
		(amount_disputed * 100)::bigint FROM payments`)
	require.NoError(w.t, err)

	defer rows.Close()

	for rows.Next() {
		var (
			intent         string
			back, disputed int64
		)
		require.NoError(w.t, rows.Scan(&intent, &back, &disputed))
		require.Equal(w.t, refunded[intent], back, intent)
		require.Equal(w.t, taken[intent], disputed, intent)
	}

	require.NoError(w.t, rows.Err())
	require.Len(w.t, refunded, 3)
}
