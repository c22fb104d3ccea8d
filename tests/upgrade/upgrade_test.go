// Package upgrade runs the release before this one beside it, on one database. Its table
// of operations has another name, so that its statements fail instead of succeeding by
// half (docs/operations.md, "Upgrading over payment_requests"). A later release, which knows
// no refunds, runs beside this one and does all that it can.
package upgrade

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An operator forgets a process of the old release: it goes on while the new binary
// migrates its database, and after that. No payment is lost, and none is made twice.
func TestUpgrade_AProcessOfTheOldReleaseIsForgotten(t *testing.T) {
	t.Parallel()

	before, after := build(t, oldRelease)
	w := newWorld(t)

	w.migrate(before)
	old := w.serve(before)
	w.hooks.leadTo(old.url)

	rejected := w.post(old, order("too small", "0.10"))
	require.Equal(t, http.StatusUnprocessableEntity, rejected.status, "%s", rejected.body)

	paid := w.post(old, order("paid", "1.00"))
	require.Equal(t, http.StatusCreated, paid.status, "%s", paid.body)
	w.pay(paid)
	w.eventually("the old process has applied an event", func() bool {
		return strings.Contains(w.get(old, paid), `"status":"succeeded"`)
	})

	seen := w.get(old, paid)
	clients := w.startClients(old)
	w.eventually("clients have been served", func() bool { return clients.answered(time.Time{}) > 40 })

	left := w.leaveUnfinished(old)
	w.migrate(after)

	migrated := time.Now()

	w.eventually("clients and Stripe have gone on", func() bool {
		return clients.answered(migrated) > 40 && len(w.hooks.since(migrated)) > 10
	})
	w.stripe.ClearFaults()
	clients.stop()

	// The old process made nothing more. What it remembers and what it reads is still true.
	for _, a := range append(clients.sent(), left.held()) {
		if a.begun.After(migrated) && !a.replay || a.key() == "held" {
			require.GreaterOrEqual(t, a.status, http.StatusInternalServerError, "%s: %s", a.order, a.body)
		}
	}

	w.requireNothingMade(clients.sent(), migrated)

	refused := w.hooks.since(migrated)
	for _, status := range refused {
		require.GreaterOrEqual(t, status, http.StatusInternalServerError)
	}

	require.Equal(t, seen, w.get(old, paid))

	// The new process finishes what was left, while the forgotten one still runs.
	fresh := w.serve(after)
	w.hooks.leadTo(fresh.url)
	w.eventually("what was left is finished", func() bool {
		return w.count("SELECT count(*) FROM operations WHERE state IN ('pending', 'needs_attention')") == 0
	})

	for _, a := range append(clients.sent(), append(left.answers, paid, rejected)...) {
		w.requireAnswer(fresh, a)
	}

	require.True(t, strings.HasPrefix(w.get(fresh, paid), strings.TrimRight(seen, "}\n")), w.get(fresh, paid))

	w.stripe.Advance(2 * time.Hour) // Stripe sends again what was not taken
	w.eventually("every event is taken", w.everyEventIsTaken)
	w.requireSameCalls(left)
	w.requireTrueRecords()
	t.Logf("clients were answered %d times, %d of them after the migration; Stripe's events were refused %d times",
		clients.answered(time.Time{}), clients.answered(migrated), len(refused))

	old.stop(t)
	fresh.stop(t)
}

// answer is a request that creates a payment, and what it was answered.
type answer struct {
	order  string
	replay bool
	begun  time.Time
	status int
	body   string
	// replayed says that the answer was one from before.
	replayed bool
}

// key is also in the intent's metadata.
func (a answer) key() string { return field(a.order, "idempotency_key") }

func field(object, name string) string {
	var fields map[string]any

	_ = json.Unmarshal([]byte(object), &fields)
	text, _ := fields[name].(string)

	return text
}

func order(key, amount string) string {
	return `{"amount":` + amount + `,"currency":"USD","idempotency_key":"` + key + `","metadata":{"try":"` + key + `"}}`
}

// post creates a payment. The status is 0 if there was no answer.
func (w *world) post(p *process, body string) answer {
	a := answer{order: body, begun: time.Now()}

	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, p.url+"/payments", strings.NewReader(body))
	if err != nil {
		return a
	}

	req.Header.Set("Content-Type", "application/json")

	resp, err := w.client.Do(req)
	if err != nil {
		return a
	}

	read, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	a.status, a.body, a.replayed = resp.StatusCode, string(read), resp.Header.Get("Idempotent-Replayed") == "true"

	return a
}

// get reads the payment of an answer.
func (w *world) get(p *process, of answer) string {
	w.t.Helper()

	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, p.url+"/payments/"+field(of.body, "id"), http.NoBody)
	require.NoError(w.t, err)

	resp, err := w.client.Do(req)
	require.NoError(w.t, err)

	read, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	require.Equal(w.t, http.StatusOK, resp.StatusCode, "%s", read)

	return string(read)
}

// pay confirms an intent at Stripe, as its customer does.
func (w *world) pay(a answer) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost,
		w.stripe.URL+"/v1/payment_intents/"+field(a.body, "stripe_payment_intent_id")+"/confirm",
		strings.NewReader("payment_method=pm_card_visa&return_url=https://example.com/"))
	if err != nil {
		return
	}

	req.SetBasicAuth(secretKey, "")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	if resp, err := w.client.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// leftovers are operations that the old process cannot finish before the migration.
type leftovers struct {
	// answers are all but the one that is held.
	answers []answer
	// calls are their parameters by their keys at Stripe.
	calls map[string]string
	held  func() answer
}

