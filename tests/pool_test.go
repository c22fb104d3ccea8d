package tests

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

// No connection and no lock is held while Stripe is called: with a pool of one
// connection and calls held at Stripe, everything else is answered.
func TestPool_OneConnectionIsEnoughWhileStripeIsSlow(t *testing.T) {
	t.Parallel()

	// Fewer than the calls that together count as a stall.
	const held = 6

	w := newWorld(t, func(c *config.Config) { c.DatabaseMaxConns = 1 })
	w.deliverWebhooks()

	before := w.create(`{"amount":10.00,"currency":"USD"}`)
	require.Equal(t, http.StatusCreated, before.status, "%s", before.body)

	rule := w.faultCreates(sandbox.Fault{Action: sandbox.Hold, Count: -1})

	var (
		clients sync.WaitGroup
		answers [held]answer
	)

	for i := range held {
		clients.Go(func() { answers[i] = w.create(`{"amount":20.00,"currency":"USD"}`) })
	}

	waiting, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	require.NoError(t, w.stripe.WaitFault(waiting, rule, held))

	// Stripe has executed all of them and answered none. Reads, webhooks' writes and
	// the health check each need the one connection.
	require.Equal(t, "connected", w.get("/health").text("database"))
	require.Equal(t, "pending", w.status(before.text("id")))
	w.confirm(before.text("stripe_payment_intent_id"), "pm_card_visa")
	w.eventually(func() bool { return w.status(before.text("id")) == "succeeded" }, "the webhook is applied")

	status, err := w.stripe.Fault(rule)
	require.NoError(t, err)
	require.Equal(t, held, status.Held, "the calls are still held")

	require.NoError(t, w.stripe.RemoveFault(rule))
	clients.Wait()

	for _, created := range answers {
		require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
	}

	require.Equal(t, held+1, w.intents())
}
