package tests

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

// A load balancer that asks /readyz hears of the end before the listener goes.
// Until then requests come, on new connections too, and are answered; and what is
// in flight when the listener goes is finished.
func TestDrain(t *testing.T) {
	t.Parallel()

	const delay = 2 * time.Second

	w := newWorld(t, func(c *config.Config) { c.DrainDelay = delay })
	// Each request has a connection of its own, as each probe has.
	w.client.Transport = &http.Transport{DisableKeepAlives: true}

	rule, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.Hold, Method: http.MethodPost, Path: "/v1/payment_intents", Count: 1,
	})
	require.NoError(t, err)

	inFlight := make(chan answer, 1)

	go func() { inFlight <- w.create(order) }()

	require.NoError(t, w.stripe.WaitFault(t.Context(), rule.ID, 1))

	asked, stopped := time.Now(), make(chan error, 1)

	go func() { stopped <- w.service.Stop(context.WithoutCancel(t.Context())) }()

	w.eventually(func() bool { return w.get("/readyz").status == http.StatusServiceUnavailable }, "it drains")
	require.Equal(t, "draining", w.get("/readyz").text("status"))
	require.Equal(t, http.StatusCreated, w.create(`{"amount":5,"currency":"USD"}`).status)
	require.Equal(t, http.StatusOK, w.get("/livez").status)
	require.Less(t, time.Since(asked), delay, "the machine is too slow for this test")

	require.Eventually(t, func() bool {
		resp, err := w.client.Do(w.request(http.MethodGet, "/livez", ""))
		if err == nil {
			_ = resp.Body.Close()
		}

		return err != nil
	}, 20*time.Second, 20*time.Millisecond, "the listener goes")
	require.GreaterOrEqual(t, time.Since(asked), delay)

	require.NoError(t, w.stripe.RemoveFault(rule.ID))
	require.Equal(t, http.StatusCreated, (<-inFlight).status)
	require.NoError(t, <-stopped)
}

// A connection that is kept alive is given up with an answer, not under a request.
func TestDrainEndsKeptAliveConnections(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.DrainDelay = time.Second })

	hangsUp := func() bool {
		resp, err := w.client.Do(w.request(http.MethodGet, "/livez", ""))
		if err != nil {
			return false
		}

		_ = resp.Body.Close()

		return resp.Close
	}

	require.False(t, hangsUp())

	stopped := make(chan error, 1)

	go func() { stopped <- w.service.Stop(context.WithoutCancel(t.Context())) }()

	w.eventually(hangsUp, "the client is told to hang up")
	require.NoError(t, <-stopped)
}

// What is waited for is part of SHUTDOWN_TIMEOUT, and leaves half of it to the
// requests in flight.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.ShutdownTimeout, c.DrainDelay = 2*time.Second, time.Hour })

	require.NoError(t, w.service.Stop(t.Context()))
}
