package tests

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// While PostgreSQL is away clients and Stripe are told to try again later, and nothing
// is lost.
func TestDatabaseOutage_LosesNothing(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{})
	require.NoError(t, postgres.Migrate(t.Context(), server.URL()))

	w := newWorld(t, func(c *config.Config) { c.DatabaseURL = config.Secret(server.URL()) })
	created := w.create(order)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)

	intent := created.text("stripe_payment_intent_id")

	second := w.second() // it has answered nothing yet

	require.NoError(t, server.Kill())

	unhealthy := w.get("/health")
	require.Equal(t, http.StatusServiceUnavailable, unhealthy.status)
	require.JSONEq(t, `{"status":"unhealthy","database":"disconnected","redis":"connected"}`, string(unhealthy.body))
	require.Equal(t, http.StatusServiceUnavailable, w.get("/readyz").status)
	require.Equal(t, http.StatusOK, w.get("/livez").status)

	for _, answered := range []answer{
		w.create(`{"amount":5,"currency":"USD","idempotency_key":"during the outage"}`),
		w.get("/payments/" + created.text("id")),
		w.webhook(minimalEvent("succeeded", intent, "succeeded")),
	} {
		answered.problem(http.StatusServiceUnavailable, "unavailable")
		require.NotEmpty(t, answered.header.Get("Retry-After"))
	}

	// What a process has answered before it answers from memory; another process has
	// to wait for the database.
	require.Equal(t, string(created.body), string(w.create(order).body))
	second.create(order).problem(http.StatusServiceUnavailable, "unavailable")
	require.Equal(t, 1, w.intents(), "nothing was sent that could not be stored")

	require.NoError(t, server.Restart(t.Context(), servers.ShutdownFast))

	w.eventually(func() bool { return w.get("/health").status == http.StatusOK }, "the service finds the database again")
	require.Equal(t, http.StatusOK, w.webhook(minimalEvent("succeeded", intent, "succeeded")).status)
	require.Equal(t, "succeeded", w.status(created.text("id")))
	require.Equal(t, http.StatusCreated, w.create(`{"amount":5,"currency":"USD","idempotency_key":"during the outage"}`).status)
}

// While Stripe is away what only Stripe can do is answered 503, everything else is answered
// as ever, and the same key later gives the payment.
func TestStripeOutage_TheSameKeyLaterGivesThePayment(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(order)
	ended, _ := w.held()
	require.Equal(t, http.StatusOK, w.on(ended, "cancel", "").status)

	w.stripe.Hang(true)

	const waiting = `{"amount":5,"currency":"USD","idempotency_key":"during the outage %d"}`

	answered := make(chan answer, 16)
	for i := range cap(answered) {
		go func() { answered <- w.create(fmt.Sprintf(waiting, i)) }()
	}

	for range cap(answered) {
		one := <-answered
		require.Equal(t, http.StatusServiceUnavailable, one.status)
		require.NotEmpty(t, one.header.Get("Retry-After"))
	}

	require.Equal(t, string(created.body), string(w.create(order).body))
	require.Equal(t, http.StatusOK, w.get("/health").status)
	w.create(`{"amount":6,"currency":"USD","idempotency_key":"order_123_attempt_1"}`).
		problem(http.StatusUnprocessableEntity, "idempotency-key-reused")

	// What has come to its end is answered by our records.
	require.Equal(t, http.StatusOK, w.on(ended, "cancel", "", "Idempotency-Key", "again").status)
	w.on(ended, "capture", "").problem(http.StatusConflict, "invalid-state")
	w.on(created.text("id"), "cancel", "").problem(http.StatusServiceUnavailable, "unavailable")

	w.stripe.Hang(false)

	for i := range cap(answered) {
		var finished answer

		body := fmt.Sprintf(waiting, i)

		w.eventually(func() bool {
			finished = w.create(body)

			return finished.status == http.StatusCreated
		}, "the payment is created")
		require.Equal(t, string(finished.body), string(w.create(body).body))
	}

	require.Equal(t, 2+cap(answered), w.intents())
	require.Equal(t, 2+cap(answered), w.count("SELECT count(*) FROM payments"))
}