func (w *world) leaveUnfinished(old *process) *leftovers {
	w.t.Helper()

	const keyless = `{"amount":4.00,"currency":"USD","metadata":{"try":"keyless"}}`

	for try, fault := range map[string]sandbox.Fault{
		"not arrived": {Action: sandbox.DropBefore},
		"answer lost": {Action: sandbox.DropAfter},
		"keyless":     {Action: sandbox.DropAfter},
		"held":        {Action: sandbox.Hold},
		"no account": {
			Action: sandbox.Error, Status: http.StatusBadRequest, Type: "invalid_request_error",
			Code: "testmode_charges_only", Message: "Your account cannot currently make live charges.",
		},
	} {
		fault.Method, fault.Path, fault.Count = http.MethodPost, "/v1/payment_intents", -1
		fault.Metadata = map[string]string{"try": try}
		_, err := w.stripe.AddFault(fault)
		require.NoError(w.t, err)

		// An event of an intent would tell the old process the lost answer.
		_, err = w.stripe.AddFault(sandbox.Fault{
			Action: sandbox.WebhookDelay, Delay: time.Hour, Count: -1, Metadata: fault.Metadata,
		})
		require.NoError(w.t, err)
	}

	l := &leftovers{calls: map[string]string{}}

	var (
		holding sync.WaitGroup
		held    answer
	)

	holding.Go(func() { held = w.post(old, order("held", "5.00")) })

	l.held = func() answer { holding.Wait(); return held }

	w.eventually("the call is held", func() bool { return len(w.intents()["held"]) == 1 })

	for _, body := range []string{order("not arrived", "2.00"), order("answer lost", "3.00"), keyless, order("no account", "6.00")} {
		already := w.unfinished()

		var a answer

		// After many failures in a row the process may send nothing for a moment.
		w.eventually(body, func() bool { a = w.post(old, body); return w.unfinished() > already })
		require.GreaterOrEqual(w.t, a.status, http.StatusInternalServerError, "%s: %s", a.order, a.body)
		l.answers = append(l.answers, a)
	}

	rows, err := w.db.Pool().Query(w.ctx,
		"SELECT stripe_key, stripe_params FROM payment_requests WHERE "+leftOver)
	require.NoError(w.t, err)

	var key, params string

	_, err = pgx.ForEachRow(rows, []any{&key, &params}, func() error { l.calls[key] = params; return nil })
	require.NoError(w.t, err)
	require.Len(w.t, l.calls, 5)

	return l
}

// unfinished counts the operations that the old process has left.
func (w *world) unfinished() int {
	w.t.Helper()

	return w.count("SELECT count(*) FROM payment_requests WHERE " + leftOver)
}

// leftOver are the operations without an answer that are not the clients'.
const leftOver = "metadata->>'try' NOT LIKE 'client%' AND response_body IS NULL"

// intents are those at Stripe, by what the client called them.
func (w *world) intents() map[string][]sandbox.BookEntry {
	found := map[string][]sandbox.BookEntry{}

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		var intent struct{ Metadata map[string]string }

		_ = json.Unmarshal(entry.Object, &intent)
		found[intent.Metadata["try"]] = append(found[intent.Metadata["try"]], entry)
	}

	return found
}

// requireNothingMade: what the old process began after a time is not at Stripe.
func (w *world) requireNothingMade(sent []answer, after time.Time) {
	w.t.Helper()

	made := w.intents()

	for _, a := range sent {
		if a.begun.After(after) && !a.replay {
			require.Empty(w.t, made[a.key()], a.order)
		}
	}
}

// requireAnswer repeats a request. What was answered before has the same answer; all else
// is done now.
func (w *world) requireAnswer(p *process, before answer) {
	w.t.Helper()

	if before.key() == "" {
		return // to repeat it makes another payment
	}

	now := w.post(p, before.order)
	if before.status == http.StatusCreated || before.key() == "too small" {
		require.Equal(w.t, before.status, now.status, "%s: %s", before.order, now.body)
		require.Equal(w.t, before.body, now.body)
		require.True(w.t, now.replayed, before.order)
	} else {
		require.Equal(w.t, http.StatusCreated, now.status, "%s: %s", before.order, now.body)
	}
}

func (w *world) everyEventIsTaken() bool {
	for _, delivery := range w.stripe.Deliveries("", "") {
		if !delivery.Delivered {
			return false
		}
	}

	return true
}

// requireSameCalls: what was left was sent under the same key with the same parameters, and
// made one intent each.
func (w *world) requireSameCalls(left *leftovers) {
	w.t.Helper()

	made := map[string]int{}

	for _, entries := range w.intents() {
		for _, entry := range entries {
			made[entry.IdempotencyKey]++
		}
	}

	for key, params := range left.calls {
		require.NotEmpty(w.t, w.calls.under(key))
		require.Equal(w.t, 1, made[key], params)

		for _, sent := range w.calls.under(key) {
			require.Equal(w.t, params, sent)
		}
	}
}

// requireTrueRecords compares our payments with Stripe's intents.
func (w *world) requireTrueRecords() {
	w.t.Helper()

	ours, theirs := map[string]string{}, map[string]string{}

	rows, err := w.db.Pool().Query(w.ctx, "SELECT stripe_payment_intent_id, status FROM payments")
	require.NoError(w.t, err)

	var id, status string

	_, err = pgx.ForEachRow(rows, []any{&id, &status}, func() error { ours[id] = status; return nil })
	require.NoError(w.t, err)

	paid := 0

	for try, entries := range w.intents() {
		require.Len(w.t, entries, 1, try)

		theirs[entries[0].ID] = "pending"
		if entries[0].SucceededCharges > 0 {
			theirs[entries[0].ID] = "succeeded"
			paid++
		}
	}

	require.Equal(w.t, theirs, ours)
	require.Greater(w.t, paid, 1)
}
