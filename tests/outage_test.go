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

// Without PostgreSQL nothing is promised and nothing is lost: clients and
// Stripe are told to come again, and find everything as it was.
func TestDatabaseOutage(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{})
	require.NoError(t, postgres.Migrate(t.Context(), server.URL()))

	w := newWorld(t, func(c *config.Config) { c.DatabaseURL = config.Secret(server.URL()) })
	created := w.create(order)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)

	intent := created.text("stripe_payment_intent_id")

	other := *w // a second process, which has answered nothing
	other.start(w.config)

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

	// What a process has answered before is answered from its memory meanwhile;
	// another process has to wait for the database.
	require.Equal(t, string(created.body), string(w.create(order).body))
	other.create(order).problem(http.StatusServiceUnavailable, "unavailable")
	require.Equal(t, 1, w.intents(), "Stripe heard nothing of what could not be written down")

	require.NoError(t, server.Restart(t.Context(), servers.ShutdownFast))

	w.eventually(func() bool { return w.get("/health").status == http.StatusOK }, "the service finds the database again")
	require.Equal(t, http.StatusOK, w.webhook(minimalEvent("succeeded", intent, "succeeded")).status)
	require.Equal(t, "succeeded", w.status(created.text("id")))
	require.Equal(t, http.StatusCreated, w.create(`{"amount":5,"currency":"USD","idempotency_key":"during the outage"}`).status)
}

// While Stripe is away its payments wait, whatever else is asked goes on, and
// the same key later gives the payment.
func TestStripeOutage(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(order)

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

	w.stripe.Hang(false)

	for i := range cap(answered) {
		var finished answer

		body := fmt.Sprintf(waiting, i)

		w.eventually(func() bool {
			finished = w.create(body)

			return finished.status == http.StatusCreated
		}, "the payment comes")
		require.Equal(t, string(finished.body), string(w.create(body).body))
	}

	require.Equal(t, 1+cap(answered), w.intents())
	require.Equal(t, 1+cap(answered), w.count("SELECT count(*) FROM payments"))
}
