package tests

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// openPayments creates n payments and returns their intents. The first is the newest:
// it is two days old, and each next one is a minute older.
func (w *world) openPayments(n int) []string {
	w.t.Helper()

	intents := make([]string, 0, n)

	for i := range n {
		created := w.create(`{"amount":10,"currency":"USD"}`)
		intents = append(intents, created.text("stripe_payment_intent_id"))
		w.exec("UPDATE payments SET created_at = now() - interval '2 days' - $2 * interval '1 minute' WHERE id = $1",
			created.text("id"), i)
	}

	return intents
}

// asked are the intents that were read one by one.
func asked(calls []*url.URL) []string {
	var intents []string

	for _, call := range calls {
		if id, ok := strings.CutPrefix(call.Path, "/v1/payment_intents/"); ok {
			intents = append(intents, id)
		}
	}

	return intents
}

func isAsked(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/payment_intents/") }

// Open payments are read a few at a time, the newest first.
func TestSweep_ReadsAFewAtOnce(t *testing.T) {
	t.Parallel()

	const payments, atOnce = 30, 6

	w := newWorld(t)
	intents := w.openPayments(payments)
	w.confirm(intents[payments-1], "pm_card_visa")

	// The first six calls are answered once all six are there.
	var all sync.WaitGroup

	all.Add(atOnce)

	var mu sync.Mutex

	n := 0
	watch := w.watchStripe(func(_ http.ResponseWriter, r *http.Request) bool {
		if !isAsked(r) {
			return false
		}

		mu.Lock()
		n++
		first := n <= atOnce
		mu.Unlock()

		if first {
			all.Done()
			all.Wait()
		}

		return false
	})

	report := w.reconcile(false)
	require.Equal(t, payments, report.Payments)
	require.Equal(t, map[ports.DiscrepancyKind]int{ports.DiscrepancyStatus: 1}, report.Repaired)
	require.Equal(t, atOnce, watch.most)

	order := asked(watch.take("/v1/payment_intents/"))
	require.ElementsMatch(t, intents[:atOnce], order[:atOnce], "the newest first")

	// The one that differs may be read again before the last of the others is read.
	differs := intents[payments-1]
	same := func(id string) bool { return id != differs }

	require.ElementsMatch(t, intents[:payments-1], slices.DeleteFunc(slices.Clone(order), func(id string) bool { return !same(id) }),
		"each once")
	require.Greater(t, len(slices.DeleteFunc(order, same)), 1, "what differs is read again")
}

// A scheduled run reads a limited number, and the next one goes on, in any process. Old
// payments get a share although there are many young ones.
func TestSweep_IsBoundedAndGoesOn(t *testing.T) {
	t.Parallel()

	const most, young, old = 1000, 1300, 250

	w := newWorld(t)
	w.exec(`INSERT INTO payments (stripe_payment_intent_id, amount, intent_status, created_at)
		SELECT 'pi_young_' || n, 10, 'requires_payment_method', now() - interval '2 hours' - n * interval '1 second'
		FROM generate_series(1, $1) n`, young)
	w.exec(`INSERT INTO payments (stripe_payment_intent_id, amount, intent_status, created_at)
		SELECT 'pi_old_' || n, 10, 'requires_payment_method', now() - interval '90 days' - n * interval '1 second'
		FROM generate_series(1, $1) n`, old)

	watch := w.watchStripe(func(rw http.ResponseWriter, r *http.Request) bool {
		if isAsked(r) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{"id":"` + strings.TrimPrefix(r.URL.Path, "/v1/payment_intents/") +
				`","amount":1000,"currency":"usd","status":"requires_payment_method"}`))
		}

		return isAsked(r)
	})

	once := make([]string, 0, young+old)

	for _, want := range []int{most, young + old - most} {
		w.setCursor(-time.Hour)

		report, err := w.reconcileScheduled()
		require.NoError(t, err)
		require.Zero(t, report.Left(), "%+v", report)

		run := asked(watch.take("/v1/payment_intents/"))
		require.Len(t, run, want)
		require.Equal(t, want, report.Payments)

		if len(once) == 0 {
			require.Contains(t, run, "pi_young_1")
			require.Contains(t, run, "pi_old_1")
		}

		once = append(once, run...)
	}

	slices.Sort(once)
	require.Len(t, slices.Compact(once), young+old, "each once in the two runs")

	w.setCursor(-time.Hour)
	_, err := w.reconcileScheduled()
	require.NoError(t, err)
	require.Contains(t, asked(watch.take("/v1/payment_intents/")), "pi_young_1", "it begins again with the newest")
}

