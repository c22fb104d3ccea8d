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

// /readyz tells the load balancer of the end before the listener closes. Until then
// requests are answered, on new connections too. What is in flight when the listener
// closes is completed.
func TestDrain_ReadyzTellsBeforeTheListenerCloses(t *testing.T) {
	t.Parallel()

	const delay = 2 * time.Second

	w := newWorld(t, func(c *config.Config) { c.DrainDelay = delay })
	// Each request has a connection of its own, as each probe has.
	w.client.Transport = &http.Transport{DisableKeepAlives: true}

	held := w.faultCreates(sandbox.Fault{Action: sandbox.Hold, Count: 1})
	inFlight := make(chan answer, 1)

	go func() { inFlight <- w.create(order) }()

	require.NoError(t, w.stripe.WaitFault(t.Context(), held, 1))

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
	}, 20*time.Second, 20*time.Millisecond, "the listener closes")
	require.GreaterOrEqual(t, time.Since(asked), delay)

	require.NoError(t, w.stripe.RemoveFault(held))
	require.Equal(t, http.StatusCreated, (<-inFlight).status)
	require.NoError(t, <-stopped)
}

// A kept-alive connection is closed together with an answer, never under a request.
func TestDrain_KeptAliveConnectionsEndWithAnAnswer(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.DrainDelay = time.Second })

	isToldToClose := func() bool {
		resp, err := w.client.Do(w.request(http.MethodGet, "/livez", ""))
		if err != nil {
			return false
		}

		_ = resp.Body.Close()

		return resp.Close
	}

	require.False(t, isToldToClose())

	stopped := make(chan error, 1)

	go func() { stopped <- w.service.Stop(context.WithoutCancel(t.Context())) }()

	w.eventually(isToldToClose, "the client is told to close")
	require.NoError(t, <-stopped)
}

// DRAIN_DELAY takes at most half of SHUTDOWN_TIMEOUT; the rest is left for the
// requests in flight.
func TestDrain_DelayIsBoundedByTheShutdownTimeout(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.ShutdownTimeout, c.DrainDelay = 2*time.Second, time.Hour })

	require.NoError(t, w.service.Stop(t.Context()))
}
