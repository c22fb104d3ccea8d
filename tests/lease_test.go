package tests

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// While Stripe takes longer than a lease lasts, the request keeps its operation: the
// same key gets 409, and nobody sends a second time.
func TestLease_IsKeptWhileStripeTakesLong(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	held := w.faultCreates(sandbox.Fault{Action: sandbox.Hold})
	first := make(chan answer, 1)

	go func() { first <- w.create(order) }()

	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM operations WHERE leased_until > created_at + interval '5 seconds'") == 1
	}, "the lease is extended twice")

	w.create(order).problem(http.StatusConflict, "idempotency-key-in-use")
	require.Equal(t, 1, w.count("SELECT count(*) FROM operations WHERE attempts = 1 AND state = 'pending'"))
	require.NoError(t, w.stripe.ReleaseFault(held))

	created := <-first
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
	require.Equal(t, string(created.body), string(w.create(order).body))
	require.Equal(t, 1, w.intents())
}