// A run that an outage of Stripe ends keeps its place.
func TestSweep_KeepsItsPlaceInAnOutage(t *testing.T) {
	t.Parallel()

	const page, payments = 100, 130

	w := newWorld(t)
	intents := w.openPayments(payments)

	var (
		mu   sync.Mutex
		n    int
		away = true
	)

	watch := w.watchStripe(func(rw http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()

		if isAsked(r) {
			n++
		}

		if !isAsked(r) || n <= page || !away {
			return false
		}

		rw.WriteHeader(http.StatusServiceUnavailable)

		return true
	})

	_, err := w.reconcileScheduled()
	require.ErrorContains(t, err, "reading intent")
	require.ElementsMatch(t, intents[:page], asked(watch.take("/v1/payment_intents/"))[:page])

	mu.Lock()
	away = false
	mu.Unlock()

	report, err := w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, payments-page, report.Payments)
	require.ElementsMatch(t, intents[page:], asked(watch.take("/v1/payment_intents/")))
}

// One payment that cannot be read does not keep others from being read, and the run
// ends with its error.
func TestSweep_GoesOnAfterOneThatFails(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	intents := w.openPayments(5)
	w.confirm(intents[4], "pm_card_visa")
	w.watchStripe(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, intents[1]) {
			return false
		}

		rw.WriteHeader(http.StatusInternalServerError)

		return true
	})

	report, err := w.reconcileScheduled()
	require.ErrorContains(t, err, intents[1])
	require.Equal(t, map[ports.DiscrepancyKind]int{ports.DiscrepancyStatus: 1}, report.Repaired)
	require.Equal(t, 1, w.count("SELECT count(*) FROM payments WHERE status = $1", payment.Succeeded))
}

// Answers of 429 slow a run down and do not end it.
func TestSweep_WaitsWhileThereIsALimit(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.openPayments(20)

	var mu sync.Mutex

	n := 0

	w.watchStripe(func(rw http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()

		if n++; n%5 != 0 {
			return false
		}

		rw.WriteHeader(http.StatusTooManyRequests)

		return true
	})

	report, err := w.reconcileScheduled()
	require.NoError(t, err)
	require.Equal(t, 20, report.Payments)
}

// Very many events are parked for payments that never come. The one event whose payment
// exists is found among them and applied.
func TestParkedEvent_IsFoundAmongMany(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(`{"amount":10,"currency":"USD"}`)
	intent := created.text("stripe_payment_intent_id")

	park := func(id, object, reason string) {
		w.exec(`INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, received_at)
			VALUES ($1, 'payment_intent.succeeded', $2, $3::text::bytea, 'parked', $4, now() - interval '1 day')`, id, object,
			`{"id":"`+id+`","type":"payment_intent.succeeded","data":{"object":{"id":"`+object+`","status":"succeeded"}}}`, reason)
	}

	w.exec(`INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, received_at)
		SELECT 'evt_' || n, 'payment_intent.succeeded', 'pi_none', '{}', 'parked',
		       CASE n % 2 WHEN 0 THEN 'unknown_payment' ELSE 'contradiction' END, now() - n * interval '1 minute'
		FROM generate_series(1, 2500) n`)
	park("evt_ready", intent, "unknown_payment")
	w.eventually(func() bool { return w.status(created.text("id")) == "succeeded" }, "its event is found")
	require.Equal(t, 2500, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked'"))
}
